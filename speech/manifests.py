"""Manifests: tables or JSON lines that name audio files, their transcripts, and perhaps speaker, split, times and channel."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from speech.audio import BadAudio, audio_channels, audio_rate
from speech.columns import CellError, ColumnError, Columns, Piece, channel_numbers, understand
from speech.files import find_file, is_of_a_mac
from speech.utterances import BadLine, CorpusError, Lines, Problem, Report, Utterance, is_broken, text_lines

MANIFESTS = (".tsv", ".csv", ".jsonl", ".json")


@dataclass(frozen=True)
class _Row:
    """A line of a manifest whose columns are understood."""

    where: str
    path: Path
    cell: Callable[[str], str]  # by role
    piece: Piece


def read_manifests(files: dict[Path, str], report: Report, transcript: str | None = None) -> Lines:
    """Reads manifests that form one corpus; ``files`` gives the split for lines without one, ``transcript`` the column."""
    rows = [(row, split) for file, split in files.items() for row in _manifest_rows(file, report, transcript)]
    channels = _channels(rows, next(iter(files)))
    for row, split in rows:
        try:
            times = _times(row)
            channel = channels.get(row.piece.channel)
            yield (
                row.where,
                Utterance(row.path, row.cell("transcript"), row.cell("speaker"), row.cell("split") or split, *times, channel),
            )
        except (BadLine, BadAudio) as error:
            report.problems.append(Problem(row.where, str(error)))


def _channels(rows: list[tuple[_Row, str]], file: Path) -> dict[str, int | None]:
    """Channel numbers, from 0, for what the lines write."""
    from_zero = any(row.cell("channel name") == "channel_selector" for row, _ in rows)
    try:
        channels = channel_numbers((row.piece.channel for row, _ in rows), from_zero)
    except ColumnError as error:
        raise CorpusError(f"{file}: {error}") from None
    if set(channels) - {""} == {"1"} and not from_zero and not all(_is_mono(row.path) for row, _ in rows[:5]):
        raise CorpusError(f"{file}: every line says channel 1, but the audio has several: write A (the first) or B (the second)")
    return channels


def _is_mono(path: Path) -> bool:
    try:
        return audio_channels(path) == 1
    except BadAudio:
        return True  # reported when it is read


def _manifest_rows(file: Path, report: Report, transcript: str | None = None) -> Iterator[_Row]:
    """Lines of a table or of JSON objects; unknown columns are ignored."""
    suffix, unreadable = file.suffix.lower(), []
    lines = text_lines(file, unreadable)
    if suffix in (".jsonl", ".json"):
        header, parted_by, lines = None, "", _json_items(file, lines)
    else:
        header, parted_by = _header(file, lines, unreadable, transcript)
    for where, text in lines:
        try:
            row = _table_row(text, parted_by, header) if header else _json_row(text)
            columns = understand(tuple(row), transcript)
            columns.refuse_suspects(row, where)
            if not columns.get(row, "path"):
                raise BadLine("no path" + _unless_named(columns, "path", row))
            if "transcript" not in columns.names:
                raise BadLine(f"no {transcript or 'transcript'}" + _unless_named(columns, "transcript", row))
            path = audio_path(file.parent, columns.get(row, "path"))
            if is_of_a_mac(path.name):
                report.of_a_mac += 1
                continue
            yield _Row(where, path, _cells(columns, row), columns.piece(row))
        except ColumnError as error:
            raise CorpusError(str(error)) from None
        except (BadLine, CellError) as error:
            report.problems.append(Problem(where, str(error)))
    report.problems += unreadable


def _unless_named(columns: Columns, role: str, row: dict[str, str]) -> str:
    """What to do if no column has a role."""
    told = ", ".join(map(repr, list(row)[:8]))
    call = {"path": "path", "transcript": "text"}[role]
    return "" if role in columns.names else f": no column name is understood; call it {call!r} (there are {told})"


def _cells(columns: Columns, row: dict[str, str]) -> Callable[[str], str]:
    return lambda role: columns.names.get("channel", "").lower() if role == "channel name" else columns.get(row, role)


def _times(row: _Row) -> tuple[float, float, float | None]:
    """Seconds, start and stop of the utterance in a row."""
    start, stop, seconds = row.piece.start, row.piece.stop, row.piece.seconds
    if row.piece.in_samples:
        rate = audio_rate(find_file(row.path) or row.path)
        start, stop, seconds = (value and value / rate for value in (start, stop, seconds))
    if seconds == 0 and stop is None:
        raise BadLine("zero-length audio")
    if start is None and stop is None:
        return seconds or 0.0, 0.0, None
    start = start or 0.0
    stop = start + seconds if stop is None and seconds else stop
    if stop is not None and stop <= start:
        raise BadLine(f"its end, {stop:g} s, is not after its start, {start:g} s")
    return (stop - start if stop is not None else 0.0), start, stop


def audio_path(folder: Path, text: str) -> Path:
    """Where a path in a manifest points: relative to the manifest's folder; ``~`` and Windows backslashes are understood."""
    text = re.sub(r"^file:(//(localhost)?)?(?=/)", "", text, flags=re.IGNORECASE)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise BadLine(f"{text} is an address, not a file: download it, and write its path")
    if os.name != "nt":
        if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
            raise BadLine(f"{text} is a Windows path: write it relative to the manifest's folder, with /")
        if "\\" in text and not os.path.isfile(folder / text):
            text = text.replace("\\", "/")
    try:
        path = folder / Path(text).expanduser()
    except (RuntimeError, ValueError):  # no such user, or no name at all
        path = folder / text
    # Common Voice's folder; the folder where the command runs; an address with %20 for a space
    beside = (path, folder / "clips" / text, Path(text), folder / unquote(text))
    return next((found for place in beside if (found := find_file(place))), path)


def _header(
    file: Path, lines: Iterator[tuple[str, str]], problems: list[Problem], transcript: str | None = None
) -> tuple[list[str], str]:
    """The names of the columns and their separator: a tab or a comma by the suffix, else whatever makes the line a header."""
    where, text = next(lines, (f"{file}:1", ""))
    if problems:
        raise CorpusError(f"{problems[0]}, so it is not a header")
    usual = "\t" if file.suffix.lower() == ".tsv" else ","
    parted_by = next((mark for mark in (usual, ",", ";", "\t", "|") if _is_header(text.split(mark), transcript)), None)
    if parted_by is None and transcript and _is_header(text.split(usual)):
        raise CorpusError(f"{where}: there is no column {transcript!r}; there are {', '.join(text.split(usual))}")
    if parted_by is None:
        raise CorpusError(f"{where}: the first line must be a header that names the columns 'path' and "
                          f"'transcript' (or 'text'), but it is {text[:80]!r}")  # fmt: skip
    written = [name.strip(' "') for name in text.split(parted_by)]
    names, known = [name.lower() for name in written], understand(tuple(written), transcript).names
    twice = next((name for name in known.values() if written.count(name) > 1), None)
    if twice:
        raise CorpusError(f"{where}: {written.count(twice)} columns are called {twice!r}; give them different names")
    same = len(set(written)) == len(set(names)) and understand(tuple(names), transcript).names.keys() == known.keys()
    return names if same else written, parted_by


def _is_header(names: list[str], transcript: str | None = None) -> bool:
    return {"path", "transcript"} <= understand(tuple(name.strip(' "') for name in names), transcript).names.keys()


def _table_row(text: str, parted_by: str, columns: list[str]) -> dict[str, str]:
    """One line of a table: a cell in quotes may hold the separator, but no line break; with tabs no quotes are needed."""
    try:
        tabs = parted_by == "\t"
        cells = map(_unquoted, text.split("\t")) if tabs else next(csv.reader([text], delimiter=parted_by, strict=True))
    except csv.Error as error:
        raise BadLine(f"not a CSV line ({error})") from error
    cells = list(cells)
    if len(cells) != len(columns):
        raise BadLine(f"{len(cells)} columns, but the header has {len(columns)}")
    return {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}


def _unquoted(cell: str) -> str:
    """A cell of a tab-separated table, without the quotes that some programs put around it."""
    cell = cell.strip()
    inside = cell[1:-1].replace('""', "")
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside else cell


def _json_items(file: Path, lines: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The lines of a file, or its objects if it is one JSON list, as ``('file:number', text)``."""
    lines = list(lines)
    if lines and re.match(r"\s*\[\s*(\{|$)", lines[0][1]):
        try:
            items = json.loads("\n".join(text for _, text in lines))
            return iter([(f"{file}: object {n}", json.dumps(item)) for n, item in enumerate(items, start=1)])
        except (ValueError, RecursionError):
            pass  # reported line by line
    return iter(lines)


def _json_row(text: str) -> dict[str, str]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number with thousands of digits raises no JSONDecodeError
        raise BadLine(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise BadLine("not a JSON object")
    row = {name: value for name, value in row.items() if value is not None}
    if isinstance(row.get("audio"), dict):  # as Hugging Face's data sets write it
        row["audio"] = row["audio"].get("path")
    inner = {f"{name}_{key}": value for name, part in row.items() if isinstance(part, dict) for key, value in part.items()}
    row = inner | {name: value for name, value in row.items() if not isinstance(value, dict)}
    known = understand(tuple(row)).names
    if not all(isinstance(row.get(known.get(role), ""), str) for role in ("path", "transcript")):
        raise BadLine("path and transcript must be strings")
    row = {name: str(value).strip() for name, value in row.items()}
    if any(is_broken(value) for value in row.values()):
        raise BadLine("not valid Unicode")
    return row
