"""Prefix beam search of this library against pyctcdecode's, without a language model.

    pip install pyctcdecode   # optional; without it only this library is timed
    python benchmarks/decode.py [--width 100 --utterances 20]

Both decode the same log-probabilities, made from random words with two or three frames a letter and noise, alternating in one
process. Pruned: this library with the paper's rule (Section 7.3: symbols that together reach 0.99, at most 40), pyctcdecode with
its own defaults. Unpruned: all symbols and all prefixes up to the width. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import SYNTHETIC_WORDS, CharEncoder, prefix_beam_search

ENCODER = CharEncoder()


def noisy_log_probs(text: str, noise: float, rng: np.random.Generator) -> np.ndarray:
    """(T', V) of a text as a middling network might give them: letters held, blanks between, all with noise."""
    path: list[int] = []
    for label in ENCODER.encode(text):
        path += [label] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    logits = 6.0 * np.eye(ENCODER.vocab_size)[path] + noise * rng.normal(size=(len(path), ENCODER.vocab_size))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def searches(width: int) -> dict[str, Callable[[np.ndarray], str]]:
    """The contestants by name: each turns log-probabilities into a text."""

    def ours(**pruning: float) -> Callable[[np.ndarray], str]:
        return lambda log_probs: ENCODER.decode(prefix_beam_search(log_probs, width, **pruning)[0].labels)

    found = {"this library, pruned": ours(cutoff=0.99, max_labels=40), "this library, unpruned": ours()}
    try:
        from pyctcdecode import build_ctcdecoder
    except ImportError:
        return found
    logging.disable(logging.WARNING)
    decoder = build_ctcdecoder(["", *ENCODER.alphabet])
    everything = {"token_min_logp": -1e9, "beam_prune_logp": -1e9}
    found["pyctcdecode, pruned"] = lambda log_probs: decoder.decode(log_probs, beam_width=width)
    found["pyctcdecode, unpruned"] = lambda log_probs: decoder.decode(log_probs, beam_width=width, **everything)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("width", 100), ("utterances", 20), ("words", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"(default: {value})")
    parser.add_argument("--noise", type=float, default=1.0, help="of the logits (default: 1.0)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(SYNTHETIC_WORDS, args.words)) for _ in range(args.utterances)]
    inputs = [noisy_log_probs(text, args.noise, rng) for text in texts]
    frames = sum(map(len, inputs))
    seconds: dict[str, list[float]] = {}
    right: dict[str, int] = {}
    for _ in range(args.rounds):
        for name, search in searches(args.width).items():
            start = time.perf_counter()
            found = [search(log_probs) for log_probs in inputs]
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            right[name] = sum(a == b for a, b in zip(found, texts, strict=True))
    print(machine("numpy"))
    print(f"{args.utterances} utterances, {frames} frames, width {args.width}, {args.rounds} rounds")
    for name, values in sorted(seconds.items(), key=lambda item: statistics.median(item[1])):
        per_frame = 1e6 * statistics.median(values) / frames
        print(f"{name:<24} {statistics.median(values):7.2f} s  {per_frame:6.0f} us a frame  {right[name]}/{len(texts)} right")
    for kind in ("pruned", "unpruned"):
        if f"pyctcdecode, {kind}" in seconds:
            pairs = zip(seconds[f"pyctcdecode, {kind}"], seconds[f"this library, {kind}"], strict=True)
            print(f"{kind}: pyctcdecode takes {statistics.median(a / b for a, b in pairs):.2f} times as long")


if __name__ == "__main__":
    main()
