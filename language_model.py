"""N-gram language models, and what a prefix beam search asks of them.

    texts -> NGramModel.train -> write_arpa -> lm.arpa -> read_arpa -> WordScorer or CharacterScorer -> beam search

The beam search ranks a text y by Q(y) = log p_ctc(y|x) + alpha log p_lm(y) + beta word_count(y) (Section 3.8, Eq. 12). From
here come log p_lm and word_count; alpha and beta are the search's. Logarithms are natural, except in ``ngrams``, which
holds what an ARPA file holds: base 10. ``python language_model.py train sentences.txt -o lm.arpa`` makes such a file.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from implementation import CharEncoder

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
            level.update(tokens[i:i + n] for i in range(len(tokens) - n + 1))
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
            raise ArpaError(f"{path}: no such file; python language_model.py train TEXT -o {path} makes one")
        with Path(path).open("rb") as file:
            try:
                ngrams, order = _parse_arpa(_numbered_lines(file))
            except _BadLine as error:
                raise ArpaError(f"{path}:{error.number}: {error}") from error
        return cls(ngrams, order, unit or ("character" if (SPACE,) in ngrams else "word"))

    def start(self) -> NGram:
        """The state at the beginning of a text: after <s>."""
        return self._clipped((BOS,))

    def next(self, state: NGram, token: str) -> tuple[float, NGram]:
        """Natural log p(token | state), and the state after it; an unknown token counts as <unk>.

        Back-off: p(w|h) stands in the model, or is b(h) p(w|h') with b the weight of h, 1 if h is not in the model.
        """
        token = token if (token,) in self.ngrams else UNKNOWN
        total = 0.0
        for first in range(len(state) + 1):
            context = state[first:]
            if entry := self.ngrams.get((*context, token)):
                return _LN10 * (total + entry[0]), self._clipped((*state, token))
            total += self.ngrams[context][1] if context in self.ngrams else 0.0
        return _LN10 * (total + _NO_UNKNOWN), self._clipped((*state, token))

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
        return context[max(0, len(context) - self.order + 1):]


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
            raise _BadLine(heading[0], f"section \\{n}-grams: ends here with {len(ngrams) - before} n-grams, but line {where} "
                                       f"announces {count}; correct that line, or write the file again")
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
    words = tuple(UNKNOWN if word == "<UNK>" else word for word in fields[1:n + 1])
    try:
        log_p, backoff = float(fields[0]), float(fields[n + 1]) if len(fields) > n + 1 else 0.0
    except ValueError:
        log_p = backoff = math.nan
    if not n + 1 <= len(fields) <= n + 2 or not math.isfinite(log_p) or not math.isfinite(backoff):
        raise _BadLine(number, f"must be a log10 probability, {n} token{'s' * (n > 1)} and perhaps a log10 back-off weight, "
                               f"but is {text[:80]!r}; correct the line, or write the file again")
    if log_p > 0:
        raise _BadLine(number, f"log10 probability {fields[0]} is above 0; correct the line, or write the file again")
    if n == order and backoff:
        raise _BadLine(number, f"an n-gram of the highest order, {n}, has no back-off weight; take {fields[-1]} out")
    if words in ngrams:
        raise _BadLine(number, f"{' '.join(words)!r} is listed twice; take one of the lines out")
    if n > 1 and not (words[-1:] in ngrams and words[:-1] in ngrams):
        lacking = words[:-1] if words[-1:] in ngrams else words[-1:]
        raise _BadLine(number, f"{' '.join(words)!r} needs {' '.join(lacking)!r} among the {len(lacking)}-grams; "
                               "put that in, or take this line out")
    ngrams[words] = log_p, backoff


# ---------------------------------------------------------------------------------------------
# Scorers for the beam search. A prefix of labels leads to a state, and both scorers say what from there each label adds.
# Labels are letters, or pairs of letters (Section 3.6), as the encoder has them.
# ---------------------------------------------------------------------------------------------


class _Cache(dict):
    """``compute(key)``, remembered; emptied when there are ``size`` of them."""

    def __init__(self, compute: Callable[[Hashable], np.ndarray], size: int) -> None:
        super().__init__()
        self.compute, self.size = compute, size

    def __missing__(self, key: Hashable) -> np.ndarray:
        if len(self) >= self.size:
            self.clear()
        return self.setdefault(key, self.compute(key))


class WordScorer:
    """Scores a prefix by a model over words: a word counts when a space, or the end of the text, completes it.

    The scores of a text add up to log p_lm(y) and word_count(y) of Eq. 12. A state is (state of the model, letters of the
    word begun). A space at the start or after a space completes no word and adds nothing.

    Args:
        model: over words.
        encoder: whose labels the beam search extends prefixes by.
        lexicon: the only words allowed, or True for all that the model knows and the alphabet can write: what begins none of
            them scores -inf. None allows every word; those that the model does not know count as <unk>.

    Raises:
        ValueError: if the model is not over words, the alphabet can write none of them, or the lexicon holds no word or one
            that the alphabet cannot write.

    Source: Section 3.8; Hannun et al. 2014, arXiv:1408.2873, for the lexicon.
    """

    def __init__(self, model: NGramModel, encoder: CharEncoder, lexicon: Iterable[str] | bool | None = None) -> None:
        if model.unit != "word":
            raise ValueError("WordScorer needs a language model over words, but this one is over characters; use CharacterScorer")
        self.model, self._units = model, ["", *encoder.alphabet]
        self._space = self._units.index(" ") if " " in self._units else None
        letters = set("".join(self._units)) - {" "}
        self.unwritable = sorted(word for word in model.vocabulary if not set(word) <= letters)
        self._lexicon = _checked_lexicon(model.vocabulary, lexicon, letters)
        self._beginnings = frozenset(word[:end] for word in self._lexicon or () for end in range(1, len(word) + 1))
        self._allowed = _Cache(self._find_allowed, 2**21 // len(self._units) + 1)  # 16 MB

    def start(self) -> tuple[NGram, str]:
        """The state before the first label."""
        return self.model.start(), ""

    def scores(self, state: tuple[NGram, str]) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm that each label adds, and words that it completes; both (V,) float, 0 for the blank."""
        context, word = state
        log_p, words = self._allowed[word].copy(), np.zeros(len(self._units))
        if word and self._space is not None:
            log_p[self._space], words[self._space] = self._score_word(context, word), 1
        return log_p, words

    def advance(self, state: tuple[NGram, str], label: int) -> tuple[NGram, str]:
        """The state after one more label."""
        context, word = state
        if label != self._space:
            return context, word + self._units[label]
        return (self.model.next(context, word)[1], "") if word else state

    def finish(self, state: tuple[NGram, str]) -> tuple[float, int]:
        """Natural log p_lm and words that are added if the text ends here: those of a last word, and of </s>."""
        context, word = state
        if not word:
            return self.model.end(context), 0
        return self._score_word(context, word) + self.model.end(self.model.next(context, word)[1]), 1

    def _score_word(self, context: NGram, word: str) -> float:
        return self.model.next(context, word)[0] if self._lexicon is None or word in self._lexicon else -math.inf

    def _find_allowed(self, word: str) -> np.ndarray:
        """(V,): 0 where a word may go on from these letters, -inf where not."""
        allowed = [self._lexicon is None or unit in ("", " ") or word + unit in self._beginnings for unit in self._units]
        return np.where(allowed, 0.0, -math.inf)


def _checked_lexicon(known: set[str], lexicon: Iterable[str] | bool | None, letters: set[str]) -> frozenset[str] | None:
    """The words allowed, None for all, once they and those that the model knows fit the letters of the alphabet."""
    if not any(set(word) <= letters for word in known):
        raise ValueError(f"the alphabet can write none of the model's words, such as {min(known, default='')!r}; "
                         "train it on texts in the letters of the alphabet, lower case where it is")
    if lexicon is None or lexicon is False:
        return None
    if lexicon is True:
        return frozenset(word for word in known if set(word) <= letters)
    words = frozenset([lexicon] if isinstance(lexicon, str) else lexicon)
    foreign = [word for word in words if not set(word) <= letters]
    if foreign or not words:
        problem = f"the alphabet cannot write {len(foreign)} of its words, such as {min(foreign)!r}" if foreign else "it is empty"
        raise ValueError(f"the lexicon does not fit: {problem}; give words in the letters of the alphabet, and no others")
    return words


class CharacterScorer:
    """Scores a prefix by a model over characters: log p(character | those before) at each of them.

    The scores of a text add up to log p_lm(y) and word_count(y) of Eq. 12. A state is (state of the model, whether a word has
    begun). Where the alphabet has no space, each label counts as a word, as each character does in Mandarin (Section 3.8).

    Args:
        model: over characters.
        encoder: whose labels the beam search extends prefixes by; characters that the model does not know count as <unk>.

    Raises:
        ValueError: if the model is not over characters, or knows one that the alphabet does not have.
    """

    def __init__(self, model: NGramModel, encoder: CharEncoder) -> None:
        if model.unit != "character":
            raise ValueError("CharacterScorer needs a language model over characters, but this one is over words; use WordScorer")
        self.model = model
        self._tokens = [model.tokens(unit) for unit in ("", *encoder.alphabet)]  # those of each label
        self._space = self._tokens.index([SPACE]) if [SPACE] in self._tokens else None
        foreign = model.vocabulary - {SPACE, *(token for tokens in self._tokens for token in tokens)}
        if foreign:
            shown = ", ".join(map(repr, sorted(foreign)[:30])) + (", ..." if len(foreign) > 30 else "")
            raise ValueError(f"the alphabet lacks {len(foreign)} characters that the model knows: {shown}; "
                             "train it on texts in the letters of the alphabet, lower case where it is")
        self._log_p = _Cache(self._find_log_p, 2**21 // len(self._tokens) + 1)  # 16 MB

    def start(self) -> tuple[NGram, bool]:
        """The state before the first label."""
        return self.model.start(), False

    def scores(self, state: tuple[NGram, bool]) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm that each label adds, and words that it completes; both (V,) float, 0 for the blank."""
        context, in_word = state
        words = np.zeros(len(self._tokens))
        if self._space is None:
            words[1:] = 1
        elif in_word:
            words[self._space] = 1
        return self._log_p[context].copy(), words

    def advance(self, state: tuple[NGram, bool], label: int) -> tuple[NGram, bool]:
        """The state after one more label."""
        context, in_word = state
        for token in self._tokens[label]:
            context, in_word = self.model.next(context, token)[1], self._space is not None and token != SPACE
        return context, in_word

    def finish(self, state: tuple[NGram, bool]) -> tuple[float, int]:
        """Natural log p_lm and words that are added if the text ends here."""
        return self.model.end(state[0]), int(state[1])

    def _find_log_p(self, context: NGram) -> np.ndarray:
        """(V,) natural log p of each label; of two characters log p(ab|h) = log p(a|h) + log p(b|ha)."""
        log_p = np.zeros(len(self._tokens))
        for label, tokens in enumerate(self._tokens):
            state = context
            for token in tokens:
                step, state = self.model.next(state, token)
                log_p[label] += step
        return log_p


def make_scorer(
    path: str | Path, encoder: CharEncoder, unit: str | None = None, lexicon: bool = False
) -> WordScorer | CharacterScorer:
    """The scorer of an ARPA file, by words or by characters.

    Raises:
        ValueError: if the file is broken, or its alphabet does not fit the encoder's, or a lexicon is asked of a model of
            characters.
    """
    model = NGramModel.read_arpa(path, unit)
    if model.unit == "character":
        if lexicon:
            raise ValueError(f"{path} is a model of characters, which knows no words: take one of words, or leave out --lexicon")
        return CharacterScorer(model, encoder)
    scorer = WordScorer(model, encoder, lexicon or None)
    if lexicon and scorer.unwritable:
        some = ", ".join(map(repr, scorer.unwritable[:5])) + (", ..." if len(scorer.unwritable) > 5 else "")
        print(f"{path}: not in the lexicon, since the alphabet cannot write them: {len(scorer.unwritable)} words, {some}",
              file=sys.stderr)
    return scorer


# ---------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------


def read_sentences(path: Path | str, split: str = "train") -> list[str]:
    """Sentences in lower case, from a text file with one a line, or the transcripts of a corpus.

    Args:
        path: a text file in UTF-8, or what ``corpora.read_corpus`` takes: a folder, or a .tsv, .csv, .jsonl or .transcription.
        split: of the corpus; a text file has none.

    Raises:
        OSError, ValueError: if there is nothing to read or it is broken; with what is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a text file, or a corpus for its transcripts")
    if not path.is_dir() and path.suffix.lower() not in (".tsv", ".csv", ".jsonl", ".transcription"):
        data = path.read_bytes()
        try:
            return [" ".join(line.lower().split()) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise ValueError(f"{path}:{number}: not text in UTF-8; convert the file, or take the line out") from None
    from corpora import check_problems, read_corpus  # here, for it needs torch and audio libraries

    corpus = read_corpus(path)
    check_problems(corpus)
    if not corpus.split(split):
        raise ValueError(f"{path} has no split {split!r}; it has {', '.join(sorted(corpus.splits))}")
    return [utterance.transcript.lower() for utterance in corpus.split(split)]


def _train(args: argparse.Namespace) -> None:
    if args.output.exists() and not args.overwrite:
        raise ValueError(f"{args.output} exists already; give another name, or --overwrite to replace it")
    if not args.output.absolute().parent.is_dir():
        raise ValueError(f"the folder of {args.output} does not exist; make it first")
    sentences = read_sentences(args.input, args.split)
    model = NGramModel.train(sentences, args.order, args.unit)
    model.write_arpa(args.output)
    sizes = Counter(map(len, model.ngrams))
    print(f"{args.output}: {args.unit} model of {len(sentences)} sentences, "
          + ", ".join(f"{sizes[n]} {n}-grams" for n in sorted(sizes)))


def _score(args: argparse.Namespace) -> None:
    model = NGramModel.read_arpa(args.model)
    text, state = args.text.lower(), model.start()
    for token in [*model.tokens(text), EOS]:
        log_p, state = model.next(state, token)
        print(f"{log_p:9.3f}  {token}" + ("" if (token,) in model.ngrams else "  (unknown)"))
    print(f"{model.score(text):9.3f}  natural log probability; perplexity {model.perplexity([text]):.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train an n-gram language model, or score a text by one; in lower case.")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="train a model with Kneser-Ney smoothing")
    train.add_argument("input", help="text file with a sentence a line, or a corpus (folder or manifest): its transcripts")
    train.add_argument("-o", "--output", type=Path, required=True, help="ARPA file to write")
    train.add_argument("--order", type=int, default=3, help="length of the longest n-grams (default: 3) [ours; paper: 5]")
    train.add_argument("--unit", choices=UNITS, default="word", help="what the n-grams are made of (default: word)")
    train.add_argument("--split", default="train", help="split of the corpus (default: train)")
    train.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    train.set_defaults(run=_train)
    score = commands.add_parser("score", help="natural log probability of each word or character of a text")
    score.add_argument("model", help="ARPA file")
    score.add_argument("text", help="in quotes")
    score.set_defaults(run=_score)
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args.run(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
