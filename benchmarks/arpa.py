"""Measures the time and memory to read a large ARPA file, compared with KenLM's reader if that is installed.

    pip install kenlm   # optional
    python benchmarks/arpa.py [--ngrams 1300000 --order 3 --rounds 3]
    python benchmarks/arpa.py --file lm.arpa

The file holds the n-grams of random sentences, whose words follow Zipf's law. The readers take turns, each in a process of its
own; memory is the growth of the process's peak. The scores of 1,000 sentences must agree. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from machine import machine

from decoding.arpa import BOS, EOS, UNKNOWN
from decoding.ngrams import NGramModel

WORDS = 50_000  # in the vocabulary; they have two to nine letters
PACKAGES = [name for name in ("numpy", "kenlm") if importlib.util.find_spec(name)]


def random_words(rng: np.random.Generator) -> list[str]:
    """The special symbols of a model, then different words of two to nine letters."""
    letters = rng.integers(97, 123, (WORDS, 9), dtype=np.uint8)
    words = (bytes(row[:length]).decode() for row, length in zip(letters, rng.integers(2, 10, WORDS), strict=True))
    return [UNKNOWN, BOS, EOS, *dict.fromkeys(words)]


def random_sentences(count: int, words: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 12) numbers of words: <s>, ten words drawn by Zipf's law, and </s>."""
    chances = 1 / np.arange(1, words - 2)
    drawn = 3 + rng.choice(words - 3, (count, 10), p=chances / chances.sum())
    return np.pad(drawn, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 2)))


def write_file(path: Path, size: int, order: int) -> None:
    """Writes an ARPA file of at least ``size`` n-grams, all those in random sentences, with random probabilities."""
    rng = np.random.default_rng(0)
    words = random_words(rng)
    levels = [np.arange(len(words)), *[np.zeros(0, np.int64)] * (order - 1)]  # an n-gram is one number; its digits are the words
    while sum(map(len, levels)) < size:
        sentences = random_sentences(5000, len(words), rng)
        for n in range(2, order + 1):
            digits = np.lib.stride_tricks.sliding_window_view(sentences, n, axis=1).reshape(-1, n)  # (n-grams, n)
            levels[n - 1] = np.union1d(levels[n - 1], digits @ len(words) ** np.arange(n - 1, -1, -1))
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n" + "".join(f"ngram {n}={len(level)}\n" for n, level in enumerate(levels, start=1)))
        for n, level in enumerate(levels, start=1):
            file.write(f"\n\\{n}-grams:\n")
            for number in level.tolist():
                ngram = [words[number // len(words) ** i % len(words)] for i in range(n - 1, -1, -1)]
                ends = n == order or ngram[-1] == EOS  # nothing follows, so there is no back-off weight
                file.write(f"{-6 * rng.random():.6f}\t{' '.join(ngram)}" + ("\n" if ends else f"\t{-rng.random():.6f}\n"))
        file.write("\n\\end\\\n")


def peak_mb() -> float:
    """Largest resident memory this process has had, in MB of 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def read(reader: str, path: Path, texts: list[str]) -> tuple[float, float, list[float]]:
    """Reads the file; returns seconds, MB, and the log10 probabilities of the texts."""
    if reader == "kenlm":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its progress bar
        import kenlm
    before, start = peak_mb(), time.perf_counter()
    model = NGramModel.read_arpa(path) if reader == "this library" else kenlm.Model(str(path))
    seconds = time.perf_counter() - start
    return seconds, peak_mb() - before, [model.score(text) / (math.log(10) if reader == "this library" else 1) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--file", type=Path, help="read this file; default: a new one")
    parser.add_argument("--ngrams", type=int, default=1_300_000, help="smallest number of n-grams in the new file")
    parser.add_argument("--order", type=int, default=3, choices=(2, 3, 4), help="order of the new file")
    parser.add_argument("--rounds", type=int, default=3, help="how many times each reader reads the file")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    words = random_words(rng)
    texts = [" ".join(words[i] for i in sentence) for sentence in random_sentences(1000, len(words), rng)[:, 1:-1].tolist()]
    print(machine(*PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        if args.file is None:
            write_file(Path(folder) / "lm.arpa", args.ngrams, args.order)
        path = args.file or Path(folder) / "lm.arpa"
        readers = ["this library", *(["kenlm"] if "kenlm" in PACKAGES else [])]
        found: dict[str, list] = {reader: [] for reader in readers}
        for reader in readers * args.rounds:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found[reader].append(pool.submit(read, reader, path, texts).result())
        print(f"{len(NGramModel.read_arpa(path).ngrams)} n-grams, {path.stat().st_size / 1e6:.1f} MB, {args.rounds} rounds")
    for reader, rounds in found.items():
        seconds, megabytes = [statistics.median(row[i] for row in rounds) for i in (0, 1)]
        print(f"{reader:<14} {seconds:6.2f} s  {megabytes:6.0f} MB")
    scores = np.array([rounds[0][2] for rounds in found.values()])
    print(f"largest difference in a sentence's log10 probability: {np.ptp(scores, axis=0).max():.1e}")


if __name__ == "__main__":
    main()
