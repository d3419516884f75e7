"""Solution of exercise 6: the GRU cell."""

from __future__ import annotations

import torch
from torch import Tensor


def gru_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """Eq. 10 with torch's z, (S, 2, B, 3H) -> (S, 2, B, H)."""
    h = x.new_zeros(2, x.shape[2], u.shape[2])  # (2, B, H)
    states = []
    for x_s, mask_s in zip(x, mask, strict=True):
        x_r, x_z, x_n = x_s.chunk(3, dim=-1)
        # One product for all three gates: possible because r comes after it.
        g_r, g_z, g_n = torch.bmm(h, u.transpose(1, 2)).chunk(3, dim=-1)
        r = torch.sigmoid(x_r + g_r)
        z = torch.sigmoid(x_z + g_z)
        n = torch.tanh(x_n + r * g_n)
        h = ((1 - z) * n + z * h) * mask_s
        states.append(h)
    return torch.stack(states)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
