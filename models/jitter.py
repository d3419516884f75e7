"""Averages a model's output over a recording and two slightly shifted copies of it: Deep Speech 1's jitter at test time."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from implementation import DeepSpeech2, Features
from models.checkpoints import Checkpoint


def moved(audio: Tensor, samples: int) -> Tensor:
    """(N,) audio moved later by ``samples`` (earlier if negative), with silence in the gap; its length stays the same.

    >>> moved(torch.tensor([1.0, 2.0, 3.0]), 1).tolist(), moved(torch.tensor([1.0, 2.0, 3.0]), -1).tolist()
    ([0.0, 1.0, 2.0], [2.0, 3.0, 0.0])
    """
    silence = audio.new_zeros(min(abs(samples), len(audio)))
    kept = len(audio) - len(silence)
    return torch.cat((silence, audio[:kept])) if samples > 0 else torch.cat((audio[len(silence) :], silence))


@dataclass(frozen=True)
class JitteredFeatures(Features):
    """Features of the audio as it is, half a hop earlier, and half a hop later, stacked: (3 F, T)."""

    def __call__(self, audio: Tensor, rate: int | None = None) -> Tensor:
        """(samples,) waveform -> (3 F, T)."""
        half, once = round((rate or self.sample_rate) * self.stride_ms / 2000), super().__call__
        return torch.cat([once(moved(audio, samples), rate) for samples in (0, -half, half)])


class Jittered(nn.Module):
    """A model that takes each utterance as it is and shifted by half a hop either way, and averages the probabilities.

    With frames every 10 ms the shift is the 5 ms of Deep Speech 1 (Section 2.1); including the unshifted utterance is ours.
    It takes three times as long as the model alone. Use it wherever a model is evaluated or used to transcribe.
    """

    def __init__(self, model: DeepSpeech2) -> None:
        super().__init__()
        self.model, self.features = model, JitteredFeatures(**vars(model.features))
        self.train(model.training)

    @property
    def seconds_per_output(self) -> float:
        """Seconds from one output frame to the next, as in the model."""
        return self.model.seconds_per_output

    def forward(self, features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, 3 F, T) and (B,) lengths -> the logarithm of the mean probabilities, (T', B, V), and (B,) output lengths."""
        three = features.unflatten(2, (3, -1)).permute(2, 0, 1, 3, 4).flatten(0, 1)  # (3 B, 1, F, T)
        log_probs, lengths = self.model(three, feature_lengths.repeat(3))  # (T', 3 B, V)
        return log_probs.unflatten(1, (3, -1)).logsumexp(1) - math.log(3), lengths[: len(features)]


def jittered(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint, but its model averages over shifted copies; do not save it."""
    return dataclasses.replace(checkpoint, model=Jittered(checkpoint.model))
