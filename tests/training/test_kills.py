"""SIGKILL at random moments: the run that is taken up ends with the same weights and metrics, to the last bit.

DS2_KILLS=50 python -m pytest -m slow tests/training/test_kills.py -s
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import killing
from helpers import TINY
from implementation import generate_synthetic_dataset

RUNS = int(os.environ.get("DS2_KILLS", "4"))  # that are killed, in all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processor's time is in /proc"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Recordings by two speakers, short enough to be joined."""
    folder = tmp_path_factory.mktemp("corpus")
    np.random.seed(0)
    rows = ["path\tspeaker\tsplit\ttranscript"]
    for number, sample in enumerate(generate_synthetic_dataset(14, 8000, max_words=1)):
        soundfile.write(folder / f"{number}.wav", sample.audio.numpy(), 8000)
        rows.append(f"{number}.wav\ts{number % 2}\t{'train' if number < 11 else 'dev'}\t{sample.transcript}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["synthetic", "joined recordings, read by a worker"])
def test_killed_at_random_moments_a_run_ends_as_one_that_nothing_disturbed(kind, corpus, tmp_path):
    recordings = ["--data", str(corpus), "--join", "3", "--num-workers", "1", "--optimizer", "sgd", "--lr", "1e-4"]
    flags = [*TINY, "--epochs", "3", "--batch-size", "3", "--dropout", "0.1", "--threads", "1", "--device", "cpu"]
    flags += [] if kind == "synthetic" else recordings
    (tmp_path / "whole").mkdir()
    end = killing.run([*flags, "--output-dir", "runs/001"], tmp_path / "whole")
    assert end.code == 0, (tmp_path / "whole" / "said.txt").read_text()
    whole, hits, different = killing.result(tmp_path / "whole" / "runs" / "001"), collections.Counter(), []
    random.seed(os.environ.get("DS2_KILLS_SEED", kind))
    for number in range(RUNS // 2):
        hit = []
        while not hit:  # else it ended before it was to be killed
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            minutes = ["--save-minutes", ("0", "0.002", "10")[number % 3]]
            how = {"kills": 1 + number % 2, "by_name": number % 4 < 2, "in_writing": number % 3 == 0}
            hit = killing.killed_and_resumed([*flags, *minutes], folder, end, **how)
        hits.update(hit)
        different += killing.different(whole, killing.result(folder / "runs" / "001"), str(number))
        print(f"{kind}: {number + 1} runs, killed in {dict(hits)}; different: {different}", flush=True)
    assert not different


def processes_in(folder: Path) -> list[str]:
    """Those at work in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == folder.resolve():
                found.append(process.name)
    return found


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_of_a_killed_run_end_too(method, corpus, tmp_path):
    stage, seconds = killing.context.Value("i", 0, lock=False), killing.context.Array("d", [0.0, 0.0], lock=False)
    flags = [*TINY, "--data", str(corpus), "--num-workers", "2", "--epochs", "400", "--output-dir", "run"]
    run = killing.context.Process(target=killing.train, args=(flags, tmp_path, stage, seconds, method))
    run.start()
    deadline = time.time() + 120
    while not (tmp_path / "run" / "checkpoint.pt").exists() and time.time() < deadline:
        time.sleep(0.05)
    at_work = len(processes_in(tmp_path))
    run.kill()
    run.join()
    assert at_work >= 3, (tmp_path / "said.txt").read_text()
    deadline = time.time() + 20
    while processes_in(tmp_path) and time.time() < deadline:
        time.sleep(0.05)
    assert not processes_in(tmp_path)


def test_a_difference_would_be_seen():
    one = {"a": [torch.zeros(2), {"b": 1}], "c": "x"}
    assert killing.different(one, {"a": [torch.zeros(2), {"b": 1}], "c": "x"}) == []
    other = {"a": [torch.tensor([0.0, 1e-30]), {"b": 2}, 3], "c": b"x"}
    assert killing.different(one, other) == ["/a/0", "/a/1/b", "/a: length", "/c"]
