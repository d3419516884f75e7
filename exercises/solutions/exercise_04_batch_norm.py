"""Solution of exercise 4: sequence-wise batch norm without padding."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from given import sequence_mask


class SequenceBatchNorm(nn.Module):
    """``B(x) = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta`` (Eq. 6) over the valid frames; 0 in the padding."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))  # gamma
        self.bias = nn.Parameter(torch.zeros(num_features))  # beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.dim() not in (3, 4) or x.shape[-1 if x.dim() == 3 else 1] != self.num_features:
            raise ValueError(f"expected (T, B, {self.num_features}) or (B, {self.num_features}, F, T), not {tuple(x.shape)}")
        recurrent = x.dim() == 3
        batch, frames = (x.shape[1], x.shape[0]) if recurrent else (x.shape[0], x.shape[3])
        lengths = torch.full((batch,), frames) if lengths is None else lengths
        mask = sequence_mask(lengths, frames).to(x.dtype)  # (B, T)
        mask = mask.t()[:, :, None] if recurrent else mask[:, None, None, :]  # beside x
        shape, dims = ((1, 1, -1), (0, 1)) if recurrent else ((1, -1, 1, 1), (0, 2, 3))
        if self.training:
            n = int(lengths.sum()) * (1 if recurrent else x.shape[2])  # every valid frame has F values of a channel
            mean = (x * mask).sum(dims) / n
            # The mask once more: x - mean is not 0 in the padding.
            var = ((x - mean.view(shape)) * mask).square().sum(dims) / n
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        y = (x - mean.view(shape)) / (var.view(shape) + self.eps).sqrt()
        return (y * self.weight.view(shape) + self.bias.view(shape)) * mask


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
