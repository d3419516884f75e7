"""Alphabets by name, from a corpus or from a file; also pairs of letters as outputs (Section 3.6), for longer strides."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from implementation import CharEncoder, is_spaced
from speech.transcripts import plain
from speech.utterances import text_code


class BigramEncoder(CharEncoder):
    """Single characters and pairs of them to CTC labels and back; label 0 is the blank.

    Each word is cut into pairs from its start, and an odd last letter stays alone; the space is a unit of its own:
    the cat sat -> th e _ ca t _ sa t. A pair that is not a unit becomes two single characters [ours].

    Args:
        units: what labels 1, 2, ... stand for: single characters, and pairs of them without a space. The ``alphabet`` of
            another encoder gives the same encoder.
        unknown: what ``encode`` does, before it cuts words, with a character that is not a unit: ``'error'`` or ``'drop'``.

    Raises:
        ValueError: if units repeat, a unit is neither one character nor a pair of single units, a pair holds a space,
            or ``unknown`` is any other word.

    Source: Section 3.6.
    """

    def __init__(self, units: Sequence[str], unknown: str = "error") -> None:
        super().__init__([unit for unit in units if len(unit) == 1], unknown)
        self._characters = CharEncoder(self.alphabet, unknown)
        for unit in units:
            if len(unit) != 1 and (len(unit) != 2 or " " in unit or not set(unit) <= set(self.alphabet)):
                raise ValueError(f"unit {unit!r} is neither one character nor a pair, without a space, of the single characters")
        self.alphabet = list(units)
        self._index = {unit: label for label, unit in enumerate(self.alphabet, start=1)}
        if len(self._index) != len(self.alphabet):
            raise ValueError(f"units must differ, but {Counter(units).most_common(1)[0][0]!r} occurs more than once")

    @classmethod
    def learn(
        cls, texts: Iterable[str], alphabet: str | Sequence[str] = "english", min_count: int = 1, unknown: str = "error"
    ) -> BigramEncoder:
        """Encoder for all characters of an alphabet and the pairs that occur in the training transcripts.

        Args:
            texts: transcripts.
            alphabet: as ``CharEncoder`` takes it.
            min_count: how often a pair must occur to be a unit; 1 means all that occur [paper, Section 3.6].
            unknown: what to do with a character outside the alphabet, here and in ``encode``: ``'error'`` or ``'drop'``.

        Raises:
            ValueError: for a character outside the alphabet, unless ``unknown='drop'``.
        """
        characters = CharEncoder(alphabet, unknown)
        texts = [texts] if isinstance(texts, str) else texts
        counts = Counter(unit for text in texts for unit in _cut(characters.decode(characters.encode(text))) if len(unit) == 2)
        return cls([*characters.alphabet, *sorted(pair for pair in counts if counts[pair] >= min_count)], unknown)

    def encode(self, text: str) -> list[int]:
        """Labels of a text, with letters folded to lower case.

        Raises:
            ValueError: for a character that is not a unit, unless ``unknown='drop'``.
        """
        plain = self._characters.decode(self._characters.encode(text))
        return [self._index[part] for unit in _cut(plain) for part in ([unit] if unit in self._index else unit)]

    def reference(self, text: str) -> str:
        """The reference for error rates: letters folded as in ``encode``, and every character kept, known or not."""
        return self._characters.reference(text)


def _cut(text: str) -> list[str]:
    """Non-overlapping pairs from the start of each word, any letter left over, and spaces."""
    return re.findall("[^ ]{1,2}| ", text)


def choose_encoder(alphabet: str | Path, texts: Iterable[str] = (), unknown: str = "error") -> CharEncoder:
    """The encoder for an alphabet.

    Args:
        alphabet: ``'english'`` or ``'mandarin'``, as ``CharEncoder`` takes them; ``'corpus'``: the characters of the texts;
            otherwise a file that ``read_alphabet`` takes.
        texts: transcripts to train on.
        unknown: as in ``CharEncoder``.

    Raises:
        ValueError: if there is no such file, no alphabet in it, or no letter in the texts.
    """
    if alphabet in ("english", "mandarin"):
        return CharEncoder(alphabet, unknown)
    return corpus_encoder(texts, unknown) if alphabet == "corpus" else CharEncoder(read_alphabet(alphabet), unknown)


def corpus_encoder(texts: Iterable[str], unknown: str = "error") -> CharEncoder:
    """The encoder for all letters, digits and apostrophes in the texts (``plain``), and for the space if it separates words."""
    encoder = CharEncoder.from_transcripts(map(plain, texts), unknown)
    if not encoder.alphabet or encoder.alphabet == [" "]:
        raise ValueError("there is no letter in the transcripts to make an alphabet from")
    return CharEncoder([" ", *encoder.alphabet], unknown) if is_spaced(encoder) and " " not in encoder.alphabet else encoder


def read_alphabet(path: str | Path) -> list[str]:
    """The characters of a UTF-8 text file in their order, on one line or on many; a repeated character counts once.

    A space counts; a line break does not. Letters and their marks are composed (NFC) if possible. The blank is not included.

    Raises:
        ValueError: if there is no such file, it has no characters, or it is another program's list of symbols.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such alphabet; give english, mandarin, corpus, or a text file with its characters")
    data = path.read_bytes()
    try:
        lines = unicodedata.normalize("NFC", data.decode(text_code(data))).splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; convert the file, which must hold the characters of an alphabet") from None
    if mark := next((found[0] for line in lines if (found := re.search(r"<\w+>", line))), None):
        raise ValueError(f"{path} holds the mark {mark}: remove it, and keep only the characters; the blank is added for you")
    written = [line for line in lines if line.strip()]
    if len(written) > 1 and all(re.fullmatch(r"\S\s+\d+", line) for line in written):
        raise ValueError(f"{path} has a number after each character: keep only the characters, which are numbered in their order")
    characters = list(dict.fromkeys(char for line in lines for char in line.replace("\t", "")))
    if not set(characters) - {" "}:
        raise ValueError(f"{path}: it has no characters; write the alphabet's characters into it, such as abc")
    return characters


def encoder_of(units: Sequence[str], unknown: str = "error") -> CharEncoder:
    """The encoder with these units, characters or bigrams (Section 3.6)."""
    return (BigramEncoder if any(len(unit) > 1 for unit in units) else CharEncoder)(units, unknown)
