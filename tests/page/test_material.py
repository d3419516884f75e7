"""What there is to choose from, and in which order."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import torch

import demo
from helpers import write_audio
from implementation import CharEncoder
from page.material import NO_MODEL, OF_TRAINING, at_hand, checkpoints, language_models, of_corpus, scorer_of


def make(folder, *names):
    for age, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        os.utime(folder / name, (1e9 - age, 1e9 - age))


def test_spoken_commands_come_first_then_the_newest_run(tmp_path):
    make(tmp_path, "runs/002/checkpoint.pt", "runs/001/checkpoint.pt", "models/a.pt", "runs/001/last.pt")
    names = [path.relative_to(tmp_path).as_posix() for path in checkpoints(folder=tmp_path)]
    assert names == ["runs/002/checkpoint.pt", "runs/001/checkpoint.pt", "models/a.pt"]
    make(tmp_path, "models/commands_en.pt")
    names = [path.relative_to(tmp_path).as_posix() for path in checkpoints(folder=tmp_path)]
    assert names == ["models/commands_en.pt", "models/a.pt", "runs/002/checkpoint.pt", "runs/001/checkpoint.pt"]
    first = tmp_path / "runs" / "001" / "checkpoint.pt"
    assert checkpoints(first, tmp_path)[0] == first and len(checkpoints(first, tmp_path)) == 4
    make(tmp_path, "models/commands_en.onnx", "runs/001/model.onnx")
    names = [path.relative_to(tmp_path).as_posix() for path in checkpoints(folder=tmp_path)]
    assert len(names) == 6 and names[4:] == ["models/commands_en.onnx", "runs/001/model.onnx"]  # they may lack onnxruntime


def test_recordings_beside_the_models_are_offered_first(tmp_path):
    write_audio(tmp_path / "models" / "yes.wav", seconds=0.5)
    first, second = at_hand(tmp_path).utterances[:2]
    assert (first.name, first.reference, len(first.audio(16000))) == ("yes.wav", "", 8000)
    assert second.reference == "hello little moon"


def test_the_embedded_voice_says_the_same_each_time():
    one, two = at_hand(), at_hand()
    first = one.utterances[1].audio(8000)
    torch.manual_seed(5)
    np.random.seed(5)
    before, of_numpy = torch.random.get_rng_state(), np.random.get_state()[2]
    assert torch.equal(first, two.utterances[1].audio(8000))
    assert torch.equal(torch.random.get_rng_state(), before) and np.random.get_state()[2] == of_numpy
    assert set(" ".join(u.reference for u in one.utterances).split()) <= set(one.texts)


def test_utterances_of_a_corpus_are_those_kept_out_of_training(small_corpus):
    folder, samples = small_corpus
    material = of_corpus(folder)
    assert [u.reference for u in material.utterances] == [sample.transcript for sample in samples[9:]]
    assert material.texts == [sample.transcript for sample in samples[:6]]
    assert torch.allclose(material.utterances[0].audio(8000), samples[9].audio, atol=1e-4)
    assert language_models(folder / "run" / "checkpoint.pt", folder / "lm.arpa") == [
        str(folder / "lm.arpa"), OF_TRAINING, NO_MODEL,
    ]  # fmt: skip
    scorer = scorer_of(str(folder / "lm.arpa"), CharEncoder(), material.texts, False)
    assert scorer.model.order == 2
    assert scorer_of(NO_MODEL, CharEncoder(), material.texts, False) is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--port", "70000"], "--port must lie between"),
        (["--lm", "none.arpa"], "no such file"),
        (["none.pt"], "no such file"),
        ([], "train one that writes while you speak"),
    ],
)
def test_what_is_wrong_is_one_sentence(flags, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "page.server", None)  # no page may open
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(demo.main(flags))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and sentence in " ".join(said.split()) and "Traceback" not in said


def test_without_gradio_the_file_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "page.server", None)  # no page may open
    assert demo.main([]) == 2
    assert "pip install -r requirements-demo.txt" in capsys.readouterr().err
