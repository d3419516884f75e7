"""Files that are always whole: written beside and put in place at once, also where the process is killed or the power fails."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def temporary_of(path: Path) -> Path:
    """Where a file is written before it is put in place; of the same kind by its ending: last.pt -> last.tmp.pt."""
    return path.with_stem(f"{path.stem}.tmp")


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives the name to write under; in the end all of it takes the place of ``path``, or nothing does.

        with whole_file("results.json") as temporary:
            temporary.write_text("{}")

    Raises:
        OSError: if it can't be written, in a sentence; what stood there stays as it was.
    """
    path = Path(path)
    temporary = temporary_of(path)
    try:
        temporary.touch()  # says what is wrong with the folder, where torch would only say that something is
        yield temporary
        _onto_the_disk(temporary)
        os.replace(temporary, path)
        if os.name != "nt":  # Windows opens no folders
            _onto_the_disk(path.parent)
    except OSError as error:
        raise OSError(_cannot_be_written(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """As ``whole_file``, a text in UTF-8; halves of a character, as names of files may hold them, as ``\\udc80``."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _onto_the_disk(path: Path) -> None:
    """Waits until it is there; without it a loss of power could leave the new name with nothing behind it."""
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that have no such thing for folders
            raise
    finally:
        os.close(number)


def _cannot_be_written(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if not path.parent.is_dir():
        return f"{path} can't be written: the folder is gone"
    if error.errno in FORBIDDEN:
        return f"{path} can't be written ({reason}); change the permissions of its folder"
    return f"{path} can't be written; is the disk full? ({reason})"
