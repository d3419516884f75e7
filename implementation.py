"""Deep Speech 2 (Amodei et al., arXiv:1512.02595) in one module, to be read from top to bottom.

The order follows the signal:

    text -> audio -> features -> convolution -> batch norm -> recurrence -> row convolution -> model
         -> CTC -> decoding -> metrics -> data -> SortaGrad -> training step

This part shows the plain definition of each step. Where a step is called as ``fast(definition)``, a faster twin that gives the
same numbers runs instead, unless ``plain_definitions()`` is on. After this part come the twins, then the appendices.
Sections, equations and tables are those of the arXiv version; a default names its source, ``[paper, Section ...]`` or
``[ours]``. Shape letters, the same everywhere:

    B   utterances in a batch          D   directions of a recurrence, 2 or 1
    T   feature frames                 H   hidden units per direction
    T'  frames after the convolutions  G   gates of the recurrence (GRU 3, LSTM 4, simple 1)
    F   frequency bins                 V   output symbols, blank included
    C   channels of a convolution      U   target symbols of an utterance
    O   its output channels            S   states of the extended target, 2U + 1
    K   bins of its kernel             W   prefixes in the beam
    L   frames of its kernel           N   labels that a language model scores

T', F': after the convolutions; under Recurrence T is the layer's own frames. Letters side by side are multiplied. In formulas
W, U and w are weights, B(x) is batch norm, f the clipped ReLU and o the element-by-element product.

This module imports nothing from the rest of the project.
"""

from __future__ import annotations

import contextlib
import functools
import math
import unicodedata
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

# ---- Text -----------------------------------------------------------------------------------

CLIP = 20.0  # bound of the clipped ReLU [paper, Section 3.1, in an unnumbered formula]
ENGLISH = "abcdefghijklmnopqrstuvwxyz '"  # Section 3.1; 29 outputs with the blank


class CharEncoder:
    """Characters to CTC labels and back; label 0 is the blank.

    >>> encoder = CharEncoder("english")
    >>> encoder.encode("Hello"), encoder.decode([8, 5, 12, 12, 15])
    ([8, 5, 12, 12, 15], 'hello')
    >>> encoder.ctc_decode([8, 8, 0, 5, 12, 12, 0, 12, 15, 15])  # hh_ell_loo
    'hello'

    Args:
        alphabet: ``'english'`` for a-z = 1..26, space 27, apostrophe 28 (Section 3.1), ``'mandarin'`` for these and 6,763 Chinese
            characters (Section 3.9), or a string or list of single characters, numbered from 1 in the order given.
        unknown: what ``encode`` does with other characters: ``'error'`` raises ValueError, ``'drop'`` leaves them out.
    """

    blank_idx = 0

    def __init__(self, alphabet: str | Sequence[str] = "english", unknown: str = "error") -> None:
        if unknown not in ("error", "drop"):
            raise ValueError(f"unknown must be 'error' or 'drop', not {unknown!r}")
        self.alphabet, self.unknown = list(_named_alphabet(alphabet)), unknown
        self._index = _Labels((char, label) for label, char in enumerate(self.alphabet, start=1))
        if len(self._index) != len(self.alphabet) or any(len(char) != 1 for char in self.alphabet):
            raise ValueError(f"an alphabet is a sequence of different single characters, not {alphabet!r}")

    @classmethod
    def from_transcripts(cls, texts: Iterable[str], unknown: str = "error") -> CharEncoder:
        """Encoder for all characters of the texts, in lower case and Unicode order; ``speech.transcripts.plain`` cleans texts."""
        return cls(sorted({char for text in texts for char in text.lower()}), unknown)

    @property
    def vocab_size(self) -> int:
        """Number of output symbols V, the blank included."""
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """Labels of a text, folded to lower case; other characters raise ValueError unless ``unknown='drop'``."""
        labels = list(map(self._index.__getitem__, text))
        if None in labels and self.unknown == "error":
            raise ValueError(_not_in_the_alphabet(text, labels.index(None)))
        return [label for label in labels if label is not None]

    def reference(self, text: str) -> str:
        """The reference for error rates: letters folded as in ``encode``, and every character kept, known or not."""
        return "".join(self.alphabet[label - 1] if (label := self._index[char]) else char for char in text)

    def decode(self, indices: Iterable[int]) -> str:
        """The text that the labels spell: nothing is merged, and blanks are left out."""
        labels = [int(i) for i in indices]
        if labels and not 0 <= min(labels) <= max(labels) < self.vocab_size:
            raise ValueError(f"labels must lie in 0..{self.vocab_size - 1}, not {labels}")
        return "".join([self.alphabet[label - 1] for label in labels if label != self.blank_idx])

    def ctc_decode(self, indices: Iterable[int]) -> str:
        """Text of a CTC path: merge adjacent repeats first, then drop blanks (Graves et al. 2006, Section 3.1)."""
        path = [int(i) for i in indices]
        return self.decode(label for t, label in enumerate(path) if t == 0 or label != path[t - 1])


# ---- Audio and features ---------------------------------------------------------------------


@dataclass
class AudioSample:
    """One utterance: ``audio``, a 1-D float waveform; ``sample_rate`` in Hz; ``transcript`` in plain letters."""

    audio: Tensor
    sample_rate: int
    transcript: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.audio) / self.sample_rate


@dataclass(frozen=True)
class CorpusStatistics:
    """Statistics of training speech: ``level``, the root mean square; ``mean`` and ``deviation`` of each of the F bins."""

    level: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def compute_spectrogram(
    audio: Tensor, sample_rate: int = 16000, window_ms: float = 20.0, stride_ms: float = 10.0, n_fft: int = 512,
    corpus: CorpusStatistics | None = None, filters: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Log power spectrogram of a power-normalised clip (Section 3.1), normalised over the utterance or over a corpus.

    ``x[p, t] = log(|sum_n w[n] a[t hop + n] exp(-2 pi i p n / n_fft)|^2 + 0.001)`` with a (periodic) Hann window w. If the
    window is longer than n_fft, the windowed frame is folded: its pieces of n_fft samples are added up. This changes no
    value, since the exponential has period n_fft in n; n_fft only chooses how many bins are kept.

    >>> compute_spectrogram(torch.randn(16000), n_fft=128).shape  # one second
    torch.Size([65, 99])

    Args:
        audio: (samples,) waveform, any scale; a clip shorter than one window is padded with zeros to that length.
        sample_rate: in Hz.
        window_ms, stride_ms: window, 20 [ICML version], and hop, 10 [Deep Speech 1; the paper names none], in ms.
        n_fft: points of the Fourier transform, an even number.
        corpus: used instead of the clip's own power, mean and deviation, for audio that is still arriving (Section 7).
        filters: (F, n_fft // 2 + 1) weights of sums that replace the bins, see ``compute_log_mel``; None keeps the bins.

    Returns:
        (F, T), F = n_fft // 2 + 1, in ``audio``'s dtype; without ``corpus``, mean 0 and standard deviation 1 (constant clip: 0).

    Raises:
        ValueError: if the clip is empty, not 1-D or not finite, or n_fft is odd or below 2.
    """
    audio = _checked_audio(audio, n_fft)
    if corpus is None:
        audio = audio - audio.mean()  # a sound card's constant offset is not speech [ours]
    level = _level(audio)
    audio = audio / (level if corpus is None else corpus.level)
    frames = _windowed_frames(audio, round(sample_rate * window_ms / 1000), round(sample_rate * stride_ms / 1000), n_fft)
    spectrum = torch.fft.rfft(frames)  # (T, F)
    # The logarithm is the ICML version's; the floor 0.001 (50 dB below the mean power of a frame) and the normalisation are ours.
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    features = (power if filters is None else power @ filters.to(power).t()).add_(1e-3).log_()
    features -= features.mean() if corpus is None else features.new_tensor(corpus.mean)
    features /= features.square().mean().sqrt().clamp_min(1e-5) if corpus is None else features.new_tensor(corpus.deviation)
    return features.t()  # (F, T)


def _windowed_frames(audio: Tensor, window_length: int, hop: int, n_fft: int) -> Tensor:
    """(samples,) -> (T, n_fft): Hann-windowed frames, folded where the window is longer than n_fft."""
    audio = F.pad(audio, (0, max(0, window_length - len(audio))))
    pieces = -(-window_length // n_fft)
    zeros = pieces * n_fft - window_length  # after the window, and after the last frame
    window = F.pad(torch.hann_window(window_length, dtype=audio.dtype, device=audio.device), (0, zeros))
    frames = F.pad(audio, (0, zeros)).unfold(0, pieces * n_fft, hop) * window  # (T, pieces * n_fft)
    return frames.unflatten(1, (pieces, n_fft)).sum(1) if pieces > 1 else frames  # (T, n_fft)


@dataclass(frozen=True)
class Features:
    """How audio becomes a model's input; also gives the numbers of bins, frames and seconds.

    >>> Features(n_fft=128).bins, Features().frames(1.0), Features(sample_rate=11025).seconds_per_frame
    (65, 99, 0.009977324263038548)

    Attributes:
        kind, window_ms, stride_ms, n_fft, n_mels: 'spectrogram' or 'logmel', and its sizes; see ``compute_log_mel``.
        sample_rate: of the audio, in Hz; window and hop are whole numbers of samples.
        normalisation: 'utterance': mean 0 and standard deviation 1 over each utterance; 'corpus': by fixed statistics.
        corpus: those statistics, taken from the training speech; None until they are known.
    """

    kind: str = "spectrogram"
    sample_rate: int = 16000
    window_ms: float = 20.0
    stride_ms: float = 10.0
    n_fft: int = 512
    n_mels: int = 80
    normalisation: str = "utterance"
    corpus: CorpusStatistics | None = None

    def __post_init__(self) -> None:
        _check_features(self)

    def __call__(self, audio: Tensor, rate: int | None = None) -> Tensor:
        """(samples,) waveform at ``rate`` Hz (default ``sample_rate``) -> (F, T); ValueError if corpus statistics are missing."""
        if (self.normalisation == "corpus") != (self.corpus is not None):
            raise ValueError("features normalised over a corpus need its statistics: get them from corpus_features(...)")
        is_mel, frames = self.kind == "logmel", {"window_ms": self.window_ms, "stride_ms": self.stride_ms, "corpus": self.corpus}
        compute, size = (compute_log_mel, {"n_mels": self.n_mels}) if is_mel else (compute_spectrogram, {"n_fft": self.n_fft})
        return compute(audio, rate or self.sample_rate, **size, **frames)

    @property
    def window(self) -> int:
        """Samples in a window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.sample_rate * self.stride_ms / 1000)

    @property
    def bins(self) -> int:
        """F, the number of values in a frame."""
        return self.n_mels if self.kind == "logmel" else self.n_fft // 2 + 1

    @property
    def seconds_per_frame(self) -> float:
        """The true hop: at 11025 Hz, 10 ms is rounded to 110 samples, which last 9.977 ms."""
        return self.hop / self.sample_rate

    def frames(self, seconds: float) -> int:
        """T for audio of this length; audio shorter than a window gives one frame."""
        return 1 + max(0, round(seconds * self.sample_rate) - self.window) // self.hop


# ---- Convolution and batch norm -------------------------------------------------------------


def sequence_mask(lengths: Tensor, max_length: int) -> Tensor:
    """(B,) integer lengths -> (B, max_length) bool, True where a frame belongs to the utterance.

    >>> sequence_mask(torch.tensor([3, 1]), 3).int().tolist()
    [[1, 1, 1], [1, 0, 0]]
    """
    return torch.arange(max_length, device=lengths.device) < lengths[:, None]


class ClippedReLU(nn.Module):
    """``min(max(x, 0), clip)`` (Section 3.1).

    >>> ClippedReLU()(torch.tensor([-1.0, 3.0, 25.0])).tolist()
    [0.0, 3.0, 20.0]
    """

    def __init__(self, clip: float = CLIP) -> None:
        super().__init__()
        if not clip > 0:
            raise ValueError(f"clip must be above 0, not {clip}")
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, self.clip)


def normalize(x: Tensor, mask: Tensor, count: float, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scales x to mean 0 and variance 1 over the ``count`` values where mask is 1, else to 0; also returns E[x] and Var[x]."""
    mean = over_processes((x * mask).sum(dims, keepdim=True)) / count  # over_processes: for data parallelism, see shared_batch
    centred = (x - mean) * mask
    var = over_processes(centred.square().sum(dims, keepdim=True)) / count
    return centred / torch.sqrt(var + eps), mean, var


class SequenceBatchNorm(nn.Module):
    """Sequence-wise batch norm over the frames that are speech, not padding.

    ``B(x) = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta`` (Eq. 6). For each feature, E and Var run over
    all utterances of the batch and over all their frames (Section 3.2); for the channels of a convolution
    also over frequency [ours]. Padding counts in neither and comes out as 0. Evaluation uses the running
    averages from training instead, as in Section 3.2.

    Args:
        num_features: D H, G H or H for a recurrence (see ``RecurrentLayer``), O for a convolution.
        eps: added to the variance.
        momentum: weight of the newest batch in the running averages, 0.1 [ours, as in torch].
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))  # gamma
        self.bias = nn.Parameter(torch.zeros(num_features))  # beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(T, B, features), or (B, O, F', T') from a convolution, finite in the padding too -> the same shape, 0 in the padding.

        ``lengths``: (B,) valid frames of each utterance; None: all T. Raises ValueError if x has the wrong shape.
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
            count = int(over_processes(lengths.sum())) * (1 if recurrent else x.shape[2])
            # twin: _NormalizeValid, with its backward pass by hand; tests/implementation/test_batch_norm.py
            y, mean, var = fast(normalize)(x, mask, float(max(count, 1)), dims, self.eps)
            self._update(mean.flatten(), var.flatten(), count)
        else:
            y = (x - self.running_mean.view(shape)) * torch.rsqrt(self.running_var + self.eps).view(shape) * mask
        return torch.addcmul(self.bias.view(shape) * mask, y, self.weight.view(shape))

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Updates the running averages; as in torch, the variance is the unbiased one, with n - 1 in its denominator."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((var * count / max(count - 1, 1)).to(self.running_var.dtype), self.momentum)


def conv_output_lengths(lengths: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Frames that a convolution makes from (B,) integer ``lengths``: ``floor((T + 2 p - k) / s) + 1``, integers throughout.

    >>> conv_output_lengths(torch.tensor([100, 37]), kernel=11, stride=2, padding=5).tolist()
    [50, 19]
    """
    return torch.div(lengths + 2 * padding - kernel, stride, rounding_mode="floor") + 1


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``w * x``: (B, C, F, T) -> (B, O, F', T')."""
    return conv(x)


class ConvBlock(nn.Module):
    """Convolution over frequency and time, sequence-wise batch norm and clipped ReLU (Sections 3.1, 3.2, 3.5).

    ``h = f(B(w * x))``: padding is "same", and strides shrink the output. The batch norm's beta serves as the bias.

    Args:
        in_channels, out_channels: C and O. With ``in_channels`` = C F the bins become channels: a 1D convolution over time.
        kernel, stride: (frequency, time), in bins and frames; kernel sizes are odd.
        clip: bound of the clipped ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int] = (41, 11),
        stride: tuple[int, int] = (2, 2), clip: float = CLIP,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm: SequenceBatchNorm | None = SequenceBatchNorm(out_channels)
        self.activation = ClippedReLU(clip)

    def without_batch_norm(self) -> ConvBlock:
        """The same block with a bias instead of batch norm, for comparisons such as Tables 1 and 2."""
        self.norm, self.conv.bias = None, nn.Parameter(self.conv.weight.new_zeros(self.conv.out_channels))
        return self

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that the block makes from ``lengths`` frames, see ``conv_output_lengths``."""
        return conv_output_lengths(lengths, self.conv.kernel_size[1], self.conv.stride[1], self.conv.padding[1])

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, F, T), 0 in the padding, and (B,) lengths -> both after the block."""
        lengths = self.output_lengths(lengths)
        x = x.reshape(len(x), self.conv.in_channels, -1, x.shape[3])  # 1D: (B, C F, 1, T); 2D: unchanged
        x = fast(convolve)(x, self.conv)  # (B, O, F', T'); twin: convolve_faster; tests/implementation/test_convolution.py
        if self.norm is None:
            return self.activation(x) * sequence_mask(lengths, x.shape[3])[:, None, None], lengths
        return self.activation(self.norm(x, lengths)), lengths


@dataclass(frozen=True)
class Convolution:
    """A convolution from Table 4: channels, and kernel and stride as (frequency bins, frames); a 1D kernel has 0 bins."""

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


# Table 4, keyed by the names of its rows.
CONVOLUTIONS = {
    "1-layer 1D": (Convolution(1280, (0, 11), (1, 2)),),
    "2-layer 1D": (Convolution(640, (0, 5), (1, 1)), Convolution(640, (0, 5), (1, 2))),
    "3-layer 1D": (*[Convolution(512, (0, 5), (1, 1))] * 2, Convolution(512, (0, 5), (1, 2))),
    "1-layer 2D": (Convolution(32, (41, 11), (2, 2)),),
    "2-layer 2D": (Convolution(32, (41, 11), (2, 2)), Convolution(32, (21, 11), (2, 1))),
    "3-layer 2D": (Convolution(32, (41, 11), (2, 2)), Convolution(32, (21, 11), (2, 1)), Convolution(96, (21, 11), (2, 1))),
}


def output_lengths(feature_lengths: Tensor, convolutions: Sequence[Convolution]) -> Tensor:
    """(B,) feature frames -> (B,) frames after the convolutions, integers throughout.

    >>> output_lengths(torch.tensor([99]), CONVOLUTIONS["2-layer 2D"])
    tensor([50])
    """
    for layer in convolutions:
        feature_lengths = conv_output_lengths(feature_lengths, layer.kernel[1], layer.stride[1], layer.kernel[1] // 2)
    return feature_lengths


# ---- Recurrence -----------------------------------------------------------------------------
# All directions run at once: x is (T, D, B, G H), and each step is one batched product of the states with the
# matrices U. Step s of direction 0 is frame s; step s of direction 1 is frame T-1-s. mask is (T, D, B, 1): where it
# is 0, the state is 0. Example: two utterances of 5 and 3 frames; "." is padding:
#
#     step         0 1 2 3 4           step         0 1 2 3 4
#     direction 0  a b c d e           direction 1  e d c b a
#                  p q r . .                        . . r q p     begins, from a zero state, at the utterance's own end

State = tuple[Tensor, ...]  # (D, B, H) each: h, and for an LSTM also c


def gru_step(x: Tensor, state: State, u: Tensor) -> State:
    """Eq. 10, with the gates in torch's order r, z, n::

        r = sigmoid(W_r x + b_r + U_r h),  z = sigmoid(W_z x + b_z + U_z h),  n = tanh(W_n x + b_n + r o U_n h)
        h = (1 - z) o n + z o h

    Departs from the paper: there z weighs the new candidate; here, as in torch, it weighs the old state (our z is the
    paper's 1 - z, so nothing is lost). The candidate uses tanh, the usual choice; the paper used the clipped ReLU
    after finding that both do equally well (Section 3.4).
    """
    (h,) = state
    xr, xz, xn = x.chunk(3, dim=-1)
    gr, gz, gn = torch.bmm(h, u.transpose(1, 2)).chunk(3, dim=-1)
    r, z = torch.sigmoid(xr + gr), torch.sigmoid(xz + gz)
    n = torch.tanh(xn + r * gn)
    return ((1 - z) * n + z * h,)


def rnn_step(x: Tensor, state: State, u: Tensor, clip: float = CLIP) -> State:
    """Eq. 3, the simple recurrence: ``h = min(max(W x + b + U h, 0), clip)``."""
    return ((x + torch.bmm(state[0], u.transpose(1, 2))).clamp(0.0, clip),)


def recur(step: Callable[..., State], x: Tensor, u: Tensor, mask: Tensor, start: State | None = None) -> tuple[Tensor, State]:
    """The recurrence, frame by frame.

    Args:
        step: one of the steps above.
        x: (T, D, B, GH) input side, ``W x + b``.
        u: (D, GH, H) recurrent matrices.
        mask: (T, D, B, 1), 1 where the step belongs to the utterance.
        start: the state before the first step; None means zeros.

    Returns:
        (T, D, B, H) states h, and the state after the last step (0 for an utterance that ended earlier), to continue from.
    """
    zeros = x.new_zeros(*x.shape[1:3], u.shape[2])
    state, states = start or (zeros, zeros)[: 2 if step is lstm_step else 1], []
    for x_t, m in zip(x, mask, strict=True):
        state = tuple(part * m for part in step(x_t, state, u))
        states.append(state[0])
    return torch.stack(states), state


class RecurrentLayer(nn.Module):
    """Recurrence in both directions or forward only, with sequence-wise batch norm in one of four placements.

    'output' [ours]: each direction has its own W, b and U; the states of the directions are
        concatenated, then normalised, then clipped: ``clip(B([fwd h, bwd h]))``, width D H.
    'input' [paper]: Eq. 8, ``h_t = f(B(W x_t) + U h_{t-1})``. Only the input side is normalised, before U h is added;
        nothing is done to the output. The directions share W (the paper says so of the simple RNN), but each has its own
        U. Beta is the bias, and the directions are summed (Section 3.1), width H.
    'none': like 'input', but with ``W x + b`` instead of ``B(W x)``, for comparison (Tables 1 and 2).
    'step': Eq. 7, which the paper rejects because its statistics come from a single step; see ``recur_normalized``.

    Padding has no influence: the backward direction starts at each utterance's own end, and outputs in the padding are 0.

    Args:
        input_size: features per frame.
        hidden_size: H per direction.
        rnn_type: 'gru' (Eq. 10), 'rnn' (simple, with the clipped ReLU inside the recurrence, Eq. 3) or 'lstm'.
        batch_norm: 'output', 'input', 'none' or, for 'rnn', 'step'.
        clip: bound of the clipped ReLU [paper, Section 3.1].
        bidirectional: False leaves out the backward direction, which needs the whole utterance.
    """

    GATES: ClassVar[dict[str, int]] = {"gru": 3, "rnn": 1, "lstm": 4}

    def __init__(
        self, input_size: int, hidden_size: int, rnn_type: str = "gru", batch_norm: str = "output", clip: float = CLIP,
        bidirectional: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        _check_layer(rnn_type, batch_norm)
        self.input_size, self.hidden_size, self.rnn_type, self.batch_norm = input_size, hidden_size, rnn_type, batch_norm
        self.clip, self.bidirectional, self.directions = clip, bidirectional, 2 if bidirectional else 1
        rows, own = self.GATES[rnn_type] * hidden_size, self.directions if batch_norm == "output" else 1
        self.weight_ih = nn.Parameter(torch.empty(own, rows, input_size))  # W
        self.weight_hh = nn.Parameter(torch.empty(self.directions, rows, hidden_size))  # U
        self.bias = nn.Parameter(torch.zeros(own, rows)) if batch_norm in ("output", "none") else None  # b
        normalized = {"output": self.directions * hidden_size, "none": 0}.get(batch_norm, rows)
        self.norm = SequenceBatchNorm(normalized) if normalized else None
        self.activation = ClippedReLU(clip) if batch_norm == "output" else nn.Identity()
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """Features per frame of the output: D H if concatenated, H if summed."""
        return self.hidden_size * (self.directions if self.batch_norm == "output" else 1)

    def reset_parameters(self) -> None:
        """Draws W uniformly within +-1/sqrt(H), as torch does, and makes U orthogonal per gate [ours; the paper is silent]."""
        nn.init.uniform_(self.weight_ih, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        for gate in self.weight_hh.data.view(-1, self.hidden_size, self.hidden_size):
            nn.init.orthogonal_(gate)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, input_size), 0 in the padding, and (B,) lengths -> (T, B, output_size), 0 in the padding."""
        return self.run(x, lengths)[0]

    def run(self, x: Tensor, lengths: Tensor, start: State | None = None) -> tuple[Tensor, State]:
        """``forward`` from a given state; also returns the last state, where utterances that fill all T frames can continue."""
        # twin: layer_states_fused, on CUDA; tests/implementation/test_recurrence.py
        states, end = fast(layer_states)(self, x, lengths, start)  # (T, B, D, H)
        if self.batch_norm != "output":
            return states.sum(2), end  # (T, B, H)
        return self.activation(self.norm(states.flatten(2), lengths)), end  # (T, B, D H)

    def input_side(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``W x + b``, ``B(W x)`` or ``W x``, depending on where batch norm is: (T, B, input_size) -> (T, B, D, GH)."""
        bias = None if self.bias is None else self.bias.flatten()
        side = F.linear(x, self.weight_ih.flatten(0, 1), bias)  # (T, B, GH), or with a W per direction (T, B, D GH)
        if self.batch_norm == "output":
            return side.unflatten(2, (self.directions, -1))
        side = self.norm(side, lengths) if self.batch_norm == "input" else side
        return side.unsqueeze(2).expand(-1, -1, self.directions, -1)

    def step(self) -> Callable[..., State]:
        """The recurrence for one frame."""
        steps = {"gru": gru_step, "rnn": functools.partial(rnn_step, clip=self.clip), "lstm": lstm_step}
        return steps[self.rnn_type]


def layer_states(layer: RecurrentLayer, x: Tensor, lengths: Tensor, start: State | None = None) -> tuple[Tensor, State]:
    """All states of a layer, before its output: (T, B, input_size) -> (T, B, D, H), and the last state."""
    side = layer.input_side(x, lengths)  # (T, B, D, GH)
    dtype = torch.float64 if side.dtype == torch.float64 else torch.float32  # states never in half precision
    mask = sequence_mask(lengths, len(side)).t().to(dtype)[:, :, None, None].expand(-1, -1, layer.directions, -1)
    steps, masks = _by_step(side).to(dtype), _by_step(mask)  # (T, D, B, GH), (T, D, B, 1)
    with torch.autocast(side.device.type, enabled=False):
        if layer.batch_norm == "step":
            states, end = recur_normalized(layer, steps, masks, start)
        else:
            # twin: recur_faster, with backward passes by hand; tests/implementation/test_recurrence.py
            states, end = fast(recur)(layer.step(), steps, layer.weight_hh, masks, start)  # (T, D, B, H)
    return _by_step(states.transpose(1, 2)).transpose(1, 2), end  # back by frame, (T, B, D, H)


def _by_step(x: Tensor) -> Tensor:
    """(T, B, D, H) by frame -> (T, D, B, H) by step: direction 1 is reversed."""
    return torch.stack([x[:, :, 0], *(x[:, :, d].flip(0) for d in range(1, x.shape[2]))], dim=1)


# ---- Row convolution ------------------------------------------------------------------------


class RowConvolution(nn.Module):
    """Looks ahead by a fixed number of frames: ``r_{t,i} = sum_{j=1}^{tau+1} W_{i,j} h_{t+j-1,i}`` (Eq. 11).

    Each feature i is filtered by itself, over the present frame and the next tau frames, never the past. It sits above all
    recurrent layers of a forward-only model (Section 3.7). Frames past the utterance's end are 0. With tau = 1, W_i = (2, 1):

        h  a     b     c   . .
        r  2a+b  2b+c  2c  . .

    Args:
        features: d, features per frame.
        lookahead: tau, the number of future frames, at least 1 [paper, Section 7.4: 19]. Initially frames pass unchanged [ours].
    """

    def __init__(self, features: int, lookahead: int) -> None:
        super().__init__()
        if features < 1 or lookahead < 1:
            raise ValueError(f"features and lookahead must be at least 1, not {features} and {lookahead}")
        self.features, self.lookahead = features, lookahead
        self.weight = nn.Parameter(F.one_hot(torch.zeros(features, dtype=torch.long), lookahead + 1).float())  # W

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(T, B, features) and (B,) valid frames (None: all T) -> (T, B, features), 0 in the padding."""
        if lengths is not None:
            x = x * sequence_mask(lengths, len(x)).t()[:, :, None]
        return self.over(F.pad(x, (0, 0, 0, 0, 0, self.lookahead)))

    def over(self, x: Tensor) -> Tensor:
        """(T + tau, B, features) -> (T, B, features), the frames whose future is known."""
        return F.conv1d(x.permute(1, 2, 0), self.weight[:, None], groups=self.features).permute(2, 0, 1)


# ---- Model ----------------------------------------------------------------------------------


class DeepSpeech2(nn.Module):
    """[convolution -> batch norm -> clipped ReLU] x n_conv, recurrence x n_rnn, linear, log-softmax.

    A forward-only model can transcribe while someone speaks; a row convolution may follow its recurrences (Section 3.7).

    The shapes as a one-second utterance passes through ``DeepSpeech2(n_freq=65, vocab_size=29)``:

        features                   (1, 1, 65, 99)   (B, 1, F, T)
        convolution, stride 2, 2   (1, 32, 33, 50)  (B, C, F', T')
        convolution, stride 2, 1   (1, 32, 17, 50)
        frames first               (50, 1, 544)     (T', B, C F')
        recurrence, three times    (50, 1, 512)     (T', B, 2H)
        linear, log-softmax        (50, 1, 29)      (T', B, V)

    Args:
        n_freq, vocab_size: F, bins of the features, and V, output symbols including the blank.
        n_conv: 1 to 3 convolutions with the channels, kernels and strides of Table 4.
        n_rnn: 1 to 7 recurrent layers [paper: 1 to 7].
        rnn_hidden: H, hidden units per direction.
        rnn_type, batch_norm, clip, bidirectional: see ``RecurrentLayer``; batch_norm 'none' applies to the convolutions too.
        time_strides: strides of the convolutions in time, instead of Table 4's 2, 1, 1; the paper's best English
            model has a total stride of 3 (Section 6.1).
        dropout: share of features dropped before each recurrent layer and the output [ours; the paper names none].
        convolutions: used instead of n_conv: the name of a row of ``CONVOLUTIONS``, or a list of ``Convolution``.
        row_conv: tau, frames that a ``RowConvolution`` looks ahead; 0: no row convolution.
        fc_hidden: units of a fully connected layer ``f(W h + b)`` before the output (Eq. 4); 0: no such layer.

    ``model.features`` computes its input: spectrograms of ``n_freq`` bins, unless replaced. Sizes out of range raise ValueError.
    """

    def __init__(
        self, n_freq: int, vocab_size: int, n_conv: int = 2, n_rnn: int = 3, rnn_hidden: int = 256,
        rnn_type: str = "gru", batch_norm: str = "output", time_strides: Sequence[int] | None = None,
        dropout: float = 0.0, clip: float = CLIP, convolutions: str | Sequence[Convolution] | None = None,
        bidirectional: bool = True, row_conv: int = 0, fc_hidden: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        _check_sizes(n_freq, vocab_size, n_rnn, rnn_hidden)
        _check_top(bidirectional, row_conv, fc_hidden)
        self.n_freq, self.vocab_size, self.features = n_freq, vocab_size, Features(n_fft=2 * (n_freq - 1))
        self.specification = chosen_convolutions(n_conv if convolutions is None else convolutions, time_strides)
        self.convolutions, channels, bins = nn.ModuleList(), 1, n_freq
        for layer in self.specification:
            one_d = layer.kernel[0] == 0
            channels, bins = (channels * bins, 1) if one_d else (channels, bins)
            kernel, stride = ((1, layer.kernel[1]), (1, layer.stride[1])) if one_d else (layer.kernel, layer.stride)
            block = ConvBlock(channels, layer.channels, kernel, stride, clip)
            self.convolutions.append(block.without_batch_norm() if batch_norm == "none" else block)
            channels, bins = layer.channels, -(-bins // stride[0])
        self.recurrences, width = nn.ModuleList(), channels * bins
        for _ in range(n_rnn):
            self.recurrences.append(RecurrentLayer(width, rnn_hidden, rnn_type, batch_norm, clip, bidirectional))
            width = self.recurrences[-1].output_size
        self.row_convolution = RowConvolution(width, row_conv) if row_conv else None
        self.dropout = nn.Dropout(dropout)
        self.fully_connected = nn.Sequential(nn.Linear(width, fc_hidden), ClippedReLU(clip)) if fc_hidden else None
        self.output = nn.Linear(fc_hidden or width, vocab_size)

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
        """Log-probabilities of the symbols in each output frame (Eq. 5): (T', B, V) in float32, and (B,) output lengths.

        ``features``: (B, 1, F, T); values in the padding do not matter. ``feature_lengths``: (B,) integers, 1 to T.
        Raises ValueError if shapes or lengths do not fit. float64 weights give float64 results.
        """
        check_input(self.n_freq, features, feature_lengths)
        lengths = feature_lengths.to(features.device)
        x = features.masked_fill(~sequence_mask(lengths, features.shape[3])[:, None, None, :], 0.0)
        for block in self.convolutions:
            x, lengths = block(x, lengths)  # (B, C, F', T')
        x = x.permute(3, 0, 1, 2).flatten(2)  # (T', B, C F')
        for layer in self.recurrences:
            x = layer(self.dropout(x), lengths)  # (T', B, D H) or (T', B, H)
        if self.row_convolution is not None:
            x = self.row_convolution(x, lengths)
        return self.log_probs(x), lengths

    def log_probs(self, x: Tensor) -> Tensor:
        """Runs the layers above recurrence and row convolution, frame by frame: (T', B, D H) or (T', B, H) -> (T', B, V)."""
        if self.fully_connected is not None:
            x = self.fully_connected(self.dropout(x))  # Eq. 4
        logits = self.output(self.dropout(x))  # (T', B, V)
        return F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)


# ---- CTC ------------------------------------------------------------------------------------
# The smallest example: two frames, each blank with 0.6 and "a" with 0.4. The likeliest path is blank, blank: "" with
# 0.36. But three paths spell "a" (a blank, blank a, a a), with 0.64 together. CTC sums over paths; greedy decoding does not.
#
# The trellis for "all" in 7 frames, the states of the extended target from top to bottom. A path begins in one of the first two,
# ends in one of the last two, and moves by 0, 1 or 2 states per frame; by 2 only from a label to a different label:
#
#     blank  . . . . . . .
#     a      o-o . . . . .
#     blank  . .\. . . . .
#     l      . . o-o . . .         a a l l _ l l  ->  "all"
#     blank  . . . .\o . .
#     l      . . . . .\o-o
#     blank  . . . . . . .


def ctc_loss(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``-log sum over l in Align(x, y) of prod_t p(l_t | x)`` (Eq. 9), for each utterance.

    >>> two_frames, one, two = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log(), torch.tensor([1]), torch.tensor([2])
    >>> round(math.exp(-ctc_loss(two_frames, targets=one, output_lengths=two, target_lengths=one)), 2)
    0.64

    Args:
        log_probs: (T', B, V) log-probabilities; symbol 0 is the blank.
        targets: (sum of target_lengths,) labels of all utterances, one after the other, each 1..V-1.
        output_lengths: (B,) integer output frames.
        target_lengths: (B,) integer labels.

    Returns:
        (B,) losses in nats; inf, never 0, if there are too few frames (see ``ctc_required_frames``). Raises ValueError
        if shapes, lengths or labels do not fit together.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    return F.ctc_loss(log_probs, targets, output_lengths, target_lengths, blank=0, reduction="none", zero_infinity=False)


def ctc_required_frames(target: Sequence[int]) -> int:
    """Fewest output frames in which CTC can spell ``target``: one per label, and one per blank between equal neighbours.

    >>> ctc_required_frames(CharEncoder().encode("hello"))  # 5 letters, and a blank between the two l
    6
    """
    return len(target) + sum(a == b for a, b in pairwise(target))


def extend_target(target: Sequence[int]) -> list[int]:
    """The extended target l': blanks at both ends and between all labels, S = 2U + 1 states (Graves et al. 2006).

    >>> extend_target([1, 2, 2])
    [0, 1, 0, 2, 0, 2, 0]
    """
    extended = [CharEncoder.blank_idx] * (2 * len(target) + 1)
    extended[1::2] = target
    return extended


# The recursions below work in log space; a state that no path reaches has the log-probability -inf. The loops use -1e30
# instead, so that sums, maxima and their derivatives stay free of nan. Graves' formulas count states and frames from 1,
# the code from 0; T stands for T' here.
_IMPOSSIBLE = -1e30


def _extended_scores(log_probs: Tensor, targets: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Extended targets (B, S), log-probabilities of their symbols (T', B, S), and where a path may leave out a blank (B, S).

    A path may go from state s - 2 straight to s only if s is a label and differs from the label before: two equal labels
    without a blank between them would collapse into one.
    """
    rows = [extend_target(labels.tolist()) for labels in targets.cpu().split(target_lengths.tolist())]
    states = max(map(len, rows))
    extended = torch.tensor([row + [0] * (states - len(row)) for row in rows], device=log_probs.device)  # (B, S)
    may_skip = torch.zeros_like(extended, dtype=torch.bool)
    may_skip[:, 2:] = (extended[:, 2:] != 0) & (extended[:, 2:] != extended[:, :-2])
    scores = log_probs.gather(2, extended.expand(len(log_probs), -1, -1))  # (T', B, S)
    return extended, scores.clamp_min(_IMPOSSIBLE), may_skip


def _reachable(previous: Tensor, may_skip: Tensor) -> Tensor:
    """(B, S) -> (3, B, S): what each state s receives from the states s, s - 1 and, where allowed, s - 2."""
    one, two = F.pad(previous, (1, 0), value=_IMPOSSIBLE)[:, :-1], F.pad(previous, (2, 0), value=_IMPOSSIBLE)[:, :-2]
    return torch.stack((previous, one, torch.where(may_skip, two, _IMPOSSIBLE)))


def _last_states(target_lengths: Tensor, states: int) -> Tensor:
    """(B, S) bool: the states in which a path may end, the last label and the last blank."""
    place = torch.arange(states, device=target_lengths.device) - 2 * target_lengths[:, None]
    return (place == 0) | (place == -1)


def _log_of(recursion: Tensor) -> Tensor:
    """The same values with -inf for impossible states."""
    return recursion.masked_fill(recursion < _IMPOSSIBLE / 2, -math.inf)


def _forward_recursion(scores: Tensor, may_skip: Tensor) -> Tensor:
    alpha = torch.full_like(scores[0], _IMPOSSIBLE)
    alpha[:, :2] = 0.0  # before the first frame: a path begins in the first blank or the first label
    alphas = []
    for t, frame in enumerate(scores):
        alpha = (torch.logsumexp(_reachable(alpha, may_skip), 0) if t else alpha) + frame
        alphas.append(alpha.clamp_min(_IMPOSSIBLE))
    return torch.stack(alphas)


def ctc_loss_by_recursion(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``ctc_loss`` written out: ``-log(alpha_T(S) + alpha_T(S-1))`` (Graves et al. 2006, Eq. 8), for reading and drawing.

    It has the same arguments, value and, by autograd, gradient (0 for an infinite loss, where torch's is nan). Training uses
    torch's compiled loss, which is many times faster.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    alpha = _forward_recursion(scores, may_skip)
    final = alpha[output_lengths - 1, torch.arange(len(output_lengths))]  # (B, S)
    final = torch.where(_last_states(target_lengths, final.shape[1]), final, _IMPOSSIBLE)
    return -_log_of(torch.logsumexp(final, 1))


# ---- Decoding -------------------------------------------------------------------------------


def greedy_decode(log_probs: Tensor, encoder: CharEncoder, lengths: Tensor | None = None) -> list[str]:
    """The best path: the likeliest symbol of each frame, collapsed (Graves et al. 2006, Eq. 4): (T', B, V) -> B texts.

    ``lengths``: (B,) output frames; None means all T'.
    """
    _check_vocabulary(log_probs, encoder)
    best = log_probs.argmax(-1).t().cpu()  # (B, T')
    lengths = [log_probs.shape[0]] * len(best) if lengths is None else lengths.tolist()
    merged = [torch.unique_consecutive(path[:length]).tolist() for path, length in zip(best, lengths, strict=True)]
    return [encoder.decode(path) for path in merged]


PAPER_PRUNING = {"cutoff": 0.99, "max_labels": 40}  # Section 7.3


@dataclass(frozen=True)
class Hypothesis:
    """A text found by the beam search: its labels and ``score = log_ctc + alpha log_lm + beta words`` (Eq. 12)."""

    labels: tuple[int, ...]
    score: float
    log_ctc: float
    log_lm: float = 0.0
    words: int = 0


def prefix_beam_search(
    log_probs: np.ndarray, beam_width: int = 10, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0,
    cutoff: float = 1.0, max_labels: int | None = None,
) -> list[Hypothesis]:  # fmt: skip
    """The likeliest label sequences of one utterance, best first (Hannun et al. 2014, arXiv:1408.2873).

    >>> two_frames = np.log([[0.6, 0.4], [0.6, 0.4]])  # (T', V)
    >>> [(hypothesis.labels, round(math.exp(hypothesis.log_ctc), 2)) for hypothesis in prefix_beam_search(two_frames)]
    [((1,), 0.64), ((), 0.36)]

    Args:
        log_probs: (T', V); symbol 0 is the blank, and the probabilities in each row sum to one.
        beam_width: prefixes kept after each frame; if all are kept, the result is exact.
        scorer: a language model, to rank prefixes by Q(y) of Eq. 12; None: they are ranked by log p_ctc alone.
        alpha, beta: weights of the language model (at least 0) and of the number of words (any number).
        cutoff, max_labels: in each frame only the likeliest symbols extend a prefix: those that together reach the probability
            ``cutoff``, and at most ``max_labels`` of them [paper, Section 7.3: 0.99 and 40]; 1.0 and None keep all.

    Returns:
        up to ``beam_width`` hypotheses; none if nothing in the scorer's lexicon can be spelled in these frames.

    Raises:
        ValueError: for numbers outside these ranges, or rows that are not log-probabilities.
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    _check_search(beam_width, alpha, beta, cutoff, max_labels)
    _check_log_probs(log_probs)
    # twin: search_faster, all prefixes and labels of a frame at once; tests/implementation/test_decoding.py
    hypotheses, full = fast(_search)(log_probs, beam_width, scorer or _NoModel(), alpha, beta, cutoff, max_labels)
    if not hypotheses and full and beam_width < _WIDEST_AGAIN:
        return prefix_beam_search(log_probs, 4 * beam_width, scorer, alpha, beta, cutoff, max_labels)[:beam_width]
    return hypotheses


def _search(
    log_probs: np.ndarray, width: int, scorer: BeamScorer, alpha: float, beta: float, cutoff: float, max_labels: int | None
) -> tuple[list[Hypothesis], bool]:
    """The search by its definition; also returns whether the beam was ever full.

    Each prefix has two probabilities: p_b sums the paths that end in blank, p_nb those that end in its last label. Double
    letters need both: repeating the last label makes a longer prefix only after a blank; otherwise it is the same letter, held.
    Prefixes are ranked by ``Q(y) = log p_ctc + alpha log p_lm + beta word_count`` (Eq. 12); all probabilities are logarithms.
    For each prefix, ``texts`` keeps the language model's state, log p_lm and the number of words, and computes their bonus.
    """
    beam, texts, full = {(): (0.0, -math.inf)}, _PrefixTexts(scorer, alpha, beta), False  # prefix -> log p_b, log p_nb
    for frame in log_probs:
        grown: dict[tuple[int, ...], tuple[float, float]] = {}
        labels = _kept_labels(frame, cutoff, max_labels)
        for prefix, (p_b, p_nb) in beam.items():
            p, last = np.logaddexp(p_b, p_nb), prefix[-1] if prefix else 0
            _add_masses(grown, prefix, p + frame[0], p_nb + frame[last])
            for label in labels.tolist():
                _add_masses(grown, (*prefix, label), -math.inf, (p_b if label == last else p) + frame[label])
        rank = {prefix: np.logaddexp(*masses) + texts.bonus(*texts.account(prefix)[1:]) for prefix, masses in grown.items()}
        best = sorted(rank, key=rank.__getitem__, reverse=True)[:width]
        beam = {prefix: grown[prefix] for prefix in best if rank[prefix] > -math.inf}
        full = full or len(beam) == width
    return texts.complete([(prefix, *texts.account(prefix), np.logaddexp(*masses)) for prefix, masses in beam.items()]), full


# ---- Metrics --------------------------------------------------------------------------------


@dataclass
class ErrorCounts:
    """Errors of hypotheses against references, with the alignment they were counted on.

    ``alignment`` holds for each utterance a list of pairs (reference item, hypothesis item); None on the
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
        """Errors per reference item over the whole corpus; can exceed 1. Without reference items, the number of insertions."""
        return self.errors / max(1, self.reference_length)

    def __str__(self) -> str:
        kinds = f"{self.substitutions} sub, {self.deletions} del, {self.insertions} ins"
        return f"{100 * self.rate:.2f} % ({self.errors}/{self.reference_length}: {kinds})"

    def from_worst_to_best(self) -> list[int]:
        """Indices of the utterances, sorted by their share of errors in the alignment, worst first."""
        shares = [sum(ref != hyp for ref, hyp in pairs) / max(1, len(pairs)) for pairs in self.alignment]
        return sorted(range(len(shares)), key=shares.__getitem__, reverse=True)

    def aligned_lines(self, utterance: int) -> str:
        """REF and HYP lines of one utterance, word above word, with ``***`` for a gap and S, D or I below each error.

        >>> print(count_word_errors("the cat sat down", "the bat sat down now").aligned_lines(0))
        REF: the cat sat down ***
        HYP: the bat sat down now
                 S            I
        """
        return _aligned_lines(self.alignment[utterance])


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """Levenshtein distance: fewest substitutions, deletions and insertions that turn one sequence into the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    return int(fast(_edit_table)(reference, hypothesis)[-1, -1])


def _edit_table(reference: Sequence, hypothesis: Sequence) -> np.ndarray:
    """Distances between all pairs of prefixes, (len(reference) + 1, len(hypothesis) + 1)."""
    d = np.zeros((len(reference) + 1, len(hypothesis) + 1), dtype=np.int64)
    d[:, 0], d[0] = np.arange(len(reference) + 1), np.arange(len(hypothesis) + 1)
    for i, ref in enumerate(reference, start=1):
        for j, hyp in enumerate(hypothesis, start=1):
            d[i, j] = min(d[i - 1, j] + 1, d[i - 1, j - 1] + (ref != hyp), d[i, j - 1] + 1)
    return d  # twin: edit_table_by_rows; tests/implementation/test_metrics.py


def count_word_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Word errors of one text or of a corpus; words are separated by white space.

    >>> print(count_word_errors(["see the moon", "hello"], ["see a moon", "hello hello"]))
    50.00 % (2/4: 1 sub, 0 del, 1 ins)

    Raises ValueError if the numbers of hypotheses and references differ.
    """
    return _count_errors([text.split() for text in _texts(references)], [text.split() for text in _texts(hypotheses)])


def count_character_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Character errors of one text or of a corpus; spaces count as characters."""
    return _count_errors(_texts(references), _texts(hypotheses))


def word_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Word errors per reference word over the whole corpus, 0.05 for 5 %; see ``ErrorCounts.rate``.

    >>> word_error_rate("see the moon now", "see a moon now")
    0.25
    """
    return count_word_errors(references, hypotheses).rate


def character_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Character errors per reference character over the whole corpus."""
    return count_character_errors(references, hypotheses).rate


# ---- Data -----------------------------------------------------------------------------------


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
    """One padded batch of the samples' features: spectrograms of ``n_fft`` points, or other ``features``, such as a model's."""
    features = features or Features(n_fft=n_fft)
    computed = [features(sample.audio, sample.sample_rate) for sample in samples]
    return collate_features(computed, [sample.transcript for sample in samples], encoder)


# ---- SortaGrad ------------------------------------------------------------------------------


class SortaGradBatchSampler(torch.utils.data.Sampler[list[int]]):
    """Minibatches by the rule of Section 3.3, for ``DataLoader(batch_sampler=...)``.

    In epoch 0, minibatches come in the order of their longest utterance. Afterwards minibatches of similar
    lengths come in random order: utterances are sorted by their lengths, randomly changed by up to ``jitter``, and cut
    into minibatches, which are shuffled. So there is little padding, and (with jitter) minibatches differ between
    epochs. Each utterance comes once per epoch.

    >>> list(SortaGradBatchSampler([5, 1, 9, 3, 7], batch_size=2))
    [[1, 3], [0, 4], [2]]

    Args:
        seconds, batch_size: length of each utterance; utterances per minibatch (the last one may be smaller).
        sortagrad: False gives random minibatches of similar lengths from the first epoch onwards.
        jitter: largest relative change to a length before sorting, 0.03 [ours].
        seed: the seed and the epoch alone decide the order.
    """

    def __init__(
        self, seconds: Sequence[float], batch_size: int, sortagrad: bool = True, jitter: float = 0.03, seed: int = 0
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.batch_size, self.sortagrad, self.jitter, self.seed, self.epoch = batch_size, sortagrad, jitter, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration, counted from 0."""
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


# ---- Training step and evaluation -----------------------------------------------------------


def train_step(model: DeepSpeech2, batch: SpectrogramBatch, optimizer: torch.optim.Optimizer, max_norm: float = 400.0) -> float:
    """One step: forward, CTC loss, backward, gradient clipping and update. Returns the mean loss per utterance in nats.

    Args:
        max_norm: a gradient with a larger norm is rescaled to this norm [paper, Section 6: 400].

    Raises:
        ValueError: for an utterance with too few frames for its text; nothing is updated.
        FloatingPointError: if features, loss or gradient are not finite; nothing is updated.
    """
    model.train()
    infeasible = infeasible_pairs(batch, model.output_lengths(batch.feature_lengths))
    if infeasible:
        raise ValueError("CTC has no path for " + "; ".join(infeasible) + ". Leave it out or use a smaller stride.")
    if not torch.isfinite(batch.features).all():  # checked before they reach the running averages of batch norm
        raise FloatingPointError(f"the features hold nan or inf; one of these is broken: {batch.texts}")
    averages = [buffer.clone() for buffer in model.buffers()]
    log_probs, output_lengths = model(batch.features, batch.feature_lengths)
    loss = batch_mean(ctc_loss(log_probs, batch.targets, output_lengths, batch.target_lengths))  # in parallel: over all shares
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        optimizer.zero_grad(set_to_none=True)
        for buffer, average in zip(model.buffers(), averages, strict=True):
            buffer.copy_(average)
        what = f"the loss is {loss.item()}" if not torch.isfinite(loss) else f"the norm of the gradient is {norm.item()}"
        raise FloatingPointError(f"{what} for {batch.texts}; the weights diverged: lower the learning rate")
    optimizer.step()
    return loss.item()


def evaluate(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, batch_size: int = 16,
    decode: Callable[[Tensor, CharEncoder, Tensor], list[str]] = greedy_decode,
) -> dict:  # fmt: skip
    """Transcribes a dataset with ``decode`` and counts the errors; the model's mode, training or evaluation, is kept.

    Returns:
        dict with 'wer', 'cer' (corpus level), 'loss' (mean nats per utterance), 'n_samples', 'words' and 'characters'
        (``ErrorCounts``; see ``compared_characters``), 'references', 'hypotheses' (in the dataset's order), 'blank_share' (of the
        best path's frames), 'n_infeasible' (utterances with too few frames for CTC; the mean leaves out their infinite loss).
    """
    references, hypotheses, losses, blanks, frames = [""] * len(dataset), [""] * len(dataset), [], 0, 0
    for indices, batch, log_probs, lengths in evaluation_batches(model, dataset, encoder, batch_size):
        losses += ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths).tolist()
        valid = sequence_mask(lengths, log_probs.shape[0]).t()
        blanks += int(((log_probs.argmax(-1) == encoder.blank_idx) & valid).sum())
        frames += int(lengths.sum())
        for i, text, hypothesis in zip(indices, batch.texts, decode(log_probs, encoder, lengths), strict=True):
            references[i], hypotheses[i] = (" ".join(words.split()) for words in (encoder.reference(text), hypothesis))
    words, characters = _words_and_characters(references, hypotheses, encoder)
    finite = [loss for loss in losses if math.isfinite(loss)]
    return {
        "wer": words.rate, "cer": characters.rate, "loss": float(np.mean(finite)) if finite else math.nan,
        "n_samples": len(dataset), "words": words, "characters": characters, "references": references,
        "hypotheses": hypotheses, "blank_share": blanks / max(1, frames), "n_infeasible": len(losses) - len(finite),
    }  # fmt: skip


def train(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, epochs: int, batch_size: int = 8, lr: float = 3e-3
) -> list[float]:
    """Trains in fifteen lines; returns each epoch's mean loss. ``training/loop.py`` adds schedules, augmentation and resuming."""
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    sampler, means = SortaGradBatchSampler(utterance_seconds(dataset), batch_size), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # the first one from short to long, then random minibatches
        losses = []
        for indices in sampler:
            batch = collate_batch([dataset[i] for i in indices], encoder, features=model.features)
            losses.append(train_step(model, batch, optimizer))
        means.append(sum(losses) / len(losses))
    return means


# ---------------------------------------------------------------------------------------------
# The same numbers, faster
# ---------------------------------------------------------------------------------------------
# Each of these is the twin of a plain definition above; ``fast`` runs the twin in its place.

_TWINS: dict[Callable, Callable] = {}  # plain definition -> its faster twin
_plain_only = False


def fast(definition: Callable) -> Callable:
    """The faster twin of a plain definition, if it has one: same arguments and same numbers, as the tests prove."""
    return definition if _plain_only else _TWINS.get(definition, definition)


@contextlib.contextmanager
def plain_definitions() -> Iterator[None]:
    """Inside this context the plain definitions run: slower, but a debugger can follow each line."""
    global _plain_only
    before, _plain_only = _plain_only, True
    try:
        yield
    finally:
        _plain_only = before


_batch_is_shared = False


@contextlib.contextmanager
def shared_batch() -> Iterator[None]:
    """Inside this context the processes of torch.distributed share one minibatch (Section 4.1) and take each step together.

    Batch norm and the loss are then those of the whole minibatch; ``training/parallel.py`` has the rest.
    """
    global _batch_is_shared
    before, _batch_is_shared = _batch_is_shared, True
    try:
        yield
    finally:
        _batch_is_shared = before


def over_processes(sums: Tensor) -> Tensor:
    """Sums over a share of the minibatch -> sums over all of it, differentiable; unchanged outside ``shared_batch``."""
    return _SumOverProcesses.apply(sums) if _batch_is_shared else sums


def batch_mean(losses: Tensor) -> Tensor:
    """Mean of a minibatch's losses (B,); if it is shared, each process gets the mean over the whole minibatch.

    So each process starts its backward pass from the same loss, and the gradients of P processes sum to P times the gradient of
    the whole minibatch. DistributedDataParallel takes their mean, which is that gradient.
    """
    if not _batch_is_shared:
        return losses.mean()
    return over_processes(losses.sum()) / over_processes(torch.tensor(len(losses), device=losses.device))


class _SumOverProcesses(torch.autograd.Function):
    """Each process's sum goes into the loss of every process, so its derivative is the sum of theirs."""

    @staticmethod
    def forward(ctx, sums: Tensor):
        total = sums.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        return _SumOverProcesses.apply(grad)


class _NormalizeValid(torch.autograd.Function):
    """``normalize`` with its backward pass derived by hand; it keeps one tensor for that pass instead of five.

    Let g be the gradient of y where m is 1. As mean and var depend on every valid x,
    ``dx = m (g - sum(g) / n - y sum(g y) / n) / sqrt(var + eps)``.
    """

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, count: float, dims: tuple[int, ...], eps: float):
        mean = over_processes((x * mask).sum(dims, keepdim=True)) / count
        y = (x - mean).mul_(mask)
        var = over_processes(y.square().sum(dims, keepdim=True)) / count
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
        sums = torch.stack([grad.sum(ctx.dims, keepdim=True), (grad * y).sum(ctx.dims, keepdim=True)])
        mean_grad, mean_grad_y = over_processes(sums) / ctx.count  # both in one message
        dx = torch.addcmul(grad, y, mean_grad_y, value=-1.0).sub_(mean_grad).mul_(mask).mul_(rstd)
        return dx, None, None, None, None


_TWINS[normalize] = _NormalizeValid.apply


def convolve_faster(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``convolve`` by faster methods on a CPU in full precision, and by torch's own method elsewhere."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or conv.bias is not None:
        return conv(x)
    if conv.kernel_size[0] == 1 and x.shape[2] == 1:
        return _strided_conv1d(x[:, :, 0], conv.weight[:, :, 0], conv.stride[1])[:, :, None]
    road = convolution_by_rows if conv.in_channels == 1 else convolution_by_coefficients
    return road(x, conv.weight, conv.stride)


_TWINS[convolve] = convolve_faster


def _strided_conv1d(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """``F.conv1d`` with padding of half the kernel; ``stride`` neighbouring frames become channels, so no stride is needed.

    Same numbers: (B, C, T) and (O, C / groups, L) -> (B, O, ceil(T / stride)). Libraries are slow with strides.
    """
    length, frames = weight.shape[2], x.shape[2]
    if stride == 1:
        return F.conv1d(x, weight, padding=length // 2, groups=groups)
    taps = -(-length // stride)
    after = (-(-frames // stride) + taps - 1) * stride - frames - length // 2
    x = F.pad(x, (length // 2, after)).unflatten(2, (-1, stride)).transpose(2, 3).flatten(1, 2)  # (B, C stride, T / stride)
    weight = F.pad(weight, (0, taps * stride - length)).unflatten(2, (taps, stride)).transpose(2, 3).flatten(1, 2)
    return F.conv1d(x, weight, groups=groups)


def convolution_by_rows(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """A convolution of one channel, computed as a convolution over time alone whose channels are the kernel's rows.

    Same numbers as ``F.conv2d`` with padding of half the kernel. Libraries are slow with one input channel, especially
    in the gradient for the kernel; laid out as K channels it is an ordinary convolution.

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
    """A convolution with many channels, computed along frequency as products of Fourier coefficients.

    Same numbers as ``F.conv2d`` with padding of half the kernel, up to rounding. Along frequency a correlation is a
    product: with P >= F + K // 2 points, ``Y[k] = X[k] conj(W[k])``, where X and W are the transforms of x and of the kernel.
    What remains for each of the P // 2 + 1 coefficients k is a complex convolution over time, written as a real one with
    twice the channels, for all k at once as groups. For 21 bins this takes a third of the multiplications. The transforms
    are short, so they are computed as plain matrix products.

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
@torch.inference_mode(False)  # training must be able to use them even if they were made during inference
def _dft_matrices(bins: int, kernel: int, stride: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Real and imaginary parts of the transforms of x (k, 2, F) and of the kernel (k, 2, K), and the inverse (F', k, 2)."""
    points = bins + kernel // 2  # enough that nothing wraps around into the F bins of the output
    k = torch.arange(points // 2 + 1, dtype=torch.float64)

    def transform(size: int) -> Tensor:
        angle = 2 * math.pi / points * torch.outer(k, torch.arange(size, dtype=torch.float64))
        return torch.stack((angle.cos(), -angle.sin()), dim=1)

    outputs = torch.arange(0, bins, stride, dtype=torch.float64) - kernel // 2
    angle = 2 * math.pi / points * torch.outer(outputs, k)
    twice = (2.0 - ((k == 0) | (2 * k == points)).double()) / points  # each k except these also stands for -k
    inverse = torch.stack((angle.cos() * twice, -angle.sin() * twice), dim=2)
    return tuple(m.to(device, dtype) for m in (transform(bins), transform(kernel), inverse))


def recur_faster(
    step: Callable[..., State], x: Tensor, u: Tensor, mask: Tensor, start: State | None = None
) -> tuple[Tensor, State]:
    """``recur`` with hand-derived backward passes."""
    kind, clip = getattr(step, "func", step), getattr(step, "keywords", {}).get("clip", CLIP)
    device = x.device.type
    product_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else u.dtype
    with torch.autocast(device, enabled=False):
        if kind is lstm_step:
            states, cell = _LSTMScan.apply(x, u, mask, *(start or (None, None)), product_dtype)
            return states, (states[-1], cell)
        scan = _GRUScan if kind is gru_step else _RNNScan
        states = scan.apply(x, u, mask, start[0] if start else None, clip, product_dtype)
    return states, (states[-1],)


_TWINS[recur] = recur_faster


class _GRUScan(torch.autograd.Function):
    """``recur`` with ``gru_step``, its backward pass derived by hand: the same values and gradients in less time.

    With q = U_n h, the derivative of one step is linear in the incoming gradient d of h (mask m included)::

        d a_n = d o A            A = m (1 - z)(1 - n^2)           (a_n: input of the tanh)
        d a_r = d o A q r (1-r)  d a_z = d o m (h - n) z (1 - z)   d q = d o A r
        d h   = d o m z + [d a_r, d a_z, d q] U

    All factors except d are known before the loop, for all steps at once; the loop only multiplies by them and by U.
    The weight gradient ``sum_t [d a_r, d a_z, d q]_t^T h_{t-1}`` is one product after the loop.
    """

    @staticmethod
    def forward(ctx, x: Tensor, u: Tensor, mask: Tensor, start: Tensor | None, _clip: float | None, product_dtype: torch.dtype):
        hidden, u_t = u.shape[2], u.transpose(1, 2).to(product_dtype)
        h = _room_for_states(x, hidden, start)
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
        factors = torch.stack((a * q * r * (1 - r), mask * (h[:-1] - n) * z * (1 - z), a * r), dim=3)  # (T, D, B, 3, H)
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
        return d_gates.flatten(3), d_u.to(u.dtype), None, d_h if ctx.needs_input_grad[3] else None, None, None


class _LSTMScan(torch.autograd.Function):
    """``recur`` with ``lstm_step``; d and e are the gradients of h and c, and C = f c + i g is c before the mask m::

        e <- e m + d P         P = m o (1 - tanh(C)^2)
        d a_i = e g i (1-i)    d a_f = e c f (1-f)   d a_g = e i (1 - g^2)   d a_o = d m tanh(C) o (1-o)
        d h = [d a_i, d a_f, d a_g, d a_o] U         d c = e f

    As in ``_GRUScan``, all factors except d and e are known before the loop.
    """

    @staticmethod
    def forward(ctx, x: Tensor, u: Tensor, mask: Tensor, start: Tensor | None, cell: Tensor | None, product_dtype: torch.dtype):
        hidden, u_t = u.shape[2], u.transpose(1, 2).to(product_dtype)
        h, c = _room_for_states(x, hidden, start), _room_for_states(x, hidden, cell)
        gates, tanh = torch.empty_like(x), torch.empty_like(h[1:])  # gates hold i, f, g, o
        i, f, g, o = gates.chunk(4, dim=-1)
        for h_s, h_next, c_s, c_next, a_s, x_s, if_s, i_s, f_s, g_s, o_s, tanh_s, m in _steps(
            h[:-1], h[1:], c[:-1], c[1:], gates, x, gates[..., : 2 * hidden], i, f, g, o, tanh, mask
        ):
            _product(h_s, u_t, out=a_s)
            a_s.add_(x_s)
            if_s.sigmoid_(), g_s.tanh_(), o_s.sigmoid_()
            torch.mul(f_s, c_s, out=c_next).addcmul_(i_s, g_s)
            torch.tanh(c_next, out=tanh_s)
            c_next.mul_(m)
            torch.mul(o_s, tanh_s, out=h_next).mul_(m)
        ctx.save_for_backward(u, mask, h, c, gates, tanh)
        ctx.product_dtype = product_dtype
        return h[1:].clone(), c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, grad_cell: Tensor):
        u, mask, h, c, gates, tanh = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, dim=-1)
        into_cell = mask * o * (1 - tanh * tanh)
        factors = torch.stack((g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g * g)), dim=3)  # (T, D, B, 3, H)
        of_output = mask * tanh * o * (1 - o)
        d_gates = torch.empty_like(gates)
        d, e, d_h, u_p = torch.empty_like(h[0]), grad_cell.clone(), torch.zeros_like(h[0]), u.to(ctx.product_dtype)
        d_ifg, d_o = d_gates.unflatten(3, (4, -1)).split((3, 1), dim=3)
        steps = _steps(grad, into_cell, factors, of_output, d_gates, d_ifg, d_o.squeeze(3), f, mask)
        for grad_s, p_s, f_s, q_s, g_flat, ifg_s, o_s, forget, m in reversed(steps):
            torch.add(grad_s, d_h, out=d)
            e.mul_(m).addcmul_(d, p_s)
            torch.mul(e.unsqueeze(2), f_s, out=ifg_s)
            torch.mul(d, q_s, out=o_s)
            _product(g_flat, u_p, out=d_h)
            e.mul_(forget)
        d_u = _weight_gradient(d_gates, h[:-1], ctx.product_dtype).to(u.dtype)
        to_start = (d_h, e) if ctx.needs_input_grad[3] else (None, None)
        return d_gates, d_u, None, *to_start, None


class _RNNScan(torch.autograd.Function):
    """``recur`` with ``rnn_step``: the clipped ReLU lets the gradient through where 0 < h < clip, not at the corners."""

    @staticmethod
    def forward(ctx, x: Tensor, u: Tensor, mask: Tensor, start: Tensor | None, clip: float, product_dtype: torch.dtype):
        h, u_t = _room_for_states(x, u.shape[2], start), u.transpose(1, 2).to(product_dtype)
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
        d_u = _weight_gradient(d_x, h[:-1], ctx.product_dtype).to(u.dtype)
        return d_x, d_u, None, d_h if ctx.needs_input_grad[3] else None, None, None


def _room_for_states(x: Tensor, hidden: int, start: Tensor | None) -> Tensor:
    """(T + 1, D, B, H), where [t] is the state before step t, and [0] is the start."""
    h = x.new_zeros(x.shape[0] + 1, *x.shape[1:3], hidden)
    if start is not None:
        h[0] = start
    return h


def _steps(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cuts the tensors (T, ...) into steps before the loop: cutting inside it would take as long as the arithmetic there."""
    return list(zip(*(tensor.unbind(0) for tensor in tensors), strict=True))


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``out = a b``, batched, computed in the dtype of b."""
    if b.dtype == out.dtype:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a.to(b.dtype), b))


def _weight_gradient(d_gates: Tensor, h: Tensor, dtype: torch.dtype) -> Tensor:
    """``sum over steps and utterances of d_gates^T h``: (T, D, B, GH) and (T, D, B, H) -> (D, GH, H)."""
    left = d_gates.transpose(0, 1).flatten(1, 2).to(dtype)  # (D, T B, GH)
    return torch.bmm(left.transpose(1, 2), h.transpose(0, 1).flatten(1, 2).to(dtype))


def layer_states_fused(layer: RecurrentLayer, x: Tensor, lengths: Tensor, start: State | None = None) -> tuple[Tensor, State]:
    """``layer_states``, computed on CUDA by torch's fused kernels, which exist for the GRU and the LSTM."""
    fused = x.is_cuda and layer.rnn_type != "rnn"  # cuDNN has no clipped ReLU
    return (_fused_states if fused else layer_states)(layer, x, lengths, start)


_TWINS[layer_states] = layer_states_fused


def _fused_states(layer: RecurrentLayer, x: Tensor, lengths: Tensor, start: State | None = None) -> tuple[Tensor, State]:
    """``layer_states`` with torch's kernel: (T, B, input_size) -> (T, B, D, H), and the last state of each utterance.

    With the paper's placement, ``B(W x) = (gamma / sigma) W x + (beta - gamma mu / sigma)`` is again linear in x, so the
    statistics of the batch can go into the kernel's weights and bias; this is exact.
    """
    directions, weight_ih, bias = layer.directions, layer.weight_ih, layer.bias  # (D or 1, GH, input_size), (D or 1, GH)
    if layer.batch_norm == "input":
        scale, shift = _scale_and_shift(layer.norm, F.linear(x, weight_ih[0]), lengths)
        weight_ih, bias = weight_ih * scale[:, None], shift[None]
    weight_ih, bias = weight_ih.expand(directions, -1, -1), bias.expand(directions, -1)
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    packed = nn.utils.rnn.pack_padded_sequence(x.to(dtype), lengths.cpu(), enforce_sorted=False)
    no_bias = torch.zeros_like(bias[0])
    weights = [w.to(dtype) for d in range(directions) for w in (weight_ih[d], layer.weight_hh[d], bias[d], no_bias)]
    zeros = packed.data.new_zeros(directions, x.shape[1], layer.hidden_size)
    lstm = layer.rnn_type == "lstm"
    start = tuple(part.to(dtype)[:, packed.sorted_indices] for part in start) if start else (zeros, zeros)[: 1 + lstm]
    kernel, begin = (torch.lstm, start) if lstm else (torch.gru, start[0])
    with torch.autocast(device, enabled=False):  # autocast would use fp16 in cuDNN's kernels, whatever dtype was asked for
        states, *end = kernel(
            packed.data, packed.batch_sizes, begin, weights, True, 1, 0.0, layer.training, layer.bidirectional
        )  # fmt: skip
    states, _ = nn.utils.rnn.pad_packed_sequence(packed._replace(data=states), total_length=x.shape[0])
    return states.unflatten(2, (directions, -1)), tuple(part[:, packed.unsorted_indices] for part in end)


def _scale_and_shift(norm: SequenceBatchNorm, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Batch norm as ``scale * x + shift``: (T, B, H) and (B,) lengths -> two (H,), with their derivatives."""
    x = x if x.dtype == torch.float64 else x.float()  # statistics never in half precision
    if norm.training:
        mask = sequence_mask(lengths, x.shape[0]).t()[:, :, None].to(x.dtype)  # (T, B, 1)
        count = int(over_processes(lengths.sum()))
        mean = over_processes((x * mask).sum((0, 1))) / max(count, 1)
        var = over_processes(((x - mean) * mask).square().sum((0, 1))) / max(count, 1)
        norm._update(mean.detach(), var.detach(), count)
    else:
        mean, var = norm.running_mean, norm.running_var
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    return scale, norm.bias - scale * mean


def edit_table_by_rows(reference: Sequence, hypothesis: Sequence) -> np.ndarray:
    """``_edit_table``, one row at a time: the chain ``d[i, j-1] + 1`` along a row is a running minimum of ``d[i, j] - j``."""
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


_TWINS[_edit_table] = edit_table_by_rows


def search_faster(
    log_probs: np.ndarray, width: int, scorer: BeamScorer, alpha: float, beta: float, cutoff: float, max_labels: int | None
) -> tuple[list[Hypothesis], bool]:
    """``_search`` with all prefixes and labels of a frame at once."""
    search = BeamSearch(width, scorer, alpha, beta, cutoff, max_labels)
    search.push(log_probs)
    return search.hypotheses(), search.full


_TWINS[_search] = search_faster


_SMALL_ALPHABET = 64  # symbols; up to this size the scorer scores all of them at once for each new prefix, in fewer calls


class BeamSearch:
    """``prefix_beam_search`` frame by frame (see there for the arguments); holds the state that a stream carries between chunks.

    >>> search = BeamSearch(beam_width=2)
    >>> for frame in np.log([[0.1, 0.9, 1e-9], [0.9, 0.05, 0.05], [1e-9, 0.1, 0.9]]):
    ...     search.push(frame[None])
    >>> search.settle(), search.hypotheses()[0].labels
    ((1,), (2,))

    Attributes:
        full: whether the beam ever held ``beam_width`` prefixes.
    """

    def __init__(
        self, beam_width: int = 10, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0,
        cutoff: float = 1.0, max_labels: int | None = None,
    ) -> None:  # fmt: skip
        _check_search(beam_width, alpha, beta, cutoff, max_labels)
        self.prefixes, self.width, self.full = _Prefixes(scorer or _NoModel(), alpha, beta), beam_width, False
        self.cutoff, self.max_labels = cutoff, max_labels
        self.beam, self.p_b, self.p_nb = [0], np.array([0.0]), np.array([-np.inf])  # the empty prefix

    def push(self, log_probs: np.ndarray) -> None:
        """Takes T' more frames, (T', V)."""
        for frame in log_probs:
            if not self.beam:
                break
            labels = _kept_labels(frame, self.cutoff, self.max_labels)
            self.beam, self.p_b, self.p_nb = _search_step(
                self.prefixes, self.beam, self.p_b, self.p_nb, frame, labels, self.width
            )
            self.full = self.full or len(self.beam) == self.width

    def hypotheses(self) -> list[Hypothesis]:
        """The hypotheses if the utterance ends here, best first; without the labels that ``settle`` has returned."""
        log_ctc = np.logaddexp(self.p_b, self.p_nb).tolist()
        found = [(*self.prefixes.account(p), log_p) for p, log_p in zip(self.beam, log_ctc, strict=True)]
        return self.prefixes.texts.complete(found)

    def leading(self) -> tuple[int, ...]:
        """Labels of the best prefix while the utterance goes on; without those that ``settle`` has returned."""
        if not self.beam:
            return ()
        log_lm, words = (np.array([of[p] for p in self.beam]) for of in (self.prefixes.log_lm, self.prefixes.words))
        rank = np.logaddexp(self.p_b, self.p_nb) + self.prefixes.bonus(log_lm, words)
        return self.prefixes.account(self.beam[int(rank.argmax())])[0]

    def commit(self, labels: Sequence[int]) -> None:
        """Drops the prefixes that do not begin with these labels, which ``leading`` returned."""
        wanted = tuple(labels)
        kept = [place for place, prefix in enumerate(self.beam) if self.prefixes.account(prefix)[0][: len(wanted)] == wanted]
        self.beam, self.p_b, self.p_nb = [self.beam[place] for place in kept], self.p_b[kept], self.p_nb[kept]

    def settle(self) -> tuple[int, ...]:
        """Labels that all prefixes begin with: no later frame can change them, and the search forgets them."""
        root, parent = set(self.beam), self.prefixes.parent
        while len(root) > 1:  # a parent has a smaller number than its children
            root.remove(youngest := max(root))
            root.add(parent[youngest])
        if not root:
            return ()
        labels = self.prefixes.account(*root)[0]
        number = self.prefixes.forget(root.pop(), self.beam)
        self.beam = [number[prefix] for prefix in self.beam]
        return labels


class _Prefixes:
    """All prefixes of a search, as a tree: each has a number, a parent, a last label and scores."""

    def __init__(self, scorer: BeamScorer, alpha: float, beta: float) -> None:
        self.scorer, self.texts = scorer, _PrefixTexts(scorer, alpha, beta)
        self.parent, self.label, self.children = [-1], [0], {}
        self.state, self.log_lm, self.words = [scorer.start()], [0.0], [0]
        self.kind, self.kinds = [0], {self.state[0]: 0}  # prefixes with the same scorer state are of one kind
        self.asked, self.answers = np.array([]), {}  # labels, and the scorer's answers for them by kind of prefix

    def child(self, prefix: int, label: int, log_lm: float, words: float) -> int:
        """Number of the prefix that is one label longer; that label adds ``log_lm`` and ``words``."""
        number = self.children.get((prefix, label))
        if number is None:
            number = self.children[prefix, label] = len(self.parent)
            self.parent.append(prefix)
            self.label.append(label)
            self.log_lm.append(self.log_lm[prefix] + log_lm)
            self.words.append(self.words[prefix] + int(words))
            self.state.append(self.scorer.advance(self.state[prefix], label))
            self.kind.append(self.kinds.setdefault(self.state[-1], number))
        return number

    def scores(self, beam: list[int], labels: np.ndarray, vocab: int) -> tuple[np.ndarray, np.ndarray]:
        """The scorer's answers as two (W, N) arrays; for the same labels as last time, it is asked only about new kinds."""
        asked = np.arange(vocab) if vocab <= _SMALL_ALPHABET else labels
        known = self.answers if np.array_equal(asked, self.asked) else {}
        of_kind = {self.kind[prefix]: self.state[prefix] for prefix in beam}
        new = {kind: state for kind, state in of_kind.items() if kind not in known}
        said = dict(zip(new, self._ask(list(new.values()), asked), strict=True))
        self.asked = asked
        self.answers = {kind: known.get(kind) or said[kind] for kind in of_kind}
        row = {kind: place for place, kind in enumerate(of_kind)}
        rows = np.array([row[self.kind[prefix]] for prefix in beam])
        columns = slice(None) if asked is labels else labels
        log_lm, words = (np.stack(part)[:, columns][rows] for part in zip(*self.answers.values(), strict=True))
        return log_lm, words

    def _ask(self, states: list[Hashable], labels: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """The scorer's answer for each state; for all states at once if the scorer has ``scores_of``."""
        if hasattr(self.scorer, "scores_of") and states:
            return zip(*self.scorer.scores_of(states, labels), strict=True)
        return (self.scorer.scores(state, labels) for state in states)

    def bonus(self, log_lm: np.ndarray, words: np.ndarray) -> np.ndarray:
        """``_PrefixTexts.bonus`` for many prefixes."""
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(log_lm), -np.inf, self.texts.alpha * log_lm + self.texts.beta * words)

    def account(self, prefix: int) -> tuple[tuple[int, ...], Hashable, float, int]:
        """A prefix's labels, state of the language model, log p_lm and number of words."""
        backwards, place = [], prefix
        while place:
            backwards.append(self.label[place])
            place = self.parent[place]
        return tuple(reversed(backwards)), self.state[prefix], self.log_lm[prefix], self.words[prefix]

    def forget(self, root: int, beam: list[int]) -> dict[int, int]:
        """Keeps ``root``, which becomes the first prefix, and those from it to the beam; maps old numbers to new ones."""
        kept = {root}
        for prefix in beam:
            while prefix not in kept:
                kept.add(prefix)
                prefix = self.parent[prefix]
        order = sorted(kept)
        number = {prefix: place for place, prefix in enumerate(order)}
        self.parent = [number.get(self.parent[prefix], -1) for prefix in order]
        self.label, self.state, self.log_lm, self.words = (
            [values[prefix] for prefix in order] for values in (self.label, self.state, self.log_lm, self.words)
        )
        answers = {self.state[number[prefix]]: self.answers.get(self.kind[prefix]) for prefix in order}
        self.kinds = {}
        self.kind = [self.kinds.setdefault(state, place) for place, state in enumerate(self.state)]
        self.children = {(self.parent[place], self.label[place]): place for place in range(1, len(order))}
        self.answers = {self.kinds[state]: answer for state, answer in answers.items() if answer}
        return number


def _search_step(
    prefixes: _Prefixes, beam: list[int], p_b: np.ndarray, p_nb: np.ndarray, frame: np.ndarray, labels: np.ndarray, width: int
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """One frame of the search: the beam's W prefixes and their probabilities -> the next beam's. N labels may extend them."""
    last = np.array([prefixes.label[prefix] for prefix in beam], dtype=np.int64)
    total = np.logaddexp(p_b, p_nb)
    grown = total[:, None] + frame[labels]  # (W, N)
    rows, columns = np.nonzero(last[:, None] == labels)
    grown[rows, columns] = p_b[rows] + frame[last[rows]]  # repeats the last label: only after a blank
    stay_b, stay_nb = total + frame[0], p_nb + frame[last]
    # A prefix that grows into another one in the beam adds its probability there.
    place, column = {prefix: i for i, prefix in enumerate(beam)}, {label: n for n, label in enumerate(labels.tolist())}
    parent, label = prefixes.parent, prefixes.label
    merged = [(i, place[parent[p]], column[label[p]]) for i, p in enumerate(beam) if parent[p] in place and label[p] in column]
    i, w, n = np.array(merged, dtype=np.int64).reshape(-1, 3).T
    stay_nb[i], grown[w, n] = np.logaddexp(stay_nb[i], grown[w, n]), -np.inf
    stay_rank, grown_rank, log_lm, words = np.logaddexp(stay_b, stay_nb), grown, np.zeros(grown.shape), np.zeros(grown.shape)
    if not isinstance(prefixes.scorer, _NoModel):
        so_far = prefixes.bonus(np.array([prefixes.log_lm[p] for p in beam]), np.array([prefixes.words[p] for p in beam]))
        log_lm, words = prefixes.scores(beam, labels, len(frame))
        stay_rank, grown_rank = stay_rank + so_far, grown + so_far[:, None] + prefixes.bonus(log_lm, words)
    rank = np.concatenate((stay_rank, grown_rank.ravel()))
    best = np.argpartition(-rank, width - 1)[:width] if len(rank) > width else np.arange(len(rank))
    best = best[rank[best] > -np.inf]
    stays, grows = best[best < len(beam)], best[best >= len(beam)] - len(beam)
    parents, added = grows // len(labels), (labels[grows % len(labels)], log_lm.ravel()[grows], words.ravel()[grows])
    new = [prefixes.child(beam[w], *values) for w, *values in zip(parents.tolist(), *(a.tolist() for a in added), strict=True)]
    nothing = np.full(len(new), -np.inf)
    return (
        [beam[i] for i in stays.tolist()] + new,
        np.concatenate((stay_b[stays], nothing)), np.concatenate((stay_nb[stays], grown.ravel()[grows])),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Appendix: the other half of CTC: posteriors, gradient, and where each character and word lies in time (Eq. 13)
# ---------------------------------------------------------------------------------------------


def ctc_forward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log alpha_t(s): logarithm of the summed probability of all paths of t frames that end in state s of the extended target.

    Graves et al. 2006, Eq. 5 and the recursion behind it: ``alpha_t(s) = (alpha_{t-1}(s) + alpha_{t-1}(s-1) + [may skip]
    alpha_{t-1}(s-2)) y_t(l'_s)``, from ``alpha_1(1) = y_1(blank)`` and ``alpha_1(2) = y_1(l_1)``. Arguments as in
    ``ctc_loss``; returns (T', B, S), with the longest target's S. Rows beyond an utterance's length have no meaning.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    return _log_of(_forward_recursion(scores, may_skip))


def ctc_backward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log beta_t(s): logarithm of the summed probability of all path endings, from frame t onwards, that begin in state s.

    Graves et al. 2006, Eq. 9, the mirror of alpha: ``beta_t(s) = (beta_{t+1}(s) + beta_{t+1}(s+1) + [s+2 may skip]
    beta_{t+1}(s+2)) y_t(l'_s)``. Both count frame t: ``p(l | x) = sum_s alpha_t(s) beta_t(s) / y_t(l'_s)`` at any t (Eq. 14).
    Arguments and shapes as in ``ctc_forward_variables``; -inf beyond an utterance's length.
    """
    _check_ctc(log_probs, targets, output_lengths, target_lengths)
    _, scores, may_skip = _extended_scores(log_probs, targets, target_lengths)
    ends = torch.where(_last_states(target_lengths, scores.shape[2]), 0.0, _IMPOSSIBLE).to(scores.dtype)
    into = F.pad(may_skip, (0, 2))[:, 2:].flip(1)  # whether s + 2 may be entered from s, in mirrored states
    beta, betas = torch.full_like(scores[0], _IMPOSSIBLE), []
    for t in reversed(range(len(scores))):
        follow = torch.logsumexp(_reachable(beta.flip(1), into), 0).flip(1)
        last, inside = (output_lengths == t + 1)[:, None], (output_lengths > t)[:, None]
        beta = torch.where(last, ends, follow) + scores[t]
        beta = torch.where(inside, beta, _IMPOSSIBLE).clamp_min(_IMPOSSIBLE)
        betas.append(beta)
    return _log_of(torch.stack(betas[::-1]))


def ctc_posteriors(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Probability of each symbol in each frame, given the text: ``sum of alpha_t(s) beta_t(s) / (y_t p(l | x))`` over the
    states s of the symbol.

    Returns:
        (T', B, V); each frame sums to one; frames beyond an utterance's length are 0.

    Raises:
        ValueError: for an utterance that has no path, or arguments that do not fit, as in ``ctc_loss``.
    """
    alpha = ctc_forward_variables(log_probs, targets, output_lengths, target_lengths)
    beta = ctc_backward_variables(log_probs, targets, output_lengths, target_lengths)
    extended, scores, _ = _extended_scores(log_probs, targets, target_lengths)
    both = alpha + beta  # (T', B, S)
    both = torch.where(both > -math.inf, both - scores, _IMPOSSIBLE)
    if bool((torch.logsumexp(both[0], 1) < _IMPOSSIBLE / 2).any()):  # log p(l | x)
        raise ValueError("an utterance has no path: too few frames for its text (see ctc_required_frames), or probability 0")
    inside = sequence_mask(output_lengths, len(alpha)).t()[:, :, None]
    # Divide by the frame's own sum: it is p(l | x) in every frame, but after a thousand frames rounding makes the sums differ.
    share = torch.where(inside, torch.softmax(both, 2), 0.0)
    return torch.zeros_like(log_probs).scatter_add_(2, extended.expand(len(alpha), -1, -1), share)


def ctc_gradient(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Gradient of ``ctc_loss`` with respect to the inputs of the softmax: ``y - posterior`` (Graves et al. 2006).

    Returns:
        (T', B, V), 0 beyond an utterance's length. Arguments and errors as in ``ctc_posteriors``.
    """
    inside = sequence_mask(output_lengths, len(log_probs)).t()[:, :, None]
    return log_probs.exp() * inside - ctc_posteriors(log_probs, targets, output_lengths, target_lengths)


@dataclass(frozen=True)
class AlignedText:
    """A piece of text (a character or a word) and where it lies: ``start`` and ``end`` in seconds."""

    text: str
    start: float
    end: float


_ALIGNED_AT_ONCE = 10**7  # frames times states


def forced_alignment(log_probs: Tensor, target: Sequence[int]) -> list[int]:
    """The likeliest path that spells ``target``: ``argmax over l in Align(x, y) of prod_t p(l_t | x)`` (Eq. 13), by Viterbi.

    Args:
        log_probs: (T', V) of one utterance.
        target: its U labels.

    Returns:
        for each of the T' frames, its state s in the extended target: odd s is label ``(s - 1) / 2``, even s a blank.

    Raises:
        ValueError: if the frames are too few for the target, or no path to it has a probability above 0.
    """
    frames, needed = len(log_probs), ctc_required_frames(target)
    if frames < needed or not frames:
        raise ValueError(f"{len(target)} labels need {needed} output frames (one more for equal neighbours), but got {frames}")
    rows, states = log_probs.detach()[:, None].cpu(), 2 * len(target) + 1
    # For a long utterance, only one piece's steps are kept at a time; the others are computed again on the way back.
    piece = frames if frames * states <= _ALIGNED_AT_ONCE else math.isqrt(frames) + 1
    best, begun = torch.full((1, states), _IMPOSSIBLE, dtype=rows.dtype), []
    best[:, :1] = 0.0
    for part in rows.split(piece):
        begun.append(best)
        best, steps = _viterbi(best, part, target)
    best = torch.where(_last_states(torch.tensor([len(target)]), states), best, 2 * _IMPOSSIBLE)
    if float(best.max()) < _IMPOSSIBLE / 2:
        raise ValueError("every path that spells the target has probability 0: one of its labels is impossible in these frames")
    state, path = int(best.argmax()), []
    for number, (start, part) in reversed(list(enumerate(zip(begun, rows.split(piece), strict=True)))):
        if number < len(begun) - 1:
            _, steps = _viterbi(start, part, target)
        for step in reversed(steps):
            path.append(state)
            state -= int(step[state])
    return path[::-1]


def _viterbi(best: Tensor, log_probs: Tensor, target: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Carries the scores of the best paths into each state, (1, S), over some frames; also returns the size of each step."""
    labels, length = torch.tensor(list(target), dtype=torch.long), torch.tensor([len(target)])
    _, scores, may_skip = _extended_scores(log_probs, labels, length)
    steps = []  # by how many states each path moved: 0, 1 or 2
    for frame in scores:
        value, step = _reachable(best, may_skip).max(0)
        best = (value + frame).clamp_min(_IMPOSSIBLE)
        steps.append(step[0].to(torch.int8))
    return best, steps


def character_times(
    log_probs: Tensor, text: str | Sequence[int], encoder: CharEncoder, seconds_per_frame: float
) -> list[AlignedText]:
    """Where each unit of ``text`` (a character of ``CharEncoder``) lies, by ``forced_alignment``.

    Args:
        log_probs: (T', V) of one utterance.
        text: what is said, or its labels from a search.
        seconds_per_frame: hop of the features times ``model.time_stride``, such as 0.04.

    Returns:
        the units in order, each from the beginning of its first frame to the end of its last; CTC emits a label in few
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
    """Words from the units of ``character_times``: each from the end of the space before it to the beginning of the next.

    CTC may emit the letters of a word anywhere within it, often all at its beginning, but it emits a space where the word ends
    (``benchmarks/alignment.py``). The first word begins with its first letter, and the last word ends with its last letter.
    """
    words: list[AlignedText] = []
    space_end = None  # end of the space just passed; None within a word and before the first one
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
# Appendix: what both beam searches share
# ---------------------------------------------------------------------------------------------


def beam_search_decode(
    log_probs: Tensor, encoder: CharEncoder, beam_width: int = 10, lengths: Tensor | None = None,
    scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0, cutoff: float = 1.0, max_labels: int | None = None,
) -> list[str]:  # fmt: skip
    """Texts from ``prefix_beam_search`` (see there for the arguments); ``log_probs`` and ``lengths`` as in ``greedy_decode``."""
    _check_vocabulary(log_probs, encoder)
    lengths = [log_probs.shape[0]] * log_probs.shape[1] if lengths is None else lengths.tolist()
    by_utterance = log_probs.detach().cpu().double().transpose(0, 1).numpy()  # (B, T', V)
    texts = []
    for frames, length in zip(by_utterance, lengths, strict=True):
        found = prefix_beam_search(frames[:length], beam_width, scorer, alpha, beta, cutoff, max_labels)
        texts.append(encoder.decode(found[0].labels) if found else "")
    return texts


def _add_masses(masses: dict[tuple[int, ...], tuple[float, float]], prefix: tuple[int, ...], p_b: float, p_nb: float) -> None:
    before = masses.get(prefix, (-math.inf, -math.inf))
    masses[prefix] = np.logaddexp(before[0], p_b), np.logaddexp(before[1], p_nb)


def _kept_labels(frame: np.ndarray, cutoff: float, max_labels: int | None) -> np.ndarray:
    """Labels (no blank) among the fewest symbols that together have the probability ``cutoff``, at most ``max_labels``."""
    if cutoff >= 1.0 and max_labels is None:
        return np.arange(1, len(frame))
    likely = np.arange(len(frame))
    if max_labels is not None and max_labels < len(frame):  # sorting 6,800 symbols would take longer than all else in the frame
        likely = np.flatnonzero(frame >= np.partition(frame, -max_labels)[-max_labels])
    order = likely[np.argsort(-frame[likely], kind="stable")]
    kept = order[: 1 + int(np.searchsorted(np.exp(frame[order]).cumsum(), cutoff))][:max_labels]
    return kept[kept > 0]


class BeamScorer(Protocol):
    """What a language model tells the beam search; ``decoding/scorers.py`` has two implementations."""

    def start(self) -> Hashable:
        """State of the empty text."""

    def scores(self, state: Hashable, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each of the (N,) labels, two (N,) arrays: the natural log-probability and the words that it adds to the text.

        The blank may be among the labels; its answer is not used.
        """

    def advance(self, state: Hashable, label: int) -> Hashable:
        """State after one more label."""

    def finish(self, state: Hashable) -> tuple[float, int]:
        """Log-probability and words that the end of the text adds."""


_WIDEST_AGAIN = 2000  # below this width, a search whose prefixes all end inside a word is repeated, four times as wide


class _NoModel:
    """A language model that adds nothing."""

    def start(self) -> None:
        return None

    def scores(self, _state: None, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(labels)), np.zeros(len(labels))

    def advance(self, _state: None, _label: int) -> None:
        return None

    def finish(self, _state: None) -> tuple[float, int]:
        return 0.0, 0


class _PrefixTexts:
    """The language model's answers for prefixes; it is asked once per prefix."""

    def __init__(self, scorer: BeamScorer, alpha: float, beta: float) -> None:
        self.scorer, self.alpha, self.beta = scorer, alpha, beta
        self.known: dict[tuple[int, ...], tuple[Hashable, float, int]] = {(): (scorer.start(), 0.0, 0)}

    def account(self, prefix: tuple[int, ...]) -> tuple[Hashable, float, int]:
        """State of the language model, log p_lm and number of words of a prefix."""
        if prefix not in self.known:
            state, log_lm, words = self.account(prefix[:-1])
            log_p, completed = self.scorer.scores(state, np.array(prefix[-1:]))
            self.known[prefix] = self.scorer.advance(state, prefix[-1]), log_lm + float(log_p[0]), words + int(completed[0])
        return self.known[prefix]

    def bonus(self, log_lm: float, words: int) -> float:
        """``alpha log p_lm + beta word_count``; a text that the model forbids stays forbidden even at alpha = 0."""
        return -math.inf if log_lm == -math.inf else self.alpha * log_lm + self.beta * words

    def complete(self, found: list[tuple]) -> list[Hypothesis]:
        """Ends the texts (prefix, state, log p_lm, words, log p_ctc) here, best first; leaves out those that may not end."""
        hypotheses = []
        for prefix, state, log_lm, words, log_ctc in found:
            log_end, words_end = self.scorer.finish(state)
            score = float(log_ctc) + self.bonus(log_lm + log_end, words + words_end)
            if score > -math.inf:
                hypotheses.append(Hypothesis(prefix, score, float(log_ctc), log_lm + log_end, words + words_end))
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


# ---------------------------------------------------------------------------------------------
# Appendix: features of other recipes: log-mel
# ---------------------------------------------------------------------------------------------


def compute_log_mel(
    audio: Tensor, sample_rate: int = 16000, n_mels: int = 80, window_ms: float = 25.0, stride_ms: float = 10.0,
    scale: str = "slaney", corpus: CorpusStatistics | None = None,
) -> Tensor:  # fmt: skip
    """Log-mel features, which later recipes use instead of the paper's spectrogram; otherwise like ``compute_spectrogram``.

    >>> compute_log_mel(torch.randn(16000)).shape  # one second
    torch.Size([80, 98])

    Args:
        n_mels: F, filters from 0 Hz to half the sample rate.
        scale: 'slaney' or 'htk', see ``mel_filters``. Each filter gives a weighted mean of the bins under it, so the floor of
            the logarithm lies as far below the power of a frame as in the spectrogram.

    Returns:
        (F, T). The size of the Fourier transform is the smallest power of two that holds the window.
    """
    n_fft = 1 << max(1, round(sample_rate * window_ms / 1000) - 1).bit_length()
    filters = mel_filters(n_mels, n_fft, sample_rate, scale) * (sample_rate / n_fft)
    return compute_spectrogram(audio, sample_rate, window_ms, stride_ms, n_fft, corpus, filters)


@functools.lru_cache(maxsize=16)
def mel_filters(n_mels: int, n_fft: int, sample_rate: int, scale: str = "slaney") -> Tensor:
    """(n_mels, n_fft // 2 + 1) float64: triangles over frequency, equally wide on the mel scale, each of area 1 (1/Hz).

    Args:
        scale: 'htk': ``mel = 2595 log10(1 + f / 700)``; 'slaney': linear up to 1000 Hz (15 mel), logarithmic above, with a
            step of log(6.4) / 27.

    Raises:
        ValueError: for any other scale, or for so many filters that one lies between two bins.
    """
    if scale not in ("slaney", "htk"):
        raise ValueError(f"the mel scale is 'slaney' or 'htk', not {scale!r}")
    step, corner = math.log(6.4) / 27, 15.0

    def mel(hertz: float) -> float:
        if scale == "htk":
            return 2595 * math.log10(1 + hertz / 700)
        return hertz * 3 / 200 if hertz < 1000 else corner + math.log(hertz / 1000) / step

    mels = torch.linspace(0, mel(sample_rate / 2), n_mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)  # Hz
    if scale == "slaney":
        edges = torch.where(mels < corner, mels * 200 / 3, 1000 * torch.exp(step * (mels - corner)))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    triangles = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp_min(0)
    if not triangles.amax(1).all():
        empty = int((triangles.amax(1) == 0).nonzero()[0])
        raise ValueError(f"{n_mels} mel filters are too many for {len(bins)} bins at {sample_rate} Hz: filter {empty} gets none")
    return triangles * 2 / (high - low)


# ---------------------------------------------------------------------------------------------
# Appendix: recurrences by other names, and one that the paper rejects (Eq. 7)
# ---------------------------------------------------------------------------------------------


def lstm_step(x: Tensor, state: State, u: Tensor) -> State:
    """The LSTM, with the gates in torch's order i, f, g, o; Section 3.1 allows it as the cell. The state is (h, c)."""
    h, c = state
    i, f, g, o = (x + torch.bmm(h, u.transpose(1, 2))).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class BidirectionalRNNLayer(RecurrentLayer):
    """``RecurrentLayer`` in both directions."""

    def __init__(
        self, input_size: int, hidden_size: int, rnn_type: str = "gru", batch_norm: str = "output", clip: float = CLIP
    ) -> None:
        super().__init__(input_size, hidden_size, rnn_type, batch_norm, clip)


def gru_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """States of the GRU from a zero state; shapes as in ``recur``."""
    return recur(gru_step, x, u, mask)[0]


def rnn_loop(x: Tensor, u: Tensor, mask: Tensor, clip: float = CLIP) -> Tensor:
    """States of the simple recurrence from a zero state; shapes as in ``recur``."""
    return recur(functools.partial(rnn_step, clip=clip), x, u, mask)[0]


def lstm_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """States of the LSTM from a zero state; shapes as in ``recur``."""
    return recur(lstm_step, x, u, mask)[0]


def recur_normalized(layer: RecurrentLayer, x: Tensor, mask: Tensor, start: State | None = None) -> tuple[Tensor, State]:
    """Eq. 7, ``h_t = f(B(W x_t + U h_{t-1}))``, to try out; the paper rejects it in favour of Eq. 8. Shapes as in ``recur``.

    In training, B uses the mean and variance of one step of one direction, over the utterances that have not ended; in evaluation
    it uses running averages over all steps and both directions [ours].
    """
    h = start[0] if start else x.new_zeros(*x.shape[1:3], layer.hidden_size)
    norm, states, seen = layer.norm, [], []
    for x_t, m in zip(x, mask, strict=True):
        a = x_t + torch.bmm(h, layer.weight_hh.transpose(1, 2))  # (D, B, H)
        if norm.training:
            count = m.sum(1, keepdim=True)  # (D, 1, 1)
            a, mean, var = normalize(a, m, count.clamp_min(1.0), (1,), norm.eps)
            seen.append(torch.cat((count.expand_as(mean), count * mean, count * var)).detach())
        else:
            a = (a - norm.running_mean) * torch.rsqrt(norm.running_var + norm.eps)
        h = (a * norm.weight + norm.bias).clamp(0.0, layer.clip) * m
        states.append(h)
    if norm.training:
        count, mean, var = torch.stack(seen).unflatten(1, (3, -1)).sum((0, 2, 3))  # (H,) each
        norm._update(mean / count, var / count, int(count[0]))
    return torch.stack(states), (h,)


# ---------------------------------------------------------------------------------------------
# Appendix: languages other than English (Section 3.9)
# ---------------------------------------------------------------------------------------------

_WITHOUT_SPACES = ("CJK ", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")  # what their characters' names begin with


def _named_alphabet(alphabet: str | Sequence[str]) -> str | Sequence[str]:
    """The characters of an alphabet, which may be given by name."""
    if isinstance(alphabet, str) and alphabet in ("english", "mandarin"):
        return ENGLISH if alphabet == "english" else ENGLISH + _gb2312()
    return alphabet


@functools.cache
def _gb2312() -> str:
    """The 6,763 Chinese characters of the standard GB 2312: the 3,755 most common, by sound, then the others, by radical.

    The paper has about 6,000 (Section 3.9) and does not say which. They fill rows 16 to 87 of the standard's table, 94 a row.
    """
    cells = (bytes((0xA0 + row, 0xA0 + cell)) for row in range(16, 88) for cell in range(1, 95))
    return "".join(cell.decode("gb2312", "ignore") for cell in cells)  # five cells of row 55 are empty


def without_spaces(char: str) -> bool:
    """Whether a character belongs to a script that is written without spaces between words, such as Chinese."""
    return unicodedata.name(char, "").startswith(_WITHOUT_SPACES)


def is_spaced(encoder: CharEncoder) -> bool:
    """Whether spaces separate words: the alphabet has no character of a script that is written ``without_spaces``."""
    return not any(without_spaces(char) for unit in encoder.alphabet for char in unit)


def joint_of_words(encoder: CharEncoder) -> str:
    """What separates two words: a space; or nothing if the language has no spaces (``is_spaced``) or the alphabet lacks one."""
    return " " if " " in encoder.alphabet and is_spaced(encoder) else ""


def compared_characters(texts: Sequence[str], encoder: CharEncoder) -> list[str]:
    """The texts on which character errors are counted; without spaces if they do not separate words (``is_spaced``).

    >>> compared_characters(["我 在 北京"], CharEncoder("mandarin")), compared_characters(["see me"], CharEncoder())
    (['我在北京'], ['see me'])
    """
    return list(texts) if is_spaced(encoder) else ["".join(text.split()) for text in texts]


def _words_and_characters(
    references: Sequence[str], hypotheses: Sequence[str], encoder: CharEncoder
) -> tuple[ErrorCounts, ErrorCounts]:
    """Word errors, and character errors of ``compared_characters``."""
    compared = (compared_characters(texts, encoder) for texts in (references, hypotheses))
    return count_word_errors(references, hypotheses), count_character_errors(*compared)


def count_errors(references: Sequence[str], hypotheses: Sequence[str], encoder: CharEncoder) -> ErrorCounts:
    """The errors by which models are compared: of words or, in languages without spaces, of characters, spaces left out."""
    count = count_word_errors if is_spaced(encoder) else count_character_errors
    return count(compared_characters(references, encoder), compared_characters(hypotheses, encoder))


def measure_of(encoder: CharEncoder) -> str:
    """The name of the rate that ``count_errors`` gives: 'WER' or 'CER'."""
    return "WER" if is_spaced(encoder) else "CER"


def leading_errors(result: dict, encoder: CharEncoder) -> ErrorCounts:
    """The errors that ``count_errors`` would give, taken from a result of ``evaluate``."""
    return result["words" if is_spaced(encoder) else "characters"]


def counted_units(text: str, encoder: CharEncoder) -> list[str]:
    """The units of a text that ``count_errors`` counts: its words or its characters."""
    return text.split() if is_spaced(encoder) else list("".join(text.split()))


# ---------------------------------------------------------------------------------------------
# Appendix: alignment of two texts
# ---------------------------------------------------------------------------------------------


def _align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """One cheapest alignment, walked back from the end of the table; ties prefer a match or substitution."""
    table, i, j = fast(_edit_table)(reference, hypothesis), len(reference), len(hypothesis)
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


def _aligned_lines(pairs: Sequence[tuple[str | None, str | None]]) -> str:
    """``ErrorCounts.aligned_lines``."""
    columns = []
    for ref, hyp in pairs:
        kind = " " if ref == hyp else "I" if ref is None else "D" if hyp is None else "S"
        width = max(map(_columns_of, (ref or "", hyp or "")))
        words = ["*" * width if word is None else word for word in (ref, hyp)] + [kind]
        columns.append([word + " " * (width - _columns_of(word)) for word in words])
    ref_line, hyp_line, marks = [" ".join(row).rstrip() for row in zip(*columns, strict=True)] or ["", "", ""]
    return f"REF: {ref_line}\nHYP: {hyp_line}" + (f"\n     {marks}" if marks else "")


def _count_errors(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]) -> ErrorCounts:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses; give one hypothesis per reference")
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


# ---------------------------------------------------------------------------------------------
# Appendix: a synthetic voice, to learn from without any download
# ---------------------------------------------------------------------------------------------

# A source-filter voice [ours]: each letter has one sound, made the way speech is made. A source (pulses of the vocal folds, or
# noise) passes through a filter with three resonances, the formants. Columns: formants F1, F2, F3 in Hz, share of voicing, centre
# and width of the noise in Hz, loudness, closure before the sound (a stop is silent before it bursts) and length, both in ms.
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


def _synthetic_speaker(speaker: int, pitch: float | None = None, rate: float | None = None) -> dict[str, float]:
    """Voice number ``speaker``: pitch in Hz, speaking rate, vocal-tract length, breath and tilt; the first two may be given."""
    rng = np.random.default_rng(speaker)
    low, high = (0, 0.85, 0.87, 0.01, 0.8), (1, 1.25, 1.18, 0.06, 1.2)
    octaves, *rest = rng.uniform(low, high).tolist()
    voice = {"pitch": 85 * 2 ** (1.5 * octaves)} | dict(zip(("rate", "tract", "breath", "tilt"), rest, strict=True))
    return voice | {name: value for name, value in (("pitch", pitch), ("rate", rate)) if value is not None}


def _letter_track(text: str, rate: float) -> Tensor:
    """Targets for the voice every 5 ms: (frames, 7) formants, voicing, noise centre and width, loudness."""
    parts = []
    for before, char in pairwise(f"  {text} "):
        *targets, closure, length = _SOUNDS[char]
        closure += 40 * (char == before != " ")  # a pause, so that "ll" is heard as two letters
        length, closure = (int(np.ceil(ms * np.random.uniform(0.85, 1.15) / (5 * rate))) for ms in (length, closure))
        sound = torch.tensor(targets, dtype=torch.float32).repeat(closure + max(3, length), 1)
        sound[:closure, 6] *= 0.03
        sound[-1, 6] *= 0.15  # each letter ends with a dip, which gives the rhythm
        parts.append(sound)
    track = torch.cat(parts)
    # Neighbouring sounds blend: a moving average over 25 ms for the formants, 15 ms for the rest.
    smooth = [F.avg_pool1d(F.pad(track.t()[None], (r, r), mode="replicate"), 2 * r + 1, 1)[0].t() for r in (2, 1)]
    return torch.cat([smooth[0][:, :3], smooth[1][:, 3:4], track[:, 4:6], smooth[1][:, 6:]], dim=1)


def generate_synthetic_audio(
    text: str, sample_rate: int = 16000, speaker: int | None = None, snr_db: float | None = None, **own: float
) -> Tensor:
    """Speaks ``text`` with a source-filter voice, one sound per letter [ours]: 1-D float waveform with peak 0.5.

    Args:
        text: letters of the English alphabet, space and apostrophe; other characters or an empty text raise ValueError.
        sample_rate: in Hz; below 8000 raises ValueError.
        speaker: number of the voice; None draws one of ``TRAINING_SPEAKERS``.
        snr_db: background noise in dB below the voice; None draws 15 to 40. Draws follow the seeds of NumPy and torch.
        own: ``pitch`` in Hz and speaking ``rate`` (0.85 to 1.25 in these voices) to use instead of the speaker's.
    """
    text = text.lower()
    _check_speakable(text, sample_rate)
    voice = _synthetic_speaker(int(np.random.choice(TRAINING_SPEAKERS)) if speaker is None else speaker, **own)
    track = _letter_track(text, voice["rate"])
    hop, n_fft = sample_rate // 200, 4 * (sample_rate // 200)
    frames, samples = len(track), (len(track) - 1) * hop
    formants, noise_hz = track[:, :3] * voice["tract"], track[:, 4] * voice["tract"]
    voicing, noise_width, loudness = track[:, 3], track[:, 5], track[:, 6]

    # Source: one pulse per period of a slowly falling, slightly shaking pitch; and white noise.
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
    """Utterances of ``min_words`` to ``max_words`` random words, each spoken by a random voice from ``speakers``.

    The draws follow ``np.random.seed`` and ``torch.manual_seed``. For validation use ``speakers=VALIDATION_SPEAKERS``,
    which contains no training voice.
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
# Appendix: choices, order, output for a dataset, and checks of arguments
# ---------------------------------------------------------------------------------------------


def utterance_seconds(dataset: Sequence[AudioSample]) -> list[float]:
    """Seconds of each utterance; reads no audio if the dataset knows them."""
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


@torch.no_grad()
def evaluation_batches(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, batch_size: int = 16
) -> Iterator[tuple[list[int], SpectrogramBatch, Tensor, Tensor]]:
    """The model's output for a dataset in minibatches of similar lengths; the model's mode, training or evaluation, is kept.

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


def chosen_convolutions(
    row: int | str | Sequence[Convolution], time_strides: Sequence[int] | None = None
) -> tuple[Convolution, ...]:
    """Convolutions chosen by number (a 2D row of Table 4) or a row's name, or as given; ``time_strides`` replaces their strides.

    Raises:
        ValueError: if Table 4 has no such row, or the strides do not fit.
    """
    name = f"{row}-layer 2D" if isinstance(row, int) else row
    if isinstance(name, str) and name not in CONVOLUTIONS:
        raise ValueError(f"n_conv must be 1 to 3, and convolutions one of {', '.join(CONVOLUTIONS)} (Table 4), not {row!r}")
    layers = CONVOLUTIONS[name] if isinstance(name, str) else tuple(name)
    if time_strides is None:
        return layers
    if len(time_strides) != len(layers) or min(time_strides) < 1:
        raise ValueError(f"time_strides needs {len(layers)} strides of at least 1, one per layer, not {tuple(time_strides)}")
    pairs = zip(layers, time_strides, strict=True)
    return tuple(replace(layer, stride=(layer.stride[0], int(stride))) for layer, stride in pairs)


def infeasible_pairs(batch: SpectrogramBatch, output_lengths: Tensor) -> list[str]:
    """One sentence for each utterance that has too few output frames for CTC, with the arithmetic."""
    sentences = []
    for text, target, frames in zip(batch.texts, batch.target_lists(), output_lengths.tolist(), strict=True):
        needed = ctc_required_frames(target)
        if frames < needed:
            sentences.append(
                f"{text!r}: {len(target)} symbols + {needed - len(target)} for equal neighbours need {needed} output "
                f"frames, but the audio gives {frames}"
            )
    return sentences


def _not_in_the_alphabet(text: str, place: int) -> str:
    """A sentence about a character that an encoder lacks."""
    char = text[place]
    what_to_do = "write it in letters, or use unknown='drop' to leave such characters out"
    if unicodedata.combining(char):
        mark = unicodedata.name(char, "unnamed")
        what_to_do = f"it is {mark}, a mark of decomposed Unicode: compose the text with unicodedata.normalize('NFC', text)"
    return f"character {char!r} at position {place} of {text!r} is not in the alphabet; {what_to_do}"


class _Labels(dict):
    """Label of each character; a character outside the alphabet gets the label of its lower-case form, or None."""

    def __missing__(self, char: str) -> int | None:
        self[char] = self.get(char.lower())  # looked up once: a corpus has millions of characters
        return self[char]


def _checked_audio(audio: Tensor, n_fft: int) -> Tensor:
    """The audio as floating-point samples; raises ValueError if it is not one channel or empty, or n_fft does not fit."""
    audio = torch.as_tensor(audio)
    if audio.dim() != 1 or audio.numel() == 0:
        raise ValueError(f"audio must be one channel of at least one sample, shape (samples,), not {tuple(audio.shape)}")
    if n_fft < 2 or n_fft % 2:
        raise ValueError(f"n_fft must be even and at least 2, not {n_fft}")
    return audio if audio.is_floating_point() else audio.float()


def _check_speakable(text: str, sample_rate: int) -> None:
    if unknown := dict.fromkeys(char for char in text if char not in _SOUNDS):
        without = " ".join("".join(char if char in _SOUNDS else " " for char in text).split())
        raise ValueError(
            f"the synthetic voice has no sound for {' '.join(map(repr, unknown))} in {text!r}, because it speaks "
            "only a-z, space and apostrophe: spell them out" + (f", or leave them out: {without!r}" if without else "")
        )
    if not text.strip():
        raise ValueError("the synthetic voice has nothing to speak: the text is empty")
    if sample_rate < 8000:
        raise ValueError(f"the synthetic voice needs a sample rate of at least 8000 Hz, not {sample_rate}")


def _level(audio: Tensor) -> Tensor:
    """Root mean square of the samples, at least 1e-10."""
    rms = audio.square().mean().sqrt()
    if not torch.isfinite(rms):
        raise ValueError("audio holds values that are not finite (nan or inf); the recording is broken")
    return rms.clamp_min(1e-10)


def _check_features(features: Features) -> None:
    if features.kind not in ("spectrogram", "logmel") or features.normalisation not in ("utterance", "corpus"):
        what = f"{features.kind!r}, {features.normalisation!r}"
        raise ValueError(f"features are 'spectrogram' or 'logmel', normalised over the 'utterance' or the 'corpus', not {what}")
    if features.n_mels < 1:
        raise ValueError(f"n_mels must be at least 1, not {features.n_mels}")
    if features.window < 1 or features.hop < 1:
        times = f"a window of {features.window_ms} ms or a hop of {features.stride_ms} ms"
        raise ValueError(f"at {features.sample_rate} Hz, {times} holds no sample")
    if features.corpus and not len(features.corpus.mean) == len(features.corpus.deviation) == features.bins:
        raise ValueError(f"the corpus statistics have {len(features.corpus.mean)} bins, but the features have {features.bins}")


def _check_layer(rnn_type: str, batch_norm: str) -> None:
    if rnn_type not in RecurrentLayer.GATES:
        raise ValueError(f"rnn_type must be one of {', '.join(RecurrentLayer.GATES)}, not {rnn_type!r}")
    if batch_norm not in ("output", "input", "none", "step"):
        raise ValueError(f"batch_norm must be 'output', 'input' (the paper's), 'none' or 'step' (Eq. 7), not {batch_norm!r}")
    if batch_norm == "step" and rnn_type != "rnn":
        raise ValueError(f"batch_norm='step' (Eq. 7) works with the simple recurrence only: use rnn_type='rnn', not {rnn_type!r}")


def _check_sizes(n_freq: int, vocab_size: int, n_rnn: int, rnn_hidden: int) -> None:
    if not 1 <= n_rnn <= 7:
        raise ValueError(f"n_rnn must be 1 to 7, not {n_rnn}")
    if rnn_hidden < 1 or n_freq < 2 or vocab_size < 2:
        raise ValueError(f"rnn_hidden {rnn_hidden} must be at least 1, n_freq {n_freq} and vocab_size {vocab_size} at least 2")


def _check_top(bidirectional: bool, row_conv: int, fc_hidden: int) -> None:
    if row_conv < 0 or fc_hidden < 0:
        raise ValueError(f"row_conv and fc_hidden must be at least 0, not {row_conv} and {fc_hidden}")
    if bidirectional and row_conv:
        raise ValueError(
            f"row_conv={row_conv} looks {row_conv} frames ahead, but bidirectional layers hear the whole utterance, so it "
            "would add nothing: use bidirectional=False (Section 3.7)"
        )


def check_input(n_freq: int, features: Tensor, lengths: Tensor) -> None:
    """Raises ``ValueError`` unless features are (B, 1, n_freq, T), and lengths (B,) integers from 1 to T."""
    if features.dim() != 4 or features.shape[1] != 1 or features.shape[2] != n_freq:
        raise ValueError(f"features must be (B, 1, {n_freq}, T), not {tuple(features.shape)}")
    if lengths.is_floating_point() or lengths.shape != features.shape[:1]:
        raise ValueError(f"feature_lengths must be {len(features)} integers, not {lengths.dtype} of shape {tuple(lengths.shape)}")
    if not 1 <= int(lengths.min()) <= int(lengths.max()) <= features.shape[3]:
        raise ValueError(f"feature_lengths must lie in 1..{features.shape[3]}, not {lengths.tolist()}")


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
        raise ValueError(f"targets must lie in 1..{vocab - 1} (0 is the blank, and the model has V = {vocab})")


def _check_search(beam_width: int, alpha: float, beta: float, cutoff: float, max_labels: int | None) -> None:
    if beam_width < 1:
        raise ValueError(f"beam_width must be at least 1, not {beam_width}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha, the weight of the language model, must be finite and at least 0, not {alpha}")
    if not math.isfinite(beta):
        raise ValueError(f"beta, the weight of the number of words, must be finite, not {beta}")
    if not 0 < cutoff <= 1 or (max_labels is not None and max_labels < 1):
        raise ValueError(f"cutoff must lie in (0, 1] and max_labels must be at least 1, not {cutoff} and {max_labels}")


def _check_log_probs(log_probs: np.ndarray) -> None:
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs must be (T', V) of one utterance, not {log_probs.shape}")
    sums = np.exp(log_probs).sum(1)
    if not np.allclose(sums, 1.0, atol=1e-3):
        frame = int(np.argmax(~np.isclose(sums, 1.0, atol=1e-3)))
        raise ValueError(
            f"frame {frame} of log_probs sums to a probability of {sums[frame]:.4g}, not 1; "
            "the search needs log-probabilities, such as those from log_softmax"
        )


def _check_vocabulary(log_probs: Tensor, encoder: CharEncoder) -> None:
    if log_probs.dim() != 3 or log_probs.shape[2] != encoder.vocab_size:
        raise ValueError(
            f"log_probs must be (T', B, V) with the encoder's V = {encoder.vocab_size}, not {tuple(log_probs.shape)}; "
            "the model and the encoder must share one alphabet"
        )


def _columns_of(word: str) -> int:
    """Columns that a word takes in a terminal: Chinese characters take two, and marks on letters none."""
    wide = (0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in word)
    return sum(wide)
