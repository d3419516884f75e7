"""Compares this library's prefix beam search with pyctcdecode's, without and with a language model.

    pip install pyctcdecode kenlm   # optional; without them only this library is timed
    python benchmarks/decode.py [--width 100 --utterances 20]
    python benchmarks/decode.py --language-model   # models of words, a lexicon, characters; 29 and 6,792 symbols
    python benchmarks/decode.py --mandarin --width 200   # only those of 6,792 symbols, as wide as the paper's (Section 6)

All searches decode the same log-probabilities, made from random words (with 6,792 symbols: from random characters that follow
Zipf's law) with two or three frames per label and noise. They take turns in one process. The 6,792 symbols come twice: unclear,
where nearly every frame leaves 40 labels, and clear, as from a trained network, where most frames leave one or two. Pruned:
this library with the paper's rule (Section 7.3: symbols that together reach 0.99, at most 40), pyctcdecode with its own
defaults. Unpruned: all symbols and all prefixes up to the width. The language models are trained on 500 other texts. A scorer
remembers its answers, and each round begins with one that remembers nothing. Times are processor times, which other programs
change less than clock times; still, run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from decoding.ngrams import NGramModel
from decoding.scorers import CharacterScorer, WordScorer
from implementation import PAPER_PRUNING, SYNTHETIC_WORDS, BeamScorer, CharEncoder, prefix_beam_search

ALPHA, BETA = 1.0, 1.0
Search = Callable[[np.ndarray], str]


@dataclass
class Task:
    """Log-probabilities to decode, their texts, and the contestants: each makes a search with an empty memory."""

    name: str
    inputs: Sequence[np.ndarray]
    texts: Sequence[str]
    contestants: dict[str, Callable[[], Search]]


def noisy_log_probs(
    labels: Sequence[int], vocab: int, noise: float, rng: np.random.Generator, clarity: float = 6.0
) -> np.ndarray:
    """(T', V) for a text, as a mediocre network might give them: labels held, blanks between them, noise on everything."""
    path: list[int] = []
    for label in labels:
        path += [label] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    logits = noise * rng.normal(size=(len(path), vocab))
    logits[np.arange(len(path)), path] += clarity + np.log(vocab / 29)  # as clear among many symbols as among 29
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def ours(
    encoder: CharEncoder, width: int, make_scorer: Callable[[], BeamScorer | None], **pruning: float
) -> Callable[[], Search]:
    """This library's search."""

    def begin() -> Search:
        scorer = make_scorer()
        weights = (scorer, ALPHA, BETA) if scorer else ()
        return lambda log_probs: encoder.decode(prefix_beam_search(log_probs, width, *weights, **pruning)[0].labels)

    return begin


def theirs(encoder: CharEncoder, width: int, arpa: Path | None = None) -> dict[str, Callable[[], Search]]:
    """pyctcdecode's search, if installed, with KenLM if a language model is given."""
    try:
        from pyctcdecode import build_ctcdecoder

        logging.disable(logging.WARNING)
        decoder = build_ctcdecoder(["", *encoder.alphabet], str(arpa) if arpa else None, alpha=ALPHA, beta=BETA)
    except ImportError:
        return {}
    everything = {"token_min_logp": -1e9, "beam_prune_logp": -1e9}
    return {
        "pyctcdecode, pruned": lambda: lambda log_probs: decoder.decode(log_probs, beam_width=width),
        "pyctcdecode, unpruned": lambda: lambda log_probs: decoder.decode(log_probs, beam_width=width, **everything),
    }


def english(args: argparse.Namespace, rng: np.random.Generator) -> tuple[list[np.ndarray], list[str]]:
    """Inputs and texts in the alphabet's 29 symbols."""
    texts = [" ".join(rng.choice(SYNTHETIC_WORDS, args.words)) for _ in range(args.utterances)]
    encoder = CharEncoder()
    return [noisy_log_probs(encoder.encode(text), encoder.vocab_size, args.noise, rng) for text in texts], texts


def without_model(args: argparse.Namespace) -> list[Task]:
    """One task: the search alone."""
    encoder = CharEncoder()
    searches = {
        "this library, pruned": ours(encoder, args.width, lambda: None, **PAPER_PRUNING),
        "this library, unpruned": ours(encoder, args.width, lambda: None),
    }
    return [Task("29 symbols", *english(args, np.random.default_rng(0)), searches | theirs(encoder, args.width))]


def with_model(args: argparse.Namespace, folder: Path) -> list[Task]:
    """The task of 29 symbols with models of words and of characters; then the tasks of ``many_symbols``."""
    rng, encoder = np.random.default_rng(0), CharEncoder()
    inputs, texts = english(args, rng)
    training = [" ".join(rng.choice(SYNTHETIC_WORDS, args.words)) for _ in range(500)]
    words, characters = NGramModel.train(training, 3), NGramModel.train(training, 5, "character")
    words.write_arpa(folder / "words.arpa")
    scorers = {
        "words": lambda: WordScorer(words, encoder),
        "lexicon": lambda: WordScorer(words, encoder, lexicon=True),
        "characters": lambda: CharacterScorer(characters, encoder),
    }
    searches = {
        f"this library, {name}, pruned": ours(encoder, args.width, make, **PAPER_PRUNING) for name, make in scorers.items()
    }
    searches |= {f"this library, {name}, unpruned": ours(encoder, args.width, make) for name, make in scorers.items()}
    searches |= {name.replace(",", ", words,"): s for name, s in theirs(encoder, args.width, folder / "words.arpa").items()}
    return [Task("29 symbols, words and 5-grams of characters", inputs, texts, searches), *many_symbols(args, folder)]


def many_symbols(args: argparse.Namespace, folder: Path) -> list[Task]:
    """Two tasks, unclear and clear: 6,792 symbols, about as many as the paper's Mandarin has (3.9), 5-grams of characters."""
    rng, encoder = np.random.default_rng(0), CharEncoder("mandarin")
    hanzi = encoder.alphabet[28:]
    chances = 1 / np.arange(1, len(hanzi) + 1)
    texts = ["".join(rng.choice(hanzi, 2 * args.words, p=chances / chances.sum())) for _ in range(args.utterances + 500)]
    NGramModel.train(texts[args.utterances :], 5, "character").write_arpa(folder / "characters.arpa")
    model = NGramModel.read_arpa(folder / "characters.arpa")  # as --lm reads it
    texts, tasks = texts[: args.utterances], []
    for name, clarity in (("unclear", 6.0), ("clear", 12.0)):
        inputs = [noisy_log_probs(encoder.encode(text), encoder.vocab_size, args.noise, rng, clarity) for text in texts]
        searches = {
            "this library, no model, pruned": ours(encoder, args.width, lambda: None, **PAPER_PRUNING),
            "this library, characters, pruned": ours(
                encoder, args.width, lambda: CharacterScorer(model, encoder), **PAPER_PRUNING
            ),
        }
        tasks.append(Task(f"6,792 symbols, 5-grams of characters, {name}", inputs, texts, searches))
    return tasks


def run(task: Task, rounds: int) -> None:
    """Times the contestants, alternating, and prints a line for each."""
    seconds: dict[str, list[float]] = {name: [] for name in task.contestants}
    right: dict[str, int] = {}
    for _ in range(rounds):
        for name, begin in task.contestants.items():
            search = begin()
            start = time.process_time()
            found = [search(log_probs) for log_probs in task.inputs]
            seconds[name].append(time.process_time() - start)
            right[name] = sum(a == b for a, b in zip(found, task.texts, strict=True))
    frames = sum(map(len, task.inputs))
    print(f"\n{task.name}: {len(task.texts)} utterances, {frames} frames, {rounds} rounds")
    for name, values in sorted(seconds.items(), key=lambda item: statistics.median(item[1])):
        taken = statistics.median(values)
        print(f"{name:<34} {taken:7.2f} s  {1e6 * taken / frames:7.0f} us a frame  {right[name]}/{len(task.texts)} right")
    for name in (name for name in seconds if name.startswith("pyctcdecode")):
        own = name.replace("pyctcdecode", "this library")
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds[own], strict=True))
        print(f"{name} takes {ratio:.2f} times as long as {own}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("width", 100), ("utterances", 20), ("words", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--noise", type=float, default=1.0, help="noise of the logits (default: 1.0)")
    parser.add_argument("--language-model", action="store_true", help="time the searches with language models")
    parser.add_argument("--mandarin", action="store_true", help="of these, time only those with 6,792 symbols")
    args = parser.parse_args()
    print(f"{machine('numpy')}; width {args.width}")
    with tempfile.TemporaryDirectory() as folder:
        if args.mandarin:
            tasks = many_symbols(args, Path(folder))
        else:
            tasks = with_model(args, Path(folder)) if args.language_model else without_model(args)
        for task in tasks:
            run(task, args.rounds)


if __name__ == "__main__":
    main()
