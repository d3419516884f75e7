"""Two Mandarin corpora, in the layout of their archives: AISHELL-1 (openslr.org/33) and THCHS-30 (openslr.org/18).

Both put spaces between words, which Chinese writing does not have; the readers leave them out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from speech.transcripts import joined
from speech.utterances import BadLine, CorpusError, Lines, Problem, Report, Utterance, text_lines

_SPLITS = ("train", "dev", "test")
_AISHELL_LIST = re.compile(r"aishell_transcript.*\.txt", re.IGNORECASE)
_THCHS_TEXT = re.compile(r"([A-D]\d+)_\d+\.wav\.trn", re.IGNORECASE)
_THCHS_LINES = ("hanzi", "pinyin", "phones")


def is_aishell(file: Path) -> bool:
    """Whether it is the list of transcripts of AISHELL-1, ``transcript/aishell_transcript_v0.8.txt``."""
    return _AISHELL_LIST.fullmatch(file.name) is not None


def is_thchs30(file: Path) -> bool:
    """Whether it is a transcript of THCHS-30, such as ``A11_0.wav.trn``."""
    return _THCHS_TEXT.fullmatch(file.name) is not None


def aishell(root: Path, files: Sequence[Path], report: Report) -> Lines:
    """``transcript/aishell_transcript_v0.8.txt``, and ``wav/train/S0002/BAC009S0002W0122.wav``: split, speaker, utterance.

    A few hundred of the published recordings have no transcript; a note counts them.
    """
    waves = {file.stem: file for file in files if file.suffix.lower() in (".wav", ".flac", ".opus")}
    packed = [file for file in files if re.fullmatch(r"S\d+\.(tar\.gz|tgz|tar)", file.name)]
    packed = [file for file in packed if not any(file.name.split(".")[0] in wave.parts for wave in waves.values())]
    named = set()
    for file in filter(is_aishell, files):
        for where, text in text_lines(file, report.problems):
            name, *words = text.split()
            named.add(name)
            if name in waves:
                wave = waves[name]
                yield where, Utterance(wave, joined(words), wave.parent.name, _split_above(root, wave))
            elif not any(archive.name.split(".")[0] in name for archive in packed):  # otherwise reported once below
                report.problems.append(Problem(where, f"there is no recording {name}.wav under {root}"))
    if packed:
        more = f", and {len(packed) - 1} more like it" if len(packed) > 1 else ""
        report.problems.append(Problem(str(packed[0]), f"is not unpacked: tar xf {packed[0].name}{more}"))
    if silent := sorted(waves.keys() - named):
        report.notes.append(f"{len(silent)} recordings have no transcript and are left out; the first is {waves[silent[0]]}")


def thchs30(root: Path, files: Sequence[Path], report: Report, line: str | None = None) -> Lines:
    """``data/A11_0.wav`` and ``A11_0.wav.trn``, whose lines are hanzi, pinyin and phones; the split folders point to them.

    A text in train, dev or test holds the path of the one in data, and its recording may be a link. If only data exists, it is
    read, and splits are carved out.

    Args:
        line: 'hanzi', 'pinyin' or 'phones'; None: hanzi.
    """
    if line is not None and line not in _THCHS_LINES:
        raise CorpusError(f"{root}: THCHS-30 has the transcripts {', '.join(_THCHS_LINES)}, but no {line!r}")
    texts = [file for file in files if is_thchs30(file)]
    in_splits = [file for file in texts if _split_above(root, file)]
    for file in in_splits or texts:
        try:
            source = _pointed_to(file, report.problems)
            lines = [text for _, text in text_lines(source, report.problems)]
            place = _THCHS_LINES.index(line or "hanzi")
            if len(lines) <= place:
                raise BadLine(f"it has {len(lines)} lines, but its {line or 'hanzi'} should be line {place + 1}")
            words = lines[place].split()
            waves = [text.with_suffix("") for text in (file, source)]  # A11_0.wav
            wave = next((wave for wave in waves if wave.is_file()), waves[0])
            transcript = joined(words) if place == 0 else " ".join(words)
            yield str(file), Utterance(wave, transcript, _THCHS_TEXT.fullmatch(file.name)[1], _split_above(root, file))
        except BadLine as error:
            report.problems.append(Problem(str(file), str(error)))


def _pointed_to(file: Path, problems: list[Problem]) -> Path:
    """The text itself, if a file holds only its path, such as ../data/A11_0.wav.trn."""
    _, first = next(text_lines(file, problems), ("", ""))
    if not first.strip().endswith(".trn"):
        return file
    target = Path(os.path.normpath(file.parent / first.strip()))
    if not target.is_file():
        raise BadLine(f"it points to {first.strip()}, which does not exist: unpack the folder data beside it")
    return target


def _split_above(root: Path, file: Path) -> str:
    """The split named by the innermost such folder around a file; ``''`` if there is none."""
    folders = (root.resolve().name, *file.relative_to(root).parts[:-1])
    return next((name.lower() for name in reversed(folders) if name.lower() in _SPLITS), "")
