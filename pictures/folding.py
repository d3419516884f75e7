"""Breaks lines wider than the terminal where a reader would break them. Also runs on Pythons too old for the rest."""

import os
import re
import unicodedata

# Parts that stay on one line: a command, so that it can be copied; a rate with its counts; a number with its unit; a word.
_TOGETHER = re.compile(
    r"[('`]*(?:python3?|pip) .*?(?= - |[;,)](?: |$)|[.`]*$)[^\s]*"
    r"|(?:(?:WER|CER|blank|loss)\s+)?-?[\d.]+ % \([^)]*\)\S*|[^\s\w]*\d[\d.,/]* \S+|\S+"
)
_FIELD = re.compile(r"(\s{2,}|\t+)(?![\s\d])")  # a number stays with the name before it
_ALIGNED = re.compile(r"REF: (.*)\nHYP: (.*)(?:\n     (.*))?")


class Folded:
    """A stream that writes lines no wider than its terminal; ``stream`` is the one below, for lines that must stay whole."""

    def __init__(self, stream) -> None:
        self.stream, self._begun = stream, False  # begun: a line comes in several pieces, and is not folded

    def write(self, text: str) -> int:
        plain = (self._begun and text[:1] != "\n") or "\r" in text or "\x1b" in text  # a bar of tqdm
        self.stream.write(text if plain else fold(text, width_of(self.stream)))
        if text:
            self._begun = not text.endswith(("\n", "\r"))
        return len(text)

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def folded(stream):
    """The stream, folded if it is a terminal; files and pipes get whole lines, since other programs read them."""
    try:
        return Folded(stream) if stream.isatty() and not isinstance(stream, Folded) else stream
    except (AttributeError, ValueError):  # there is none, or it is closed
        return stream


def width_of(stream) -> int:
    """Current columns of the stream's terminal; 80 if unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def columns(text: str) -> int:
    """Columns that a text takes in a terminal: Chinese characters take two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text.expandtabs())


def fold(text: str, width: int) -> str:
    """The text with lines of at most ``width`` columns: broken between fields or else between words, but never inside a number
    with its unit, a rate with its counts, or a command. REF and HYP are broken in the same places."""
    if all(columns(line) <= width for line in text.split("\n")):
        return text
    pieces, end = [], 0
    for block in _ALIGNED.finditer(text):
        pieces += [*_lines(text[end : block.start()], width), *_chunks(block, width)]
        end = block.end()
    return "".join([*pieces, *_lines(text[end:], width)])


def _lines(text: str, width: int) -> list:
    """Each line of the text, folded, with its line end."""
    return [line if columns(line) <= width else _fold_line(line, width) for line in text.splitlines(keepends=True)]


def _fold_line(line: str, width: int) -> str:
    """Folds a line that is too wide; later lines are indented by two, or begin below the text after a short name."""
    body = line.rstrip()
    name = re.match(r"(\s*)\S*\s*", body)
    indent = columns(name[0]) if len(name[0].rstrip()) + 2 <= len(name[0]) <= width // 3 else columns(name[1]) + 2
    lines, parts = [body[: len(name[1])]], _FIELD.split(body[len(name[1]) :])
    for gap, field in zip(["", *parts[1::2]], parts[::2]):  # noqa: B905 - older Pythons have no strict
        if columns(lines[-1] + gap + field) > width >= indent + columns(field) and lines[-1].strip():
            lines.append(" " * indent + field)
            continue
        for part in _TOGETHER.finditer(field):
            space = gap if not part.start() else field[: part.start()][len(field[: part.start()].rstrip()) :]
            if columns(lines[-1] + space + part[0]) > width and lines[-1].strip():
                lines.append(" " * indent + part[0])
            else:
                lines[-1] += space + part[0]
    return "\n".join(lines) + line[len(body) :]


def _chunks(block: re.Match, width: int) -> list:
    """Aligned REF, HYP and marks, broken between the same words."""
    rows = [_cells(row or "") for row in block.groups()]
    length, room = max(map(len, rows)), width - 5
    rows = [row + [" "] * (length + 1 - len(row)) for row in rows]
    shown, start = [], 0
    while start < length:
        ends = [place for place in range(start + 1, min(length, start + room) + 1) if all(row[place] == " " for row in rows)]
        end = ends[-1] if ends else min(length, start + room)
        end -= not ends and any(row[end] == "" for row in rows)  # not within a Chinese character
        for name, row in zip(("REF: ", "HYP: ", "     "), rows):  # noqa: B905
            words = "".join(row[start:end]).rstrip()
            if words or name.strip():
                shown.append(name + words)
        start = end + (end < length and all(row[end] == " " for row in rows))
    return ["\n".join(shown)]


def _cells(text: str) -> list:
    """A text as columns: an empty cell follows a wide character, and an accent shares the cell of its letter."""
    cells = []
    for char in text:
        if unicodedata.combining(char) and cells:
            cells[-1 - (cells[-1] == "")] += char
        else:
            cells += [char, ""] if columns(char) == 2 else [char]
    return cells
