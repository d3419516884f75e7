"""What a language model tells the beam search: scores of the labels that may extend a prefix.

The beam search ranks a text y by Q(y) = log p_ctc(y|x) + alpha log p_lm(y) + beta word_count(y) (Section 3.8, Eq. 12). From
here come log p_lm and word_count; alpha and beta are the search's. A prefix of labels leads to a state, and both scorers
say what from there each label adds. Labels are letters, or pairs of letters (Section 3.6), as the encoder has them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from decoding.ngrams import SPACE, NGram, NGramModel
from implementation import CharEncoder

_NUMBERS, _WORDS = 2**21, 2**16  # the most that a scorer remembers: 16 MB of numbers by label, as much of words in contexts


class _Cache(dict):
    """``compute(key)``, remembered; emptied when there are ``size`` of them."""

    def __init__(self, compute: Callable, size: int) -> None:
        super().__init__()
        self.compute, self.size = compute, size

    def __missing__(self, key: Hashable) -> object:
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
        self._labels = {unit: label for label, unit in enumerate(self._units)}
        self._longest = max(map(len, self._units))
        self._letters_after = _letters_after(self._lexicon or ())
        self._allowed = _Cache(self._find_allowed, _NUMBERS // len(self._units) + 1)
        self._log_p = _Cache(self._find_log_p, _WORDS)

    def start(self) -> tuple[NGram, str]:
        """The state before the first label."""
        return self.model.start(), ""

    def scores(self, state: tuple[NGram, str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm that each of the (N,) labels adds, and words that it completes; both (N,) float, 0 for the blank."""
        context, word = state
        log_p = np.zeros(len(labels)) if self._lexicon is None else self._allowed[word][labels]
        if not word or self._space is None:
            return log_p, np.zeros(len(labels))
        words = (labels == self._space).astype(np.float64)
        if words.any():
            log_p[words > 0] = self._score_word(context, word)
        return log_p, words

    def advance(self, state: tuple[NGram, str], label: int) -> tuple[NGram, str]:
        """The state after one more label."""
        context, word = state
        if label != self._space:
            return context, word + self._units[label]
        return (self.model.after(context, word), "") if word else state

    def finish(self, state: tuple[NGram, str]) -> tuple[float, int]:
        """Natural log p_lm and words that are added if the text ends here: those of a last word, and of </s>."""
        context, word = state
        if not word:
            return self.model.end(context), 0
        return self._score_word(context, word) + self.model.end(self.model.after(context, word)), 1

    def _score_word(self, context: NGram, word: str) -> float:
        return self._log_p[context, word] if self._lexicon is None or word in self._lexicon else -math.inf

    def _find_log_p(self, place: tuple[NGram, str]) -> float:
        context, word = place
        return self.model.log_p(context, (word,))[0]

    def _find_allowed(self, word: str) -> np.ndarray:
        """(V,): 0 for labels by which a word of the lexicon goes on from these letters, for blank and space; -inf for others."""
        allowed, units = np.full(len(self._units), -math.inf), ["", " ", *self._letters_after.get(word, "")]
        for unit in units:  # which grows on the way: "t", then "th" where that may follow
            if unit in self._labels:
                allowed[self._labels[unit]] = 0.0
            if unit and len(unit) < self._longest:
                units += [unit + letter for letter in self._letters_after.get(word + unit, "")]
        return allowed


def _letters_after(words: Iterable[str]) -> dict[str, str]:
    """Beginning of a word -> the letters that may come next."""
    letters: dict[str, str] = {}
    for word in words:
        for end, letter in enumerate(word):
            if letter not in letters.setdefault(word[:end], ""):
                letters[word[:end]] += letter
    return letters


def _checked_lexicon(known: set[str], lexicon: Iterable[str] | bool | None, letters: set[str]) -> frozenset[str] | None:
    """The words allowed, None for all, once they and those that the model knows fit the letters of the alphabet."""
    if not any(set(word) <= letters for word in known):
        raise ValueError(
            f"the alphabet can write none of the model's words, such as {min(known, default='')!r}; "
            "train it on texts in the letters of the alphabet, lower case where it is"
        )
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
            raise ValueError(
                f"the alphabet lacks {len(foreign)} characters that the model knows: {shown}; "
                "train it on texts in the letters of the alphabet, lower case where it is"
            )
        self._known = _Cache(self._nothing_known, _NUMBERS // len(self._tokens) + 1)

    def start(self) -> tuple[NGram, bool]:
        """The state before the first label."""
        return self.model.start(), False

    def scores(self, state: tuple[NGram, bool], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm that each of the (N,) labels adds, and words that it completes; both (N,) float, 0 for the blank."""
        context, in_word = state
        known = self._known[context]  # (V,)
        log_p = known[labels]
        new = np.isnan(log_p)
        if new.any():
            log_p[new] = known[labels[new]] = self._find_log_p(context, labels[new].tolist())
        if self._space is None:
            return log_p, (labels > 0).astype(np.float64)
        return log_p, (labels == self._space).astype(np.float64) if in_word else np.zeros(len(labels))

    def advance(self, state: tuple[NGram, bool], label: int) -> tuple[NGram, bool]:
        """The state after one more label."""
        context, in_word = state
        for token in self._tokens[label]:
            context, in_word = self.model.after(context, token), self._space is not None and token != SPACE
        return context, in_word

    def finish(self, state: tuple[NGram, bool]) -> tuple[float, int]:
        """Natural log p_lm and words that are added if the text ends here."""
        return self.model.end(state[0]), int(state[1])

    def _find_log_p(self, context: NGram, labels: list[int]) -> list[float]:
        """Natural log p of each label, not of the blank; of two characters log p(ab|h) = log p(a|h) + log p(b|ha)."""
        log_p = self.model.log_p(context, [self._tokens[label][0] for label in labels])
        for place, label in enumerate(labels):
            state = context
            for before, token in pairwise(self._tokens[label]):
                state = self.model.after(state, before)
                log_p[place] += self.model.log_p(state, (token,))[0]
        return log_p

    def _nothing_known(self, _context: NGram) -> np.ndarray:
        """(V,) to hold log p of each label in a context: nan until it is asked; 0 for the blank."""
        known = np.full(len(self._tokens), np.nan)
        known[0] = 0.0
        return known


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
        print(
            f"{path}: not in the lexicon, since the alphabet cannot write them: {len(scorer.unwritable)} words, {some}",
            file=sys.stderr,
        )
    return scorer
