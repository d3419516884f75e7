"""Compares a training step of this library with the same model built from PyTorch's own layers.

    python benchmarks/train_step.py [--batch 8 --frames 200 --bins 129 --hidden 256 --layers 3 --rnn-type gru]
    python benchmarks/train_step.py --symbols 6792   # also this library's step with this many output symbols instead of 29

The stock model: nn.Conv2d + nn.BatchNorm2d + nn.Hardtanh, packed bidirectional nn.GRU (or nn.LSTM) + nn.BatchNorm1d +
nn.Hardtanh, with the same shapes, batch, loss and optimiser. Both take turns in one process; medians are printed. Run
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import CONVOLUTIONS, DeepSpeech2, RecurrentLayer, SpectrogramBatch, train_step
from training.machine import keep_freed_memory
from training.optimisation import make_optimizer

OURS = "this library"
STOCK_LAYERS = {"gru": nn.GRU, "lstm": nn.LSTM}


class StockModel(nn.Module):
    """The model built in the usual way; it does not mask padding, which only makes it faster."""

    def __init__(self, bins: int, vocab: int, hidden: int, layers: int, rnn_type: str) -> None:
        super().__init__()
        blocks, channels = [], 1
        for layer in CONVOLUTIONS["2-layer 2D"]:
            out, padding = layer.channels, (layer.kernel[0] // 2, layer.kernel[1] // 2)
            blocks += [nn.Conv2d(channels, out, layer.kernel, layer.stride, padding), nn.BatchNorm2d(out), nn.Hardtanh(0, 20)]
            channels, bins = out, -(-bins // layer.stride[0])
        self.convolutions = nn.Sequential(*blocks)
        sizes = [channels * bins] + [2 * hidden] * (layers - 1)
        self.recurrences = nn.ModuleList(STOCK_LAYERS[rnn_type](size, hidden, bidirectional=True) for size in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(2 * hidden) for _ in sizes)
        self.output = nn.Linear(2 * hidden, vocab)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, lengths = self.convolutions(features), (lengths + 1) // 2
        x = x.permute(3, 0, 1, 2).flatten(2)
        for recurrence, norm in zip(self.recurrences, self.norms, strict=True):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            x = nn.utils.rnn.pad_packed_sequence(recurrence(packed)[0])[0]
            x = F.hardtanh(norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]), 0, 20)
        return F.log_softmax(self.output(x).float(), -1), lengths


def stock_step(model: StockModel, batch: SpectrogramBatch, optimizer: torch.optim.Optimizer) -> None:
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    optimizer.zero_grad(set_to_none=True)
    F.ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 400)
    optimizer.step()


def random_batch(args: argparse.Namespace) -> SpectrogramBatch:
    lengths = torch.linspace(0.85, 1.0, args.batch).mul(args.frames).long()
    features = torch.randn(args.batch, 1, args.bins, args.frames)
    symbols = args.frames // 8
    targets = torch.randint(1, 29, (args.batch * symbols,))
    return SpectrogramBatch(features, lengths, targets, torch.full((args.batch,), symbols), [""] * args.batch)


def step_operations(args: argparse.Namespace) -> float:
    """Billions of multiplications and additions per step, as its layers are defined; the backward pass counts twice."""
    frames, bins, channels, products = -(-args.frames // 2), args.bins, 1, 0
    for layer in CONVOLUTIONS["2-layer 2D"]:
        bins = -(-bins // layer.stride[0])
        products += frames * bins * layer.channels * channels * layer.kernel[0] * layer.kernel[1]
        channels = layer.channels
    width = channels * bins
    for _ in range(args.layers):
        products += frames * 2 * RecurrentLayer.GATES[args.rnn_type] * args.hidden * (width + args.hidden)
        width = 2 * args.hidden
    return 3 * 2 * args.batch * (products + frames * width * 29) / 1e9


def matrix_peak() -> float:
    """Billions of multiplications and additions per second in a large square matrix product."""
    a, seconds = torch.randn(1536, 1536), []
    for _ in range(7):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * 1536**3 / statistics.median(seconds) / 1e9


def contestants(args: argparse.Namespace, batch: SpectrogramBatch) -> dict[str, Callable[[], object]]:
    """A step of each model: the stock one, this library's, and, if asked, this library's with more symbols."""
    stock = StockModel(args.bins, 29, args.hidden, args.layers, args.rnn_type)
    stock_optimizer = make_optimizer("adamw", stock, 1e-4)
    steps: dict[str, Callable[[], object]] = {"stock layers": lambda: stock_step(stock, batch, stock_optimizer)}
    for symbols in filter(None, (29, args.symbols)):
        model = DeepSpeech2(args.bins, symbols, n_rnn=args.layers, rnn_hidden=args.hidden, rnn_type=args.rnn_type)
        optimizer = make_optimizer("adamw", model, 1e-4)
        name = OURS if symbols == 29 else f"this library, {symbols} symbols"
        steps[name] = lambda model=model, optimizer=optimizer: train_step(model, batch, optimizer)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("batch", 8), ("frames", 200), ("bins", 129), ("hidden", 256), ("layers", 3), ("rounds", 10)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--symbols", type=int, metavar="V", help="also time this library with V output symbols, blank included")
    parser.add_argument("--rnn-type", choices=tuple(STOCK_LAYERS), default="gru", help="(default: gru)")
    args = parser.parse_args()
    torch.manual_seed(0)
    batch = random_batch(args)
    steps = contestants(args, batch)
    seconds = {name: [] for name in steps}
    keep_freed_memory()  # helps both; without it the stock model takes even longer
    for round_number in range(args.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    shape = f"B={args.batch} T={args.frames} {args.bins} bins H={args.hidden} {args.layers} {args.rnn_type} layers"
    peak, operations = matrix_peak(), step_operations(args)
    print(machine("torch"))
    print(f"{shape}, fp32, {torch.get_num_threads()} threads, {args.rounds} rounds; matrix peak {peak:.0f} GFLOP/s")
    for name, values in seconds.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        share = f", {100 * operations / middle / peak:.0f} % of the peak" if name in ("stock layers", OURS) else ""
        print(f"{name:<14} {1000 * middle:7.0f} ms a step (from {1000 * low:.0f} to {1000 * high:.0f}){share}")
    for name in [name for name in seconds if name != OURS]:
        ratios = sorted(a / b for a, b in zip(seconds[name], seconds[OURS], strict=True))
        print(f"ratio, round by round: {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f}), {name}")


if __name__ == "__main__":
    main()
