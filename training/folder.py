"""The folder of a run: chosen, made and locked at once, so that two runs never share it; cleared once the run can start."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from models.checkpoints import CheckpointError
from models.writing import temporary_of, write_whole
from speech.corpora import Problem
from training.parallel import JOB_FILE, job
from training.settings import OutputSettings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:  # elsewhere
    msvcrt = None

RUN_FILES = ("checkpoint.pt", "last.pt", "metrics.jsonl", "results.json", "left_out.txt", "decoder.json", "lm.arpa")
PICTURES = ("training_curves.png", "predictions.png", "tuning.png")
LOCK_FILE = "run.lock"
LOCKED_BYTE = 1 << 30  # far beyond the text, so that on Windows other processes can read the text
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def choose_folder(output: OutputSettings) -> Path:
    """Chooses where the run goes; refuses a folder that holds a run, unless asked to replace or resume it. Writes nothing."""
    if output.resume is True:
        return newest_unfinished(Path("runs"), bool(output.language_model))
    if output.resume:
        if Path(output.resume).is_file():
            raise CheckpointError(f"--resume {output.resume} is a file: give the folder of the run, {Path(output.resume).parent}")
        if not (Path(output.resume) / "last.pt").is_file():
            raise CheckpointError(f"--resume {output.resume}: there is no last.pt in it, so there is no run to resume")
        return Path(output.resume)
    if output.folder is None:
        number = 1
        while Path("runs", f"{number:03d}").exists():
            number += 1
        return Path("runs", f"{number:03d}")
    folder = Path(output.folder)
    if any((folder / name).exists() for name in RUN_FILES) and not output.overwrite:
        raise ValueError(f"{folder} holds a run already: choose another --output-dir, --resume {folder}, or --overwrite")
    lm = output.language_model and output.language_model.file
    if lm and Path(lm).resolve() in [(folder / name).resolve() for name in RUN_FILES]:
        raise ValueError(f"--overwrite would delete {lm}, which --lm reads: copy it to another folder first")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder} is a file: choose another folder")
    return folder


def newest_unfinished(parent: Path, decoded: bool) -> Path:
    """The most recently saved of the unfinished runs that no other process is using; prints its folder.

    Args:
        decoded: whether a run counts as finished only once it has decoded with a language model.

    Raises:
        CheckpointError: if there is no such run.
    """
    last_file = "decoder.json" if decoded else "results.json"
    for saved in sorted(parent.glob("*/last.pt"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if not (saved.parent / last_file).exists() and not _at_work(saved.parent):
            print(f"--resume: {saved.parent} is the newest unfinished run")
            return saved.parent
    raise CheckpointError(f"--resume: no run in {parent}{os.sep} is unfinished: name the folder of a run, or leave out --resume")


def _at_work(folder: Path) -> bool:
    try:
        FolderLock(folder).close()
    except ValueError:
        return True
    except OSError:  # reported when the run is resumed
        return False
    return False


def refuse_unwritable(folder: Path, advice: str) -> None:
    """Raises ``ValueError`` with the advice if no file can be written into the folder; call it before the work, not after it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder}: nothing can be written there ({error.strerror}); {advice}") from None


class OpenFolder:
    """A folder that one run writes into, locked from the first second until ``close`` or the end of the process.

    Args:
        folder: from ``choose_folder``; if another run has taken it in the meantime, the next free number is used.
        output: the settings from which it was chosen.

    Raises:
        ValueError: if another run is using it, or nothing can be written there.
    """

    def __init__(self, folder: Path, output: OutputSettings) -> None:
        self.resumed, self._begun = bool(output.resume), False
        numbered = output.folder is None and not output.resume
        instead = "copy the run to a folder that can be written to" if output.resume else "choose another --output-dir"
        try:
            self.path, self._made = _make(folder, numbered)
            self._lock = FolderLock(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"{folder}: this folder can't be made or written to ({reason}): {instead}") from None

    def clear(self, left_out: Sequence[Problem]) -> None:
        """Once the run can start: deletes the run to be replaced, and notes the left-out utterances and torchrun's job."""
        for path in (self.path / name for name in RUN_FILES + PICTURES):
            temporary_of(path).unlink(missing_ok=True)  # left by a process that was killed
            if not self.resumed:
                path.unlink(missing_ok=True)
        self._begun = not self.resumed
        if job():
            write_whole(self.path / JOB_FILE, f"{job()}\n")
        else:
            (self.path / JOB_FILE).unlink(missing_ok=True)
        if left_out:
            write_whole(self.path / "left_out.txt", "".join(f"{problem}\n" for problem in left_out))

    def close(self) -> None:
        """Lets other runs in; a second call does nothing."""
        self._lock.close()

    def give_up(self) -> None:
        """Deletes the files of a run that can't start, and the folders made for it if they are empty."""
        for name in (*RUN_FILES, JOB_FILE) if self._begun else ():
            (self.path / name).unlink(missing_ok=True)
        self.close()
        for folder in self._made:
            with contextlib.suppress(OSError):  # something else is in it by now
                folder.rmdir()


def _make(folder: Path, numbered: bool) -> tuple[Path, list[Path]]:
    """Makes the folder, or the next one with a free number; also returns the folders it made, innermost first."""
    while True:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=not numbered)
            return folder, made
        except FileExistsError:
            if not numbered:
                raise
            folder = folder.with_name(f"{int(folder.name) + 1:03d}")


class FolderLock:
    """A lock that the system releases when the process ends, however it ends; a lock file that stays behind blocks nobody.

    Raises:
        ValueError: if another run holds it.
        OSError: if the folder can't be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        while True:
            self._file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open
            if not _locked(self._file):
                self._file.seek(0)
                holder = self._file.read(200).strip()
                self._file.close()
                who = f"another run{f' (process {holder})' if holder else ''} is using this folder"
                raise ValueError(f"{folder}: {who}: wait until it ends, stop it, or choose another folder")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
                    break
            self._file.close()  # a run that has just ended deleted this file
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        _held.add(self)

    def close(self) -> None:
        """Releases the lock and deletes its file."""
        if not self._file.closed:
            if fcntl:  # elsewhere an open file can't be deleted
                self._path.unlink(missing_ok=True)
            self._file.close()
            if not fcntl:
                with contextlib.suppress(OSError):  # the next run has it already
                    self._path.unlink(missing_ok=True)

    def leave_to_parent(self) -> None:
        """Called in a forked process, such as one that prepares features, which must not keep the lock of a dead parent."""
        self._file.close()


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: [lock.leave_to_parent() for lock in list(_held)])


def _locked(file: object) -> bool:
    """Whether the lock was free and is now ours; always true on a file system without locks."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt:
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in TAKEN
    return True
