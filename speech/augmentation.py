"""Augmentation of training speech: cut ends, speed, gain, noise (Section 5.2), channel, vocal tract, tempo and masks.

Every change is drawn from a generator that the caller seeds. So an utterance always gets the same changes in an
epoch, in whatever order and process it is made. Evaluation uses none of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Timing:
    """How an utterance's length is changed: seconds cut off at ``start`` and ``end``, factors of ``speed`` and ``tempo``."""

    start: float = 0.0
    end: float = 0.0
    speed: float = 1.0
    tempo: float = 1.0

    def seconds(self, seconds: float) -> float:
        """Length, after the changes, of an utterance of this length."""
        return (seconds - self.start - self.end) / (self.speed * self.tempo)


@dataclass(frozen=True)
class Augmentation:
    """How far training speech is changed; the defaults are ours unless they name a source.

    Attributes:
        trim_ms, trim_share: the most that is cut off either end (half the time, nothing is), and its largest share of the clip.
        speed: largest relative change in speed, pitch and length together.
        tempo: largest relative change in length alone.
        tract: largest relative stretch of the frequency axis, as if the vocal tract had another length.
        gain_db: largest slow change in loudness within the clip, in dB.
        noise_share: share of utterances that get noise [paper, arXiv Section 5.2: 0.4].
        snr_db: range of the signal-to-noise ratio in dB [ICML version: 0 to 30].
        channel: size of a random smooth curve over frequency (microphone, room), in standard deviations of the features.
        time_masks, time_width: number of masked spans and their largest width in frames.
        frames_per_mask: frames for each masked span, if that gives more spans than ``time_masks``; None: not used.
        frequency_masks, frequency_width: number of masked bands and their largest share of all bins.
    """

    trim_ms: float = 60.0
    trim_share: float = 0.15
    speed: float = 0.12
    tempo: float = 0.12
    tract: float = 0.15
    gain_db: float = 6.0
    noise_share: float = 0.4
    snr_db: tuple[float, float] = (0.0, 30.0)
    channel: float = 0.3
    time_masks: int = 1
    time_width: int = 3
    frames_per_mask: int | None = None
    frequency_masks: int = 1
    frequency_width: float = 0.12

    def draw_timing(self, seconds: float, rng: np.random.Generator) -> Timing:
        """Draws the changes in length first, so that the length of an utterance is known without making it."""
        widest = min(self.trim_ms / 1000, self.trim_share * seconds)
        start, end, speed, tempo = rng.random(4).tolist()  # in one call: a large corpus needs many of these before an epoch
        return Timing(
            max(0.0, _between(-widest, widest, start)), max(0.0, _between(-widest, widest, end)),
            _between(1 - self.speed, 1 + self.speed, speed), _between(1 - self.tempo, 1 + self.tempo, tempo),
        )  # fmt: skip

    def change_audio(self, audio: Tensor, sample_rate: int, timing: Timing, rng: np.random.Generator) -> Tensor:
        """Applies cut ends, speed, gain and noise: (samples,) waveform -> (kept samples / speed,)."""
        audio = audio[round(timing.start * sample_rate) : len(audio) - round(timing.end * sample_rate)]
        if timing.speed != 1 and len(audio) > 1:
            audio = torch.from_numpy(soxr.resample(audio.numpy(), sample_rate * timing.speed, sample_rate, quality="LQ"))
        if self.gain_db:
            points = torch.from_numpy(rng.uniform(-self.gain_db, self.gain_db, 4).astype(np.float32))
            gain_db = F.interpolate(points[None, None], size=len(audio), mode="linear", align_corners=True)[0, 0]
            audio = audio * 10 ** (gain_db / 20)
        if rng.random() < self.noise_share:
            audio = add_noise(audio, rng.uniform(*self.snr_db), rng)
        return audio

    def change_features(self, features: Tensor, tempo: float, rng: np.random.Generator) -> Tensor:
        """Applies vocal tract, tempo, channel and masks: (F, T) features -> (F, T / tempo)."""
        bins, frames = features.shape
        features = _read_at(features, _warped_bins(bins, rng.uniform(1 - self.tract, 1 + self.tract)))
        features = _read_at(features.t(), torch.linspace(0, frames - 1, max(1, round(frames / tempo)))).t()
        harmonics = torch.from_numpy(rng.normal(0, self.channel, 4).astype(np.float32))
        axis = torch.linspace(0, np.pi, bins)
        features = features + sum(a * torch.cos((k + 1) * axis) for k, a in enumerate(harmonics))[:, None]
        for _ in range(max(self.time_masks, frames // (self.frames_per_mask or frames + 1))):
            start, width = _span(features.shape[1], self.time_width, rng)
            features[:, start : start + width] = 0.0  # the mean of the features
        for _ in range(self.frequency_masks):
            start, width = _span(bins, int(self.frequency_width * bins), rng)
            features[start : start + width] = 0.0
        return features


# For the synthetic voice [ours]: it has 500 speakers, so little is needed; its letters are short, so a mask hides whole ones.
SYNTHETIC_AUGMENTATION = Augmentation(
    trim_ms=0.0, speed=0.05, tempo=0.05, tract=0.05, channel=0.1, time_masks=0, frequency_masks=0
)

# For sentences, whose words can be guessed from each other [ours, after SpecAugment, Park et al. 2019]: masks 1/8 of the frames.
SENTENCE_AUGMENTATION = Augmentation(time_width=20, frames_per_mask=80, frequency_masks=2, frequency_width=0.2)

RECORDINGS_AUGMENTATION = {  # by --masks
    "words": Augmentation(),
    "sentences": SENTENCE_AUGMENTATION,
    "none": Augmentation(time_masks=0, frequency_masks=0),
}


def add_noise(audio: Tensor, snr_db: float, rng: np.random.Generator) -> Tensor:
    """Adds noise at ``snr_db``; its power falls with frequency at a random slope (white to brown)."""
    n = len(audio)
    size = 1 << max(8, (n - 1).bit_length())  # a power of two is quick to transform
    spectrum = torch.fft.rfft(torch.from_numpy(rng.standard_normal(size).astype(np.float32)))
    slope = torch.arange(1, len(spectrum) + 1) ** -rng.uniform(0.0, 1.0)
    noise = torch.fft.irfft(spectrum * slope, size)[:n]
    level = audio.square().mean().sqrt() / noise.square().mean().sqrt().clamp_min(1e-10)
    return audio + noise * level * 10 ** (-snr_db / 20)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _warped_bins(bins: int, stretch: float) -> Tensor:
    """Where to read the frequency axis: stretched up to 4/5 of the band, then linear to its end."""
    knee = 0.8 * (bins - 1) * min(1.0, 1.0 / stretch)
    axis = torch.arange(bins, dtype=torch.float32)
    above = knee * stretch + (axis - knee) * (bins - 1 - knee * stretch) / (bins - 1 - knee)
    return torch.where(axis <= knee, axis * stretch, above).clamp(0, bins - 1)


def _read_at(rows: Tensor, places: Tensor) -> Tensor:
    """Rows at fractional places, by linear interpolation: (N, M), (P,) -> (P, M)."""
    low = places.floor().long()
    high = (low + 1).clamp_max(len(rows) - 1)
    return torch.lerp(rows[low], rows[high], (places - low)[:, None])


def _span(size: int, widest: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and width of a random span that covers at most a third of ``size``."""
    width = int(rng.integers(0, min(widest, size // 3) + 1))
    return int(rng.integers(0, size - width + 1)), width
