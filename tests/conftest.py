"""What all test files share: one thread, the same seeds for every test, two processes for the whole suite."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

from decoding.ngrams import NGramModel
from helpers import TINY
from implementation import generate_synthetic_dataset

torch.set_num_threads(1)  # what is small here takes longer on two, and many times longer where they are busy
# The same examples each time: what fails once fails again. New ones: python -m pytest --hypothesis-profile=searching
settings.register_profile("bounded", deadline=None, max_examples=20, derandomize=True)
# or thousands of them: DS2_EXAMPLES=10000 python -m pytest --hypothesis-profile=searching tests/robustness
settings.register_profile("searching", deadline=None, max_examples=int(os.environ.get("DS2_EXAMPLES", "200")))
settings.load_profile("bounded")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs in two processes, since most tests keep one core busy; files that are named run in one."""
    asked, whole = config.option, config.args_source is config.ArgsSource.TESTPATHS
    is_worker = hasattr(config, "workerinput")
    if whole and not is_worker and getattr(asked, "numprocesses", 0) is None and not asked.usepdb and os.cpu_count() > 1:
        asked.numprocesses, asked.dist = 2, "worksteal"
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of processes that tests start: the cores are in use


@pytest.fixture(autouse=True)
def seeded() -> None:
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A tiny run of two epochs; tests that write copy it."""
    import train_minimal

    folder = tmp_path_factory.mktemp("run")
    assert train_minimal.main([*TINY, "--epochs", "2", "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    """A small manifest with its own dev and test, a checkpoint trained for a moment, and a language model."""
    import train_minimal

    folder = tmp_path_factory.mktemp("tune")
    np.random.seed(0)
    samples = generate_synthetic_dataset(12, 8000, max_words=2)
    rows = ["path\tspeaker\tsplit\ttranscript"]
    for number, sample in enumerate(samples):
        soundfile.write(folder / f"{number}.wav", sample.audio.numpy(), 8000)
        split = "train" if number < 6 else "dev" if number < 9 else "test"
        rows.append(f"{number}.wav\ts{number % 2}\t{split}\t{sample.transcript}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    NGramModel.train([sample.transcript for sample in samples[:6]], order=2).write_arpa(folder / "lm.arpa")
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(folder / "run")]
    assert train_minimal.main(["--data", str(folder), *small]) == 0
    return folder, samples
