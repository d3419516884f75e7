"""ARPA files: reads them from any tool that writes them, and holds their n-grams in little memory.

Two readers give the same n-grams: a fast one, which gives up at anything unexpected, and then a careful one, which reads
line by line and says which line is wrong and why. Logarithms are to base 10, as in the file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import re
import sys
import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

BOS, EOS, UNKNOWN, SPACE = "<s>", "</s>", "<unk>", "<space>"
NEVER = -99.0  # how ARPA files write log10(0), the probability that <s> follows something; -inf is read as this
_LARGEST = 1e6  # limit of a logarithm, so that sums of many stay finite
NGram = tuple[str, ...]


class ArpaError(ValueError):
    """A broken ARPA file, or a file that is not one."""


def read_arpa_file(path: Path | str) -> tuple[Mapping[NGram, tuple[float, float]], int]:
    """N-gram -> (log10 probability, log10 back-off weight), and the order: the greatest length that the file announces.

    The file may be compressed (gzip, bzip2, xz). Lines before ``\\data\\``, Windows line ends, a byte order mark, blanks
    instead of tabs, an empty highest order and missing back-off weights change nothing; a missing ``\\end\\`` gives a warning.

    Raises:
        ArpaError: if there is no such file or it is broken; the message names the file and the line, and says what to do.
        OSError: if the file cannot be read.
    """
    _check_is_arpa(Path(path))
    try:
        with closing(_opened(path)) as file:
            ngrams, order, ended = _read_fast(file)
    except (LookupError, ValueError, OverflowError, *_CANNOT_UNPACK):
        ngrams, order, ended = _read_with_care(path)
    if not ended:
        print(f"{path}: ends without \\end\\, but all n-grams that it announces are there, so it is read", file=sys.stderr)
    return ngrams, order


# ---------------------------------------------------------------------------------------------
# What kind of file it is
# ---------------------------------------------------------------------------------------------

_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_CANNOT_UNPACK = (EOFError, OSError, zlib.error, lzma.LZMAError, MemoryError)  # the last, because xz may ask for any amount
_MOST_UNPACKED, _NOT_MUCH = 100, 2**26  # most bytes from one packed byte (3 to 20 in text); bytes that are read in any case
_NO_MODEL = "not a language model: give an ARPA file; python train_language_model.py TEXT -o lm.arpa makes one"
_BINARIES = {  # first bytes of a file -> what it is, and what to do
    b"mmap lm http://kheafield.com/code": (
        "a KenLM binary, not an ARPA file; --lm takes it uncompressed if the package kenlm is installed: pip install kenlm==0.3.0"
    ),
    b"SRILM_BINARY_NGRAM": "an SRILM binary: ngram -lm {path} -write-lm lm.arpa turns it into an ARPA file",
    b"Trie Language Model": "a CMU Sphinx binary: sphinx_lm_convert -i {path} -o lm.arpa turns it into an ARPA file",
    b"Darpa Trigram LM": "a CMU Sphinx binary: sphinx_lm_convert -i {path} -o lm.arpa turns it into an ARPA file",
    b"blmt": "an IRSTLM binary: compile-lm {path} --text=yes lm.arpa turns it into an ARPA file",
    b"Qblmt": "an IRSTLM binary: compile-lm {path} --text=yes lm.arpa turns it into an ARPA file",
    **dict.fromkeys((b"PK\3\4", b"PK\5\6"), "a zip archive: unzip {path}, then give the ARPA file in it, if there is one"),
    b"\x28\xb5\x2f\xfd": "compressed with zstd: zstd -d {path}, then give the unpacked file",
    b"Rar!": "a RAR archive: unrar x {path}, then give the ARPA file in it, if there is one",
    b"7z\xbc\xaf": "a 7z archive: 7z x {path}, then give the ARPA file in it, if there is one",
    b"\x80": f"a Python pickle, perhaps a network's weights, {_NO_MODEL}",
    b"version https://git-lfs": "a Git LFS pointer, not the model itself; fetch it: git lfs pull",
    **dict.fromkeys((b"<!doctype html", b"<!DOCTYPE html", b"<html"), f"a web page (the download failed), {_NO_MODEL}"),
    b"%PDF": f"a PDF file, {_NO_MODEL}",
    **dict.fromkeys((b"fLaC\0", b"OggS\0", b"ID3\3\0", b"ID3\4\0"), f"audio, {_NO_MODEL}"),
}


def _check_is_arpa(path: Path) -> None:
    """Raises ``ArpaError`` if there is no file, or if it is known to be something else."""
    if not path.exists():
        raise ArpaError(f"{path}: no such file; python train_language_model.py TEXT -o {path} makes one")
    if not path.is_file():
        raise ArpaError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device, not a file'}; give an ARPA file")
    with closing(_opened(path)) as file:
        packed = isinstance(file.raw, _Unpacked)
        try:
            start = file.peek(512)[:512]
        except _CANNOT_UNPACK:
            return  # the careful reader reports it
    if what := _known_as(start, path.with_suffix("") if packed and path.suffix in (".gz", ".bz2", ".xz") else path):
        raise ArpaError(f"{path} is{', once unpacked,' if packed else ''} {what}")


def _known_as(start: bytes, path: Path) -> str:
    """What a file with these first bytes is, and what to do, if it is known not to be an ARPA file; otherwise empty."""
    if not start:
        return f"empty; {_NO_MODEL.split('; ')[1]}"
    if start.startswith(b"PK") and b"data.pkl" in start:
        return f"a checkpoint with a network's weights, {_NO_MODEL}"
    for magic, what in _BINARIES.items():
        if start.startswith(magic) or (b"\0" in start[:4] and start[4:].startswith(magic)):  # Sphinx writes a length before these
            return what.format(path=path)
    if start[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return f"audio, {_NO_MODEL}"
    if start[257:262] == b"ustar":
        return f"a tar archive: tar -xf {path}, then give the ARPA file in it, if there is one"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"text in UTF-16: iconv -f UTF-16 -t UTF-8 {path} > lm.arpa turns it into UTF-8"
    return f"binary data, {_NO_MODEL}" if b"\0" in start else ""


def _opened(path: Path | str) -> io.BufferedReader:
    """The open file, unpacked if its first bytes show that it is compressed, whatever its name."""
    file = Path(path).open("rb")  # noqa: SIM115
    for magic, unpack in _COMPRESSED.items():
        if file.peek(len(magic)).startswith(magic):
            return io.BufferedReader(_Unpacked(unpack(file), Path(path).stat().st_size), 2**18)
    return file


class _Unpacked(io.RawIOBase):
    """The contents of a compressed file; raises ``EOFError`` if they are out of all proportion to its size.

    Args:
        file: a file that is unpacked as it is read.
        packed: size of the compressed file in bytes.
    """

    def __init__(self, file: BinaryIO, packed: int) -> None:
        self._file, self._left = file, max(_NOT_MUCH, _MOST_UNPACKED * packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        read = self._file.readinto(buffer)
        self._left -= read
        if self._left < 0:
            raise EOFError(f"it unpacks to more than {_MOST_UNPACKED} times its size, which no language model does")
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


# ---------------------------------------------------------------------------------------------
# N-grams in little memory
# ---------------------------------------------------------------------------------------------


class _Level:
    """The n-grams of one length, sorted by their first n-1 tokens, then by the last; an n-gram's number is its place.

    Attributes:
        last: number of the last token of each n-gram.
        first: for each n-gram of the level below, where its continuations begin in ``last``; plus one entry for the end.
        log_p, backoff: the log10 probability and back-off weight of each; ``backoff`` is empty if all its values are 0.
    """

    def __init__(self, last: np.ndarray, first: np.ndarray, log_p: np.ndarray, backoff: np.ndarray) -> None:
        self.last, self.first = array("i", last.astype(np.intc).tobytes()), array("i", first.astype(np.intc).tobytes())
        self.log_p = array("d", log_p.tobytes())
        self.backoff = array("d", backoff.tobytes() if backoff.any() else b"")

    def __getitem__(self, place: int) -> tuple[float, float]:
        return self.log_p[place], self.backoff[place] if self.backoff else 0.0


_FEW = 50  # with fewer n-grams that begin alike, taking out all is faster than searching for each label


_NO_NUMBERS = np.empty(0)


class NGrams(Mapping):
    """N-gram -> (log10 probability, log10 back-off weight), read-only, as a tree: 12 to 24 bytes per n-gram, each word once.

    Args:
        words: the 1-grams, by number.
        levels: the n-grams of each length.
    """

    def __init__(self, words: list[str], levels: list[_Level]) -> None:
        self.words, self._levels = words, levels
        self._numbers = {word: number for number, word in enumerate(words)}

    def _place(self, ngram: NGram) -> int:
        """The n-gram's place in the level for its length; -1 if it is not there."""
        if not 0 < len(ngram) <= len(self._levels):
            return -1
        place = self._numbers.get(ngram[0], -1)
        for n in range(1, len(ngram)):
            number = self._numbers.get(ngram[n], -1)
            if place < 0 or number < 0:
                return -1
            level = self._levels[n]
            start, end = level.first[place], level.first[place + 1]
            place = bisect_left(level.last, number, start, end)
            if place == end or level.last[place] != number:
                return -1
        return place

    def __getitem__(self, ngram: NGram) -> tuple[float, float]:
        if (place := self._place(ngram)) < 0:
            raise KeyError(ngram)
        return self._levels[len(ngram) - 1][place]

    def get(self, ngram: NGram, default: object = None) -> object:
        place = self._place(ngram)
        return default if place < 0 else self._levels[len(ngram) - 1][place]

    def following(self, context: NGram) -> Callable[[str], float | None]:
        """A function: token -> log10 p of context and token as an n-gram; None if there is no such n-gram."""
        place = self._place(context) if context else 0
        if place < 0 or len(context) >= len(self._levels):
            return {}.get
        level = self._levels[len(context)]
        last, log_p, start, end = level.last, level.log_p, level.first[place], level.first[place + 1]
        if end - start < _FEW:
            return dict(zip(map(self.words.__getitem__, last[start:end]), log_p[start:end], strict=True)).get

        def find(token: str) -> float | None:
            number = self._numbers.get(token, -1)
            place = bisect_left(last, number, start, end)
            return log_p[place] if place < end and last[place] == number else None

        return find

    def numbers(self, tokens: Iterable[str]) -> np.ndarray:
        """The number of each token; an unknown token gets the number of <unk>, or -1 if there is no <unk>."""
        unknown = self._numbers.get(UNKNOWN, -1)
        return np.array([self._numbers.get(token, unknown) for token in tokens], dtype=np.intc)

    def segment(self, context: NGram) -> tuple[np.ndarray, np.ndarray, float]:
        """Sorted numbers of the tokens that follow a context, log10 p of each, and the context's log10 back-off weight."""
        place, length = self._place(context) if context else 0, len(context)
        if place < 0:
            return _NO_NUMBERS, _NO_NUMBERS, 0.0
        backoff = self._levels[length - 1][place][1] if context else 0.0
        if length == len(self._levels):
            return _NO_NUMBERS, _NO_NUMBERS, backoff
        level = self._levels[length]
        start, end = level.first[place], level.first[place + 1]
        return np.frombuffer(level.last, np.intc)[start:end], np.frombuffer(level.log_p)[start:end], backoff

    def respelt(self, spellings: Mapping[str, str]) -> NGrams:
        """The same n-grams with some words spelt differently: word -> spelling."""
        return NGrams([spellings.get(word, word) for word in self.words], self._levels)

    def __contains__(self, ngram: object) -> bool:
        return isinstance(ngram, tuple) and self._place(ngram) >= 0

    def __len__(self) -> int:
        return sum(len(level.log_p) for level in self._levels)

    def __iter__(self) -> Iterator[NGram]:
        """Yields the n-grams, the shortest first."""
        ngrams = [(word,) for word in self.words]
        yield from ngrams
        for level in self._levels[1:]:
            followed = zip(ngrams, pairwise(level.first), strict=True)
            ngrams = [(*ngram, self.words[last]) for ngram, (start, end) in followed for last in level.last[start:end]]
            yield from ngrams


# ---------------------------------------------------------------------------------------------
# The fast reader
# ---------------------------------------------------------------------------------------------

_AT_ONCE = 2**12  # lines
_Section = tuple[list[np.ndarray], np.ndarray, np.ndarray]  # numbers of the 1st, 2nd, ... tokens; log10 p; log10 back-off weights


def _read_fast(file: io.BufferedReader) -> tuple[NGrams, int, bool]:
    """The n-grams, the order, and whether ``\\end\\`` follows them; raises ValueError or LookupError at anything odd."""
    _must(_lines_before_data(file) is not None)
    counts: list[int] = []
    while (heading := _next_line(file)).startswith(b"ngram"):
        announced = re.fullmatch(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})", heading)
        _must(announced is not None and int(announced[1]) == len(counts) + 1)
        counts.append(int(announced[2]))
    words: list[str] = []
    numbers: dict[bytes, int] = {}
    levels: list[_Level] = []
    keys: list[np.ndarray] = []  # for each level, sorted: number of the n-gram without its last token * words + the last token
    for n, count in enumerate(counts, start=1):
        if heading == b"\\%d-grams:" % n or count:
            _must(heading == b"\\%d-grams:" % n)
            if n == 1:
                numbers, words, section = _read_words(file, count)
            else:
                section = _read_section(file, count, n, numbers)
            _must(n < len(counts) or not section[2].any())
            if count:
                _must(len(levels) == n - 1)
                levels.append(_level(section, levels, keys, len(words)))
            heading = _next_line(file)
    _must(heading in (b"\\end\\", b"") and not _next_line(file))
    _must(BOS in words and EOS in words)
    return NGrams(words, levels), len(counts), bool(heading)


def _must(condition: bool) -> None:
    if not condition:
        raise ValueError("left to the careful reader")


def _next_line(file: io.BufferedReader) -> bytes:
    """The next line that is not blank; b"" at the end."""
    return next((text for line in file if (text := line.strip(b" \t\r\n"))), b"")


def _read_words(file: io.BufferedReader, count: int) -> tuple[dict[bytes, int], list[str], _Section]:
    """The number of each word as spelt in the file, the words by number, and the section of 1-grams."""
    numbers: defaultdict[bytes, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new word gets the next number
    section = _read_section(file, count, 1, numbers)
    numbers.default_factory = None  # from here on, a word that is not among the 1-grams is an error
    words = [UNKNOWN if word == b"<UNK>" else word.decode() for word in numbers]
    _must(len(words) == len(set(words)) == count)
    if b"<UNK>" in numbers:
        numbers[b"<unk>"] = numbers[b"<UNK>"]
    elif b"<unk>" in numbers:
        numbers[b"<UNK>"] = numbers[b"<unk>"]
    return numbers, words, section


def _read_section(file: io.BufferedReader, count: int, n: int, numbers: Mapping[bytes, int]) -> _Section:
    """The section of n-grams in the next ``count`` lines."""
    parts = [([np.zeros(0, np.int32)] * n, np.zeros(0), np.zeros(0))]
    for start in range(0, count, _AT_ONCE):
        lines = list(islice(file, min(_AT_ONCE, count - start)))
        size, step = len(lines), n + 3
        _must(size == min(_AT_ONCE, count - start))
        fields = _fields(lines, n)
        tokens = [np.fromiter(map(numbers.__getitem__, fields[i::step]), np.int32, size) for i in range(1, n + 1)]
        log_p = np.fromiter(map(float, fields[::step]), float, size)
        weights = fields[n + 1 :: step]
        backoff = np.zeros(size) if weights.count(b"0") == size else np.fromiter(map(float, weights), float, size)
        for values in (log_p, backoff):
            values[np.isneginf(values)] = NEVER
            _must(bool((np.abs(values) < _LARGEST).all()))
        _must(not (log_p > 0).any())
        parts.append((tokens, log_p, backoff))
    tokens = [np.concatenate([part[0][i] for part in parts]) for i in range(n)]
    return tokens, np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])


def _fields(lines: list[bytes], n: int) -> list[bytes]:
    """The n + 3 fields of each line: log10 p, n tokens, log10 back-off weight or 0, and a mark at the end.

    All lines are split at once, because a list for each line takes five times as long.
    """
    block = b"".join(lines)
    tabs = block.count(b"\t")
    if len(lines) < tabs < 2 * len(lines):  # some with a weight, some without
        block = b"".join([line if line.count(b"\t") > 1 else line.replace(b"\n", b" 0\n") for line in lines])
    fields = block.replace(b"\n", b" 0 \0 " if tabs == len(lines) else b" \0 ").split()
    if len(fields) == len(lines) * (n + 3) and fields.count(b"\0") == len(lines) == fields[n + 2 :: n + 3].count(b"\0"):
        return fields
    by_line = [line.split() for line in lines]  # there are blanks instead of tabs, or something is wrong
    _must(set(map(len, by_line)) <= {n + 1, n + 2})
    return [field for line in by_line for field in (*[*line, b"0"][: n + 2], b"\0")]


def _level(section: _Section, levels: list[_Level], keys: list[np.ndarray], words: int) -> _Level:
    """The lines of a section, sorted; every n-gram without its last token must be in the level below."""
    tokens, log_p, backoff = section
    place = tokens[0].astype(np.int64)  # of the n-gram without its last token, step by step
    for known, token in zip(keys[1:], tokens[1:-1], strict=True):
        key = place * words + token
        place = np.searchsorted(known, key)
        _must(bool((known.take(place, mode="clip") == key).all()))
    place = place if levels else np.zeros_like(place)
    key = place * words + tokens[-1]
    order = np.argsort(key, kind="stable")
    keys.append(key[order])
    _must(bool((np.diff(keys[-1]) > 0).all()))
    before = len(levels[-1].log_p) if levels else 1
    first = np.searchsorted(place[order], np.arange(before + 1))
    return _Level(tokens[-1][order], first, log_p[order], backoff[order])


# ---------------------------------------------------------------------------------------------
# The careful reader
# ---------------------------------------------------------------------------------------------

_Lines = Iterator[
    tuple[int, str]
]  # line number from 1, and text; blank lines are left out; at the end of the file, the text is empty


class _BadLine(Exception):
    """The number of a bad line, and what is wrong with it."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what)
        self.number = number


def _read_with_care(path: Path | str) -> tuple[dict[NGram, tuple[float, float]], int, bool]:
    """Like the fast reader, but raises an ``ArpaError`` that names the line that is wrong."""
    try:
        with closing(_opened(path)) as file:
            before = _lines_before_data(file)
            if before is None:
                raise ArpaError(_without_data(path))
            return _parse_arpa(_numbered_lines(file, before))
    except _BadLine as error:
        raise ArpaError(f"{path}:{error.number}: {error}") from error
    except _CANNOT_UNPACK as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk's fault, not the file's
        raise ArpaError(f"{path} is compressed, but cannot be unpacked to its end ({error}); download it again") from error


def _without_data(path: Path | str) -> str:
    """What is wrong with a text file that is not an ARPA file, and what to do."""
    with closing(_opened(path)) as file:
        packed = isinstance(file.raw, _Unpacked)
        first = next((line.strip() for line in file if line.strip()), b"")[:40].decode("utf-8", "replace")
    if not first:
        return f"{path} holds nothing but blank lines, {_NO_MODEL}"
    if first.startswith("{"):
        helps = "a JSON file such as decoder.json only holds settings of the search; give the ARPA file that it names"
    else:
        text = f"{'unpack it, then ' if packed else ''}python train_language_model.py {'TEXT' if packed else path} -o lm.arpa"
        helps = f"if it is text to train on, {text} makes one"
    return f"{path}: no line is \\data\\, so this is not an ARPA file (it begins with {first!r}); {helps}"


def _lines_before_data(file: BinaryIO) -> int | None:
    """How many lines are read up to ``\\data\\``; before it, some tools describe the model."""
    numbered = enumerate(file, start=1)
    return next((number for number, line in numbered if line.strip() in (b"\\data\\", b"\xef\xbb\xbf\\data\\")), None)


def _numbered_lines(file: BinaryIO, before: int) -> _Lines:
    """The lines after the first ``before``."""
    number = before
    for number, line in enumerate(file, start=before + 1):
        try:
            if text := line.decode("utf-8").strip(" \t\r\n"):
                yield number, text
        except UnicodeDecodeError:
            raise _BadLine(number, "not text in UTF-8, as an ARPA file must be: convert it first") from None
    while True:
        yield number + 1, ""


def _parse_arpa(lines: _Lines) -> tuple[dict[NGram, tuple[float, float]], int, bool]:
    ngrams: dict[NGram, tuple[float, float]] = {}
    announced, heading = _read_counts(lines)
    for n, (where, count) in enumerate(announced, start=1):
        if not count and heading[1] != f"\\{n}-grams:":
            continue  # some tools omit an empty section
        _expect(heading, f"\\{n}-grams:")
        before = len(ngrams)
        for number, text in lines:
            if text.startswith("\\") or not text:
                heading = number, text
                break
            _read_ngram(number, text, n, len(announced), ngrams)
        if len(ngrams) - before != count:
            raise _BadLine(
                heading[0],
                f"section \\{n}-grams: ends here with {len(ngrams) - before} n-grams, but line {where} "
                f"announces {count}; correct that line, or write the file again",
            )
        if n == 1 and (missing := [mark for mark in (BOS, EOS) if (mark,) not in ngrams]):
            raise _BadLine(heading[0], f"{missing[0]} is not among the 1-grams; use a model of whole sentences")
    if heading[1]:
        _expect(heading, "\\end\\")
    number, text = next(lines)
    if text:
        raise _BadLine(number, f"{text[:40]!r} comes after \\end\\; remove it, or write the file again")
    return ngrams, len(announced), bool(heading[1])


def _expect(line: tuple[int, str], heading: str) -> None:
    number, text = line
    if text != heading:
        there = f"but {text[:40]!r} is here" if text else "but the file ends"
        raise _BadLine(number, f"{heading} must come next, {there}; add the section, or write the file again")


def _read_counts(lines: _Lines) -> tuple[list[tuple[int, int]], tuple[int, str]]:
    """The line number and announced number of n-grams for each order, and the heading after them."""
    announced: list[tuple[int, int]] = []
    for number, text in lines:
        if text.startswith("\\") or not text:
            break
        line = re.fullmatch(r"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})", text, re.ASCII)
        if not line or int(line[1]) != len(announced) + 1:
            raise _BadLine(number, f"must be 'ngram {len(announced) + 1}=' and a number, but is {text[:40]!r}; correct it")
        announced.append((number, int(line[2])))
    if not announced:
        raise _BadLine(number, "'ngram 1=' and a number must come before this line; add the number of n-grams in each section")
    return announced, (number, text)


def _read_ngram(number: int, text: str, n: int, order: int, ngrams: dict[NGram, tuple[float, float]]) -> None:
    """Adds one line, ``log10 probability, n tokens, perhaps a log10 back-off weight``, to ``ngrams``."""
    fields = re.split("[ \t]+", text)
    words = tuple(UNKNOWN if word == "<UNK>" else word for word in fields[1 : n + 1])
    try:
        log_p, backoff = float(fields[0]), float(fields[n + 1]) if len(fields) > n + 1 else 0.0
        log_p, backoff = (NEVER if value == -math.inf else value for value in (log_p, backoff))
    except ValueError:
        log_p = backoff = math.inf
    if not n + 1 <= len(fields) <= n + 2 or not abs(log_p) < _LARGEST or not abs(backoff) < _LARGEST:
        raise _BadLine(
            number,
            f"must be a log10 probability, {n} token{'s' * (n > 1)} and perhaps a log10 back-off weight, "
            f"but is {text[:80]!r}; correct the line, or write the file again",
        )
    if log_p > 0:
        raise _BadLine(number, f"log10 probability {fields[0]} is above 0; correct the line, or write the file again")
    if n == order and backoff:
        raise _BadLine(number, f"an n-gram of the highest order, {n}, has no back-off weight; remove {fields[-1]}")
    if words in ngrams:
        raise _BadLine(number, f"{' '.join(words)!r} is listed twice; remove one of the lines")
    if n > 1 and not (words[-1:] in ngrams and words[:-1] in ngrams):
        lacking = words[:-1] if words[-1:] in ngrams else words[-1:]
        raise _BadLine(
            number,
            f"{' '.join(words)!r} needs {' '.join(lacking)!r} among the {len(lacking)}-grams; add that, or remove this line",
        )
    ngrams[words] = log_p, backoff
