"""visualization.py as a user runs it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

import visualization
from helpers import ROOT
from implementation import generate_synthetic_audio
from pictures import paper_charts
from training import folder


@pytest.fixture(autouse=True)
def few_utterances(monkeypatch):
    """Of the synthetic voice, which otherwise takes most of the time."""
    real = visualization.generate_synthetic_dataset
    monkeypatch.setattr(visualization, "generate_synthetic_dataset", lambda n, *more, **named: real(n // 5, *more, **named))


def test_draws_everything_of_a_run(run_folder, tmp_path, monkeypatch, capsys):
    real, drawn = Figure.savefig, []

    def save(figure, path):  # all are drawn in test_figures.py; here two are enough
        real(figure, path) if path.stem in ("architecture", "beam_search_tree") else path.touch()
        drawn.append(figure)

    monkeypatch.setattr(Figure, "savefig", save)
    flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--output-dir", str(tmp_path)]
    assert visualization.main(flags) == 0
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    measured = "pipeline waveform_to_features architecture first_layer_filters activations ctc_output alignment beam_search_tree "
    assert pictures == {*measured.split(), "predictions", "row_convolution", "sortagrad", "training_curves", *paper_charts.CHARTS}
    assert len(set(drawn)) == len(pictures) and all(figure.axes for figure in drawn)
    for name in ("architecture", "beam_search_tree"):
        assert matplotlib.image.imread(tmp_path / f"{name}.png")[..., :3].std() > 0.03
    assert f"{len(pictures)} pictures in {tmp_path}" in capsys.readouterr().out


def test_takes_the_newest_run_and_trains_one_if_there_is_none(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = []

    def train(command, check):
        called.append(command[1])
        (tmp_path / "runs" / "001").mkdir(parents=True)
        (tmp_path / "runs" / "001" / "checkpoint.pt").write_bytes((run_folder / "checkpoint.pt").read_bytes())

    monkeypatch.setattr(visualization.subprocess, "run", train)
    assert visualization.newest_checkpoint() == Path("runs/001/checkpoint.pt")
    assert called == [str(ROOT / "train_minimal.py")]
    assert visualization.newest_checkpoint() == Path("runs/001/checkpoint.pt") and len(called) == 1


def test_what_a_corpus_can_not_give_is_named_and_the_rest_drawn(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Figure, "savefig", lambda _figure, path: path.touch())
    monkeypatch.setattr(paper_charts, "CHARTS", {})
    rows = ["path\ttranscript\tsplit\tseconds"]
    for i, (text, split) in enumerate([("hello", "train"), ("moon tree", "dev"), ("book", "dev"), ("5 apples", "dev")]):
        soundfile.write(tmp_path / f"{i}.wav", generate_synthetic_audio("hello moon", speaker=i).numpy(), 16000)
        rows.append(f"{i}.wav\t{text}\t{split}\t1.0")
    (tmp_path / "2.wav").write_bytes(b"no audio")
    (tmp_path / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--data", str(tmp_path), "--output-dir", str(tmp_path / "p")]
    assert visualization.main(flags) == 0
    out = capsys.readouterr().out
    assert "left out: " in out and "2.wav" in out and "character '5'" in out and "1 utterances that" in out


def test_the_utterances_looked_at_are_drawn_from_all_of_dev(small_corpus, monkeypatch, capsys):
    folder, samples = small_corpus
    monkeypatch.setattr(visualization, "N_SPEECH", 2)
    subject = visualization.read_subject(folder / "run" / "checkpoint.pt", folder)
    drawn = sorted(np.random.default_rng(0).choice(3, size=2, replace=False))
    assert [sample.transcript for sample in subject.speech] == [samples[6 + index].transcript for index in drawn]
    assert "dev: uses 2 of 3 utterances, drawn with seed 0" in capsys.readouterr().out


def test_a_folder_that_can_not_be_written_to_is_told_before_anything_is_drawn(run_folder, tmp_path, monkeypatch, capsys):
    def immutable(*_arguments, **_named):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(folder.tempfile, "TemporaryFile", immutable)
    flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--output-dir", str(tmp_path)]
    assert visualization.main(flags) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}: nothing can be written there (Operation not permitted); choose another --output-dir" in said


@pytest.mark.parametrize("flags", [["--checkpoint", "none.pt"], ["--checkpoint", "RUN", "--data", "no/such/folder"]])
def test_what_is_not_there_is_named(run_folder, flags, capsys):
    assert visualization.main([flag.replace("RUN", str(run_folder / "checkpoint.pt")) for flag in flags]) == 2
    assert flags[-1] in capsys.readouterr().err


def test_a_folder_that_can_not_be_made_is_told_before_the_speech_is_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(visualization, "read_subject", None)
    assert visualization.main(["--checkpoint", "c.pt", "--output-dir", str(tmp_path / "file" / "plots")]) == 2
    assert "this folder can't be made" in capsys.readouterr().err
