"""Check of exercise 4: sequence-wise batch norm without padding."""

from __future__ import annotations

import copy

import hypothesis.strategies as st
import torch
import torch.nn as nn

from ladder import Ladder
from sizes import for_sizes

READY = "write out mean, variance and running averages yourself"
ladder = Ladder(
    "exercise_04_batch_norm",
    names=("SequenceBatchNorm",),
    forbidden=dict.fromkeys(
        (
            "BatchNorm1d",
            "BatchNorm2d",
            "BatchNorm3d",
            "SyncBatchNorm",
            "LazyBatchNorm1d",
            "LazyBatchNorm2d",
            "batch_norm",
            "native_batch_norm",
            "LayerNorm",
            "layer_norm",
            "GroupNorm",
            "group_norm",
            "InstanceNorm1d",
            "instance_norm",
        ),
        READY,
    ),
    operations=("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"),
)


def shaken(answer, features: int, seed: int = 0, dtype=torch.float64, **settings):
    """A norm whose gamma, beta and running averages are not those of the beginning, and torch's with the same."""
    torch.manual_seed(seed)
    ours = answer.SequenceBatchNorm(features, **settings).to(dtype)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2.0)
        ours.weight[0] *= -1
        ours.bias.uniform_(-1.0, 1.0)
        ours.running_mean.uniform_(-1.0, 1.0)
        ours.running_var.uniform_(0.5, 2.0)
    theirs = nn.BatchNorm1d(features, **settings).to(dtype)
    theirs.load_state_dict({**ours.state_dict(), "num_batches_tracked": torch.tensor(0)})
    return ours, theirs


def packed(theirs: nn.BatchNorm1d, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """torch's batch norm on the valid frames alone, put back into their places."""
    last = x if x.dim() == 3 else x.permute(3, 0, 2, 1)  # features last, (T, B, ..., C)
    valid = torch.arange(last.shape[0])[:, None] < lengths  # (T, B)
    normalised = theirs(last[valid].flatten(0, -2))  # (values, C)
    y = torch.zeros_like(last).index_put(valid.nonzero(as_tuple=True), normalised.view(-1, *last.shape[2:]))
    return y if x.dim() == 3 else y.permute(1, 3, 2, 0)


def batch(kind: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, B, H) or (B, C, F, T) with rubbish in the padding."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 1, 4])
    shape = (7, 3, 5) if kind == 3 else (3, 5, 4, 7)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1, lengths


def running(check, ours, theirs, when: str) -> None:
    check.close(f"running mean {when}", ours.running_mean, theirs.running_mean)
    check.close(f"running variance {when}", ours.running_var, theirs.running_var)


@ladder.step("shape and dtype")
def shapes(answer, check):
    for x in (torch.randn(4, 2, 3), torch.randn(2, 3, 5, 4), torch.randn(4, 2, 3, dtype=torch.float64)):
        norm = answer.SequenceBatchNorm(3).to(x.dtype)
        for mode in (True, False):
            got = check.call(norm.train(mode), x, torch.tensor([4, 2]))
            check.close(
                f"the output {'in training' if mode else 'in evaluation'}, apart from its values", got * 0, torch.zeros_like(x)
            )
            check.that("that the output has a gradient", got.requires_grad, "no gradient", "a gradient")


@ladder.step("the worked example")
def worked_example(answer, check):
    norm = answer.SequenceBatchNorm(1)
    x = torch.tensor([[[1.0], [5.0]], [[3.0], [9.0]]])
    got = check.call(norm, x, torch.tensor([2, 1]))
    check.close("the output", got, torch.tensor([[[-1.22474], [1.22474]], [[0.0], [0.0]]]))
    check.close("running mean", norm.running_mean, torch.tensor([0.3]))
    check.close("running variance", norm.running_var, torch.tensor([1.3]))
    norm.eval()
    got = check.call(norm, x, torch.tensor([2, 1]))
    wanted = torch.tensor([[[0.7 / 1.3**0.5], [4.7 / 1.3**0.5]], [[2.7 / 1.3**0.5], [0.0]]])
    check.close("the output in evaluation, after this one batch", got, wanted)


@ladder.step("nn.BatchNorm1d on the packed valid frames: values")
def oracle_values(answer, check):
    for kind in (3, 4):
        for settings in ({}, {"eps": 0.5}, {"momentum": 0.3}, {"momentum": 1.0}, {"momentum": 0.0}):
            ours, theirs = shaken(answer, 5, kind, **settings)
            x, lengths = batch(kind, kind)
            wanted = packed(theirs, x, lengths)
            got = check.call(ours, x, lengths)
            check.close(f"output in training, {kind}-D, {settings or 'default settings'}", got, wanted.detach())
            running(check, ours, theirs, f"after one batch, {kind}-D, {settings or 'default settings'}")
        x, lengths = batch(kind, kind + 10)
        wanted = packed(theirs, x, torch.tensor([7, 7, 7]))
        check.close(f"output without lengths (all frames count), {kind}-D", check.call(ours, x), wanted.detach())
        running(check, ours, theirs, "after a batch without lengths")
        ours.eval(), theirs.eval()
        wanted = packed(theirs, x, lengths)
        check.close(f"output in evaluation, {kind}-D", check.call(ours, x, lengths), wanted.detach())
        check.close(f"output in evaluation, again, {kind}-D", check.call(ours, x, lengths), wanted.detach())
        running(check, ours, theirs, "after evaluation (they must stay as they were)")


@ladder.step("nn.BatchNorm1d on the packed valid frames: gradients")
def oracle_gradients(answer, check):
    for kind in (3, 4):
        for mode in (True, False):
            ours, theirs = shaken(answer, 5, kind)
            ours.train(mode), theirs.train(mode)
            x, lengths = batch(kind, 20 + kind)
            x.requires_grad_()
            weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            wanted = torch.autograd.grad((packed(theirs, x, lengths) * weight).sum(), [x, theirs.weight, theirs.bias])
            got = torch.autograd.grad(
                (check.call(ours, x, lengths) * weight).sum(), [x, ours.weight, ours.bias], allow_unused=True
            )
            free = not (ours.running_mean.requires_grad or ours.running_var.requires_grad)
            check.that("that the running averages stay out of the graph (torch.no_grad)", free, "a gradient", "none")
            for name, one, other in zip(("x", "gamma", "beta"), got, wanted, strict=True):
                one = torch.zeros_like(other) if one is None else one
                check.close(f"gradient of {name} {'in training' if mode else 'in evaluation'}, {kind}-D", one, other)


@ladder.step("a property: padding and the order of the utterances do not matter")
def properties(answer, check):
    for kind in (3, 4):
        x, lengths = batch(kind, 30)
        ours, _ = shaken(answer, 5, 1)
        wanted = check.call(ours, x, lengths).detach()
        first = ours.running_mean.clone(), ours.running_var.clone()
        other = x.clone()
        valid = torch.arange(7) < lengths[:, None]  # (B, T)
        valid = valid.t()[:, :, None] if kind == 3 else valid[:, None, None, :]
        other = torch.where(valid, x, 1e4)
        ours, _ = shaken(answer, 5, 1)
        check.close(f"output with 10000 in the padding, {kind}-D", check.call(ours, other, lengths), wanted)
        check.close("running mean with 10000 in the padding", ours.running_mean, first[0])
        check.close("running variance with 10000 in the padding", ours.running_var, first[1])
        axis, order = (1 if kind == 3 else 0), torch.tensor([2, 0, 1])
        ours, _ = shaken(answer, 5, 1)
        got = check.call(ours, x.index_select(axis, order), lengths[order])
        check.close(f"output of the utterances in another order, {kind}-D", got, wanted.index_select(axis, order))


@ladder.step("traps: many batches, far from zero, one value, no value")
def traps(answer, check):
    ours, theirs = shaken(answer, 5, 2)
    for seed in range(5):
        x, lengths = batch(3, 40 + seed)
        lengths = torch.tensor([7, seed, 3])
        wanted = packed(theirs, x, lengths).detach()
        check.close("output of one batch after the other (lengths 7, n, 3)", check.call(ours, x, lengths), wanted)
    running(check, ours, theirs, "after five batches")
    check.equal("names of parameters and buffers", sorted(ours.state_dict()), ["bias", "running_mean", "running_var", "weight"])
    check.that(
        "that the running averages need no gradient",
        not (ours.running_mean.requires_grad or ours.running_var.requires_grad),
        "a gradient",
        "none",
    )


@ladder.also
def more_traps(answer, check):
    x, lengths = batch(3, 50)
    far = (x.float() - 1) / 3 + 3000.0  # spread 1, far from 0
    norm = answer.SequenceBatchNorm(5)
    got = check.call(norm, far, lengths)
    wanted = packed(nn.BatchNorm1d(5).double(), far.double(), lengths).float().detach()
    check.close(
        "output of float32 values around 3000",
        got,
        wanted,
        (1e-2, 1e-2),
        why="E[x^2] - E[x]^2 loses all digits here: subtract the mean first, then square",
    )
    norm = answer.SequenceBatchNorm(2).double()
    x = torch.tensor([[[4.0, -2.0]]], dtype=torch.float64)
    check.close(
        "output of one utterance of one frame", check.call(norm, x, torch.tensor([1])), torch.zeros(1, 1, 2, dtype=torch.float64)
    )
    check.close("its running mean", norm.running_mean, torch.tensor([0.4, -0.2], dtype=torch.float64))
    check.close("its running variance", norm.running_var, torch.tensor([0.9, 0.9], dtype=torch.float64))
    ours, theirs = shaken(answer, 5, 3)
    x, lengths = batch(3, 60)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    check.close("output of a transposed tensor", check.call(ours, turned, lengths), packed(theirs, x, lengths).detach())
    ours, theirs = shaken(answer, 4, 4)
    square = torch.randn(4, 4, 4, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 1, 3])
    check.close("output where T = B = H = 4", check.call(ours, square, lengths), packed(theirs, square, lengths).detach())
    square = torch.randn(4, 4, 4, 4, dtype=torch.float64)
    check.close("output where B = C = F = T = 4", check.call(ours, square, lengths), packed(theirs, square, lengths).detach())
    for shape in ((4, 3), (4, 2, 3), (2, 3, 4, 5), (1, 4, 1, 1, 1)):
        check.raises("another number of dimensions or features", ValueError, ours, torch.zeros(shape, dtype=torch.float64))


@ladder.step("traps: modes, lengths of other kinds, no lengths")
def modes(answer, check):
    for kind in (3, 4):
        x, lengths = batch(kind, 70 + kind)
        ours, theirs = shaken(answer, 5, 5)
        wanted = packed(theirs, x, lengths).detach()
        why = "self.training tells you the mode; torch.no_grad has nothing to do with it"
        with torch.no_grad():
            check.close(f"output in training under torch.no_grad(), {kind}-D", check.call(ours, x, lengths), wanted, why=why)
        running(check, ours, theirs, f"after a batch in training under torch.no_grad(), {kind}-D")
        wanted = packed(theirs, x, lengths).detach()
        check.close(f"output with lengths in int32, {kind}-D", check.call(ours, x, lengths.int()), wanted)
        ours.eval(), theirs.eval()
        wanted = packed(theirs, x, torch.full((3,), 7)).detach()
        got = check.call(ours, x)
        check.close(f"output in evaluation without lengths (all frames count), {kind}-D", got, wanted)
        for short in ([5, 1, 4], [2, 0, 3]):
            short = torch.tensor(short)
            what = f"lengths {short.tolist()} in 7 frames, {kind}-D"
            for mode in (True, False):
                ours.train(mode), theirs.train(mode)
                wanted = packed(theirs, x, short).detach()
                name = "in training" if mode else "in evaluation"
                check.close(f"output {name}, {what}", check.call(ours, x, short), wanted)
            running(check, ours, theirs, f"after a batch with {what}")
    norm = answer.SequenceBatchNorm(1).eval()
    got = check.call(norm, torch.ones(1, 1, 1, 4))
    check.close("output in evaluation, one utterance of four ones, 4-D, no lengths", got, torch.ones(1, 1, 1, 4))
    got = check.call(norm, torch.ones(4, 1, 1))
    check.close("output in evaluation, one utterance of four ones, 3-D, no lengths", got, torch.ones(4, 1, 1))


@ladder.step("traps: shapes, large numbers, single precision")
def numbers(answer, check):
    ours, theirs = shaken(answer, 5, 6)
    x, lengths = batch(4, 80)
    turned = x.transpose(1, 3).contiguous().transpose(1, 3)
    check.close("output of a transposed tensor, 4-D", check.call(ours, turned, lengths), packed(theirs, x, lengths).detach())
    x = x[:1, :, :, :1]
    wanted = packed(theirs, x, torch.tensor([1])).detach()
    check.close("output of one utterance of one frame, 4-D", check.call(ours, x, torch.tensor([1])), wanted)
    running(check, ours, theirs, "after one frame with 4 bins of frequency")
    x, lengths = batch(3, 81)
    for what, values in (("around 1e8", x + 1e8), ("around 1e-6, below eps", x * 1e-6), ("in the millions", x * 1e6)):
        ours, theirs = shaken(answer, 5, 7)
        wanted = packed(theirs, values, lengths).detach()
        check.close(f"output of values {what}", check.call(ours, values, lengths), wanted, (1e-5, 1e-6))
    ours, theirs = shaken(answer, 5, 8, dtype=torch.float32)
    wanted = packed(theirs, x.float(), lengths).detach()
    check.close("output in float32", check.call(ours, x.float(), lengths), wanted)
    running(check, ours, theirs, "in float32")
    ours, theirs = shaken(answer, 1, 10)
    x, lengths = torch.randn(2101, 2, 1, dtype=torch.float64), torch.tensor([2049, 2100])
    check.close("output of 4149 frames", check.call(ours, x, lengths), packed(theirs, x, lengths).detach())
    running(check, ours, theirs, "after 4149 frames")
    constant = torch.full((4, 2, 5), 3.0)
    got = check.call(answer.SequenceBatchNorm(5), constant, torch.tensor([4, 2]))
    check.close("output of a constant", got, torch.zeros(4, 2, 5))
    x, lengths = batch(3, 82)
    ours, theirs = shaken(answer, 5, 9)
    for time in ("once", "twice"):
        wanted = packed(theirs, x, lengths).detach()
        check.close(f"output of the same batch {time}", check.call(ours, x, lengths), wanted)
    running(check, ours, theirs, "after the same batch twice")


def by_hand(norm, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, mean and unbiased variance in training: the valid values of all utterances, one after the other."""
    last = x.movedim(1, -1) if x.dim() == 4 else x.transpose(0, 1)  # features last, utterances first
    rows = [(row[:, :n] if x.dim() == 4 else row[:n]).flatten(0, -2) for row, n in zip(last, lengths.tolist(), strict=True)]
    values = torch.cat(rows)
    mean, centred = values.mean(0), values - values.mean(0)
    y = centred / (centred.square().mean(0) + norm.eps).sqrt() * norm.weight + norm.bias
    out = torch.zeros_like(last)
    for b, (part, n) in enumerate(zip(y.split([len(row) for row in rows]), lengths.tolist(), strict=True)):
        out[b, ..., :n, :] = part.view(out[b, ..., :n, :].shape)
    out = out.movedim(-1, 1) if x.dim() == 4 else out.transpose(0, 1)
    return out, mean.detach(), centred.square().sum(0).detach() / max(1, len(values) - 1)


def with_padding(x: torch.Tensor, lengths: torch.Tensor, value: float) -> torch.Tensor:
    """The batch with this value in the padding."""
    valid = torch.arange(x.shape[0] if x.dim() == 3 else x.shape[3]) < lengths[:, None]  # (B, T)
    return torch.where(valid.t()[:, :, None] if x.dim() == 3 else valid[:, None, None, :], x, value)


def whole_norm(answer, check, x: torch.Tensor, lengths: torch.Tensor, what: str, loose: tuple = (1e-7, 1e-8)) -> None:
    """Value, running averages and gradients in training."""
    norm, _ = shaken(answer, x.shape[2] if x.dim() == 3 else x.shape[1], 11, x.dtype)
    double = x.detach().double().requires_grad_()
    reference = copy.deepcopy(norm).double()
    wanted, mean, var = by_hand(reference, double, lengths)
    new = [(0.9 * old + 0.1 * value) for old, value in ((reference.running_mean, mean), (reference.running_var, var))]
    x = x.detach().requires_grad_()
    got = check.call(norm, x, lengths)
    check.close(f"output, {what}", got, wanted.detach().to(x.dtype), loose)
    for name, value in zip(("running_mean", "running_var"), new, strict=True):
        check.close(f"{name} after it, {what}", getattr(norm, name), value.to(x.dtype), loose)
    by = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = torch.autograd.grad((got * by.to(x.dtype)).sum(), [x, norm.weight, norm.bias], allow_unused=True)
    theirs = torch.autograd.grad((wanted * by).sum(), [double, reference.weight, reference.bias])
    for name, one, other in zip(("x", "gamma", "beta"), ours, theirs, strict=True):
        one = torch.zeros_like(other, dtype=x.dtype) if one is None else one
        check.close(f"gradient of {name}, {what}", one, other.to(x.dtype), loose)


@ladder.also
def any_size(answer, check):
    for kind in (3, 4):
        x, lengths = batch(kind, 90 + kind)
        for value in (3e19, -3e19):
            what = f"{value:g} in the padding, {kind}-D, float32"
            whole_norm(answer, check, with_padding(x.float(), lengths, value), lengths, what, (1e-3, 1e-4))
        whole_norm(answer, check, with_padding(x, lengths, 1e200), lengths, f"1e200 in the padding, {kind}-D")
        for order in ([0, 2, 1], [1, 2, 0]):
            x = x[:, order] if kind == 3 else x[order]
            whole_norm(answer, check, x, lengths[order], f"lengths {lengths[order].tolist()}, {kind}-D")
            x, lengths = batch(kind, 90 + kind)
        norm, _ = shaken(answer, 5, 12)
        row = x[:, :1] if kind == 3 else x[:1]
        got = check.call(norm.eval(), row, torch.tensor([4]))
        short = check.call(norm, row[:4] if kind == 3 else row[..., :4]).detach()
        rest = torch.zeros_like(row[4:] if kind == 3 else row[..., 4:])
        what = f"output in evaluation, one utterance of 4 of 7 frames, {kind}-D"
        check.close(what, got, torch.cat((short, rest), 0 if kind == 3 else 3))
    one = torch.randn(9, 1, 3, dtype=torch.float64)
    whole_norm(answer, check, one + 1e8, torch.tensor([9]), "one utterance around 1e8, 3-D", (1e-5, 1e-6))
    one = one.permute(1, 2, 0)[:, :, None]
    whole_norm(answer, check, one + 1e8, torch.tensor([9]), "one utterance around 1e8, 4-D", (1e-5, 1e-6))
    for lengths in ([1, 1], [2, 0]):
        x = torch.randn(3, 2, 2, dtype=torch.float64)
        whole_norm(answer, check, x, torch.tensor(lengths), f"lengths {lengths}: two values")
    high = torch.randn(500, 2, 2, dtype=torch.float64)
    high[100, 0] = 1e3
    whole_norm(answer, check, high, torch.tensor([500, 300]), "one frame of 500 a thousand times as large")

    @for_sizes(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), more=st.integers(0, 2),
               features=st.integers(1, 4), bins=st.integers(0, 3))  # fmt: skip
    def sizes(lengths: list[int], more: int, features: int, bins: int) -> None:
        lengths = torch.tensor(lengths) if any(lengths) else torch.tensor([*lengths, 1])
        frames, generator = int(lengths.max()) + more, torch.Generator().manual_seed(bins + features)
        shape = (len(lengths), features, bins, frames) if bins else (frames, len(lengths), features)
        x = 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1
        whole_norm(answer, check, x, lengths, f"shape {tuple(x.shape)}, lengths {lengths.tolist()}")


def test_exercise(climb):
    climb(ladder)
