"""Measures what writing last.pt costs, and the share of time it takes at a given interval.

    python benchmarks/saving.py [--rounds 20 --minutes 10 --folder DIR]

It saves two models with the state of AdamW: the default one, and one with 5 layers of 512. Each save is the same as in
training: the file is serialised, synced to the disk and renamed, and the folder is synced. Medians are printed. Run nothing
else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import AudioSample, CharEncoder
from models.checkpoints import ModelConfig
from training.data import TrainingSet
from training.loop import Trainer
from training.run import Parts, Run
from training.settings import TrainingSettings

MODELS = {"default: 3 x 128": ModelConfig(), "5 x 512": ModelConfig(n_rnn=5, rnn_hidden=512)}


def run_of(config: ModelConfig, folder: Path) -> Run:
    """A run after one step, so that the optimiser has its moments."""
    encoder = CharEncoder()
    model = config.build(encoder)
    data = TrainingSet([AudioSample(torch.randn(8000), config.sample_rate, "a")], encoder, model)
    trainer = Trainer(model, data, TrainingSettings(epochs=2, device="cpu", precision="fp32"))
    trainer.run_epoch()
    return Run(Parts(trainer, config, encoder, {}), folder, "a benchmark")


def milliseconds(run: Run, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each save: elapsed time, and processor time."""
    clock, processor = [], []
    for _ in range(rounds + 1):
        start, begun = time.perf_counter(), time.process_time()
        run.save("last.pt")
        clock.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - begun))
    return clock[1:], processor[1:]  # the first one allocates memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="number of saves (default: 20)")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes from one save to the next (default: 10)")
    parser.add_argument("--folder", help="a folder on the disk to measure; default: the one for temporary files")
    args = parser.parse_args()
    print(machine("torch"))
    for name, config in MODELS.items():
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            run = run_of(config, Path(folder))
            clock, processor = milliseconds(run, args.rounds)
            size = (run.folder / "last.pt").stat().st_size / 1e6
        share = statistics.median(clock) / (60_000 * args.minutes)
        print(
            f"{name:<17} {size:6.1f} MB  {statistics.median(clock):7.1f} ms per save ({min(clock):.1f} to {max(clock):.1f}), "
            f"processor {statistics.median(processor):.1f} ms; every {args.minutes:g} min: {100 * share:.4f} % of the time"
        )


if __name__ == "__main__":
    main()
