"""Deep Speech 1 (Hannun et al. 2014, arXiv:1412.5567): Deep Speech 2's predecessor, with five layers, one of them recurrent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implementation import Convolution, DeepSpeech2, check_input, sequence_mask

STRIDE = 2  # feature frames per frame of the recurrence [Deep Speech 1, Section 3.3]


class DeepSpeech1(DeepSpeech2):
    """Three feed-forward layers over spliced frames, a bidirectional simple recurrence, a fifth layer, log-softmax::

        h1_t = g(W1 [x_{t-C}, ..., x_t, ..., x_{t+C}] + b1)     only for t = 0, 2, 4, ...: every second frame
        h2_t = g(W2 h1_t + b2)
        h3_t = g(W3 h2_t + b3)
        fwd_t = g(W4 h3_t + b4 + U_fwd fwd_{t-1}),  bwd_t = g(W4 h3_t + b4 + U_bwd bwd_{t+1}),  h4_t = fwd_t + bwd_t
        h5_t = g(W5 h4_t + b5)
        p_t = softmax(W6 h5_t + b6)

    with ``g(z) = min(max(z, 0), 20)``. Frames before the utterance's start and after its end count as 0. With C = 1:

        x       a b c d e
        spliced 0ab  bcd  de0       what layer 1 sees when x has five frames

    A matrix times 2C + 1 spliced frames is a convolution over 2C + 1 frames: the same products, added in a different order.
    So layer 1 is a ``ConvBlock`` of stride 2, layers 2 and 3 are such blocks over one frame, and whatever takes a
    ``DeepSpeech2`` takes this model too. A one-second utterance has these shapes on its way through
    ``DeepSpeech1(n_freq=65, vocab_size=29)``:

        features          (1, 1, 65, 99)     (B, 1, F, T)
        layers 1 to 3     (1, 2048, 1, 50)   (B, H, 1, T')
        frames first      (50, 1, 2048)      (T', B, H)
        layers 4 and 5    (50, 1, 2048)
        log-softmax       (50, 1, 29)        (T', B, V)

    Initially W1, W2, W3 and W5 are normal, with variance 2 divided by the number of inputs, so that signals keep their size
    through the layers (He et al. 2015) [ours].

    Args:
        n_freq, vocab_size: F, bins of the features, and V, output symbols including the blank.
        context: C, frames on either side [Deep Speech 1: 5, 7 or 9].
        hidden: H, units of each of the five layers [Deep Speech 1, Section 5.1: 2048, also 2304].
        dropout: share of units dropped after the feed-forward layers 1, 2, 3 and 5, never in the recurrence
            [Deep Speech 1, Section 2.1: 0.05 to 0.1].
        bidirectional: False leaves out ``bwd`` [ours], for a model that can transcribe while someone is speaking.

    Raises:
        ValueError: for sizes out of range.
    """

    def __init__(
        self, n_freq: int, vocab_size: int, context: int = 9, hidden: int = 2048, dropout: float = 0.05,
        bidirectional: bool = True,
    ) -> None:  # fmt: skip
        if context < 0:
            raise ValueError(f"context must be at least 0, not {context}")
        spliced = Convolution(hidden, (0, 2 * context + 1), (1, STRIDE))
        layers = (spliced, *[Convolution(hidden, (0, 1), (1, 1))] * 2)
        super().__init__(
            n_freq, vocab_size, convolutions=layers, n_rnn=1, rnn_hidden=hidden, rnn_type="rnn", batch_norm="none",
            fc_hidden=hidden, dropout=dropout, bidirectional=bidirectional,
        )  # fmt: skip
        self.context = context
        for layer in (*(block.conv for block in self.convolutions), self.fully_connected[0]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As ``DeepSpeech2``: (B, 1, F, T) and (B,) -> log-probabilities (T', B, V) and (B,) output lengths, T' = ceil(T / 2)."""
        check_input(self.n_freq, features, feature_lengths)
        lengths = feature_lengths.to(features.device)
        x = features.masked_fill(~sequence_mask(lengths, features.shape[3])[:, None, None, :], 0.0)
        for layer in self.convolutions:  # layers 1, 2 and 3
            x, lengths = layer(x, lengths)
            x = self.dropout(x)  # (B, H, 1, T')
        x = x[:, :, 0].permute(2, 0, 1)  # (T', B, H)
        (recurrence,) = self.recurrences
        return self.log_probs(recurrence(x, lengths)), lengths

    def log_probs(self, x: Tensor) -> Tensor:
        """The layers above the recurrence, frame by frame: (T', B, H) -> (T', B, V)."""
        logits = self.output(self.dropout(self.fully_connected(x)))  # (T', B, V)
        return F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)
