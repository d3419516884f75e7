"""Writes files that are always whole, even if the process is killed or the power fails.

A new file is written beside the old one, then renamed in a single step.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def temporary_of(path: Path) -> Path:
    """Where a file is written before it is put in place, with the same ending: last.pt -> last.tmp.pt."""
    return path.with_stem(f"{path.stem}.tmp")


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields the name to write to; at the end the whole file replaces ``path``, or nothing does.

        with whole_file("results.json") as temporary:
            temporary.write_text("{}")

    Raises:
        OSError: if the file can't be written, with a clear message; the old one stays as it was.
    """
    path = Path(path)
    temporary = temporary_of(path)
    try:
        temporary.touch()  # reports what is wrong with the folder; torch would only report that something is
        yield temporary
        _onto_the_disk(temporary)
        os.replace(temporary, path)
        if os.name != "nt":  # Windows can't open folders
            _onto_the_disk(path.parent)
    except OSError as error:
        raise OSError(_cannot_be_written(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Like ``whole_file``, for text in UTF-8; lone surrogates, which file names may contain, are written as ``\\udc80``."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _onto_the_disk(path: Path) -> None:
    """Waits until the file is on the disk; otherwise a power cut could leave the new name without its contents."""
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems can't do this for folders
            raise
    finally:
        os.close(number)


def _cannot_be_written(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if not path.parent.is_dir():
        return f"{path} can't be written: its folder is gone"
    if error.errno in FORBIDDEN:
        return f"{path} can't be written ({reason}); change the permissions of its folder"
    return f"{path} can't be written; is the disk full? ({reason})"
