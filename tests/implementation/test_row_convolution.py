"""Row convolution and what stands above it, against sums written out; and a forward-only model's view of the future."""

from __future__ import annotations

import pytest
import torch

from implementation import DeepSpeech2, RowConvolution

LENGTHS = torch.tensor([7, 3, 1])


def random_row(features: int = 4, lookahead: int = 3) -> RowConvolution:
    row = RowConvolution(features, lookahead).double()
    torch.nn.init.normal_(row.weight)
    return row


def random_states(frames: int = 7, features: int = 4) -> torch.Tensor:
    return torch.randn(frames, len(LENGTHS), features, dtype=torch.float64)


def written_out(weight: torch.Tensor, h: torch.Tensor, length: int) -> torch.Tensor:
    """Eq. 11 for one utterance, number by number: (length, d) -> (length, d)."""
    r = torch.zeros_like(h)
    for t in range(length):
        for i in range(h.shape[1]):
            r[t, i] = sum(weight[i, j] * h[t + j, i] for j in range(weight.shape[1]) if t + j < length)
    return r


@pytest.mark.parametrize("lookahead", [1, 3, 9])
def test_equals_the_sum_of_eq_11_utterance_by_utterance(lookahead):
    row, h = random_row(lookahead=lookahead), random_states()  # what stands in the padding must not matter
    found = row(h, LENGTHS)
    for utterance, length in enumerate(LENGTHS.tolist()):
        expected = written_out(row.weight, h[:length, utterance], length)
        torch.testing.assert_close(found[:length, utterance], expected)
        assert not found[length:, utterance].any()


def test_gradients_are_those_of_the_sum():
    row, h = random_row(), random_states().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _w: row(x, LENGTHS), (h, row.weight))
    row(h, LENGTHS).square().sum().backward()
    found, weight, states = (row.weight.grad, h.grad), row.weight.detach().requires_grad_(), h.detach().requires_grad_()
    sums = [written_out(weight, states[:length, b], length) for b, length in enumerate(LENGTHS.tolist())]
    sum(part.square().sum() for part in sums).backward()
    torch.testing.assert_close(found, (weight.grad, states.grad))


def test_looks_ahead_by_tau_frames_and_never_back():
    row, h = random_row(lookahead=2), random_states()
    before = row(h)
    h[4] += 1.0
    changed = (row(h) != before).any(-1).any(-1)
    assert changed.tolist() == [False, False, True, True, True, False, False]


def test_a_new_one_passes_each_frame_as_it_is():
    h = random_states().float()
    torch.testing.assert_close(RowConvolution(4, 5)(h), h)


@pytest.mark.parametrize(("features", "lookahead"), [(0, 1), (4, 0), (4, -1)])
def test_sizes_out_of_range_are_refused(features, lookahead):
    with pytest.raises(ValueError, match="must be at least 1"):
        RowConvolution(features, lookahead)


# ---------------------------------------------------------------------------------------------
# In the model
# ---------------------------------------------------------------------------------------------


def forward_model(**arguments) -> DeepSpeech2:
    model = DeepSpeech2(n_freq=9, vocab_size=5, n_conv=1, n_rnn=2, rnn_hidden=6, bidirectional=False, **arguments)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


@pytest.mark.parametrize("rnn_type", ["gru", "rnn", "lstm"])
@pytest.mark.parametrize("batch_norm", ["output", "input"])
def test_an_output_hears_as_far_ahead_as_convolution_and_row_convolution_reach(rnn_type, batch_norm):
    model = forward_model(row_conv=2, rnn_type=rnn_type, batch_norm=batch_norm)
    x, lengths = torch.randn(1, 1, 9, 60, dtype=torch.float64), torch.tensor([60])
    with torch.no_grad():
        before = model(x, lengths)[0]
        x[..., 40:] += 1.0
        changed = (model(x, lengths)[0] != before).any(-1).any(-1)
    # Output t has heard the frames up to 2 (t + tau) + 5: stride 2, and half of a kernel of 11 frames.
    assert changed.tolist() == [2 * (t + 2) + 5 >= 40 for t in range(30)]


def test_the_top_of_the_model_is_eq_11_then_eq_4_then_the_output():
    model, x, lengths = forward_model(row_conv=2, fc_hidden=7), torch.randn(1, 1, 9, 20, dtype=torch.float64), torch.tensor([20])
    states = []
    model.recurrences[-1].register_forward_hook(lambda _layer, _arguments, output: states.append(output[:, 0]))
    log_probs, output_lengths = model(x, lengths)
    r = written_out(model.row_convolution.weight, states[0], int(output_lengths[0]))
    linear = model.fully_connected[0]
    h = torch.minimum(torch.maximum(r @ linear.weight.t() + linear.bias, r.new_zeros(())), r.new_tensor(20.0))
    expected = torch.log_softmax(h @ model.output.weight.t() + model.output.bias, -1)
    torch.testing.assert_close(log_probs[:, 0], expected)
    assert linear.weight.shape == (7, 6) and model.output.weight.shape == (5, 7)


def test_an_utterance_alone_is_heard_as_in_company():
    model, lengths = forward_model(row_conv=4, fc_hidden=7), torch.tensor([30, 11, 24])
    x = torch.randn(3, 1, 9, 30, dtype=torch.float64)
    together, output_lengths = model(x, lengths)
    for b, (length, frames) in enumerate(zip(lengths.tolist(), output_lengths.tolist(), strict=True)):
        alone, _ = model(x[b : b + 1, :, :, :length], lengths[b : b + 1])
        torch.testing.assert_close(together[:frames, b], alone[:, 0])


def test_row_convolution_above_bidirectional_layers_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="bidirectional layers hear the whole utterance, so it would add nothing"):
        DeepSpeech2(n_freq=9, vocab_size=5, row_conv=2)
    with pytest.raises(ValueError, match="row_conv and fc_hidden must be at least 0, not -1 and 0"):
        DeepSpeech2(n_freq=9, vocab_size=5, bidirectional=False, row_conv=-1)
