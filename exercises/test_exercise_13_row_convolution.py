"""Check of exercise 13: the row convolution."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
import torch.nn.functional as F

from ladder import Ladder
from sizes import for_sizes

ladder = Ladder(
    "exercise_13_row_convolution",
    names=("RowConvolution",),
)
DOUBLE = {"dtype": torch.float64}
LENGTHS = torch.tensor([5, 7, 3, 1])


def row_of(answer, features: int, lookahead: int, seed: int = 0, weight: torch.Tensor | None = None):
    """A layer in float64 with random weights, or with these."""
    torch.manual_seed(seed)
    row = answer.RowConvolution(features, lookahead).double()
    with torch.no_grad():
        row.weight.copy_(torch.randn(features, lookahead + 1, **DOUBLE) if weight is None else weight)
    return row


def run(check, row, *args, method: str = ""):
    """The result of the layer, or of one of its methods; if the call fails, the message gives d and tau."""
    name = f"RowConvolution({row.weight.shape[0]}, {row.weight.shape[1] - 1})"
    return check.call(getattr(row, method), *args, name=f"{name}.{method}") if method else check.call(row, *args, name=name)


def equation_11(weight: torch.Tensor, h: torch.Tensor, lengths: list[int] | None = None) -> torch.Tensor:
    """Eq. 11 number by number, each utterance alone: (T, B, d) -> (T, B, d)."""
    features, window = weight.shape
    r = torch.zeros(h.shape, dtype=h.dtype)
    for b, length in enumerate(lengths or [len(h)] * h.shape[1]):
        for t in range(length):
            for i in range(features):
                r[t, b, i] = sum(weight[i, j - 1] * h[t + j - 1, b, i] for j in range(1, window + 1) if t + j - 1 < length)
    return r


def turned_round(weight: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """The same by torch: time turned round, so that the future is a past, which a causal convolution hears."""
    back = F.pad(h.flip(0).permute(1, 2, 0), (weight.shape[1] - 1, 0))  # (B, d, tau + T)
    return F.conv1d(back, weight.flip(1)[:, None], groups=len(weight)).permute(2, 0, 1).flip(0)


@ladder.step("shape and dtype")
def shapes(answer, check):
    for dtype in (torch.float32, torch.float64):
        row = answer.RowConvolution(3, 2).to(dtype)
        got = run(check, row, torch.randn(6, 4, 3, dtype=dtype))
        check.close("output, apart from its values", got * 0, torch.zeros(6, 4, 3, dtype=dtype))
        got = run(check, row, torch.randn(6, 4, 3, dtype=dtype), torch.tensor([6, 2, 3, 1]))
        check.close("output with lengths, apart from its values", got * 0, torch.zeros(6, 4, 3, dtype=dtype))
        got = run(check, row, torch.randn(6, 4, 3, dtype=dtype), method="over")
        check.close("output of over, apart from its values", got * 0, torch.zeros(4, 4, 3, dtype=dtype))


@ladder.step("the worked example")
def worked_example(answer, check):
    row = row_of(answer, 2, 1, weight=torch.tensor([[2.0, 1.0], [0.0, 3.0]]))
    x = torch.tensor([[1.0, 1.0], [10.0, 2.0], [100.0, 3.0]], **DOUBLE)[:, None]
    got = run(check, row, x)
    check.close("output", got, torch.tensor([[12.0, 6.0], [120.0, 9.0], [200.0, 0.0]], **DOUBLE)[:, None])
    got = run(check, row, x, torch.tensor([2]))
    check.close("output where 2 of the 3 frames are valid", got, torch.tensor([[12.0, 6], [20.0, 0], [0, 0]], **DOUBLE)[:, None])
    got = run(check, row, x, method="over")
    check.close("over of the same frames", got, torch.tensor([[12.0, 6.0], [120.0, 9.0]], **DOUBLE)[:, None])


@ladder.step("Eq. 11 number by number")
def oracle_sum(answer, check):
    for lookahead in (1, 2, 4):
        row, x = row_of(answer, 3, lookahead, lookahead), torch.randn(7, 4, 3, **DOUBLE)
        weight = row.weight.detach()
        check.close("output", run(check, row, x), equation_11(weight, x))
        check.close("output with lengths", run(check, row, x, LENGTHS), equation_11(weight, x, LENGTHS.tolist()))
        what = "output without lengths, after a call with lengths"
        check.close(what, run(check, row, x), equation_11(weight, x))
        wanted = equation_11(weight, x)[: 7 - lookahead]
        check.close("output of over", run(check, row, x, method="over"), wanted)


@ladder.step("torch's convolution with time reversed, and gradients")
def oracle_torch(answer, check):
    row, x = row_of(answer, 6, 3, 10), torch.randn(30, 2, 6, **DOUBLE)
    check.close("output", run(check, row, x), turned_round(row.weight, x).detach())
    for lengths in (None, LENGTHS):
        row, x = row_of(answer, 3, 2, 11), torch.randn(7, 4, 3, **DOUBLE, requires_grad=True)
        wanted = equation_11(row.weight, x, None if lengths is None else lengths.tolist())
        gradients(check, run(check, row, x, lengths), wanted, (x, row.weight), "the output")
    row, x = row_of(answer, 3, 2, 12), torch.randn(7, 2, 3, **DOUBLE, requires_grad=True)
    gradients(check, run(check, row, x, method="over"), equation_11(row.weight, x)[:5], (x, row.weight), "the output of over")


@ladder.also
def gradient_after_none(answer, check):
    row, x = row_of(answer, 3, 2, 13), torch.randn(7, 4, 3, **DOUBLE, requires_grad=True)
    with torch.no_grad():
        run(check, row, x, LENGTHS)
    got, wanted = run(check, row, x, LENGTHS), equation_11(row.weight, x, LENGTHS.tolist())
    gradients(check, got, wanted, (x, row.weight), "the output after a call under torch.no_grad()")


def gradients(check, got, wanted, parts: tuple, what: str) -> None:
    """The gradients of x and W."""
    by = torch.randn(wanted.shape, **DOUBLE)
    wanted = torch.autograd.grad((wanted * by).sum(), parts)
    check.that(f"that {what} has a gradient", got.requires_grad, "no gradient", "a gradient")
    got = torch.autograd.grad((got * by).sum(), parts, allow_unused=True)
    why = "the gradient must flow through x and through self.weight"
    for name, one, other in zip(("x", "W"), got, wanted, strict=True):
        check.close(f"gradient of {name} in {what}", torch.zeros_like(other) if one is None else one, other, why=why)


@ladder.step("a property: an utterance alone gives the same output as in a batch")
def padding(answer, check):
    row, x = row_of(answer, 3, 3, 20), torch.randn(7, 4, 3, **DOUBLE)
    wanted = run(check, row, x, LENGTHS).detach()
    for b, n in enumerate(LENGTHS.tolist()):
        got = run(check, row, x[:n, b : b + 1])
        check.close(f"output of utterance {b} alone, frames: {n} (wanted: that in the batch)", got, wanted[:n, b : b + 1])
        got = run(check, row, x[:n, b : b + 1], LENGTHS[b : b + 1])
        check.close(f"output of utterance {b} alone, with its length", got, wanted[:n, b : b + 1])
    other = x.clone()
    for b, n in enumerate(LENGTHS.tolist()):
        other[n:, b] = 99.0
    check.close("output with 99 in the padding", run(check, row, other, LENGTHS), wanted)
    wider = torch.cat((x, torch.full((5, 4, 3), -7.0, **DOUBLE)))
    got = run(check, row, wider, LENGTHS)
    check.close("output with 5 more frames of padding", got, torch.cat((wanted, torch.zeros(5, 4, 3, **DOUBLE))))
    order = [2, 0, 3, 1]
    check.close("output of the same in another order", run(check, row, x[:, order], LENGTHS[order]), wanted[:, order])


@ladder.step("a property: how far it looks ahead, and that a stream gives the same output")
def reach(answer, check):
    row, x = row_of(answer, 2, 2, 30, torch.tensor([[1.0, 2.0, 4.0], [3.0, -1.0, 5.0]])), torch.randn(8, 1, 2, **DOUBLE)
    before = run(check, row, x).detach()
    for frame in (5, 0, 7):
        other = x.clone()
        other[frame] += 1.0
        changed = (run(check, row, other) - before).abs().amax((1, 2)) > 1e-9
        what = f"which frames of the output change with frame {frame} of x (tau is 2)"
        check.equal(what, changed.nonzero().flatten().tolist(), list(range(max(0, frame - 2), frame + 1)))
    later = torch.cat((torch.zeros(4, 1, 2, **DOUBLE), x))
    check.close("output of the same frames, 4 frames later", run(check, row, later)[4:], before)
    other = x.clone()
    other[:, :, 1] = 50.0
    check.close("feature 0 of the output after feature 1 of x changed", run(check, row, other)[:, :, :1], before[:, :, :1])
    check.close("output of -3 x", run(check, row, -3 * x), -3 * before)


@ladder.also
def stream(answer, check):
    for lookahead, sizes in ((2, [3, 1, 1, 4, 2, 1]), (5, [1, 2, 1, 1, 1, 6]), (1, [1] * 12), (3, [12])):
        row, x = row_of(answer, 3, lookahead, 31), torch.randn(12, 2, 3, **DOUBLE)
        kept, heard, chunks = x[:0], [], [*x.split(sizes), torch.zeros(lookahead, 2, 3, **DOUBLE)]
        for chunk in chunks:
            kept = torch.cat((kept, chunk))
            if len(kept) > lookahead:
                heard.append(run(check, row, kept, method="over").detach())
                kept = kept[len(kept) - lookahead :]
        what = f"over of chunks of {sizes} frames, the last tau = {lookahead} kept each time, joined"
        check.close(what, torch.cat(heard), equation_11(row.weight.detach(), x))


@ladder.step("traps: utterances shorter than the lookahead, one frame, equal sizes")
def traps(answer, check):
    for frames, batch, features, lookahead in (
        (1, 1, 1, 1),
        (1, 2, 3, 4),
        (3, 2, 2, 9),
        (3, 3, 3, 2),
        (4, 4, 4, 3),
        (2, 2, 2, 1),
    ):
        row, x = row_of(answer, features, lookahead, 40), torch.randn(frames, batch, features, **DOUBLE)
        check.close("output", run(check, row, x), equation_11(row.weight.detach(), x))
        lengths = [1, frames, frames, max(1, frames - 1)][:batch]
        got = run(check, row, x, torch.tensor(lengths))
        check.close(f"output with lengths {lengths}", got, equation_11(row.weight.detach(), x, lengths))
        longer = torch.cat((x, torch.randn(lookahead, batch, features, **DOUBLE)))
        got = run(check, row, longer, method="over")
        check.close("output of over", got, equation_11(row.weight.detach(), longer)[:frames])
    for features, lookahead in ((4, 0), (0, 2), (4, -1)):
        what = f"{features} features and a lookahead of {lookahead}"
        check.raises(what, ValueError, answer.RowConvolution, features, lookahead, name="RowConvolution")
    x = torch.randn(5, 2, 4, **DOUBLE)
    check.close("output of a new layer, which passes each frame as it is", run(check, answer.RowConvolution(4, 3).double(), x), x)


@ladder.step("traps: lengths of other kinds, calls one after the other, small numbers, other layouts")
def more_traps(answer, check):
    row, x = row_of(answer, 3, 2, 50), torch.randn(9, 4, 3, **DOUBLE)
    weight, wanted = row.weight.detach().clone(), equation_11(row.weight.detach(), x, LENGTHS.tolist())
    for mode in (True, False):
        row.train(mode)
        check.close("output, 7 of 9 frames in the longest utterance", run(check, row, x, LENGTHS), wanted)
        check.close("output with lengths in int32", run(check, row, x, LENGTHS.int()), wanted)
    other = torch.tensor([0, 9, 2, 8])
    what = "output with other lengths than before, one of them 0"
    check.close(what, run(check, row, x, other), equation_11(weight, x, other.tolist()))
    check.close("output with lengths that are all 0", run(check, row, x, 0 * other), 0 * x)
    what = "output of over, after a call with lengths"
    check.close(what, run(check, row, x, method="over"), equation_11(weight, x)[:7])
    with torch.no_grad():
        check.close("output under torch.no_grad()", run(check, row_of(answer, 3, 2, 50), x, LENGTHS), wanted)
    turned = x.transpose(0, 2).contiguous().transpose(0, 2)
    check.close("output of a transposed tensor", run(check, row, turned, LENGTHS), wanted)
    got = run(check, row, 1e-9 * x, LENGTHS)
    check.close("output of numbers around 1e-9", got, 1e-9 * wanted, (1e-9, 1e-18))
    check.close("output in float32", run(check, row.float(), x.float(), LENGTHS), wanted.float(), (1e-4, 1e-6))
    with torch.no_grad():
        row.weight.mul_(2)
    check.close("output after the weights were doubled", run(check, row, x.float(), LENGTHS), 2 * wanted.float(), (1e-4, 1e-6))
    check.equal("the names of the learnt parameters", sorted(name for name, _ in row.named_parameters()), ["weight"])


@ladder.also
def any_size(answer, check):
    row, x = row_of(answer, 2, 130, 60), torch.randn(2600, 2, 2, **DOUBLE)
    lengths = torch.tensor([2600, 1300])
    wanted = turned_round(row.weight, x).detach()
    check.close("output of 2600 frames, tau = 130", run(check, row, x), wanted)
    wanted[:, 1] = 0
    wanted[:1300, 1] = turned_round(row.weight, x[:1300, 1:]).detach()[:, 0]
    check.close("output of 2600 frames, tau = 130, lengths 2600 and 1300", run(check, row, x, lengths), wanted)
    for scale in (1e12, 1e-12):
        for lengths in (None, torch.tensor([300, 300])):
            got = run(check, row, scale * x[:300], lengths)
            check.close(f"output of numbers around {scale:g}", got / scale, turned_round(row.weight, x[:300]).detach())
    for padding in (3e19, -3e19):
        other = x[:300].float().clone()
        other[240:, 1] = padding
        got = run(check, row.float(), other, torch.tensor([300, 240]))
        alone = turned_round(row.double().weight, x[:240, 1:]).detach()
        check.close(f"output in float32 with {padding:g} in the padding", got[:240, 1:], alone.float(), (1e-4, 1e-4))
        check.close(f"output in the padding where it holds {padding:g}", got[240:, 1:], torch.zeros(60, 1, 2))

    @for_sizes(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), more=st.integers(1, 3),
               features=st.integers(1, 4), lookahead=st.integers(1, 6))  # fmt: skip
    def sizes(lengths: list[int], more: int, features: int, lookahead: int) -> None:
        row = row_of(answer, features, lookahead, 61)
        x = torch.randn(max(lengths) + more, len(lengths), features, **DOUBLE, requires_grad=True)
        wanted = equation_11(row.weight, x, lengths) + 0 * (row.weight.sum() + x.sum())
        got, what = run(check, row, x, torch.tensor(lengths)), f"the output with lengths {lengths} in {len(x)} frames"
        check.close(what, got, wanted.detach())
        gradients(check, got, wanted, (x, row.weight), what)


def test_exercise(climb):
    climb(ladder)
