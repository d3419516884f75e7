"""Checks the environment: what is installed, what is missing, the command that mends it, and a small model's step.

    python setup.py

This is a check, not a package installer: the project runs from its folder.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import time

MEND = "pip install -r requirements.txt"
NEEDED = ("torch", "numpy", "matplotlib", "soundfile", "soxr", "tqdm")  # to train and transcribe
ALSO = ("pytest", "hypothesis", "jiwer", "scipy", "jupyter", "ruff")  # tests, notebook, style


def tested_versions() -> dict[str, str]:
    """Versions the project is tested with, from requirements.txt beside this file."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")
    with open(path, encoding="utf-8") as file:
        pins = [line.split("#")[0].strip().split("==") for line in file if "==" in line]
    return {name.lower(): version for name, version in pins}


def check_package(name: str, tested: str | None) -> tuple[bool, str]:
    """Whether a package is there, and a line about it."""
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
    """Trains a small model for three steps on one synthetic utterance; a line about it.

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
        raise RuntimeError(f"the loss of a small model does not fall: {losses}")
    took = time.perf_counter() - start
    return f"a small model forward and back, 3 steps in {took:.1f} s: loss {losses[0]:.0f} -> {losses[-1]:.0f}"


def main(arguments: list[str]) -> int:
    if arguments:
        print(f"setup.py only checks the environment; it knows no {arguments[0]!r}. To install what is needed: {MEND}")
        return 2
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one
        print("  Python 3.11 or newer is needed: https://www.python.org/downloads/")
        return 1
    tested, complete = tested_versions(), {}
    for title, names in (("to train and transcribe:", NEEDED), ("for tests and notebook:", ALSO)):
        print(title)
        results = [check_package(name, tested.get(name)) for name in names]
        complete[title] = all(good for good, _ in results)
        print("\n".join(line for _, line in results))
    if not all(complete.values()):
        print(f"to mend it: {MEND}")
    if not complete["to train and transcribe:"]:
        return 1
    from training.machine import choose_device, cpu_has_bf16

    print(f"device: {choose_device('auto').type}; bf16 in this CPU's hardware: {'yes' if cpu_has_bf16() else 'no'}")
    print(check_model())
    print("all is well" if all(complete.values()) else "training works; see above for the rest")
    return 0 if all(complete.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
