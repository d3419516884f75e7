"""Check of exercise 5: the clipped ReLU and the paper's recurrence."""

from __future__ import annotations

import copy

import hypothesis.strategies as st
import torch
import torch.nn as nn

from ladder import Ladder
from sizes import for_sizes

READY = "write out the loop yourself"
ladder = Ladder(
    "exercise_05_recurrence",
    names=("ClippedReLU", "rnn_loop", "BidirectionalRNNLayer"),
    forbidden=dict.fromkeys(("RNN", "RNNCell", "RNNBase", "rnn_relu", "rnn_relu_cell", "lstm_loop", "gru_loop"), READY),
    operations=("rnn", "gru", "lstm"),
)  # fmt: skip
DOUBLE = {"dtype": torch.float64}


def unit_by_unit(x: torch.Tensor, u: torch.Tensor, mask: torch.Tensor, clip: float) -> torch.Tensor:
    """The recurrence with every sum written out, for one direction and utterance at a time."""
    states = torch.zeros_like(x)
    for direction in range(2):
        for b in range(x.shape[2]):
            h = torch.zeros(x.shape[3], dtype=x.dtype)
            for s in range(len(x)):
                h = torch.stack([x[s, direction, b, i] + (u[direction, i] * h).sum() for i in range(len(h))])
                h = torch.minimum(torch.maximum(h, torch.zeros_like(h)), torch.full_like(h, clip)) * mask[s, direction, b, 0]
                states[s, direction, b] = h
    return states


def loop_batch(seed: int, steps: int = 6, batch: int = 3, hidden: int = 4):
    """Steps, matrices and a mask with padding at the end forward and at the beginning backward."""
    torch.manual_seed(seed)
    x, u = torch.randn(steps, 2, batch, hidden, **DOUBLE), torch.randn(2, hidden, hidden, **DOUBLE) * 0.6
    lengths = torch.tensor([steps, max(1, steps - 4), max(1, steps - 2)])[:batch]
    mask = (torch.arange(steps)[:, None] < lengths)[:, :, None].double()
    return x, u, torch.stack((mask, mask.flip(0)), 1)


def layer_of(answer, inputs: int, hidden: int, seed: int, clip: float = 20.0):
    """A layer in float64 with shaken batch norm."""
    torch.manual_seed(seed)
    layer = answer.BidirectionalRNNLayer(inputs, hidden, "rnn", "input", clip).double()
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2.0)
        layer.norm.bias.uniform_(-0.5, 1.0)
        layer.norm.running_mean.uniform_(-0.5, 0.5)
        layer.norm.running_var.uniform_(0.5, 2.0)
    return layer


def equation_8(layer, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Eq. 8 frame by frame, each utterance alone, without any mask."""
    projected = [x[:n, b] @ layer.weight_ih[0].t() for b, n in enumerate(lengths.tolist())]
    mean, var = layer.norm.running_mean, layer.norm.running_var
    if layer.training:
        mean, var = torch.cat(projected).mean(0), torch.cat(projected).var(0, correction=0)
    output = torch.zeros(*x.shape[:2], layer.hidden_size, **DOUBLE)
    for b, side in enumerate(projected):
        side = (side - mean) / (var + layer.norm.eps).sqrt() * layer.norm.weight + layer.norm.bias
        for u, order in ((layer.weight_hh[0], range(len(side))), (layer.weight_hh[1], range(len(side) - 1, -1, -1))):
            h = torch.zeros(layer.hidden_size, **DOUBLE)
            for t in order:
                h = (side[t] + u @ h).clamp(0, layer.clip)
                output[t, b] = output[t, b] + h
    return output


@ladder.step("shape and dtype")
def shapes(answer, check):
    for dtype in (torch.float32, torch.float64):
        got = check.call(answer.ClippedReLU(), torch.randn(2, 3, dtype=dtype))
        check.close("clipped values, but for the values", got * 0, torch.zeros(2, 3, dtype=dtype))
        x, u, mask = (tensor.to(dtype) for tensor in loop_batch(0))
        got = check.call(answer.rnn_loop, x, u, mask)
        check.close("states, apart from their values", got * 0, torch.zeros_like(x))
    layer = answer.BidirectionalRNNLayer(5, 4, "rnn", "input")
    got = check.call(layer, torch.randn(6, 2, 5), torch.tensor([6, 3]))
    check.close("output of the layer, apart from its values", got * 0, torch.zeros(6, 2, 4))


@ladder.step("the worked examples")
def worked_example(answer, check):
    got = check.call(answer.ClippedReLU(), torch.tensor([-1.0, 3.0, 25.0]))
    check.close("clipped values", got, torch.tensor([0.0, 3.0, 20.0]))
    got = check.call(answer.ClippedReLU(2.5), torch.tensor([[-9.0, 0.0, 2.0], [2.5, 2.6, 30.0]]))
    check.close("clipped values with clip 2.5", got, torch.tensor([[0.0, 0.0, 2.0], [2.5, 2.5, 2.5]]))
    x, u, mask = torch.ones(3, 2, 1, 1), torch.tensor([[[2.0]], [[-2.0]]]), torch.ones(3, 2, 1, 1)
    got = check.call(answer.rnn_loop, x, u, mask)
    check.close(
        "states (steps, then forward and backward)", got, torch.tensor([[1.0, 1.0], [3.0, 0.0], [7.0, 1.0]])[:, :, None, None]
    )
    got = check.call(answer.rnn_loop, x, u, mask, clip=4.0)
    check.close("states with clip 4", got, torch.tensor([[1.0, 1.0], [3.0, 0.0], [4.0, 1.0]])[:, :, None, None])


@ladder.step("the loop: every sum written out, and nn.RNN with copied weights")
def oracle_loop(answer, check):
    for seed, (clip, scale) in enumerate([(20.0, 1.0), (0.75, 1.0), (20.0, 30.0)]):
        x, u, mask = loop_batch(seed)
        got = check.call(answer.rnn_loop, x * scale, u, mask, clip)
        check.close(f"states, clip {clip}", got, unit_by_unit(x * scale, u, mask, clip))
    x, u, _ = loop_batch(5)
    network = nn.RNN(4, 4, nonlinearity="relu", bias=False).double()
    for direction in range(2):
        with torch.no_grad():
            network.weight_ih_l0.copy_(torch.eye(4))
            network.weight_hh_l0.copy_(u[direction])
        wanted = network(x[:, direction])[0].detach()
        got = check.call(answer.rnn_loop, x, u, torch.ones(6, 2, 3, 1, **DOUBLE), 1e9)
        check.close(f"states of direction {direction} against nn.RNN (no clip, no padding)", got[:, direction], wanted)


@ladder.step("the layer: Eq. 8 frame by frame, each utterance alone")
def oracle_layer(answer, check):
    lengths = torch.tensor([7, 1, 4, 6])
    for seed, (inputs, hidden) in enumerate([(3, 5), (4, 4)]):
        layer = layer_of(answer, inputs, hidden, seed)
        x = torch.randn(7, 4, inputs, **DOUBLE)
        for name, mode in (("in evaluation", False), ("in training", True)):
            layer.train(mode)
            wanted = equation_8(layer, x, lengths).detach()
            check.close(f"output {name}", check.call(layer, x, lengths), wanted)
    for clip, gain in ((0.375, 1.0), (5.0, 1.0), (60.0, 30.0)):
        layer = layer_of(answer, 3, 4, 9, clip)
        with torch.no_grad():
            layer.norm.weight.mul_(gain)
        x = torch.randn(7, 4, 3, **DOUBLE) * 2
        check.close(f"output with clip {clip}", check.call(layer, x, lengths), equation_8(layer, x, lengths).detach())


@ladder.step("gradients")
def gradients(answer, check):
    x, u, mask = loop_batch(11)
    x.requires_grad_(), u.requires_grad_()
    weight = torch.randn(x.shape, **DOUBLE)
    wanted = torch.autograd.grad((unit_by_unit(x, u, mask, 1.5) * weight).sum(), [x, u])
    states = check.call(answer.rnn_loop, x, u, mask, 1.5)
    check.that("that the states have a gradient", states.requires_grad, "no gradient", "a gradient")
    got = torch.autograd.grad((states * weight).sum(), [x, u], allow_unused=True)
    why = "the gradient must flow through U h_{s-1} of every step: through h, and through the U of both directions"
    for name, one, other in zip(("x", "U"), got, wanted, strict=True):
        check.close(f"gradient of {name} in rnn_loop", torch.zeros_like(other) if one is None else one, other, why=why)
    layer, lengths = layer_of(answer, 3, 4, 12), torch.tensor([5, 2])
    x = torch.randn(5, 2, 3, **DOUBLE, requires_grad=True)
    weight = torch.randn(5, 2, 4, **DOUBLE)
    parameters = [layer.weight_ih, layer.weight_hh, layer.norm.weight, layer.norm.bias]
    wanted = torch.autograd.grad((equation_8(layer, x, lengths) * weight).sum(), [x, *parameters])
    output = check.call(layer, x, lengths)
    check.that("that the output of the layer has a gradient", output.requires_grad, "no gradient", "a gradient")
    got = torch.autograd.grad((output * weight).sum(), [x, *parameters], allow_unused=True)
    for name, one, other in zip(("x", "W", "U", "gamma", "beta"), got, wanted, strict=True):
        check.close(f"gradient of {name} in the layer", torch.zeros_like(other) if one is None else one, other, why=why)
    x = torch.full((1050, 2, 1, 1), 0.01, **DOUBLE, requires_grad=True)
    states = check.call(answer.rnn_loop, x, torch.ones(2, 1, 1, **DOUBLE), torch.ones(1050, 2, 1, 1, **DOUBLE))
    [got] = torch.autograd.grad(states[-1].sum(), x)
    check.close("gradient of the last of 1050 states with U = 1 (1 at each step)", got, torch.ones_like(x), why=why)
    values = torch.tensor([-3.0, 1.0, 19.0, 21.0], **DOUBLE, requires_grad=True)
    clipped = check.call(answer.ClippedReLU(), values)
    check.that("that the clipped values have a gradient", clipped.requires_grad, "no gradient", "a gradient")
    [got] = torch.autograd.grad(clipped.sum(), values)
    check.close("gradient of ClippedReLU at -3, 1, 19, 21", got, torch.tensor([0.0, 1.0, 1.0, 0.0], **DOUBLE))


@ladder.step("a property: padding and neighbours have no influence")
def padding(answer, check):
    layer, lengths = layer_of(answer, 3, 4, 21).eval(), torch.tensor([6, 2, 4])
    x = torch.randn(6, 3, 3, **DOUBLE)
    wanted = check.call(layer, x, lengths).detach()
    other = x.clone()
    other[2:, 1], other[4:, 2] = 99.0, -99.0
    check.close("output with 99 in the padding", check.call(layer, other, lengths), wanted)
    check.close("output in the padding", wanted[2:, 1], torch.zeros(4, 4, **DOUBLE))
    for b, n in enumerate(lengths.tolist()):
        got = check.call(layer, x[:n, b : b + 1], lengths[b : b + 1])
        check.close(f"output of utterance {b} alone", got, wanted[:n, b : b + 1])
    wider = torch.cat((x, torch.full((5, 3, 3), 7.0, **DOUBLE)))
    got = check.call(layer, wider, lengths)
    check.close("output with 5 more frames of padding", got, torch.cat((wanted, torch.zeros(5, 3, 4, **DOUBLE))))


@ladder.step("traps: a mask in the middle, one step, no copy of the input")
def traps(answer, check):
    x, u, _ = loop_batch(31)
    mask = torch.ones(6, 2, 3, 1, **DOUBLE)
    mask[2, 0, 1] = mask[3, 1, 2] = mask[0] = 0
    check.close("states where the mask is 0 in between", check.call(answer.rnn_loop, x, u, mask), unit_by_unit(x, u, mask, 20.0))
    x, u, mask = loop_batch(32, steps=1)
    check.close("states of a single step", check.call(answer.rnn_loop, x, u, mask), unit_by_unit(x, u, mask, 20.0))
    x, u, mask = loop_batch(33, steps=5, batch=2, hidden=2)
    check.close("states where B = H = 2", check.call(answer.rnn_loop, x, u, mask), unit_by_unit(x, u, mask, 20.0))
    x, u, mask = loop_batch(34)
    turned = x.transpose(0, 3).contiguous().transpose(0, 3)
    check.close("states of a transposed tensor", check.call(answer.rnn_loop, turned, u, mask), unit_by_unit(x, u, mask, 20.0))
    check.close("states, the second time", check.call(answer.rnn_loop, x, u, mask), unit_by_unit(x, u, mask, 20.0))


@ladder.also
def layer_traps(answer, check):
    layer = layer_of(answer, 2, 3, 35)
    x, lengths = torch.randn(1, 2, 2, **DOUBLE), torch.tensor([1, 1])
    check.close("output of utterances of one frame", check.call(layer, x, lengths), equation_8(layer, x, lengths).detach())
    layer = layer_of(answer, 2, 3, 36).eval()
    before = layer.norm.running_mean.clone()
    check.call(layer, torch.randn(4, 2, 2, **DOUBLE), torch.tensor([4, 2]))
    check.close("running averages after evaluation (they must stay)", layer.norm.running_mean, before)
    x, u, mask = loop_batch(37)
    with torch.no_grad():
        for what in ("states without gradient", "states without gradient, the second time"):
            check.close(what, check.call(answer.rnn_loop, x, u, mask), unit_by_unit(x, u, mask, 20.0))
    for seed, lengths in ((38, [7, 4, 6]), (39, [5, 3]), (40, [6, 2, 4]), (41, [3])):
        layer, lengths = layer_of(answer, 3, 4, seed), torch.tensor(lengths)
        x = torch.randn(int(lengths.max()), len(lengths), 3, **DOUBLE)
        for b, n in enumerate(lengths.tolist()):
            x[n:, b] = 30.0
        norm = copy.deepcopy(layer.norm)
        with torch.no_grad():
            norm(x @ layer.weight_ih[0].t(), lengths)
        got = check.call(layer, x, lengths)
        check.close("output in training, padding filled with 30", got, equation_8(layer, x, lengths).detach())
        why = "the directions share B: normalise W x only once in each call"
        for name in ("running_mean", "running_var"):
            check.close(f"{name} after one call in training", getattr(layer.norm, name), getattr(norm, name), why=why)
    for clip in (0.0, -1.0):
        check.raises("a clip that is not above 0", ValueError, answer.ClippedReLU, clip, name="ClippedReLU")
    check.call(answer.ClippedReLU(), torch.tensor([-5.0, 50.0]))


@ladder.step("traps: small, large and infinite numbers, many steps, lengths of other kinds")
def more_traps(answer, check):
    tiny = torch.tensor([1e-7, 1e-30, 1.5, 19.999999])
    check.close("clipped values, small ones", check.call(answer.ClippedReLU(), tiny), tiny, (3e-7, 0.0))
    thirds = torch.tensor([1 / 3, 10 / 3, -1 / 3], **DOUBLE)
    got = check.call(answer.ClippedReLU(), thirds)
    check.close("clipped values in float64, all digits", got, torch.tensor([1 / 3, 10 / 3, 0.0], **DOUBLE), (5e-16, 0.0))
    got = check.call(answer.ClippedReLU(1e6), torch.tensor([0.3, -0.3]))
    check.close("clipped values with clip 1e6", got, torch.tensor([0.3, 0.0]), (3e-7, 0.0))
    ends = torch.tensor([-torch.inf, torch.inf, -1e25, 1e25, -3e38, 3e38])
    for clip in (20.0, 1e6):
        got = check.call(answer.ClippedReLU(clip), ends)
        check.close(f"clipped values of -inf, inf, -1e25, 1e25, -3e38, 3e38, clip {clip:g}", got, torch.tensor([0.0, clip] * 3))
    for shape in ((), (0,), (2, 1, 3, 2), (1, 4)):
        values = torch.linspace(-30, 30, max(1, torch.Size(shape).numel()))[: torch.Size(shape).numel()].view(shape)
        wanted = torch.tensor([min(max(value, 0.0), 20.0) for value in values.flatten().tolist()]).view(shape)
        check.close(f"clipped values of shape {shape}", check.call(answer.ClippedReLU(), values), wanted)
    turned = torch.linspace(-30, 30, 6).view(2, 3).t()
    check.close(
        "clipped values, transposed",
        check.call(answer.ClippedReLU(5.0), turned),
        torch.tensor([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0]]),
    )


@ladder.also
def more_states(answer, check):
    x, u, mask = loop_batch(50, steps=1200, batch=1, hidden=2)
    got = check.call(answer.rnn_loop, x, 0.5 * u, mask, 3.0)
    check.close("states of 1200 steps", got, unit_by_unit(x, 0.5 * u, mask, 3.0))
    x, u, mask = loop_batch(51)
    got = check.call(answer.rnn_loop, 1e-9 * x, u, mask)
    check.close("states of inputs around 1e-9", got, unit_by_unit(1e-9 * x, u, mask, 20.0), (1e-6, 0.0))
    got = check.call(answer.rnn_loop, x, u.transpose(1, 2).contiguous().transpose(1, 2), mask)
    check.close("states with a transposed U", got, unit_by_unit(x, u, mask, 20.0))
    got = check.call(answer.rnn_loop, x.float(), u.float(), mask.float())
    check.close("states in float32", got, unit_by_unit(x, u, mask, 20.0).float())
    got = check.call(answer.rnn_loop, 9 * x.float(), u.float(), mask.float(), 0.7)
    check.close("states in float32, clip 0.7", got, unit_by_unit(9 * x, u, mask, 0.7).float())
    layer, lengths = layer_of(answer, 3, 4, 52), torch.tensor([5, 2, 7])
    x = torch.randn(9, 3, 3, **DOUBLE)
    for mode in (True, False):
        layer.train(mode)
        name, wanted = "in training" if mode else "in evaluation", equation_8(layer, x, lengths).detach()
        check.close(f"output {name}, lengths 5, 2, 7 in 9 frames", check.call(layer, x, lengths), wanted)
        check.close(f"output {name} with lengths in int32", check.call(layer, x, lengths.int()), wanted)
        with torch.no_grad():
            check.close(f"output {name} under torch.no_grad()", check.call(layer, x, lengths), wanted)
        turned = x.transpose(0, 2).contiguous().transpose(0, 2)
        check.close(f"output {name} of a transposed tensor", check.call(layer, turned, lengths), wanted)
    other = torch.tensor([9, 9, 1])
    what = "output of the same batch with other lengths than before"
    check.close(what, check.call(layer, x, other), equation_8(layer, x, other).detach())


@ladder.also
def any_size(answer, check):
    x, u, mask = loop_batch(55)
    got = check.call(answer.rnn_loop, 1e5 * x, u, mask, 1e6)
    check.close("states of inputs around 1e5 with clip 1e6", got, unit_by_unit(1e5 * x, u, mask, 1e6))

    @for_sizes(10, steps=st.integers(1, 5), batch=st.integers(1, 3), hidden=st.integers(1, 4), clip=st.sampled_from([0.5, 20.0]))
    def loops(steps: int, batch: int, hidden: int, clip: float) -> None:
        x, u, mask = loop_batch(steps, steps, batch, hidden)
        x.requires_grad_(), u.requires_grad_()
        wanted, got = unit_by_unit(x, u, mask, clip), check.call(answer.rnn_loop, x, u, mask, clip)
        what = f"S = {steps}, B = {batch}, H = {hidden}, clip {clip}"
        check.close(f"states, {what}", got, wanted.detach())
        same_gradients(check, got, wanted, {"x": x, "U": u}, what)

    @for_sizes(10, lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), more=st.integers(0, 2),
               inputs=st.sampled_from([1, 2, 9]), hidden=st.sampled_from([1, 3, 9]))  # fmt: skip
    def layers(lengths: list[int], more: int, inputs: int, hidden: int) -> None:
        layer, lengths = layer_of(answer, inputs, hidden, inputs), torch.tensor(lengths)
        x = torch.randn(int(lengths.max()) + more, len(lengths), inputs, **DOUBLE)
        for b, n in enumerate(lengths.tolist()):
            x[n:, b] = 3e19
        x.requires_grad_()
        wanted, got = equation_8(layer, x, lengths), check.call(layer, x, lengths)
        what = f"lengths {lengths.tolist()} in {len(x)} frames, input_size {inputs}, hidden_size {hidden}, 3e19 in the padding"
        check.close(f"output of the layer, {what}", got, wanted.detach())
        same_gradients(check, got, wanted, {"x": x, "W": layer.weight_ih, "U": layer.weight_hh}, what)


def same_gradients(check, got: torch.Tensor, wanted: torch.Tensor, parts: dict[str, torch.Tensor], what: str) -> None:
    """The gradients of these tensors."""
    by = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(3), dtype=wanted.dtype)
    check.that(f"that the result has a gradient, {what}", got.requires_grad, "no gradient", "a gradient")
    ours = torch.autograd.grad((got * by).sum(), [*parts.values()], allow_unused=True)
    theirs = torch.autograd.grad((wanted * by).sum(), [*parts.values()], allow_unused=True)
    for name, part, one, other in zip(parts, parts.values(), ours, theirs, strict=True):
        one, other = (torch.zeros_like(part) if value is None else value for value in (one, other))
        check.close(f"gradient of {name}, {what}", one, other, (1e-7, 1e-8))


def test_exercise(climb):
    climb(ladder)
