"""Measures the time and memory until the first minibatch of LibriSpeech's 960 hours is trained on, with a simulated corpus.

    python benchmarks/start.py [--share 0.1 --files 36 --rounds 1] [flags of train_minimal.py]

The simulated LibriSpeech has as many utterances and speakers in each part as the real one. It has folders part/speaker/chapter, a
*.trans.txt in each chapter, and FLACs that are hard links to a few files of 1.5 to 24.5 seconds. So the disk's cache holds all
audio, and only the work is measured; from a slow disk the first start takes longer. Each start is a process of its own: the
first reads the durations, and the second takes them from the folder where the first kept them. The steps up to the first
minibatch are those of train_minimal.py. Run nothing else meanwhile; otherwise trust the processor time, not the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine
from memory import WATCHED, FirstStep, Stages, in_fresh_process

# Only the measuring processes import torch and the library: a process's peak starts at its parent's memory.

PARTS = {  # utterances and speakers
    "train-clean-100": (28539, 251), "train-clean-360": (104014, 921), "train-other-500": (148688, 1166),
    "dev-clean": (2703, 40), "test-clean": (2620, 40), "test-other": (2939, 33),
}  # fmt: skip
CHAPTER = 50  # utterances in a chapter, at most
STARTS = ("first start", "second start")


def make_files(folder: Path, count: int) -> list[tuple[Path, str]]:
    """Makes FLACs of 1.5 to 24.5 seconds of noise at 16 kHz, each with as many words as are spoken in that time."""
    import numpy as np
    import soundfile

    from implementation import SYNTHETIC_WORDS

    rng, words = np.random.default_rng(0), random.Random(0)
    entries = []
    for number, seconds in enumerate(np.linspace(1.5, 24.5, count)):
        path = folder / f"speech{number}.flac"
        soundfile.write(path, 0.003 * rng.standard_normal(round(16000 * seconds)), 16000)
        entries.append((path, " ".join(words.choices(SYNTHETIC_WORDS, k=max(1, round(2.7 * seconds)))).upper()))
    return entries


def chapters(share: float) -> Iterator[tuple[str, str, int]]:
    """Folder, name and number of utterances of each chapter, for a share of each part."""
    speaker = 0
    for part, (utterances, speakers) in PARTS.items():
        utterances, speakers = max(1, round(share * utterances)), max(1, round(share * speakers))
        for number in range(speakers):
            speaker, left = speaker + 1, utterances * (number + 1) // speakers - utterances * number // speakers
            for chapter in range(-(-left // CHAPTER)):
                name = f"{speaker}-{100000 + chapter}"
                yield f"{part}/{speaker}/{100000 + chapter}", name, min(CHAPTER, left - CHAPTER * chapter)


def make_corpus(root: Path, entries: list[tuple[Path, str]], share: float) -> int:
    """Writes the corpus and returns its number of utterances."""
    done = 0
    for folder, name, count in chapters(share):
        (root / folder).mkdir(parents=True)
        lines = []
        for number in range(count):
            path, text = entries[(done + number) % len(entries)]
            os.link(path, root / folder / f"{name}-{number:04d}.flac")
            lines.append(f"{name}-{number:04d} {text}\n")
        (root / folder / f"{name}.trans.txt").write_text("".join(lines))
        done += count
    return done


def start(started: float, root: Path, cache: Path, flags: list[str]) -> dict[str, tuple[float, float]]:
    """Stages of a start up to the end of the first step: seconds, and the peak memory in MB after each."""
    os.environ["XDG_CACHE_HOME"] = str(cache)
    stages = Stages(started)
    from training.assembly import start_run
    from training.flags import parse_args

    stages.add("imports", time.time() - started)
    for module, name, title in WATCHED:
        stages.watch(importlib.import_module(module), name, title)
    stages.watch(
        importlib.import_module("training.loop").Trainer, "try_longest_batch", "the longest minibatch (try_longest_batch)"
    )

    def stop(_loss: float, _utterances: int) -> None:
        stages.close()
        stages.add("the processor's time for all of it", time.process_time())
        raise FirstStep

    settings = parse_args(["--data", str(root), "--dev", "dev-clean", "--output-dir", str(cache / "run"), "--overwrite", *flags])
    with contextlib.redirect_stdout(io.StringIO()), start_run(*settings, "a start") as run, contextlib.suppress(FirstStep):
        run.trainer.run_epoch(stop)
    return stages.found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False,
        epilog="Further flags go to train_minimal.py, such as --threads 1.",
    )  # fmt: skip
    parser.add_argument("--share", type=float, default=1.0, help="share of the utterances and speakers of each part")
    parser.add_argument("--files", type=int, default=36, help="number of different audio files")
    parser.add_argument("--rounds", type=int, default=1, help="measured rounds")
    args, flags = parser.parse_known_args()
    print(machine("torch", "numpy", "soundfile"))
    found = {title: [] for title in STARTS}
    with tempfile.TemporaryDirectory() as name:
        folder, begin = Path(name), time.time()
        utterances = make_corpus(folder / "LibriSpeech", in_fresh_process(make_files, folder, args.files), args.share)
        print(f"{utterances} utterances, written in {time.time() - begin:.0f} s; {args.rounds} rounds")
        for number in range(args.rounds):
            for runs in found.values():
                runs.append(in_fresh_process(start, time.time(), folder / "LibriSpeech", folder / f"cache{number}", flags))
    print(f"{'seconds, and peak memory after it':<50}" + "".join(f"{title:>22}" for title in STARTS))
    for stage in found[STARTS[0]][0]:
        cells = []
        for runs in found.values():
            seconds, peak = (statistics.median(column) for column in zip(*(run[stage] for run in runs), strict=True))
            cells.append(f"{seconds:8.1f} s {peak:9.0f} MB")
        print(f"{stage:<50}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
