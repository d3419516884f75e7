"""The whole network: an utterance is heard the same alone and in any company."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import implementation
from implementation import ClippedReLU, DeepSpeech2

N_FREQ, VOCAB = 9, 5
LENGTHS = [13, 4, 9]


@pytest.fixture(scope="module", autouse=True)
def narrow_convolutions():
    """Table 4 with a few channels: the same network, quicker. test_convolution.py holds the true numbers."""
    with pytest.MonkeyPatch.context() as patch:
        narrow = {
            name: tuple(replace(layer, channels=layer.channels // 16) for layer in row)
            for name, row in implementation.CONVOLUTIONS.items()
        }
        patch.setattr(implementation, "CONVOLUTIONS", narrow)
        yield


everything = pytest.mark.parametrize(
    ("rnn_type", "batch_norm", "n_conv"),
    [(kind, place, n_conv) for kind in ("gru", "rnn", "lstm") for place in ("output", "input") for n_conv in (1, 2, 3)],
)


def random_model(rnn_type: str = "gru", batch_norm: str = "output", n_conv: int = 2, **arguments) -> DeepSpeech2:
    """Nothing stands at its initial value: biases, gammas, betas and running averages are random too."""
    torch.manual_seed(0)
    model = DeepSpeech2(N_FREQ, VOCAB, n_conv, 2, 6, rnn_type, batch_norm, **arguments)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 3:
            nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=0.3)
    for name, buffer in model.named_buffers():
        buffer.uniform_(-0.5, 0.5) if "mean" in name else buffer.uniform_(0.5, 1.5)
    return model


def utterances(lengths: list[int] = LENGTHS, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(N_FREQ, length, generator=generator) for length in lengths]


def padded(features: list[torch.Tensor], extra: int = 0, garbage: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 1, F, T) with ``extra`` frames beyond the longest and ``garbage`` in the padding; lengths."""
    lengths = torch.tensor([f.shape[1] for f in features])
    batch = torch.full((len(features), 1, features[0].shape[0], int(lengths.max()) + extra), garbage, dtype=features[0].dtype)
    for row, f in zip(batch, features, strict=True):
        row[0, :, : f.shape[1]] = f
    return batch, lengths


def heard(model: DeepSpeech2, features: list[torch.Tensor], **padding) -> list[torch.Tensor]:
    """Log-probabilities of each utterance, cut to its own length."""
    log_probs, lengths = model(*padded(features, **padding))
    return [log_probs[:length, b] for b, length in enumerate(lengths.tolist())]


# ---------------------------------------------------------------------------------------------
# Company and padding
# ---------------------------------------------------------------------------------------------


@everything
def test_an_utterance_is_heard_the_same_alone_in_any_order_and_under_any_padding(rnn_type, batch_norm, n_conv):
    model, features = random_model(rnn_type, batch_norm, n_conv).eval(), utterances()
    alone = [heard(model, [f])[0] for f in features]
    company = (
        ([0, 1, 2], {}),
        ([2, 0, 1], {"extra": 7}),
        ([1, 2], {"extra": 3, "garbage": 50.0}),
        ([1, 1, 0], {"garbage": float("nan")}),
    )
    for order, padding in company:
        together = heard(model, [features[i] for i in order], **padding)
        torch.testing.assert_close(together, [alone[i] for i in order], atol=1e-5, rtol=0)


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=3), st.integers(0, 9), st.floats(-1e3, 1e3),
    st.tuples(*[st.integers(1, 3)] * 3),
)  # fmt: skip
def test_company_does_not_matter_for_any_lengths_and_strides(lengths, extra, garbage, strides):
    model = random_model("gru", "output", 3, time_strides=strides).double().eval()
    features = [f.double() for f in utterances(lengths)]
    together = heard(model, features, extra=extra, garbage=garbage)
    torch.testing.assert_close(together, [heard(model, [f])[0] for f in features])


@everything
def test_padding_has_no_influence_on_training(rnn_type, batch_norm, n_conv):
    """Neither its amount nor what stands in it: outputs, gradients and running averages are the same."""
    features = [f.double() for f in utterances()]
    results = []
    for padding in ({}, {"extra": 6, "garbage": 30.0}):
        model = random_model(rnn_type, batch_norm, n_conv).double()
        log_probs = torch.cat(heard(model, features, **padding))
        log_probs.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        results.append((log_probs, gradients, dict(model.named_buffers())))
    torch.testing.assert_close(*results)
    assert all(gradient.any() for gradient in results[0][1].values())


# ---------------------------------------------------------------------------------------------
# What comes out
# ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(0, 99))
def test_probabilities_sum_to_one(lengths, seed):
    for log_probs in heard(random_model(n_conv=1), utterances(lengths, seed)):
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(len(log_probs)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_probabilities_have_the_weights_precision_and_integer_lengths(dtype):
    features = [f.to(dtype) for f in utterances()]
    log_probs, lengths = random_model().to(dtype)(*padded(features))
    assert (log_probs.dtype, lengths.dtype) == (dtype, torch.int64)
    assert log_probs.shape == (7, 3, VOCAB)
    assert lengths.tolist() == [7, 2, 5]


def test_log_probabilities_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        log_probs, _ = random_model()(*padded(utterances()))
    assert log_probs.dtype == torch.float32


@given(st.integers(1, 60), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_output_lengths_are_the_real_number_of_frames(frames, strides):
    model = DeepSpeech2(2, 2, len(strides), 1, 1, time_strides=strides)
    log_probs, lengths = model(torch.randn(1, 1, 2, frames), torch.tensor([frames]))
    expected = frames
    for stride in strides:
        expected = -(-expected // stride)
    assert lengths.tolist() == model.output_lengths(torch.tensor([frames])).tolist() == [expected] == [len(log_probs)]


def test_time_stride_is_the_product_of_the_convolutions():
    assert DeepSpeech2(9, 5, 3, 1, 2).time_stride == 2
    assert DeepSpeech2(9, 5, 2, 1, 2, time_strides=(3, 2)).time_stride == 6


def test_dropout_acts_in_training_alone():
    model, batch = random_model(dropout=0.5), padded(utterances())
    assert not torch.equal(model(*batch)[0], model(*batch)[0])
    model.eval()
    assert torch.equal(model(*batch)[0], model(*batch)[0])


def test_the_clip_reaches_every_clipped_relu():
    model = DeepSpeech2(9, 5, 2, 2, 4, "rnn", clip=7.0)
    assert [module.clip for module in model.modules() if isinstance(module, ClippedReLU)] == [7.0] * 4
    assert [layer.clip for layer in model.recurrences] == [7.0] * 2


def test_a_copy_hears_the_same():
    model = random_model().eval()
    torch.testing.assert_close(heard(copy.deepcopy(model), utterances()), heard(model, utterances()))


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------

FEATURES, FULL = torch.zeros(2, 1, N_FREQ, 10), torch.tensor([10, 10])


@pytest.mark.parametrize(
    ("features", "lengths", "message"),
    [
        (FEATURES, torch.tensor([10.0, 8.0]), "integers, not torch.float32"),
        (FEATURES, torch.tensor([10]), r"2 integers, .* \(1,\)"),
        (FEATURES, torch.tensor([11, 8]), r"1\.\.10, not \[11, 8\]"),
        (FEATURES, torch.tensor([10, 0]), r"1\.\.10, not \[10, 0\]"),
        (torch.zeros(2, 1, N_FREQ + 1, 10), FULL, r"\(B, 1, 9, T\)"),
        (torch.zeros(2, 2, N_FREQ, 10), FULL, r"\(B, 1, 9, T\)"),
        (torch.zeros(2, N_FREQ, 10), FULL, r"\(B, 1, 9, T\)"),
    ],
)
def test_shapes_and_lengths_that_do_not_fit_are_refused(features, lengths, message):
    with pytest.raises(ValueError, match=message):
        random_model()(features, lengths)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_conv": 0}, {"n_conv": 4}, {"n_rnn": 0}, {"rnn_hidden": 0}, {"n_freq": 1}, {"vocab_size": 1}, {"rnn_type": "tanh"},
        {"batch_norm": "both"}, {"time_strides": (2, 1, 1)}, {"dropout": 1.5},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DeepSpeech2(**({"n_freq": 9, "vocab_size": 5, "rnn_hidden": 4} | wrong))
