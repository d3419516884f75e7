"""A run in its folder."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from helpers import TINY
from models.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from pictures.figures import training_curves
from speech.corpora import CorpusError, Problem
from training import assembly
from training import run as run_module
from training.assembly import start_run
from training.flags import parse_args
from training.folder import OpenFolder, choose_folder
from training.loop import Trainer, metrics_line, read_metrics
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


def test_metrics_without_a_number_are_null_and_read_again(run_folder, tmp_path):
    """No utterance of dev had frames enough for its text: there is no loss."""
    metrics = {"epoch": 1, "loss": 2.5, "dev_loss": math.nan, "dev_wer": math.inf}
    line = metrics_line(metrics)
    assert json.loads(line, parse_constant=pytest.fail) == metrics | {"dev_loss": None, "dev_wer": None} and line.endswith("\n")
    (tmp_path / "metrics.jsonl").write_text(line + '{"epoch": 2, "dev_loss": NaN}\n')  # as an older version wrote it
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert (first["epoch"], first["loss"]) == (1, 2.5)
    assert all(math.isnan(line["dev_loss"]) for line in (first, second))
    training_curves([first | {"dev_cer": 1.0, "blank_share": 0.5, "learning_rate": 1e-3}], "")
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_a_run_whose_dev_set_is_infeasible_goes_on_where_it_was_stopped(run_folder, tmp_path, monkeypatch):
    def infeasible(*arguments):
        return real(*arguments) | {"loss": math.nan}

    real = run_module.evaluate
    monkeypatch.setattr(run_module, "evaluate", infeasible)
    run = start_run(*parse_args([*TINY, "--epochs", "2", "--output-dir", str(tmp_path)]), "a test")
    run.epoch()
    run.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)["dev_loss"] is None
    again = start_run(*parse_args([*TINY, "--epochs", "2", "--resume", str(tmp_path)]), "a test")
    again.train()
    again.close()
    assert [line["epoch"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]


def test_a_wrapped_model_is_resumed(tmp_path):
    settings = parse_args([*TINY, "--epochs", "2", "--output-dir", str(tmp_path)])
    run = start_run(*settings, "a test")
    bare = run.trainer.model
    run.trainer.model = torch.nn.DataParallel(bare)
    run.save("last.pt")
    torch.nn.init.zeros_(next(bare.parameters()))
    run.resume()
    run.close()
    assert next(bare.parameters()).abs().max() > 0


def test_a_refused_resume_leaves_the_folder_as_it_was(run_folder, monkeypatch):
    real = assembly.assemble
    left_out = [Problem("a.wav", "bad")]
    monkeypatch.setattr(assembly, "assemble", lambda *settings: dataclasses.replace(real(*settings), left_out=left_out))
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    with pytest.raises(CheckpointError, match="can't resume with other settings: epochs was 2, is 3"):
        start_run(*parse_args([*TINY, "--epochs", "3", "--resume", str(run_folder)]), "a test")
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


@pytest.mark.parametrize("state", [{"epoch": "x"}, {"torch_rng": 5}, {"optimizer": {"state": {}}}, {"problems": [3]}, None])
def test_a_training_state_that_this_version_cannot_read_is_told(run_folder, tmp_path, state):
    shutil.copytree(run_folder, tmp_path, dirs_exist_ok=True)
    saved = load_checkpoint(tmp_path / "last.pt")
    changed = state and saved.training["trainer"] | state
    save_checkpoint(tmp_path / "last.pt", saved.model, saved.config, saved.encoder, saved.training | {"trainer": changed})
    with pytest.raises(CheckpointError, match=r"last.pt: the training state in it can't be read .* --checkpoint .*last.pt"):
        start_run(*parse_args([*TINY, "--epochs", "2", "--resume", str(tmp_path)]), "a test")
