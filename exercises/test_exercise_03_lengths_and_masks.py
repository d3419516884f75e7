"""Check of exercise 3: lengths and masks after strided convolutions."""

from __future__ import annotations

import copy

import hypothesis.strategies as st
import torch
import torch.nn.functional as F

from ladder import Ladder
from sizes import for_sizes

ladder = Ladder(
    "exercise_03_lengths_and_masks",
    names=("conv_output_lengths", "sequence_mask", "ConvBlock"),
)


def places(frames: int, kernel: int, stride: int, padding: int) -> int:
    """How often the kernel fits, counted one by one."""
    return sum(1 for start in range(0, frames + 2 * padding, stride) if start + kernel <= frames + 2 * padding)


def block_and_batch(answer, seed: int = 0, kernel=(3, 5), stride=(1, 2), clip: float = 20.0):
    """A block in float64 with shaken norm, and a batch whose padding holds rubbish."""
    torch.manual_seed(seed)
    block = answer.ConvBlock(2, 3, kernel, stride, clip).double()
    with torch.no_grad():
        block.norm.weight.uniform_(0.5, 2.0)
        block.norm.bias.uniform_(-0.5, 1.0)
        block.norm.running_mean.uniform_(-0.3, 0.3)
        block.norm.running_var.uniform_(0.5, 2.0)
    lengths = torch.tensor([11, 4, 1, 8])
    x = torch.randn(4, 2, 6, 11, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[:, :, length:] = 50.0
    return block, x, lengths


def one_by_one(block, x: torch.Tensor, lengths: torch.Tensor, training: bool) -> torch.Tensor:
    """The block without any padding: each utterance is convolved alone, statistics over all their frames."""
    conv = block.conv
    alone = [
        F.conv2d(row[None, :, :, :n], conv.weight, None, conv.stride, conv.padding)[0] for row, n in zip(x, lengths, strict=True)
    ]
    if training:
        frames = torch.cat([y.flatten(1) for y in alone], 1)  # (C, all values)
        mean, var = frames.mean(1), frames.var(1, correction=0)
    else:
        mean, var = block.norm.running_mean, block.norm.running_var
    gamma, beta = block.norm.weight[:, None, None], block.norm.bias[:, None, None]
    longest = max(y.shape[2] for y in alone)
    rows = []
    for y in alone:
        y = (y - mean[:, None, None]) / (var[:, None, None] + block.norm.eps).sqrt() * gamma + beta
        rows.append(F.pad(y.clamp(0, block.activation.clip), (0, longest - y.shape[2])))
    return torch.stack(rows)


@ladder.step("shape and dtype")
def shapes(answer, check):
    for dtype in (torch.int64, torch.int32):
        got = check.call(answer.conv_output_lengths, torch.tensor([7, 9, 11], dtype=dtype), 3, 2, 1)
        check.close("lengths (the dtype is that of the input)", got, torch.tensor([4, 5, 6], dtype=dtype))
        got = check.call(answer.sequence_mask, torch.tensor([2, 1, 0], dtype=dtype), 3)
        check.close("mask", got, torch.tensor([[True, True, False], [True, False, False], [False, False, False]]))
    block = answer.ConvBlock(1, 4, (5, 3), (2, 2))
    result = check.call(block, torch.randn(2, 1, 9, 7), torch.tensor([7, 5]))
    check.that(
        "the result of ConvBlock",
        isinstance(result, tuple) and len(result) == 2,
        type(result).__name__,
        "a pair: output, lengths",
    )
    check.close("the output of ConvBlock, apart from its values", result[0] * 0, torch.zeros(2, 4, 5, 4))
    check.close("the lengths that ConvBlock gives back", result[1], torch.tensor([4, 3]))


@ladder.step("the worked example")
def worked_example(answer, check):
    got = check.call(answer.conv_output_lengths, torch.tensor([5, 6]), kernel=3, stride=2, padding=1)
    check.close("lengths", got, torch.tensor([3, 3]))
    got = check.call(answer.sequence_mask, torch.tensor([1, 3]), 4)
    check.close("mask", got, torch.tensor([[True, False, False, False], [True, True, True, False]]))


@ladder.step("lengths against counting, and against a real convolution")
def oracle_lengths(answer, check):
    frames = torch.arange(1, 30)
    for kernel in (1, 2, 3, 5, 11):
        for stride in (1, 2, 3, 4):
            for padding in (0, 1, kernel // 2, kernel):
                fits = frames[frames + 2 * padding >= kernel]
                wanted = torch.tensor([places(n, kernel, stride, padding) for n in fits.tolist()])
                got = check.call(answer.conv_output_lengths, fits, kernel, stride, padding)
                check.close("lengths against counting the places of the kernel", got, wanted)
    real = F.conv1d(torch.zeros(1, 1, 53), torch.zeros(1, 1, 11), stride=3, padding=5).shape[2]
    check.close(
        "length of a real convolution", check.call(answer.conv_output_lengths, torch.tensor([53]), 11, 3, 5), torch.tensor([real])
    )
    long = [2**24 + 1, 2**25 + 3, 2**31 + 1, 2**53 + 1, 2**53 + 2, 2**53 + 5, 2**60 + 1]
    for kernel, stride, padding in ((1, 1, 0), (3, 1, 1), (11, 2, 5), (5, 3, 2)):
        wanted = torch.tensor([(frames + 2 * padding - kernel) // stride + 1 for frames in long])
        got = check.call(answer.conv_output_lengths, torch.tensor(long), kernel, stride, padding)
        check.close(f"long lengths, kernel {kernel}, stride {stride}, padding {padding}: exact integers", got, wanted)
    got = check.call(answer.conv_output_lengths, torch.tensor([2**24 + 1, 2**30 + 3], dtype=torch.int32), 3, 2, 1)
    check.close("long lengths in int32", got, torch.tensor([2**23 + 1, 2**29 + 2], dtype=torch.int32))
    got = check.call(answer.conv_output_lengths, torch.tensor([1, 2, 3, 4]), 6, 2, 0)
    check.close("lengths where the kernel does not fit", got, torch.tensor([-2, -1, -1, 0]))
    got = check.call(answer.conv_output_lengths, torch.tensor([7]), 3, 2, 1)
    check.close("a batch of one", got, torch.tensor([4]))


@ladder.step("masks against a table")
def oracle_masks(answer, check):
    for lengths, longest in (([3, 0, 5, 1], 5), ([1], 1), ([2, 2], 4), ([0, 0], 3), (list(range(12)), 11)):
        wanted = torch.tensor([[t < n for t in range(longest)] for n in lengths])
        check.close("mask", check.call(answer.sequence_mask, torch.tensor(lengths), longest), wanted)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        got = check.call(answer.sequence_mask, torch.tensor([2, 0, 3], dtype=dtype), 3)
        check.close(f"mask of {dtype} lengths", got, torch.tensor([[True, True, False], [False] * 3, [True] * 3]))
    got = check.call(answer.sequence_mask, torch.tensor([3, 200], dtype=torch.uint8), 300)
    check.close(
        "mask of more frames than the dtype of the lengths can count", got, torch.arange(300) < torch.tensor([[3], [200]])
    )
    check.close(
        "mask of no frames", check.call(answer.sequence_mask, torch.tensor([0, 0]), 0), torch.zeros(2, 0, dtype=torch.bool)
    )
    for lengths, longest in (([2049, 4097, 1], 4100), ([66_001, 70_001], 70_002)):
        got = check.call(answer.sequence_mask, torch.tensor(lengths), longest)
        wanted = torch.stack([torch.cat((torch.ones(n), torch.zeros(longest - n))).bool() for n in lengths])
        check.close("mask of many frames", got, wanted)


@ladder.step("the block against each utterance alone")
def oracle_block(answer, check):
    for seed, (kernel, stride) in enumerate([((3, 5), (1, 2)), ((5, 3), (2, 1)), ((1, 7), (1, 3)), ((3, 1), (3, 1))]):
        block, x, lengths = block_and_batch(answer, seed, kernel, stride)
        after = torch.tensor([places(n, kernel[1], stride[1], kernel[1] // 2) for n in lengths.tolist()])
        settings = f"kernel {kernel}, stride {stride} (frequency, time)"
        got = check.call(block.output_lengths, lengths)
        check.close(f"lengths after the block, {settings}", got, after)
        for mode in (False, True):
            name = "in training" if mode else "in evaluation"
            wanted = one_by_one(block, x, lengths, mode)
            got, got_lengths = check.call(block.train(mode), x, lengths)
            check.close(f"lengths that come back, {settings}", got_lengths, after)
            check.close(f"output {name}, padding filled with 50, {settings}", got, wanted)


@ladder.step("a property: the padding influences neither the output nor the gradient")
def padding(answer, check):
    block, x, lengths = block_and_batch(answer, 7)
    other = x.clone()
    for row, length in zip(other, lengths, strict=True):
        row[:, :, length:] = -3.0
    check.close(
        "the same batch with other padding", check.call(block, other, lengths)[0], check.call(block, x, lengths)[0].detach()
    )
    wider = F.pad(x, (0, 6), value=9.0)
    got, _ = check.call(block.eval(), wider, lengths)
    wanted = F.pad(one_by_one(block, x, lengths, False), (0, 3))
    check.close("the same batch with 6 more frames of padding", got, wanted)
    block.train()
    x.requires_grad_()
    weight = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    wanted = torch.autograd.grad((one_by_one(block, x, lengths, True) * weight).sum(), [x, block.conv.weight])
    output, _ = check.call(block, x, lengths)
    check.that("that the output has a gradient", output.requires_grad, "no gradient", "a gradient")
    got = torch.autograd.grad((output * weight).sum(), [x, block.conv.weight], allow_unused=True)
    for name, one, other in zip(("input", "kernel"), got, wanted, strict=True):
        check.close(f"gradient of the {name}", one, other)


@ladder.step("traps: clip, one utterance, one frame")
def traps(answer, check):
    block, x, lengths = block_and_batch(answer, 3, clip=0.5)
    check.equal("the clip of a block that was made with clip 0.5", block.activation.clip, 0.5)
    got, _ = check.call(block.eval(), x, lengths)
    check.close("output with clip 0.5", got, one_by_one(block, x, lengths, False))
    block, x, lengths = block_and_batch(answer, 8, clip=0.5)
    got, _ = check.call(block, x, lengths)
    check.close("output with clip 0.5, in training", got, one_by_one(block, x, lengths, True))
    block, x, lengths = block_and_batch(answer, 4)
    got, got_lengths = check.call(block, x[1:2, :, :, :4], lengths[1:2])
    check.close("a batch of one without padding", got, one_by_one(block, x[1:2], lengths[1:2], True))
    got, got_lengths = check.call(block, x[2:3], lengths[2:3])
    wanted = F.pad(one_by_one(block, x[2:3], lengths[2:3], True), (0, 5))
    check.close("an utterance of one frame", got, wanted)
    check.close("its length", got_lengths, torch.tensor([1]))
    block, x, lengths = block_and_batch(answer, 5)
    block(x, lengths)
    before = block.norm.running_mean.clone()
    check.call(block.eval(), x, lengths)
    check.close("running averages after evaluation (they must stay)", block.norm.running_mean, before)
    for value in (torch.nan, torch.inf):
        broken = x.clone()
        broken[1, :, :, 4:] = value
        check.close(
            f"output where the padding holds {value}", check.call(block, broken, lengths)[0], one_by_one(block, x, lengths, False)
        )


@ladder.step("traps: the same block again, other lengths, kinds of input")
def more_traps(answer, check):
    block, x, _ = block_and_batch(answer, 9)
    block.eval()
    for lengths in ([11, 11, 11, 11], [11, 4, 1, 8], [3, 11, 2, 5]):
        lengths = torch.tensor(lengths)
        got, _ = check.call(block, x, lengths)
        what = f"output of the same batch with lengths {lengths.tolist()}, after other lengths"
        check.close(what, got, F.pad(one_by_one(block, x, lengths, False), (0, 6 - (int(lengths.max()) + 1) // 2)))
    block, x, lengths = block_and_batch(answer, 10)
    got, after = check.call(block, x, lengths.int())
    check.close("output with lengths in int32", got, one_by_one(block, x, lengths, True))
    check.close("the lengths that the model returns, int32", after, torch.tensor([6, 2, 1, 4], dtype=torch.int32))
    turned = x.transpose(0, 3).contiguous().transpose(0, 3)
    check.close("output of a transposed tensor", check.call(block, turned, lengths)[0], one_by_one(block, x, lengths, True))
    wider = F.pad(x, (0, 6), value=9.0)
    wanted = F.pad(one_by_one(block, x, lengths, True), (0, 3))
    check.close("output in training with 6 more frames of padding", check.call(block, wider, lengths)[0], wanted)
    for value in (torch.nan, torch.inf, -torch.inf, 1e200):
        block, x, lengths = block_and_batch(answer, 11)
        norm = copy.deepcopy(block.norm)
        norm(block.conv(x.masked_fill(~inside(lengths, 11), 0.0)).detach(), torch.tensor([6, 2, 1, 4]))
        broken = x.masked_fill(~inside(lengths, 11), value)
        got, _ = check.call(block, broken, lengths)
        check.close(f"output in training where the padding holds {value}", got, one_by_one(block, x, lengths, True))
        for name in ("running_mean", "running_var"):
            what = f"{name} after one call in training, where the padding holds {value}"
            check.close(
                what, getattr(block.norm, name), getattr(norm, name), why="call norm once, with the lengths after the convolution"
            )
    block, x, lengths = block_and_batch(answer, 12)
    wanted = one_by_one(block, x, lengths, True)
    longer, none = torch.cat((x, torch.full_like(x[:1], 7.0))), torch.tensor([11, 4, 1, 8, 0])
    got, after = check.call(block, longer, none)
    check.close("output with a fifth utterance of no frame", got, torch.cat((wanted, torch.zeros_like(wanted[:1]))))
    check.close("the lengths that the model returns", after, torch.tensor([6, 2, 1, 4, 0]))
    small = answer.ConvBlock(1, 2)
    got, after = check.call(small, torch.randn(2, 1, 45, 30), torch.tensor([30, 17]))
    check.close("output with the default kernel and stride, apart from its values", got * 0, torch.zeros(2, 2, 23, 15))
    check.close("its lengths", after, torch.tensor([15, 9]))


def inside(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """(B, 1, 1, T) True where a frame belongs to the utterance."""
    return torch.stack([torch.arange(frames) < n for n in lengths.tolist()])[:, None, None]


@ladder.also
def any_size(answer, check):
    @for_sizes(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), kernel=st.integers(1, 12),
               stride=st.integers(1, 5), padding=st.integers(0, 12))  # fmt: skip
    def counted(lengths: list[int], kernel: int, stride: int, padding: int) -> None:
        fitting = [n for n in lengths if n + 2 * padding >= kernel]
        wanted = torch.tensor([places(n, kernel, stride, padding) for n in fitting], dtype=torch.long)
        got = check.call(answer.conv_output_lengths, torch.tensor(fitting, dtype=torch.long), kernel, stride, padding)
        check.close(f"lengths after a convolution of {fitting} frames", got, wanted)
        wanted = torch.tensor([[t < n for t in range(41)] for n in lengths])
        check.close(f"mask of lengths {lengths}", check.call(answer.sequence_mask, torch.tensor(lengths), 41), wanted)

    @for_sizes(10, lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), more=st.integers(0, 3), bins=st.integers(1, 9),
               kernel=st.sampled_from([(1, 1), (3, 3), (5, 3), (3, 7)]), stride=st.tuples(*[st.integers(1, 3)] * 2))  # fmt: skip
    def blocks(lengths: list[int], more: int, bins: int, kernel: tuple, stride: tuple) -> None:
        whole_block(answer, check, torch.tensor(lengths), more, bins, kernel, stride)

    for lengths in ([4, 4, 4, 4], [4, 3, 2, 1], [1, 2, 3, 4]):  # B = C = F = T
        whole_block(answer, check, torch.tensor(lengths), 0, 4, (3, 3), (1, 1), channels=4)
    block, x, lengths = block_and_batch(answer, 13)
    got, _ = check.call(block, 1e8 * x, lengths)
    check.close("output of inputs around 1e8", got, one_by_one(block, 1e8 * x, lengths, True))


def whole_block(answer, check, lengths, more: int, bins: int, kernel: tuple, stride: tuple, channels: int = 2) -> None:
    """Value and gradients of a block on random input with rubbish in the padding."""
    torch.manual_seed(bins)
    block = answer.ConvBlock(channels, 3, kernel, stride).double()
    x = torch.randn(len(lengths), channels, bins, int(lengths.max()) + more, dtype=torch.float64)
    x = torch.where(inside(lengths, x.shape[3]), x, 3e19).requires_grad_()
    wanted = one_by_one(block, x, lengths, True)
    got, _ = check.call(block, x, lengths)
    what = f"lengths {lengths.tolist()} in {x.shape[3]} frames, kernel {kernel}, stride {stride}"
    wanted = F.pad(wanted, (0, places(x.shape[3], kernel[1], stride[1], kernel[1] // 2) - wanted.shape[3]))
    check.close(f"output, {what}", got, wanted.detach())
    by = torch.randn(wanted.shape, dtype=torch.float64)
    pairs = zip(*(torch.autograd.grad((y * by).sum(), [x, block.conv.weight]) for y in (got, wanted)), strict=True)
    for name, (one, other) in zip(("input", "kernel"), pairs, strict=True):
        check.close(f"gradient of the {name}, {what}", one, other, (1e-7, 1e-8))


def test_exercise(climb):
    climb(ladder)
