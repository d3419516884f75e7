"""Exercise 13: the row convolution, a short look ahead.

Why it matters. A bidirectional layer hears the end of an utterance before it writes the first letter, so nobody can read
along. A forward-only layer can write while someone speaks, but it must name a sound before it has heard what follows. A row
convolution on top of it looks a fixed number of frames ahead, and no further. The authors' deployed model has one.
Two things are easy to get wrong: which way the window looks, and what it sees after the end of a short utterance in a batch.

Paper. arXiv Section 3.7, Eq. 11; the deployed model with tau = 19: Section 7.4.
Effort. 25 minutes, difficulty 2 of 3.
You may use. torch with its convolutions (finding the groups and the padding is part of the exercise); sequence_mask is given.
Do not use the library's RowConvolution.
Check it. python exercises/exercise_13_row_convolution.py

What if. Replace one layer with tau = 20 by two layers with tau = 10. How far ahead does the last output look, and how many
weights do the two have? If an output frame takes 20 ms, how long after a sound can its letter be written at the earliest?
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from given import sequence_mask


class RowConvolution(nn.Module):
    """Looks ahead by tau frames: ``r_{t,i} = sum_{j=1}^{tau+1} W_{i,j} h_{t+j-1,i}`` (Eq. 11).

    Feature i of frame t becomes a weighted sum of feature i in frame t and the next tau frames. Each feature has its own row
    of tau + 1 weights: the first is for the present frame, the last for the frame furthest ahead. (The equation counts j
    from 1, Python from 0.) After an utterance's own end, treat every frame as 0.

    Example, to do by hand first. tau = 1 and two features with the weights W_1 = (2, 1) and W_2 = (0, 3). The utterance has 3
    frames, with 1, 10, 100 in the first feature and 1, 2, 3 in the second. First feature: 2 * 1 + 1 * 10 = 12,
    2 * 10 + 1 * 100 = 120, 2 * 100 + 1 * 0 = 200. Second feature: 3 * 2 = 6, 3 * 3 = 9, 3 * 0 = 0. If the utterance has only 2
    frames, the third is padding, and the second frame sees 0 instead of 100 and 3.

    >>> row = RowConvolution(2, 1)
    >>> _ = row.weight.data.copy_(torch.tensor([[2.0, 1.0], [0.0, 3.0]]))
    >>> x = torch.tensor([[[1.0, 1.0]], [[10.0, 2.0]], [[100.0, 3.0]]])  # (T, B, d)
    >>> row(x)[:, 0].detach()
    tensor([[ 12.,   6.],
            [120.,   9.],
            [200.,   0.]])
    >>> row(x, torch.tensor([2]))[:, 0].detach()
    tensor([[12.,  6.],
            [20.,  0.],
            [ 0.,  0.]])

    Args:
        features: d, the number of features per frame.
        lookahead: tau, the number of future frames, at least 1.
    """

    def __init__(self, features: int, lookahead: int) -> None:
        """Given, nothing to write here. The initial weights pass each frame on unchanged."""
        super().__init__()
        if features < 1 or lookahead < 1:
            raise ValueError(f"features and lookahead must be at least 1, not {features} and {lookahead}")
        self.features, self.lookahead = features, lookahead
        self.weight = nn.Parameter(torch.zeros(features, lookahead + 1))  # W, (d, tau + 1)
        with torch.no_grad():
            self.weight[:, 0] = 1.0

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """For whole utterances: returns as many frames as it gets.

        Args:
            x: (T, B, d), T at least 1, with the dtype of the weight. All numbers are finite; those in the padding must not
                matter. Do not change x itself.
            lengths: (B,) integers, the number of frames of each utterance, 0 to T. None means all T.

        Returns:
            (T, B, d), 0 in the padding.
        """
        raise NotImplementedError

    def over(self, x: Tensor) -> Tensor:
        """For streaming: returns only the frames whose next tau frames are in x. Add no zeros at the end.

        The caller keeps the last tau frames of x and puts them in front of the next frames. (``forward`` may call this too.)

        Args:
            x: (T + tau, B, d), T at least 1.

        Returns:
            (T, B, d).
        """
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
