"""Compares synchronous SGD in several processes of one thread each with one such process, on the same whole minibatch.

    python benchmarks/data_parallel.py [--processes 2 --batch 16 --frames 400 --bins 129 --hidden 256 --layers 3 --rnn-type gru]

The processes divide each minibatch as in training (training/parallel.py). They take turns with the first process alone,
which then has the whole minibatch, or only its share, while the others wait. The time for its share alone is the best that the
processes together could reach. Medians are printed. It needs as many free cores as processes: run nothing else meanwhile.
--plot FILE draws what more processes would have to send one another, and what they compute (Section 4.1).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import DeepSpeech2, SpectrogramBatch, shared_batch, train_step
from pictures.figures import BLUE, RED, WIDTH, new_figure
from training.machine import keep_freed_memory
from training.optimisation import make_optimizer
from training.parallel import ParallelModel, shares

UNTIMED = 2  # rounds in which memory is allocated and buckets are filled


def batch_of(utterances: list[int], args: argparse.Namespace) -> SpectrogramBatch:
    """A minibatch of the chosen ones among the random utterances, which are the same in each process."""
    torch.manual_seed(1)
    lengths, symbols = torch.linspace(0.7, 1.0, args.batch).mul(args.frames).long(), args.frames // 8
    features, targets = torch.randn(args.batch, 1, args.bins, args.frames), torch.randint(1, 29, (args.batch, symbols))
    chosen = lengths[utterances]
    heard = features[utterances][..., : int(chosen.max())].contiguous()
    labels = torch.full((len(utterances),), symbols)
    return SpectrogramBatch(heard, chosen, targets[utterances].flatten(), labels, [""] * len(utterances))


def measure(args: argparse.Namespace) -> None:
    """What one process does; the first process writes the seconds of its steps to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{args.meeting}", rank=args.rank, world_size=args.processes)
    torch.manual_seed(0)
    model = DeepSpeech2(args.bins, 29, n_rnn=args.layers, rnn_hidden=args.hidden, rnn_type=args.rnn_type)
    parallel = ParallelModel(copy.deepcopy(model))
    optimizers = {network: make_optimizer("adamw", network, 1e-4) for network in (model, parallel)}
    lengths = torch.linspace(0.7, 1.0, args.batch).tolist()
    whole = batch_of(list(range(args.batch)), args)
    share = batch_of(shares(range(args.batch), lengths, args.processes)[args.rank], args)
    keep_freed_memory()
    weights = sum(p.numel() for p in model.parameters())
    gradient = torch.zeros(weights)
    seconds: dict[str, list[float]] = {"alone": [], "share": [], "together": [], "sums": []}
    for _ in range(args.rounds + UNTIMED):
        for name, network, batch in (("alone", model, whole), ("share", model, share), ("together", parallel, share)):
            dist.barrier()
            start = time.perf_counter()
            if name == "together" or args.rank == 0:
                with shared_batch() if name == "together" else contextlib.nullcontext():
                    train_step(network, batch, optimizers[network])
            seconds[name].append(time.perf_counter() - start)
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(gradient)
        seconds["sums"].append(time.perf_counter() - start)
    if args.rank == 0:
        result = {name: values[UNTIMED:] for name, values in seconds.items()} | {"weights": weights}
        Path(f"{args.meeting}.json").write_text(json.dumps(result), encoding="utf-8")
    dist.destroy_process_group()


def run_processes(argv: list[str], processes: int) -> dict:
    """Starts the processes, waits for them, and returns what the first one measured."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, "meeting")
        commands = [
            [sys.executable, __file__, *argv, "--meeting", str(meeting), "--rank", str(rank)] for rank in range(processes)
        ]
        running = [subprocess.Popen(command, env=environment) for command in commands]
        ends = [process.wait() for process in running]
        if any(ends):
            sys.exit("a process failed")
        return json.loads(Path(f"{meeting}.json").read_text(encoding="utf-8"))


def draw(result: dict, args: argparse.Namespace, path: Path) -> None:
    """Draws ms per step for several processes with such a minibatch each: computing as measured, sending by the formula."""
    compute, size = 1000 * statistics.median(result["alone"]), 4 * result["weights"]
    sums = 1000 * statistics.median(result["sums"])
    text = (
        f"Measured here: {args.layers} {args.rnn_type.upper()} layers of {args.hidden}, {result['weights'] / 1e6:.1f} M weights, "
        f"{args.batch} utterances of {args.frames / 100:g} s, one thread. Formula of the ring all-reduce for P processes: "
        "2 (P − 1) / P × 4 bytes × weights / bandwidth. Each process keeps its minibatch, as each GPU in Section 4.1 keeps 64 "
        "utterances."
    )
    figure, axes = new_figure(1, 1, (WIDTH, 4.6), text)
    axis, processes = axes[0, 0], 2.0 ** np.arange(1, 8)
    axis.axhline(compute, color=BLUE, label=f"computing {args.batch} utterances, measured: {compute:.0f} ms")
    axis.plot([args.processes], [sums], "o", color="black", label=f"gradients, measured on one machine: {sums:.0f} ms")
    for gigabits in (1, 10, 100):
        sending = 1000 * 2 * (processes - 1) / processes * size / (gigabits * 1e9 / 8)
        axis.plot(processes, sending, color=RED, label="gradients, by the formula" if gigabits == 1 else None)
        axis.annotate(f"{gigabits} Gbit/s", (processes[-1], sending[-1]), (0, 4), textcoords="offset points", ha="right")
    axis.set(xscale="log", yscale="log", xlabel=f"processes, each with {args.batch} utterances, logarithmic")
    axis.set(ylabel="ms per step, logarithmic", ylim=(1, None))
    axis.set_xticks(processes, [f"{p:.0f}" for p in processes])
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.minorticks_off()
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"processes": 2, "batch": 16, "frames": 400, "bins": 129, "hidden": 256, "layers": 3, "rounds": 10}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--rnn-type", choices=("gru", "rnn", "lstm"), default="gru", help="(default: gru)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw gradient traffic against computing")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.meeting:
        measure(args)
        return
    result = run_processes(sys.argv[1:], args.processes)
    print(machine("torch"))
    print(f"B={args.batch} in all, T={args.frames} {args.bins} bins H={args.hidden} {args.layers} {args.rnn_type} layers, fp32, "
          f"{args.rounds} rounds; {4 * result['weights'] / 1e6:.1f} MB of gradients a step")  # fmt: skip
    one, several = "1 process of 1 thread", f"{args.processes} processes of 1 thread"
    labels = {"alone": one, "share": "the same, its share alone", "together": several, "sums": "gradients alone, summed"}
    for name, label in labels.items():
        values = result[name]
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{label:<26} {1000 * middle:7.0f} ms a step (from {1000 * low:.0f} to {1000 * high:.0f})")
    ratios = sorted(a / b for a, b in zip(result["alone"], result["together"], strict=True))
    if args.plot:
        draw(result, args, args.plot)
    print(f"speed-up, round by round: {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
