"""The recurrence against torch's layers, against plain loops, and against Eq. 8 written out for one utterance at a time."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import implementation as ds2
from implementation import (
    BidirectionalRNNLayer,
    RecurrentLayer,
    _fused_states,
    _GRUScan,
    _RNNScan,
    gru_loop,
    layer_states,
    plain_definitions,
    recur,
    recur_faster,
    rnn_loop,
)

LENGTHS = torch.tensor([7, 3, 5, 1])
INPUT, HIDDEN = 3, 4
TORCHS = {
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "rnn": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
rnn_types = pytest.mark.parametrize("rnn_type", TORCHS)


def random_batch() -> torch.Tensor:
    """(T, B, input) with zeros in the padding, as a layer gets it."""
    x = torch.randn(int(LENGTHS.max()), len(LENGTHS), INPUT, dtype=torch.float64)
    for utterance, length in enumerate(LENGTHS.tolist()):
        x[length:, utterance] = 0
    return x.requires_grad_()


def random_layer(rnn_type: str, batch_norm: str, clip: float = 20.0) -> BidirectionalRNNLayer:
    layer = BidirectionalRNNLayer(INPUT, HIDDEN, rnn_type, batch_norm, clip).double()
    for name, parameter in layer.named_parameters():
        nn.init.normal_(parameter, mean=float(name == "norm.weight"), std=0.4)
    return layer


def torchs_layer(layer: BidirectionalRNNLayer) -> nn.RNNBase:
    """torch's layer with the same weights; its second bias, which ours has not, is 0."""
    twin = TORCHS[layer.rnn_type](INPUT, HIDDEN, bidirectional=True).double()
    for direction, suffix in enumerate(("l0", "l0_reverse")):
        twin.get_parameter(f"weight_ih_{suffix}").data = layer.weight_ih.data[direction].clone()
        twin.get_parameter(f"weight_hh_{suffix}").data = layer.weight_hh.data[direction].clone()
        twin.get_parameter(f"bias_ih_{suffix}").data = layer.bias.data[direction].clone()
        twin.get_parameter(f"bias_hh_{suffix}").data.zero_()
    return twin


def run_torchs(twin: nn.RNNBase, x: torch.Tensor) -> torch.Tensor:
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    return pad_packed_sequence(twin(packed)[0])[0]  # (T, B, 2H), 0 in the padding


# ---------------------------------------------------------------------------------------------
# batch_norm='output' against torch
# ---------------------------------------------------------------------------------------------


@rnn_types
def test_states_equal_torchs_on_packed_sequences(rnn_type):
    layer, x = random_layer(rnn_type, "output"), random_batch()
    states = layer_states(layer, x, LENGTHS)[0].flatten(2)
    torch.testing.assert_close(states, run_torchs(torchs_layer(layer), x))
    assert (states < 20).all()


@rnn_types
def test_gradients_equal_torchs_on_packed_sequences(rnn_type):
    layer, x = random_layer(rnn_type, "output"), random_batch()
    twin = torchs_layer(layer)
    states, expected = layer_states(layer, x, LENGTHS)[0].flatten(2), run_torchs(twin, x)
    cotangent = torch.randn_like(expected)
    ours = torch.autograd.grad((states * cotangent).sum(), [x, layer.weight_ih, layer.weight_hh, layer.bias])
    names = [f"{name}_{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih") for suffix in ("l0", "l0_reverse")]
    d_x, *torchs = torch.autograd.grad((expected * cotangent).sum(), [x, *map(twin.get_parameter, names)])
    torch.testing.assert_close(ours, (d_x, *(torch.stack(torchs[i : i + 2]) for i in (0, 2, 4))))


@rnn_types
def test_the_layer_normalises_then_clips_the_concatenated_states(rnn_type):
    layer, x = random_layer(rnn_type, "output", clip=0.7), random_batch()
    with torch.no_grad():
        layer.weight_hh *= 0.1  # keeps the simple recurrence below the clip
        layer.weight_ih *= 0.1
        layer.bias *= 0.1
    states = run_torchs(torchs_layer(layer), x)
    valid = torch.arange(7)[:, None] < LENGTHS
    expected = torch.zeros_like(states)
    packed = nn.functional.batch_norm(states[valid], None, None, layer.norm.weight, layer.norm.bias, training=True)
    expected[valid] = packed.clamp(0, 0.7)
    y = layer(x, LENGTHS)
    torch.testing.assert_close(y, expected)
    assert (y == 0.7).any()
    assert y.shape[2] == layer.output_size == 2 * HIDDEN


# ---------------------------------------------------------------------------------------------
# The hand-written backward passes
# ---------------------------------------------------------------------------------------------


def scan_input(gates: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, u and mask with a gap at the end of direction 0 and at the start of direction 1."""
    x = torch.randn(5, 2, 3, gates * HIDDEN, dtype=torch.float64) * scale
    u = torch.randn(2, gates * HIDDEN, HIDDEN, dtype=torch.float64) * 0.5
    ends = (torch.arange(5)[:, None] < torch.tensor([5, 3, 1])).double()
    mask = torch.stack((ends, ends.flip(0)), dim=1)[..., None]
    return x.requires_grad_(), u.requires_grad_(), mask


def assert_scan_equals_loop(scan, loop, x, u, mask, *clip) -> torch.Tensor:
    states, expected = scan.apply(x, u, mask, None, *(clip or [None]), torch.float64), loop(x, u, mask, *clip)
    torch.testing.assert_close(states, expected)
    cotangent = torch.randn_like(expected)
    gradients = [torch.autograd.grad((y * cotangent).sum(), (x, u)) for y in (states, expected)]
    torch.testing.assert_close(*gradients)
    return states


def test_the_gru_scan_equals_its_loop():
    assert_scan_equals_loop(_GRUScan, gru_loop, *scan_input(3))


@pytest.mark.parametrize(("clip", "scale"), [(20.0, 1.0), (20.0, 30.0), (0.5, 1.0)])
def test_the_simple_scan_equals_its_loop_below_and_at_the_clip(clip, scale):
    states = assert_scan_equals_loop(_RNNScan, rnn_loop, *scan_input(1, scale), clip)
    assert bool((states == clip).any()) == (scale > 1 or clip < 20)
    assert (states == 0).any()
    assert ((states > 0) & (states < clip)).any()


@pytest.mark.parametrize(("scan", "gates", "clip"), [(_GRUScan, 3, 20.0), (_RNNScan, 1, 20.0), (_RNNScan, 1, 0.8)])
def test_gradients_equal_finite_differences(scan, gates, clip):
    x, u, mask = scan_input(gates)
    assert torch.autograd.gradcheck(lambda x, u: scan.apply(x, u, mask, None, clip, torch.float64), (x, u))


# ---------------------------------------------------------------------------------------------
# batch_norm='input', the paper's form: Eq. 8 written out
# ---------------------------------------------------------------------------------------------


def gru_step(a, h, c, u, clip):
    (a_r, a_z, a_n), (u_r, u_z, u_n) = a.chunk(3), u.chunk(3)
    r, z = torch.sigmoid(a_r + u_r @ h), torch.sigmoid(a_z + u_z @ h)
    return (1 - z) * torch.tanh(a_n + r * (u_n @ h)) + z * h, c


def rnn_step(a, h, c, u, clip):
    return torch.minimum(torch.relu(a + u @ h), torch.tensor(clip)), c


def lstm_step(a, h, c, u, clip):
    i, f, g, o = (a + u @ h).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


STEPS = {"gru": gru_step, "rnn": rnn_step, "lstm": lstm_step}


def equation_8(layer: BidirectionalRNNLayer, x: torch.Tensor) -> torch.Tensor:
    """h_t = f(B(W x_t) + U h_{t-1}), each utterance and direction on its own, the two directions summed."""
    utterances = [x[:length, b] for b, length in enumerate(LENGTHS.tolist())]
    products = torch.cat(utterances) @ layer.weight_ih[0].t()  # the valid frames of all utterances
    if layer.training:
        mean, var = products.mean(0), products.var(0, correction=0)
    else:
        mean, var = layer.norm.running_mean, layer.norm.running_var
    sides = layer.norm.weight * (products - mean) / torch.sqrt(var + 1e-5) + layer.norm.bias
    outputs = []
    for side in sides.split(LENGTHS.tolist()):
        directions = []
        for u, order in zip(layer.weight_hh, (range(len(side)), reversed(range(len(side)))), strict=True):
            h, c, states = torch.zeros(HIDDEN).double(), torch.zeros(HIDDEN).double(), {}
            for t in order:
                h, c = STEPS[layer.rnn_type](side[t], h, c, u, layer.clip)
                states[t] = h
            directions.append(torch.stack([states[t] for t in range(len(side))]))
        outputs.append(directions[0] + directions[1])
    return nn.utils.rnn.pad_sequence(outputs)  # (T, B, H)


@pytest.mark.parametrize(("rnn_type", "clip"), [("gru", 20.0), ("rnn", 20.0), ("rnn", 0.8), ("lstm", 20.0)])
@pytest.mark.parametrize("training", [True, False])
def test_the_papers_layer_is_equation_8(rnn_type, clip, training):
    layer, x = random_layer(rnn_type, "input", clip).train(training), random_batch()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    expected, y = equation_8(layer, x), layer(x, LENGTHS)
    torch.testing.assert_close(y, expected)
    cotangent = torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * cotangent).sum(), [x, *layer.parameters()]) for out in (y, expected)]
    torch.testing.assert_close(*gradients)
    assert y.shape[2] == layer.output_size == HIDDEN
    assert bool((y > clip).any()) == (clip < 1)  # the sum of two clipped directions


def test_the_papers_layer_shares_w_and_has_no_other_bias_than_beta():
    shapes = {name: tuple(p.shape) for name, p in random_layer("gru", "input").named_parameters()}
    assert shapes == {"weight_ih": (1, 12, 3), "weight_hh": (2, 12, 4), "norm.weight": (12,), "norm.bias": (12,)}


# ---------------------------------------------------------------------------------------------
# Padding
# ---------------------------------------------------------------------------------------------


@rnn_types
def test_the_backward_direction_starts_at_the_utterances_own_end(rnn_type):
    """At its last frame the state is one step from zero, whatever the batch's longest utterance is."""
    layer, x = random_layer(rnn_type, "output"), random_batch()
    states = layer_states(layer, x, LENGTHS)[0][:, :, 1]
    zero = torch.zeros(HIDDEN, dtype=torch.float64)
    for utterance, length in enumerate(LENGTHS.tolist()):
        side = layer.weight_ih[1] @ x[length - 1, utterance] + layer.bias[1]
        torch.testing.assert_close(states[length - 1, utterance], STEPS[rnn_type](side, zero, zero, layer.weight_hh[1], 20.0)[0])


@rnn_types
@pytest.mark.parametrize("batch_norm", ["output", "input"])
def test_padding_comes_out_0(rnn_type, batch_norm):
    y = random_layer(rnn_type, batch_norm)(random_batch(), LENGTHS)
    for utterance, length in enumerate(LENGTHS.tolist()):
        assert not y[length:, utterance].any()


@rnn_types
@pytest.mark.parametrize("batch_norm", ["output", "input"])
def test_garbage_in_the_padding_reaches_no_frame_and_no_gradient(rnn_type, batch_norm):
    layer, clean = random_layer(rnn_type, batch_norm), random_batch()
    padding = torch.arange(7)[:, None] >= LENGTHS
    results = []
    for x in (clean, clean.detach().masked_fill(padding[:, :, None], 9.0).requires_grad_()):
        y = layer(x, LENGTHS)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    torch.testing.assert_close(*results)


# ---------------------------------------------------------------------------------------------
# The rest
# ---------------------------------------------------------------------------------------------


@rnn_types
def test_each_gates_recurrent_matrix_starts_orthogonal(rnn_type):
    layer = BidirectionalRNNLayer(INPUT, HIDDEN, rnn_type)
    gates = layer.weight_hh.view(-1, HIDDEN, HIDDEN)
    torch.testing.assert_close(gates @ gates.transpose(1, 2), torch.eye(HIDDEN).expand_as(gates))
    assert len(gates) == 2 * {"gru": 3, "rnn": 1, "lstm": 4}[rnn_type]


@rnn_types
@pytest.mark.parametrize("batch_norm", ["output", "input"])
def test_half_precision_products_keep_float32_states(rnn_type, batch_norm):
    layer, x = random_layer(rnn_type, batch_norm).float(), random_batch().detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, LENGTHS)
    y.sum().backward()
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, layer(x, LENGTHS), atol=0.1, rtol=0.03)
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_the_fused_road_in_half_precision_keeps_float32_statistics(rnn_type, monkeypatch):
    layer, x = random_layer(rnn_type, "input").float().train(), random_batch().detach().float()
    seen, real = [], layer.norm._update
    monkeypatch.setattr(layer.norm, "_update", lambda mean, var, count: (seen.extend((mean, var)), real(mean, var, count)))
    kernel = getattr(torch, rnn_type)

    def spy(data, *rest):
        assert data.dtype == torch.bfloat16 and not torch.is_autocast_enabled("cpu")
        return kernel(data, *rest)

    monkeypatch.setattr(torch, rnn_type, spy)
    with torch.autocast("cpu", torch.bfloat16):
        states = _fused_states(layer, x, LENGTHS)[0]
        product = torch.nn.functional.linear(x, layer.weight_ih[0])
    assert product.dtype == torch.bfloat16 and [value.dtype for value in seen] == [torch.float32] * 2
    valid = torch.cat([product.float()[:length, b] for b, length in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(seen[0], valid.mean(0))
    torch.testing.assert_close(seen[1], valid.var(0, correction=0))
    expected = layer_states(layer, x, LENGTHS)[0]
    torch.testing.assert_close(states.float(), expected, atol=0.1, rtol=0.03)


@pytest.mark.parametrize("arguments", [{"rnn_type": "elman"}, {"batch_norm": "both"}])
def test_unknown_kinds_are_refused(arguments):
    [(name, value)] = arguments.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        BidirectionalRNNLayer(3, 4, **arguments)


# ---------------------------------------------------------------------------------------------
# The fused kernels, which CUDA takes, run here by torch's CPU kernels
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_norm", ["output", "input"])
@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_the_fused_road_gives_the_scans_states_gradients_and_averages(rnn_type, batch_norm, training):
    layer, x = random_layer(rnn_type, batch_norm).train(training), random_batch()
    twin = deepcopy(layer)
    scanned = layer_states(layer, x, LENGTHS)[0]
    fused = _fused_states(twin, x, LENGTHS)[0]
    torch.testing.assert_close(fused, scanned)
    weights = torch.randn_like(scanned)
    ours, theirs = (
        torch.autograd.grad((states * weights).sum(), [x, *roads.parameters()], allow_unused=True)
        for states, roads in ((scanned, layer), (fused, twin))
    )
    assert sum(gradient is not None for gradient in ours) == (4 if batch_norm == "output" else 5)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(other, mine)
    torch.testing.assert_close(twin.norm.running_var, layer.norm.running_var)
    torch.testing.assert_close(twin.norm.running_mean, layer.norm.running_mean)


# ---------------------------------------------------------------------------------------------
# One direction, a carried state, no batch norm, and Eq. 7
# ---------------------------------------------------------------------------------------------


def forward_only(rnn_type: str, batch_norm: str = "output") -> tuple[RecurrentLayer, RecurrentLayer]:
    """A forward-only layer, and one in both directions whose forward direction has the same weights."""
    layer = RecurrentLayer(INPUT, HIDDEN, rnn_type, batch_norm, bidirectional=False).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    both = RecurrentLayer(INPUT, HIDDEN, rnn_type, batch_norm).double()
    for parameter, wide in ((layer.weight_ih, both.weight_ih), (layer.weight_hh, both.weight_hh), (layer.bias, both.bias)):
        if parameter is not None:
            wide.data[: len(parameter)] = parameter.data
    return layer, both


@rnn_types
def test_forward_only_states_are_the_forward_states_of_both_directions_and_torchs(rnn_type):
    layer, both = forward_only(rnn_type)
    x = random_batch()
    states = layer_states(layer, x, LENGTHS)[0]
    assert states.shape == (7, 4, 1, HIDDEN) and layer.output_size == HIDDEN
    torch.testing.assert_close(states[:, :, 0], layer_states(both, x, LENGTHS)[0][:, :, 0])
    torch.testing.assert_close(states[:, :, 0], run_torchs(torchs_layer(both), x)[:, :, :HIDDEN])
    expected = both.norm.__class__(HIDDEN).double()(states[:, :, 0], LENGTHS).clamp(0, 20)
    layer.norm.weight.data.fill_(1)
    layer.norm.bias.data.zero_()
    torch.testing.assert_close(layer(x, LENGTHS), expected)


@rnn_types
@pytest.mark.parametrize("batch_norm", ["output", "input", "none"])
def test_a_forward_only_layer_goes_on_where_it_stopped(rnn_type, batch_norm):
    layer, lengths = forward_only(rnn_type, batch_norm)[0].eval(), torch.tensor([9, 9])
    x = torch.randn(9, 2, INPUT, dtype=torch.float64)
    whole, end = layer.run(x, lengths)
    pieces, state = [], None
    for piece in x.split((1, 5, 3)):
        y, state = layer.run(piece, torch.full((2,), len(piece)), state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces), whole)
    torch.testing.assert_close(state, end)


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_the_fused_road_takes_and_gives_the_state_too(rnn_type):
    layer = forward_only(rnn_type)[0]
    x, lengths = torch.randn(5, 3, INPUT, dtype=torch.float64), torch.tensor([5, 5, 5])
    start = tuple(torch.randn(1, 3, HIDDEN, dtype=torch.float64) for _ in range(2 if rnn_type == "lstm" else 1))
    torch.testing.assert_close(_fused_states(layer, x, lengths, start), layer_states(layer, x, lengths, start))


@pytest.mark.parametrize(("step", "gates"), [(ds2.gru_step, 3), (ds2.rnn_step, 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_scans_take_a_starting_state_and_give_its_gradient(step, gates, directions):
    x, u, mask = scan_input(gates)
    x, u, mask = x[:, :directions], u[:directions], mask[:, :directions]
    start = torch.randn(directions, 3, HIDDEN, dtype=torch.float64, requires_grad=True)
    results = []
    for road in (recur, recur_faster):
        states, (end,) = road(step, x, u, mask, (start,))
        gradients = torch.autograd.grad((states.sin().sum() + 2 * end.sum()), (x, u, start))
        results.append((states, end, *gradients))
    torch.testing.assert_close(*results)
    assert results[0][-1].abs().sum() > 0


@rnn_types
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("batch_norm", ["output", "input", "none"])
def test_plain_definitions_and_their_twins_give_the_same(rnn_type, batch_norm, bidirectional):
    layer = RecurrentLayer(INPUT, HIDDEN, rnn_type, batch_norm, bidirectional=bidirectional).double()
    results = []
    for plain in (True, False):
        x = torch.arange(84, dtype=torch.float64).sin().view(7, 4, INPUT).requires_grad_()
        with plain_definitions() if plain else torch.enable_grad():
            y = layer(x, LENGTHS)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    torch.testing.assert_close(*results)


@rnn_types
def test_without_batch_norm_the_layer_is_equation_3(rnn_type):
    """``h = f(W x + b + U h)`` of each utterance and direction on its own, the directions summed."""
    layer, x = random_layer(rnn_type, "none"), random_batch()
    outputs = []
    for utterance, length in enumerate(LENGTHS.tolist()):
        side = x[:length, utterance] @ layer.weight_ih[0].t() + layer.bias[0]
        directions = []
        for u, frames in zip(layer.weight_hh, (side, side.flip(0)), strict=True):
            h, c, states = torch.zeros(HIDDEN).double(), torch.zeros(HIDDEN).double(), []
            for a in frames:
                h, c = STEPS[rnn_type](a, h, c, u, 20.0)
                states.append(h)
            directions.append(torch.stack(states))
        outputs.append(directions[0] + directions[1].flip(0))
    expected = nn.utils.rnn.pad_sequence(outputs)
    torch.testing.assert_close(layer(x, LENGTHS), expected)
    assert layer.norm is None and layer.output_size == HIDDEN


def equation_7(layer: RecurrentLayer, x: torch.Tensor) -> torch.Tensor:
    """``h_t = f(B(W x_t + U h_{t-1}))``, B over the utterances that have a frame at that step, direction by direction."""
    outputs = torch.zeros(*x.shape[:2], HIDDEN, dtype=torch.float64)
    for u, steps in zip(layer.weight_hh, (range(7), reversed(range(7))), strict=True):
        h = torch.zeros(len(LENGTHS), HIDDEN, dtype=torch.float64)
        for t in steps:
            there = torch.tensor([t < length for length in LENGTHS.tolist()])
            a = x[t, there] @ layer.weight_ih[0].t() + h[there] @ u.t()
            a = (a - a.mean(0)) / torch.sqrt(a.var(0, correction=0) + 1e-5)
            h = torch.zeros_like(h)
            h[there] = (a * layer.norm.weight + layer.norm.bias).clamp(0, 20)
            outputs[t] += h
    return outputs


def test_equation_7_normalises_each_step_by_itself():
    layer, x = random_layer("rnn", "step"), random_batch()
    y = layer(x, LENGTHS)
    torch.testing.assert_close(y, equation_7(layer, x))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), [x, *layer.parameters()]))
    assert layer.norm.running_mean.abs().sum() > 0 and (layer.norm.running_var != 1).all()


def test_equation_7_takes_running_averages_in_evaluation():
    layer, x = random_layer("rnn", "step").eval(), random_batch()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    y = layer(x, LENGTHS)
    alone = torch.cat([layer(x[:length, b : b + 1], torch.tensor([length])) for b, length in enumerate(LENGTHS.tolist())])
    valid = torch.cat([y[:length, b : b + 1] for b, length in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(valid, alone)


def test_equation_7_is_for_the_simple_recurrence():
    with pytest.raises(ValueError, match=r"batch_norm='step' \(Eq\. 7\) works with the simple recurrence only"):
        RecurrentLayer(3, 4, "gru", "step")


def test_the_lstm_carries_its_cell_too():
    x, u = torch.randn(6, 1, 2, 4 * HIDDEN).double(), torch.randn(1, 4 * HIDDEN, HIDDEN).double()
    mask = torch.ones(6, 1, 2, 1).double()
    whole, end = recur(ds2.lstm_step, x, u, mask)
    first, state = recur(ds2.lstm_step, x[:4], u, mask[:4])
    second, last = recur(ds2.lstm_step, x[4:], u, mask[4:], state)
    torch.testing.assert_close((torch.cat((first, second)), last), (whole, end))


@pytest.mark.parametrize("started", [False, True])
def test_the_lstms_hand_written_pass_is_the_loops(started):
    """Values and gradients, also through the last states and of the first, with steps masked in between."""
    results = []
    for loop in (recur, recur_faster):
        torch.manual_seed(0)
        x, u = torch.randn(7, 2, 3, 4 * HIDDEN).double(), torch.randn(2, 4 * HIDDEN, HIDDEN).double()
        start = torch.randn(2, 2, 3, HIDDEN).double().unbind() if started else ()
        leaves = [part.requires_grad_() for part in (x, u, *start)]
        states, end = loop(ds2.lstm_step, x, u, (torch.rand(7, 2, 3, 1) > 0.3).double(), start or None)
        parts = (states, *end)
        objective = sum((part * torch.linspace(-1, 2, part.numel()).view_as(part)).sum() for part in parts)
        results.append((*parts, *torch.autograd.grad(objective, leaves)))
    torch.testing.assert_close(*results)
