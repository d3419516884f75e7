"""Solution of exercise 5: the clipped ReLU and the paper's recurrence."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import SequenceBatchNorm, sequence_mask


class ClippedReLU(nn.Module):
    """``min(max(x, 0), clip)``."""

    def __init__(self, clip: float = 20.0) -> None:
        super().__init__()
        if not clip > 0:
            raise ValueError(f"clip must be above 0, not {clip}")
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, self.clip)


def rnn_loop(x: Tensor, u: Tensor, mask: Tensor, clip: float = 20.0) -> Tensor:
    """``h_s = min(max(x_s + U h_{s-1}, 0), clip)``, (S, 2, B, H)."""
    h = torch.zeros_like(x[0])  # (2, B, H)
    states = []
    for x_s, mask_s in zip(x, mask, strict=True):
        # h holds an utterance in each row, so U h is h U^T; bmm does both directions.
        h = (x_s + torch.bmm(h, u.transpose(1, 2))).clamp(0.0, clip) * mask_s
        states.append(h)
    return torch.stack(states)


class BidirectionalRNNLayer(nn.Module):
    """The paper's recurrent layer: Eq. 8 in both directions, summed."""

    def __init__(
        self, input_size: int, hidden_size: int, rnn_type: str = "gru", batch_norm: str = "output", clip: float = 20.0
    ) -> None:
        super().__init__()
        if (rnn_type, batch_norm) != ("rnn", "input"):
            raise ValueError("this exercise builds rnn_type='rnn' with batch_norm='input'")
        self.hidden_size, self.clip = hidden_size, clip
        self.weight_ih = nn.Parameter(torch.randn(1, hidden_size, input_size) * hidden_size**-0.5)
        self.weight_hh = nn.Parameter(torch.randn(2, hidden_size, hidden_size) * 0.5 * hidden_size**-0.5)
        self.norm = SequenceBatchNorm(hidden_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        side = self.norm(x @ self.weight_ih[0].t(), lengths)  # B(W x), once for both directions: (T, B, H)
        mask = sequence_mask(lengths, len(x)).t()[:, :, None].to(side.dtype)  # (T, B, 1)
        # Turned round as a whole, padding first: the mask keeps the state at 0 until the utterance's own last frame.
        steps = torch.stack((side, side.flip(0)), dim=1)  # (T, 2, B, H)
        masks = torch.stack((mask, mask.flip(0)), dim=1)
        states = rnn_loop(steps, self.weight_hh, masks, self.clip)
        return states[:, 0] + states[:, 1].flip(0)  # turned back, so that both are at frame t


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
