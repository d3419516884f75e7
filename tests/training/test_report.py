"""What comes of a run: the best weights on the run's own device, what it is made of in words."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from helpers import TINY
from implementation import CharEncoder
from models.checkpoints import ModelConfig
from training import report
from training.assembly import assemble, start_run
from training.flags import parse_args
from training.report import describe, finish
from training.settings import LanguageModelSettings


def test_the_best_weights_and_the_search_are_on_the_device_of_the_run(small_corpus, tmp_path, monkeypatch):
    folder, _ = small_corpus
    run = start_run(*parse_args([*TINY, "--data", str(folder), "--epochs", "1", "--output-dir", str(tmp_path / "run")]), "a test")
    run.train()
    asked, loaded, decoded = [], [], []
    real = report.load_checkpoint, report.network_outputs

    def load(path, *device):
        asked.extend(device)
        loaded.append(real[0](path))
        return loaded[-1]

    monkeypatch.setattr(report, "load_checkpoint", load)
    monkeypatch.setattr(report, "network_outputs", lambda model, *a: (decoded.append(model), real[1](model, *a))[1])
    run.trainer.device = torch.device("cpu", 0)  # another than the default "cpu", though the same machine
    finish(run, LanguageModelSettings(folder / "lm.arpa", beam=2, tune_beam=2))
    assert asked == [torch.device("cpu", 0)] * len(loaded) and loaded
    assert len(decoded) == 3 and all(model is loaded[-1].model for model in decoded)  # dev for its calibration, dev and test


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "2 convolutions, 1 bidirectional gru layer of 16 units, batch norm on the layers' output"),
        ({"batch_norm": "input"}, "batch norm on W h (the paper's Eq. 8)"),
        ({"batch_norm": "none"}, "of 16 units, no batch norm"),
        ({"batch_norm": "step", "rnn_type": "rnn"}, "batch norm on each step alone (the paper's Eq. 7)"),
        (
            {"bidirectional": False, "convolutions": "1-layer 1D", "time_strides": [2]},
            "1 convolution, 1 forward-only gru layer of 16 units",
        ),
        (
            {"bidirectional": False, "row_conv": 4},
            "gru layer of 16 units, a row convolution that looks 4 frames ahead, batch norm",
        ),
        ({"fc_hidden": 5}, "gru layer of 16 units, a fully connected layer of 5 units, batch norm"),
        ({"time_strides": [3, 1]}, "33 bins at 16000 Hz, normalised over the utterance, an output every 30 ms"),
    ],
)
def test_a_run_is_described_as_it_is(changed, words, capsys):
    speech, model, training, _ = parse_args(TINY)
    describe(assemble(speech, dataclasses.replace(model, **changed), training))
    out = " ".join(capsys.readouterr().out.split())
    assert words in out and "machine: cpu" in out and "training: 8 utterances" in out
    weights = sum(p.numel() for p in ModelConfig.build(dataclasses.replace(model, **changed), CharEncoder()).parameters())
    assert f"{weights / 1e6:.2f} M weights" in out
