"""Scores that a language model gives the beam search for the labels that may extend a prefix.

The beam search ranks a text y by Q(y) = log p_ctc(y|x) + alpha log p_lm(y) + beta word_count(y) (Section 3.8, Eq. 12). This
module gives log p_lm and word_count; the search applies alpha and beta. A prefix of labels leads to a state, and both scorers say
what each label adds in that state. Labels are the encoder's: letters, or pairs of letters (Section 3.6).

A second model spells words that the language model does not know. In it all letters of the alphabet are equally likely, so
such words cost ``unknown_penalty`` = log(number of letters) nats per letter: log 27 = 3.3 in English. So ``zebra quick`` costs
as much as ``zebraquick``: unknown words are neither joined nor split. A penalty per word, such as p(<unk>), would join them, so
it is not used.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence, Set
from pathlib import Path

import numpy as np

from decoding.arpa import SPACE, UNKNOWN
from decoding.kenlm_binary import KenlmModel, is_kenlm_binary
from decoding.ngrams import LanguageModel, NGramModel
from implementation import CharEncoder, is_spaced

_NUMBERS, _WORDS = 2**21, 2**16  # the most that a scorer remembers: 16 MB of numbers by label, and as much for words in contexts
_FEW_LABELS, _CONTEXTS = 1024, 2**11  # with more labels, only those used are kept, a few hundred in each of this many contexts


class _Cache(dict):
    """Remembers the results of ``compute(key)``; emptied when it holds ``size`` of them."""

    def __init__(self, compute: Callable, size: int) -> None:
        super().__init__()
        self.compute, self.size = compute, size

    def __missing__(self, key: Hashable) -> object:
        if len(self) >= self.size:
            self.clear()
        return self.setdefault(key, self.compute(key))

    def __reduce__(self) -> tuple:
        """Leaves out the results, because KenLM's states can't be pickled."""
        return type(self), (self.compute, self.size)


class WordScorer:
    """Scores a prefix with a model over words: a word counts when a space, or the end of the text, completes it.

    The scores of a text add up to log p_lm(y) and word_count(y) of Eq. 12. A state is (state of the model, letters of the
    current word). A space at the start or after a space completes no word and adds nothing.

    An unknown word adds ``-unknown_penalty`` for each of its letters, as soon as no known word begins with them (otherwise the
    search would favour long words, whose penalty comes later). It gives no context for the words after it.

    Args:
        model: a language model over words.
        encoder: its labels are those with which the beam search extends prefixes.
        lexicon: the only words allowed, or True for all that the model knows and the alphabet can write; letters with which
            none of them begins score -inf. None allows every word.
        unknown_penalty: nats per letter of a word that the model does not know, at least 0; None: log(size of the alphabet)
            [ours]. With alpha and beta tuned on dev it works well for any share of known words; the more words are unknown,
            the lower the best alpha.

    Attributes:
        unwritable: words that the model knows but the alphabet cannot write, the likeliest first.

    Raises:
        ValueError: if the model is not over words, the alphabet cannot write most of them, the lexicon holds no word or one
            that the alphabet cannot write, or the penalty is negative.

    Source: Section 3.8; Hannun et al. 2014, arXiv:1408.2873, for the lexicon.
    """

    def __init__(
        self, model: LanguageModel, encoder: CharEncoder, lexicon: Iterable[str] | bool | None = None,
        unknown_penalty: float | None = None,
    ) -> None:  # fmt: skip
        if model.unit != "word":
            raise ValueError("WordScorer needs a language model over words, but this one is over characters; use CharacterScorer")
        self.model, self._units = model, ["", *encoder.alphabet]
        letters = set("".join(self._units)) - {" "}
        self.unknown_penalty = _checked_penalty(unknown_penalty, letters)
        self._space = self._units.index(" ") if " " in self._units else None
        self.unwritable = _unwritable(model, letters)
        self._lexicon = _checked_lexicon(model.vocabulary, lexicon, letters)
        known = model.vocabulary.difference(self.unwritable) if self._lexicon is None else self._lexicon
        self._beginnings = _Beginnings(known)
        self._labels = {unit: label for label, unit in enumerate(self._units)}
        self._lengths = np.array([len(unit.strip()) for unit in self._units])
        self._to_unknown = -self.unknown_penalty * self._lengths  # (V,): what each label adds to a word already unknown
        if self._lexicon is not None:
            self._to_unknown = np.where(self._lengths > 0, -math.inf, 0.0)
        self._added = _Cache(self._find_added, _NUMBERS // len(self._units) + 1)
        self._log_p = _Cache(self._find_log_p, _WORDS)

    def start(self) -> tuple[Hashable, str]:
        """The state before the first label."""
        return self.model.start(), ""

    def scores(self, state: tuple[Hashable, str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm and number of words that each of the (N,) labels adds; both (N,) float, 0 for the blank."""
        context, word = state
        log_p = self._added[word][labels]
        if not word or self._space is None:
            return log_p, np.zeros(len(labels))
        words = (labels == self._space).astype(np.float64)
        if words.any():
            log_p[words > 0] = self._log_p[context, word]
        return log_p, words

    def advance(self, state: tuple[Hashable, str], label: int) -> tuple[Hashable, str]:
        """The state after one more label."""
        context, word = state
        if label != self._space:
            return context, word + self._units[label]
        return (self._after(context, word), "") if word else state

    def finish(self, state: tuple[Hashable, str]) -> tuple[float, int]:
        """Natural log p_lm and number of words added if the text ends here: by the last word, and by </s>."""
        context, word = state
        if not word:
            return self.model.end(context), 0
        return self._log_p[context, word] + self.model.end(self._after(context, word)), 1

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the model does not know, in order."""
        return [word for word in text.split() if not self._knows(word)]

    def _knows(self, word: str) -> bool:
        return self.model.knows(word)

    def _after(self, context: Hashable, word: str) -> Hashable:
        """An unknown word erases the context before it, so that joining two unknown words changes nothing."""
        return self.model.after(context if self._knows(word) else self.model.no_context(), word)

    def _find_log_p(self, place: tuple[Hashable, str]) -> float:
        """What the end of a word adds: its log p, minus what its letters have added."""
        context, word = place
        if self._lexicon is not None and word not in self._lexicon:
            return -math.inf
        if self._knows(word):
            return self.model.log_p(context, (word,))[0]
        return -self.unknown_penalty * len(word) if self._beginnings.after(word) is not None else 0.0

    def _find_added(self, word: str) -> np.ndarray:
        """(V,): what each label adds at once to a word in progress; 0 for blank and space, and where a known word goes on.

        Otherwise -inf with a lexicon; without one, the penalty for all letters up to here, as the word is now unknown.
        """
        following = self._beginnings.after(word)
        if word and following is None:
            return self._to_unknown  # its letters are already paid for
        added = self._to_unknown - self.unknown_penalty * len(word)
        added[self._lengths == 0] = 0.0
        units = list(following or "")
        for unit in units:  # the list grows meanwhile: "t", then "th" where that may follow
            if unit in self._labels:
                added[self._labels[unit]] = 0.0
            if len(unit) < self._lengths.max():
                units += [unit + letter for letter in self._beginnings.after(word + unit) or ""]
        return added


class _Beginnings:
    """Knows which letters may come next in words that begin with given letters."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted(words)

    def after(self, letters: str) -> str | None:
        """The letters that may come next; "" if the word can only end, None if no word begins like this."""
        words, found, place = self._words, "", bisect_left(self._words, letters)
        if place == len(words) or not words[place].startswith(letters):
            return None
        place += words[place] == letters
        while place < len(words) and words[place].startswith(letters):
            found += words[place][len(letters)]
            place = bisect_left(words, letters + found[-1] + "\U0010ffff", place)
        return found


def _no_number(_context: Hashable) -> dict[int, float]:
    return {}


def _checked_penalty(penalty: float | None, letters: Collection[str]) -> float:
    """The penalty in nats per letter; for None, its value if all letters are equally likely."""
    if penalty is None:
        return math.log(max(1, len(letters)))
    if not 0 <= penalty < math.inf:
        raise ValueError(f"the penalty for an unknown word must be a number of nats per letter, at least 0, not {penalty}")
    return penalty


def _unwritable(model: LanguageModel, letters: Set[str]) -> list[str]:
    """The model's words (or characters) that the alphabet cannot write, the likeliest first; ValueError if most are."""
    known = model.vocabulary - {SPACE}
    foreign = _foreign(model, letters)
    if 2 * len(foreign) > len(known) or not known:
        kind = "words" if model.unit == "word" else "characters"
        examples = f", above all {_listed(foreign, 3)}" if foreign else ""
        advice = "make one with train_language_model.py and the checkpoint's alphabet (--alphabet)"
        if 2 * sum(letters.issuperset(unicodedata.normalize("NFC", word)) for word in foreign) > len(foreign):
            advice = "they are written in decomposed Unicode: convert the file with unicodedata.normalize('NFC', text)"
        raise ValueError(
            f"does not fit: the alphabet cannot write {len(foreign)} of the {len(known)} {kind} that it knows{examples}; {advice}"
        )
    return foreign


def _foreign(model: LanguageModel, letters: Set[str]) -> list[str]:
    """The model's words (or characters) that hold characters other than these letters, the likeliest first."""
    words = sorted(word for word in model.vocabulary - {SPACE} if not letters.issuperset(word))
    log_p = dict(zip(words, model.log_p(model.no_context(), words), strict=True))
    return sorted(words, key=lambda word: -log_p[word])


def _listed(words: Collection[str], most: int) -> str:
    return ", ".join(map(repr, list(words)[:most])) + (", ..." if len(words) > most else "")


def _checked_lexicon(known: set[str], lexicon: Iterable[str] | bool | None, letters: set[str]) -> frozenset[str] | None:
    """The allowed words, or None for all, once it is checked that the alphabet can write them."""
    if lexicon is None or lexicon is False:
        return None
    if lexicon is True:
        return frozenset(word for word in known if set(word) <= letters)
    words = frozenset([lexicon] if isinstance(lexicon, str) else lexicon)
    foreign = [word for word in words if not set(word) <= letters]
    if foreign or not words:
        problem = f"the alphabet cannot write {len(foreign)} of its words, such as {min(foreign)!r}" if foreign else "it is empty"
        raise ValueError(f"the lexicon does not fit: {problem}; give only words that the alphabet can write")
    return words


class CharacterScorer:
    """Scores a prefix with a model over characters: each adds log p(character | those before it).

    The scores of a text add up to log p_lm(y) and word_count(y) of Eq. 12. A state is (state of the model, whether a word has
    begun). Where no spaces separate words (``is_spaced``), or the alphabet has no space, each character counts as a word, as in
    Mandarin (Section 3.8). A model without ``<space>`` ignores spaces: a space adds nothing, and the characters around it count
    as neighbours.

    Args:
        model: a language model over characters.
        encoder: its labels are those with which the beam search extends prefixes.
        unknown_penalty: nats for a character that the model does not know, at least 0; None: log(size of the alphabet).
            If the model has <unk>, p(<unk>) counts instead.

    Attributes:
        unwritable: characters that the model knows but the alphabet lacks, the likeliest first.

    Raises:
        ValueError: if the model is not over characters, the alphabet lacks most of them, or the penalty is negative.
    """

    def __init__(self, model: LanguageModel, encoder: CharEncoder, unknown_penalty: float | None = None) -> None:
        if model.unit != "character":
            raise ValueError("CharacterScorer needs a language model over characters, but this one is over words; use WordScorer")
        units = ["", *encoder.alphabet]
        characters = set("".join(units))
        self.model, self.unknown_penalty = model, _checked_penalty(unknown_penalty, characters - {" "})
        self.unwritable = _unwritable(model, characters)
        self._space = units.index(" ") if " " in units else None
        self._tokens = [model.tokens(unit) for unit in units]  # the tokens of each label
        by_words = self._space is not None and is_spaced(encoder)
        self._words = (
            None if by_words else np.array([float(len(unit.strip())) for unit in units])
        )  # words that each label counts as
        if self._space is not None and not model.knows(SPACE):
            self._tokens[self._space] = []
        tokens = {token for label in self._tokens for token in label if not model.knows(token)}
        self._without_price = set() if model.knows(UNKNOWN) else tokens
        self._numbers = None if len(self._tokens) <= _FEW_LABELS else self._numbers_of_labels()
        few = len(self._tokens) <= _FEW_LABELS
        self._known = _Cache(self._nothing_known if few else _no_number, _NUMBERS // len(self._tokens) + 1 if few else _CONTEXTS)

    def start(self) -> tuple[Hashable, bool]:
        """The state before the first label."""
        return self.model.start(), False

    def scores(self, state: tuple[Hashable, bool], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Natural log p_lm and number of words that each of the (N,) labels adds; both (N,) float, 0 for the blank."""
        context, in_word = state
        log_p = self._log_p_remembered(context, labels) if self._numbers is None else self._log_p_at_once([context], labels)[0]
        if self._words is not None:
            return log_p, self._words[labels]
        return log_p, (labels == self._space).astype(np.float64) if in_word else np.zeros(len(labels))

    def advance(self, state: tuple[Hashable, bool], label: int) -> tuple[Hashable, bool]:
        """The state after one more label."""
        context, in_word = state
        for token in self._tokens[label]:
            context = self.model.after(context, token)
        return context, self._words is None and label != self._space if label else in_word

    def finish(self, state: tuple[Hashable, bool]) -> tuple[float, int]:
        """Natural log p_lm and number of words added if the text ends here."""
        return self.model.end(state[0]), int(state[1])

    def unknown_words(self, text: str) -> list[str]:
        """The characters of a text, except spaces, that the model does not know, in order."""
        return [token for token in self.model.tokens(text) if token != SPACE and not self.model.knows(token)]

    def _numbers_of_labels(self) -> np.ndarray | None:
        """(V,) numbers of the model's tokens; -1 if a label has none or several, or its token costs the penalty."""
        numbers = self.model.numbers(tokens[0] if tokens else "" for tokens in self._tokens)
        if numbers is not None:
            several = [len(tokens) != 1 or tokens[0] in self._without_price for tokens in self._tokens]
            numbers[several] = -1
        return numbers

    def scores_of(
        self, states: Sequence[tuple[Hashable, bool]], labels: np.ndarray
    ) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """``scores`` for W states: W arrays of each kind."""
        if self._numbers is None or self._words is None:
            return tuple(zip(*(self.scores(state, labels) for state in states), strict=True))
        return self._log_p_at_once([context for context, _ in states], labels), [self._words[labels]] * len(states)

    def _log_p_at_once(self, contexts: Sequence[Hashable], labels: np.ndarray) -> np.ndarray:
        """Natural log p of each label in each context, (W, N), for a large alphabet and a model that takes numbers."""
        numbers = self._numbers[labels]
        known = numbers >= 0
        if known.all():
            return self.model.log_p_by_number(contexts, numbers)
        log_p = np.empty((len(contexts), len(labels)))
        log_p[:, known] = self.model.log_p_by_number(contexts, numbers[known])
        for row, context in enumerate(contexts):
            log_p[row, ~known] = self._find_log_p(context, labels[~known].tolist())
        return log_p

    def _log_p_remembered(self, context: Hashable, labels: np.ndarray) -> np.ndarray:
        """Natural log p of each label; the model is asked only once for each."""
        known = self._known[context]
        if isinstance(known, dict):  # for a large alphabet, of which few labels are asked for
            asked = labels.tolist()
            if new := [label for label in asked if label not in known]:
                known.update(zip(new, self._find_log_p(context, new), strict=True))
            return np.array([known[label] for label in asked], dtype=np.float64)
        log_p = known[labels]
        new = np.isnan(log_p)
        if new.any():
            log_p[new] = known[labels[new]] = self._find_log_p(context, labels[new].tolist())
        return log_p

    def _find_log_p(self, context: Hashable, labels: list[int]) -> list[float]:
        """Natural log p of each label, 0 without tokens; for two characters, log p(ab|h) = log p(a|h) + log p(b|ha)."""
        if not all(map(self._tokens.__getitem__, labels)):
            with_tokens = [label for label in labels if self._tokens[label]]
            log_p = dict(zip(with_tokens, self._find_log_p(context, with_tokens), strict=True))
            return [log_p.get(label, 0.0) for label in labels]
        log_p = self._priced(context, [self._tokens[label][0] for label in labels])
        for place, label in enumerate(labels):
            state, (before, *others) = context, self._tokens[label]
            for token in others:
                state = self.model.after(state, before)
                log_p[place] += self._priced(state, [token])[0]
                before = token
        return log_p

    def _priced(self, context: Hashable, tokens: list[str]) -> list[float]:
        """Natural log p of each token; the penalty if neither it nor <unk> is in the model."""
        log_p = self.model.log_p(context, tokens)
        return [-self.unknown_penalty if t in self._without_price else p for t, p in zip(tokens, log_p, strict=True)]

    def _nothing_known(self, _context: Hashable) -> np.ndarray:
        """(V,) for log p of each label in a context: nan until it is computed; 0 for labels without tokens."""
        return np.array([np.nan if tokens else 0.0 for tokens in self._tokens])


# ---------------------------------------------------------------------------------------------
# Scorers from files
# ---------------------------------------------------------------------------------------------


def read_language_model(path: str | Path, unit: str | None = None) -> LanguageModel:
    """The model in an ARPA file, plain or compressed, or in a KenLM binary.

    Args:
        path: the file.
        unit: ``'word'`` or ``'character'``; None means characters if ``<space>`` is a 1-gram, else words.

    Raises:
        ValueError: if the file is broken, or is a KenLM binary while the package ``kenlm`` isn't installed.
        OSError: if the file cannot be read.
    """
    return KenlmModel(path, unit) if is_kenlm_binary(path) else NGramModel.read_arpa(path, unit)


def make_scorer(
    path: str | Path, encoder: CharEncoder, unit: str | None = None, lexicon: bool = False,
    unknown_penalty: float | None = None,
) -> WordScorer | CharacterScorer:  # fmt: skip
    """The scorer for an ARPA file or a KenLM binary, over words or characters; prints to stderr what does not fit.

    Words that the alphabet can write only in its own case, such as THE with the letters a to z, are read in that case.

    Args:
        path: the file.
        encoder: its labels are those with which the beam search extends prefixes.
        unit: ``'word'`` or ``'character'``; None: characters if the file has ``<space>``, or if no word that the alphabet
            can write is longer than one character.
        lexicon: whether only words that the model knows are allowed.
        unknown_penalty: nats per letter of a word that the model does not know; None: log(size of the alphabet).

    Raises:
        ValueError: if the file is broken, its unit is unclear, its words do not fit the encoder's alphabet, or a lexicon is
            wanted from a model of characters.
    """
    model = in_its_case(read_language_model(path, unit), encoder, path)
    try:
        if unit is None and model.unit == "word" and _is_of_characters(model, encoder):
            model.unit = "character"
            print(f"{path}: read as a model of characters, since its words are single characters", file=sys.stderr)
        if model.unit == "word":
            scorer = WordScorer(model, encoder, lexicon or None, unknown_penalty)
        elif lexicon:
            raise ValueError("is a model of characters, which knows no words: use a model of words, or leave out --lexicon")
        else:
            scorer = CharacterScorer(model, encoder, unknown_penalty)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _tell_what_is_lacking(path, scorer, encoder)
    return scorer


def in_its_case(model: LanguageModel, encoder: CharEncoder, path: str | Path) -> LanguageModel:
    """The model, with words in lower case if the alphabet can write them only that way; a line on stderr says which.

    No two words become one: words that the alphabet can write stay; if others would be spelt alike, only the likeliest changes.
    """
    letters, taken = set("".join(encoder.alphabet)), set(model.vocabulary)
    spellings, left = {}, []
    for word in _foreign(model, letters):
        spelling = encoder.reference(word)
        if letters.issuperset(spelling) and spelling not in taken:
            spellings[word] = spelling
            taken.add(spelling)
        elif letters.issuperset(spelling):
            left.append(word)
    if not spellings:
        return model
    known = len(model.vocabulary - {SPACE})
    what = f"{len(spellings)} of the {known} {model.unit}s that it knows, {_listed(spellings, 3)}"
    twins = f"; {len(left)} stay as they are, since they would be spelt like another: {_listed(left, 3)}" if left else ""
    print(f"{path}: read in lower case, to fit the alphabet: {what}{twins}", file=sys.stderr)
    return model.respelt(spellings)


def _is_of_characters(model: LanguageModel, encoder: CharEncoder) -> bool:
    """Whether the tokens are characters, though none is <space>; ValueError if that is unclear.

    The words that the alphabet can write decide this; marks such as <sil> and [noise] do not count.
    """
    letters = set("".join(encoder.alphabet))
    words = {word for word in model.vocabulary if len(word) == 1 or (word[0], word[-1]) not in (("<", ">"), ("[", "]"))}
    single = {word for word in words if len(word) == 1}
    longer = sorted(word for word in words - single if set(word) <= letters)
    if single & letters and not longer and 10 * len(single) >= 9 * len(words):
        return True
    if longer and 10 * len(single) >= 9 * len(words):
        raise ValueError(
            f"{len(single)} of the {len(words)} words are single characters, but not {_listed(longer, 3)}, so it may be a model "
            "of words or of characters: say which with --unit word or --unit character"
        )
    if " " not in letters and model.joins_words():
        raise ValueError(
            "is a model of words, but the alphabet has no space to separate them: make a model of characters with "
            "train_language_model.py --unit character, or say --unit word if each text is one word"
        )
    return False


def _tell_what_is_lacking(path: str | Path, scorer: WordScorer | CharacterScorer, encoder: CharEncoder) -> None:
    """Prints one sentence to stderr for words that the alphabet can't write, and one for a model without the space."""
    model, lacking = scorer.model, scorer.unwritable
    if lacking:
        known = len(model.vocabulary - {SPACE})
        what = f"{len(lacking)} of the {known} {model.unit}s that it knows ({len(lacking) / known:.1%})"
        print(f"{path}: the alphabet cannot write {what}, so they are never found: {_listed(lacking, 5)}", file=sys.stderr)
    if model.unit == "character" and " " in encoder.alphabet and is_spaced(encoder) and not model.knows(SPACE):
        print(f"{path}: does not know <space>, so it can't tell where words end", file=sys.stderr)
