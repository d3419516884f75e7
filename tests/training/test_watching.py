"""watching.py: a training in a notebook shows a bar where someone watches, and does the same where nobody does."""

from __future__ import annotations

import pytest
import torch

import training.watching
from implementation import CharEncoder, DeepSpeech2, generate_synthetic_dataset
from training.data import TrainingSet
from training.loop import Trainer
from training.settings import TrainingSettings
from training.watching import watched_epochs

ENCODER = CharEncoder()


def trainer():
    torch.manual_seed(0)
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8)
    return Trainer(model, TrainingSet(SPEECH, ENCODER, model), TrainingSettings(epochs=2, batch_size=2))


SPEECH = generate_synthetic_dataset(4, min_words=1, max_words=1)


@pytest.mark.parametrize("watched", [True, False])
def test_each_epoch_is_reported_and_the_bar_shows_only_to_a_watcher(monkeypatch, capsys, watched):
    monkeypatch.setattr(training.watching, "watched", lambda: watched)
    losses: list[float] = []
    reports = list(watched_epochs(trainer(), "small", losses))
    out, err = capsys.readouterr()
    assert [report.epoch for report in reports] == [1, 2] and len(losses) == 4
    assert reports[1].loss == pytest.approx(sum(losses[2:]) / 2)
    assert ("small epoch 2/2" in out) == watched and err == ""
