"""Exercise 3: lengths and masks after strided convolutions.

Why it matters. The utterances of a batch differ in length, so the short ones are padded. From then on every layer must know
where each utterance ends. A convolution reaches past the end, a stride changes the number of frames, and the CTC loss needs
that number. If it is one too large, the network is trained on padding. If it is one too small, the last letter is cut off.

Paper. Convolutions: arXiv Section 3.1 (Eq. 1) and 3.5 ("same" padding, kernels written frequency x time); strides: Section 3.6;
batch norm after the convolution, before the clipped ReLU: Section 3.2.
Effort. 30 minutes, difficulty 1 of 3.
You may use. torch and torch.nn; SequenceBatchNorm and ClippedReLU are given. Do not use the library's
sequence_mask.
Check it. python exercises/exercise_03_lengths_and_masks.py

What if. Fill the padding of a batch with 100 instead of 0, and do not mask the input. Which output frames of the short
utterance change? How many change after three such layers whose kernels are 11 frames long?
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import ClippedReLU, SequenceBatchNorm


def conv_output_lengths(lengths: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Number of frames after a convolution. This is the number of places where the kernel fits into the padded utterance, when
    it moves in steps of the stride.

    Example, to do by hand first. There are 5 frames and 1 frame of padding at each end; the kernel is 3 and the stride 2. The
    kernel fits at places 0, 2 and 4 of the 7 padded frames, so 3 frames come out. With 6 frames it fits at places 0, 2 and 4 of
    the 8 padded frames: again 3.

    >>> conv_output_lengths(torch.tensor([5, 6]), kernel=3, stride=2, padding=1)
    tensor([3, 3])

    Args:
        lengths: (B,) integers, the number of frames of each utterance.
        kernel, stride, padding: those of the convolution along time, in frames; the padding is added at each end.

    Returns:
        (B,) integers of the same dtype as ``lengths``. They are exact even for numbers that no float can hold, such as
        2^53 + 1. If the kernel does not fit even once, the result is 0 or less: return what your formula gives, rounded down.
    """
    raise NotImplementedError


def sequence_mask(lengths: Tensor, max_length: int) -> Tensor:
    """True where a frame belongs to the utterance, False in the padding.

    >>> sequence_mask(torch.tensor([1, 3]), 4)
    tensor([[ True, False, False, False],
            [ True,  True,  True, False]])

    Args:
        lengths: (B,) integers from 0 to max_length, the number of frames of each utterance.
        max_length: T, the number of frames of the batch, padding included.

    Returns:
        (B, T) bool.
    """
    raise NotImplementedError


class ConvBlock(nn.Module):
    """A convolution over frequency and time, then sequence-wise batch norm, then the clipped ReLU: ``h = f(B(w * x))``.

    Args:
        in_channels, out_channels: number of channels before (C) and after (C').
        kernel: (frequency bins, frames), both odd.
        stride: (frequency, time).
        clip: upper limit of the clipped ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int] = (41, 11),
        stride: tuple[int, int] = (2, 2), clip: float = 20.0,
    ) -> None:  # fmt: skip
        """Given, nothing to write here."""
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm = SequenceBatchNorm(out_channels)  # norm(x, lengths): statistics of the valid frames only, 0 in the padding
        self.activation = ClippedReLU(clip)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) frames before the block -> (B,) frames after it. (``self.conv.kernel_size``, ``stride`` and ``padding`` are pairs:
        frequency, time.)"""
        raise NotImplementedError

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the block on a padded batch.

        Args:
            x: (B, C, F, T). Its padding may hold anything, even nan or inf, and must not change the result. Do not change x
                itself.
            lengths: (B,) integers, the number of frames of each utterance.

        Returns:
            a pair: (B, C', F', T') with 0 in the padding, and the (B,) lengths after the block.
        """
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
