"""Runs saved within epochs, and taken up from there; full disks; steps without finite numbers; --resume without a folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import train_minimal
from helpers import TINY
from killing import different
from models.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from trainers import make_trainer, weights
from training import loop, run
from training.assembly import start_run
from training.flags import parse_args
from training.folder import OpenFolder, choose_folder, newest_unfinished
from training.settings import OutputSettings

FLAGS = [*TINY, "--epochs", "2"]  # of two steps each, as run_folder


class Killed(BaseException):
    """As SIGKILL, nothing handles it."""


@pytest.fixture(autouse=True)
def no_results(monkeypatch):
    monkeypatch.setattr(train_minimal, "finish", lambda *_: None)


def position(folder: Path) -> tuple[int, int]:
    """Epochs and steps done when last.pt was saved."""
    state = load_checkpoint(folder / "last.pt").training["trainer"]
    return state["epoch"], state["batch"]


def dies_in_step(monkeypatch, number: int) -> None:
    """The process is gone while that step is done, counted from 1."""
    real, calls = torch.optim.AdamW.step, []

    def step(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


def trained_state(folder: Path) -> dict:
    return torch.load(folder / "last.pt", weights_only=True)


class TestSaving:
    @pytest.mark.parametrize(("minutes", "step", "expected"), [("0", 2, (0, 1)), ("9", 4, (1, 0)), ("9", 1, (0, 0))])
    def test_a_run_that_dies_is_taken_up_from_what_was_saved_last(
        self, run_folder, tmp_path, monkeypatch, minutes, step, expected
    ):
        with monkeypatch.context() as patch:
            dies_in_step(patch, step)
            with pytest.raises(Killed):
                train_minimal.main([*FLAGS, "--save-minutes", minutes, "--output-dir", str(tmp_path / "run")])
        assert position(tmp_path / "run") == expected
        for name in ("last.tmp.pt", "predictions.tmp.png"):
            (tmp_path / "run" / name).write_bytes(b"half of it")  # as SIGKILL leaves it
        assert train_minimal.main([*FLAGS, "--resume", str(tmp_path / "run")]) == 0
        assert different(trained_state(run_folder), trained_state(tmp_path / "run")) == []
        assert not list((tmp_path / "run").glob("*.tmp*"))

    def test_it_is_saved_when_so_many_minutes_are_over(self, tmp_path, monkeypatch):
        now, saved = [0.0], []
        monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
        started = start_run(*parse_args([*FLAGS, "--batch-size", "1", "--epochs", "1", "--output-dir", str(tmp_path)]), "a test")
        real_save, real_stop = started.save, run._stop_if_asked
        monkeypatch.setattr(run, "_stop_if_asked", lambda noted: (real_stop(noted), now.__setitem__(0, now[0] + 240)))
        monkeypatch.setattr(started, "save", lambda name: (saved.append((name, started.trainer.batch)), real_save(name)))
        with started:
            started.train()
        assert saved[:3] == [("last.pt", 0), ("last.pt", 3), ("last.pt", 6)] and saved[-1] == ("last.pt", 0)

    def test_what_one_stopped_while_the_best_weights_are_written_is_evaluated_again(self, run_folder, tmp_path, monkeypatch):
        real, calls = run.save_checkpoint, []

        def save(path, *rest):
            calls.append(path.name)
            if calls.count("checkpoint.pt") == 1 and path.name == "checkpoint.pt":
                raise KeyboardInterrupt  # a second Ctrl-C
            real(path, *rest)

        monkeypatch.setattr(run, "save_checkpoint", save)
        assert train_minimal.main([*FLAGS, "--output-dir", str(tmp_path / "run")]) == 130
        assert load_checkpoint(tmp_path / "run" / "last.pt").training["report"]["epoch"] == 1
        assert train_minimal.main([*FLAGS, "--resume", str(tmp_path / "run")]) == 0
        assert different(trained_state(run_folder), trained_state(tmp_path / "run")) == []
        assert calls.count("checkpoint.pt") >= 2

    def test_before_the_first_step_ctrl_c_leaves_the_run_that_it_was_to_take_up(self, tmp_path, monkeypatch, capsys):
        with monkeypatch.context() as patch:
            dies_in_step(patch, 1)
            with pytest.raises(Killed):
                train_minimal.main([*FLAGS, "--output-dir", str(tmp_path / "run")])

        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(run.Run, "epoch", stop)
        assert train_minimal.main([*FLAGS, "--resume", str(tmp_path / "run")]) == 130
        assert position(tmp_path / "run") == (0, 0)


class TestFullDisk:
    @pytest.mark.parametrize(("write", "expected"), [(3, (0, 1)), (4, (0, 2))])
    def test_in_the_middle_of_an_epoch_it_is_a_sentence_and_the_run_goes_on_later(
        self, run_folder, tmp_path, monkeypatch, capsys, write, expected
    ):
        """Writes: before the first step, after the first and the second, then the epoch's best weights."""
        real, calls = torch.save, []

        def full(content, path):
            calls.append(path)
            if len(calls) == write:
                path.write_bytes(b"half")
                raise RuntimeError("[enforce fail at inline_container.cc]\nmore")
            real(content, path)

        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", full)
            assert train_minimal.main([*FLAGS, "--save-minutes", "0", "--output-dir", str(folder)]) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(said) == 1 and "can't be written; is the disk full?" in said[0]
        assert f"{folder / 'last.pt'} is intact" in said[0] and f"--resume {folder}" in said[0]
        assert position(folder) == expected and not list(folder.glob("*.tmp*"))
        assert train_minimal.main([*FLAGS, "--resume", str(folder)]) == 0
        assert different(trained_state(run_folder), trained_state(folder)) == []

    def test_before_the_first_step_it_is_told_at_once(self, tmp_path, monkeypatch, capsys):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full)
        assert train_minimal.main([*FLAGS, "--output-dir", str(tmp_path / "run")]) == 2
        said = capsys.readouterr().err
        assert "last.pt can't be written; is the disk full? (No space left on device)" in said and "is intact" not in said


def not_finite(patch: pytest.MonkeyPatch, steps: range, value: float = torch.nan) -> None:
    """The loss of these training steps, counted from 0, is such a number."""
    real, calls = loop.train_step, []

    def train_step(model, batch, optimizer):
        calls.append(1)
        if len(calls) - 1 not in steps:
            return real(model, batch, optimizer)
        output = model.output.forward
        model.output.forward = lambda x: output(x) * value
        try:
            return real(model, batch, optimizer)
        finally:
            del model.output.forward

    patch.setattr(loop, "train_step", train_step)


class TestSkippedSteps:
    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_nothing_changes_in_them_and_their_utterances_are_named(self, monkeypatch, value):
        trainer, seen = make_trainer(epochs=2), []
        not_finite(monkeypatch, range(1, 2), value)

        def look(loss, utterances):
            moments = [torch.cat([m.flatten() for m in s.values()]) for s in trainer.optimizer.state.values()]
            seen.append((loss, weights(trainer), torch.cat(moments), trainer.scheduler.get_last_lr(), utterances))

        report = trainer.run_epoch(look)
        assert [loss != loss for loss, *_ in seen] == [False, True, False, False]
        assert torch.equal(seen[0][1], seen[1][1]) and torch.equal(seen[0][2], seen[1][2])
        assert not torch.equal(seen[1][1], seen[2][1]) and seen[0][3] != seen[1][3]  # the schedule goes on
        finite = [(loss, utterances) for loss, *_, utterances in seen if loss == loss]
        mean = sum(loss * utterances for loss, utterances in finite) / sum(utterances for _, utterances in finite)
        assert report.skipped_steps == 1 and report.loss == pytest.approx(mean)
        assert trainer.skipped_in_a_row == 0 and trainer.tally.skipped == []  # of the next epoch

    def test_they_are_told_counted_and_kept_by_a_run_that_is_stopped(self, tmp_path, monkeypatch, capsys):
        not_finite(monkeypatch, range(1, 2))
        assert train_minimal.main([*FLAGS, "--output-dir", str(tmp_path / "run")]) == 0
        out = capsys.readouterr().out
        told = next(line for line in out.splitlines() if "skipped," in line)
        assert told.startswith("step 2 skipped, the loss is nan: utterance ") and told.count("utterance ") == 4
        assert out.count("1 steps skipped") == 1
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        assert [line["skipped_steps"] for line in lines] == [1, 0]

    def test_many_in_a_row_end_the_run_by_name_of_what_is_good(self, tmp_path, monkeypatch, capsys):
        not_finite(monkeypatch, range(3, 99))
        monkeypatch.setattr(loop, "MOST_SKIPPED_IN_A_ROW", 3)
        command = [*TINY, "--batch-size", "3", "--epochs", "3", "--save-minutes", "0", "--output-dir", str(tmp_path / "run")]
        assert train_minimal.main(command) == 2  # in the second epoch: its steps are the fourth to the sixth
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(said) == 1 and "3 steps in a row had a loss or gradient that is not finite" in said[0]
        assert f"the last good checkpoint is {tmp_path / 'run' / 'last.pt'}" in said[0]
        assert f"the best weights on dev are in {tmp_path / 'run' / 'checkpoint.pt'}" in said[0]
        assert position(tmp_path / "run") == (1, 0)  # from before the first of them

    def test_their_number_in_a_row_goes_on_over_epochs_and_in_a_resumed_run(self, monkeypatch):
        not_finite(monkeypatch, range(2, 99))
        monkeypatch.setattr(loop, "MOST_SKIPPED_IN_A_ROW", 3)
        trainer, resumed = make_trainer(epochs=2), make_trainer(epochs=2)
        trainer.run_epoch()
        state = trainer.state_dict()
        assert state["skipped_in_a_row"] == 2
        resumed.load_state_dict(state)
        with pytest.raises(FloatingPointError, match="3 steps in a row"):
            resumed.run_epoch()
        assert resumed.batch == 1

    def test_of_a_large_minibatch_some_utterances_are_named(self, monkeypatch):
        monkeypatch.setattr(loop, "MOST_NAMED", 2)
        trainer = make_trainer(epochs=1, batch_size=7)
        not_finite(monkeypatch, range(1))
        told = []
        trainer.run_epoch(lambda *_: told.extend(trainer.tally.skipped))
        assert told[0].count("utterance ") == 2 and told[0].endswith(" and 5 more")

    def test_weights_that_are_no_numbers_are_never_saved_over_good_ones(self, tmp_path, capsys, monkeypatch):
        real = run._stop_if_asked

        def breaks(noted):
            real(noted)
            if started.trainer.step == 2:
                torch.nn.init.constant_(started.trainer.model.output.bias, torch.inf)

        monkeypatch.setattr(run, "_stop_if_asked", breaks)
        started = start_run(*parse_args([*FLAGS, "--save-minutes", "0", "--output-dir", str(tmp_path)]), "a test")
        told = r"the weights hold nan or infinity \(output.bias\).*last good checkpoint is .*last\.pt"
        with started, pytest.raises(FloatingPointError, match=told):
            started.train()
        assert position(tmp_path) == (0, 1)

    def test_audio_too_loud_for_finite_features_is_left_out_by_name(self, monkeypatch):
        data = make_trainer(epochs=1).data
        sample = data.samples[2]
        data.samples = [dataclasses.replace(sample, audio=1e30 * sample.audio) if s is sample else s for s in data.samples]
        assert str(data[2]).startswith("utterance 2: audio holds values that are not finite")
        monkeypatch.setattr(data, "features", lambda audio, _rate: torch.full((33, len(audio) // 80), torch.nan))
        assert "utterance 1: its features are not finite" in str(data[1])


class TestResumeWithoutAFolder:
    @pytest.fixture
    def runs(self, run_folder, tmp_path, monkeypatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for number, name in enumerate(("001", "002", "live")):
            folder = Path("runs", name)
            folder.mkdir(parents=True)
            shutil.copy(run_folder / "last.pt", folder)
            os.utime(folder / "last.pt", (1e9 + number, 1e9 + number))
        Path("runs", "003").mkdir()  # which was not saved yet
        return Path("runs")

    def test_the_one_saved_last_is_taken_and_named(self, runs, capsys):
        os.utime(runs / "001" / "last.pt", (2e9, 2e9))
        assert choose_folder(OutputSettings(resume=True)) == runs / "001"
        assert capsys.readouterr().out == f"--resume: {runs / '001'} is the newest unfinished run\n"

    def test_not_one_that_is_finished_or_at_work(self, runs):
        (runs / "live" / "results.json").touch()
        with_lm = newest_unfinished(runs, decoded=True)
        assert (newest_unfinished(runs, decoded=False), with_lm) == (runs / "002", runs / "live")
        at_work = OpenFolder(runs / "002", OutputSettings(resume=runs / "002"))
        assert newest_unfinished(runs, decoded=False) == runs / "001"
        at_work.close()
        assert newest_unfinished(runs, decoded=False) == runs / "002" and not (runs / "002" / "run.lock").exists()

    def test_where_there_is_none_it_is_a_sentence(self, runs, tmp_path, capsys):
        for name in ("001", "002", "live"):
            (runs / name / "results.json").touch()
        assert train_minimal.main([*FLAGS, "--resume"]) == 2
        assert "--resume: no run in runs/ is unfinished" in capsys.readouterr().err
        with pytest.raises(CheckpointError, match=r"no run in .* is unfinished"):
            newest_unfinished(tmp_path / "nowhere", decoded=False)

    def test_from_the_command_line(self, runs, run_folder, tmp_path, capsys):
        shutil.rmtree(runs / "live")
        trainer_state = trained_state(run_folder)["training"]
        loaded = load_checkpoint(runs / "002" / "last.pt")
        save_checkpoint(runs / "002" / "last.pt", loaded.model, loaded.config, loaded.encoder, trainer_state)
        assert train_minimal.main([*FLAGS, "--resume"]) == 0
        out = capsys.readouterr().out
        assert "--resume: runs/002 is the newest" in out and "runs/002: resumed after 2 epochs and 0 steps" in out

    def test_with_output_dir_it_is_that_folder(self):
        assert parse_args(["--resume", "--output-dir", "x"])[3].resume == "x"
        assert parse_args(["--resume"])[3].resume is True
