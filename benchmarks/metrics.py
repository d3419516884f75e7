"""Measures the seconds to decode and to score a test set; compares the word errors with jiwer's.

    python benchmarks/metrics.py [--utterances 2600 --words 20 --rounds 7]

2,600 utterances of 20 words are about as much as LibriSpeech's test-clean. The hypotheses are the references with random words
replaced, left out and inserted; the log-probabilities are made from them, with about 2.5 frames per letter. Before anything is
timed, greedy decoding must give the hypotheses back, and both counts of word errors must agree. The tasks take turns in one
process; medians are printed. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import SYNTHETIC_WORDS, CharEncoder, count_word_errors, greedy_decode

Batches = list[tuple[torch.Tensor, torch.Tensor]]  # log_probs (T', B, V), output lengths (B,)


def with_errors(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The words, each replaced, left out, or followed by another with probability ``share / 3``; at least one stays."""
    changed = []
    for word, chance in zip(words, rng.random(len(words)) / share, strict=True):
        other = SYNTHETIC_WORDS[rng.integers(len(SYNTHETIC_WORDS))]
        changed += [other] if chance < 1 / 3 else [] if chance < 2 / 3 else [word, other] if chance < 1 else [word]
    return changed or words[:1]


def random_path(labels: list[int], rng: np.random.Generator) -> list[int]:
    """A CTC path for the labels: each lasts 1 or 2 frames, then come 0 to 2 frames of blank, at least 1 between equal labels."""
    path: list[int] = []
    held, blanks = rng.integers(1, 3, len(labels)).tolist(), rng.integers(0, 3, len(labels)).tolist()
    for place, label in enumerate(labels):
        doubled = place + 1 < len(labels) and labels[place + 1] == label
        path += [label] * held[place] + [0] * max(blanks[place], doubled)
    return path


def log_probabilities(texts: list[str], encoder: CharEncoder, batch_size: int, rng: np.random.Generator) -> Batches:
    """Minibatches of noise in which a path of each text is the likeliest."""
    batches = []
    for start in range(0, len(texts), batch_size):
        paths = [torch.tensor(random_path(encoder.encode(text), rng)) for text in texts[start : start + batch_size]]
        best = torch.nn.utils.rnn.pad_sequence(paths)  # (T', B)
        scores = torch.rand(*best.shape, encoder.vocab_size) + 8 * torch.nn.functional.one_hot(best, encoder.vocab_size)
        batches.append((scores.log_softmax(-1), torch.tensor([len(path) for path in paths])))  # (T', B, V)
    return batches


def decode(batches: Batches, encoder: CharEncoder) -> list[str]:
    return [text for log_probs, lengths in batches for text in greedy_decode(log_probs, encoder, lengths)]


def check(references: list[str], hypotheses: list[str], batches: Batches, encoder: CharEncoder) -> str:
    """What both libraries count, if they agree; among equally short alignments they may choose different ones.

    Raises:
        SystemExit: if the decoded texts or the counts differ.
    """
    if decode(batches, encoder) != hypotheses:
        sys.exit("greedy decoding does not give the hypotheses back: nothing is timed")
    ours, theirs = count_word_errors(references, hypotheses), jiwer.process_words(references, hypotheses)
    errors = theirs.substitutions + theirs.deletions + theirs.insertions
    words = theirs.hits + theirs.substitutions + theirs.deletions
    if (ours.errors, ours.reference_length) != (errors, words):
        sys.exit(f"jiwer counts {errors}/{words}, this library {ours.errors}/{ours.reference_length}: nothing is timed")
    return f"both count {errors} errors in {words} words"


def measure(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each task, one value per round; the first round is not counted."""
    seconds = {name: [] for name in tasks}
    for round_number in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--utterances", type=int, default=2600)
    parser.add_argument("--words", type=int, default=20, help="words in each reference")
    parser.add_argument("--batch-size", type=int, default=16, help="utterances decoded at once")
    parser.add_argument("--error-share", type=float, default=0.2, help="share of words that are changed, above 0")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds")
    args = parser.parse_args()
    torch.manual_seed(0)
    rng, encoder = np.random.default_rng(0), CharEncoder()
    spoken = rng.choice(SYNTHETIC_WORDS, (args.utterances, args.words)).tolist()
    references = [" ".join(words) for words in spoken]
    hypotheses = [" ".join(with_errors(words, args.error_share, rng)) for words in spoken]
    batches = log_probabilities(hypotheses, encoder, args.batch_size, rng)
    print(machine("torch", "numpy", "jiwer", "rapidfuzz", threads=torch.get_num_threads()))
    frames = sum(int(lengths.sum()) for _, lengths in batches) / sum(map(len, hypotheses))
    print(f"{args.utterances} utterances of {args.words} words, {frames:.1f} frames a letter, batches of {args.batch_size}")
    print(f"{args.rounds} rounds; {check(references, hypotheses, batches, encoder)}\n")
    seconds = measure({
        "greedy_decode": lambda: decode(batches, encoder),
        "count_word_errors": lambda: count_word_errors(references, hypotheses),
        "jiwer.process_words": lambda: jiwer.process_words(references, hypotheses),
    }, args.rounds)  # fmt: skip
    greedy, ours, theirs = seconds.values()
    seconds["both of ours"] = [a + b for a, b in zip(greedy, ours, strict=True)]
    for name, values in seconds.items():
        print(f"{name:<20} {statistics.median(values):7.3f} s ({min(values):.3f} to {max(values):.3f})")
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"count_word_errors takes {statistics.median(ratios):.2f} times as long as jiwer ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
