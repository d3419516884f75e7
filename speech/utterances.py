"""What the readers of corpora return: utterances, and problems for lines without a usable one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Utterance:
    """One recording, or a piece of one.

    Attributes:
        path: audio file.
        transcript: as the corpus gives it, except for spaces.
        speaker, split: ``''`` if unknown.
        seconds: duration of the recording or piece; 0 if unknown.
        start, stop: where the piece lies in the file, in seconds; a ``stop`` of None is the end of the file.
        channel: the only channel to use, from 0; None: all, mixed.
    """

    path: Path
    transcript: str
    speaker: str = ""
    split: str = ""
    seconds: float = 0.0
    start: float = 0.0
    stop: float | None = None
    channel: int | None = None

    @property
    def is_piece(self) -> bool:
        """Whether it is only a part of its file."""
        return self.start > 0 or self.stop is not None

    @property
    def name(self) -> str:
        """Its file, and its times if it is a piece."""
        end = f"{self.stop:g} s" if self.stop is not None else "the end"
        return f"{self.path}" + (f" from {self.start:g} s to {end}" if self.is_piece else "")


@dataclass
class Problem:
    """Something unusable: ``where`` is ``file:line`` or an audio file, ``what`` says what is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    @property
    def kind(self) -> str:
        """What is wrong, without names and numbers; problems of one kind differ only in these."""
        return _PARTICULAR.sub("...", self.what)


def listed(problems: Sequence[Problem], show: int = 5) -> list[str]:
    """Lines that name about ``show`` problems, including the first of each kind, and count the others.

    Args:
        problems: in any order.
        show: how many are named, of at most ten kinds; all if there are no more than this.
    """
    if len(problems) <= show:
        return [f"  {problem}" for problem in problems]
    kinds = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    lines, most = [], max(1, show // len(kinds))
    for found in list(kinds.values())[:_MOST_KINDS]:
        lines += [f"  {problem}" for problem in found[:most]]
        if len(found) > most:
            lines.append(f"  ... and {len(found) - most} more" + (" of this kind" if len(kinds) > 1 else ""))
    rest = [problem for found in list(kinds.values())[_MOST_KINDS:] for problem in found]
    return lines + [f"  ... and {len(rest)} more of other kinds"] * bool(rest)


def counted(number: int, what: str) -> str:
    """'1 utterance', '2 utterances'."""
    return f"{number} {what}{'s' * (number != 1)}"


def spoken(seconds: float) -> str:
    """A length of speech in words: in minutes, or in hours from one hour upwards."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


class CorpusError(ValueError):
    """A corpus as a whole cannot be used."""


class BadLine(Exception):
    """Why a line is left out; becomes a ``Problem``."""


@dataclass
class Report:
    """What the readers of layouts report besides the utterances."""

    problems: list[Problem] = field(default_factory=list)
    of_a_mac: int = 0
    notes: list[str] = field(default_factory=list)


Lines = Iterator[tuple[str, Utterance]]  # 'file:line', and an utterance that is not yet checked
_PARTICULAR = re.compile(r"""'[^']*'|"[^"]*"|\S*[/\\\d]\S*""")  # a text, a path, a number
_MOST_KINDS = 10  # of problems in a list
_SURROGATE = re.compile("[\ud800-\udfff]")  # bytes that are not UTF-8 decode to these


def is_broken(text: str) -> bool:
    """Whether a text holds anything that is not a Unicode character, such as what remains of bytes that are not UTF-8."""
    return _SURROGATE.search(text) is not None


def text_code(data: bytes) -> str:
    """The encoding of a text's bytes: UTF-8, or UTF-16 recognised by its mark or by zeros between the first letters."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if re.match(rb"[!-~]\0[!-~]\0", data) else "utf-8-sig"


def text_lines(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """The non-blank lines of a UTF-8 file (or a UTF-16 file, as Excel writes it), as ``('file:number', text)``."""
    data = file.read_bytes()
    code = text_code(data)
    text = data.decode(code, errors="surrogateescape" if code == "utf-8-sig" else "replace")
    if "\n" not in text:  # old Macs end lines with \r
        text = text.replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if is_broken(line):
            problems.append(Problem(f"{file}:{number}", "not valid UTF-8"))
        elif line.strip():
            yield f"{file}:{number}", line.removesuffix("\r")
