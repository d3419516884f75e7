"""Finds files under other spellings of their names and through links, and skips those that a Mac leaves behind."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from speech.utterances import Problem, Report

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".opus", ".mp3", ".oga", ".aiff", ".aif", ".sph", ".au", ".caf", ".w64",
    ".m4a", ".aac", ".wma", ".webm", ".mp4",
)  # fmt: skip

_LONGEST = 4096  # characters of a path; no system has longer ones


@lru_cache(maxsize=4096)
def _names_in(folder: Path, changed: int) -> dict[str, list[str]]:
    """The names in a folder, by their normal form with the suffix in lower case."""
    names = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        names[_plain_name(name)].append(name)
    return names


def _plain_name(name: str) -> str:
    stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return stem + dot + suffix.lower()


def find_file(path: Path) -> Path | None:
    """The file of that name, or of the same name in another Unicode normal form or with its suffix in capitals; else None."""
    if os.path.isfile(path):
        return path
    if len(str(path)) > _LONGEST:
        return None
    try:
        folder = _find_folder(path.parent)
        there = folder and _names_in(folder, os.stat(folder).st_mtime_ns).get(_plain_name(path.name), ())
    except (OSError, ValueError):
        return None
    return next((folder / name for name in there or () if os.path.isfile(folder / name)), None)


def _find_folder(folder: Path) -> Path | None:
    """The folder of that path, or the one whose path is the same in another Unicode normal form; else None."""
    if os.path.isdir(folder):
        return folder
    if unicodedata.normalize("NFC", str(folder)) == unicodedata.normalize("NFD", str(folder)):
        return None
    found = Path(folder.anchor)
    for name in folder.parts[bool(folder.anchor) :]:
        if os.path.isdir(found / name):
            found /= name
            continue
        there = _names_in(found, os.stat(found).st_mtime_ns).get(_plain_name(name), ())
        if not (folders := [found / other for other in there if os.path.isdir(found / other)]):
            return None
        found = folders[0]
    return found


def is_of_a_mac(name: str) -> bool:
    return name.startswith("._") or name in ("__MACOSX", ".DS_Store")


def walk(root: Path, report: Report, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """All files below a folder, sorted, also through symbolic links, but no hidden ones; counts the files that a Mac left."""
    above = (*above, os.path.realpath(root))
    with os.scandir(root) as entries:
        children = sorted(entries, key=lambda entry: entry.name)
    for entry in children:
        child = root / entry.name
        if is_of_a_mac(entry.name):
            report.of_a_mac += entry.name != ".DS_Store"
        elif entry.name.startswith("."):
            continue
        elif entry.is_dir():
            if os.path.realpath(child) not in above:  # otherwise links form a circle
                yield from walk(child, report, above)
        elif entry.is_symlink() and not child.exists():
            report.problems.append(Problem(str(child), f"a link to {os.readlink(child)}, which does not exist"))
        else:
            yield child
