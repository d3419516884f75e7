"""A run in its folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from helpers import TINY
from models.checkpoints import CheckpointError
from speech.corpora import CorpusError, Problem
from training import assembly
from training.assembly import start_run
from training.flags import parse_args
from training.folder import OpenFolder, choose_folder
from training.loop import Trainer
from training.settings import OutputSettings


def test_a_number_that_another_run_takes_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = OutputSettings()
    folders = [choose_folder(output) for _ in range(2)]  # both before either is made
    assert folders == [Path("runs/001")] * 2
    opened = [OpenFolder(folder, output) for folder in folders]
    assert [folder.path for folder in opened] == [Path("runs/001"), Path("runs/002")]


def test_what_is_left_out_is_written_down_and_the_old_run_cleared(tmp_path):
    for name in ("checkpoint.pt", "results.json", "mine.txt"):
        (tmp_path / name).touch()
    opened = OpenFolder(tmp_path, OutputSettings(tmp_path, overwrite=True))
    opened.clear([Problem("a.wav", "bad"), Problem("b.wav", "worse")])
    opened.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["left_out.txt", "mine.txt"]
    assert (tmp_path / "left_out.txt").read_text() == "a.wav: bad\nb.wav: worse\n"


def test_a_run_that_is_refused_at_the_last_moment_deletes_and_makes_nothing(tmp_path, monkeypatch):
    def full(_trainer):
        raise CorpusError("not enough memory")

    monkeypatch.setattr(Trainer, "try_longest_batch", full)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "checkpoint.pt").touch()
    for folder in ("old", "new"):
        with pytest.raises(CorpusError, match="not enough memory"):
            start_run(*parse_args([*TINY, "--output-dir", str(tmp_path / folder), "--overwrite"]), "a test")
    assert (tmp_path / "old" / "checkpoint.pt").exists() and not (tmp_path / "new").exists()


def test_a_refused_resume_leaves_the_folder_as_it_was(run_folder, monkeypatch):
    real = assembly.assemble
    left_out = [Problem("a.wav", "bad")]
    monkeypatch.setattr(assembly, "assemble", lambda *settings: dataclasses.replace(real(*settings), left_out=left_out))
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    with pytest.raises(CheckpointError, match="can't resume with other settings: epochs was 2, is 3"):
        start_run(*parse_args([*TINY, "--epochs", "3", "--resume", str(run_folder)]), "a test")
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before
