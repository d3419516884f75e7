"""The two quick roads of the convolution against torch's, its lengths, and Table 4."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from implementation import (
    CONVOLUTIONS,
    ClippedReLU,
    ConvBlock,
    Convolution,
    DeepSpeech2,
    convolution_by_coefficients,
    convolution_by_rows,
)

odd = st.integers(0, 3).map(lambda half: 2 * half + 1)
shapes = st.tuples(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 10), st.integers(1, 10), odd, odd,
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 10**6),
)  # fmt: skip


def assert_equals_conv2d(road, batch, channels, out_channels, bins, frames, kernel, length, stride, seed):
    """Value and both gradients."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, bins, frames, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out_channels, channels, kernel, length, generator=generator, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(x, weight, stride=stride, padding=(kernel // 2, length // 2))
    actual = road(x, weight, stride)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((y * cotangent).sum(), (x, weight)) for y in (actual, expected)]
    torch.testing.assert_close(*gradients)


@given(shapes)
def test_rows_equal_conv2d(shape):
    batch, _, *rest = shape
    assert_equals_conv2d(convolution_by_rows, batch, 1, *rest)


@given(shapes)
def test_coefficients_equal_conv2d(shape):
    assert_equals_conv2d(convolution_by_coefficients, *shape)


@pytest.mark.parametrize(
    ("road", "channels", "bins", "kernel", "stride"),
    [(convolution_by_rows, 1, 65, 41, (2, 2)), (convolution_by_coefficients, 4, 33, 21, (2, 1))],
)
def test_the_papers_kernels_equal_conv2d(road, channels, bins, kernel, stride):
    assert_equals_conv2d(road, 2, channels, 3, bins, 15, kernel, 11, stride, 0)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_block_is_convolution_then_batch_norm_then_clipped_relu(in_channels):
    block = ConvBlock(in_channels, 4, (5, 3), (2, 2), clip=1.0).double()
    x = torch.randn(2, in_channels, 9, 12, dtype=torch.float64)
    y, lengths = block(x, torch.tensor([12, 12]))
    convolved = F.conv2d(x, block.conv.weight, stride=2, padding=(2, 1))
    expected = F.batch_norm(convolved, None, None, training=True).clamp(0, 1)
    torch.testing.assert_close(y, expected)
    assert lengths.tolist() == [6, 6]
    assert (y == 1).any()


def test_a_blocks_statistics_run_over_its_own_valid_frames():
    block = ConvBlock(1, 4, (5, 3), (1, 2)).double()
    x = torch.randn(2, 1, 9, 12, dtype=torch.float64)
    x[1, :, :, 5:] = 0
    y, lengths = block(x, torch.tensor([12, 5]))
    convolved = F.conv2d(x, block.conv.weight, stride=(1, 2), padding=(2, 1))
    frames = torch.cat([convolved[0], convolved[1, :, :, :3]], dim=2)[None]  # (1, 4, 9, 6 + 3)
    expected = F.batch_norm(frames, None, None, training=True).clamp(0, 20)[0]
    torch.testing.assert_close(torch.cat([y[0], y[1, :, :, :3]], dim=2), expected)
    assert lengths.tolist() == [6, 3]
    assert not y[1, :, :, 3:].any()


def test_the_activation_is_clipped_at_20():
    assert ClippedReLU()(torch.tensor([-1.0, 0.5, 19.0, 21.0])).tolist() == [0, 0.5, 19, 20]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 5, 11])
def test_output_lengths_are_the_real_sizes(kernel, stride):
    block = ConvBlock(1, 1, (1, kernel), (1, stride))
    lengths = torch.arange(1, 40)
    real = [block.conv(torch.zeros(1, 1, 1, length)).shape[3] for length in lengths.tolist()]
    assert block.output_lengths(lengths).tolist() == real
    assert not block.output_lengths(lengths).is_floating_point()


TABLE_4 = {
    1: [(32, (41, 11), (2, 2))],
    2: [(32, (41, 11), (2, 2)), (32, (21, 11), (2, 1))],
    3: [(32, (41, 11), (2, 2)), (32, (21, 11), (2, 1)), (96, (21, 11), (2, 1))],
}


@pytest.mark.parametrize("n_conv", TABLE_4)
def test_channels_kernels_and_strides_are_those_of_table_4(n_conv):
    convolutions = [block.conv for block in DeepSpeech2(33, 29, n_conv, 1, 4).convolutions]
    assert [(conv.out_channels, conv.kernel_size, conv.stride) for conv in convolutions] == TABLE_4[n_conv]
    assert [conv.padding for conv in convolutions] == [(20, 5), (10, 5), (10, 5)][:n_conv]
    assert all(conv.bias is None for conv in convolutions)


def test_tables_made_in_inference_mode_serve_training_too():
    weight = torch.randn(2, 2, 5, 3, requires_grad=True)
    x = torch.randn(1, 2, 23, 4)  # 23 bins and 5 rows: sizes no other test uses
    with torch.inference_mode():
        convolution_by_coefficients(x, weight, (1, 1))
    convolution_by_coefficients(x, weight, (1, 1)).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_table_4_holds_the_1d_rows_too():
    shapes = {name: [(layer.channels, layer.kernel, layer.stride) for layer in row] for name, row in CONVOLUTIONS.items()}
    assert shapes == {
        "1-layer 1D": [(1280, (0, 11), (1, 2))],
        "2-layer 1D": [(640, (0, 5), (1, 1)), (640, (0, 5), (1, 2))],
        "3-layer 1D": [(512, (0, 5), (1, 1)), (512, (0, 5), (1, 1)), (512, (0, 5), (1, 2))],
    } | {f"{n}-layer 2D": TABLE_4[n] for n in TABLE_4}  # fmt: skip


@pytest.mark.parametrize("time_strides", [None, (2, 3)])
def test_a_1d_convolution_is_torchs_conv1d_over_all_bins(time_strides):
    """Two of them: value after batch norm and clip, gradients, lengths."""
    row = [Convolution(6, (0, 5), (1, 1)), Convolution(4, (0, 3), (1, 2))]
    model = DeepSpeech2(9, 5, n_rnn=1, rnn_hidden=4, convolutions=row, time_strides=time_strides).double()
    first, second = model.convolutions
    x = torch.randn(2, 1, 9, 13, dtype=torch.float64, requires_grad=True)
    y, lengths = second(*first(x, torch.tensor([13, 13])))
    expected = x[:, 0]
    for block, stride in ((first, (time_strides or (1, 2))[0]), (second, (time_strides or (1, 2))[1])):
        kernel = block.conv.weight[:, :, 0]
        expected = F.conv1d(expected, kernel, stride=stride, padding=kernel.shape[2] // 2)
        expected = F.batch_norm(expected, None, None, training=True).clamp(0, 20)
    torch.testing.assert_close(y[:, :, 0], expected)
    assert lengths.tolist() == model.output_lengths(torch.tensor([13, 13])).tolist() == [expected.shape[2]] * 2
    weights = (x, first.conv.weight, second.conv.weight)
    ours, theirs = (torch.autograd.grad(values.square().sum(), weights) for values in (y, expected))
    torch.testing.assert_close(ours, theirs)
    assert model(x, torch.tensor([13, 9]))[0].shape == (expected.shape[2], 2, 5)


def test_without_batch_norm_a_block_has_a_bias_and_silent_padding():
    block = ConvBlock(1, 3, (5, 3), (2, 1)).double().without_batch_norm()
    nn.init.normal_(block.conv.bias)
    x, lengths = torch.randn(2, 1, 9, 12, dtype=torch.float64), torch.tensor([12, 5])
    x[1, :, :, 5:] = 0
    y, _ = block(x, lengths)
    expected = F.conv2d(x, block.conv.weight, block.conv.bias, (2, 1), (2, 1)).clamp(0, 20)
    torch.testing.assert_close(y[0], expected[0])
    torch.testing.assert_close(y[1, :, :, :5], expected[1, :, :, :5])
    assert not y[1, :, :, 5:].any() and y[1].any()


@pytest.mark.parametrize(
    "choice", [{"n_conv": 4}, {"convolutions": "4-layer 2D"}, {"time_strides": (2,)}, {"time_strides": (0, 1)}]
)
def test_rows_that_table_4_does_not_have_are_refused(choice):
    with pytest.raises(
        ValueError, match=r"n_conv must be 1 to 3, and convolutions one of 1-layer 1D|time_strides needs 2 strides"
    ):
        DeepSpeech2(33, 29, n_rnn=1, rnn_hidden=4, **choice)
