"""Deep Speech 2 (Amodei et al., arXiv:1512.02595) in one module, to be read from top to bottom.

The order is the way of the signal:

    text -> audio -> features -> convolution -> batch norm -> recurrence -> model
         -> CTC -> decoding -> metrics -> data -> SortaGrad -> training step

Sections, equations and tables are those of the arXiv version; a default carries its source,
``[paper, Section ...]`` or ``[ours]``. Shape letters, the same everywhere:

    B   utterances in a batch          H   hidden units per direction
    T   feature frames                 G   gates of the recurrence (GRU 3, LSTM 4, simple 1)
    T'  frames after the convolutions  V   output symbols, blank included
    F   frequency bins                 U   target symbols of an utterance
    C   channels of a convolution      S   steps of a recurrence

This module imports nothing else of the project.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# ---------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------

ENGLISH = "abcdefghijklmnopqrstuvwxyz '"  # Section 3.1; with the blank these are 29 outputs


class _Labels(dict):
    """Label of each character; one that is not in the alphabet has that of its lower case, or None."""

    def __missing__(self, char: str) -> int | None:
        self[char] = self.get(char.lower())  # looked up once: a corpus has millions of characters
        return self[char]


class CharEncoder:
    """Characters to CTC labels and back; label 0 is the blank.

    Args:
        alphabet: ``'english'`` for a-z = 1..26, space 27, apostrophe 28 (Section 3.1), or a
            string or list of single characters, numbered from 1 in the order given.
        unknown: what ``encode`` does with a character outside the alphabet: ``'error'`` or ``'drop'``.

    Raises:
        ValueError: if the alphabet repeats a character or ``unknown`` is neither word.
    """

    blank_idx = 0

    def __init__(self, alphabet: str | Sequence[str] = "english", unknown: str = "error") -> None:
        if unknown not in ("error", "drop"):
            raise ValueError(f"unknown must be 'error' or 'drop', not {unknown!r}")
        self.alphabet = list(ENGLISH if alphabet == "english" else alphabet)
        self.unknown = unknown
        self._index = _Labels((char, label) for label, char in enumerate(self.alphabet, start=1))
        if len(self._index) != len(self.alphabet) or any(len(char) != 1 for char in self.alphabet):
            raise ValueError(f"an alphabet is a sequence of different single characters, not {alphabet!r}")

    @property
    def vocab_size(self) -> int:
        """Number of output symbols V, the blank included."""
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """Labels of a text, letters folded to lower case.

        Raises:
            ValueError: for a character outside the alphabet, unless ``unknown='drop'``.
        """
        labels = list(map(self._index.__getitem__, text))
        if None in labels and self.unknown == "error":
            place = labels.index(None)
            raise ValueError(
                f"character {text[place]!r} at position {place} of {text!r} is not in the alphabet; "
                "write it in letters, or use unknown='drop' to leave such characters out"
            )
        return [label for label in labels if label is not None]

    def decode(self, indices: Iterable[int]) -> str:
        """Text of labels as they stand: nothing is merged, blanks give no character."""
        labels = [int(i) for i in indices]
        if any(not 0 <= label < self.vocab_size for label in labels):
            raise ValueError(f"labels must lie in 0..{self.vocab_size - 1}, not {labels}")
        return "".join(self.alphabet[label - 1] for label in labels if label != self.blank_idx)

    def ctc_decode(self, indices: Iterable[int]) -> str:
        """Text of a CTC path: merge adjacent repeats first, then drop blanks (Graves et al. 2006, Section 3.1)."""
        path = [int(i) for i in indices]
        merged = [label for t, label in enumerate(path) if t == 0 or label != path[t - 1]]
        return self.decode(merged)


# ---------------------------------------------------------------------------------------------
# Audio: a clip, and a synthetic voice to learn from without any download
# ---------------------------------------------------------------------------------------------


@dataclass
class AudioSample:
    """One utterance: ``audio`` 1-D float waveform, ``sample_rate`` in Hz, ``transcript`` in plain letters."""

    audio: Tensor
    sample_rate: int
    transcript: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.audio) / self.sample_rate


# A source-filter voice [ours]: each letter has one sound, made as speech is made. A source, pulses of the vocal folds or
# noise, passes a filter with three resonances, the formants. Columns: formants F1, F2, F3 in Hz, share of voicing, centre and
# width of the noise in Hz, loudness, closure before the sound (a stop is silent before it bursts) and length, both in ms.
_SOUNDS = {
    "a": (780, 1200, 2500, 1.0, 0, 500, 1.0, 0, 90), "b": (300, 800, 2100, 0.9, 600, 300, 1.0, 35, 50),
    "c": (400, 1700, 2600, 0.0, 2900, 500, 0.6, 25, 60), "d": (300, 1700, 2700, 0.8, 3600, 500, 0.8, 35, 40),
    "e": (550, 1850, 2500, 1.0, 0, 500, 1.0, 0, 80), "f": (400, 1100, 2300, 0.0, 3500, 2500, 0.5, 0, 80),
    "g": (280, 1300, 2000, 0.8, 1500, 400, 0.8, 35, 45), "h": (600, 1500, 2500, 0.0, 1100, 600, 0.4, 0, 60),
    "i": (280, 2300, 3000, 1.0, 0, 500, 0.9, 0, 75), "j": (300, 2000, 2700, 0.5, 2300, 500, 0.7, 20, 60),
    "k": (400, 1400, 2100, 0.0, 1700, 400, 0.7, 45, 40), "l": (400, 1250, 3000, 1.0, 0, 500, 0.7, 0, 65),
    "m": (250, 1000, 2100, 1.0, 0, 500, 0.5, 0, 75), "n": (260, 1600, 2600, 1.0, 0, 500, 0.5, 0, 70),
    "o": (520, 850, 2500, 1.0, 0, 500, 1.0, 0, 85), "p": (400, 900, 2200, 0.0, 700, 300, 0.7, 45, 40),
    "q": (350, 700, 2100, 0.3, 1200, 300, 0.7, 40, 65), "r": (440, 1250, 1650, 1.0, 0, 500, 0.7, 0, 65),
    "s": (400, 1600, 2600, 0.0, 6300, 500, 0.6, 0, 85), "t": (400, 1800, 2700, 0.0, 4400, 700, 0.8, 45, 35),
    "u": (320, 1050, 2250, 1.0, 0, 500, 0.9, 0, 80), "v": (280, 1150, 2300, 0.6, 3500, 2500, 0.6, 0, 65),
    "w": (300, 620, 2150, 1.0, 0, 500, 0.7, 0, 65), "x": (400, 1500, 2600, 0.0, 5200, 500, 0.7, 45, 70),
    "y": (260, 2050, 2800, 1.0, 0, 500, 0.6, 0, 55), "z": (280, 1650, 2600, 0.6, 5800, 500, 0.6, 0, 75),
    "'": (500, 1500, 2500, 0.2, 300, 200, 0.3, 30, 35), " ": (500, 1500, 2500, 0.0, 0, 500, 0.0, 0, 90),
}  # fmt: skip

SYNTHETIC_WORDS = tuple(
    """
    hello all apple letter coffee summer yellow little happy good see sleep bell full cross class grass add egg off book tree
    moon room green three street sheet free keep a the and to of in is it you that he was for on are with his they at be this
    have from or one had by word but not what were we when your can said there use an each which she do how their if will up
    other about out many then them these so some her would make like him into time has look two more write go number no way
    could people my than first water been call who oil now find long down day get don't it's zebra quick jump fox lazy quiz
    """.split()
)

TRAINING_SPEAKERS, VALIDATION_SPEAKERS = range(0, 500), range(500, 600)  # disjoint voices


def _synthetic_speaker(speaker: int) -> dict[str, float]:
    """Voice number ``speaker``: pitch in Hz, speaking rate, vocal-tract length, breath and tilt."""
    rng = np.random.default_rng(speaker)
    low, high = (0, 0.85, 0.87, 0.01, 0.8), (1, 1.25, 1.18, 0.06, 1.2)
    octaves, *rest = rng.uniform(low, high).tolist()
    return {"pitch": 85 * 2 ** (1.5 * octaves)} | dict(zip(("rate", "tract", "breath", "tilt"), rest, strict=True))


def _letter_track(text: str, rate: float) -> Tensor:
    """Targets of the voice every 5 ms: (frames, 7) formants, voicing, noise centre and width, loudness."""
    parts = []
    for before, char in pairwise(f"  {text} "):
        *targets, closure, length = _SOUNDS[char]
        closure += 40 * (char == before != " ")  # a break: "ll" is heard as two
        length, closure = (int(np.ceil(ms * np.random.uniform(0.85, 1.15) / (5 * rate))) for ms in (length, closure))
        sound = torch.tensor(targets, dtype=torch.float32).repeat(closure + max(3, length), 1)
        sound[:closure, 6] *= 0.03
        sound[-1, 6] *= 0.15  # each letter ends with a dip, which gives the rhythm
        parts.append(sound)
    track = torch.cat(parts)
    # Neighbours move into each other: a moving average over 25 ms of the formants, 15 ms of the rest.
    smooth = [F.avg_pool1d(F.pad(track.t()[None], (r, r), mode="replicate"), 2 * r + 1, 1)[0].t() for r in (2, 1)]
    return torch.cat([smooth[0][:, :3], smooth[1][:, 3:4], track[:, 4:6], smooth[1][:, 6:]], dim=1)


def generate_synthetic_audio(
    text: str, sample_rate: int = 16000, speaker: int | None = None, snr_db: float | None = None
) -> Tensor:
    """Speaks ``text`` with a source-filter voice, one sound a letter [ours]: 1-D float waveform with peak 0.5.

    Args:
        text: letters of the English alphabet, space and apostrophe; ValueError for others or none.
        sample_rate: in Hz, at least 8000.
        speaker: number of the voice; None draws one of ``TRAINING_SPEAKERS``.
        snr_db: background noise in dB below the voice; None draws 15 to 40. Follows the seeds of NumPy and torch.
    """
    text = text.lower()
    if not text.strip() or any(char not in _SOUNDS for char in text) or sample_rate < 8000:
        raise ValueError(f"the synthetic voice speaks a-z, space and apostrophe from 8000 Hz on, not {text!r} at {sample_rate}")
    voice = _synthetic_speaker(int(np.random.choice(TRAINING_SPEAKERS)) if speaker is None else speaker)
    track = _letter_track(text, voice["rate"])
    hop, n_fft = sample_rate // 200, 4 * (sample_rate // 200)
    frames, samples = len(track), (len(track) - 1) * hop
    formants, noise_hz = track[:, :3] * voice["tract"], track[:, 4] * voice["tract"]
    voicing, noise_width, loudness = track[:, 3], track[:, 5], track[:, 6]

    # Source: one pulse a period of a slowly falling, slightly shaking pitch; and white noise.
    fall = torch.linspace(1.1, 0.9, samples) * (1 + 0.02 * torch.randn(frames)).repeat_interleave(hop)[:samples]
    phase = (voice["pitch"] * fall / sample_rate).cumsum(0)
    pulses = (phase.floor().diff(prepend=torch.zeros(1)) > 0).float() * math.sqrt(sample_rate / voice["pitch"])
    window = torch.hann_window(n_fft)
    source = torch.stft(torch.stack([pulses, torch.randn(samples)]), n_fft, hop, window=window, return_complex=True)

    # Filter: resonances of the tract and a falling spectrum for the voice; one broad band for the noise.
    hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None]  # (bins, 1) beside (frames,)
    peaks = sum(g / (1 + ((hz - formants[:, k]) / w) ** 2) for k, (g, w) in enumerate(((1, 60), (0.7, 80), (0.4, 120))))
    voiced = (voicing * peaks + voice["breath"] * 0.1) * (1 + hz / 500) ** (-0.3 * voice["tilt"])
    hiss = torch.exp(-0.5 * ((hz - noise_hz) / noise_width) ** 2)
    unvoiced = (1 - voicing) * hiss + voice["breath"] * voicing * peaks
    shaped = loudness * (voiced * source[0] + unvoiced * source[1])
    audio = torch.istft(shaped, n_fft, hop, window=window, length=samples)

    snr_db = float(np.random.uniform(15, 40)) if snr_db is None else snr_db
    audio = audio + torch.randn(samples) * audio.square().mean().sqrt() * 10 ** (-snr_db / 20)
    return 0.5 * audio / audio.abs().max()


def generate_synthetic_dataset(
    n_samples: int, sample_rate: int = 16000, min_words: int = 1, max_words: int = 5,
    speakers: Sequence[int] = TRAINING_SPEAKERS,
) -> list[AudioSample]:  # fmt: skip
    """Utterances of ``min_words`` to ``max_words`` random words, each by a random voice of ``speakers``.

    Follows ``np.random.seed`` and ``torch.manual_seed``. For validation give ``speakers=VALIDATION_SPEAKERS``:
    no training voice is among them.
    """
    if not 1 <= min_words <= max_words:
        raise ValueError(f"1 <= min_words <= max_words is needed, not {min_words} and {max_words}")
    samples = []
    for _ in range(n_samples):
        words = np.random.choice(SYNTHETIC_WORDS, np.random.randint(min_words, max_words + 1))
        text, speaker = " ".join(words), int(np.random.choice(speakers))
        samples.append(AudioSample(generate_synthetic_audio(text, sample_rate, speaker), sample_rate, text))
    return samples


# ---------------------------------------------------------------------------------------------
# Features
# ---------------------------------------------------------------------------------------------


def compute_spectrogram(
    audio: Tensor, sample_rate: int = 16000, window_ms: float = 20.0, stride_ms: float = 10.0, n_fft: int = 512
) -> Tensor:
    """Log power spectrogram of a power-normalised clip, normalised over the utterance.

    ``x[p, t] = log |sum_n w[n] a[t * hop + n] exp(-2 pi i p n / n_fft)|^2`` with a (periodic) Hann window w. The
    sum always runs over the whole window. Where n_fft is smaller than it, the windowed frame is folded,
    its pieces of n_fft samples added up, which leaves every value of the sum as it was:
    ``exp(-2 pi i p n / n_fft)`` has period n_fft in n. So n_fft only chooses how many bins are kept.

    Args:
        audio: (samples,) waveform, any scale; a clip shorter than one window is padded with zeros to one.
        sample_rate: in Hz.
        window_ms: length of the window in ms, 20 [ICML version].
        stride_ms: hop between frames in ms, 10 [Deep Speech 1; neither version of the paper says].
        n_fft: points of the Fourier transform, even.

    Returns:
        (n_fft // 2 + 1, T) float features with mean 0 and standard deviation 1 (a constant clip gives 0), dtype of ``audio``.

    Raises:
        ValueError: if the clip is empty, not 1-D or not finite, or n_fft is odd or below 2.

    Source: power-normalised spectrogram, Section 3.1; the logarithm, ICML version; mean and variance [ours].
    """
    audio = torch.as_tensor(audio)
    audio = audio if audio.is_floating_point() else audio.float()
    if audio.dim() != 1 or audio.numel() == 0:
        raise ValueError(f"audio must be one channel of at least one sample, shape (samples,), not {tuple(audio.shape)}")
    if n_fft < 2 or n_fft % 2:
        raise ValueError(f"n_fft must be even and at least 2, not {n_fft}")
    window_length, hop = round(sample_rate * window_ms / 1000), round(sample_rate * stride_ms / 1000)
    audio = audio - audio.mean()  # a sound card's constant offset is no speech [ours]
    rms = audio.square().mean().sqrt()
    if not torch.isfinite(rms):
        raise ValueError("audio holds values that are not finite (nan or inf); the recording is broken")
    audio = audio / rms.clamp_min(1e-10)
    audio = F.pad(audio, (0, max(0, window_length - len(audio))))
    pieces = -(-window_length // n_fft)
    zeros = pieces * n_fft - window_length  # behind the window, and behind the last frame
    window = F.pad(torch.hann_window(window_length, dtype=audio.dtype, device=audio.device), (0, zeros))
    frames = F.pad(audio, (0, zeros)).unfold(0, pieces * n_fft, hop) * window  # (T, pieces * n_fft)
    if pieces > 1:
        frames = frames.unflatten(1, (pieces, n_fft)).sum(1)  # (T, n_fft)
    spectrum = torch.fft.rfft(frames)  # (T, F)
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    # The floor, about 50 dB below the mean power of a frame, keeps digital silence finite [ours].
    features = power.add_(1e-3).log_()
    features -= features.mean()
    features /= features.square().mean().sqrt().clamp_min(1e-5)
    return features.t()  # (F, T)


@dataclass(frozen=True)
class Features:
    """How audio becomes the input of a model. Who needs bins, frames or seconds asks here.

    Attributes:
        kind: 'spectrogram', see ``compute_spectrogram``.
        sample_rate: in Hz, of the audio.
        window_ms, stride_ms: window and hop in ms, rounded to whole samples.
        n_fft: points of the Fourier transform.
        normalisation: 'utterance': mean 0 and standard deviation 1 over each utterance.
    """

    kind: str = "spectrogram"
    sample_rate: int = 16000
    window_ms: float = 20.0
    stride_ms: float = 10.0
    n_fft: int = 512
    normalisation: str = "utterance"

    def __post_init__(self) -> None:
        if self.kind != "spectrogram" or self.normalisation != "utterance":
            raise ValueError(f"features must be 'spectrogram' per 'utterance', not {self.kind!r} per {self.normalisation!r}")
        if self.sample_rate < 1 or self.window < 1 or self.hop < 1:
            raise ValueError(f"a window of {self.window_ms} ms every {self.stride_ms} ms has no sample at {self.sample_rate} Hz")

    def __call__(self, audio: Tensor, rate: int | None = None) -> Tensor:
        """(samples,) waveform at ``rate`` Hz, by default ``sample_rate`` -> (F, T) features."""
        return compute_spectrogram(audio, rate or self.sample_rate, self.window_ms, self.stride_ms, self.n_fft)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.sample_rate * self.stride_ms / 1000)

    @property
    def bins(self) -> int:
        """F, features of a frame."""
        return self.n_fft // 2 + 1

    @property
    def seconds_per_frame(self) -> float:
        """The true hop: at 11025 Hz 10 ms are 110 samples, which last 9.977 ms."""
        return self.hop / self.sample_rate

    def frames(self, seconds: float) -> int:
        """T of audio that lasts so long; what is shorter than a window counts as one."""
        return 1 + max(0, round(seconds * self.sample_rate) - self.window) // self.hop


# ---------------------------------------------------------------------------------------------
# Convolution and batch norm
# ---------------------------------------------------------------------------------------------


def sequence_mask(lengths: Tensor, max_length: int) -> Tensor:
    """(B,) integer lengths -> (B, max_length) bool, True where a frame belongs to the utterance."""
    return torch.arange(max_length, device=lengths.device) < lengths[:, None]


class ClippedReLU(nn.Module):
    """``min(max(x, 0), clip)``, with clip 20 [paper, Section 3.1, in the text without a number]."""

    def __init__(self, clip: float = 20.0) -> None:
        super().__init__()
        if not clip > 0:
            raise ValueError(f"clip must be above 0, not {clip}")
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, self.clip)

    def extra_repr(self) -> str:
        return str(self.clip)


class _NormalizeValid(torch.autograd.Function):
    """Normalises over the frames where mask is 1, per feature, and leaves 0 elsewhere.

    Forward: ``y = m (x - mean) / sqrt(var + eps)`` with ``mean = sum(m x) / n``, ``var = sum(m (x - mean)^2) / n``.
    Backward, with g the gradient of y where m is 1: mean and var depend on every valid x, which gives
    ``dx = m (g - sum(g) / n - y sum(g y) / n) / sqrt(var + eps)``.
    """

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, count: float, dims: tuple[int, ...], eps: float):
        mean = (x * mask).sum(dims, keepdim=True) / count
        y = (x - mean).mul_(mask)
        var = y.square().sum(dims, keepdim=True) / count
        rstd = torch.rsqrt(var + eps)
        y *= rstd
        ctx.save_for_backward(y, mask, rstd)
        ctx.count, ctx.dims = count, dims
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _mean: Tensor, _var: Tensor):
        y, mask, rstd = ctx.saved_tensors
        grad = grad * mask
        mean_grad = grad.sum(ctx.dims, keepdim=True) / ctx.count
        mean_grad_y = (grad * y).sum(ctx.dims, keepdim=True) / ctx.count
        dx = torch.addcmul(grad, y, mean_grad_y, value=-1.0).sub_(mean_grad).mul_(mask).mul_(rstd)
        return dx, None, None, None, None


class SequenceBatchNorm(nn.Module):
    """Sequence-wise batch norm over the frames that are speech, not padding.

    ``B(x) = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta`` (Eq. 6). For each feature, E and Var run over
    all utterances of the batch and over all their frames (Section 3.2); for the channels of a convolution
    also over frequency. Padding is left out of both and comes out as 0. In evaluation the running
    averages of training take their place, as in Section 3.2.

    Args:
        num_features: H or C.
        eps: added to the variance.
        momentum: weight of the newest batch in the running averages, 0.1 [ours, torch's].
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))  # gamma
        self.bias = nn.Parameter(torch.zeros(num_features))  # beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalises.

        Args:
            x: (T, B, H), or (B, C, F, T) as a convolution gives it; finite, in the padding too.
            lengths: (B,) valid frames of each utterance; None means all T.

        Returns:
            same shape as x, 0 in the padding.

        Raises:
            ValueError: if x has another number of dimensions or features.
        """
        if x.dim() not in (3, 4) or x.shape[-1 if x.dim() == 3 else 1] != self.num_features:
            raise ValueError(f"expected (T, B, {self.num_features}) or (B, {self.num_features}, F, T), not {tuple(x.shape)}")
        x = x if x.dtype == torch.float64 else x.float()  # statistics never in half precision
        recurrent = x.dim() == 3
        batch, frames = (x.shape[1], x.shape[0]) if recurrent else (x.shape[0], x.shape[3])
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        mask = sequence_mask(lengths, frames).to(x.dtype)  # (B, T)
        mask = mask.t()[:, :, None] if recurrent else mask[:, None, None, :]
        dims, shape = ((0, 1), (1, 1, -1)) if recurrent else ((0, 2, 3), (1, -1, 1, 1))
        if self.training:
            count = int(lengths.sum()) * (1 if recurrent else x.shape[2])
            y, mean, var = _NormalizeValid.apply(x, mask, float(max(count, 1)), dims, self.eps)
            self._update(mean.flatten(), var.flatten(), count)
        else:
            y = (x - self.running_mean.view(shape)) * torch.rsqrt(self.running_var + self.eps).view(shape) * mask
        return torch.addcmul(self.bias.view(shape) * mask, y, self.weight.view(shape))

    def scale_and_shift(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same normalisation as ``scale * x + shift``: (T, B, H) and (B,) lengths -> two (H,), with their derivatives."""
        x = x if x.dtype == torch.float64 else x.float()  # statistics never in half precision
        if self.training:
            mask = sequence_mask(lengths, x.shape[0]).t()[:, :, None].to(x.dtype)  # (T, B, 1)
            count = int(lengths.sum())
            mean = (x * mask).sum((0, 1)) / max(count, 1)
            var = ((x - mean) * mask).square().sum((0, 1)) / max(count, 1)
            self._update(mean.detach(), var.detach(), count)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)
        return scale, self.bias - scale * mean

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Running averages; the variance without bias, as torch keeps it."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((var * count / max(count - 1, 1)).to(self.running_var.dtype), self.momentum)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


def _strided_conv1d(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """``F.conv1d`` with padding of half the kernel; a stride is taken by laying ``stride`` neighbouring frames out as channels.

    Same numbers: (N, C, T) and (O, C / groups, L) -> (N, O, ceil(T / stride)). Libraries are slow at strides.
    """
    length, frames = weight.shape[2], x.shape[2]
    if stride == 1:
        return F.conv1d(x, weight, padding=length // 2, groups=groups)
    taps = -(-length // stride)
    after = (-(-frames // stride) + taps - 1) * stride - frames - length // 2
    x = F.pad(x, (length // 2, after)).unflatten(2, (-1, stride)).transpose(2, 3).flatten(1, 2)  # (N, C stride, T / stride)
    weight = F.pad(weight, (0, taps * stride - length)).unflatten(2, (taps, stride)).transpose(2, 3).flatten(1, 2)
    return F.conv1d(x, weight, groups=groups)


def convolution_by_rows(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """A convolution of one channel as one over time alone, whose channels are the kernel's rows.

    Same numbers as ``F.conv2d`` with padding of half the kernel. Libraries are slow at one input channel, above all
    in the gradient of the kernel; laid out as K channels it is an ordinary convolution.

    Args:
        x: (B, 1, F, T).
        weight: (O, 1, K, L), K bins by L frames, both odd.
        stride: (frequency, time).

    Returns:
        (B, O, F', T').
    """
    kernel = weight.shape[2]
    rows = F.pad(x[:, 0], (0, 0, kernel // 2, kernel // 2)).unfold(1, kernel, stride[0])  # (B, F', T, K)
    y = _strided_conv1d(rows.transpose(2, 3).flatten(0, 1), weight[:, 0], stride[1])  # (B F', O, T')
    return y.unflatten(0, rows.shape[:2]).transpose(1, 2)


def convolution_by_coefficients(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """A convolution with many channels computed along frequency as products of Fourier coefficients.

    Same numbers as ``F.conv2d`` with padding of half the kernel, up to rounding. Along frequency a correlation is a
    product: with N >= F + K // 2 points, ``Y[k] = X[k] conj(W[k])``, where X and W are the transforms of x and of the kernel.
    What remains for each of the N // 2 + 1 coefficients k is a complex convolution over time, written as a real one with
    twice the channels, all k at once as groups. For 21 bins this takes a third of the multiplications. The transforms
    are short, so plain matrices do them.

    Args:
        x: (B, C, F, T).
        weight: (O, C, K, L), K bins by L frames, both odd.
        stride: (frequency, time).

    Returns:
        (B, O, F', T').
    """
    batch, _, bins, frames = x.shape
    kernel = weight.shape[2]
    forward_x, forward_w, inverse = _dft_matrices(bins, kernel, stride[0], x.dtype, x.device)
    coefficients = len(forward_x)
    x_k = (forward_x.flatten(0, 1) @ x.transpose(1, 2).flatten(2)).view(batch, -1, frames)  # (B, k 2 C, T)
    w_k = torch.einsum("krj,ocjl->krocl", forward_w, weight)  # (k, 2, O, C, L)
    re, im = w_k[:, 0], -w_k[:, 1]  # conj(W)
    w_k = torch.cat((torch.cat((re, -im), 2), torch.cat((im, re), 2)), 1).flatten(0, 1)  # (k 2 O, 2 C, L)
    y_k = _strided_conv1d(x_k, w_k, stride[1], groups=coefficients)  # (B, k 2 O, T')
    y = inverse.flatten(1) @ y_k.view(batch, 2 * coefficients, -1)  # (B, F', O T')
    return y.unflatten(2, (len(weight), -1)).transpose(1, 2)


@functools.lru_cache
@torch.inference_mode(False)  # made first in inference, they must serve training too
def _dft_matrices(bins: int, kernel: int, stride: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Real and imaginary parts of the transforms of x (k, 2, F) and of the kernel (k, 2, K), and the inverse (F', k, 2)."""
    points = bins + kernel // 2  # enough that nothing wraps around into the F bins of the output
    k = torch.arange(points // 2 + 1, dtype=torch.float64)

    def transform(size: int) -> Tensor:
        angle = 2 * math.pi / points * torch.outer(k, torch.arange(size, dtype=torch.float64))
        return torch.stack((angle.cos(), -angle.sin()), dim=1)

    outputs = torch.arange(0, bins, stride, dtype=torch.float64) - kernel // 2
    angle = 2 * math.pi / points * torch.outer(outputs, k)
    twice = (2.0 - ((k == 0) | (2 * k == points)).double()) / points  # each k but these stands for -k too
    inverse = torch.stack((angle.cos() * twice, -angle.sin() * twice), dim=2)
    return tuple(m.to(device, dtype) for m in (transform(bins), transform(kernel), inverse))


def conv_output_lengths(lengths: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Frames that a convolution makes of (B,) integer ``lengths``: ``floor((T + 2 p - k) / s) + 1``, integers throughout."""
    return torch.div(lengths + 2 * padding - kernel, stride, rounding_mode="floor") + 1


class ConvBlock(nn.Module):
    """Convolution over frequency and time, sequence-wise batch norm, clipped ReLU (Sections 3.1, 3.2, 3.5).

    ``h = f(B(w * x))``: "same" padding, strides shrink. The batch norm's beta takes the place of a bias.

    Args:
        in_channels, out_channels: C before and after.
        kernel: (frequency bins, frames), both odd.
        stride: (frequency, time).
        clip: of the clipped ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int] = (41, 11),
        stride: tuple[int, int] = (2, 2), clip: float = 20.0,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm = SequenceBatchNorm(out_channels)
        self.activation = ClippedReLU(clip)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that remain of ``lengths`` frames, see ``conv_output_lengths``."""
        return conv_output_lengths(lengths, self.conv.kernel_size[1], self.conv.stride[1], self.conv.padding[1])

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, F, T), 0 in the padding, and (B,) lengths -> the same after the block."""
        lengths = self.output_lengths(lengths)
        return self.activation(self.norm(self._convolve(x), lengths)), lengths

    def _convolve(self, x: Tensor) -> Tensor:
        """The convolution, on a CPU in full precision by the quicker road."""
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return self.conv(x)
        road = convolution_by_rows if self.conv.in_channels == 1 else convolution_by_coefficients
        return road(x, self.conv.weight, self.conv.stride)


# ---------------------------------------------------------------------------------------------
# Recurrence
# ---------------------------------------------------------------------------------------------
# The loops below run both directions at once: x is (S, 2, B, G H), step s of direction 0 is frame s, step
# s of direction 1 is frame T-1-s, so each step is one batched product of the two states with the two
# matrices U. mask is (S, 2, B, 1): where it is 0 the state is 0. The padding of an utterance comes first in
# direction 1, so that direction starts, from a zero state, at the utterance's own last frame.


def gru_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """The GRU as a plain loop: the definition that ``_GRUScan`` is proved against.

    Eq. 10, gates in torch's order r, z, n::

        r = sigmoid(W_r x + b_r + U_r h),  z = sigmoid(W_z x + b_z + U_z h),  n = tanh(W_n x + b_n + r o U_n h)
        h = (1 - z) o n + z o h

    Departs from the paper: there z weighs the new candidate, here, as in torch, the old state (z = 1 - z of
    the paper, the same family of functions), and the candidate takes tanh, the usual choice, where the paper took the
    clipped ReLU after finding both alike (Section 3.4).

    Args:
        x: (S, 2, B, 3H) input side, ``W x + b``.
        u: (2, 3H, H) recurrent matrices of the two directions.
        mask: (S, 2, B, 1), 1 where the step belongs to the utterance.

    Returns:
        (S, 2, B, H) states.
    """
    h = x.new_zeros(*x.shape[1:3], u.shape[2])
    states = []
    for x_s, m in zip(x, mask, strict=True):
        xr, xz, xn = x_s.chunk(3, dim=-1)
        gr, gz, gn = torch.bmm(h, u.transpose(1, 2)).chunk(3, dim=-1)
        r, z = torch.sigmoid(xr + gr), torch.sigmoid(xz + gz)
        n = torch.tanh(xn + r * gn)
        h = ((1 - z) * n + z * h) * m
        states.append(h)
    return torch.stack(states)


def rnn_loop(x: Tensor, u: Tensor, mask: Tensor, clip: float = 20.0) -> Tensor:
    """The simple recurrence as a plain loop: ``h = min(max(W x + b + U h, 0), clip)`` (Eq. 3). Shapes as ``gru_loop``."""
    h = x.new_zeros(*x.shape[1:3], u.shape[2])
    states = []
    for x_s, m in zip(x, mask, strict=True):
        h = (x_s + torch.bmm(h, u.transpose(1, 2))).clamp(0.0, clip) * m
        states.append(h)
    return torch.stack(states)


def lstm_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """The LSTM as a plain loop, gates in torch's order i, f, g, o [ours; the paper has none]. Shapes as ``gru_loop``."""
    h = c = x.new_zeros(*x.shape[1:3], u.shape[2])
    states = []
    for x_s, m in zip(x, mask, strict=True):
        i, f, g, o = (x_s + torch.bmm(h, u.transpose(1, 2))).chunk(4, dim=-1)
        c = (torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)) * m
        h = torch.sigmoid(o) * torch.tanh(c) * m
        states.append(h)
    return torch.stack(states)


class _GRUScan(torch.autograd.Function):
    """``gru_loop`` with its backward pass derived by hand: same values and gradients, less time.

    With q = U_n h the derivative of one step is linear in the incoming gradient d of h (mask m included)::

        d a_n = d o A            A = m (1 - z)(1 - n^2)           (a_n: input of the tanh)
        d a_r = d o A q r (1-r)  d a_z = d o m (h - n) z (1 - z)   d q = d o A r
        d h   = d o m z + [d a_r, d a_z, d q] U

    All factors but d are known beforehand for all steps at once; the loop only multiplies by them and by U.
    The weight gradient ``sum_s [d a_r, d a_z, d q]_s^T h_s`` is one product after the loop.
    """

    @staticmethod
    def forward(ctx, x: Tensor, u: Tensor, mask: Tensor, _clip: float, product_dtype: torch.dtype):
        hidden, u_t = u.shape[2], u.transpose(1, 2).to(product_dtype)
        h = x.new_zeros(x.shape[0] + 1, *x.shape[1:3], hidden)  # h[s] is the state before step s
        gates, n = torch.empty_like(x), torch.empty_like(h[1:])  # gates hold r, z, q
        (x_rz, x_n), (rz, q) = (rows.split((2 * hidden, hidden), dim=-1) for rows in (x, gates))
        r, z = rz.chunk(2, dim=-1)
        for h_s, h_next, g_s, x_rz_s, x_n_s, rz_s, r_s, z_s, q_s, n_s, m in _steps(
            h[:-1], h[1:], gates, x_rz, x_n, rz, r, z, q, n, mask
        ):
            _product(h_s, u_t, out=g_s)
            rz_s.add_(x_rz_s).sigmoid_()
            torch.addcmul(x_n_s, r_s, q_s, out=n_s).tanh_()
            torch.lerp(n_s, h_s, z_s, out=h_next).mul_(m)
        ctx.save_for_backward(u, mask, h, gates, n)
        ctx.product_dtype = product_dtype
        return h[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        u, mask, h, gates, n = ctx.saved_tensors
        r, z, q = gates.chunk(3, dim=-1)
        a = mask * (1 - z) * (1 - n * n)
        factors = torch.stack((a * q * r * (1 - r), mask * (h[:-1] - n) * z * (1 - z), a * r), dim=3)  # (S,2,B,3,H)
        d_all, d_gates, keep = torch.empty_like(n), torch.empty_like(factors), mask * z
        d_h, u_p = torch.zeros_like(n[0]), u.to(ctx.product_dtype)
        steps = _steps(grad, d_all, d_all.unsqueeze(3), factors, d_gates, d_gates.flatten(3), keep)
        for grad_s, d, d_rzn, f_s, g_s, g_flat, k in reversed(steps):
            torch.add(grad_s, d_h, out=d)
            torch.mul(d_rzn, f_s, out=g_s)
            _product(g_flat, u_p, out=d_h)
            d_h.addcmul_(d, k)
        d_u = _weight_gradient(d_gates.flatten(3), h[:-1], ctx.product_dtype)
        d_gates[:, :, :, 2] = d_all * a
        return d_gates.flatten(3), d_u.to(u.dtype), None, None, None


class _RNNScan(torch.autograd.Function):
    """``rnn_loop`` with its backward pass: the clipped ReLU lets the gradient through where 0 < h < clip, not at the corners."""

    @staticmethod
    def forward(ctx, x: Tensor, u: Tensor, mask: Tensor, clip: float, product_dtype: torch.dtype):
        h = x.new_zeros(x.shape[0] + 1, *x.shape[1:3], u.shape[2])
        u_t = u.transpose(1, 2).to(product_dtype)
        for x_s, h_s, h_next, m in _steps(x, h[:-1], h[1:], mask):
            _product(h_s, u_t, out=h_next)
            h_next.add_(x_s).clamp_(0.0, clip).mul_(m)
        ctx.save_for_backward(u, h)
        ctx.clip, ctx.product_dtype = clip, product_dtype
        return h[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        u, h = ctx.saved_tensors
        passes = ((h[1:] > 0) & (h[1:] < ctx.clip)).to(grad.dtype)
        d_x, d_h, u_p = torch.empty_like(h[1:]), torch.zeros_like(h[0]), u.to(ctx.product_dtype)
        for grad_s, d, p in reversed(_steps(grad, d_x, passes)):
            torch.add(grad_s, d_h, out=d).mul_(p)
            _product(d, u_p, out=d_h)
        return d_x, _weight_gradient(d_x, h[:-1], ctx.product_dtype).to(u.dtype), None, None, None


def _steps(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """The tensors (S, ...) cut into steps beforehand: a cut within the loop takes as long as the arithmetic there."""
    return list(zip(*(tensor.unbind(0) for tensor in tensors), strict=True))


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``out = a b``, batched, computed in the dtype of b."""
    if b.dtype == out.dtype:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a.to(b.dtype), b))


def _weight_gradient(d_gates: Tensor, h: Tensor, dtype: torch.dtype) -> Tensor:
    """``sum over steps and utterances of d_gates^T h``: (S, 2, B, GH) and (S, 2, B, H) -> (2, GH, H)."""
    left = d_gates.transpose(0, 1).flatten(1, 2).to(dtype)  # (2, S B, GH)
    return torch.bmm(left.transpose(1, 2), h.transpose(0, 1).flatten(1, 2).to(dtype))


class BidirectionalRNNLayer(nn.Module):
    """Bidirectional recurrence with sequence-wise batch norm, in one of two placements.

    ``batch_norm='output'`` [ours, the usual lesson]: each direction has its own W, b and U; the states of the two
    directions are concatenated, then normalised, then clipped: ``clip(B([fwd h, bwd h]))``, width 2H.

    ``batch_norm='input'`` [paper]: Eq. 8, ``h_t = f(B(W x_t) + U h_{t-1})``. Only the input side is normalised,
    before U h is added; nothing is done to the output. W is shared by the directions, each has its own U, beta is the
    bias, and the directions are summed (Section 3.1), width H. The paper rejects normalising after adding U h
    (Eq. 7) because the statistics would then differ at each step.

    Padding has no influence: the backward direction starts at each utterance's own end, outputs there are 0.

    Args:
        input_size: features per frame.
        hidden_size: H per direction.
        rnn_type: 'gru' (Eq. 10), 'rnn' (simple, clipped ReLU inside the recurrence, Eq. 3) or 'lstm'.
        batch_norm: 'output' or 'input'.
        clip: of the clipped ReLU [paper, Section 3.1].
    """

    GATES: ClassVar[dict[str, int]] = {"gru": 3, "rnn": 1, "lstm": 4}

    def __init__(
        self, input_size: int, hidden_size: int, rnn_type: str = "gru", batch_norm: str = "output", clip: float = 20.0
    ) -> None:
        super().__init__()
        if rnn_type not in self.GATES:
            raise ValueError(f"rnn_type must be one of {', '.join(self.GATES)}, not {rnn_type!r}")
        if batch_norm not in ("output", "input"):
            raise ValueError(f"batch_norm must be 'output' or 'input' (the paper's), not {batch_norm!r}")
        self.input_size, self.hidden_size, self.rnn_type, self.batch_norm = input_size, hidden_size, rnn_type, batch_norm
        self.clip, rows, directions = clip, self.GATES[rnn_type] * hidden_size, 2 if batch_norm == "output" else 1
        self.weight_ih = nn.Parameter(torch.empty(directions, rows, input_size))  # W
        self.weight_hh = nn.Parameter(torch.empty(2, rows, hidden_size))  # U
        self.bias = nn.Parameter(torch.zeros(2, rows)) if batch_norm == "output" else None  # b
        self.norm = SequenceBatchNorm(2 * hidden_size if batch_norm == "output" else rows)
        self.activation = ClippedReLU(clip) if batch_norm == "output" else nn.Identity()
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """Features per frame of the output: 2H concatenated, H summed."""
        return self.hidden_size * (2 if self.batch_norm == "output" else 1)

    def reset_parameters(self) -> None:
        """W uniform in +-1/sqrt(H) as torch's layers; U orthogonal per gate [ours; the paper is silent]."""
        nn.init.uniform_(self.weight_ih, -self.hidden_size**-0.5, self.hidden_size**-0.5)
        for gate in self.weight_hh.data.view(-1, self.hidden_size, self.hidden_size):
            nn.init.orthogonal_(gate)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, input_size), 0 in the padding, and (B,) lengths -> (T, B, output_size), 0 in the padding."""
        fused = x.is_cuda and self.rnn_type != "rnn"  # cuDNN has no clipped ReLU
        states = self._fused_states(x, lengths) if fused else self._scan(self._input_side(x, lengths), lengths)  # (T, B, 2, H)
        if self.batch_norm == "input":
            return states.sum(2)  # (T, B, H)
        return self.activation(self.norm(states.flatten(2), lengths))  # (T, B, 2H)

    def _input_side(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``W x + b`` or ``B(W x)`` of both directions: (T, B, input_size) -> (T, B, 2, GH)."""
        if self.batch_norm == "output":
            side = F.linear(x, self.weight_ih.flatten(0, 1), self.bias.flatten())  # (T, B, 2 GH)
            return side.unflatten(2, (2, -1))
        side = self.norm(F.linear(x, self.weight_ih[0]), lengths)  # (T, B, GH)
        return side.unsqueeze(2).expand(-1, -1, 2, -1)

    def _fused_states(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same states by torch's kernel, which is fused on CUDA: (T, B, input_size) -> (T, B, 2, H).

        In the paper's placement ``B(W x) = (gamma / sigma) W x + (beta - gamma mu / sigma)`` is again linear in x, so the
        statistics of the batch go into the kernel's weights and bias, which is exact.
        """
        weight_ih, bias = self.weight_ih, self.bias  # (2, GH, input_size), (2, GH)
        if self.batch_norm == "input":
            scale, shift = self.norm.scale_and_shift(F.linear(x, self.weight_ih[0]), lengths)
            weight_ih, bias = (self.weight_ih * scale[:, None]).expand(2, -1, -1), shift.expand(2, -1)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        packed = nn.utils.rnn.pack_padded_sequence(x.to(dtype), lengths.cpu(), enforce_sorted=False)
        no_bias = torch.zeros_like(bias[0])
        weights = [w.to(dtype) for d in (0, 1) for w in (weight_ih[d], self.weight_hh[d], bias[d], no_bias)]
        start = packed.data.new_zeros(2, x.shape[1], self.hidden_size)
        kernel, start = (torch.lstm, (start, start)) if self.rnn_type == "lstm" else (torch.gru, start)
        with torch.autocast(device, enabled=False):  # which would take fp16 for cuDNN's kernels, whatever was asked
            states = kernel(packed.data, packed.batch_sizes, start, weights, True, 1, 0.0, self.training, True)[0]
        states, _ = nn.utils.rnn.pad_packed_sequence(packed._replace(data=states), total_length=x.shape[0])
        return states.unflatten(2, (2, -1))

    def _scan(self, side: Tensor, lengths: Tensor) -> Tensor:
        """Runs the recurrence over (T, B, 2, GH) -> (T, B, 2, H)."""
        device = side.device.type
        product_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight_hh.dtype
        dtype = torch.float64 if side.dtype == torch.float64 else torch.float32
        mask = sequence_mask(lengths, side.shape[0]).t().to(dtype)[:, :, None]  # (T, B, 1)
        steps = torch.stack((side[:, :, 0], side[:, :, 1].flip(0)), dim=1).to(dtype)  # (S, 2, B, GH)
        masks = torch.stack((mask, mask.flip(0)), dim=1)  # (S, 2, B, 1)
        with torch.autocast(device, enabled=False):
            if self.rnn_type == "lstm":
                states = lstm_loop(steps, self.weight_hh, masks)  # (S, 2, B, H)
            else:
                scan = _GRUScan if self.rnn_type == "gru" else _RNNScan
                states = scan.apply(steps, self.weight_hh, masks, self.clip, product_dtype)
        return torch.stack((states[:, 0], states[:, 1].flip(0)), dim=2)  # (T, B, 2, H)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.rnn_type!r}, batch_norm={self.batch_norm!r}"


# ---------------------------------------------------------------------------------------------
# Model
# ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Convolution:
    """A convolution of Table 4: channels, kernel and stride, both (frequency bins, frames).

    A kernel of 0 bins takes all of them as its input channels: a 1D convolution, over time alone.
    """

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


def _table_4_row(channels: str, kernels: str, strides: str) -> tuple[Convolution, ...]:
    pairs = ([tuple(map(int, pair.split("x"))) for pair in text.split()] for text in (kernels, strides))
    return tuple(map(Convolution, map(int, channels.split()), *pairs))


# Table 4 by name, (frequency x time); a 1D convolution has no bins.
CONVOLUTIONS = {
    "1-layer 1D": _table_4_row("1280", "0x11", "1x2"),
    "2-layer 1D": _table_4_row("640 640", "0x5 0x5", "1x1 1x2"),
    "3-layer 1D": _table_4_row("512 512 512", "0x5 0x5 0x5", "1x1 1x1 1x2"),
    "1-layer 2D": _table_4_row("32", "41x11", "2x2"),
    "2-layer 2D": _table_4_row("32 32", "41x11 21x11", "2x2 2x1"),
    "3-layer 2D": _table_4_row("32 32 96", "41x11 21x11 21x11", "2x2 2x1 2x1"),
}


def output_lengths(feature_lengths: Tensor, convolutions: Sequence[Convolution]) -> Tensor:
    """(B,) feature frames -> (B,) frames after the convolutions, integers throughout."""
    for layer in convolutions:
        feature_lengths = conv_output_lengths(feature_lengths, layer.kernel[1], layer.stride[1], layer.kernel[1] // 2)
    return feature_lengths


def chosen_convolutions(
    row: int | str | Sequence[Convolution], time_strides: Sequence[int] | None = None
) -> tuple[Convolution, ...]:
    """Convolutions by number (the 2D rows of Table 4), by the name of a row, or as given; with other strides in time if given.

    Raises:
        ValueError: if Table 4 has no such row, or the strides do not fit.
    """
    name = f"{row}-layer 2D" if isinstance(row, int) else row
    if isinstance(name, str) and name not in CONVOLUTIONS:
        raise ValueError(f"n_conv must be 1 to 3 and convolutions a row of Table 4 ({', '.join(CONVOLUTIONS)}), not {row!r}")
    layers = CONVOLUTIONS[name] if isinstance(name, str) else tuple(name)
    if time_strides is None:
        return layers
    if len(time_strides) != len(layers) or min(time_strides) < 1:
        raise ValueError(f"time_strides needs {len(layers)} strides of at least 1, one a convolution, not {tuple(time_strides)}")
    strides = zip(layers, time_strides, strict=True)
    return tuple(replace(layer, stride=(layer.stride[0], int(stride))) for layer, stride in strides)


class DeepSpeech2(nn.Module):
    """[convolution -> batch norm -> clipped ReLU] x n_conv, [bidirectional recurrence] x n_rnn, linear, log-softmax.

    Args:
        n_freq: F, bins of the features.
        vocab_size: V, blank included.
        n_conv: 1 to 3 convolutions with channels, kernels and strides of Table 4.
        n_rnn: 1 to 7 recurrent layers [paper: 1 to 7].
        rnn_hidden: H, hidden units per direction.
        rnn_type: 'gru', 'rnn' or 'lstm'.
        batch_norm: 'output' or 'input' (the paper's Eq. 8); see ``BidirectionalRNNLayer``.
        time_strides: strides in time of the convolutions in place of Table 4's 2, 1, 1; the best English
            model of the paper strides by 3 in all (Section 6.1).
        dropout: share of features dropped before each recurrent layer and the output [ours; the paper names none].
        clip: of every clipped ReLU [paper, Section 3.1].

    Raises:
        ValueError: for numbers outside these ranges.
    """

    def __init__(
        self, n_freq: int, vocab_size: int, n_conv: int = 2, n_rnn: int = 3, rnn_hidden: int = 256,
        rnn_type: str = "gru", batch_norm: str = "output", time_strides: Sequence[int] | None = None,
        dropout: float = 0.0, clip: float = 20.0, convolutions: str | Sequence[Convolution] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 1 <= n_rnn <= 7:
            raise ValueError(f"n_rnn must be 1 to 7, not {n_rnn}")
        if rnn_hidden < 1 or n_freq < 2 or vocab_size < 2:
            raise ValueError(
                f"rnn_hidden {rnn_hidden} must be at least 1, n_freq {n_freq} and vocab_size {vocab_size} at least 2"
            )
        self.n_freq, self.vocab_size = n_freq, vocab_size
        self.features = Features(n_fft=2 * (n_freq - 1))
        self.specification = chosen_convolutions(n_conv if convolutions is None else convolutions, time_strides)
        self.convolutions = nn.ModuleList()
        channels, bins = 1, n_freq
        for layer in self.specification:
            self.convolutions.append(ConvBlock(channels, layer.channels, layer.kernel, layer.stride, clip))
            channels, bins = layer.channels, -(-bins // layer.stride[0])
        self.recurrences = nn.ModuleList()
        width = channels * bins
        for _ in range(n_rnn):
            self.recurrences.append(BidirectionalRNNLayer(width, rnn_hidden, rnn_type, batch_norm, clip))
            width = self.recurrences[-1].output_size
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, vocab_size)

    @property
    def time_stride(self) -> int:
        """Feature frames per output frame."""
        return math.prod(layer.stride[1] for layer in self.specification)

    @property
    def seconds_per_output(self) -> float:
        """Seconds from one output frame to the next."""
        return self.time_stride * self.features.seconds_per_frame

    def output_lengths(self, feature_lengths: Tensor) -> Tensor:
        """(B,) feature frames -> (B,) output frames, integers."""
        return output_lengths(feature_lengths, self.specification)

    def forward(self, features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the symbols in each output frame (Eq. 5).

        Args:
            features: (B, 1, F, T); what stands in the padding does not matter.
            feature_lengths: (B,) integer frames of each utterance, 1 to T.

        Returns:
            log_probs (T', B, V) in float32 (float64 for float64 weights), output_lengths (B,).

        Raises:
            ValueError: if shapes or lengths do not fit, or lengths are not integers.
        """
        self._check_input(features, feature_lengths)
        lengths = feature_lengths.to(features.device)
        x = features.masked_fill(~sequence_mask(lengths, features.shape[3])[:, None, None, :], 0.0)
        for block in self.convolutions:
            x, lengths = block(x, lengths)  # (B, C, F', T')
        x = x.permute(3, 0, 1, 2).flatten(2)  # (T', B, C F')
        for layer in self.recurrences:
            x = layer(self.dropout(x), lengths)  # (T', B, 2H) or (T', B, H)
        logits = self.output(self.dropout(x))  # (T', B, V)
        return F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1), lengths

    def _check_input(self, features: Tensor, lengths: Tensor) -> None:
        if features.dim() != 4 or features.shape[1] != 1 or features.shape[2] != self.n_freq:
            raise ValueError(f"features must be (B, 1, {self.n_freq}, T), not {tuple(features.shape)}")
        if lengths.is_floating_point() or lengths.shape != features.shape[:1]:
            raise ValueError(
                f"feature_lengths must be {len(features)} integers, not {lengths.dtype} of shape {tuple(lengths.shape)}"
            )
        if not 1 <= int(lengths.min()) <= int(lengths.max()) <= features.shape[3]:
            raise ValueError(f"feature_lengths must lie in 1..{features.shape[3]}, not {lengths.tolist()}")


# ---------------------------------------------------------------------------------------------
# CTC
# ---------------------------------------------------------------------------------------------


def ctc_required_frames(target: Sequence[int]) -> int:
    """Fewest output frames in which CTC can spell ``target``: one a label, one blank between equal neighbours."""
    return len(target) + sum(a == b for a, b in pairwise(target))


def ctc_loss(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``-log sum over l in Align(x, y) of prod_t p(l_t | x)`` (Eq. 9), for each utterance.

    Args:
        log_probs: (T', B, V) log-probabilities, symbol 0 the blank.
        targets: (sum of target_lengths,) labels of all utterances, one after the other, each 1..V-1.
        output_lengths: (B,) integer output frames.
        target_lengths: (B,) integer labels.

    Returns:
        (B,) losses in nats; inf where the frames are too few (see ``ctc_required_frames``): never zeroed.

    Raises:
        ValueError: if shapes, lengths or labels do not fit together.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    return F.ctc_loss(log_probs, targets, output_lengths, target_lengths, blank=0, reduction="none", zero_infinity=False)


def _check_ctc(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> None:
    if log_probs.dim() != 3 or log_probs.shape[1] == 0:
        raise ValueError(f"log_probs must be (T', B, V) with at least one utterance, not {tuple(log_probs.shape)}")
    frames, batch, vocab = log_probs.shape
    if output_lengths.shape != (batch,) or target_lengths.shape != (batch,):
        raise ValueError(
            f"log_probs (T', B, V) has B = {batch}, but there are {tuple(output_lengths.shape)} output_lengths "
            f"and {tuple(target_lengths.shape)} target_lengths"
        )
    if int(output_lengths.max()) > frames or int(output_lengths.min()) < 1:
        raise ValueError(f"output_lengths must lie in 1..{frames} (T'), not {output_lengths.tolist()}")
    if targets.dim() != 1 or int(target_lengths.sum()) != len(targets):
        raise ValueError(f"targets must be 1-D with {int(target_lengths.sum())} labels, not {tuple(targets.shape)}")
    if len(targets) and not 1 <= int(targets.min()) <= int(targets.max()) < vocab:
        raise ValueError(f"targets must lie in 1..{vocab - 1} (0 is the blank, the model has V = {vocab})")


def extend_target(target: Sequence[int]) -> list[int]:
    """The extended target l': blanks at both ends and between all labels, S = 2U + 1 states (Graves et al. 2006)."""
    extended = [CharEncoder.blank_idx] * (2 * len(target) + 1)
    extended[1::2] = target
    return extended


# The recursions below stand in log space; a state without any path has the log-probability -inf. Inside the loops it is
# -1e30, with which sums, maxima and their derivatives stay free of nan.
_IMPOSSIBLE = -1e30


def _extended_scores(log_probs: Tensor, targets: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Extended targets (B, S), log-probabilities of their symbols (T', B, S), and where a path may leave out a blank (B, S).

    From state s - 2 straight to s: only into a label, and only if it differs from the label before, for two equal labels
    without a blank between would collapse into one.
    """
    rows = [extend_target(labels.tolist()) for labels in targets.cpu().split(target_lengths.tolist())]
    states = max(map(len, rows))
    extended = torch.tensor([row + [0] * (states - len(row)) for row in rows], device=log_probs.device)  # (B, S)
    may_skip = torch.zeros_like(extended, dtype=torch.bool)
    may_skip[:, 2:] = (extended[:, 2:] != 0) & (extended[:, 2:] != extended[:, :-2])
    scores = log_probs.gather(2, extended.expand(len(log_probs), -1, -1))  # (T', B, S)
    return extended, scores.clamp_min(_IMPOSSIBLE), may_skip


def _reachable(previous: Tensor, may_skip: Tensor) -> Tensor:
    """(B, S) -> (3, B, S): what each state s takes over from the states s, s - 1 and, where allowed, s - 2."""
    one, two = F.pad(previous, (1, 0), value=_IMPOSSIBLE)[:, :-1], F.pad(previous, (2, 0), value=_IMPOSSIBLE)[:, :-2]
    return torch.stack((previous, one, torch.where(may_skip, two, _IMPOSSIBLE)))


def _last_states(target_lengths: Tensor, states: int) -> Tensor:
    """(B, S) bool: the states in which a path may end, the last label and the last blank."""
    place = torch.arange(states, device=target_lengths.device) - 2 * target_lengths[:, None]
    return (place == 0) | (place == -1)


def _log_of(recursion: Tensor) -> Tensor:
    """The same with -inf for the impossible."""
    return recursion.masked_fill(recursion < _IMPOSSIBLE / 2, -math.inf)


def _forward_recursion(scores: Tensor, may_skip: Tensor) -> Tensor:
    alpha = torch.full_like(scores[0], _IMPOSSIBLE)
    alpha[:, :2] = 0.0  # before the first frame: a path begins in the first blank or the first label
    alphas = []
    for t, frame in enumerate(scores):
        alpha = (torch.logsumexp(_reachable(alpha, may_skip), 0) if t else alpha) + frame
        alphas.append(alpha.clamp_min(_IMPOSSIBLE))
    return torch.stack(alphas)


def ctc_forward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log alpha_t(s): all beginnings of t frames of paths that stand in state s of the extended target at frame t.

    Graves et al. 2006, Eq. 5 and the recursion behind it: ``alpha_t(s) = (alpha_{t-1}(s) + alpha_{t-1}(s-1) + [may skip]
    alpha_{t-1}(s-2)) y_t(l'_s)``, from ``alpha_1(1) = y_1(blank)`` and ``alpha_1(2) = y_1(l_1)``.

    Args:
        log_probs, targets, output_lengths, target_lengths: as ``ctc_loss``.

    Returns:
        (T', B, S) log-probabilities; S of the longest target. Rows beyond an utterance's length have no meaning.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    return _log_of(_forward_recursion(scores, may_skip))


def ctc_backward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log beta_t(s): all endings, from frame t on, of paths that stand in state s at frame t.

    Graves et al. 2006, Eq. 9, the mirror of alpha: ``beta_t(s) = (beta_{t+1}(s) + beta_{t+1}(s+1) + [s+2 may skip]
    beta_{t+1}(s+2)) y_t(l'_s)``. Both count frame t: ``p(l | x) = sum_s alpha_t(s) beta_t(s) / y_t(l'_s)`` at any t (Eq. 14).
    Arguments and shapes as ``ctc_forward_variables``; -inf beyond an utterance's length.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    ends = torch.where(_last_states(target_lengths, scores.shape[2]), 0.0, _IMPOSSIBLE).to(scores.dtype)
    into = F.pad(may_skip, (0, 2))[:, 2:].flip(1)  # may s + 2 be entered from s; in mirrored states
    beta, betas = torch.full_like(scores[0], _IMPOSSIBLE), []
    for t in reversed(range(len(scores))):
        follow = torch.logsumexp(_reachable(beta.flip(1), into), 0).flip(1)
        last, inside = (output_lengths == t + 1)[:, None], (output_lengths > t)[:, None]
        beta = torch.where(last, ends, follow) + scores[t]
        beta = torch.where(inside, beta, _IMPOSSIBLE).clamp_min(_IMPOSSIBLE)
        betas.append(beta)
    return _log_of(torch.stack(betas[::-1]))


def ctc_loss_by_recursion(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``ctc_loss`` written out: ``-log(alpha_T(S) + alpha_T(S-1))`` (Graves et al. 2006, Eq. 8), to be read and drawn.

    Same arguments, value and, by autograd, gradient (of an infinite loss 0, where torch's is nan); training keeps torch's
    compiled loss, which is many times quicker.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    alpha = _forward_recursion(scores, may_skip)
    final = alpha[output_lengths - 1, torch.arange(len(output_lengths))]  # (B, S)
    final = torch.where(_last_states(target_lengths, final.shape[1]), final, _IMPOSSIBLE)
    return -_log_of(torch.logsumexp(final, 1))


def ctc_posteriors(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Probability of each symbol in each frame once the text is known: ``sum of alpha_t(s) beta_t(s) / (y_t p(l | x))``
    over the states s of the symbol.

    Returns:
        (T', B, V); each frame sums to one, frames beyond an utterance's length are 0.

    Raises:
        ValueError: for an utterance that has no path at all, or arguments that do not fit, as ``ctc_loss``.
    """
    alpha = ctc_forward_variables(log_probs, targets, output_lengths, target_lengths)
    beta = ctc_backward_variables(log_probs, targets, output_lengths, target_lengths)
    extended, scores, _ = _extended_scores(log_probs, targets, target_lengths)
    both = alpha + beta  # (T', B, S)
    both = torch.where(both > -math.inf, both - scores, _IMPOSSIBLE)
    total = torch.logsumexp(both[0], 1)  # log p(l | x), the same at every frame
    if bool((total < _IMPOSSIBLE / 2).any()):
        raise ValueError("an utterance has too few frames for its text (see ctc_required_frames): it has no posteriors")
    inside = sequence_mask(output_lengths, len(alpha)).t()[:, :, None]
    share = torch.where(inside, (both - total[:, None]).exp(), 0.0)
    return torch.zeros_like(log_probs).scatter_add_(2, extended.expand(len(alpha), -1, -1), share)


def ctc_gradient(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Gradient of ``ctc_loss`` with respect to the inputs of the softmax: ``y - posterior`` (Graves et al. 2006).

    Returns:
        (T', B, V), 0 beyond an utterance's length. Arguments and errors as ``ctc_posteriors``.
    """
    inside = sequence_mask(output_lengths, len(log_probs)).t()[:, :, None]
    return log_probs.exp() * inside - ctc_posteriors(log_probs, targets, output_lengths, target_lengths)


@dataclass(frozen=True)
class AlignedText:
    """A piece of text (a character or a word) and where it lies: ``start`` and ``end`` in seconds."""

    text: str
    start: float
    end: float


def forced_alignment(log_probs: Tensor, target: Sequence[int]) -> list[int]:
    """The likeliest path that spells ``target``: ``argmax over l in Align(x, y) of prod_t p(l_t | x)`` (Eq. 13), by Viterbi.

    Args:
        log_probs: (T', V) of one utterance.
        target: its U labels.

    Returns:
        for each of the T' frames its state s of the extended target: odd s is label ``(s - 1) / 2``, even s a blank.

    Raises:
        ValueError: if the frames are too few for the target.
    """
    frames, needed = len(log_probs), ctc_required_frames(target)
    if frames < needed or not frames:
        raise ValueError(f"{len(target)} labels need {needed} output frames (one more for equal neighbours), there are {frames}")
    labels, length = torch.tensor(list(target), dtype=torch.long), torch.tensor([len(target)])
    _, scores, may_skip = _extended_scores(log_probs.detach()[:, None].cpu(), labels, length)
    best = torch.full_like(scores[0], _IMPOSSIBLE)
    best[:, :2] = 0.0
    steps = []  # how many states each step came forward: 0, 1 or 2
    for t, frame in enumerate(scores):
        value, step = _reachable(best, may_skip).max(0) if t else (best, torch.zeros_like(may_skip, dtype=torch.long))
        best = (value + frame).clamp_min(_IMPOSSIBLE)
        steps.append(step[0].to(torch.int8))
    state = int(torch.where(_last_states(length, best.shape[1]), best, 2 * _IMPOSSIBLE).argmax())
    path = []
    for step in reversed(steps):
        path.append(state)
        state -= int(step[state])
    return path[::-1]


def character_times(
    log_probs: Tensor, text: str | Sequence[int], encoder: CharEncoder, seconds_per_frame: float
) -> list[AlignedText]:
    """Where each unit of ``text`` (a character of ``CharEncoder``) lies, by ``forced_alignment``.

    Args:
        log_probs: (T', V) of one utterance.
        text: what is said, or its labels, as a search found them.
        seconds_per_frame: hop of the features times ``model.time_stride``, such as 0.04.

    Returns:
        the units in order, from the beginning of the first to the end of the last frame of each; CTC emits a label in few
        frames, so a unit is shorter than its sound.
    """
    target = encoder.encode(text) if isinstance(text, str) else list(text)
    path = forced_alignment(log_probs, target)
    first, last = {}, {}
    for frame, state in enumerate(path):
        first.setdefault(state, frame)
        last[state] = frame
    states = range(1, 2 * len(target), 2)
    return [
        AlignedText(encoder.decode([label]), first[s] * seconds_per_frame, (last[s] + 1) * seconds_per_frame)
        for s, label in zip(states, target, strict=True)
    ]


def word_times(characters: Sequence[AlignedText]) -> list[AlignedText]:
    """Words out of the units of ``character_times``: each from the end of the space before it to the beginning of the next.

    CTC may emit the letters of a word anywhere within it, often all at its beginning, but a space where the word is over
    (``benchmarks/alignment.py``). The first word begins with its first letter, the last ends with its last.
    """
    words: list[AlignedText] = []
    space_end = None  # of the space just passed; None within a word and before all
    for unit in characters:
        if unit.text.isspace():
            if words and space_end is None:
                words[-1] = AlignedText(words[-1].text, words[-1].start, unit.start)
            space_end = unit.end
        elif words and space_end is None:
            words[-1] = AlignedText(words[-1].text + unit.text, words[-1].start, unit.end)
        else:
            words.append(AlignedText(unit.text, unit.start if space_end is None else space_end, unit.end))
            space_end = None
    return words


# ---------------------------------------------------------------------------------------------
# Decoding
# ---------------------------------------------------------------------------------------------


def greedy_decode(log_probs: Tensor, encoder: CharEncoder, lengths: Tensor | None = None) -> list[str]:
    """Best path: the likeliest symbol of each frame, collapsed (Graves et al. 2006, Eq. 4).

    Args:
        log_probs: (T', B, V).
        encoder: turns labels into text.
        lengths: (B,) output frames; None means all T'.

    Returns:
        B texts.
    """
    _check_vocabulary(log_probs, encoder)
    best = log_probs.argmax(-1).t().cpu()  # (B, T')
    lengths = [log_probs.shape[0]] * len(best) if lengths is None else lengths.tolist()
    texts = []
    for path, length in zip(best, lengths, strict=True):
        texts.append(encoder.decode(torch.unique_consecutive(path[:length]).tolist()))
    return texts


def beam_search_decode(
    log_probs: Tensor, encoder: CharEncoder, beam_width: int = 10, lengths: Tensor | None = None,
    scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0, cutoff: float = 1.0, max_labels: int | None = None,
) -> list[str]:  # fmt: skip
    """Prefix beam search: sums the paths of each text instead of taking the single best path.

    Args:
        log_probs: (T', B, V).
        encoder: turns labels into text.
        beam_width: prefixes kept after each frame; with all of them kept the result is exact.
        lengths: (B,) output frames; None means all T'.
        scorer, alpha, beta, cutoff, max_labels: language model and pruning, see ``prefix_beam_search``.

    Returns:
        B texts.
    """
    _check_vocabulary(log_probs, encoder)
    lengths = [log_probs.shape[0]] * log_probs.shape[1] if lengths is None else lengths.tolist()
    by_utterance = log_probs.detach().cpu().double().transpose(0, 1).numpy()  # (B, T', V)
    texts = []
    for frames, length in zip(by_utterance, lengths, strict=True):
        found = prefix_beam_search(frames[:length], beam_width, scorer, alpha, beta, cutoff, max_labels)
        texts.append(encoder.decode(found[0].labels) if found else "")
    return texts


class BeamScorer(Protocol):
    """What a language model tells the beam search; ``language_model.py`` holds two."""

    def start(self) -> Hashable:
        """State of the empty text."""

    def scores(self, state: Hashable) -> tuple[np.ndarray, np.ndarray]:
        """For each label, two (V,) arrays: natural log-probability and number of words that it adds when it extends the text."""

    def advance(self, state: Hashable, label: int) -> Hashable:
        """State after one more label."""

    def finish(self, state: Hashable) -> tuple[float, int]:
        """Log-probability and words added where the text ends."""


PAPER_PRUNING = {"cutoff": 0.99, "max_labels": 40}  # Section 7.3


@dataclass(frozen=True)
class Hypothesis:
    """A text found by the beam search: its labels and ``score = log_ctc + alpha log_lm + beta words`` (Eq. 12)."""

    labels: tuple[int, ...]
    score: float
    log_ctc: float
    log_lm: float = 0.0
    words: int = 0


class _Prefixes:
    """All prefixes that a search has met, as a tree: each is a number and knows its parent, its last label and its scores."""

    def __init__(self, scorer: BeamScorer | None, alpha: float, beta: float) -> None:
        self.scorer, self.alpha, self.beta = scorer, alpha, beta
        self.parent, self.label, self.children = [-1], [0], {}
        self.state, self.log_lm, self.words = [scorer.start() if scorer else None], [0.0], [0]
        self.added: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def child(self, prefix: int, label: int) -> int:
        """Number of the prefix that is one label longer."""
        number = self.children.get((prefix, label))
        if number is None:
            number = self.children[prefix, label] = len(self.parent)
            self.parent.append(prefix)
            self.label.append(label)
            if self.scorer:
                log_lm, words = self.scores(prefix)
                self.log_lm.append(self.log_lm[prefix] + float(log_lm[label]))
                self.words.append(self.words[prefix] + int(words[label]))
                self.state.append(self.scorer.advance(self.state[prefix], label))
        return number

    def scores(self, prefix: int) -> tuple[np.ndarray, np.ndarray]:
        """The scorer's answer for a prefix, asked once."""
        if prefix not in self.added:
            self.added[prefix] = self.scorer.scores(self.state[prefix])
        return self.added[prefix]

    def bonus(self, log_lm: np.ndarray | float, words: np.ndarray | float) -> np.ndarray | float:
        """``alpha log_lm + beta words``; what the model forbids stays forbidden at alpha = 0."""
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(log_lm), -np.inf, self.alpha * np.asarray(log_lm) + self.beta * np.asarray(words))

    def forget(self, prefixes: Iterable[int]) -> None:
        """Lets go of the scorer's answers for prefixes that have left the beam."""
        for prefix in prefixes:
            self.added.pop(prefix, None)

    def labels(self, prefix: int) -> tuple[int, ...]:
        """All labels of a prefix."""
        backwards = []
        while prefix:
            backwards.append(self.label[prefix])
            prefix = self.parent[prefix]
        return tuple(reversed(backwards))


def prefix_beam_search(
    log_probs: np.ndarray, beam_width: int = 10, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0,
    cutoff: float = 1.0, max_labels: int | None = None,
) -> list[Hypothesis]:  # fmt: skip
    """The likeliest label sequences of one utterance, best first.

    Each prefix carries two masses, the paths that end in blank (p_b) and those that end in its last label (p_nb). Only with
    both is a double letter told from a held one: the last label again extends the prefix after a blank, and merges into it
    otherwise. With a language model prefixes are ranked by ``Q(y) = log p_ctc + alpha log p_lm + beta word_count`` (Eq. 12).

    Args:
        log_probs: (T', V), symbol 0 the blank; each row sums to one.
        beam_width: prefixes kept after each frame; with all of them kept the result is exact.
        scorer: a language model; None for none.
        alpha, beta: weights of the language model and of the number of words, at least 0 and any.
        cutoff, max_labels: in each frame only the likeliest symbols that together reach this probability, and at most so
            many, extend a prefix [paper, Section 7.3: 0.99 and 40]; 1.0 and None take all.

    Returns:
        up to ``beam_width`` hypotheses; none where the scorer's lexicon can spell nothing in these frames.

    Raises:
        ValueError: for numbers outside these ranges, or rows that are no log-probabilities.

    Source: Hannun et al. 2014, arXiv:1408.2873.
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    _check_search(log_probs, beam_width, alpha, beta, cutoff, max_labels)
    prefixes, was_full = _Prefixes(scorer, alpha, beta), False
    beam, p_b, p_nb = np.array([0]), np.array([0.0]), np.array([-np.inf])  # the empty prefix
    for frame in log_probs:
        labels, before = _kept_labels(frame, cutoff, max_labels), beam
        beam, p_b, p_nb = _search_step(prefixes, beam, p_b, p_nb, frame, labels, beam_width)
        prefixes.forget(set(before.tolist()) - set(beam.tolist()))
        was_full = was_full or len(beam) == beam_width
        if len(beam) == 0:
            break
    hypotheses = _complete_texts(prefixes, beam, np.logaddexp(p_b, p_nb))
    if not hypotheses and was_full and beam_width < _WIDEST_AGAIN:
        return prefix_beam_search(log_probs, 4 * beam_width, scorer, alpha, beta, cutoff, max_labels)[:beam_width]
    return hypotheses


_WIDEST_AGAIN = 2000  # a search with a lexicon whose kept prefixes all end within a word is done again, wider, up to about this


def _complete_texts(prefixes: _Prefixes, beam: np.ndarray, log_ctc: np.ndarray) -> list[Hypothesis]:
    """The prefixes of the last beam as texts that end here, best first; without those that the lexicon does not let end."""
    hypotheses, scorer = [], prefixes.scorer
    for prefix, log_p in zip(beam.tolist(), log_ctc.tolist(), strict=True):
        log_lm, words = (prefixes.log_lm[prefix], prefixes.words[prefix]) if scorer else (0.0, 0)
        if scorer:
            log_end, words_end = scorer.finish(prefixes.state[prefix])
            log_lm, words = log_lm + log_end, words + words_end
        score = log_p + float(prefixes.bonus(log_lm, words))
        if score > -math.inf:
            hypotheses.append(Hypothesis(prefixes.labels(prefix), score, log_p, log_lm, words))
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def _search_step(
    prefixes: _Prefixes, beam: np.ndarray, p_b: np.ndarray, p_nb: np.ndarray, frame: np.ndarray, labels: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame of the search: the (W,) prefixes of the beam with their masses -> the next ones. K labels may extend them."""
    last = np.array([prefixes.label[prefix] for prefix in beam], dtype=np.int64)
    total = np.logaddexp(p_b, p_nb)
    grown = total[:, None] + frame[labels]  # (W, K)
    rows, columns = np.nonzero(last[:, None] == labels)
    grown[rows, columns] = p_b[rows] + frame[last[rows]]  # the last label again: only after a blank
    stay_b, stay_nb = total + frame[0], p_nb + frame[last]
    # A prefix that grows into another one of the beam adds its mass there.
    place, column = {prefix: i for i, prefix in enumerate(beam.tolist())}, {label: k for k, label in enumerate(labels.tolist())}
    for i, prefix in enumerate(beam.tolist()):
        w, k = place.get(prefixes.parent[prefix], -1), column.get(prefixes.label[prefix], -1)
        if w >= 0 and k >= 0:
            stay_nb[i], grown[w, k] = np.logaddexp(stay_nb[i], grown[w, k]), -np.inf
    stay_rank, grown_rank = np.logaddexp(stay_b, stay_nb), grown
    if prefixes.scorer:
        so_far = prefixes.bonus(np.array([prefixes.log_lm[p] for p in beam]), np.array([prefixes.words[p] for p in beam]))
        log_lm, words = (np.stack(part)[:, labels] for part in zip(*map(prefixes.scores, beam.tolist()), strict=True))
        stay_rank, grown_rank = stay_rank + so_far, grown + so_far[:, None] + prefixes.bonus(log_lm, words)
    rank = np.concatenate((stay_rank, grown_rank.ravel()))
    best = np.argpartition(-rank, width - 1)[:width] if len(rank) > width else np.arange(len(rank))
    best = best[rank[best] > -np.inf]
    stays, grows = best[best < len(beam)], best[best >= len(beam)] - len(beam)
    parents, extended = beam[grows // len(labels)].tolist(), labels[grows % len(labels)].tolist()
    new = [prefixes.child(parent, label) for parent, label in zip(parents, extended, strict=True)]
    nothing = np.full(len(new), -np.inf)
    return (
        np.concatenate((beam[stays], np.array(new, dtype=np.int64))),
        np.concatenate((stay_b[stays], nothing)), np.concatenate((stay_nb[stays], grown.ravel()[grows])),
    )  # fmt: skip


def _kept_labels(frame: np.ndarray, cutoff: float, max_labels: int | None) -> np.ndarray:
    """Labels (no blank) among the fewest symbols that together have the probability ``cutoff``, at most ``max_labels``."""
    if cutoff >= 1.0 and max_labels is None:
        return np.arange(1, len(frame))
    order = np.argsort(-frame, kind="stable")
    kept = order[: 1 + int(np.searchsorted(np.exp(frame[order]).cumsum(), cutoff))][:max_labels]
    return kept[kept > 0]


def _check_search(
    log_probs: np.ndarray, beam_width: int, alpha: float, beta: float, cutoff: float, max_labels: int | None
) -> None:  # fmt: skip
    if beam_width < 1:
        raise ValueError(f"beam_width must be at least 1, not {beam_width}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha, the weight of the language model, must be finite and at least 0, not {alpha}")
    if not math.isfinite(beta):
        raise ValueError(f"beta, the weight of the number of words, must be finite, not {beta}")
    if not 0 < cutoff <= 1 or (max_labels is not None and max_labels < 1):
        raise ValueError(f"cutoff must lie in (0, 1] and max_labels be at least 1, not {cutoff} and {max_labels}")
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs must be (T', V) of one utterance, not {log_probs.shape}")
    sums = np.exp(log_probs).sum(1)
    if not np.allclose(sums, 1.0, atol=1e-3):
        frame = int(np.argmax(~np.isclose(sums, 1.0, atol=1e-3)))
        raise ValueError(
            f"frame {frame} of log_probs sums to a probability of {sums[frame]:.4g}, not 1; "
            "the search takes log-probabilities, such as those of log_softmax"
        )


def _check_vocabulary(log_probs: Tensor, encoder: CharEncoder) -> None:
    if log_probs.dim() != 3 or log_probs.shape[2] != encoder.vocab_size:
        raise ValueError(
            f"log_probs must be (T', B, V) with the encoder's V = {encoder.vocab_size}, not {tuple(log_probs.shape)}; "
            "the model and the encoder must share one alphabet"
        )


# ---------------------------------------------------------------------------------------------
# Metrics
# ---------------------------------------------------------------------------------------------


@dataclass
class ErrorCounts:
    """Errors of hypotheses against references, with the alignment they were counted on.

    ``alignment`` holds one list per utterance of pairs (reference item, hypothesis item); None on the
    left is an insertion, on the right a deletion.
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    alignment: list[list[tuple[str | None, str | None]]] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Words (or characters) in the references."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per reference item over the whole corpus; can exceed 1. With no reference item at all: the insertions."""
        return self.errors / max(1, self.reference_length)

    def __str__(self) -> str:
        kinds = f"{self.substitutions} sub, {self.deletions} del, {self.insertions} ins"
        return f"{100 * self.rate:.2f} % ({self.errors}/{self.reference_length}: {kinds})"

    def from_worst_to_best(self) -> list[int]:
        """Utterances by their share of errors in the alignment, the worst first."""
        shares = [sum(ref != hyp for ref, hyp in pairs) / max(1, len(pairs)) for pairs in self.alignment]
        return sorted(range(len(shares)), key=shares.__getitem__, reverse=True)

    def aligned_lines(self, utterance: int) -> str:
        """REF and HYP of one utterance, words above each other, ``***`` for a gap, errors in capitals."""
        columns = []
        for ref, hyp in self.alignment[utterance]:
            pair = [ref or "*", hyp or "*"]
            pair = pair if ref == hyp else [word.upper() for word in pair]
            width = max(map(len, pair))
            columns.append([word * width if word == "*" else word.ljust(width) for word in pair])
        ref_line, hyp_line = (" ".join(column[row] for column in columns).rstrip() for row in (0, 1))
        return f"REF: {ref_line}\nHYP: {hyp_line}"


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """Levenshtein distance: fewest substitutions, deletions and insertions that turn one sequence into the other."""
    return int(_edit_table(reference, hypothesis)[-1, -1])


def _edit_table(reference: Sequence, hypothesis: Sequence) -> np.ndarray:
    """Distances of all pairs of prefixes, (len(reference) + 1, len(hypothesis) + 1).

    ``d[i, j] = min(d[i-1, j] + 1, d[i-1, j-1] + [r_i != h_j], d[i, j-1] + 1)``. A row at a time: the last term, a chain
    along the row, is a running minimum of ``d[i, j] - j``.
    """
    ids: dict = {}
    ref, hyp = (np.array([ids.setdefault(item, len(ids)) for item in items], dtype=np.int64) for items in (reference, hypothesis))
    columns = np.arange(len(hyp) + 1)
    table = np.empty((len(ref) + 1, len(hyp) + 1), dtype=np.int64)
    table[0] = columns
    for i, item in enumerate(ref, start=1):
        table[i, 0] = i
        table[i, 1:] = np.minimum(table[i - 1, 1:] + 1, table[i - 1, :-1] + (hyp != item))
        table[i] = np.minimum.accumulate(table[i] - columns) + columns
    return table


def _align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """One cheapest alignment, walked back from the end of the table; ties prefer a match or substitution."""
    table, i, j = _edit_table(reference, hypothesis), len(reference), len(hypothesis)
    pairs: list[tuple[str | None, str | None]] = []
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]


def _count_errors(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]) -> ErrorCounts:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses; each needs its partner")
    counts = ErrorCounts()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        pairs = _align(reference, hypothesis)
        counts.alignment.append(pairs)
        counts.hits += sum(ref == hyp for ref, hyp in pairs)
        counts.deletions += sum(hyp is None for _, hyp in pairs)
        counts.insertions += sum(ref is None for ref, _ in pairs)
        counts.substitutions += sum(ref is not None and hyp is not None and ref != hyp for ref, hyp in pairs)
    return counts


def _texts(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def count_word_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Word errors of one text or of a corpus; words are separated by white space.

    Raises:
        ValueError: if there are not as many hypotheses as references.
    """
    return _count_errors([text.split() for text in _texts(references)], [text.split() for text in _texts(hypotheses)])


def count_character_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Character errors of one text or of a corpus; spaces count as characters."""
    return _count_errors(_texts(references), _texts(hypotheses))


def word_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Word errors per reference word over the whole corpus, 0.05 for 5 %; see ``ErrorCounts.rate``."""
    return count_word_errors(references, hypotheses).rate


def character_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Character errors per reference character over the whole corpus."""
    return count_character_errors(references, hypotheses).rate


# ---------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------


@dataclass
class SpectrogramBatch:
    """Padded features and concatenated targets of B utterances.

    ``features`` (B, 1, F, T) float, ``feature_lengths`` (B,), ``targets`` (sum of U,), ``target_lengths`` (B,)
    integers, ``texts`` the B transcripts.
    """

    features: Tensor
    feature_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    texts: list[str]

    def to(self, device: str | torch.device) -> SpectrogramBatch:
        """The same batch with its tensors on ``device``."""
        tensors = (self.features, self.feature_lengths, self.targets, self.target_lengths)
        return SpectrogramBatch(*(tensor.to(device) for tensor in tensors), self.texts)

    def target_lists(self) -> list[list[int]]:
        """The targets of each utterance as a list of labels."""
        return [labels.tolist() for labels in self.targets.cpu().split(self.target_lengths.tolist())]


def collate_features(features: Sequence[Tensor], texts: Sequence[str], encoder: CharEncoder) -> SpectrogramBatch:
    """Pads (F, T) features at the end with zeros and concatenates the encoded texts."""
    if not features:
        raise ValueError("a batch needs at least one utterance")
    padded = nn.utils.rnn.pad_sequence([f.t() for f in features], batch_first=True)  # (B, T, F)
    labels = [encoder.encode(text) for text in texts]
    return SpectrogramBatch(
        features=padded.transpose(1, 2)[:, None].contiguous(),  # (B, 1, F, T)
        feature_lengths=torch.tensor([f.shape[1] for f in features]),
        targets=torch.tensor([label for row in labels for label in row], dtype=torch.long),
        target_lengths=torch.tensor([len(row) for row in labels]),
        texts=list(texts),
    )


def collate_batch(
    samples: Sequence[AudioSample], encoder: CharEncoder, n_fft: int = 512, features: Features | None = None
) -> SpectrogramBatch:
    """Features of the samples as one padded batch; by default 20 ms windows every 10 ms, ``n_fft // 2 + 1`` bins."""
    features = features or Features(n_fft=n_fft)
    computed = [features(sample.audio, sample.sample_rate) for sample in samples]
    return collate_features(computed, [sample.transcript for sample in samples], encoder)


# ---------------------------------------------------------------------------------------------
# SortaGrad
# ---------------------------------------------------------------------------------------------


def utterance_seconds(dataset: Sequence[AudioSample]) -> list[float]:
    """Seconds of each utterance, without reading audio where the dataset knows them."""
    seconds = getattr(dataset, "seconds", None)
    return list(seconds) if seconds is not None else [sample.seconds for sample in dataset]


def sortagrad_sampler(dataset: Sequence[AudioSample], epoch: int) -> list[int]:
    """Order of the utterances: by length in epoch 0, a random permutation afterwards (Section 3.3).

    The permutation follows ``torch.manual_seed``. Training uses ``SortaGradBatchSampler``, which orders minibatches.
    """
    seconds = utterance_seconds(dataset)
    if epoch == 0:
        return sorted(range(len(seconds)), key=seconds.__getitem__)
    return torch.randperm(len(seconds)).tolist()


class SortaGradBatchSampler(torch.utils.data.Sampler[list[int]]):
    """Minibatches by the rule of Section 3.3, for ``DataLoader(batch_sampler=...)``.

    In epoch 0 minibatches come in the order of their longest utterance. Afterwards minibatches of like
    lengths come in random order: utterances are sorted by a length shaken by up to ``jitter``, cut into
    minibatches, and these shuffled, so that little is padded and (with jitter) minibatches differ between epochs. Each
    utterance comes once an epoch.

    Args:
        seconds: length of each utterance; any unit.
        batch_size: utterances a minibatch; one may be smaller.
        sortagrad: False gives random minibatches of like lengths from the first epoch on.
        jitter: relative change of length for the sorting, 0.03 [ours].
        seed: with the epoch it fixes the order, whatever was drawn before.
    """

    def __init__(
        self, seconds: Sequence[float], batch_size: int, sortagrad: bool = True, jitter: float = 0.03, seed: int = 0
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.batch_size, self.sortagrad, self.jitter, self.seed, self.epoch = batch_size, sortagrad, jitter, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.seconds) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        first = self.sortagrad and self.epoch == 0
        shaken = self.seconds * (1.0 if first else rng.uniform(1 - self.jitter, 1 + self.jitter, len(self.seconds)))
        order = np.argsort(shaken, kind="stable").tolist()
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        if not first:
            rng.shuffle(batches)
        return iter(batches)


# ---------------------------------------------------------------------------------------------
# Training step and evaluation
# ---------------------------------------------------------------------------------------------


def infeasible_pairs(batch: SpectrogramBatch, output_lengths: Tensor) -> list[str]:
    """One sentence for each utterance that has too few output frames for CTC, with the arithmetic."""
    sentences = []
    for text, target, frames in zip(batch.texts, batch.target_lists(), output_lengths.tolist(), strict=True):
        needed = ctc_required_frames(target)
        if frames < needed:
            sentences.append(
                f"{text!r}: {len(target)} symbols + {needed - len(target)} equal neighbours need {needed} output "
                f"frames, the audio gives {frames}"
            )
    return sentences


def train_step(
    model: DeepSpeech2, batch: SpectrogramBatch, optimizer: torch.optim.Optimizer, max_norm: float = 400.0
) -> float:
    """One step: forward, CTC loss (mean over the utterances), backward, gradient clipping, update.

    Args:
        max_norm: the gradient is rescaled to this norm where it exceeds it [paper, Section 6: 400].

    Returns:
        mean loss per utterance in nats.

    Raises:
        ValueError: for an utterance with too few frames for its text; nothing is updated.
        FloatingPointError: if features or loss are not finite; no weight is updated.
    """
    model.train()
    infeasible = infeasible_pairs(batch, model.output_lengths(batch.feature_lengths))
    if infeasible:
        raise ValueError("CTC has no path for " + "; ".join(infeasible) + ". Leave it out or use a smaller stride.")
    if not torch.isfinite(batch.features).all():  # seen before they reach the running averages of batch norm
        raise FloatingPointError(f"the features hold nan or inf; one of these is broken: {batch.texts}")
    log_probs, output_lengths = model(batch.features, batch.feature_lengths)
    loss = ctc_loss(log_probs, batch.targets, output_lengths, batch.target_lengths).mean()
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()} for {batch.texts}; the weights diverged, lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def evaluation_batches(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, batch_size: int = 16
) -> Iterator[tuple[list[int], SpectrogramBatch, Tensor, Tensor]]:
    """The model's output for a dataset in minibatches of like lengths; the model is left in the mode it was in.

    Yields:
        indices into the dataset, the batch, log_probs (T', B, V), output_lengths (B,).
    """
    was_training, device = model.training, next(model.parameters()).device
    order = sorted(range(len(dataset)), key=utterance_seconds(dataset).__getitem__)
    try:
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            batch = collate_batch([dataset[i] for i in indices], encoder, features=model.features).to(device)
            yield indices, batch, *model.eval()(batch.features, batch.feature_lengths)
    finally:
        model.train(was_training)


def evaluate(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, batch_size: int = 16,
    decode: Callable[[Tensor, CharEncoder, Tensor], list[str]] = greedy_decode,
) -> dict:  # fmt: skip
    """Transcripts of a dataset and their error rates; the model is left in the mode it was in.

    Args:
        decode: turns log_probs, encoder and lengths into texts.

    Returns:
        dict with 'wer', 'cer' (corpus level), 'loss' (mean nats per utterance), 'n_samples', 'words' and
        'characters' (``ErrorCounts``), 'references', 'hypotheses' (in the dataset's order), 'blank_share' (of the
        best path's frames), 'n_infeasible' (utterances with too few frames for CTC; their infinite loss is not in the mean).
    """
    references, hypotheses = [""] * len(dataset), [""] * len(dataset)
    losses, blanks, frames = [], 0, 0
    for indices, batch, log_probs, lengths in evaluation_batches(model, dataset, encoder, batch_size):
        losses += ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths).tolist()
        valid = sequence_mask(lengths, log_probs.shape[0]).t()
        blanks += int(((log_probs.argmax(-1) == encoder.blank_idx) & valid).sum())
        frames += int(lengths.sum())
        for i, text, hypothesis in zip(indices, batch.texts, decode(log_probs, encoder, lengths), strict=True):
            references[i], hypotheses[i] = encoder.decode(encoder.encode(text)), hypothesis
    words, characters = count_word_errors(references, hypotheses), count_character_errors(references, hypotheses)
    finite = [loss for loss in losses if math.isfinite(loss)]
    return {
        "wer": words.rate, "cer": characters.rate, "loss": float(np.mean(finite)) if finite else math.nan,
        "n_samples": len(dataset), "words": words, "characters": characters, "references": references,
        "hypotheses": hypotheses, "blank_share": blanks / max(1, frames), "n_infeasible": len(losses) - len(finite),
    }  # fmt: skip
