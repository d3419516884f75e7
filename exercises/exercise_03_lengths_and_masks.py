"""Exercise 3: lengths and masks after strided convolutions.

Why it matters. Utterances of a batch differ in length, so the short ones are padded. From then on every layer must know
where each one ends: a convolution reaches past the end, a stride changes the number of frames, and the CTC loss needs that
number. One frame too many, and the network is trained on padding. One too few, and the last letter is cut off.

Paper. Convolutions: arXiv Section 3.1 (Eq. 1) and 3.5 ("same" padding, kernels written frequency x time); strides: Section 3.6;
batch norm after the convolution, before the clipped ReLU: Section 3.2.
Effort. 30 minutes, difficulty 1 of 3.
You may use. torch and torch.nn; SequenceBatchNorm and ClippedReLU are given. Not sequence_mask of the library.
Check it. python exercises/exercise_03_lengths_and_masks.py

What if. Fill the padding of a batch with 100 instead of 0, and do not mask the input. Which output frames of the short
utterance change? How many of them change after three such layers with 11 frames each?
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import ClippedReLU, SequenceBatchNorm


def conv_output_lengths(lengths: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Number of frames after a convolution: how often the kernel fits into the padded utterance when it moves in steps of
    the stride.

    Example, to do by hand first. 5 frames, 1 of padding at each end, kernel 3, stride 2: it fits at the places 0, 2 and 4 of the
    7 padded frames, so 3 frames come out. For 6 frames it fits at 0, 2 and 4 of 8: again 3.

    >>> conv_output_lengths(torch.tensor([5, 6]), kernel=3, stride=2, padding=1)
    tensor([3, 3])

    Args:
        lengths: (B,) integer frames.
        kernel, stride, padding: of the convolution along time; padding at each end.

    Returns:
        (B,) integers of the same dtype as ``lengths``. They are exact even for numbers that no float can hold (2^53 + 1). If
        the kernel does not fit even once, the same formula gives 0 or less (it always rounds down).
    """
    raise NotImplementedError


def sequence_mask(lengths: Tensor, max_length: int) -> Tensor:
    """True where a frame belongs to the utterance, False in the padding.

    >>> sequence_mask(torch.tensor([1, 3]), 4)
    tensor([[ True, False, False, False],
            [ True,  True,  True, False]])

    Args:
        lengths: (B,) integers from 0 to max_length.
        max_length: T.

    Returns:
        (B, T) bool.
    """
    raise NotImplementedError


class ConvBlock(nn.Module):
    """Convolution over frequency and time, sequence-wise batch norm, clipped ReLU: ``h = f(B(w * x))``.

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
        """Given, nothing to do here."""
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm = SequenceBatchNorm(out_channels)  # norm(x, lengths): statistics of the valid frames, 0 in the padding
        self.activation = ClippedReLU(clip)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) frames after the block of (B,) frames before it. (``self.conv.kernel_size`` and so on are pairs: frequency,
        time.)"""
        raise NotImplementedError

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The block.

        Args:
            x: (B, C, F, T). Its padding may hold anything, even nan or inf, and must not change the result. x itself is not
                changed.
            lengths: (B,) integer frames.

        Returns:
            (B, C', F', T') with 0 in the padding, and the (B,) lengths after the block.
        """
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
