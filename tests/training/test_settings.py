"""Settings: what differs is named, in one voice wherever a run is not to be resumed."""

from __future__ import annotations

import pytest

from models.checkpoints import CheckpointError
from training.settings import differences, refuse_to_resume


def test_what_differs_is_named_with_both_values_in_the_order_asked():
    was, now = {"lr": 0.1, "seed": 3, "more": "is not asked for"}, {"seed": 4, "lr": 0.1, "join": 2}
    assert differences(was, now) == ["seed was 3, is 4", "join was None, is 2"]
    assert differences(now, now) == []


def test_nothing_different_is_no_refusal_and_anything_is_told_with_what_to_do():
    refuse_to_resume("another model", [])
    with pytest.raises(CheckpointError) as told:
        refuse_to_resume("another model", ["n_rnn was 1, is 2", "dropout was 0, is 1"])
    assert str(told.value) == (
        "can't resume with another model: n_rnn was 1, is 2; dropout was 0, is 1. Give the flags that the run was started with, "
        "or start a new run from its weights with --checkpoint"
    )
