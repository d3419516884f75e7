"""N-gram language models: Kneser-Ney smoothing, and ARPA files.

    texts -> NGramModel.train -> write_arpa -> lm.arpa -> read_arpa -> scorers.WordScorer or CharacterScorer -> beam search

Logarithms are natural, except in ``ngrams``, which holds what an ARPA file holds: base 10.
``python train_language_model.py sentences.txt -o lm.arpa`` makes such a file.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

BOS, EOS, UNKNOWN, SPACE = "<s>", "</s>", "<unk>", "<space>"
UNITS = ("word", "character")
_LN10 = math.log(10)
_NEVER = -99.0  # how ARPA files write log10(0), the probability that <s> follows something
_NO_UNKNOWN = -100.0  # log10 p of an unknown token in a file without <unk>, as in KenLM
NGram = tuple[str, ...]


# ---------------------------------------------------------------------------------------------
# Kneser-Ney smoothing
# ---------------------------------------------------------------------------------------------


def _adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[dict[NGram, int]]:
    """c(g) of the n-grams g, shortest first; orders beyond the longest sentence are left out.

    Of the highest order, and where g begins with <s>, c(g) is how often g occurs. Below, it is the continuation count: before how
    many different tokens. So "Francisco", frequent but only after "San", gets little where "San" is not before it.
    """
    counts: list[dict[NGram, int]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        tokens = (BOS, *sentence, EOS)
        for n, level in enumerate(counts, start=1):
            level.update(tokens[i : i + n] for i in range(len(tokens) - n + 1))
    counts = [level for level in counts if level]
    for n, (lower, higher) in enumerate(pairwise(counts)):
        counts[n] = {**lower, **Counter(ngram[1:] for ngram in higher)}
    return counts


def _discount(counts: Iterable[int]) -> float:
    """D = n1 / (n1 + 2 n2), with n1 n-grams of count 1 and n2 of count 2; 0.5 [ours] where there are none of either."""
    histogram = Counter(counts)
    n1, n2 = histogram[1], histogram[2]
    return n1 / (n1 + 2 * n2) if n1 and n2 else 0.5


def _interpolate(counts: list[dict[NGram, int]], tokens: Iterable[str]) -> tuple[dict[NGram, float], dict[NGram, float]]:
    """Probability p(w|h) of each n-gram hw, and the weight gamma(h) of the lower order in each context h."""
    counts[0] = {(token,): counts[0].get((token,), 0) for token in tokens}  # without <s>, which follows nothing
    probability, gamma = {(): 1 / len(counts[0])}, {}  # below the unigrams: all tokens alike, and so <unk> has its share
    for level in counts:
        discount = _discount(level.values())
        total, types = Counter(), Counter()
        for ngram, count in level.items():
            total[ngram[:-1]] += count
            types[ngram[:-1]] += count > 0
        # gamma(h) = D N1+(h .) / c(h), what the discounts leave
        gamma.update((context, discount * types[context] / total[context]) for context in total)
        # p(w|h) = max(c(hw) - D, 0) / c(h) + gamma(h) p(w|h'), h' = h without its first token
        for ngram, count in level.items():
            context = ngram[:-1]
            probability[ngram] = max(count - discount, 0) / total[context] + gamma[context] * probability[ngram[1:]]
    del probability[()]
    return probability, gamma


# ---------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------


class NGramModel:
    """An n-gram model with back-off, over words or over characters.

    Characters are tokens of their own, a space the token ``<space>``; letters keep their case. A state is the tuple of the
    last tokens, at most ``order - 1``.

    Args:
        ngrams: n-gram -> (log10 probability, log10 back-off weight), as in an ARPA file.
        order: length of the longest n-grams.
        unit: ``'word'`` or ``'character'``.
    """

    def __init__(self, ngrams: dict[NGram, tuple[float, float]], order: int, unit: str) -> None:
        if unit not in UNITS:
            raise ValueError(f"unit must be 'word' or 'character', not {unit!r}")
        self.ngrams, self.order, self.unit = ngrams, order, unit

    @property
    def vocabulary(self) -> set[str]:
        """The tokens that the model knows, without <s>, </s> and <unk>."""
        return {ngram[0] for ngram in self.ngrams if len(ngram) == 1} - {BOS, EOS, UNKNOWN}

    def tokens(self, text: str) -> list[str]:
        """Words of a text, or its characters with each white space as ``<space>``."""
        if self.unit == "word":
            return text.split()
        return [SPACE if char.isspace() else char for char in text]

    @classmethod
    def train(cls, texts: Iterable[str], order: int = 3, unit: str = "word") -> NGramModel:
        """Interpolated Kneser-Ney smoothing: p(w|h) = max(c(hw) - D, 0) / c(h) + gamma(h) p(w|h').

        c is a continuation count below the highest order, D = n1 / (n1 + 2 n2) of each order, gamma(h) what the
        discounts leave. Departs from the paper: nothing is pruned, the vocabulary is all that occurs, and the order is 3,
        not 5 (Section 3.8), for small corpora.

        Args:
            texts: sentences; blank ones are left out.
            order: length of the longest n-grams, at least 1; more than the longest sentence has is not used.
            unit: ``'word'`` or ``'character'``.

        Raises:
            ValueError: if the order is below 1, the unit unknown, there is no text, or ``<s>`` or the like in one.

        Source: Chen and Goodman 1998, An Empirical Study of Smoothing Techniques for Language Modeling.
        """
        if order < 1:
            raise ValueError(f"the order of an n-gram model must be at least 1, not {order}")
        tokens = cls({}, order, unit).tokens
        sentences = [tokens(text) for text in ([texts] if isinstance(texts, str) else texts) if text.strip()]
        vocabulary = {token for sentence in sentences for token in sentence}
        if not sentences:
            raise ValueError("there is no text to train a language model on; give at least one that is not blank")
        if reserved := vocabulary & {BOS, EOS, UNKNOWN}:
            raise ValueError(f"{min(reserved)} is a mark of the model and cannot be a word of a text; take it out of the text")
        spaces = {SPACE} if unit == "character" else set()  # always there, for read_arpa tells the unit by it
        counts = _adjusted_counts(sentences, order)
        probability, gamma = _interpolate(counts, sorted(vocabulary | spaces | {EOS, UNKNOWN}))
        probability[BOS,] = 10**_NEVER
        ngrams = {ngram: (_log10(p), _log10(gamma.get(ngram, 1.0))) for ngram, p in probability.items()}
        return cls(ngrams, len(counts), unit)

    def write_arpa(self, path: Path | str) -> None:
        """Write the model as an ARPA file, which ``read_arpa``, KenLM and SRILM read; an existing file is replaced."""
        levels: list[list[NGram]] = [[] for _ in range(self.order)]
        for ngram in sorted(self.ngrams):
            levels[len(ngram) - 1].append(ngram)
        lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, start=1)), ""]
        for n, level in enumerate(levels, start=1):
            lines.append(f"\\{n}-grams:")
            for ngram in level:
                log_p, backoff = self.ngrams[ngram]
                lines.append(f"{log_p}\t{' '.join(ngram)}" + (f"\t{backoff}" if n < self.order else ""))
            lines.append("")
        Path(path).write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")

    @classmethod
    def read_arpa(cls, path: Path | str, unit: str | None = None) -> NGramModel:
        """Read an ARPA file.

        Args:
            path: of the file, plain text.
            unit: ``'word'`` or ``'character'``; None means characters if ``<space>`` is a 1-gram, else words.

        Raises:
            ArpaError: if there is no such file or it is broken; with file, line and what to do.
            OSError: if it cannot be read.
        """
        if not Path(path).is_file():
            raise ArpaError(f"{path}: no such file; python train_language_model.py TEXT -o {path} makes one")
        with Path(path).open("rb") as file:
            try:
                ngrams, order = _parse_arpa(_numbered_lines(file))
            except _BadLine as error:
                raise ArpaError(f"{path}:{error.number}: {error}") from error
        return cls(ngrams, order, unit or ("character" if (SPACE,) in ngrams else "word"))

    def start(self) -> NGram:
        """The state at the beginning of a text: after <s>."""
        return self._clipped((BOS,))

    def after(self, state: NGram, token: str) -> NGram:
        """The state after one more token; an unknown token counts as <unk>."""
        return self._clipped((*state, token if (token,) in self.ngrams else UNKNOWN))

    def log_p(self, state: NGram, tokens: Iterable[str]) -> list[float]:
        """Natural log p(token | state) of each token; an unknown token counts as <unk>.

        Back-off: p(w|h) stands in the model, or is b(h) p(w|h') with b the weight of h, 1 if h is not in the model.
        """
        contexts, weight = [], 0.0  # the state, then always without its first token; log10 of all b so far
        for first in range(len(state) + 1):
            contexts.append((state[first:], weight))
            weight += self.ngrams[state[first:]][1] if state[first:] in self.ngrams else 0.0
        found = []
        for token in tokens:
            last = (token,) if (token,) in self.ngrams else (UNKNOWN,)
            for context, backed_off in contexts:
                if entry := self.ngrams.get(context + last):
                    found.append(_LN10 * (backed_off + entry[0]))
                    break
            else:
                found.append(_LN10 * (weight + _NO_UNKNOWN))
        return found

    def next(self, state: NGram, token: str) -> tuple[float, NGram]:
        """Natural log p(token | state), and the state after it."""
        return self.log_p(state, (token,))[0], self.after(state, token)

    def end(self, state: NGram) -> float:
        """Natural log probability that the text ends here."""
        return self.next(state, EOS)[0]

    def score(self, text: str, bos: bool = True, eos: bool = True) -> float:
        """Natural log probability of a text.

        Args:
            text: words, or characters, as the unit says.
            bos: whether the text begins a sentence; otherwise nothing is known of what was before it.
            eos: whether it ends one; otherwise the end is not scored.
        """
        total, state = 0.0, self.start() if bos else ()
        for token in self.tokens(text):
            log_p, state = self.next(state, token)
            total += log_p
        return total + (self.end(state) if eos else 0.0)

    def perplexity(self, texts: Iterable[str]) -> float:
        """exp(-mean natural log probability of a token), ends of sentences and unknown tokens included.

        Raises:
            ValueError: if there is no text.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError("perplexity needs at least one text")
        return math.exp(-sum(map(self.score, texts)) / sum(len(self.tokens(text)) + 1 for text in texts))

    def _clipped(self, context: NGram) -> NGram:
        return context[max(0, len(context) - self.order + 1) :]


def _log10(p: float) -> float:
    """With 7 decimals, in the model as in the file, so that both score alike and people can read the file."""
    return round(math.log10(p), 7) + 0.0  # no -0.0


# ---------------------------------------------------------------------------------------------
# ARPA files
# ---------------------------------------------------------------------------------------------


_Lines = Iterator[tuple[int, str]]  # line number from 1, text; blank lines are left out; at the end of the file an empty text


class ArpaError(ValueError):
    """An ARPA file is broken."""


class _BadLine(Exception):
    """What is wrong with a line, and with which."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what)
        self.number = number


def _numbered_lines(file: Iterable[bytes]) -> _Lines:
    number = 0
    for number, line in enumerate(file, start=1):
        try:
            if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n"):
                yield number, text
        except UnicodeDecodeError:
            raise _BadLine(number, "not text in UTF-8; an ARPA file is plain text: unpack or convert it first") from None
    yield number + 1, ""


def _parse_arpa(lines: _Lines) -> tuple[dict[NGram, tuple[float, float]], int]:
    ngrams: dict[NGram, tuple[float, float]] = {}
    _expect(next(lines), "\\data\\")
    announced, heading = _read_counts(lines)
    for n, (where, count) in enumerate(announced, start=1):
        _expect(heading, f"\\{n}-grams:")
        before = len(ngrams)
        for number, text in lines:
            if text.startswith("\\") or not text:
                heading = number, text
                break
            _read_ngram(number, text, n, len(announced), ngrams)
        if len(ngrams) - before != count and heading[1]:
            raise _BadLine(
                heading[0],
                f"section \\{n}-grams: ends here with {len(ngrams) - before} n-grams, but line {where} "
                f"announces {count}; correct that line, or write the file again",
            )
        if n == 1 and heading[1] and (missing := [mark for mark in (BOS, EOS) if (mark,) not in ngrams]):
            raise _BadLine(heading[0], f"{missing[0]} is not among the 1-grams; use a model of whole sentences")
    _expect(heading, "\\end\\")
    number, text = next(lines)
    if text:
        raise _BadLine(number, f"{text[:40]!r} stands after \\end\\; take it out, or write the file again")
    return ngrams, len(announced)


def _expect(line: tuple[int, str], heading: str) -> None:
    number, text = line
    if text != heading:
        there = f"but {text[:40]!r} stands here" if text else "but the file ends"
        raise _BadLine(number, f"{heading} must come next, {there}; put the section in, or write the file again")


def _read_counts(lines: _Lines) -> tuple[list[tuple[int, int]], tuple[int, str]]:
    """Line number and announced number of n-grams, by order; and the heading after them."""
    announced: list[tuple[int, int]] = []
    for number, text in lines:
        if text.startswith("\\") or not text:
            break
        line = re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)", text, re.ASCII)
        if not line or int(line[1]) != len(announced) + 1:
            raise _BadLine(number, f"must be 'ngram {len(announced) + 1}=' and a number, but is {text[:40]!r}; correct it")
        announced.append((number, int(line[2])))
    if not announced:
        raise _BadLine(number, "'ngram 1=' and a number must stand before this line; put in how many n-grams the sections hold")
    return announced, (number, text)


def _read_ngram(number: int, text: str, n: int, order: int, ngrams: dict[NGram, tuple[float, float]]) -> None:
    """Add one line, ``log10 probability, n tokens, perhaps log10 back-off weight``, to ``ngrams``."""
    fields = re.split("[ \t]+", text)
    words = tuple(UNKNOWN if word == "<UNK>" else word for word in fields[1 : n + 1])
    try:
        log_p, backoff = float(fields[0]), float(fields[n + 1]) if len(fields) > n + 1 else 0.0
    except ValueError:
        log_p = backoff = math.nan
    if not n + 1 <= len(fields) <= n + 2 or not math.isfinite(log_p) or not math.isfinite(backoff):
        raise _BadLine(
            number,
            f"must be a log10 probability, {n} token{'s' * (n > 1)} and perhaps a log10 back-off weight, "
            f"but is {text[:80]!r}; correct the line, or write the file again",
        )
    if log_p > 0:
        raise _BadLine(number, f"log10 probability {fields[0]} is above 0; correct the line, or write the file again")
    if n == order and backoff:
        raise _BadLine(number, f"an n-gram of the highest order, {n}, has no back-off weight; take {fields[-1]} out")
    if words in ngrams:
        raise _BadLine(number, f"{' '.join(words)!r} is listed twice; take one of the lines out")
    if n > 1 and not (words[-1:] in ngrams and words[:-1] in ngrams):
        lacking = words[:-1] if words[-1:] in ngrams else words[-1:]
        raise _BadLine(
            number,
            f"{' '.join(words)!r} needs {' '.join(lacking)!r} among the {len(lacking)}-grams; put that in, or take this line out",
        )
    ngrams[words] = log_p, backoff
