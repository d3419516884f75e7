"""Reads KenLM's binaries, of every kind that ``build_binary`` makes, with the package ``kenlm``.

The file is mapped, not read: a file of 7 GB opens at once and uses memory only for the parts that are needed. Only the words
at its end are read. Scores are in single precision; those from a quantised file are as precise as its bits allow.
"""

from __future__ import annotations

import copy
import math
import os
import re
import struct
import subprocess
import sys
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from decoding.arpa import BOS, EOS, SPACE, UNKNOWN
from decoding.ngrams import LanguageModel

_LN10 = math.log(10)
_MAGIC = b"mmap lm http://kheafield.com/code"
_NO_UNKNOWN = -100.0  # log10 p(<unk>) that build_binary writes if the ARPA file has no <unk>
# lm/binary_format.cc: 88 bytes that KenLM checks, order, probing multiplier, kind, whether words are there, version, 1-grams
_HEADER = struct.Struct("<88x B3x 4x 4x ?3x 4x Q")
_AGAIN = "get it again, or make it from the ARPA file: build_binary lm.arpa {path}"


class KenlmError(ValueError):
    """A KenLM binary that can't be read."""


def is_kenlm_binary(path: Path | str) -> bool:
    """Whether the file begins like a KenLM binary."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class KenlmModel(LanguageModel):
    """An n-gram model in a KenLM binary; a state is KenLM's own and holds only the tokens that matter for later ones.

    Args:
        path: the file.
        unit: ``'word'`` or ``'character'``; None means characters if ``<space>`` is one of its words, else words.

    Raises:
        KenlmError: if the package ``kenlm`` is not installed or can't read the file, or if the file lacks its words.
        OSError: if the file cannot be read.

    Source: Heafield 2011, KenLM: Faster and Smaller Language Model Queries.
    """

    def __init__(self, path: Path | str, unit: str | None = None) -> None:
        self._path = Path(path)
        _refuse_without_package(self._path)
        words = _read_words(self._path)  # first, since most files that are cut off lack some of them
        _refuse_what_crashes(self._path, words)
        self._open()
        self._words = {word: word for word in words}  # as spelt here -> as spelt in the file
        super().__init__(self._model.order, unit or ("character" if SPACE in self._words else "word"))
        if self.log_p(self.no_context(), [UNKNOWN])[0] <= _LN10 * _NO_UNKNOWN:
            del self._words[UNKNOWN]

    def _open(self) -> None:
        self._model, self._new_state = _opened(self._path)
        self._ignored = self._new_state()

    def __getstate__(self) -> dict:
        """Leaves out KenLM's own objects, which can't be pickled or would read the whole file again."""
        return {name: value for name, value in vars(self).items() if name not in ("_model", "_new_state", "_ignored")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._open()

    @property
    def vocabulary(self) -> set[str]:
        return self._words.keys() - {BOS, EOS, UNKNOWN}

    def knows(self, token: str) -> bool:
        return token in self._words

    def joins_words(self) -> bool:
        return True  # as far as one can tell: a file has no list of its 2-grams

    def respelt(self, spellings: Mapping[str, str]) -> KenlmModel:
        model = copy.copy(self)
        model._words = {spellings.get(word, word): in_file for word, in_file in self._words.items()}
        return model

    def start(self) -> Hashable:
        state = self._new_state()
        self._model.BeginSentenceWrite(state)
        return state

    def no_context(self) -> Hashable:
        state = self._new_state()
        self._model.NullContextWrite(state)
        return state

    def after(self, state: Hashable, token: str) -> Hashable:
        following = self._new_state()
        self._model.BaseScore(state, self._words.get(token, UNKNOWN), following)
        return following

    def log_p(self, state: Hashable, tokens: Iterable[str]) -> list[float]:
        """As in every model; raises ``KenlmError`` for nan, which only a damaged file gives."""
        score, words = self._model.BaseScore, self._words
        found = [_LN10 * score(state, words.get(token, UNKNOWN), self._ignored) for token in tokens]
        if any(map(math.isnan, found)):
            raise KenlmError(f"{self._path}: the binary is damaged, since it gives nan; {_AGAIN.format(path=self._path)}")
        return found


_TRIAL = """
import contextlib, sys, kenlm
with contextlib.suppress(ImportError):
    import resource  # Windows has none
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)  # after that much work a signal ends the process
config, words = kenlm.Config(), sys.stdin.buffer.read().decode("utf-8", "replace").split("\\0")
config.load_method = kenlm.LoadMethod.LAZY
model = kenlm.Model(sys.argv[1], config)
start, one, two, three = (kenlm.State() for _ in range(4))
for begin in (model.NullContextWrite, model.BeginSentenceWrite):
    begin(start)
    for first in words:
        model.BaseScore(start, first, one)
        for second in words[:20]:
            model.BaseScore(one, second, two)
            for third in words[: 10 if len(words) < 100 else 1]:
                model.BaseScore(two, third, three)
"""
_TRIED = 1000  # words
_WORK, _PATIENCE = 4, 60  # seconds of processor time, and by the clock: on a slow disk the trial ends early without a verdict


def _refuse_what_crashes(path: Path, words: list[str]) -> None:
    """Opens the file in a process of its own and looks up some words there; raises ``KenlmError`` if a signal ends that process.

    A binary has no checksum, and KenLM follows its numbers wherever they point. In a hash table without a free place it would
    search for ever; the limit ``_WORK`` ends that. Damage in places that are not looked up stays unseen.
    """
    words = words[:: len(words) // _TRIED + 1]
    command = [sys.executable or "python", "-I", "-c", _TRIAL, str(path.absolute()), str(_WORK)]
    with suppress(OSError, subprocess.TimeoutExpired):
        code = subprocess.run(command, input="\0".join(words).encode(), capture_output=True, timeout=_PATIENCE).returncode
        if code < 0 or code > 255:  # ended by a signal, or on Windows by an exception
            raise KenlmError(
                f"{path}: the binary is damaged, since KenLM crashes on it or never ends; {_AGAIN.format(path=path)}"
            )


def _refuse_without_package(path: Path) -> None:
    """Raises ``KenlmError`` if the package is not installed."""
    try:
        from kenlm import Model  # noqa: F401 - by name: a mere folder called kenlm has no Model
    except ImportError as error:
        raise KenlmError(
            f"{path} is a KenLM binary, and the package kenlm, which reads it, is not installed: pip install kenlm==0.3.0, "
            "or give the ARPA file that it was made from"
        ) from error


def _opened(path: Path) -> tuple:
    """The file as a ``kenlm.Model``, and the class of its states."""
    from kenlm import Config, LoadMethod, Model, State

    config = Config()
    config.load_method = LoadMethod.LAZY
    try:
        return Model(os.fsencode(path), config), State
    except (OSError, RuntimeError) as error:
        why = re.sub(r"^Cannot read model .*?Exception( because `.*?')?\. (.*)\)$", r"\2", str(error)).rstrip(". ")
        raise KenlmError(f"{path}: KenLM cannot read this binary ({why}); {_AGAIN.format(path=path)}") from error


def _broken_head(head: bytes) -> str:
    """What is wrong with a file's first bytes, if KenLM would not recognise the binary by them; otherwise empty."""
    if head.startswith(_MAGIC + b" incomplete"):
        return "This binary file did not finish building"
    return "it ends too early" if len(head) < _HEADER.size else ""


def _read_words(path: Path) -> list[str]:
    """The words at the end of the file: each ends with a zero byte, and <unk> comes first.

    The file counts <unk> only if the ARPA file had it. So a file without it that lacks only its last word looks complete.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if why := _broken_head(head):
            raise KenlmError(f"{path}: KenLM cannot read this binary ({why}); {_AGAIN.format(path=path)}")
        _, has_words, count = _HEADER.unpack(head)
        if not has_words:
            again = f"build it again without -v: build_binary lm.arpa {path}"
            raise KenlmError(f"{path}: the binary does not hold its words, which the search needs; {again}")
        size = file.seek(0, os.SEEK_END)
        length, end = 0, b""
        while end.count(b"\0") < count + 2 and length < size:  # more zeros than words, so that <unk> is complete
            length = min(size, 2 * length + 16 * (count + 1))  # a damaged file may give their number as 0
            file.seek(size - length)
            end = file.read(length)
    parts = end.split(b"\0")
    for words in (parts[-count - 1 :], parts[-count - 2 :]):
        if words[0].endswith(UNKNOWN.encode()) and not words[-1]:
            if not all(words[:-1]):
                break
            try:
                return [UNKNOWN, *b"\0".join(words[1:-1]).decode().split("\0")]
            except UnicodeDecodeError as error:
                again = "write the ARPA file in UTF-8 and make the binary again from it"
                raise KenlmError(f"{path}: the words of the binary are not in UTF-8; {again}") from error
    raise KenlmError(f"{path}: the words at the end of the binary are not complete; {_AGAIN.format(path=path)}")
