"""The folder of a run: one run at a time, from its first second until it ends, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train_minimal
from helpers import ROOT, TINY
from training import assembly, folder
from training.assembly import start_run
from training.flags import parse_args
from training.folder import LOCK_FILE, FolderLock, OpenFolder
from training.report import finish
from training.settings import OutputSettings


def test_a_second_run_is_refused_from_the_first_second_on(run_folder, tmp_path, monkeypatch, capsys):
    """Also one that resumes or replaces, and the folder stays as it is."""
    for output, given in (
        (OutputSettings(tmp_path / "new"), ["--output-dir", str(tmp_path / "new")]),
        (OutputSettings(run_folder, overwrite=True), ["--output-dir", str(run_folder), "--overwrite"]),
        (OutputSettings(resume=run_folder), ["--resume", str(run_folder), "--epochs", "2"]),
    ):
        at_work = OpenFolder(folder.choose_folder(output), output)
        before = {path.name: path.read_bytes() for path in at_work.path.iterdir()}
        assert train_minimal.main([*TINY, *given]) == 2
        said = capsys.readouterr().err
        assert f"{at_work.path}: another run (process {os.getpid()}) is using this folder: wait" in said
        assert {path.name: path.read_bytes() for path in at_work.path.iterdir()} == before
        at_work.close()
        assert not (at_work.path / LOCK_FILE).exists()


def test_the_folder_is_locked_before_the_speech_is_read_and_until_the_last_result(tmp_path, monkeypatch):
    real, seen = assembly.assemble, []

    def assemble(*settings):
        with pytest.raises(ValueError, match="another run"):
            OpenFolder(tmp_path / "run", output)
        seen.append("assemble")
        return real(*settings)

    monkeypatch.setattr(assembly, "assemble", assemble)
    settings = parse_args([*TINY, "--epochs", "1", "--output-dir", str(tmp_path / "run")])
    output = settings[3]
    run = start_run(*settings, "a test")
    run.train()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    finish(run)
    assert seen == ["assemble"] and not (tmp_path / "run" / LOCK_FILE).exists()


def test_the_lock_of_a_dead_process_stands_in_nobodys_way(tmp_path):
    """It was killed, so the file is still there."""
    code = (
        f"from pathlib import Path; from training.folder import FolderLock; lock = FolderLock(Path({str(tmp_path)!r})); print(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.read(1) == b"1"
        with pytest.raises(ValueError, match=rf"another run \(process {other.pid}\)"):
            FolderLock(tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (tmp_path / LOCK_FILE).exists()
    FolderLock(tmp_path).close()
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    lock = FolderLock(tmp_path)
    (stay, leave), (begun, begin) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.close(leave)
        os.write(begin, b"1")
        os.read(stay, 1)  # lives on after the lock's owner has closed
        os._exit(0)
    os.read(begun, 1)
    lock._file.close()  # as the end of the process does
    FolderLock(tmp_path).close()
    os.close(leave)
    os.waitpid(child, 0)


@pytest.mark.parametrize("missing", ["fcntl", "locks"])
def test_without_locks_a_run_still_starts(tmp_path, monkeypatch, missing):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if missing == "fcntl":
        monkeypatch.setattr(folder, "fcntl", None)
    else:
        monkeypatch.setattr(folder.fcntl, "flock", no_locks)
    FolderLock(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_where_fcntl_is_missing_that_of_windows_locks(tmp_path, monkeypatch):
    class Windows:
        LK_NBLCK, held = 2, False

        def locking(self, _number, mode, size):
            assert (mode, size) == (2, 1)
            if self.held:
                raise OSError(errno.EACCES, "Permission denied")
            self.held = True

    monkeypatch.setattr(folder, "fcntl", None)
    monkeypatch.setattr(folder, "msvcrt", Windows())
    lock = FolderLock(tmp_path)
    with pytest.raises(ValueError, match="another run"):
        FolderLock(tmp_path)
    lock.close()


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path, monkeypatch, capsys):
    def immutable(*_arguments, **_named):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(folder, "open", immutable, raising=False)
    assert train_minimal.main([*TINY, "--output-dir", str(tmp_path)]) == 2
    assert "can't be made or written to (Operation not permitted): choose another --output-dir" in capsys.readouterr().err
    monkeypatch.setattr(folder.tempfile, "TemporaryFile", immutable)
    with pytest.raises(ValueError, match=r"nothing can be written there \(Operation not permitted\); elsewhere"):
        folder.refuse_unwritable(tmp_path, "elsewhere")


def test_what_is_given_up_leaves_no_folder_unless_something_is_in_it(tmp_path):
    output = OutputSettings(tmp_path / "a" / "b")
    OpenFolder(tmp_path / "a" / "b", output).give_up()
    assert list(tmp_path.iterdir()) == []
    opened = OpenFolder(tmp_path / "a" / "b", output)
    Path(tmp_path / "a" / "mine.txt").touch()
    opened.give_up()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]
