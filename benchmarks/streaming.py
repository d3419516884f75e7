"""Measures what streaming costs: computing, memory, a training step without the backward direction, and many streams at once.

    python benchmarks/streaming.py                          # computing for 100 ms of audio, and forward-only training steps
    python benchmarks/streaming.py --memory 60              # memory after this many minutes of audio
    python benchmarks/streaming.py --dispatch --plot FILE   # live streams served one by one or in batches (Section 7.1)

The model is that of Section 7.4 with 256 instead of 2,560 units and random weights: five forward-only GRU layers, a row
convolution of 19 frames, a fully connected layer; 65 bins at 16 kHz, an output every 20 ms. Live streams send 100 ms of audio
every 100 ms, each starting at its own time; the latency of a chunk is the time from its arrival to its text. One by one: the
chunk that has waited longest is served next. In batches, eagerly: as soon as one batch is done, all waiting chunks are served
together. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import (
    CharEncoder,
    CorpusStatistics,
    DeepSpeech2,
    Features,
    collate_features,
    generate_synthetic_audio,
    train_step,
)
from models.checkpoints import Checkpoint, ModelConfig
from models.streaming import StreamingRecognizer, accept_together
from models.transcription import Decoder
from pictures.figures import GREY, RED, WIDTH, new_figure
from speech.utterances import counted
from training.machine import keep_freed_memory

RATE, CHUNK = 16000, 0.1  # Hz, seconds
ENCODER = CharEncoder()
LATENCIES = ("one by one", "in batches")


def deployed(hidden: int) -> Checkpoint:
    """The model of Section 7.4 at this width, untrained."""
    torch.manual_seed(0)
    statistics_of_bins = CorpusStatistics(0.1, (-1.0,) * 65, (2.0,) * 65)
    features = Features(sample_rate=RATE, n_fft=128, normalisation="corpus", corpus=statistics_of_bins)
    config = ModelConfig(features, n_rnn=5, rnn_hidden=hidden, bidirectional=False, row_conv=19, fc_hidden=hidden)
    return Checkpoint(config.build(ENCODER).eval(), config, ENCODER)


def speech(seconds: float) -> np.ndarray:
    """(N,) float32 samples of the synthetic voice."""
    texts = ("the quick brown fox jumps over the lazy dog", "we see the little moon in the green room")
    voices = [generate_synthetic_audio(text, speaker=speaker, sample_rate=RATE) for speaker, text in enumerate(texts * 4)]
    return np.resize(torch.cat(voices).numpy(), round(seconds * RATE))


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share))


# ---------------------------------------------------------------------------------------------
# Computing
# ---------------------------------------------------------------------------------------------


def compute(hidden: int, seconds: float) -> None:
    """Prints the time for each 100 ms of audio, greedily and with a beam."""
    trained, audio, size = deployed(hidden), speech(seconds), round(CHUNK * RATE)
    for name, decoder in (("greedy", None), ("beam 20", Decoder(20))):
        recognizer, times = StreamingRecognizer(trained, decoder=decoder), []
        for start in range(0, len(audio), size):
            begun = time.perf_counter()
            recognizer.accept(audio[start : start + size])
            times.append(1000 * (time.perf_counter() - begun))
        times = times[10:]  # without those in which the row convolution waits and caches fill
        print(f"100 ms of audio, 5 x {hidden}, one thread, {name}: median {statistics.median(times):.1f} ms, "
              f"98th percentile {percentile(times, 0.98):.1f} ms")  # fmt: skip


def training_steps(hidden: int, frames: int, rounds: int) -> None:
    """Prints the times of forward-only and bidirectional steps, which alternate."""
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(65, frames, generator=generator) for _ in range(8)]
    batch = collate_features(features, ["see"] * 8, ENCODER)
    steps = {}
    for both in (True, False):
        model = DeepSpeech2(65, ENCODER.vocab_size, n_rnn=5, rnn_hidden=hidden, bidirectional=both)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
        steps[both] = lambda model=model, optimizer=optimizer: train_step(model, batch, optimizer)
    times = alternating(steps, rounds)
    ratios = [forward / both for forward, both in zip(times[False], times[True], strict=True)]
    both, forward = (statistics.median(times[name]) for name in (True, False))
    print(f"training step, 8 utterances of {frames / 100:g} s, 5 x {hidden}, two threads: bidirectional {both:.0f} ms, "
          f"forward only {forward:.0f} ms, {statistics.median(ratios):.2f} of the time "
          f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


def alternating(contestants: dict[object, Callable], rounds: int) -> dict[object, list[float]]:
    """Milliseconds of each contestant, round by round; the first round does not count."""
    times: dict[object, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, contestant in contestants.items():
            begun = time.perf_counter()
            contestant()
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: of[1:] for name, of in times.items()}


# ---------------------------------------------------------------------------------------------
# Memory
# ---------------------------------------------------------------------------------------------


def resident_mb() -> float:
    """The current memory of this process, in MB of 2^20 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory(hidden: int, minutes: int) -> None:
    """Prints the memory after a minute, and after each tenth of the time."""
    trained, size, minute, first = deployed(hidden), round(CHUNK * RATE), speech(60), None
    trained.model.output.weight.data *= 30  # with the next line: no symbol wins in all frames, so there is text to keep
    trained.model.output.bias.data -= StreamingRecognizer(trained).log_probs(minute[: 10 * RATE]).mean(0)
    recognizer = StreamingRecognizer(trained, decoder=Decoder(8))
    for number in range(1, minutes + 1):
        for start in range(0, len(minute), size):
            heard = recognizer.accept(minute[start : start + size])
        gc.collect()
        first = first or resident_mb()
        if number == 1 or number % max(1, minutes // 10) == 0:
            print(f"after {number} minutes: {resident_mb():.0f} MB, {resident_mb() / first - 1:+.1%}; "
                  f"{len(heard.text)} characters", flush=True)  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Batch dispatch
# ---------------------------------------------------------------------------------------------


def live(trained: Checkpoint, streams: int, together: bool, seconds: float) -> tuple[list[float], list[int]]:
    """Latencies in ms of all chunks of live streams, and the size of each batch."""
    rng, size, audio = np.random.default_rng(0), round(CHUNK * RATE), speech(seconds + 2)
    recognizers = [StreamingRecognizer(trained) for _ in range(streams)]
    for recognizer in recognizers:
        recognizer.accept(audio[: 10 * size])  # past the beginning, where the row convolution waits
    chunks = int(seconds / CHUNK)
    coming = sorted((CHUNK * number + offset, stream, 10 + number)
                    for stream, offset in enumerate(rng.uniform(0, CHUNK, streams)) for number in range(chunks))  # fmt: skip
    latencies, batches, place, begun = [], [], 0, time.perf_counter()
    while place < len(coming):
        now = time.perf_counter() - begun
        if coming[place][0] > now:
            time.sleep(coming[place][0] - now)
            continue
        served = [coming[place]]
        if together:  # the next chunk of a stream waits for the previous one
            for later in coming[place + 1 : place + streams]:
                if later[0] <= now and later[1] not in {stream for _, stream, _ in served}:
                    served.append(later)
                else:
                    break
        place += len(served)
        accept_together(
            [recognizers[stream] for _, stream, _ in served],
            [audio[number * size : (number + 1) * size] for _, _, number in served],
        )
        done = time.perf_counter() - begun
        latencies += [1000 * (done - arrival) for arrival, _, _ in served]
        batches.append(len(served))
    return latencies, batches


def dispatch(hidden: int, counts: Sequence[int], seconds: float, plot: Path | None) -> None:
    """Prints latencies and batches for each number of streams, and draws them."""
    trained, rows = deployed(hidden), []
    live(trained, 2, True, 1.0)
    for streams in counts:
        row = {"streams": streams}
        for together, name in zip((False, True), LATENCIES, strict=True):
            latencies, batches = live(trained, streams, together, seconds)
            row[name] = (statistics.median(latencies), percentile(latencies, 0.98))
        row["batches"] = batches
        rows.append(row)
        in_larger = sum(size for size in batches if size > 1) / sum(batches)
        print(f"{streams:3d} streams: " + "; ".join("{}: median {:.0f} ms, 98th percentile {:.0f} ms".format(name, *row[name])
              for name in LATENCIES) + f"; {in_larger:.0%} of the work in batches of 2 or more", flush=True)  # fmt: skip
    if plot:
        draw(rows, plot)


def size_class(size: int) -> int:
    """Batches of 1, of 2, of 3 or 4, of 5 to 8, and so on."""
    return (size - 1).bit_length()


def draw(rows: Sequence[dict], path: Path) -> None:
    """Shares of the work by batch size, and latencies, both against the number of streams (as in Figures 5 and 6)."""
    figure, (axes,) = new_figure(1, 2, (WIDTH, 4), f"measured here: {machine('torch')}")
    left, right = axes
    shown = [row for row in rows if row["streams"] in (1, 5, 10, 20, 30, 60)] or rows
    classes = 1 + max(size_class(max(row["batches"])) for row in shown)
    for place, (row, colour) in enumerate(zip(shown, colormaps["viridis"](np.linspace(0, 0.9, len(shown))), strict=True)):
        share = np.bincount([size_class(size) for size in row["batches"]], row["batches"], classes) / sum(row["batches"])
        shift = 0.9 * ((place + 0.5) / len(shown) - 0.5)
        label = counted(row["streams"], "stream")
        left.bar(np.arange(classes) + shift, 100 * share, 0.9 / len(shown), color=colour, label=label)
    left.set_xticks(range(classes), [f"{2**n // 2 + 1}-{2**n}" if n > 1 else f"{2**n}" for n in range(classes)])
    left.set(xlabel="chunks in a batch", ylabel="share of all chunks, %", ylim=(0, 100), title="how large the batches are")
    streams = [row["streams"] for row in rows]
    for name, colour in zip(LATENCIES, (RED, GREY), strict=True):
        for part, style, of in ((0, "--", "median"), (1, "-", "98th percentile")):
            right.plot(streams, [row[name][part] for row in rows], style, color=colour, label=f"{name}, {of}")
    right.set(xlabel="live streams", ylabel="latency of a chunk, ms, logarithmic", yscale="log")
    right.set(title="how long a chunk waits for its text")
    right.yaxis.set_major_formatter("{x:,.0f}")
    for axis, side, ncols in ((left, "left", 3), (right, "right", 2)):
        handles = axis.get_legend_handles_labels()
        figure.legend(*handles, loc=f"outside upper {side}", ncols=ncols, frameon=False, fontsize=9)
    figure.savefig(path)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--hidden", type=int, default=256)
    add("--seconds", type=float, default=20.0, help="seconds of audio, or of live streams")
    add("--rounds", type=int, default=9, help="rounds of training steps")
    add("--frames", type=int, default=400, help="frames of an utterance in a training step")
    add("--memory", type=int, metavar="MINUTES")
    add("--dispatch", action="store_true")
    add("--streams", type=int, nargs="+", default=[1, 2, 5, 8, 10, 12, 15, 20, 30, 40])
    add("--threads", type=int, default=1, help="threads of torch, except in training steps")
    add("--plot", type=Path)
    args = parser.parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    print(machine("torch", "numpy", threads=args.threads))
    if args.memory:
        memory(args.hidden, args.memory)
    elif args.dispatch:
        dispatch(args.hidden, args.streams, args.seconds, args.plot)
    else:
        compute(args.hidden, args.seconds)
        training_steps(args.hidden, args.frames, args.rounds)


if __name__ == "__main__":
    main()
