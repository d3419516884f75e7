"""A small model, and trainers of it."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from implementation import CharEncoder, Features, generate_synthetic_dataset
from models.checkpoints import ModelConfig
from speech.augmentation import Augmentation
from training.data import TrainingSet
from training.loop import Trainer
from training.settings import TrainingSettings

SMALL = ModelConfig(features=Features(n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=12, dropout=0.1)


@functools.cache
def _speech() -> list:
    np.random.seed(0)
    torch.manual_seed(0)
    return generate_synthetic_dataset(7, max_words=2)


def make_trainer(seed: int = 3, device: str = "cpu", **settings) -> Trainer:
    """A trainer of a new small model on seven utterances; ``settings`` as TrainingSettings names them."""
    speech, encoder = _speech(), CharEncoder()
    np.random.seed(0)
    torch.manual_seed(0)
    model = SMALL.build(encoder).to(device)
    data = TrainingSet(speech, encoder, model, Augmentation(), seed)
    given = {"epochs": 4, "batch_size": 2, "lr": 1e-2, "precision": "fp32"} | settings
    return Trainer(model, data, TrainingSettings(**given))


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.state_dict().values()])
