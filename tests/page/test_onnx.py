"""An exported model at the page: it is heard and shown as its checkpoint is, and what the file can't say is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_hearing import RATE, checkpoint_of

from models.checkpoints import Checkpoint
from models.transcription import Decoder
from page import hearing
from page.desk import Desk
from page.hearing import Recording, hear, load
from page.material import at_hand

SAID = "hello little moon (synthetic voice 500)"


def test_without_onnxruntime_the_file_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"no such file; export\.py writes"):
        load(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"model\.onnx needs onnxruntime.*: pip install -r requirements-export\.txt"):
        load(tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A forward-only checkpoint that knows two words, and files exported from it: whole.onnx and stream.onnx."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install -r requirements-export.txt")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -r requirements-export.txt")
    from models.onnx_graph import onnx_model

    folder, made = tmp_path_factory.mktemp("exported"), checkpoint_of(forward_only=True)
    training = {"words": ["yes", "no"], "calibration": {"slope": 0.5, "offset": -1.0, "unusual": 0.3}}
    checkpoint = Checkpoint(made.model, made.config, made.encoder, training)
    for name in ("whole", "stream"):
        (folder / f"{name}.onnx").write_bytes(onnx_model(checkpoint, name == "stream").SerializeToString())
    (folder / "broken.onnx").write_bytes(b"no graph")
    return checkpoint, folder


@pytest.mark.parametrize("name", ["whole", "stream"])
def test_an_exported_model_hears_as_its_checkpoint_does(exported, name):
    checkpoint, folder = exported
    audio = at_hand().utterances[1].audio(RATE)
    of_torch, of_onnx = hear(checkpoint, audio), hear(load(folder / f"{name}.onnx"), audio)
    assert torch.equal(of_torch.features, of_onnx.features)
    torch.testing.assert_close(of_torch.rows, of_onnx.rows, atol=1e-4, rtol=0)
    one, other = (utterance.decoded(Decoder(beam=4)) for utterance in (of_torch, of_onnx))
    assert (one["text"], one["characters"], one["doubt"]) == (other["text"], other["characters"], other["doubt"])
    assert one["confidence"] == pytest.approx(other["confidence"], abs=0.002)


def test_a_stream_is_written_while_it_is_said(exported):
    checkpoint, folder = exported
    audio, texts = at_hand().utterances[1].audio(RATE), []
    recording = Recording(load(folder / "stream.onnx"), RATE, Decoder())
    for piece in audio.split(777):
        recording.accept(piece.numpy())
        texts.append(recording.heard.text)
    utterance = recording.finish()
    torch.testing.assert_close(utterance.rows, hear(checkpoint, audio).rows, atol=1e-4, rtol=0)
    assert recording.heard.text == utterance.decoded(Decoder())["text"] and len(set(texts)) > 3


def test_the_page_says_what_the_file_can_not_do(exported):
    checkpoint, folder = exported
    desk = Desk(at_hand())
    assert "does not say how many weights" in desk.choose(folder / "stream.onnx")
    assert desk.checkpoint.words == checkpoint.words and desk.checkpoint.calibration == checkpoint.calibration
    desk.take_recorded(SAID)
    before = desk.utterance
    assert "only after the end of a recording: it was exported for whole utterances" in desk.choose(folder / "whole.onnx")
    torch.testing.assert_close(desk.utterance.rows, before.rows, atol=1e-4, rtol=0)
    desk.begin(RATE)
    assert "press Stop" in desk.listen(np.zeros(RATE // 10, np.float32))["note"]
    with pytest.raises(ValueError, match=r"broken\.onnx: not an ONNX model"):
        desk.choose(folder / "broken.onnx")
    assert desk.show()[0] and desk.checkpoint.model is not before.checkpoint.model
