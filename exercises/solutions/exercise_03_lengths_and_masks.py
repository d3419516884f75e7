"""Solution of exercise 3: lengths and masks after strided convolutions."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import ClippedReLU, SequenceBatchNorm


def conv_output_lengths(lengths: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """``floor((T + 2 p - k) / s) + 1``."""
    return (lengths + 2 * padding - kernel) // stride + 1  # // floors and stays with integers


def sequence_mask(lengths: Tensor, max_length: int) -> Tensor:
    """(B,) -> (B, T) bool."""
    return torch.arange(max_length)[None, :] < lengths[:, None]


class ConvBlock(nn.Module):
    """Convolution over frequency and time, sequence-wise batch norm, clipped ReLU."""

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
        # Index 1 is time.
        return conv_output_lengths(lengths, self.conv.kernel_size[1], self.conv.stride[1], self.conv.padding[1])

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        # The kernel reaches over the end, so the padding must be 0 before the convolution ...
        x = x.masked_fill(~sequence_mask(lengths, x.shape[3])[:, None, None, :], 0.0)
        lengths = self.output_lengths(lengths)
        # ... and after it, where it is neither 0 nor part of the statistics by itself; norm sees to both.
        return self.activation(self.norm(self.conv(x), lengths)), lengths


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
