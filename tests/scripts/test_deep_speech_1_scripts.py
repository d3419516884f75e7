"""Deep Speech 1 by the scripts: trained, taken up again, transcribing files and streams, with jitter and without."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

import train_minimal
import transcribe
from models.checkpoints import load_checkpoint
from models.deep_speech_1 import DeepSpeech1
from models.jitter import Jittered
from training import report
from training.assembly import assemble
from training.flags import parse_args
from training.settings import DS1_LR

DS1 = ["--model", "ds1", "--context", "2", "--rnn-hidden", "16", "--n-fft", "64"]
FEW = ["--n-train", "8", "--n-val", "3", "--batch-size", "4", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny forward-only run with the paper's optimiser, and a recording."""
    folder = tmp_path_factory.mktemp("ds1")
    recipe = ["--forward-only", "--optimizer", "sgd", "--schedule", "anneal", "--lr", "1e-4", "--output-dir", str(folder / "run")]
    assert train_minimal.main([*DS1, *FEW, *recipe]) == 0
    soundfile.write(folder / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    return folder


def test_a_run_is_described_and_its_checkpoint_is_that_model(tmp_path, capsys, monkeypatch):
    heard, real = [], report.evaluate
    monkeypatch.setattr(report, "evaluate", lambda model, *more: (heard.append(type(model)), real(model, *more))[1])
    monkeypatch.setattr(report, "predictions", lambda *_: Figure((1, 1)))
    monkeypatch.setattr(report, "training_curves", lambda *_: Figure((1, 1)))
    assert train_minimal.main([*DS1, *FEW, "--jitter", "--output-dir", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "model: Deep Speech 1, 2 frames spliced on either side, every second frame kept, five layers of 16 units, the fourth a "
        in said
    )
    assert "bidirectional simple recurrence, 0.00 M weights; 33 bins at 16000 Hz" in said and "an output every 20 ms" in said
    assert heard == [Jittered]
    trained = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert type(trained.model) is DeepSpeech1 and trained.training["calibration"]
    assert (trained.config.model, trained.config.context, trained.config.dropout) == ("ds1", 2, 0.05)


def test_files_and_streams_are_transcribed(folder, capsys, monkeypatch):
    command = [str(folder / "run" / "checkpoint.pt"), str(folder / "a.wav"), "--json"]
    found, heard, real = [], [], transcribe.transcribe
    monkeypatch.setattr(transcribe, "transcribe", lambda given, *more: (heard.append(type(given.model)), real(given, *more))[1])
    for flags in ([], ["--stream"], ["--jitter"], ["--jitter", "--beam", "4", "--times"]):
        assert transcribe.main([*command, *flags]) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert found[0]["text"] == found[1]["text"] and all(line["seconds"] == 1.0 for line in found)
    assert heard == [DeepSpeech1, Jittered, Jittered]  # the stream has its own way


def test_jitter_and_a_stream_exclude_one_another(folder, capsys):
    with pytest.raises(SystemExit):
        transcribe.main([str(folder / "run" / "checkpoint.pt"), str(folder / "a.wav"), "--stream", "--jitter"])
    assert "--jitter needs whole files: leave out --jitter or --stream" in capsys.readouterr().err


def test_another_run_starts_from_its_weights_without_the_models_flags(folder, tmp_path, capsys):
    start = [*FEW, "--checkpoint", str(folder / "run" / "checkpoint.pt"), "--output-dir", str(tmp_path / "run")]
    for wrong, words in {
        "--rnn-hidden 24": "--rnn-hidden (it has 16)",
        "--model ds1 --context 5": "--context (it has 2)",
    }.items():
        assert train_minimal.main([*start, *wrong.split()]) == 2
        assert f"brings its own model: leave out {words}" in capsys.readouterr().err
    assert train_minimal.main([*start, "--model", "ds1"]) == 0
    assert type(load_checkpoint(tmp_path / "run" / "checkpoint.pt").model) is DeepSpeech1


def test_weights_of_deep_speech_1_go_on_with_its_learning_rate(folder):
    start = [*FEW, "--checkpoint", str(folder / "run" / "checkpoint.pt")]
    for more, lr in (([], DS1_LR), (["--lr", "0.5"], 0.5)):
        assert assemble(*parse_args([*start, *more])[:3]).trainer.settings.lr == lr


def test_it_is_not_taken_up_as_another_model(folder, capsys):
    resumed = [*FEW, "--resume", str(folder / "run"), "--n-fft", "64", "--forward-only", "--rnn-hidden", "16"]
    assert train_minimal.main(resumed) == 2
    assert "can't resume with another model: " in (said := capsys.readouterr().err) and "model was ds1, is ds2" in said
