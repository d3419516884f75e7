"""Real speech from disk: what a corpus holds, in four layouts.

    read_corpus(path) -> Corpus -> preflight.check_problems -> datasets.SpeechDataset -> datasets.JoinedDataset

A line of a corpus that cannot be used becomes a ``Problem`` naming file and line, and its utterance is
left out; nothing is dropped silently. ``python check_corpus.py PATH`` prints what a corpus holds and all of
its problems.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speech.audio import BadAudio, audio_seconds, open_audio


@dataclass(frozen=True)
class Utterance:
    """One recording: audio file, transcript, speaker and split (``''`` if unknown), duration in seconds."""

    path: Path
    transcript: str
    speaker: str = ""
    split: str = ""
    seconds: float = 0.0


@dataclass
class Problem:
    """Something unusable: ``where`` is ``file:line`` or an audio file, ``what`` says what is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class CorpusError(ValueError):
    """A corpus as a whole cannot be used."""


@dataclass
class Corpus:
    """What ``read_corpus`` found; ``split_rule`` says in words where the splits come from."""

    kind: str
    root: Path
    utterances: list[Utterance]
    problems: list[Problem]
    split_rule: str = "as the corpus gives them"

    def split(self, name: str) -> list[Utterance]:
        """The utterances of one split, in the order of the corpus; none if there is no such split."""
        return [u for u in self.utterances if u.split == name]

    @property
    def splits(self) -> dict[str, int]:
        """Number of utterances per split."""
        return dict(Counter(u.split for u in self.utterances))

    def summary(self, show: int = 5) -> str:
        """A few plain lines: utterances, minutes and speakers per split, and the first ``show`` problems."""
        lines = [f"{self.kind} in {self.root}: {len(self.utterances)} utterances, splits {self.split_rule}"]
        for name in self.splits:
            part = self.split(name)
            minutes = sum(u.seconds for u in part) / 60
            speakers = len({u.speaker for u in part} - {""}) or "unknown"
            lines.append(f"  {name}: {len(part)} utterances, {minutes:.1f} minutes, speakers: {speakers}")
        lines.append(f"problems: {len(self.problems)}")
        lines += [f"  {problem}" for problem in self.problems[:show]]
        if len(self.problems) > show:
            lines.append(f"  ... and {len(self.problems) - show} more")
        return "\n".join(lines)


def corpus_sample_rate(utterances: Sequence[Utterance], limit: int = 16000) -> int:
    """The most common native sample rate of the first 20 utterances, in Hz, at most ``limit``.

    Raises:
        CorpusError: if none of these files can be read.
    """
    rates = Counter()
    for utterance in utterances[:20]:
        try:
            with open_audio(utterance.path) as file:
                rates[file.samplerate] += 1
        except BadAudio:
            continue  # reported when the utterance itself is read
    if not rates:
        raise CorpusError(f"none of the first {len(utterances[:20])} audio files can be read")
    return min(rates.most_common(1)[0][0], limit)


# ---------------------------------------------------------------------------------------------
# Layouts. Each reader yields ('file:line', utterance), still to be checked, and adds to `problems`
# the lines in which it finds no utterance.
# ---------------------------------------------------------------------------------------------


_Lines = Iterator[tuple[str, Utterance]]
_MANIFESTS = (".tsv", ".csv", ".jsonl")
_SURROGATE = re.compile("[\ud800-\udfff]")  # what bytes that are not UTF-8 decode to


class _BadLine(Exception):
    """Why a line is left out; becomes a ``Problem``."""


def _text_lines(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file that are not blank, as ``('file:number', text)``."""
    text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if _SURROGATE.search(line):
            problems.append(Problem(f"{file}:{number}", "not valid UTF-8"))
        elif line.strip():
            yield f"{file}:{number}", line.removesuffix("\r")


def _manifest(file: Path, problems: list[Problem]) -> _Lines:
    """Columns path, transcript or text, and perhaps speaker, split, seconds or duration; others are ignored."""
    suffix, lines = file.suffix.lower(), _text_lines(file, problems)
    columns = None if suffix == ".jsonl" else _header(file, lines, problems)
    for where, text in lines:
        try:
            row = _table_row(text, suffix, columns) if columns else _json_row(text)
            if not row.get("path"):
                raise _BadLine("no path")
            path, transcript = file.parent / row["path"], row.get("transcript", row.get("text", ""))
            seconds = _seconds(row.get("seconds") or row.get("duration") or "")
            yield where, Utterance(path, transcript, row.get("speaker", ""), row.get("split", ""), seconds)
        except _BadLine as error:
            problems.append(Problem(where, str(error)))


def _header(file: Path, lines: Iterator[tuple[str, str]], problems: list[Problem]) -> list[str]:
    where, text = next(lines, (f"{file}:1", ""))
    if problems:
        raise CorpusError(f"{problems[0]}, and so not a header")
    columns = [name.strip(' "').lower() for name in text.split("\t" if file.suffix.lower() == ".tsv" else ",")]
    if "path" not in columns or not {"transcript", "text"} & set(columns):
        raise CorpusError(f"{where}: the first line must be a header that names the columns 'path' and "
                          f"'transcript' (or 'text'), but it is {text[:80]!r}")
    return columns


def _table_row(text: str, suffix: str, columns: list[str]) -> dict[str, str]:
    """One line of a table: TSV knows no quotes; a CSV cell in quotes may hold commas, but no line break."""
    try:
        cells = text.split("\t") if suffix == ".tsv" else next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _BadLine(f"not a CSV line ({error})") from error
    if len(cells) != len(columns):
        raise _BadLine(f"{len(cells)} columns, but the header has {len(columns)}")
    return {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}


def _json_row(text: str) -> dict[str, str]:
    try:
        row = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _BadLine(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _BadLine("not a JSON object")
    row = {name: value for name, value in row.items() if value is not None}
    if not all(isinstance(row.get(name, ""), str) for name in ("path", "transcript", "text")):
        raise _BadLine("path and transcript must be strings")
    row = {name: str(value).strip() for name, value in row.items()}
    if any(_SURROGATE.search(value) for value in row.values()):
        raise _BadLine("not valid Unicode")
    return row


def _seconds(text: str) -> float:
    """Duration as the manifest gives it; 0 if it does not, to be looked up in the audio file."""
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise _BadLine(f"seconds must be a number and not negative, but is {text!r}")
    if text and seconds == 0:
        raise _BadLine("zero-length audio")
    return seconds


def _librispeech(root: Path, files: list[Path], problems: list[Problem]) -> _Lines:
    """``1272-128104.trans.txt`` beside ``1272-128104-0000.flac``, below a folder such as ``dev-clean``."""
    for file in files:
        folders = (root.resolve().name, *file.relative_to(root).parent.parts)
        split = next((name.split("-")[0] for name in reversed(folders) if re.match("(train|dev|test)-", name)), "")
        for where, text in _text_lines(file, problems):
            name, _, transcript = text.strip().partition(" ")
            yield where, Utterance(file.parent / f"{name}.flac", transcript, name.split("-")[0], split)


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT_FILE = re.compile(r"([0-9])_([^_]+)_([0-9]+)\.wav")


def _spoken_digits(files: list[Path], problems: list[Problem]) -> _Lines:
    """Free Spoken Digit Dataset: takes 0 to 4 are its test set; takes 5 to 9 are our development set."""
    for file in files:
        name = _DIGIT_FILE.fullmatch(file.name)
        if name:
            split = "test" if int(name[3]) < 5 else "dev" if int(name[3]) < 10 else "train"
            yield str(file), Utterance(file, _DIGITS[int(name[1])], name[2], split)
        else:
            problems.append(Problem(str(file), "the name is not {digit}_{speaker}_{take}.wav"))


_SPHINX_LINE = re.compile(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*", re.IGNORECASE)
_SPHINX_SPLIT = re.compile(r".*_(train|dev|test)")


def _sphinx(files: list[Path], problems: list[Problem]) -> _Lines:
    """CMU Sphinx: lines ``<s> hello world </s> (utterance_id)``, audio in ``wav`` or beside the file."""
    for file in files:
        root = file.parent.parent if file.parent.name == "etc" else file.parent
        split = _SPHINX_SPLIT.fullmatch(file.stem)
        entries = []
        for where, text in _text_lines(file, problems):
            line = _SPHINX_LINE.fullmatch(text)
            if line:
                entries.append((where, line[1], line[2]))
            else:
                problems.append(Problem(where, "no (utterance_id) at the end of the line"))
        file_ids = file.with_suffix(".fileids")
        if file_ids.is_file():
            entries = _with_file_ids(entries, file_ids, problems)
        for where, transcript, file_id in entries:
            names = [file_id + suffix for suffix in (".wav", ".flac", ".sph")]
            paths = [folder / name for folder in (root / "wav", root) for name in names]
            path = next(filter(os.path.isfile, paths), paths[0])
            yield where, Utterance(path, transcript, file_id.rpartition("/")[0], split[1] if split else "")


def _with_file_ids(entries: list[tuple], file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Replace the id in each ``(where, transcript, id)`` by the line of the ``.fileids`` list that ends in it.

    An id may occur several times (``a/01``, ``b/01``): then in the same order, and equally often, in both files.
    """
    transcribed, listed = defaultdict(list), defaultdict(list)
    for entry in entries:
        transcribed[entry[2]].append(entry)
    for where, text in _text_lines(file, problems):
        file_id = text.strip()
        listed[file_id if file_id in transcribed else file_id.rpartition("/")[2]].append((where, file_id))
    for name, lines in listed.items():
        found = transcribed.pop(name, [])
        if len(found) == len(lines):
            pairs = zip(found, lines, strict=True)
            yield from ((where, transcript, file_id) for (where, transcript, _), (_, file_id) in pairs)
        else:
            what = f"{name} is {len(found)} times in the transcription, {len(lines)} times in the list"
            problems += [Problem(where, what) for where, _ in lines]
    for rest in transcribed.values():
        problems += [Problem(where, f"{name} is not in {file.name}") for where, _, name in rest]


# ---------------------------------------------------------------------------------------------
# From a path to a corpus
# ---------------------------------------------------------------------------------------------


def read_corpus(path: Path | str) -> Corpus:
    """Read what a corpus holds, without its audio; only missing durations are looked up in the files.

    Recognised are a manifest (``.tsv``, ``.csv``, ``.jsonl``), LibriSpeech, CMU Sphinx and a clone of the
    Free Spoken Digit Dataset. Where splits are missing they are carved, see ``_carve_splits``.

    Args:
        path: the folder of a corpus, or its manifest or transcription file.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        CorpusError: if no layout is recognised, a table lacks its header, or a list its transcription.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the folder of a corpus or its manifest.")
    problems: list[Problem] = []
    kind, lines = _recognise(path, problems)
    root = path if path.is_dir() else path.parent
    utterances, rule = _carve_splits(_checked(lines, problems), root)
    return Corpus(kind, root, utterances, problems, rule)


def _recognise(path: Path, problems: list[Problem]) -> tuple[str, _Lines]:
    candidates = [path / f"manifest{s}" for s in _MANIFESTS] if path.is_dir() else [path]
    manifests = [file for file in candidates if file.suffix.lower() in _MANIFESTS and file.is_file()]
    if len(manifests) > 1:
        raise CorpusError(f"{path} has {' and '.join(m.name for m in manifests)}; give the path of the one you mean.")
    if manifests:
        return "manifest", _manifest(manifests[0], problems)
    if path.is_dir() and (files := sorted(path.rglob("*.trans.txt"))):
        return "LibriSpeech", _librispeech(path, files, problems)
    if files := _sphinx_files(path):
        return "CMU Sphinx", _sphinx(files, problems)
    files = sorted(path.glob("recordings/*.wav")) or sorted(path.glob("*.wav"))
    if any(_DIGIT_FILE.fullmatch(file.name) for file in files):
        return "Free Spoken Digit Dataset", _spoken_digits(files, problems)
    names = sorted(child.name for child in path.iterdir()) if path.is_dir() else []
    there = ", ".join(names[:8] + ["..."] * (len(names) > 8)) or "nothing"
    raise CorpusError(
        f"{path} is no corpus of a known layout: looked for manifest.tsv, .csv or .jsonl, LibriSpeech's *.trans.txt, "
        "Sphinx's *.transcription and digit recordings such as recordings/7_jackson_32.wav."
        + (f" The folder has {there}." if path.is_dir() else ""))


def _sphinx_files(path: Path) -> list[Path]:
    """The transcriptions of a Sphinx corpus: those named for a split if there are any, else all."""
    if path.is_file():
        is_sphinx = any(_SPHINX_LINE.fullmatch(text) for _, text in _text_lines(path, []))
        return [path] if path.suffix in (".transcription", ".txt") and is_sphinx else []
    for file_ids in sorted(path.glob("etc/*.fileids")):
        if _SPHINX_SPLIT.fullmatch(file_ids.stem) and not file_ids.with_suffix(".transcription").is_file():
            raise CorpusError(f"{file_ids} has no {file_ids.stem}.transcription beside it.")
    files = sorted(path.glob("etc/*.transcription")) or sorted(path.glob("*.transcription"))
    return [file for file in files if _SPHINX_SPLIT.fullmatch(file.stem)] or files


_SPLIT_NAMES = {"valid": "dev", "val": "dev", "validation": "dev"}


def _checked(lines: _Lines, problems: list[Problem]) -> list[Utterance]:
    """The usable utterances, in order, with clean transcripts, split names and durations."""
    good: dict[str, tuple[str, Utterance]] = {}  # by path
    for where, utterance in lines:
        try:
            utterance = _clean(utterance)
            before, first = good.setdefault(os.path.normpath(utterance.path), (where, utterance))
            if first is not utterance:
                same = "the same" if first.transcript == utterance.transcript else "a different"
                raise _BadLine(f"{utterance.path} was listed with {same} transcript at {before}")
        except (_BadLine, BadAudio) as error:
            problems.append(Problem(where, str(error)))
    unsplit = [where for where, utterance in good.values() if not utterance.split]
    if len(unsplit) < len(good):
        problems += [Problem(where, "no split is given, but other lines have one") for where in unsplit]
        return [utterance for _, utterance in good.values() if utterance.split]
    return [utterance for _, utterance in good.values()]


def _clean(utterance: Utterance) -> Utterance:
    transcript, split = " ".join(utterance.transcript.split()), utterance.split.lower()
    if not transcript:
        raise _BadLine("the transcript is empty")
    if not os.path.isfile(utterance.path):
        raise _BadLine(f"audio file {utterance.path} not found")
    if utterance.path.suffix.lower() == ".sph":
        raise _BadLine(f"{utterance.path} is a SPHERE file: convert it to WAV or FLAC")
    seconds = utterance.seconds or audio_seconds(utterance.path)
    return replace(utterance, transcript=transcript, split=_SPLIT_NAMES.get(split, split), seconds=seconds)


def _carve_splits(utterances: list[Utterance], root: Path) -> tuple[list[Utterance], str]:
    """Carve dev and test where no split is given, and dev from train where train has no dev beside it.

    A tenth each, chosen by a hash and so the same on every machine. If each utterance names its speaker and
    there are at least 10, whole speakers are carved, so that no voice is on both sides; otherwise utterances.

    Returns:
        the utterances with their splits, and in words how the splits came about.
    """
    given = {u.split for u in utterances} - {""}
    if given and ("train" not in given or "dev" in given):
        return utterances, Corpus.split_rule
    carved = ["dev"] if given else ["dev", "test"]
    pool = [u for u in utterances if u.split in ("", "train")]
    by_speaker = len({u.speaker for u in pool}) >= 10 and all(u.speaker for u in pool)

    def key(utterance: Utterance) -> str:
        return utterance.speaker if by_speaker else Path(os.path.relpath(utterance.path, root)).as_posix()

    order = sorted({key(u) for u in pool}, key=lambda k: hashlib.sha256(k.encode("utf-8", "surrogatepass")).digest())
    if len(order) < 10:
        return [replace(u, split=u.split or "train") for u in utterances], "not carved: fewer than 10 utterances"
    size = max(1, round(len(order) / 10))
    split_of = {k: name for n, name in enumerate(carved) for k in order[n * size:(n + 1) * size]}
    utterances = [u if u.split not in ("", "train") else replace(u, split=split_of.get(key(u), "train"))
                  for u in utterances]
    return utterances, f"with {' and '.join(carved)} carved by {'speaker' if by_speaker else 'utterance'}"
