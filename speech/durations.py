"""Durations of audio files, read once from their headers and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from speech.audio import audio_seconds
from speech.containers import flac_seconds

MANY = 1000  # files; fewer take less than a second and are not kept


def cache_folder() -> Path:
    """The user's folder for data that programs can make again: ``XDG_CACHE_HOME``, else the system's usual one."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "deep_speech_2"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "deep_speech_2"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "deep_speech_2"


class Durations:
    """Seconds of the audio files in a corpus. A file is read again if its size or modification time has changed.

    Args:
        root: folder of the corpus.
    """

    def __init__(self, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._below, self.read, self._known = os.path.join(root, ""), 0, {}
        with suppress(OSError, RuntimeError):  # there is no home folder
            self._file = cache_folder() / f"durations-{name}.json"
            self._known = _read(self._file)

    def seconds(self, path: Path) -> float:
        """The same as ``audio_seconds``."""
        try:
            found = os.stat(path)
            name, stamp = str(path), [found.st_size, found.st_mtime_ns]
            key = name.removeprefix(self._below) if name.startswith(self._below) else os.path.relpath(name, self._below)
        except (OSError, ValueError):
            return audio_seconds(path)  # raises an error that says what is wrong
        if self._known.get(key, ())[:2] != stamp:
            self._known[key] = [*stamp, _seconds(path)]
            self.read += 1
        return self._known[key][2]

    def keep(self) -> None:
        """Writes the durations if many were read; if nothing can be written, they are read again next time."""
        if self.read < MANY:
            return
        with suppress(OSError, AttributeError, UnicodeError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
                file.write(json.dumps(self._known))  # in one piece, in C: twenty times as fast as json.dump
            os.replace(file.name, self._file)


def _seconds(path: Path) -> float:
    """The same as ``audio_seconds``; for most FLACs it reads only both ends."""
    return (flac_seconds(path) if path.suffix.lower() == ".flac" else None) or audio_seconds(path)


def _read(file: Path) -> dict[str, list]:
    """The durations kept in a file; none if it is missing or broken."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    sound = isinstance(known, dict) and all(
        isinstance(of, list) and len(of) == 3 and isinstance(of[2], float) and of[2] > 0 for of in known.values()
    )
    return known if sound else {}
