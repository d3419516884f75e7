"""Runs that are killed at random moments and taken up again, to be compared with one that nothing disturbed."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

STAGES = ("start", "steps", "writing", "evaluation", "end")  # what a process is at
context = multiprocessing.get_context("forkserver")  # which loads torch once
context.set_forkserver_preload(["train_minimal", "torch._dynamo"])  # which an optimiser loads


def train(argv: list[str], folder: Path, stage: object, seconds: object, method: str | None) -> None:
    """In a process of its own: train_minimal.py in that folder; says what it is at, and when by the processor's clock.

    Args:
        method: how it starts its workers; None: as usual.
    """
    multiprocessing.set_start_method(method, force=True)
    with (
        open(folder / "said.txt", "a", encoding="utf-8") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        os.chdir(folder)
        code = _staged(stage, seconds).main(argv)
    seconds[1] = time.process_time()
    sys.exit(code)


def _staged(stage: object, seconds: object) -> object:
    """train_minimal, whose parts say which of them is at work; without pictures, which take most of the time."""
    from matplotlib.figure import Figure

    import train_minimal
    from models import writing
    from training import report, run

    def at(name: str, work: Callable) -> Callable:
        def working(*arguments, **named):
            before, stage.value = stage.value, STAGES.index(name)
            seconds[0] = seconds[0] or time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                stage.value = before

        return working

    run.Run.train = at("steps", run.Run.train)
    run.evaluate = at("evaluation", run.evaluate)
    for module, names in ((run, ("save_checkpoint", "write_whole")), (report, ("save_checkpoint", "write_whole"))):
        for name in names:
            setattr(module, name, at("writing", getattr(module, name)))
    writing._onto_the_disk = at("writing", writing._onto_the_disk)
    for name in ("predictions", "training_curves"):
        setattr(report, name, lambda *_: Figure((1, 1)))
    train_minimal.finish = at("end", train_minimal.finish)
    return train_minimal


def processor_seconds(pid: int) -> float:
    """That a process has used so far; of one that has ended, infinitely many."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Ended:
    """Exit code of a process (-9: killed), what it was at then, and by the processor's clock when its run began and ended."""

    code: int
    stage: str
    began: float
    ended: float


def run(argv: list[str], folder: Path, kill_after: float | None = None, in_writing: bool = False) -> Ended:
    """train_minimal.py in that folder, killed once the processor has done so many seconds for it, or then writes a file."""
    stage, seconds = context.Value("i", 0, lock=False), context.Array("d", [0.0, 0.0], lock=False)
    process = context.Process(target=train, args=(argv, folder, stage, seconds, None))
    process.start()
    if kill_after is not None:
        while process.exitcode is None and processor_seconds(process.pid) < kill_after:
            time.sleep(0.001)
        while in_writing and process.exitcode is None and not list(folder.glob("runs/001/*.tmp.*")):
            time.sleep(0.0001)
        time.sleep(random.uniform(0.0, 0.001 if in_writing else 0.01))
        process.kill()
    process.join()
    return Ended(process.exitcode, STAGES[stage.value], *seconds)


def killed_and_resumed(argv: list[str], folder: Path, whole: Ended, kills: int, by_name: bool, in_writing: bool) -> list[str]:
    """What a run was at when it was killed, so often, at moments drawn over all that the whole one did; taken up until it ends.

    Args:
        by_name: whether --resume names the folder.
        in_writing: whether each kill waits for the next file to be written.
    """
    hit = []
    resume = ["--resume", "runs/001"] if by_name else ["--resume"]
    while True:
        begun = (folder / "runs" / "001" / "last.pt").exists()
        moment = random.uniform(0.8 * whole.began, whole.ended) if len(hit) < kills else None
        end = run([*argv, *(resume if begun else ["--output-dir", "runs/001"])], folder, moment, in_writing)
        if end.code == 0:
            return hit
        assert end.code == -9, (folder / "said.txt").read_text()
        hit.append(end.stage)


def result(folder: Path) -> dict:
    """Names and contents of a finished run's files, without what the clock says."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".pt", ".png")}
    lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    found["metrics.jsonl"] = [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
    return found | {path.name: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


def different(one: object, other: object, where: str = "") -> list[str]:
    """Where two results are not the same to the last bit."""
    if type(one) is not type(other):
        return [where]
    if isinstance(one, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {one.keys() ^ other.keys()}"]
        return [place for name in one for place in different(one[name], other[name], f"{where}/{name}")]
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=False)
        found = [place for number, pair in enumerate(pairs) for place in different(*pair, f"{where}/{number}")]
        return found if len(one) == len(other) else [*found, f"{where}: length"]
    return [] if one == other else [where]
