"""Exercise 12: the whole recogniser, from your own parts.

Why it matters. You have all the parts; now they must fit together. Even if all eleven parts are right, you can still join them
with the wrong lengths, axes or modes. When they fit, your model learns in half a minute to write down words from voices that it
has never heard. Everything in it is yours except the optimizer.

Paper. arXiv Section 3.1 (layers, Eq. 5), Section 3.3 (CTC, SortaGrad), Section 6 (gradient norm clipped to 400).
Effort. 40 minutes, difficulty 2 of 3. It needs exercises 1 to 11; its training takes about half a minute.
You may use. torch, and everything in ``parts``: your own answers. Do not use torch's CTC loss.
Check it. python exercises/exercise_12_recogniser.py

Goal. At most 10 % word errors on words of a small vocabulary, spoken by voices that are not among the training voices.
Greedy decoding must reach this, and so must your beam search. The training uses your spectrogram, encoder, convolution, batch
norm, recurrence, loss, gradient, minibatches, search and error rate.

What if. Let all minibatches be random from the first epoch on (sortagrad=False), or use the recurrence "rnn" instead of
"gru". How does the loss in the first epochs change?
"""

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
    """Given: your recurrent layer with your GRU instead of the simple recurrence. The directions are summed.

    They also share B(W x). For a GRU this is [ours]: the paper states the shared W for the simple recurrence only.
    """

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
    """Convolutions, recurrences, a linear layer, log-softmax.

    (The library's class offers more kinds of models. Here batch_norm is always 'input'.)
    """

    def __init__(
        self, n_freq: int, vocab_size: int, n_conv: int = 2, n_rnn: int = 3, rnn_hidden: int = 256,
        rnn_type: str = "gru", batch_norm: str = "output", time_strides: Sequence[int] | None = None,
        dropout: float = 0.0, clip: float = 20.0,
    ) -> None:  # fmt: skip
        """Given, nothing to write here: builds ``convolutions``, ``recurrences``, ``dropout`` and ``output``."""
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
        """(B,) feature frames -> (B,) output frames after all convolutions. (Two strides of 2 turn 101 into 51, then 26.)"""
        raise NotImplementedError

    def forward(self, features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the symbols in each output frame (Eq. 5).

        The convolutions take (B, C, F, T) and lengths, and return both. The recurrences take (T', B, C F') and lengths. There
        time comes first. Each frame holds the F' bins of the first channel, then those of the second, and so on. Apply
        ``self.dropout`` to the input of each recurrence and to the input of ``self.output``.

        Args:
            features: (B, 1, F, T).
            feature_lengths: (B,) integers, the number of feature frames of each utterance.

        Returns:
            a pair: log_probs (T', B, V), a log-softmax over the V symbols, and output_lengths (B,).
        """
        raise NotImplementedError


def train_step(model: DeepSpeech2, batch: SpectrogramBatch, optimizer: torch.optim.Optimizer, max_norm: float = 400.0) -> float:
    """One step: forward in training mode, CTC loss (mean over the utterances), backward, gradient clipping, update.

    Autograd cannot differentiate your loss, but you have its gradient: ``log_probs.backward(gradient)`` sends a gradient of
    log_probs back through the model. ctc_gradient is the gradient at the inputs of the softmax. It sums to 0 in each frame, so
    log_softmax passes it on unchanged. The loss is the mean over the B utterances, so divide the gradient by B too.

    Args:
        model: a DeepSpeech2.
        batch: ``features``, ``feature_lengths``, ``targets`` and ``target_lengths``, in the form that
            forward and the CTC functions take.
        optimizer: takes one step. Gradients left over from earlier steps must not count.
        max_norm: if the norm of all gradients together is larger than this, scale them down to this norm.

    Returns:
        mean loss per utterance in nats, a float.

    Raises:
        ValueError: if an utterance has too few frames for its text, so that its loss is infinite. Then no weight is updated.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
