"""Measures the peak memory of training steps, of 2,000 steps, of a run on 100 hours of speech, and of transcribing an hour.

    python benchmarks/memory.py [--lengths 2 4 8 16 --hours 100 --data path/to/corpus --rounds 3] [flags of train_minimal.py]
    python benchmarks/memory.py --only growth [--steps 2000] [flags of train_minimal.py]
    python benchmarks/memory.py --only recording [--minutes 1 60] [flags of train_minimal.py]

Each number comes from a process of its own. The hours are simulated: a manifest has as many lines as they need, and each line
names a link to one of a few files (synthetic speech as FLAC, or the files of --data), plus a tenth for dev and test. So the
disk's cache holds all audio, and only the work is measured. The run starts like train_minimal.py, alternately with and without
durations in the manifest (LibriSpeech gives none); medians are printed. Then it keeps reading and training, to show what memory
grows to. It needs Linux or macOS; run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import io
import multiprocessing
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

if TYPE_CHECKING:
    from training.loop import Trainer
    from training.settings import TrainingSettings

# Only the measuring processes import torch and the library: a process's peak starts at its parent's memory.

Entry = tuple[Path, str, float]  # audio file, transcript, seconds
MANIFESTS = ("durations given", "no durations")


def in_fresh_process(function: Callable, *args: object) -> object:
    """``function(*args)`` as computed by a new Python process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def peak_mb() -> float:
    """Largest resident memory this process has had, in MB of 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# ---------------------------------------------------------------------------------------------
# A training step
# ---------------------------------------------------------------------------------------------


def model_of(flags: list[str]) -> tuple[int, TrainingSettings, Callable[[Sequence], Trainer]]:
    """From train_minimal.py's flags: sample rate, settings, and a function that makes a one-epoch trainer from samples."""
    import torch

    from implementation import CharEncoder
    from training.data import TrainingSet
    from training.flags import parse_args
    from training.loop import Trainer
    from training.machine import choose_device

    speech, config, training, _ = parse_args(flags)
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    rate, encoder = speech.sample_rate or 16000, CharEncoder()
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, sample_rate=rate))
    model, settings = config.build(encoder).to(choose_device(training.device)), dataclasses.replace(training, epochs=1)
    return rate, training, lambda samples: Trainer(model, TrainingSet(samples, encoder, model), settings)


def peak_of_steps(seconds: float, steps: int, flags: list[str]) -> tuple[float, float, int]:
    """Peak in MB before and after ``steps`` training steps on utterances of this length, and the number of threads."""
    import torch

    from implementation import SYNTHETIC_WORDS, AudioSample

    rate, training, trainer_of = model_of(flags)
    words = " ".join(random.Random(0).choices(SYNTHETIC_WORDS, k=max(1, round(2.5 * seconds))))  # LibriSpeech: 2.7 a second
    samples = [AudioSample(torch.randn(round(seconds * rate)), rate, words) for _ in range(steps * training.batch_size)]
    trainer = trainer_of(samples)
    before = peak_mb()
    report = trainer.run_epoch()
    if report.problems:
        raise ValueError(f"not trained on: {report.problems[0]}")
    return before, peak_mb(), torch.get_num_threads()


def show_steps(args: argparse.Namespace, flags: list[str]) -> None:
    found = {seconds: [] for seconds in args.lengths}
    steps = args.steps or 3
    for _ in range(args.rounds):
        for seconds, peaks in found.items():
            peaks.append(in_fresh_process(peak_of_steps, seconds, steps, flags))
    threads = next(iter(found.values()))[0][2]
    print(f"\npeak memory of {steps} training steps, {threads} threads, {args.rounds} rounds")
    print("utterance    peak before     with steps   for the steps")
    for seconds, peaks in found.items():
        before, after = statistics.median(p[0] for p in peaks), statistics.median(p[1] for p in peaks)
        print(f"{seconds:7.1f} s  {before:10.0f} MB  {after:10.0f} MB  {after - before:10.0f} MB")


# ---------------------------------------------------------------------------------------------
# Many steps
# ---------------------------------------------------------------------------------------------


class Noise:
    """Utterances of varying lengths, made when needed."""

    def __init__(self, count: int, longest: float, rate: int) -> None:
        rng = random.Random(0)
        self.seconds, self.rate = [rng.uniform(1, longest) for _ in range(count)], rate

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, index: int) -> object:
        import torch

        from implementation import SYNTHETIC_WORDS, AudioSample

        seconds, generator = self.seconds[index], torch.Generator().manual_seed(index)
        words = random.Random(index).choices(SYNTHETIC_WORDS, k=max(1, round(2 * seconds)))
        return AudioSample(torch.randn(round(seconds * self.rate), generator=generator), self.rate, " ".join(words))


def resident_mb() -> float:
    """Current memory of this process, in MB of 10^6 bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def memory_of_training(steps: int, longest: float, flags: list[str]) -> dict[int, tuple[float, float, float]]:
    """MB in use, the peak so far, and the seconds taken, with utterances of 1 to ``longest`` seconds in random order.

    They are measured after 100 steps and after all steps. Training gives freed memory back every 50 steps, so just before both.
    """
    rate, training, trainer_of = model_of(["--no-sortagrad", *flags])
    trainer = trainer_of(Noise(steps * training.batch_size, longest, rate))
    trainer.try_longest_batch()
    found, start = {0: (resident_mb(), peak_mb(), 0.0)}, time.perf_counter()

    def note(_loss: float, _utterances: int) -> None:
        if trainer.step in (min(100, max(1, steps // 2)), steps):
            found[trainer.step] = resident_mb(), peak_mb(), time.perf_counter() - start

    trainer.run_epoch(note)
    return found


def show_growth(args: argparse.Namespace, flags: list[str]) -> None:
    steps = args.steps or 2000
    found = in_fresh_process(memory_of_training, steps, args.longest, flags)
    first, last = list(found)[1], list(found)[-1]
    print(f"\nmemory over {steps} training steps on utterances of 1 to {args.longest:g} s in random order")
    for step, (used, peak, seconds) in found.items():
        print(f"after {step:5d} steps  in use {used:8.0f} MB  at most so far {peak:8.0f} MB  {seconds:8.1f} s")
    used, peak = (100 * (found[last][n] / found[first][n] - 1) for n in (0, 1))
    print(f"after {last} steps, compared with {first}: in use {used:+.1f} %, at most {peak:+.1f} %")


# ---------------------------------------------------------------------------------------------
# A long recording
# ---------------------------------------------------------------------------------------------


def transcribing(path: Path, flags: list[str]) -> tuple[float, float, float]:
    """Peak in MB before and after an untrained model has transcribed a file, and the seconds that took."""
    import torch

    from implementation import CharEncoder
    from models.checkpoints import Checkpoint
    from models.transcription import transcribe
    from training.flags import parse_args

    speech, config, training, _ = parse_args(flags)
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, sample_rate=speech.sample_rate or 16000))
    checkpoint = Checkpoint(config.build(CharEncoder()).eval(), config, CharEncoder())
    before, start = peak_mb(), time.perf_counter()
    transcribe(checkpoint, path, times=True)
    return before, peak_mb(), time.perf_counter() - start


def write_recording(path: Path, minutes: float) -> None:
    """Writes synthetic speech at 16 kHz with pauses, repeated to the length."""
    import numpy as np
    import soundfile

    from implementation import generate_synthetic_dataset

    np.random.seed(0)
    sentences = [sample.audio.numpy() for sample in generate_synthetic_dataset(12, min_words=4, max_words=10)]
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        while file.frames < minutes * 60 * 16000:
            for sentence in sentences:
                file.write(np.concatenate((sentence, np.zeros(8000, np.float32))))
        file.seek(0)
        file.truncate(round(minutes * 60 * 16000))


def show_recordings(args: argparse.Namespace, flags: list[str]) -> None:
    print("\ntranscribing a recording, with the times of the words")
    with tempfile.TemporaryDirectory() as name:
        for minutes in args.minutes:
            path = Path(name) / f"{minutes:g}.wav"
            in_fresh_process(write_recording, path, minutes)
            before, after, seconds = in_fresh_process(transcribing, path, flags)
            print(f"{minutes:6.1f} min  {before:8.0f} MB before  {after:8.0f} MB at most  {seconds:8.1f} s")


# ---------------------------------------------------------------------------------------------
# Many hours
# ---------------------------------------------------------------------------------------------


def make_speech(folder: Path, files: int, data: str | None) -> list[Entry]:
    """The files that the manifest repeats: all of ``data``, or ``files`` synthetic ones of 2 to 20 seconds."""
    import numpy as np
    import soundfile
    import torch

    from implementation import generate_synthetic_dataset
    from speech.corpora import read_corpus

    if data:
        return [(u.path.resolve(), u.transcript, u.seconds) for u in read_corpus(data).utterances]
    np.random.seed(0)
    torch.manual_seed(0)
    entries = []
    for number, sample in enumerate(generate_synthetic_dataset(files, min_words=5, max_words=50)):
        entries.append((folder / f"speech{number}.flac", sample.transcript, sample.seconds))
        soundfile.write(entries[-1][0], sample.audio.numpy(), sample.sample_rate)
    return entries


def write_manifests(folder: Path, entries: list[Entry], hours: float) -> tuple[list[Path], int]:
    """Writes manifests with ``hours`` to train on and a twentieth each for dev and test; returns their paths and length."""
    count = round(1.1 * hours * 3600 * len(entries) / sum(seconds for _, _, seconds in entries))
    rows = []
    for number in range(count):
        path, transcript, seconds = entries[number % len(entries)]
        link = folder / f"{number}{path.suffix}"  # a corpus may name a file only once
        link.symlink_to(path)
        split = ("dev", "test")[number % 22] if number % 22 < 2 else "train"
        rows.append(f"{link.name}\t{transcript}\t{number % 250}\t{split}\t{seconds}")
    paths = [folder / "with.tsv", folder / "without.tsv"]
    paths[0].write_text("\n".join(["path\ttranscript\tspeaker\tsplit\tseconds", *rows]) + "\n")
    paths[1].write_text("\n".join(["path\ttranscript\tspeaker\tsplit", *(row.rpartition("\t")[0] for row in rows)]) + "\n")
    return paths, count


class FirstStep(Exception):
    """Ends the run after its first training step."""


class Stages:
    """Seconds spent in named stages, and the peak memory in MB at the end of each."""

    def __init__(self, started: float) -> None:
        self.started, self.found = started, {}

    def add(self, title: str, seconds: float) -> None:
        self.found[title] = (self.found.get(title, (0.0, 0.0))[0] + seconds, peak_mb())

    def watch(self, module: object, name: str, title: str) -> None:
        """Adds the time of each call of ``module.name`` to the stage."""
        function = getattr(module, name)

        def watched(*args: object, **kwargs: object) -> object:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.add(title, time.perf_counter() - start)
            return result

        setattr(module, name, watched)

    def close(self) -> None:
        """Adds the time since the start that is in no stage, and the sum of all times."""
        total = time.time() - self.started
        self.add("all else", total - sum(seconds for seconds, _ in self.found.values()))
        self.add("to the end of the first step", total)


WATCHED = (
    ("training.assembly", "read_corpus", "reading the manifest (read_corpus)"),
    ("training.assembly", "encodable", "spelling each transcript (encodable)"),
    ("training.assembly", "readable", "reading the dev audio (readable)"),
    ("training.assembly", "feasible", "comparing text with length (feasible)"),
    ("training.assembly", "Trainer", "lengths and optimiser (Trainer)"),
    ("training.loop", "train_step", "the first step itself (train_step)"),
)


def start_run(started: float, manifest: Path, flags: list[str], go_on_hours: float) -> dict[str, tuple[float, float]]:
    """Stages of a run up to its first step, and, if wanted, its later peaks."""
    stages = Stages(started)
    from training.assembly import assemble
    from training.flags import parse_args

    stages.add("imports", time.time() - started)
    for module, name, title in WATCHED:
        stages.watch(importlib.import_module(module), name, title)

    def stop(_loss: float, _utterances: int) -> None:
        stages.close()
        raise FirstStep

    speech, config, training, _ = parse_args(["--data", str(manifest), *flags])
    with contextlib.redirect_stdout(io.StringIO()):
        parts = assemble(speech, config, training)
    with contextlib.suppress(FirstStep):
        parts.trainer.run_epoch(stop)
    if go_on_hours:
        go_on(stages, parts.trainer, parts.encoder, parts.evaluation, go_on_hours)
    return stages.found


def go_on(stages: Stages, trainer: object, encoder: object, evaluation: dict, hours: float) -> None:
    """Reads ``hours`` of training audio, takes a step on the longest minibatch, and reads and evaluates dev and test."""
    from implementation import evaluate, train_step

    samples, heard, start = trainer.data.samples, 0.0, time.perf_counter()
    for index in range(len(samples)):
        heard += samples[index].seconds
        if heard > 3600 * hours:
            break
    stages.add(f"then: {heard / 3600:.1f} hours of training audio read", time.perf_counter() - start)
    start = time.perf_counter()
    longest = max(trainer.sampler, key=lambda batch: sum(trainer.sampler.seconds[batch]))
    batch, _ = trainer.data.collate([trainer.data[index] for index in longest])
    train_step(trainer.model, batch, trainer.optimizer)
    stages.add("then: a step on the longest minibatch", time.perf_counter() - start)
    for name, dataset in evaluation.items():
        start = time.perf_counter()
        for index in range(len(dataset)):
            dataset[index]
        longest = sorted(range(len(dataset)), key=dataset.seconds.__getitem__)[-16:]
        evaluate(trainer.model, [dataset[index] for index in longest], encoder)
        stages.add(f"then: {name} read, its longest 16 evaluated", time.perf_counter() - start)


def show_start(args: argparse.Namespace, flags: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        entries = in_fresh_process(make_speech, Path(name), args.files, args.data)
        manifests, lines = write_manifests(Path(name), entries, args.hours)
        found = {title: [] for title in MANIFESTS}
        for number in range(args.rounds):
            for title, manifest in zip(MANIFESTS, manifests, strict=True):
                go_on_hours = args.go_on if number == args.rounds - 1 and manifest == manifests[0] else 0
                found[title].append(in_fresh_process(start_run, time.time(), manifest, flags, go_on_hours))
    print(f"\na run on {args.hours:g} hours: {lines} lines that name {min(lines, len(entries))} files, {args.rounds} rounds")
    print(f"{'seconds, and peak memory after it':<44}" + "".join(f"{title:>22}" for title in MANIFESTS))
    for stage in found[MANIFESTS[0]][-1]:
        cells = []
        for runs in found.values():
            values = [run[stage] for run in runs if stage in run]
            seconds, peak = (statistics.median(column) for column in zip(*values, strict=True)) if values else (0, 0)
            cells.append(f"{seconds:8.1f} s {peak:9.0f} MB" if values else "")
        print(f"{stage:<44}" + "".join(f"{cell:>22}" for cell in cells))


QUESTIONS = {"step": show_steps, "start": show_start, "growth": show_growth, "recording": show_recordings}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False,
        epilog="Further flags go to train_minimal.py, such as --rnn-hidden 256 --threads 2.",
    )  # fmt: skip
    parser.add_argument("--only", choices=QUESTIONS, help="answer only this question")
    parser.add_argument("--lengths", type=float, nargs="+", default=[2, 4, 8, 16], help="lengths of utterances in seconds")
    parser.add_argument("--steps", type=int, help="training steps per length; default: 3; for growth: 2000")
    parser.add_argument("--longest", type=float, default=8, help="longest utterance for growth, in seconds")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60], help="lengths of the recordings in minutes")
    parser.add_argument("--hours", type=float, default=100, help="hours of simulated training speech")
    parser.add_argument("--data", help="corpus whose files are repeated; default: synthetic speech")
    parser.add_argument("--files", type=int, default=36, help="number of synthetic files that are repeated")
    parser.add_argument("--go-on", type=float, default=5, help="hours of audio read after the first step, to fill caches")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    args, flags = parser.parse_known_args()
    print(machine("torch", "numpy", "soundfile"))
    for name in [args.only] if args.only else QUESTIONS:
        QUESTIONS[name](args, flags)


if __name__ == "__main__":
    main()
