"""What a reader chooses at a page, right and wrong."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from test_hearing import RATE, checkpoint_of

from models.checkpoints import CheckpointError, save_checkpoint
from page.desk import MOST_DESKS, Desk, Desks
from page.hearing import Change
from page.material import NO_MODEL, OF_TRAINING, at_hand

SEARCH = (10, OF_TRAINING, 0.5, 1.0, False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint that hears streams, and one that does not."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, forward_only in (("live.pt", True), ("whole.pt", False)):
        checkpoint = checkpoint_of(forward_only)
        save_checkpoint(folder / name, checkpoint.model, checkpoint.config, checkpoint.encoder)
    return folder


@pytest.fixture
def desk(files):
    desk = Desk(at_hand())
    desk.choose(files / "live.pt")
    return desk


def test_a_recorded_utterance_is_heard_and_searched_again(desk):
    desk.search(*SEARCH)
    desk.take_recorded("hello little moon (synthetic voice 500)")
    result, table = desk.show()
    assert "What was said: hello little moon" in result and "0.5 &times; " in table
    desk.search(10, NO_MODEL, 0.5, 1.0, False)
    assert set(re.findall(r"([\d.]+) &times; ", desk.show()[1])) == {"0"}  # without a language model its weights weigh nothing


def test_with_the_lexicon_only_its_words_are_written(desk):
    desk.search(10, OF_TRAINING, 0.5, 1.0, True)
    desk.take_recorded("hello little moon (synthetic voice 500)")
    text = desk.utterance.decoded(desk.decoder)["text"]
    assert set(text.split()) <= set(desk.material.texts)


def test_the_words_that_a_checkpoint_names_are_the_known_ones(desk):
    desk.checkpoint.training["words"] = ["yes", "no"]
    desk.search(10, OF_TRAINING, 0.5, 1.0, True)
    assert desk.decoder.scorer.model.vocabulary == {"yes", "no"}
    del desk.checkpoint.training["words"]


def test_another_checkpoint_hears_the_same_utterance(desk, files):
    desk.take_recorded("hello little moon (synthetic voice 500)")
    before = desk.utterance
    assert "bidirectional" in desk.choose(files / "whole.pt")
    assert torch.equal(desk.utterance.audio, before.audio) and not torch.equal(desk.utterance.rows[:10], before.rows[:10])
    assert "while you speak" in desk.choose(files / "live.pt")
    assert torch.equal(desk.utterance.rows, before.rows)


def test_a_damaged_checkpoint_is_refused_and_the_old_one_stays(desk, files, tmp_path):
    data = bytearray((files / "live.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.pt").write_bytes(data)
    before = desk.checkpoint
    with pytest.raises(CheckpointError, match="damaged"):
        desk.choose(tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        desk.choose(tmp_path / "none.pt")
    assert desk.checkpoint is before


def test_a_recording_becomes_the_utterance(desk):
    begun = desk.begin(RATE)
    assert begun == {"text": "", "partial": "", "note": ""}
    said = desk.listen(np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32))
    assert said["picture"].startswith("<div") and (said["text"] or said["partial"])
    assert "picture" not in desk.listen(np.zeros(RATE // 10, np.float32))  # not yet another one
    assert "picture" in desk.listen(np.zeros(RATE // 10, np.float32))
    desk.end()
    assert desk.utterance.seconds == 2.2
    with pytest.raises(ValueError, match="press Record"):
        desk.listen(np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="must lie between"):
        desk.begin(0)


def test_a_changed_utterance_is_played_as_it_is_heard(desk):
    assert desk.change(Change()) == (None, "")
    desk.take_recorded("hello little moon (synthetic voice 500)")
    (rate, samples), html = desk.change(Change())
    assert rate == RATE and "stays the same" in html
    assert np.abs(samples / 32767 - desk.utterance.audio.numpy()).max() < 1e-4
    (_, fast), _ = desk.change(Change(speed=2.0))
    assert len(fast) == math.ceil(len(samples) / 2)
    desk.utterance = dataclasses.replace(desk.utterance, audio=9 * desk.utterance.audio)
    (_, loud), _ = desk.change(Change())
    assert (loud * desk.utterance.audio.numpy() >= 0).all()  # beyond full scale it stays there


def test_only_the_newest_pages_are_remembered():
    desks = Desks(at_hand())
    tokens = [desks.open() for _ in range(MOST_DESKS + 1)]
    assert len(set(tokens)) == len(tokens) and min(map(len, tokens)) > 20  # no other program guesses them
    assert desks.of(tokens[-1]) is not desks.of(tokens[1])
    with pytest.raises(ValueError, match="reload this page"):
        desks.of(tokens[0])
    with pytest.raises(ValueError, match="choose another one"):
        desks.of(tokens[1]).take_file("a.wav")  # nothing is chosen yet
