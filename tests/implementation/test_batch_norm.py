"""Sequence-wise batch norm against torch's batch norm over the valid frames, gathered into one matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from implementation import SequenceBatchNorm

LENGTHS = torch.tensor([5, 2, 4])
SHAPES = {"recurrent": (5, 3, 4), "convolutional": (3, 4, 6, 5)}  # (T, B, H) and (B, C, F, T)
layouts = pytest.mark.parametrize("layout", SHAPES)


def valid(x: torch.Tensor, lengths: torch.Tensor = LENGTHS) -> torch.Tensor:
    """The valid frames as (frames, features), or (frames times F, features)."""
    per_utterance = x.transpose(0, 1) if x.dim() == 3 else x.permute(0, 3, 2, 1)  # (B, T, ...)
    kept = [frames[:length] for frames, length in zip(per_utterance, lengths.tolist(), strict=True)]
    return torch.cat(kept).reshape(-1, x.shape[2 if x.dim() == 3 else 1])


def padding(shape: tuple[int, ...], lengths: torch.Tensor = LENGTHS) -> torch.Tensor:
    """True where a frame is padding, in the shape of x."""
    late = torch.stack([torch.arange(shape[0 if len(shape) == 3 else 3]) >= length for length in lengths])  # (B, T)
    return (late.t()[:, :, None] if len(shape) == 3 else late[:, None, None, :]).expand(shape)


def pair(features: int = 4) -> tuple[SequenceBatchNorm, nn.BatchNorm1d]:
    """Ours and torch's in float64 with the same random weight and bias."""
    ours, torchs = SequenceBatchNorm(features).double(), nn.BatchNorm1d(features).double()
    for norm in (ours, torchs):
        norm.weight.data, norm.bias.data = torch.linspace(0.5, 2, features).double(), torch.linspace(-1, 1, features).double()
    return ours, torchs


@layouts
def test_values_equal_torchs(layout):
    ours, torchs = pair()
    x = torch.randn(SHAPES[layout], dtype=torch.float64) * 3 + 2
    torch.testing.assert_close(valid(ours(x, LENGTHS)), torchs(valid(x)))


@layouts
def test_gradients_equal_torchs(layout):
    ours, torchs = pair()
    x = torch.randn(SHAPES[layout], dtype=torch.float64, requires_grad=True)
    y = valid(ours(x, LENGTHS))
    weights = torch.randn_like(y)
    gradients = torch.autograd.grad((y * weights).sum(), [x, ours.weight, ours.bias])
    expected = torch.autograd.grad((torchs(valid(x)) * weights).sum(), [x, torchs.weight, torchs.bias])
    torch.testing.assert_close(gradients, expected)


@layouts
def test_running_statistics_and_evaluation_equal_torchs(layout):
    ours, torchs = pair()
    for _ in range(3):
        x = torch.randn(SHAPES[layout], dtype=torch.float64) * 2 + 1
        ours(x, LENGTHS)
        torchs(valid(x))
    torch.testing.assert_close((ours.running_mean, ours.running_var), (torchs.running_mean, torchs.running_var))
    torch.testing.assert_close(valid(ours.eval()(x, LENGTHS)), torchs.eval()(valid(x)))


def test_evaluation_leaves_the_running_statistics_alone():
    norm = SequenceBatchNorm(4).eval()
    norm(torch.randn(5, 3, 4) + 7, LENGTHS)
    assert norm.running_mean.tolist() == [0] * 4
    assert norm.running_var.tolist() == [1] * 4


@layouts
def test_gradients_equal_finite_differences(layout):
    norm, _ = pair()
    x = torch.randn(SHAPES[layout], dtype=torch.float64, requires_grad=True)

    def call(x, weight, bias):
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, LENGTHS))

    assert torch.autograd.gradcheck(call, (x, norm.weight, norm.bias))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_valid_frames_have_mean_0_and_variance_1(seed, lengths):
    x = torch.randn(9, len(lengths), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5 - 3
    y = valid(SequenceBatchNorm(3, eps=1e-12).double()(x, torch.tensor(lengths)), torch.tensor(lengths))
    torch.testing.assert_close(y.mean(0), torch.zeros_like(y[0]))
    torch.testing.assert_close(y.var(0, correction=0), torch.ones_like(y[0]), atol=1e-6, rtol=0)


@layouts
@pytest.mark.parametrize("training", [True, False])
def test_padding_comes_out_0(layout, training):
    norm, _ = pair()
    y = norm.train(training)(torch.randn(SHAPES[layout], dtype=torch.float64), LENGTHS)
    assert not y[padding(SHAPES[layout])].any()
    assert y[~padding(SHAPES[layout])].all()


@layouts
def test_garbage_in_the_padding_changes_nothing(layout):
    x = torch.randn(SHAPES[layout], dtype=torch.float64)
    results = []
    for garbage in (0.0, 1e3):
        norm, _ = pair()
        dirty = x.masked_fill(padding(x.shape), garbage).requires_grad_()
        y = norm(dirty, LENGTHS)
        gradients = torch.autograd.grad(y.square().sum() + y.sum(), [dirty, norm.weight, norm.bias])
        results.append((y, *gradients, norm.running_mean, norm.running_var))
    torch.testing.assert_close(*results)


@layouts
def test_the_gradient_of_the_padding_is_0(layout):
    norm, _ = pair()
    x = torch.randn(SHAPES[layout], dtype=torch.float64, requires_grad=True)
    (norm(x, LENGTHS) * torch.randn(SHAPES[layout])).sum().backward()
    assert not x.grad[padding(x.shape)].any()


def test_without_lengths_every_frame_counts():
    norm, _ = pair()
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(norm(x), norm(x, torch.tensor([5, 5, 5])))


def test_a_single_frame_is_finite():
    norm = SequenceBatchNorm(4)
    assert norm(torch.randn(2, 1, 4), torch.tensor([1])).isfinite().all()
    assert norm.running_var.isfinite().all()


@layouts
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normalised_in_float32(layout, dtype):
    x = (torch.randn(SHAPES[layout]) + 100).to(dtype)
    y = SequenceBatchNorm(4)(x, LENGTHS)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, SequenceBatchNorm(4)(x.float(), LENGTHS))


@pytest.mark.parametrize("shape", [(5, 3, 7), (3, 7, 6, 5), (5, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(T, B, 4\)"):
        SequenceBatchNorm(4)(torch.randn(shape))
