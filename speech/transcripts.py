"""Brings transcripts into a model's alphabet: unifies how the same characters are written and how words are separated.

    "Don’t — it’s the naïve ﬁancé’s twenty-five"  ->  "Don't it's the naive fiance's twenty five"

A character of the alphabet is never changed: an alphabet with é keeps it, and one with Chinese characters keeps those.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from implementation import CharEncoder, without_spaces

# Other ways to write a character, tried in this order; NFKC (full-width forms, ligatures) comes before these, accents after.
_SAME = {
    "ʼ": "'", "＇": "'", "‛": "'", "’": "'", "‘": "'", "`": "'", "´": "'", "′": "'", "ʹ": "'", "ʻ": "'",
    "ꞌ": "'", "Ꞌ": "'", "ʾ": "'", "ˈ": "'", "׳": "'", "՚": "'", "ߴ": "'",
    "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "″": '"', "‹": '"', "›": '"',
    "‐": "-", "‑": "-", "－": "-", "﹣": "-", "−": "-",
    "ß": "ss", "ẞ": "ss", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ø": "o", "Ø": "o", "đ": "d", "Đ": "d", "ð": "d",
    "Ð": "d", "þ": "th", "Þ": "th", "ł": "l", "Ł": "l", "ħ": "h", "Ħ": "h", "ı": "i", "ŋ": "ng", "ĸ": "k", "ŧ": "t", "ŀ": "l",
    "ё": "е", "Ё": "е",
}  # fmt: skip
_PARTS_WORDS = set("/\\_|·•‧…~～〜")  # in addition to dashes, spaces and line breaks
_SPOKEN = set("&@%#§‰＆＠％＃")  # unlike other punctuation
_GAP = "\0"  # stands for a separator of words, until both sides of it are known
_ZERO_WIDTH_SPACE = "\u200b"
_CHINESE = "[\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]"  # and Japanese: written without spaces
_BESIDE_CHINESE = re.compile(rf"(?<={_CHINESE})\0+|\0+(?={_CHINESE})")
_SPACE_BESIDE_CHINESE = re.compile(rf"(?<={_CHINESE})\s+|\s+(?={_CHINESE})")
_WITH_MARKS = re.compile(  # no more marks at once than anyone writes, since sorting many takes a long time
    "[\u1100-\u11ff]+|.[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u064b-\u065f\u093c\u09bc\u3099\u309a]{1,30}"
)
_QUOTED = re.compile(r"(?<!\w)(?:‘([^‘’]*(?:(?<=\w)’(?=\w)[^‘’]*)*)’|‚([^‚‘]*)‘)(?!\w)")  # ‘so’, but not ’tis or dogs’
_NOT_INSIDE = re.compile(r"(?<!\w)[`´′ʹ]|[`´′ʹ](?!\w)")


def normalise(text: str, encoder: CharEncoder) -> str:
    """Writes a transcript in the characters of an alphabet, where it has the same characters in another form.

    Dashes, slashes, underscores, ellipses and unusual spaces separate words; typographic apostrophes and quotes, ligatures,
    full-width forms and accents become what the alphabet has; invisible characters are removed. If the encoder drops unknown
    characters, punctuation also separates words, and other unknown characters get a space on both sides, so that dropping them
    joins nothing. Everything else stays as it is: see ``unknown_characters``.

    Args:
        text: as the corpus gives it.
        encoder: the encoder with the alphabet.

    Returns:
        the text with single spaces. A second pass changes nothing more.
    """
    known = _known(tuple(encoder.alphabet))
    if not known.issuperset(text):
        drops = encoder.unknown == "drop"
        text = "".join(char for char in text if char in known or not _is_invisible(char))  # they would separate letters and marks
        text = _WITH_MARKS.sub(lambda found: _composed(found[0], known), text)
        text = _QUOTED.sub(r'"\1\2"', text)
        text = _NOT_INSIDE.sub(lambda found: found[0] if found[0] in known else _GAP, text)
        text = "".join(_written(char, known, drops) for char in text)
        if drops:
            text = re.sub(r"[^\s\0]+", lambda found: _set_apart(found[0], known), text)
        text = _BESIDE_CHINESE.sub("", text).replace(_GAP, " ")
        text = text if " " in known else _SPACE_BESIDE_CHINESE.sub("", text)
    return " ".join(text.split())


def _composed(cluster: str, known: frozenset[str]) -> str:
    """A letter with its marks as one character if there is one; removes marks on Latin letters that the alphabet lacks."""
    if known.issuperset(cluster):
        return cluster
    composed = unicodedata.normalize("NFC", cluster)
    if len(composed) > 1 and _is_european(composed[0]):
        composed = "".join(char for char in composed if char in known or not unicodedata.combining(char))
    return composed


def _is_invisible(char: str) -> bool:
    """Whether it is a soft hyphen, a joiner or a mark of direction."""
    return unicodedata.category(char) == "Cf" and char != _ZERO_WIDTH_SPACE


def _set_apart(text: str, known: frozenset[str]) -> str:
    """A word whose unknown characters will be dropped, with gaps so that the characters beside them are not joined."""
    word = "".join(char if char in known else f"{_GAP}{char}{_GAP}" for char in text)
    return word.replace(_GAP * 2, "")


def plain(text: str) -> str:
    """Cleans a transcript for making an alphabet: keeps its letters, marks, digits, apostrophes in words, and spaces.

    Letters and digits get their compatible, composed form (NFKC): full-width ones become usual ones, ligatures become letters.
    All apostrophes become the same. Punctuation and symbols separate words; beside Chinese characters they are removed, as are
    spaces.
    """
    text = unicodedata.normalize("NFC", "".join(char for char in text if not _is_invisible(char)))
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", "".join(map(_plain_character, text)))
    return " ".join(_SPACE_BESIDE_CHINESE.sub("", text).split())


def _plain_character(char: str) -> str:
    if _SAME.get(char, char) == "'":
        return "'"
    kinds = ("L", "M", "Nd", "Nl")
    compatible = unicodedata.normalize("NFKC", char)
    written = compatible if unicodedata.category(char).startswith(kinds) or _is_ideograph(compatible) else " "
    return "".join(c for c in written if unicodedata.category(c).startswith(kinds)) or " "


def joined(texts: Iterable[str]) -> str:
    """Joins texts that are said one after the other: with a space between them, unless their script has no spaces."""
    whole = ""
    for text in texts:
        whole += " " * bool(whole and text and not without_spaces(whole[-1]) and not without_spaces(text[0])) + text
    return whole


def mixed_scripts(texts: Iterable[str]) -> Counter[str]:
    """How often words occur that mix Latin, Greek and Cyrillic letters, which look alike: ``cаt`` with a Cyrillic а."""
    counts: Counter[str] = Counter()
    for text in texts:
        if not text.isascii():
            counts.update(word for word in text.split() if not word.isascii() and len(set(map(_alike, word)) - {""}) > 1)
    return counts


def _alike(char: str) -> str:
    """The script of a letter that may look like a letter of another script; else empty."""
    script = unicodedata.name(char, "").partition(" ")[0]
    return script.capitalize() if script in ("LATIN", "GREEK", "CYRILLIC") else ""


def spelt(text: str, encoder: CharEncoder) -> str:
    """What an encoder can write of a text, with single spaces even where it drops characters; raises what the encoder raises."""
    return " ".join(encoder.decode(encoder.encode(text)).split())


def is_known(text: str, encoder: CharEncoder) -> bool:
    """Whether the alphabet has every character of a text."""
    return _known(tuple(encoder.alphabet)).issuperset(text)


def unknown_characters(texts: Iterable[str], encoder: CharEncoder) -> Counter[str]:
    """How often characters that the alphabet lacks occur in the normalised texts; the encoder refuses or drops them."""
    known = _known(tuple(encoder.alphabet))
    counts: Counter[str] = Counter()
    for text in texts:
        text = normalise(text, encoder)
        if not known.issuperset(text):
            counts.update(char for char in text if char not in known and char != " ")
    return counts


def changed_letters(texts: Iterable[str], encoder: CharEncoder) -> Counter[str]:
    """Counts the letters that the alphabet replaces with others; é replaced with e is counted under "é as e"."""
    known = _known(tuple(encoder.alphabet))
    counts: Counter[str] = Counter()
    for text in texts:
        if not known.issuperset(text):
            counts.update(char for char in unicodedata.normalize("NFC", text) if char not in known and char.isalpha())
    written = {char: _written(char, known, False) for char in counts}
    other = {char: f"{char} as {new}" for char, new in written.items() if _decomposed(char) != _decomposed(new)}
    return Counter({name: counts[char] for char, name in other.items()})


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text.lower()).lower()


def named(counts: Counter[str], show: int = 8) -> str:
    """The most common characters or words: "',' 12 times, '5' 3 times, and 4 others"; with the script of look-alikes."""
    characters = (char for char in counts if len(char) == 1 and not char.isascii())
    alike = {char: f" ({_alike(char)})" for char in characters if _alike(char) in ("Greek", "Cyrillic")}
    times = {char: f"{count} times" if count > 1 else "once" for char, count in counts.items()}
    listed = [f"{char!r}{alike.get(char, '')} {times[char]}" for char, _ in counts.most_common(show)]
    rest = len(counts) - show
    return ", ".join(listed) + (f", and {rest} other{'s' * (rest > 1)}" if rest > 0 else "")


@lru_cache(maxsize=16)
def _known(units: tuple[str, ...]) -> frozenset[str]:
    """The characters that an encoder with these units can write: its own, and capitals that it folds to them."""
    own = {char for unit in units for char in unit}
    capitals = {char.upper() for char in own if len(char.upper()) == 1 and char.upper().lower() == char}
    return frozenset(own | capitals)


@lru_cache(maxsize=100_000)
def _written(char: str, known: frozenset[str], drops: bool) -> str:
    """A character as the alphabet writes it; a character that it can't write stays, or is set apart if it will be dropped."""
    if char in known or char == " ":
        return char
    for way in _ways(char):
        if way and known.issuperset(way):
            return way
    category = unicodedata.category(char)
    if char == _ZERO_WIDTH_SPACE:
        return _GAP
    if category in ("Zs", "Zl", "Zp") or char.isspace():
        return " "
    if category == "Pd" or char in _PARTS_WORDS or category == "Cc":
        return _GAP
    plain = _SAME.get(char, char)
    if drops and plain == "'":
        return ""
    if drops and category[0] == "P" and char not in _SPOKEN:
        return _GAP
    return plain if plain in "'\"" else char


def _ways(char: str) -> Iterable[str]:
    """Other ways to write a character, the nearest first."""
    compatible, category = unicodedata.normalize("NFKC", char), unicodedata.category(char)
    if category[0] in "LP" or category == "Nd" or _is_ideograph(compatible):
        yield compatible
    for form in dict.fromkeys((char, compatible)):
        yield _SAME.get(form, "")
    yield char.lower()
    if category[0] == "L":
        bare = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
        if all(map(_is_european, bare)):
            yield bare
        yield unicodedata.normalize("NFD", char)  # Korean syllables as letters, where the alphabet has those


def _is_ideograph(text: str) -> bool:
    """Whether it is one Chinese character; texts from a PDF may hold a radical instead, ⼈ for 人, a symbol in Unicode."""
    return len(text) == 1 and unicodedata.name(text, "").startswith("CJK UNIFIED")


def _is_european(char: str) -> bool:
    """Whether it is Latin or Greek, where marks are accents; elsewhere they make other letters: が is not か, й not и."""
    return "LATIN" in unicodedata.name(char, "") or "GREEK" in unicodedata.name(char, "")
