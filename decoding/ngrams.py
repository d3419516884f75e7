"""N-gram language models: Kneser-Ney smoothing, and ARPA files.

    texts -> NGramModel.train -> write_arpa -> lm.arpa -> read_arpa -> scorers.WordScorer or CharacterScorer -> beam search

Logarithms are natural, except in ``ngrams``, where they are base 10 as in an ARPA file.
``python train_language_model.py sentences.txt -o lm.arpa`` makes an ARPA file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from decoding.arpa import BOS, EOS, NEVER, SPACE, UNKNOWN, NGram, NGrams, read_arpa_file

_MOST_SEGMENTS, _FEW_FOLLOW = 2**13, 16  # states that a model remembers; up to 16 next tokens are examined one by one
UNITS = ("word", "character")
_LN10 = math.log(10)
_NOTHING = (None, None)
_NO_UNKNOWN = -100.0  # log10 p of an unknown token if the file has no <unk>, as in KenLM


# ---------------------------------------------------------------------------------------------
# Kneser-Ney smoothing
# ---------------------------------------------------------------------------------------------


def _adjusted_counts(sentences: Sequence[Sequence[str]], order: int) -> list[dict[NGram, int]]:
    """The counts c(g) of the n-grams g, shortest first; orders beyond the longest sentence are left out.

    In the highest order, and if g begins with <s>, c(g) is how often g occurs. In lower orders it is the continuation count:
    after how many different tokens g occurs. So "Francisco", which is frequent but follows only "San", is unlikely after other
    words.
    """
    counts: list[dict[NGram, int]] = [Counter() for _ in range(min(order, 2 + max(map(len, sentences), default=0)))]
    for sentence in sentences:
        tokens = (BOS, *sentence, EOS)
        for n, level in enumerate(counts, start=1):
            level.update(tokens[i : i + n] for i in range(len(tokens) - n + 1))
    counts = [level for level in counts if level]
    for n, (lower, higher) in enumerate(pairwise(counts)):
        counts[n] = {**lower, **Counter(ngram[1:] for ngram in higher)}
    return counts


def _discount(counts: Iterable[int]) -> float:
    """D = n1 / (n1 + 2 n2), with n1 n-grams of count 1 and n2 of count 2; 0.5 [ours] if either number is 0."""
    histogram = Counter(counts)
    n1, n2 = histogram[1], histogram[2]
    return n1 / (n1 + 2 * n2) if n1 and n2 else 0.5


def _interpolate(counts: list[dict[NGram, int]], tokens: Iterable[str]) -> tuple[dict[NGram, float], dict[NGram, float]]:
    """The probability p(w|h) of each n-gram hw, and the weight gamma(h) of the lower order in each context h."""
    counts[0] = {(token,): counts[0].get((token,), 0) for token in tokens}  # without <s>, which follows nothing
    probability, gamma = {(): 1 / len(counts[0])}, {}  # below the unigrams all tokens are equally likely, so <unk> gets its share
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


class LanguageModel(ABC):
    """What the scorers need from an n-gram model over words or characters, however its n-grams are stored.

    Over characters, each character is a token, and a space is the token ``<space>``; letters keep their case. A state is what
    the model needs to know about the tokens so far, and can be a key in a dict.

    Args:
        order: length of the longest n-grams.
        unit: ``'word'`` or ``'character'``.

    Raises:
        ValueError: if the unit is neither of these.
    """

    def __init__(self, order: int, unit: str) -> None:
        if unit not in UNITS:
            raise ValueError(f"unit must be 'word' or 'character', not {unit!r}")
        self.order, self.unit = order, unit

    @property
    @abstractmethod
    def vocabulary(self) -> set[str]:
        """The tokens that the model knows, without <s>, </s> and <unk>."""

    @abstractmethod
    def knows(self, token: str) -> bool:
        """Whether the token, which may be <s>, </s> or <unk>, has a probability of its own."""

    @abstractmethod
    def joins_words(self) -> bool:
        """Whether the model was made from texts of several tokens, as far as one can tell."""

    @abstractmethod
    def respelt(self, spellings: Mapping[str, str]) -> Self:
        """The same model with some tokens spelt differently: token -> spelling, which no other token has."""

    @abstractmethod
    def start(self) -> Hashable:
        """The state at the beginning of a text: after <s>."""

    @abstractmethod
    def no_context(self) -> Hashable:
        """The state if nothing is known about earlier tokens."""

    @abstractmethod
    def after(self, state: Hashable, token: str) -> Hashable:
        """The state after one more token; an unknown token counts as <unk>."""

    @abstractmethod
    def log_p(self, state: Hashable, tokens: Iterable[str]) -> list[float]:
        """Natural log p(token | state) of each token; an unknown token counts as <unk>."""

    def numbers(self, tokens: Iterable[str]) -> np.ndarray | None:
        """Numbers for ``log_p_by_number``, -1 if neither the token nor <unk> is known; None if this model has no numbers."""
        return None

    def tokens(self, text: str) -> list[str]:
        """The words of a text, or its characters, with ``<space>`` for each whitespace character."""
        if self.unit == "word":
            return text.split()
        return [SPACE if char.isspace() else char for char in text]

    def next(self, state: Hashable, token: str) -> tuple[float, Hashable]:
        """Natural log p(token | state), and the state after the token."""
        return self.log_p(state, (token,))[0], self.after(state, token)

    def end(self, state: Hashable) -> float:
        """Natural log probability that the text ends here."""
        return self.next(state, EOS)[0]

    def score(self, text: str, bos: bool = True, eos: bool = True) -> float:
        """Natural log probability of a text.

        Args:
            text: words or characters, depending on the unit.
            bos: whether the text begins a sentence; otherwise nothing is known about the tokens before it.
            eos: whether it ends one; otherwise the end is not scored.
        """
        total, state = 0.0, self.start() if bos else self.no_context()
        for token in self.tokens(text):
            log_p, state = self.next(state, token)
            total += log_p
        return total + (self.end(state) if eos else 0.0)

    def perplexity(self, texts: Iterable[str]) -> float:
        """exp(-mean natural log probability per token), including ends of sentences and unknown tokens.

        Raises:
            ValueError: if there is no text.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError("perplexity needs at least one text")
        return math.exp(-sum(map(self.score, texts)) / sum(len(self.tokens(text)) + 1 for text in texts))


class NGramModel(LanguageModel):
    """An n-gram model with back-off, with its n-grams in memory; a state is a tuple of the last tokens, at most ``order - 1``.

    Args:
        ngrams: n-gram -> (log10 probability, log10 back-off weight), as in an ARPA file.
        order: length of the longest n-grams.
        unit: ``'word'`` or ``'character'``.
    """

    def __init__(self, ngrams: Mapping[NGram, tuple[float, float]], order: int, unit: str) -> None:
        super().__init__(order, unit)
        self.ngrams = ngrams
        self._segments: dict[NGram, tuple] = {}  # by state, see log_p_by_number

    @property
    def vocabulary(self) -> set[str]:
        ngrams = self.ngrams
        words = ngrams.words if isinstance(ngrams, NGrams) else (ngram[0] for ngram in ngrams if len(ngram) == 1)
        return set(words) - {BOS, EOS, UNKNOWN}

    def knows(self, token: str) -> bool:
        return (token,) in self.ngrams

    def joins_words(self) -> bool:
        return any(len(ngram) == 2 and not {BOS, EOS, UNKNOWN} & {*ngram} for ngram in self.ngrams)

    def respelt(self, spellings: Mapping[str, str]) -> NGramModel:
        if isinstance(self.ngrams, NGrams):
            return NGramModel(self.ngrams.respelt(spellings), self.order, self.unit)
        respelt = {tuple(spellings.get(t, t) for t in ngram): values for ngram, values in self.ngrams.items()}
        return NGramModel(respelt, self.order, self.unit)

    @classmethod
    def train(cls, texts: Iterable[str], order: int = 3, unit: str = "word") -> NGramModel:
        """Interpolated Kneser-Ney smoothing: p(w|h) = max(c(hw) - D, 0) / c(h) + gamma(h) p(w|h').

        Below the highest order c is a continuation count; D = n1 / (n1 + 2 n2) for each order; gamma(h) is what the
        discounts leave. Departs from the paper: nothing is pruned, the vocabulary is all words that occur, and the order is
        3, not 5 (Section 3.8), to suit small corpora.

        Args:
            texts: sentences; blank ones are left out.
            order: length of the longest n-grams, at least 1; orders beyond the longest sentence are not used.
            unit: ``'word'`` or ``'character'``.

        Raises:
            ValueError: if the order is below 1, the unit is unknown, there is no text, or a text holds ``<s>`` or the like.

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
            raise ValueError(f"{min(reserved)} is a mark of the model and cannot be a word in a text; remove it from the text")
        spaces = {SPACE} if unit == "character" else set()  # always there, since read_arpa recognises the unit by it
        counts = _adjusted_counts(sentences, order)
        probability, gamma = _interpolate(counts, sorted(vocabulary | spaces | {EOS, UNKNOWN}))
        probability[BOS,] = 10**NEVER
        ngrams = {ngram: (_log10(p), _log10(gamma.get(ngram, 1.0))) for ngram, p in probability.items()}
        return cls(ngrams, len(counts), unit)

    def write_arpa(self, path: Path | str) -> None:
        """Writes the model as an ARPA file, which ``read_arpa``, KenLM and SRILM read; replaces an existing file."""
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
        """Reads an ARPA file.

        Args:
            path: the file, plain or compressed; ``read_arpa_file`` says what it accepts from other tools.
            unit: ``'word'`` or ``'character'``; None means characters if ``<space>`` is a 1-gram, else words.

        Raises:
            ArpaError: if there is no such file or it is broken; the message names the file and the line, and says what to do.
            OSError: if the file cannot be read.
        """
        ngrams, order = read_arpa_file(path)
        return cls(ngrams, order, unit or ("character" if (SPACE,) in ngrams else "word"))

    def start(self) -> NGram:
        return self._clipped((BOS,))

    def no_context(self) -> NGram:
        return ()

    def after(self, state: NGram, token: str) -> NGram:
        return self._clipped((*state, token if (token,) in self.ngrams else UNKNOWN))

    def log_p(self, state: NGram, tokens: Iterable[str]) -> list[float]:
        """Natural log p(token | state) of each token; an unknown token counts as <unk>.

        Back-off: if the model lacks p(w|h), it is b(h) p(w|h'), where b(h) is the weight of h, or 1 if the model lacks h.
        """
        finders, weight = [], 0.0  # for the state, then for shorter and shorter ends of it; log10 of all b so far
        for first in range(len(state) + 1):
            finders.append((self._following(state[first:]), weight))
            weight += self.ngrams[state[first:]][1] if state[first:] in self.ngrams else 0.0
        found = []
        for token in tokens:
            last = token if finders[-1][0](token) is not None else UNKNOWN
            for find, backed_off in finders:
                if (log_p := find(last)) is not None:
                    found.append(_LN10 * (backed_off + log_p))
                    break
            else:
                found.append(_LN10 * (weight + _NO_UNKNOWN))
        return found

    def numbers(self, tokens: Iterable[str]) -> np.ndarray | None:
        return self.ngrams.numbers(tokens) if isinstance(self.ngrams, NGrams) else None

    def log_p_by_number(self, states: Sequence[NGram], numbers: np.ndarray) -> np.ndarray:
        """``log_p`` of (N,) tokens, given by number (at least 0), after each of W states, all at once: (W, N) float64."""
        column = {number: place for place, number in enumerate(numbers.tolist())}
        known = [self._segments.get(state) or self._find_segments(state) for state in states]
        of_one = self.ngrams.segment(())[1][numbers]
        log_p = np.array([weight for weight, _ in known])[:, None] + of_one  # log10, of the 1-grams
        for row, (_, segments) in enumerate(known):
            for last, values in segments:  # the longest context comes last, and counts
                if isinstance(last, list):
                    for number, value in zip(last, values, strict=True):
                        if number in column:
                            log_p[row, column[number]] = value
                else:
                    place = np.minimum(last.searchsorted(numbers), len(last) - 1)
                    found = last[place] == numbers
                    log_p[row, found] = values[place[found]]
        return _LN10 * log_p

    def _find_segments(self, state: NGram) -> tuple[float, list[tuple]]:
        """log10 of all b above the 1-grams; then, for each end of the state, the tokens that follow and log10 p of each.

        The shortest end comes first. Tokens are given by number: a few in a list, examined one by one; many in an array.
        """
        segments, weight = [], 0.0
        for first in range(len(state)):
            last, log_p, backoff = self.ngrams.segment(state[first:])
            if len(last):
                log_p = weight + log_p
                segments.append((last.tolist(), log_p.tolist()) if len(last) <= _FEW_FOLLOW else (last, log_p))
            weight += backoff
        if len(self._segments) >= _MOST_SEGMENTS:
            self._segments.clear()
        self._segments[state] = weight, segments[::-1]
        return self._segments[state]

    def __getstate__(self) -> dict:
        """Leaves out the segments, which are only remembered results."""
        return vars(self) | {"_segments": {}}

    def _following(self, context: NGram) -> Callable[[str], float | None]:
        """A function: token -> log10 p of context and token as an n-gram; None if there is no such n-gram."""
        if isinstance(self.ngrams, NGrams):
            return self.ngrams.following(context)
        if context and context not in self.ngrams:
            return {}.get
        get = self.ngrams.get
        return lambda token: get((*context, token), _NOTHING)[0]

    def _clipped(self, context: NGram) -> NGram:
        return context[max(0, len(context) - self.order + 1) :]


def _log10(p: float) -> float:
    """log10 p, rounded to 7 decimals in the model as in the file, so that both score alike and people can read the file."""
    return round(math.log10(p), 7) + 0.0  # no -0.0
