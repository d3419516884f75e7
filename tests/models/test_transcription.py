"""Audio to text with a model: times of what was found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import transcribe
from models.checkpoints import load_checkpoint
from speech.alphabets import BigramEncoder


def test_times_are_of_the_labels_that_were_found(small_corpus, monkeypatch):
    """c after ab and x, in an alphabet where the same text may also be cut as a, b: its time is that of its own frame."""
    folder, _ = small_corpus
    encoder, (blank, x, pair, c) = BigramEncoder(["a", "b", "c", "x", "ab"]), (0, 4, 5, 3)
    path = [x, blank, pair, blank, c, blank, blank, blank, blank, blank]
    log_probs = np.log(np.where(np.eye(6)[path] == 1, 0.95, 0.01)).astype(np.float32)
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    model = checkpoint.model
    monkeypatch.setattr(model, "forward", lambda features, lengths: (torch.tensor(log_probs)[:, None], torch.tensor([10])))
    checkpoint.encoder = encoder
    for decoder in (None, transcribe.Decoder(beam=4)):
        found = transcribe.transcribe(checkpoint, folder / "0.wav", decoder, times=True)
        hop = model.time_stride * 0.01
        assert found["text"] == "xabc" and [unit["text"] for unit in found["characters"]] == ["x", "ab", "c"]
        assert [unit["start"] for unit in found["characters"]] == pytest.approx([0.0, 2 * hop, 4 * hop])
