"""Check of exercise 6: the GRU cell."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import torch
import torch.nn as nn

from ladder import Ladder
from sizes import for_sizes

READY = "write out the gates yourself"
ladder = Ladder(
    "exercise_06_gru",
    names=("gru_loop",),
    forbidden=dict.fromkeys(("GRU", "GRUCell", "gru", "gru_cell", "RNNBase", "_GRUScan"), READY),
    operations=("rnn", "gru", "lstm"),
)
DOUBLE = {"dtype": torch.float64}


def batch(seed: int, steps: int = 6, utterances: int = 3, hidden: int = 4):
    """Steps, matrices, and a mask with padding at the end forward and at the beginning backward."""
    torch.manual_seed(seed)
    x, u = torch.randn(steps, 2, utterances, 3 * hidden, **DOUBLE), torch.randn(2, 3 * hidden, hidden, **DOUBLE)
    lengths = torch.tensor([steps, max(1, steps - 4), max(1, steps - 2)])[:utterances]
    mask = (torch.arange(steps)[:, None] < lengths)[:, :, None].double()
    return x, u, torch.stack((mask, mask.flip(0)), 1)


def equation_10(x: torch.Tensor, u: torch.Tensor, mask: torch.Tensor, sign: float = -1.0) -> torch.Tensor:
    """Eq. 10 in the paper's letters, unit by unit; its z is 1 - z of torch, so x_z and U_z have their signs changed."""
    hidden = u.shape[2]
    states = torch.zeros(*x.shape[:3], hidden, dtype=x.dtype)

    def sigmoid(a: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + torch.exp(-a))

    for direction in range(2):
        u_r, u_z, u_h = u[direction, :hidden], u[direction, hidden : 2 * hidden], u[direction, 2 * hidden :]
        for b in range(x.shape[2]):
            h = torch.zeros(hidden, dtype=x.dtype)
            for t in range(len(x)):
                w = x[t, direction, b]
                z = sigmoid(sign * w[hidden : 2 * hidden] + sign * u_z @ h)
                r = sigmoid(w[:hidden] + u_r @ h)
                candidate = torch.tanh(w[2 * hidden :] + r * (u_h @ h))
                h = (1 - z) * h + z * candidate
                h = h * mask[t, direction, b]
                states[t, direction, b] = h
    return states


def agree(check, answer, what: str, x: torch.Tensor, u: torch.Tensor, mask: torch.Tensor) -> None:
    check.close(what, check.call(answer.gru_loop, x, u, mask), equation_10(x, u, mask))


@ladder.step("shape and dtype")
def shapes(answer, check):
    for dtype in (torch.float32, torch.float64):
        x, u, mask = (tensor.to(dtype) for tensor in batch(0))
        got = check.call(answer.gru_loop, x, u, mask)
        check.close("states, apart from their values", got * 0, torch.zeros(6, 2, 3, 4, dtype=dtype))


@ladder.step("the worked example")
def worked_example(answer, check):
    x = torch.tensor([0.0, math.log(3), 1.0], **DOUBLE).expand(2, 2, 1, 3)
    u = torch.tensor([[0.0], [0.0], [2.0]], **DOUBLE).expand(2, 3, 1)
    got = check.call(answer.gru_loop, x, u, torch.ones(2, 2, 1, 1, **DOUBLE))
    first = 0.25 * math.tanh(1)
    second = 0.25 * math.tanh(1 + 0.5 * 2 * first) + 0.75 * first
    check.close("states", got, torch.tensor([first, second], **DOUBLE)[:, None, None, None].expand(2, 2, 1, 1))
    u = torch.tensor([[3.0], [0.0], [2.0]], **DOUBLE).expand(2, 3, 1)
    got = check.call(answer.gru_loop, x, u, torch.ones(2, 2, 1, 1, **DOUBLE))
    r = 1 / (1 + math.exp(-3 * first))
    second = 0.25 * math.tanh(1 + r * 2 * first) + 0.75 * first
    check.close("states with U_r = 3", got, torch.tensor([first, second], **DOUBLE)[:, None, None, None].expand(2, 2, 1, 1))


@ladder.step("nn.GRU with copied weights")
def oracle_torch(answer, check):
    for seed in range(3):
        x, u, mask = batch(seed)
        for direction in range(2):
            network = nn.GRU(12, 4, bias=False).double()
            with torch.no_grad():
                network.weight_ih_l0.copy_(torch.eye(12))
                network.weight_hh_l0.copy_(u[direction])
            wanted = network(x[:, direction])[0].detach()
            got = check.call(answer.gru_loop, x, u, torch.ones_like(mask))
            check.close(f"states of direction {direction}", got[:, direction], wanted)


@ladder.step("Eq. 10 in the paper's letters, with the signs of z changed, and masks")
def oracle_paper(answer, check):
    for seed in range(10, 13):
        agree(check, answer, "states of a batch with padding", *batch(seed))
    x, u, mask = batch(13)
    agree(check, answer, "states for large inputs (saturated gates)", 30 * x, u, mask)


@ladder.step("gradients")
def gradients(answer, check):
    for seed, steps in ((20, 6), (21, 40)):
        gradients_of(answer, check, *batch(seed, steps))


def gradients_of(answer, check, x: torch.Tensor, u: torch.Tensor, mask: torch.Tensor) -> None:
    """The gradients of x and U against those of Eq. 10."""
    x.requires_grad_(), u.requires_grad_()
    weight = torch.randn(len(x), 2, 3, 4, **DOUBLE)
    wanted = torch.autograd.grad((equation_10(x, u, mask) * weight).sum(), [x, u])
    states = check.call(answer.gru_loop, x, u, mask)
    check.that("that the states have a gradient", states.requires_grad, "no gradient", "a gradient")
    got = torch.autograd.grad((states * weight).sum(), [x, u], allow_unused=True)
    for name, one, other in zip(("x", "U"), got, wanted, strict=True):
        check.close(f"gradient of {name}", torch.zeros_like(other) if one is None else one, other)


@ladder.step("a property: an utterance alone, and after padding, gives the same states")
def padding(answer, check):
    x, u, _ = batch(30)
    alone = check.call(answer.gru_loop, x[:, :, :1], u, torch.ones(6, 2, 1, 1, **DOUBLE)).detach()
    check.close(
        "its states in a batch of three", check.call(answer.gru_loop, x, u, torch.ones(6, 2, 3, 1, **DOUBLE))[:, :, :1], alone
    )
    before = torch.cat((torch.randn(4, 2, 1, 12, **DOUBLE) * 5, x[:, :, :1]))
    mask = torch.cat((torch.zeros(4, 2, 1, 1, **DOUBLE), torch.ones(6, 2, 1, 1, **DOUBLE)))
    got = check.call(answer.gru_loop, before, u, mask)
    check.close("its states after 4 steps of padding", got, torch.cat((torch.zeros(4, 2, 1, 4, **DOUBLE), alone)))
    got = check.call(answer.gru_loop, x.flip(1), u.flip(0), torch.ones(6, 2, 3, 1, **DOUBLE))
    wanted = check.call(answer.gru_loop, x, u, torch.ones(6, 2, 3, 1, **DOUBLE)).detach().flip(1)
    check.close("its states with the two directions exchanged, x and U", got, wanted)


@ladder.step("traps: one step, masks in between, small sizes")
def traps(answer, check):
    agree(check, answer, "states of a single step", *batch(40, steps=1))
    agree(check, answer, "states of one utterance with one unit", *batch(41, utterances=1, hidden=1))
    agree(check, answer, "states where B = H = 3", *batch(42, hidden=3))
    agree(check, answer, "states where B = H = 2 in 2 steps", *batch(43, steps=2, utterances=2, hidden=2))
    x, u, mask = batch(44)
    mask[2, 0, 1] = mask[3, 1, 2] = mask[0] = 0
    agree(check, answer, "states where the mask is 0 in between", x, u, mask)
    turned = x.transpose(0, 3).contiguous().transpose(0, 3)
    agree(check, answer, "states of a transposed tensor", turned, u, mask)
    agree(check, answer, "states, the second time", x, u, mask)
    x, u, mask = batch(46)
    agree(check, answer, "states for inputs around 1000 (gates and candidate saturated, nothing may overflow)", 1000 * x, u, mask)
    agree(check, answer, "states in 70 steps", *batch(45, steps=70, utterances=1, hidden=2))


@ladder.step("traps: small numbers, many steps, no gradient")
def more_traps(answer, check):
    x, u, mask = batch(50)
    got = check.call(answer.gru_loop, 1e-9 * x, u, mask)
    check.close("states of inputs around 1e-9", got, equation_10(1e-9 * x, u, mask), (1e-9, 0.0))
    got = check.call(answer.gru_loop, x.float(), u.float(), mask.float())
    check.close("states in float32", got, equation_10(x, u, mask).float(), (1e-4, 1e-6))
    agree(check, answer, "states of 1200 steps", *batch(51, steps=1200, utterances=1, hidden=1))
    x, u, mask = batch(52)
    with torch.no_grad():
        for what in ("states without gradient", "states without gradient, the second time"):
            agree(check, answer, what, x, u, mask)
    agree(check, answer, "states with a transposed U", x, u.transpose(1, 2).contiguous().transpose(1, 2), mask)
    other = torch.ones_like(mask)
    agree(check, answer, "states of the same x with another mask", x, u, other)
    agree(check, answer, "states where all is masked", x, u, 0 * mask)
    got = check.call(answer.gru_loop, x.requires_grad_(), u, other)
    [got] = torch.autograd.grad(got[:, 0].sum(), x)
    check.close("gradient of x in direction 1 where only the states of direction 0 count", got[:, 1], torch.zeros_like(got[:, 1]))


@ladder.also
def saturated(answer, check):
    why = "where a gate is 0 or 1 its gradient is 0, not nan: exp of a large number is inf, and inf / inf or 0 * inf is nan"
    for dtype, size in ((torch.float32, 100.0), (torch.float64, 100.0), (torch.float64, 1000.0)):
        x, u, _ = batch(60)
        x = (size * x.sign()).where(x.abs() > 0.5, x).to(dtype).requires_grad_()  # most of the inputs are that large
        u = u.to(dtype).requires_grad_()
        got = check.call(answer.gru_loop, x, u, torch.ones(6, 2, 3, 1, dtype=dtype))
        by = torch.randn(6, 2, 3, 4, **DOUBLE)
        ours = torch.autograd.grad((got * by.to(dtype)).sum(), [x, u], allow_unused=True)
        for direction in range(2):
            network = nn.GRU(12, 4, bias=False).double()
            network.load_state_dict({"weight_ih_l0": torch.eye(12), "weight_hh_l0": u[direction].detach()})
            inputs = x[:, direction].detach().double().requires_grad_()
            states = network(inputs)[0]
            what = f"with inputs of +-{size:g} in {str(dtype).removeprefix('torch.')}, direction {direction}"
            loose = (1e-3, 1e-5) if dtype == torch.float32 else (1e-7, 1e-9)
            check.close(f"states {what}", got[:, direction], states.detach().to(dtype), loose, why)
            wanted = torch.autograd.grad((states * by[:, direction]).sum(), [inputs, network.weight_hh_l0])
            parts = zip(("x", "U"), (ours[0][:, direction], ours[1][direction]), wanted, strict=True)
            for name, one, other in parts:
                check.close(f"gradient of {name} {what}", one, other.to(dtype), loose, why)


@ladder.also
def long_memory(answer, check):
    z = torch.tensor([40.0, -40.0, 7.0], **DOUBLE)
    x = torch.stack((torch.zeros(3, **DOUBLE), z, torch.ones(3, **DOUBLE))).t().expand(1100, 2, 3, 3).clone().requires_grad_()
    got = check.call(answer.gru_loop, x, torch.zeros(2, 3, 1, **DOUBLE), torch.ones(1100, 2, 3, 1, **DOUBLE))
    check.close("the first states with x_z = 40 and -40", got[0, :, :2, 0], torch.tensor([[0.0, math.tanh(1.0)]] * 2, **DOUBLE),
                (1e-13, 1e-14), "a gate is the full sigmoid: do not limit its input to 30 or so")  # fmt: skip
    [gradient] = torch.autograd.grad(got[-1, :, 2].sum(), x)
    keeps = torch.sigmoid(z[2])
    wanted = (1 - keeps) * keeps ** torch.arange(1099, -1, -1, **DOUBLE) / math.cosh(1.0) ** 2
    why = "the gradient must flow back through all steps"
    what = "gradient of the last of 1100 states with respect to x_n at each step (x_z = 7 and U = 0: h is kept)"
    check.close(what, gradient[:, 0, 2, 2], wanted, (1e-7, 1e-12), why)


@ladder.also
def any_size(answer, check):
    @for_sizes(10, steps=st.integers(1, 5), utterances=st.integers(1, 3), hidden=st.integers(1, 4))
    def sizes(steps: int, utterances: int, hidden: int) -> None:
        x, u, mask = batch(steps, steps, utterances, hidden)
        x.requires_grad_(), u.requires_grad_()
        wanted, got = equation_10(x, u, mask), check.call(answer.gru_loop, x, u, mask)
        what = f"S = {steps}, B = {utterances}, H = {hidden}"
        check.close(f"states, {what}", got, wanted.detach())
        by = torch.randn(wanted.shape, **DOUBLE)
        ours, theirs = (torch.autograd.grad((y * by).sum(), [x, u]) for y in (got, wanted))
        for name, one, other in zip(("x", "U"), ours, theirs, strict=True):
            check.close(f"gradient of {name}, {what}", one, other, (1e-7, 1e-8))


def test_exercise(climb):
    climb(ladder)
