"""Real speech from disk: reads what a corpus holds, in eight layouts.

    read_corpus(path) -> Corpus -> preflight.check_problems -> datasets.SpeechDataset -> datasets.JoinedDataset

A line of a corpus that cannot be used becomes a ``Problem`` that names file and line, and its utterance is
left out; nothing is dropped silently. ``python check_corpus.py PATH`` prints what a corpus holds and all of
its problems.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from speech.audio import PIECE_SLACK, BadAudio, audio_channels, audio_rate, audio_seconds
from speech.columns import LONGEST, ColumnError, channel_numbers
from speech.durations import Durations
from speech.files import AUDIO_SUFFIXES, find_file, is_of_a_mac, walk
from speech.mandarin_corpora import aishell, is_aishell, is_thchs30, thchs30
from speech.manifests import MANIFESTS, audio_path, read_manifests
from speech.utterances import BadLine, CorpusError, Lines, Problem, Report, Utterance, counted, listed, spoken, text_lines


@dataclass
class Corpus:
    """What ``read_corpus`` found.

    Attributes:
        kind, root: its layout and folder.
        utterances, problems: usable utterances, and lines that can't be used.
        split_rule: in words, where the splits come from.
        notes: sentences about harmless things that were corrected or skipped.
    """

    kind: str
    root: Path
    utterances: list[Utterance]
    problems: list[Problem]
    split_rule: str = "as the corpus gives them"
    notes: list[str] = field(default_factory=list)

    def split(self, name: str) -> list[Utterance]:
        """The utterances of one split, in the order of the corpus; none if there is no such split."""
        return [u for u in self.utterances if u.split == name]

    @property
    def splits(self) -> dict[str, int]:
        """Number of utterances per split."""
        return dict(Counter(u.split for u in self.utterances))

    def splits_for(self, role: str) -> list[str]:
        """The splits whose names say 'train', 'dev' or 'test': 'dev-clean' and 'dev_other' are for 'dev'."""
        return _for(role, self.splits)

    def dev_split(self, name: str | None = None) -> str:
        """The split on which weights are chosen.

        Args:
            name: the user's choice; None: the only one there is.

        Raises:
            CorpusError: if there is no such split, none at all, or several to choose from.
        """
        names = self.splits_for("dev")
        if name is not None:
            return self._known(name)
        if len(names) > 1 and "dev" not in names:
            raise CorpusError(
                f"{self.root} has several sets to choose the best weights on: {', '.join(names)}; name one with --dev NAME"
            )
        if not names:
            raise CorpusError(f"{self.root}: no utterance is in the split 'dev'. {self.split_advice}")
        return "dev" if "dev" in names else names[0]

    def in_roles(self, train: Sequence[str] = (), dev: str | None = None, test: Sequence[str] = ()) -> Corpus:
        """The same corpus with its splits named by their roles, see ``roles``."""
        roles = self.roles(train, dev, test)
        return replace(self, utterances=[replace(u, split=roles[u.split]) for u in self.utterances])

    def roles(self, train: Sequence[str] = (), dev: str | None = None, test: Sequence[str] = ()) -> dict[str, str]:
        """The role of each split: 'train', 'dev' to choose the best weights on, or a name that begins with 'test'; else unused.

        Args:
            train, test: names of splits; none: all that ``splits_for`` names, except those with another role here.
            dev: see ``dev_split``; may be missing here.

        Raises:
            CorpusError: if there is no split of a given name, or a split gets two roles.
        """
        roles: dict[str, str] = {}
        given = [(name, "train") for name in train]
        if dev is not None or self.splits_for("dev"):
            given.append((self.dev_split(dev), "dev"))
        given += [(name, name if name.startswith("test") else f"test {name}") for name in test]
        for name, role in given:
            if roles.setdefault(self._known(name), role) != role:
                raise CorpusError(f"the split {name!r} can't be used for both {roles[name]!r} and {role!r}: name another one")
        for name in () if train else self.splits_for("train"):
            roles.setdefault(name, "train")
        for name in () if test else self.splits_for("test"):
            roles.setdefault(name, name)
        unused = {name: f"unused {name}" if name.startswith(("train", "dev", "test")) else name for name in self.splits}
        return unused | roles

    def _known(self, name: str) -> str:
        if name not in self.splits:
            raise CorpusError(f"{self.root}: no utterance is in the split {name!r}; there are {', '.join(sorted(self.splits))}")
        return name

    @property
    def split_advice(self) -> str:
        """A sentence on what to add if 'dev' or 'train' is missing."""
        there = ", ".join(f"{count} in {name!r}" for name, count in self.splits.items()) or "no utterance at all"
        if self.kind == "manifest":
            return (f"There are {there}. Add a column 'split' with train, dev or test, with a tenth of the lines dev; "
                    "or leave the column out and give at least 10 lines: then a tenth each becomes dev and test.")  # fmt: skip
        return f"There are {there}. Add recordings; with at least 10 that have no split, a tenth each becomes dev and test."

    def summary(self, show: int = 5, roles: Mapping[str, str] | None = None) -> str:
        """A few plain lines: utterances, hours, speakers and the longest of each split, notes, and about ``show`` problems.

        Args:
            show: about how many problems are named, the first of each kind among them; the others are counted.
            roles: what each split is for, if that should be shown.
        """
        lines = [f"{self.kind} in {self.root}: {counted(len(self.utterances), 'utterance')}, splits {self.split_rule}"]
        order = sorted(self.splits, key=lambda name: _place((roles or {}).get(name, name)))
        lines += [f"  {name}{_use(name, roles)}: {_amount(self.split(name))}" for name in order]
        to_train_on = [name for name, role in (roles or {}).items() if role == "train"]
        if len(to_train_on) > 1:
            lines.append(f"  train in all: {_amount([u for u in self.utterances if u.split in to_train_on])}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"problems: {len(self.problems)}", *listed(self.problems, show)])


def _amount(part: Sequence[Utterance]) -> str:
    speakers = len({u.speaker for u in part} - {""}) or "unknown"
    longest = max(u.seconds for u in part)
    amount = f"{counted(len(part), 'utterance')}, {spoken(sum(u.seconds for u in part))}"
    return f"{amount}, speakers: {speakers}, longest {longest:.1f} s"


def _use(name: str, roles: Mapping[str, str] | None) -> str:
    """The role of a split in brackets, unless its name says it."""
    role = name if roles is None else roles[name]
    if roles is None or (role == name and role.startswith(("train", "dev", "test"))):
        return ""
    return f" ({role})" if role in ("train", "dev") else " (test)" if role.startswith("test") else " (not used)"


def _place(role: str) -> int:
    """Where a summary shows a split of this role: train first, then dev, then test, then the others."""
    return next((place for place, first in enumerate(("train", "dev", "test")) if role.startswith(first)), 3)


def _for(role: str, splits: Iterable[str]) -> list[str]:
    """The splits whose names begin with the role as a word."""
    return sorted(name for name in splits if re.match(rf"{role}(?![a-z])", name))


def corpus_sample_rate(utterances: Sequence[Utterance], limit: int = 16000) -> int:
    """The most common native sample rate of the first 20 utterances, in Hz, at most ``limit``.

    Raises:
        CorpusError: if none of these files can be read.
    """
    rates = Counter()
    for utterance in utterances[:20]:
        try:
            rates[audio_rate(utterance.path)] += 1
        except BadAudio:
            continue  # reported when the utterance itself is read
    if not rates:
        raise CorpusError(f"none of the first {len(utterances[:20])} audio files can be read")
    return min(rates.most_common(1)[0][0], limit)


# ---------------------------------------------------------------------------------------------
# Layouts. Each reader yields ('file:line', utterance), not yet checked, and reports the lines without
# an utterance.
# ---------------------------------------------------------------------------------------------


_PART = re.compile(r"(train|dev|test)(-[^.]+|_(clean|other)(_\w+)?)", re.IGNORECASE)


def _librispeech(root: Path, files: list[Path], report: Report) -> Lines:
    """``1272-128104.trans.txt`` beside ``1272-128104-0000.flac``, below a folder such as ``dev-clean``.

    Each part, such as dev-clean, is a split.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    parts = {folder: _part_of(root, folder) for folder in folders}
    seen: dict[str, tuple[str, str]] = {}  # by utterance: its part and its line
    shared: Counter[tuple[str, str]] = Counter()  # by two parts: utterances of one name
    for folder, inside in folders.items():
        part, transcripts = parts[folder], [file for file in inside if file.name.lower().endswith(".trans.txt")]
        recordings = _recordings(inside, all_kinds=bool(transcripts))  # without a line, as yet
        for where, text in chain.from_iterable(text_lines(file, report.problems) for file in transcripts):
            name, *transcript = text.split(None, 1)
            path = recordings.pop(name, None) or _recording(folder, name)
            recordings.pop(path.stem, None)
            its_part, first = seen.setdefault(name, (part, where))
            if its_part != part:
                shared[its_part, part] += 1
            elif first is not where and first.rpartition(":")[0] != where.rpartition(":")[0]:  # in one file: reported later
                report.problems.append(Problem(where, f"{name} is in this part twice, first at {first}"))
                continue
            yield where, Utterance(path, "".join(transcript), name.split("-")[0], part)
        report.problems += [Problem(str(file), "no *.trans.txt beside it has a line for it") for file in recordings.values()]
    report.problems += _missing_parts(root, set(parts.values()))
    for (first, second), count in shared.items():
        report.notes.append(f"{count} utterances of {second} have the same names as some of {first}: are they the same speech?")


def _recordings(files: list[Path], all_kinds: bool) -> dict[str, Path]:
    """The audio files of a folder by their names without suffix, FLAC before others; only FLAC unless ``all_kinds``."""
    suffixes = AUDIO_SUFFIXES if all_kinds else (".flac",)
    found = [file for file in files if file.suffix.lower() in suffixes]
    return {file.stem: file for file in sorted(found, key=lambda file: file.suffix.lower() == ".flac")}


def _recording(folder: Path, name: str) -> Path:
    """The audio of an utterance: its FLAC, else one of the same name spelt differently or converted, else where it should be."""
    paths = [folder / f"{name}{suffix}" for suffix in (".flac", *AUDIO_SUFFIXES)]
    return next(filter(None, map(find_file, paths)), paths[0])


def _part_of(root: Path, folder: Path) -> str:
    """The part of LibriSpeech that a folder belongs to, such as 'dev-clean'; ``''`` if no folder above has such a name.

    Looks at the names as given, then, behind links, at those of the real folders: part, speaker, chapter.
    """
    given = (root.resolve().name, root.absolute().name, *folder.relative_to(root).parts)
    folders = (*folder.resolve().parts[-3:], *given)
    return next((_part(name) for name in reversed(folders) if _PART.fullmatch(name)), "")


def _part(name: str) -> str:
    return name.lower().replace("_", "-")


def _missing_parts(root: Path, found: set[str]) -> list[Problem]:
    """Parts that exist but hold nothing that can be read."""
    problems = []
    for child in sorted({*root.iterdir(), *(root / "LibriSpeech").glob("*")}):
        name, packed = re.fullmatch(r"(.*?)(\.tar\.gz|\.tgz|\.tar|\.zip)?", child.name).groups()
        linked_nowhere = child.is_symlink() and not child.exists()  # reported already
        if not _PART.fullmatch(name) or _part(name) in found or linked_nowhere:
            continue
        if packed:
            command = "unzip" if packed == ".zip" else "tar xf"
            problems.append(Problem(str(child), f"is not unpacked: {command} {child.name}"))
        elif child.is_dir():
            problems.append(Problem(str(child), "holds no *.trans.txt and no FLAC: is it unpacked, and do you have permission?"))
    return problems


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT_FILE = re.compile(r"([0-9])_([^_]+)_([0-9]+)\.wav", re.IGNORECASE)


def _spoken_digits(files: list[Path], problems: list[Problem]) -> Lines:
    """Free Spoken Digit Dataset: takes 0 to 4 are its test set; takes 5 to 9 are our development set."""
    for file in files:
        name = _DIGIT_FILE.fullmatch(file.name)
        if name:
            split = "test" if int(name[3]) < 5 else "dev" if int(name[3]) < 10 else "train"
            yield str(file), Utterance(file, _DIGITS[int(name[1])], name[2], split)
        else:
            problems.append(Problem(str(file), "the name is not {digit}_{speaker}_{take}.wav"))


_TEXT_SUFFIXES = (".txt", ".lab", ".trn", ".text")
_NO_TRANSCRIPT = re.compile(r"read.?me|licen[cs]e|copying|notice|changes|changelog|notes|requirements", re.IGNORECASE)


def _pairs(root: Path, files: list[Path], report: Report) -> Lines:
    """``x.wav`` and ``x.txt`` (or .lab, .wav.txt), in one folder or in two; folders named train, dev or test are splits.

    Names may differ in capitals and in Unicode's normal form.
    """
    texts = {(file.parent, _stem(file)): file for file in reversed(files) if file.suffix.lower() in _TEXT_SUFFIXES}
    by_stem = defaultdict(list)
    for file in texts.values():
        by_stem[_stem(file)].append(file)
    used = set()
    for file in files:
        if file.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        alone = by_stem[_stem(file)][0] if len(by_stem[_stem(file)]) == 1 else None
        text = texts.get((file.parent, _stem(file)), alone)
        if text is None:
            report.problems.append(Problem(str(file), f"no transcript beside it: {file.stem}.txt (or .lab)"))
            continue
        used.add(text)
        split = _split_of(root, file.parent)
        lines = [line for _, line in text_lines(text, report.problems)]
        yield str(text), Utterance(file, " ".join(lines), "", split)
    rest = [file for file in texts.values() if file not in used and not _NO_TRANSCRIPT.match(file.name)]
    if rest:
        report.notes.append(f"{len(rest)} texts have no audio file of the same name; the first is {rest[-1]}")


def _split_of(root: Path, folder: Path) -> str:
    """The split that a folder, or one above it up to the root, is named for: train, dev or test; dev-a and test-b stay apart."""
    for name in reversed(folder.relative_to(root).parts):
        name = _SPLIT_NAMES.get(name.lower(), name.lower())
        if name in ("train", "dev", "test") or re.match("(dev|test)[-_]", name):
            return name
        if re.match("train[-_]", name):
            return "train"
    name = _SPLIT_NAMES.get(root.resolve().name.lower(), root.resolve().name.lower())
    return name if name in ("train", "dev", "test") else ""


def _is_pairs(files: list[Path]) -> bool:
    stems = {_stem(file) for file in files if file.suffix.lower() in AUDIO_SUFFIXES}
    return any(_stem(file) in stems for file in files if file.suffix.lower() in _TEXT_SUFFIXES)


def _stem(file: Path) -> str:
    """What an audio file and its text have in common."""
    stem = Path(file.stem)
    stem = stem.stem if file.suffix.lower() in _TEXT_SUFFIXES and stem.suffix.lower() in AUDIO_SUFFIXES else file.stem
    return unicodedata.normalize("NFC", stem).lower()


def _kaldi(root: Path, files: list[Path], report: Report) -> Lines:
    """``wav.scp`` and ``text``, perhaps ``segments`` and ``utt2spk``, in one folder, or in one folder for each split."""
    for scp in files:
        folder, problems = scp.parent, report.problems
        recordings = {name: (where, path) for where, name, path in _two_columns(scp, problems)}
        speakers = {name: speaker for _, name, speaker in _two_columns(folder / "utt2spk", problems)}
        pieces = {name: (where, times) for where, name, times in _two_columns(folder / "segments", problems)}
        channels = {name: file.split()[-1] for _, name, file in _two_columns(folder / "reco2file_and_channel", problems) if file}
        split = _split_of(root, folder)
        for where, name, transcript in _two_columns(folder / "text", problems):
            try:
                _, piece = pieces.get(name, (where, name))
                recording, *times = piece.split() or [""]
                if recording not in recordings or (pieces and name not in pieces):
                    raise BadLine(f"{name} has no recording in {'segments' if pieces else 'wav.scp'}")
                if recordings[recording][1].endswith("|"):
                    raise BadLine(f"{recording} is a command in wav.scp, but only files are read: write its output into a file")
                start, stop = _kaldi_times(times)
                path = _kaldi_path(root, folder, recordings[recording][1])
                channel = _kaldi_channel(path, times[2] if len(times) > 2 else channels.get(recording, ""))
                seconds = (stop or start) - start
                yield where, Utterance(path, transcript, speakers.get(name, ""), split, seconds, start, stop, channel)
            except (BadLine, BadAudio) as error:
                problems.append(Problem(where, str(error)))


def _kaldi_times(times: list[str]) -> tuple[float, float | None]:
    if not times:
        return 0.0, None
    try:
        start, stop = float(times[0]), float(times[1])
    except (ValueError, IndexError):
        raise BadLine(f"segments must hold a start and an end, not {' '.join(times)!r}") from None
    if not 0 <= start < LONGEST or not (start < stop < LONGEST or stop == -1):
        raise BadLine(f"its end, {stop:g} s, is not after its start, {start:g} s")
    return start, None if stop == -1 else stop


def _kaldi_path(root: Path, folder: Path, text: str) -> Path:
    """The file, relative to its list or to a folder above the corpus: Kaldi's paths start where its recipe runs."""
    path = audio_path(folder, text)
    above = (folder / text for folder in root.absolute().parents[:4])
    return path if os.path.isfile(path) else next(filter(None, map(find_file, above)), path)


def _kaldi_channel(path: Path, text: str) -> int | None:
    """The channel from 0 that ``segments`` or ``reco2file_and_channel`` names (A and B, or a number from 0)."""
    if not text or not os.path.isfile(path) or audio_channels(path) == 1:
        return None
    try:
        return channel_numbers([text], from_zero=True)[text]
    except ColumnError as error:
        raise BadLine(str(error)) from None


def _two_columns(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    if file.is_file():
        for where, text in text_lines(file, problems):
            name, *rest = text.split(None, 1)
            yield where, name, "".join(rest).strip()


_SPHINX_LINE = re.compile(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*", re.IGNORECASE)
_SPHINX_SPLIT = re.compile(r".*_(train|dev|test)")


def _sphinx(files: list[Path], problems: list[Problem]) -> Lines:
    """CMU Sphinx: lines ``<s> hello world </s> (utterance_id)``, audio in ``wav`` or beside the file."""
    for file in files:
        root = file.parent.parent if file.parent.name == "etc" else file.parent
        split = _SPHINX_SPLIT.fullmatch(file.stem)
        entries = []
        for where, text in text_lines(file, problems):
            line = _SPHINX_LINE.fullmatch(" ".join(text.split()))
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
            path = next(filter(None, map(find_file, paths)), paths[0])
            yield where, Utterance(path, transcript, file_id.rpartition("/")[0], split[1] if split else "")


def _with_file_ids(entries: list[tuple], file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Replaces the id in each ``(where, transcript, id)`` with the line of the ``.fileids`` list that ends in it.

    An id may occur several times (``a/01``, ``b/01``), but then in the same order and equally often in both files.
    """
    transcribed, listed = defaultdict(list), defaultdict(list)
    for entry in entries:
        transcribed[entry[2]].append(entry)
    for where, text in text_lines(file, problems):
        file_id = text.strip()
        listed[file_id if file_id in transcribed else file_id.rpartition("/")[2]].append((where, file_id))
    for name, lines in listed.items():
        found = transcribed.pop(name, [])
        if len(found) == len(lines):
            pairs = zip(found, lines, strict=True)
            yield from ((where, transcript, file_id) for (where, transcript, _), (_, file_id) in pairs)
        else:
            what = f"{name} occurs {len(found)} times in the transcription, but {len(lines)} times in the list"
            problems += [Problem(where, what) for where, _ in lines]
    for rest in transcribed.values():
        problems += [Problem(where, f"{name} is not in {file.name}") for where, _, name in rest]


# ---------------------------------------------------------------------------------------------
# From a path to a corpus
# ---------------------------------------------------------------------------------------------


def read_corpus(path: Path | str, transcript_column: str | None = None) -> Corpus:
    """Reads what a corpus holds, without its audio; looks up durations in the files only if they are missing.

    It recognises a manifest (``.tsv``, ``.csv``, ``.jsonl``, ``.json``), LibriSpeech, AISHELL-1, THCHS-30, Kaldi's lists, CMU
    Sphinx, a clone of the Free Spoken Digit Dataset, and audio files with a text of the same name. Missing splits are carved
    out, see ``_carve_splits``. Durations that a manifest gives are compared with some of the audio files, see ``_compared``.

    Args:
        path: the folder of a corpus, or its manifest or transcription file.
        transcript_column: the column of a manifest, if several hold transcripts; for THCHS-30 'hanzi', 'pinyin' or 'phones'.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        CorpusError: if no layout is recognised, a table lacks its header or that column, a list lacks its transcription, or a
            manifest has a column that is not understood and may change what its lines mean.
    """
    with suppress(RuntimeError):  # ~ with a name that is not a user's
        path = Path(path).expanduser()
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the folder of a corpus or its manifest.")
    if not path.is_file() and not path.is_dir():
        raise CorpusError(f"{path} is a pipe or a device, not a manifest or a folder: write its output into a file.")
    report = Report()
    kind, lines = _recognise(path, report, transcript_column)
    root = path if path.is_dir() else path.parent
    durations = Durations(root)
    utterances = _compared(_checked(lines, report, durations), report)
    durations.keep()
    utterances, rule = _carve_splits(utterances, root)
    if report.of_a_mac:
        report.notes.append(f"skipped {report.of_a_mac} files named ._*, left by a Mac; they hold no audio")
    return Corpus(kind, root, utterances, report.problems, rule, report.notes)


_NO_CORPUS = {".pt": "a checkpoint", ".arpa": "a language model"} | dict.fromkeys(
    (".wav", ".flac", ".mp3", ".ogg"), "one recording"
)


def _recognise(path: Path, report: Report, transcript_column: str | None = None) -> tuple[str, Lines]:
    manifests = _manifest_files(path)
    if manifests:
        return "manifest", read_manifests(manifests, report, transcript_column)
    files = list(walk(path, report)) if path.is_dir() else []
    if any(map(is_thchs30, files)):
        return "THCHS-30", thchs30(path, files, report, transcript_column)
    if transcript_column is not None:
        raise CorpusError(f"{path} is not a manifest, so it has no column {transcript_column!r}: leave out --transcript-column")
    if any(map(is_aishell, files)):
        return "AISHELL-1", aishell(path, files, report)
    if any(file.name.lower().endswith(".trans.txt") for file in files):
        found = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES or file.name.lower().endswith(".trans.txt")]
        return "LibriSpeech", _librispeech(path, found, report)
    if lists := [file for file in files if file.name == "wav.scp" and (file.parent / "text").is_file()]:
        return "Kaldi", _kaldi(path, lists, report)
    if transcriptions := _sphinx_files(path):
        return "CMU Sphinx", _sphinx(transcriptions, report.problems)
    waves = [file for file in files if file.suffix.lower() == ".wav"]
    waves = [file for file in waves if file.parent == path / "recordings"] or [file for file in waves if file.parent == path]
    if any(_DIGIT_FILE.fullmatch(file.name) for file in waves):
        return "Free Spoken Digit Dataset", _spoken_digits(waves, report.problems)
    if _is_pairs(files):
        return "pairs of audio and text", _pairs(path, files, report)
    names = sorted(child.name for child in path.iterdir()) if path.is_dir() else []
    if path.is_file() and (kind := _NO_CORPUS.get(path.suffix.lower())):
        raise CorpusError(f"{path} is {kind}, not a corpus; give the folder of a corpus or its manifest")
    there = ", ".join(names[:8] + ["..."] * (len(names) > 8)) or "nothing"
    raise CorpusError(
        f"{path} has no known layout of a corpus: looked for manifest.tsv, .csv, .jsonl or .json, LibriSpeech's *.trans.txt, "
        "AISHELL-1's aishell_transcript*.txt, THCHS-30's *.wav.trn, Kaldi's wav.scp, Sphinx's *.transcription, audio files "
        "with a text of the same name (x.wav and x.txt) and digit recordings such as recordings/7_jackson_32.wav."
        + (f" The folder holds {there}." if path.is_dir() else ""))  # fmt: skip


def _manifest_files(path: Path) -> dict[Path, str]:
    """The manifest at a path, or several named for the splits of one corpus; each with the split of lines that give none."""
    if path.is_file():
        is_split = _SPLIT_NAMES.get(path.stem.lower(), path.stem.lower()) in ("train", "dev", "test")
        split = _SPLIT_NAMES.get(path.stem.lower(), path.stem.lower()) if is_split else ""
        return {path: split} if path.suffix.lower() in MANIFESTS else {}
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in MANIFESTS and file.is_file()]
    tables = [file for file in tables if file.suffix.lower() != ".json"] or tables  # JSON beside a table is something else
    manifests = [file for file in tables if file.stem.lower() in ("manifest", "metadata")]
    if len(manifests) > 1:
        raise CorpusError(f"{path} has {' and '.join(m.name for m in manifests)}; give the path of the one you mean.")
    if manifests:
        return {manifests[0]: ""}
    splits: dict[str, Path] = {}
    for file in tables:
        split = _SPLIT_NAMES.get(file.stem.lower(), file.stem.lower())
        if split in ("train", "dev", "test") and split in splits:
            raise CorpusError(f"{path} has {splits[split].name} and {file.name}; give the path of the one you mean.")
        if split in ("train", "dev", "test"):
            splits[split] = file
    return {file: split for split, file in splits.items()}


def _sphinx_files(path: Path) -> list[Path]:
    """The transcriptions of a Sphinx corpus: those named for a split if there are any, else all."""
    if path.is_file():
        is_sphinx = any(_SPHINX_LINE.fullmatch(" ".join(text.split())) for _, text in text_lines(path, []))
        return [path] if path.suffix in (".transcription", ".txt") and is_sphinx else []
    for file_ids in sorted(path.glob("etc/*.fileids")):
        named_for_split = _SPHINX_SPLIT.fullmatch(file_ids.stem) and not is_of_a_mac(file_ids.name)
        if named_for_split and not file_ids.with_suffix(".transcription").is_file():
            raise CorpusError(f"{file_ids} has no {file_ids.stem}.transcription beside it.")
    files = sorted(path.glob("etc/*.transcription")) or sorted(path.glob("*.transcription"))
    files = [file for file in files if not is_of_a_mac(file.name)]
    return [file for file in files if _SPHINX_SPLIT.fullmatch(file.stem)] or files


# ---------------------------------------------------------------------------------------------
# Checks of every line, whatever the layout
# ---------------------------------------------------------------------------------------------

_SPLIT_NAMES = {"valid": "dev", "val": "dev", "validation": "dev", "development": "dev", "training": "train", "testing": "test"}


@dataclass
class _Checked:
    """A usable utterance, the line it comes from, and whether that line gave its duration."""

    where: str
    utterance: Utterance
    believed: bool


def _checked(lines: Lines, report: Report, durations: Durations) -> list[_Checked]:
    """The usable utterances, in order, with clean transcripts, split names and durations."""
    good: dict[tuple, _Checked] = {}  # by path and piece
    for where, utterance in lines:
        try:
            believed = utterance.seconds > 0
            utterance = _clean(utterance, durations)
            key = (os.path.normpath(utterance.path), utterance.start, utterance.stop, utterance.channel)
            first = good.setdefault(key, _Checked(where, utterance, believed))
            if first.utterance is not utterance:
                same = "the same" if first.utterance.transcript == utterance.transcript else "a different"
                raise BadLine(f"{utterance.name} was already listed with {same} transcript at {first.where}")
        except (BadLine, BadAudio) as error:
            report.problems.append(Problem(where, str(error)))
    unsplit = [item.where for item in good.values() if not item.utterance.split]
    if len(unsplit) < len(good):
        report.problems += [Problem(where, "no split is given, but other lines have one") for where in unsplit]
        return [item for item in good.values() if item.utterance.split]
    return list(good.values())


def _clean(utterance: Utterance, durations: Durations) -> Utterance:
    transcript, split = " ".join(utterance.transcript.split()), utterance.split.lower()
    if not transcript:
        raise BadLine("the transcript is empty")
    path = find_file(utterance.path)
    if path is None:
        what = "is a pipe, which can be read only once: write it into a file" if _is_pipe(utterance.path) else "not found"
        raise BadLine(f"audio file {utterance.path} {what}")
    seconds = utterance.seconds or durations.seconds(path) - utterance.start
    if seconds <= 0:
        raise BadLine(f"it begins at {utterance.start:g} s, but its audio lasts {durations.seconds(path):g} s")
    return replace(utterance, path=path, transcript=transcript, split=_SPLIT_NAMES.get(split, split), seconds=seconds)


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except (OSError, ValueError):  # a name that no file can have
        return False


_SAMPLE = 20  # lines whose durations are compared


def differs(stated: float, actual: float) -> bool:
    """Whether a stated duration is wrong: it differs from the actual one by more than a tenth and by more than 50 ms."""
    return abs(stated - actual) > max(0.05, 0.1 * actual)


def differs_grossly(stated: float, actual: float) -> bool:
    """Whether the durations differ so much that another recording or another unit must be meant."""
    return abs(stated - actual) > 0.5 and not 2 / 3 < stated / actual < 3 / 2


def _compared(items: list[_Checked], report: Report) -> list[Utterance]:
    """The utterances, after comparing durations with the audio: for some lines, or for all if one of these is wrong.

    Wrong durations are replaced by those of the audio, and a note says so. A line that is grossly wrong while most are right
    becomes a problem, and so does a piece that is not in its audio.
    """
    stated = [item for item in items if item.believed]
    sample = stated[:: -(-len(stated) // _SAMPLE) or 1]
    if not any(_wrong_times(item) for item in sample):
        return [item.utterance for item in items]
    wrong = {id(item): says for item in stated if (says := _wrong_times(item))}
    first = next(item for item in stated if id(item) in wrong)
    if len(wrong) > len(stated) / 2 and any(item.utterance.is_piece for item in stated if id(item) in wrong):
        raise CorpusError(f"{first.where}: {wrong[id(first)]}; {len(wrong)} of {len(stated)} pieces are wrong like this. "
                          "If the times are milliseconds, call the columns start_ms, end_ms and duration_ms.")  # fmt: skip
    utterances = []
    for item in items:
        says, utterance = wrong.get(id(item), ""), item.utterance
        actual = _seconds_of(utterance) if says else None
        if says and (utterance.is_piece or (differs_grossly(utterance.seconds, actual) and len(wrong) <= len(stated) / 2)):
            report.problems.append(Problem(item.where, says))
        else:
            utterances.append(replace(utterance, seconds=actual) if says else utterance)
    if len(utterances) > len(items) - len(wrong):
        report.notes.append(f"{len(wrong)} of {len(stated)} lines state a wrong duration, so it is taken from the audio; "
                            f"the first is {first.where}: {wrong[id(first)]}")  # fmt: skip
    return utterances


def _wrong_times(item: _Checked) -> str:
    """What is wrong with the times that a line states, with both numbers; empty if nothing is, or the audio can't be read."""
    utterance, actual = item.utterance, _seconds_of(item.utterance)
    if actual is None:
        return ""  # reported when the utterance is read
    if utterance.is_piece and utterance.start + utterance.seconds > actual + PIECE_SLACK:
        return f"it says {utterance.start:g} s to {utterance.start + utterance.seconds:g} s, but its audio lasts {actual:.2f} s"
    if not utterance.is_piece and differs(utterance.seconds, actual):
        return f"it says {utterance.seconds:g} s, but its audio lasts {actual:.2f} s"
    return ""


def _seconds_of(utterance: Utterance) -> float | None:
    try:
        return audio_seconds(utterance.path)
    except BadAudio:
        return None


def _carve_splits(utterances: list[Utterance], root: Path) -> tuple[list[Utterance], str]:
    """Carves out dev and test if no split is given, and dev from train if there is a train but no dev.

    A tenth each, chosen by a hash and so the same on every machine. If each utterance names its speaker and there
    are at least 10 speakers, whole speakers are taken, so that no voice is on both sides; otherwise utterances.

    Returns:
        the utterances with their splits, and in words how the splits were made.
    """
    given = {u.split for u in utterances} - {""}
    if given and (not _for("train", given) or _for("dev", given)):
        return utterances, Corpus.split_rule
    carved = ["dev"] if given else ["dev", "test"]
    to_train_on = ["", *_for("train", given)]
    pool = [u for u in utterances if u.split in to_train_on]
    by_speaker = len({u.speaker for u in pool}) >= 10 and all(u.speaker for u in pool)
    by_piece = not by_speaker and len({u.path for u in pool}) < 10  # pieces of few recordings

    def key(utterance: Utterance) -> str:
        file = Path(os.path.relpath(utterance.path, root)).as_posix()
        return utterance.speaker if by_speaker else f"{file} {utterance.start} {utterance.channel}" if by_piece else file

    order = sorted({key(u) for u in pool}, key=lambda k: hashlib.sha256(k.encode("utf-8", "surrogatepass")).digest())
    if len(order) < 10:
        rule = "not carved: fewer than 10 utterances. Training also needs a 'dev': add a column 'split', or more lines"
        return [replace(u, split=u.split or "train") for u in utterances], rule
    size = max(1, round(len(order) / 10))
    split_of = {k: name for n, name in enumerate(carved) for k in order[n * size : (n + 1) * size]}
    utterances = [replace(u, split=split_of.get(key(u), u.split or "train")) if u.split in to_train_on else u for u in utterances]
    return utterances, f"with {' and '.join(carved)} carved by {'speaker' if by_speaker else 'utterance'}"
