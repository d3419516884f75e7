"""Solution of exercise 1: framing and the log spectrogram."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad


def compute_spectrogram(
    audio: Tensor, sample_rate: int = 16000, window_ms: float = 20.0, stride_ms: float = 10.0, n_fft: int = 512
) -> Tensor:
    """Log power spectrogram of a power-normalised clip, normalised over the utterance."""
    audio = torch.as_tensor(audio)
    audio = audio if audio.is_floating_point() else audio.float()
    if audio.dim() != 1 or audio.numel() == 0 or not torch.isfinite(audio).all():
        raise ValueError(f"audio must be a finite waveform of shape (samples,), not {tuple(audio.shape)}")
    if n_fft < 2 or n_fft % 2:
        raise ValueError(f"n_fft must be even and at least 2, not {n_fft}")
    window, hop = round(sample_rate * window_ms / 1000), round(sample_rate * stride_ms / 1000)
    audio = audio - audio.mean()
    audio = audio / audio.square().mean().sqrt().clamp_min(1e-10)
    audio = pad(audio, (0, max(0, window - len(audio))))  # after the normalisation: these zeros are not part of the clip
    frames = audio.unfold(0, window, hop)  # (T, window), whole frames only
    n = torch.arange(window, dtype=audio.dtype)
    frames = frames * (0.5 - 0.5 * torch.cos(2 * math.pi * n / window))
    # The sum as two matrix products. rfft(frames, n_fft) is quicker but would cut the frame where n_fft < window.
    # p n is reduced modulo n_fft while still an integer: large angles cost float32 its digits.
    turns = torch.outer(torch.arange(window), torch.arange(n_fft // 2 + 1)) % n_fft  # (window, F)
    angle = 2 * math.pi / n_fft * turns.to(audio.dtype)
    power = (frames @ angle.cos()).square() + (frames @ angle.sin()).square()  # (T, F)
    log_power = torch.log(power + 1e-3).t()  # (F, T)
    return (log_power - log_power.mean()) / log_power.std(correction=0).clamp_min(1e-5)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
