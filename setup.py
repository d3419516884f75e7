"""Checks the environment: what is installed, what is missing and how to install it, and whether a small model trains.

    python3 setup.py --python     # before you install anything: can this Python make the environment?
    python setup.py               # all checks

This is a check, not a package installer: the project runs from its folder.
"""

# Older Pythons must be able to run this file and print that they are too old, so it avoids newer syntax:
# ruff: noqa: UP006, UP035, UP036, UP045

import contextlib
import os
import platform
import shutil
import sys
import time
from importlib.util import find_spec
from typing import List, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # pip runs this file from elsewhere

from pictures.folding import folded

INSTALL = "pip install -r requirements.txt"
MAKE = "python3 -m venv .venv && . .venv/bin/activate && "
NEEDED = ("torch", "numpy", "matplotlib", "soundfile", "soxr", "tqdm")  # to train and transcribe
ALSO = ("pytest", "hypothesis", "jiwer", "scipy", "jupyter", "ruff")  # tests, notebook, style


def python_fault() -> Optional[str]:
    """A sentence that says what is wrong with this Python; None if it can make the environment."""
    version = platform.python_version()
    if sys.version_info < (3, 11):
        newer = next((name for name in ("python3.11", "python3.12", "python3.13") if shutil.which(name)), None)
        get = f"{newer} is installed: use it instead of python3" if newer else "get it from https://www.python.org/downloads/"
        return f"Python 3.11 or newer is needed, and this is {version}: {get}"
    if not (find_spec("venv") and find_spec("ensurepip")):  # Debian puts them in a package of their own
        package = f"python3.{sys.version_info.minor}-venv"
        return f"this Python {version} can't make a virtual environment: sudo apt install {package} (Debian, Ubuntu)"
    return None


def in_environment() -> bool:
    """Whether this Python belongs to a virtual environment or to conda."""
    return sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ


def mend() -> str:
    """The command that installs what is missing."""
    return INSTALL if in_environment() else MAKE + INSTALL


def tested_versions() -> dict:
    """Versions the project is tested with, from requirements.txt beside this file."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")
    with open(path, encoding="utf-8") as file:
        pins = [line.split("#")[0].strip().split("==") for line in file if "==" in line]
    return {name.lower(): version for name, version in pins}


def check_package(name: str, tested: Optional[str]) -> Tuple[bool, str]:
    """Whether a package is installed and loads, and a line about it."""
    import importlib.metadata

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False, f"  {name:<11} missing"
    try:
        if name not in ("jupyter", "ruff"):
            importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything
        return False, f"  {name:<11} {version} is installed but does not load: {error}"
    note = "" if version.split("+")[0] == tested else f" (tested with {tested})"
    return True, f"  {name:<11} {version}{note}"


def check_model() -> str:
    """Trains a small model for three steps on two synthetic utterances; returns a line about it.

    Raises:
        RuntimeError: if the loss does not fall.
    """
    import numpy as np
    import torch

    from implementation import CharEncoder, DeepSpeech2, collate_batch, generate_synthetic_dataset, train_step

    np.random.seed(0)
    torch.manual_seed(0)
    encoder = CharEncoder("english")
    batch = collate_batch(generate_synthetic_dataset(2), encoder, n_fft=128)
    model = DeepSpeech2(n_freq=65, vocab_size=encoder.vocab_size, n_conv=2, n_rnn=1, rnn_hidden=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    start = time.perf_counter()
    losses = [train_step(model, batch, optimizer) for _ in range(3)]
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"the loss of a small model did not fall: {losses}")
    took = time.perf_counter() - start
    return f"a small model trained for 3 steps in {took:.1f} s: its loss fell from {losses[0]:.0f} to {losses[-1]:.0f} nats"


def main(arguments: List[str]) -> int:
    fault = python_fault()
    if arguments and arguments != ["--python"]:
        print("Deep Speech 2 is not installed as a package: it runs from its folder, and setup.py only checks the environment. "
              f"To install what it needs: {mend()}")  # fmt: skip
        return 2
    if fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    if arguments:
        return 0
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    print(f"virtual environment: {sys.prefix if in_environment() else 'none; once you have made one, run . .venv/bin/activate'}")
    tested, complete = tested_versions(), {}
    for title, names in (("to train and transcribe:", NEEDED), ("for tests and notebook:", ALSO)):
        print(title)
        results = [check_package(name, tested.get(name)) for name in names]
        complete[title] = all(good for good, _ in results)
        print("\n".join(line for _, line in results))
    if not all(complete.values()):
        print(f"to install what is missing: {mend()}")
    if not complete["to train and transcribe:"]:
        return 1
    from training.machine import choose_device, cpu_has_bf16

    print(f"device: {choose_device('auto').type}; bf16 in this CPU's hardware: {'yes' if cpu_has_bf16() else 'no'}")
    print(check_model())
    print("all checks passed" if all(complete.values()) else "training works; what is missing for the rest is listed above")
    return 0 if all(complete.values()) else 1


if __name__ == "__main__":
    try:
        with contextlib.redirect_stdout(folded(sys.stdout)), contextlib.redirect_stderr(folded(sys.stderr)):
            code = main(sys.argv[1:])
            sys.stdout.flush()
    except BrokenPipeError:  # | head -1: nobody reads the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        code = 130
    sys.exit(code)
