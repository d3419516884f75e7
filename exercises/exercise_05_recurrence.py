"""Exercise 5: the clipped ReLU and the paper's recurrence.

Why it matters. Seven layers of the kind that you write here are the heart of the paper's best English model. They are
neither LSTMs nor GRUs: this is the simplest recurrence there is. From three such layers on, batch norm in the right place
lowers the error rate (Table 1), and the clip keeps the states from exploding. Four things are easy to get wrong: where batch
norm goes, how the two directions are joined, which weights they share, and where the backward direction begins.

Paper. arXiv Section 3.1: the clipped ReLU (an equation without a number), Eq. 2 and 3, the sum of the directions; Section 3.2:
Eq. 8. Best English model: Section 6.1.
Effort. 40 minutes, difficulty 2 of 3.
You may use. torch; SequenceBatchNorm and sequence_mask are given. Do not use nn.RNN or its relatives.
Check it. python exercises/exercise_05_recurrence.py

What if. Scale U so that its largest singular value is 2, and run 100 steps without the clip. How large does h get? Where
does it settle with the clip, and what is the gradient there?
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import SequenceBatchNorm, sequence_mask


class ClippedReLU(nn.Module):
    """``min(max(x, 0), clip)``.

    >>> ClippedReLU()(torch.tensor([-1.0, 3.0, 25.0]))
    tensor([ 0.,  3., 20.])
    """

    def __init__(self, clip: float = 20.0) -> None:
        """Given: sets ``clip``; ValueError unless it is above 0."""
        super().__init__()
        if not clip > 0:
            raise ValueError(f"clip must be above 0, not {clip}")
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """x may have any shape and any values, even infinite ones. Do not change x itself."""
        raise NotImplementedError


def rnn_loop(x: Tensor, u: Tensor, mask: Tensor, clip: float = 20.0) -> Tensor:
    """The simple recurrence, both directions at once: ``h_s = min(max(x_s + U h_{s-1}, 0), clip)``, starting from h = 0.

    Axis 1 is the direction. Here both directions run from step 0 to the last step: the caller has already reversed the
    backward one. ``x`` is the whole input side, W x + b or B(W x). At steps where the mask is 0, the state becomes 0. So a
    direction that meets the padding first still starts the utterance from zero. There may be thousands of steps: use a loop,
    not recursion.

    Example, to do by hand first. One utterance, one hidden unit, three steps with x = 1, clip 20; U is 2 forward and -2
    backward. Forward: 1, then 1 + 2 * 1 = 3, then 1 + 2 * 3 = 7. Backward: 1, then 1 - 2 * 1 = -1, which becomes 0, then
    1 - 2 * 0 = 1.

    >>> x, u, mask = torch.ones(3, 2, 1, 1), torch.tensor([[[2.0]], [[-2.0]]]), torch.ones(3, 2, 1, 1)
    >>> rnn_loop(x, u, mask)[:, :, 0, 0]
    tensor([[1., 1.],
            [3., 0.],
            [7., 1.]])

    Args:
        x: (S, 2, B, H) input side of S steps.
        u: (2, H, H) recurrent matrix U of each direction: row i holds the weights with which unit i reads all units.
        mask: (S, 2, B, 1) with the dtype of x: 1 where the step belongs to the utterance, 0 in the padding.
        clip: upper limit of the clipped ReLU.

    Returns:
        (S, 2, B, H) states, with the dtype of x.
    """
    raise NotImplementedError


class BidirectionalRNNLayer(nn.Module):
    """The paper's recurrent layer: Eq. 8 in both directions, summed.

    (The library's class offers more kinds of layers. You write only this one.)

    ``->h_t = f(B(W x_t) + ->U ->h_{t-1})`` and ``<-h_t = f(B(W x_t) + <-U <-h_{t+1})``, output ``->h_t + <-h_t``. The sign
    -> marks the forward direction, <- the backward one. f is the clipped ReLU and B batch norm. The
    two directions share W and B, but each has its own U. The backward direction begins at each utterance's own last frame.
    """

    def __init__(
        self, input_size: int, hidden_size: int, rnn_type: str = "gru", batch_norm: str = "output", clip: float = 20.0
    ) -> None:
        """Given, nothing to write here."""
        super().__init__()
        if (rnn_type, batch_norm) != ("rnn", "input"):
            raise ValueError("this exercise builds rnn_type='rnn' with batch_norm='input'")
        self.hidden_size, self.clip = hidden_size, clip
        self.weight_ih = nn.Parameter(torch.randn(1, hidden_size, input_size) * hidden_size**-0.5)  # W, for both directions
        self.weight_hh = nn.Parameter(torch.randn(2, hidden_size, hidden_size) * 0.5 * hidden_size**-0.5)  # U: forward, backward
        self.norm = SequenceBatchNorm(hidden_size)  # norm(x, lengths): (T, B, H) -> (T, B, H)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Runs the layer on a padded batch.

        Args:
            x: (T, B, input_size). Its padding may hold any finite numbers and must not change the result.
            lengths: (B,) integers, the number of frames of each utterance, at least 1.

        Returns:
            (T, B, hidden_size), 0 in the padding.
        """
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
