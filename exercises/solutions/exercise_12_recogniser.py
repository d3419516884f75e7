"""Solution of exercise 12: the whole recogniser, from your own parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from given import SpectrogramBatch
from parts import (
    BidirectionalRNNLayer,
    ConvBlock,
    SequenceBatchNorm,
    ctc_gradient,
    ctc_loss_by_recursion,
    gru_loop,
    sequence_mask,
)


class GRULayer(BidirectionalRNNLayer):
    """Given: your GRU layer. The directions are summed and share B(W x) [ours; the paper: W for the simple recurrence only]."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, "rnn", "input")
        self.weight_ih = nn.Parameter(torch.empty(1, 3 * hidden_size, input_size).uniform_(-1, 1) * hidden_size**-0.5)
        self.weight_hh = nn.Parameter(torch.empty(2, 3 * hidden_size, hidden_size).uniform_(-1, 1) * hidden_size**-0.5)
        self.norm = SequenceBatchNorm(3 * hidden_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, input_size) -> (T, B, hidden_size)."""
        side = self.norm(x @ self.weight_ih[0].t(), lengths)
        mask = sequence_mask(lengths, len(x)).t()[:, :, None].to(side.dtype)
        states = gru_loop(torch.stack((side, side.flip(0)), 1), self.weight_hh, torch.stack((mask, mask.flip(0)), 1))
        return states[:, 0] + states[:, 1].flip(0)


class DeepSpeech2(nn.Module):
    """Convolutions, recurrences, a linear layer, log-softmax."""

    def __init__(
        self, n_freq: int, vocab_size: int, n_conv: int = 2, n_rnn: int = 3, rnn_hidden: int = 256,
        rnn_type: str = "gru", batch_norm: str = "output", time_strides: Sequence[int] | None = None,
        dropout: float = 0.0, clip: float = 20.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if batch_norm != "input" or rnn_type not in ("gru", "rnn"):
            raise ValueError("this exercise builds batch_norm='input' with rnn_type='gru' or 'rnn'")
        kernels = ((32, (41, 11), (2, 2)), (32, (21, 11), (2, 1)), (96, (21, 11), (2, 1)))[:n_conv]  # Table 4
        self.convolutions, channels, bins = nn.ModuleList(), 1, n_freq
        strides = time_strides or [stride[1] for _, _, stride in kernels]
        for (out_channels, kernel, stride), time_stride in zip(kernels, strides, strict=True):
            self.convolutions.append(ConvBlock(channels, out_channels, kernel, (stride[0], time_stride), clip))
            channels, bins = out_channels, -(-bins // stride[0])
        self.recurrences, width = nn.ModuleList(), channels * bins
        for _ in range(n_rnn):
            if rnn_type == "gru":
                self.recurrences.append(GRULayer(width, rnn_hidden))
            else:
                self.recurrences.append(BidirectionalRNNLayer(width, rnn_hidden, "rnn", "input", clip))
            width = rnn_hidden
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, vocab_size)

    def output_lengths(self, feature_lengths: Tensor) -> Tensor:
        for block in self.convolutions:
            feature_lengths = block.output_lengths(feature_lengths)
        return feature_lengths

    def forward(self, features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        x, lengths = features, feature_lengths
        for block in self.convolutions:
            x, lengths = block(x, lengths)  # (B, C, F', T')
        x = x.permute(3, 0, 1, 2).flatten(2)  # (T', B, C F')
        for layer in self.recurrences:
            x = layer(self.dropout(x), lengths)  # (T', B, H)
        return self.output(self.dropout(x)).log_softmax(-1), lengths


def train_step(model: DeepSpeech2, batch: SpectrogramBatch, optimizer: torch.optim.Optimizer, max_norm: float = 400.0) -> float:
    """One step: forward, loss, gradient, clipping, update."""
    model.train()
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    arguments = (log_probs.detach(), batch.targets, lengths, batch.target_lengths)
    loss = ctc_loss_by_recursion(*arguments).mean()
    if torch.isinf(loss):  # before the optimizer has touched anything
        raise ValueError("an utterance has too few output frames for its text")
    optimizer.zero_grad()
    log_probs.backward(ctc_gradient(*arguments) / len(batch.target_lengths))
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)  # after backward, before the step
    optimizer.step()
    return float(loss)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
