"""Exercise 4: sequence-wise batch norm without padding.

Why it matters. In Table 1 of the paper batch norm helps every network with three recurrent layers or more. It helps the deepest
one most, by 12 %. In a batch of speech a third of the frames may be padding. If the mean and variance include the padding, the
transcript of an utterance changes with the other utterances in the batch. And at test time, when utterances come one at a time,
the statistics no longer fit.

Paper. arXiv Section 3.2, Eq. 6: statistics over all utterances and the whole sequence; running averages at test time.
Effort. 35 minutes, difficulty 2 of 3.
You may use. torch. Do not use nn.BatchNorm1d or its relatives. sequence_mask is given.
Check it. python exercises/exercise_04_batch_norm.py

What if. Normalise a batch of one long and seven short utterances twice: with the padding in the statistics, and without it.
By how much does the variance differ? What does the network see when the long one later comes alone?
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import sequence_mask


class SequenceBatchNorm(nn.Module):
    """Sequence-wise batch norm over the valid frames, without the padding.

    ``B(x) = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta`` (Eq. 6). Each feature has one mean E and one
    variance Var, taken over all utterances of the batch and all their frames together. For the channels of a convolution they
    are taken over frequency too [ours: the paper names only the utterances and time]. Var divides by n, the number of these
    values. E and Var leave the padding out, and the output is 0 in the padding.

    In training mode the layer also updates its running averages: ``running = (1 - momentum) running + momentum new``. Here the
    new variance divides by n - 1 (by 1 if n is 1), as in torch. In evaluation mode the layer uses the running averages instead
    of E and Var, and does not change them.

    Example, to do by hand first: one feature, two utterances of 2 and 1 frames. The values that count are 1, 5 and 3. Their mean
    is 3, their variance (4 + 4 + 0) / 3 = 2.667, and its square root 1.633. The 9 is padding.

    >>> norm = SequenceBatchNorm(1)
    >>> x = torch.tensor([[[1.0], [5.0]], [[3.0], [9.0]]])  # (T, B, H)
    >>> norm(x, torch.tensor([2, 1]))[:, :, 0].detach().round(decimals=3)
    tensor([[-1.2250,  1.2250],
            [ 0.0000,  0.0000]])
    >>> norm.running_mean, norm.running_var  # 0.9 * 0 + 0.1 * 3 and 0.9 * 1 + 0.1 * 8 / 2
    (tensor([0.3000]), tensor([1.3000]))

    Args:
        num_features: number of features H, or of channels C.
        eps: added to the variance before the square root.
        momentum: weight of the newest batch in the running averages.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        """Given, nothing to write here."""
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))  # gamma
        self.bias = nn.Parameter(torch.zeros(num_features))  # beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalises a padded batch.

        Args:
            x: (T, B, H), or (B, C, F, T) as a convolution returns it. Its dtype is that of the parameters, float32 or float64.
                All numbers are finite; those in the padding may be large. Do not change x itself.
            lengths: (B,) integers, the number of valid frames of each utterance. Some may be 0, but not all. None means all T.

        Returns:
            a tensor with the shape and dtype of x, 0 in the padding. Gradients flow through E and Var too.

        Raises:
            ValueError: if x has another number of dimensions or features. (Given below.)
        """
        if x.dim() not in (3, 4) or x.shape[-1 if x.dim() == 3 else 1] != self.num_features:
            raise ValueError(f"expected (T, B, {self.num_features}) or (B, {self.num_features}, F, T), not {tuple(x.shape)}")
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
