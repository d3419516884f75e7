"""Files that are whole or not there: full disks, folders that may not be written to, the order of syncing and naming."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from implementation import CharEncoder
from models import writing
from models.checkpoints import load_checkpoint, save_checkpoint
from models.writing import whole_file, write_whole
from trainers import SMALL, make_trainer


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a full disk: no file gets larger; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    for text in ("first", "ümlaut"):
        write_whole(str(path), text)
        assert path.read_text(encoding="utf-8") == text and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whoever_ends_it_on_the_way_leaves_what_was_there(tmp_path, error):
    write_whole(tmp_path / "a.json", "before")
    with pytest.raises(error), whole_file(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "a.json").read_text() == "before" and names(tmp_path) == ["a.json"]


def test_it_is_on_the_disk_before_it_gets_its_name_and_the_name_is_too(tmp_path, monkeypatch):
    order, synced, replace = [], os.fsync, os.replace

    def fsync(number):
        order.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
        synced(number)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("named"), replace(*paths)))
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here")
    write_whole(tmp_path / "a.json", "x")
    assert order == ["a.tmp.json", "named", tmp_path.name]


def test_a_file_system_that_syncs_no_folders_is_good_enough_a_broken_disk_is_not(tmp_path, monkeypatch):
    def fails(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))
    write_whole(tmp_path / "a.json", "x")
    monkeypatch.setattr(os, "fsync", fails(errno.EIO))
    with pytest.raises(OSError, match=r"a\.json can't be written; is the disk full\? \(Input/output error\)"):
        write_whole(tmp_path / "a.json", "y")
    assert (tmp_path / "a.json").read_text() == "x"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_disk_that_fills_up_is_one_sentence_and_the_old_checkpoint_stays(tmp_path, share):
    trainer, path = make_trainer(), tmp_path / "last.pt"
    save_checkpoint(path, trainer.model, SMALL, CharEncoder(), {"note": 1})
    before = path.read_bytes()
    size = int(share * len(before))
    with files_of_at_most(size), pytest.raises(OSError, match=r"last\.pt can't be written; is the disk full\?") as told:
        save_checkpoint(path, trainer.model, SMALL, CharEncoder(), {"note": 2})
    assert "\n" not in str(told.value) and told.value.filename is None
    assert path.read_bytes() == before and names(tmp_path) == ["last.pt"]
    assert load_checkpoint(path).training == {"note": 1}


def test_a_text_too_long_for_the_disk_leaves_the_old_one(tmp_path):
    write_whole(tmp_path / "metrics.jsonl", "old")
    with files_of_at_most(10_000), pytest.raises(OSError, match="is the disk full"):
        write_whole(tmp_path / "metrics.jsonl", "x" * 20_000)
    assert (tmp_path / "metrics.jsonl").read_text() == "old" and names(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("number", writing.FORBIDDEN)
def test_a_folder_that_may_not_be_written_to_is_told_from_a_full_disk(tmp_path, monkeypatch, number):
    def forbidden(*_):
        raise OSError(number, os.strerror(number))

    write_whole(tmp_path / "a.json", "old")
    monkeypatch.setattr(os, "replace", forbidden)
    with pytest.raises(OSError, match=r"a\.json can't be written \(.+\); change the permissions of its folder$"):
        write_whole(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old" and names(tmp_path) == ["a.json"]


def test_what_is_wrong_is_told_before_torch_begins_to_write(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(OSError, match=r"last\.pt can't be written \(Read-only file system\); change the permissions"):
        save_checkpoint(tmp_path / "last.pt", make_trainer().model, SMALL, CharEncoder())


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(OSError, match=r"a\.json can't be written: its folder is gone"):
        write_whole(tmp_path / "gone" / "a.json", "x")
