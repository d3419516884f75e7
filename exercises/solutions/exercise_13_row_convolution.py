"""Solution of exercise 13: the row convolution, a short look ahead."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from given import sequence_mask


class RowConvolution(nn.Module):
    """``r_{t,i} = sum_{j=1}^{tau+1} W_{i,j} h_{t+j-1,i}`` (Eq. 11); 0 behind an utterance's own end."""

    def __init__(self, features: int, lookahead: int) -> None:
        super().__init__()
        if features < 1 or lookahead < 1:
            raise ValueError(f"features and lookahead must be at least 1, not {features} and {lookahead}")
        self.features, self.lookahead = features, lookahead
        self.weight = nn.Parameter(torch.zeros(features, lookahead + 1))  # W, (d, tau + 1)
        with torch.no_grad():
            self.weight[:, 0] = 1.0

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:  # before the sum: the last tau frames of an utterance must see 0, not its padding
            x = x * sequence_mask(lengths, len(x)).t()[:, :, None]
        future = x.new_zeros(self.lookahead, *x.shape[1:])  # behind the end: T frames go in, T come out
        return self.over(torch.cat((x, future)))

    def over(self, x: Tensor) -> Tensor:
        frames = len(x) - self.lookahead
        # A step for each place of the window, all frames at once. (F.conv1d with a group for each feature does the same.)
        return sum(self.weight[:, j] * x[j : j + frames] for j in range(self.lookahead + 1))


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
