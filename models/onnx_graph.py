"""A trained model as an ONNX graph, for programs in any language: samples in, log-probabilities out.

The graph is built node by node from the weights: a second way to compute the numbers of ``DeepSpeech2``, and
tests/models/test_onnx_graph.py checks that both agree. Tracing the model would unroll its loops over time. Here each
recurrence is one of ONNX's own operators, and whatever is fixed after training is folded into the weights beside it:

    Fourier transform           a convolution of the samples with windowed sines and cosines: it needs no operator of its own,
                                and gives the same bins as the transform of a folded window
    batch norm                  gamma (x - E) / sqrt(Var + eps) + beta is a product and a sum; in a convolution, Eq. 8 and Eq. 7
                                they go into the weights and the bias, and for 'output' into a Mul and an Add
    clipped simple recurrence   ONNX's recurrences have no clipped ReLU. But min(max(a, 0), 20) = 20 min(max(a / 20, 0), 1), and
                                the last factor is HardSigmoid: with W and b divided by 20, the states are h / 20
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from implementation import ConvBlock, DeepSpeech2, Features, RecurrentLayer, SequenceBatchNorm, mel_filters
from models.checkpoints import Checkpoint
from models.streaming import refuse_what_needs_the_end

OPSET, IR_VERSION = 17, 8  # from 2022, so that runtimes from the last few years can read it
ENDLESS = 2**62  # as the end of a slice: up to the last element
# ONNX's operator, and where torch has the gates in ONNX's order: z r n for the GRU, i o f g for the LSTM.
OPERATORS = {"gru": ("GRU", (1, 0, 2)), "lstm": ("LSTM", (0, 3, 1, 2)), "rnn": ("RNN", (0,))}


def onnx_model(checkpoint: Checkpoint, stream: bool = False) -> onnx.ModelProto:
    """The graph of a model in evaluation mode; its metadata hold all that a program needs to use it.

    Inputs and outputs for whole utterances:

        samples         (B, N) float32, full scale 1, at ``sample_rate``; samples after an utterance's end do not matter
        lengths         (B,) int64, number of samples in each utterance
        log_probs       (T', B, V) float32
        output_lengths  (B,) int64

    and for streams, which come piece by piece, B streams at a time:

        samples         (B, N), any N
        last            bool, whether this piece is the last
        state_0, ...    at first zeros, in the shapes that the metadata ``states`` give; then what the previous call returned as
        next_0, ...
        log_probs       (T', B, V), the frames that are ready; T' may be 0

    Metadata: ``kind`` ('whole' or 'stream'), ``sample_rate``, ``seconds_per_output``; as JSON, ``symbols`` (V strings, ""
    for the blank), ``features``, ``settings``, ``words``, ``calibration``; for streams, ``states`` (shapes by name, B as "B").

    Raises:
        CheckpointError: with ``stream``, if the model needs the whole utterance.
    """
    model = checkpoint.model
    if stream:
        refuse_what_needs_the_end(model)
    graph = (_Stream if stream else _Whole)(model.features)
    x, bins = _features(graph, model.features), model.n_freq
    for block, layer in zip(model.convolutions, model.specification, strict=True):
        bins = bins if layer.kernel[0] else 1
        x, bins = _convolution(graph, block, x, bins), -(-bins // layer.stride[0])
    x = graph.op("Transpose", x, perm=(3, 0, 1, 2))  # (T', B, C, F')
    x = graph.op("Reshape", x, [0, 0, model.recurrences[0].input_size])  # (T', B, C F')
    for layer in model.recurrences:
        x = _recurrence(graph, layer, x)
    graph.give("log_probs", _log_probs(graph, model, x), ("frames", "B", model.vocab_size))
    made = graph.model()
    helper.set_model_props(made, _metadata(checkpoint, graph))
    return made


def _metadata(checkpoint: Checkpoint, graph: _Graph) -> dict[str, str]:
    model = checkpoint.model
    features = dataclasses.asdict(model.features) | {"window": model.features.window, "hop": model.features.hop}
    told = {
        "kind": "whole", "symbols": json.dumps(["", *checkpoint.encoder.alphabet]),
        "sample_rate": str(model.features.sample_rate), "seconds_per_output": str(model.seconds_per_output),
        "features": json.dumps(features), "settings": json.dumps(checkpoint.config.flat()),
        "words": json.dumps(checkpoint.words), "calibration": json.dumps(dataclasses.asdict(checkpoint.calibration)),
    }  # fmt: skip
    return told | ({"kind": "stream", "states": json.dumps(graph.states)} if isinstance(graph, _Stream) else {})


# ---- Graphs ---------------------------------------------------------------------------------
# Everything that slides over time (the transform, the convolutions, the row convolution) has the same form: x is
# (B, C, F, T), the kernel is (O, C, bins, L), and there are zeros before the first frame and after the last.


class _Graph:
    """Nodes in order of computation; a value is the name of an output, and a constant is an array or a number."""

    def __init__(self) -> None:
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def op(self, kind: str, *inputs: str | Sequence | np.ndarray | Tensor | float, outputs: int = 1, **attributes) -> str:
        """Adds a node and returns the name of its output, or a list of names if it has several; "" leaves out an input."""
        names = [f"{kind}_{len(self.nodes)}" + (f"_{place}" if place else "") for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, [self._name(value) for value in inputs], names, **attributes))
        return names[0] if outputs == 1 else names

    def _name(self, value: str | Sequence | np.ndarray | Tensor | float) -> str:
        if isinstance(value, str):
            return value
        array = np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def take(self, name: str, shape: Sequence[str | int], kind: int = TensorProto.FLOAT) -> str:
        """Adds an input to the graph and returns its name."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def give(self, name: str, value: str, shape: Sequence[str | int], kind: int = TensorProto.FLOAT) -> None:
        """Makes a value an output of the graph."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def frames(self, x: str) -> str:
        """T, the number of frames in (B, C, F, T), with the shape (1,)."""
        return self.op("Shape", x, start=3)

    def model(self) -> onnx.ModelProto:
        """The whole graph."""
        graph = helper.make_graph(self.nodes, "deep_speech", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="deep-speech-2-reference")


class _Whole(_Graph):
    """Whole utterances in a batch, each with its length; values in the padding count as 0."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        samples = self.take("samples", ("B", "samples"))
        self.lengths = self.take("lengths", ("B",), TensorProto.INT64)
        lacking = self.op("Max", self.op("Sub", [features.window], self.op("Shape", samples, start=1)), [0])
        x = self.op("Pad", samples, self.op("Concat", [0, 0, 0], lacking, axis=0))  # at least one window
        self.samples = self.valid(self.op("Unsqueeze", x, [1, 2]))  # (B, 1, 1, N)

    def valid(self, x: str) -> str:
        """(B, C, F, T), with 0 in the padding."""
        places = self.op("Range", 0, self.op("Squeeze", self.frames(x)), 1)  # (T,)
        return self.op("Where", self.op("Less", places, self.op("Unsqueeze", self.lengths, [1, 2, 3])), x, 0.0)

    def mean(self, x: str, bins: int = 1) -> str:
        """(B, 1, F, T), with 0 in the padding -> (B, 1, 1, 1), the mean of each utterance."""
        count = self.op("Cast", self.op("Mul", self.op("Unsqueeze", self.lengths, [1, 2, 3]), bins), to=TensorProto.FLOAT)
        return self.op("Div", self.op("ReduceSum", x, [1, 2, 3]), count)

    def slide(self, x: str, window: _Window) -> str:
        """The outputs of a window that slides over x; ``lengths`` become their lengths."""
        around = window.before + window.behind - window.length
        beyond_first = self.op("Max", self.op("Add", self.lengths, around), 0)
        self.lengths = self.op("Add", self.op("Div", beyond_first, window.stride), 1)
        return self.valid(window.over(self, x, window.before, window.behind))

    def arrived(self, x: str, axis: int) -> str:
        """x with all its frames."""
        return x

    def recur(self, kind: str, x: str, weights: Sequence[Tensor], **attributes) -> str:
        """(T', B, I) -> the states (T', D, B, H), with 0 in the padding."""
        return self.op(kind, x, *weights, self.op("Cast", self.lengths, to=TensorProto.INT32), **attributes)

    def model(self) -> onnx.ModelProto:
        """The whole graph, with the lengths of the outputs."""
        self.give("output_lengths", self.lengths, ("B",), TensorProto.INT64)
        return super().model()


class _Stream(_Graph):
    """Streams in pieces: each layer keeps the past that its next frames need, like the layers in ``models.streaming``."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.states: dict[str, list[str | int]] = {}
        self.samples = self.op("Unsqueeze", self.take("samples", ("B", "samples")), [1, 2])  # (B, 1, 1, N)
        self.ready = self.frames(self.samples)  # (1,): how many frames of the next layer's input are ready
        self.last = self.op("Cast", self.take("last", (), TensorProto.BOOL), to=TensorProto.INT64)

    def valid(self, x: str) -> str:
        """x as it is: a stream has no padding."""
        return x

    def arrived(self, x: str, axis: int) -> str:
        """The frames that are ready. Layers get at least one frame, possibly meaningless, as runtimes may fail on none."""
        return self.op("Slice", x, [0], self.ready, [axis])

    def state(self, shape: Sequence[str | int], at_first: Sequence[str | int]) -> str:
        """An input that the caller keeps from call to call; ``at_first`` is the shape of its initial zeros."""
        name = f"state_{len(self.states)}"
        self.states[name] = list(at_first)
        return self.take(name, shape)

    def keep(self, state: str, value: str, shape: Sequence[str | int]) -> None:
        """Makes a value the state with which the next call begins."""
        self.give(state.replace("state", "next"), value, shape)

    def slide(self, x: str, window: _Window) -> str:
        """The outputs of a window wherever it is complete; at the stream's end, also those that reach beyond the end."""
        window, kept = window.without_gaps(), f"kept_{len(self.states)}"
        inner = ("B", window.channels, window.bins)
        state = self.state((*inner, kept), (*inner, window.before))
        x = self.op("Concat", state, self.arrived(x, 3), axis=3)
        there = self.op("Add", self.frames(x), self.op("Mul", self.last, window.behind))
        ready = self.op("Div", self.op("Max", self.op("Add", there, window.stride - window.length), 0), window.stride)  # (1,)
        self.keep(state, self.op("Slice", x, self.op("Mul", ready, window.stride), [ENDLESS], [3]), (*inner, f"next_{kept}"))
        self.ready = ready
        return self.op("Slice", window.over(self, x, 0, window.length), [0], self.op("Max", ready, 1), [3])

    def recur(self, kind: str, x: str, weights: Sequence[Tensor], **attributes) -> str:
        """(T', B, I) -> the states (T', D, B, H)."""
        shape, parts = (1, "B", attributes["hidden_size"]), 2 if kind == "LSTM" else 1
        begin = [self.state(shape, shape) for _ in range(parts)]
        states, *end = self.op(kind, x, *weights, "", *begin, outputs=1 + parts, **attributes)
        for before, after in zip(begin, end, strict=True):
            self.keep(before, self.op("Where", self.op("Greater", self.ready, 0), after, before), shape)
        return states


@dataclasses.dataclass(frozen=True)
class _Window:
    """A kernel (O, C / group, bins, L) that slides over the frames of (B, C, F, T), padded with zeros.

    Attributes:
        bins: F of x.
        around_bins: zeros below and above the bins.
        before, behind: zeros before the first frame and after the last.
    """

    kernel: np.ndarray
    bias: np.ndarray | str = ""
    bins: int = 1
    strides: tuple[int, int] = (1, 1)
    around_bins: int = 0
    before: int = 0
    behind: int = 0
    group: int = 1

    @property
    def length(self) -> int:
        """L, the frames under the kernel."""
        return self.kernel.shape[3]

    @property
    def stride(self) -> int:
        """Frames from one output to the next."""
        return self.strides[1]

    @property
    def channels(self) -> int:
        """C, the channels of x."""
        return self.kernel.shape[1] * self.group

    def without_gaps(self) -> _Window:
        """The same window; zeros extend a kernel that is shorter than its stride, so that no frame is skipped."""
        gap = max(0, self.stride - self.length)
        kernel = np.pad(self.kernel, ((0, 0), (0, 0), (0, 0), (0, gap)))
        return dataclasses.replace(self, kernel=kernel, behind=self.behind + gap)

    def over(self, graph: _Graph, x: str, before: int, behind: int) -> str:
        """(B, C, F, T) -> (B, O, F', T')."""
        pads = (self.around_bins, before, self.around_bins, behind)
        return graph.op("Conv", x, self.kernel, self.bias, strides=self.strides, pads=pads, group=self.group)


# ---- Layers ---------------------------------------------------------------------------------


def _features(graph: _Whole | _Stream, features: Features) -> str:
    """Samples -> features (B, 1, F, T), the same as those of ``compute_spectrogram`` and ``compute_log_mel``."""
    x, corpus = graph.samples, features.corpus
    if corpus is None:
        x = graph.valid(graph.op("Sub", x, graph.mean(x)))
        x = graph.op("Div", x, graph.op("Max", graph.op("Sqrt", graph.mean(graph.op("Mul", x, x))), 1e-10))
    mel = features.kind == "logmel"
    n_fft = 1 << max(1, features.window - 1).bit_length() if mel else features.n_fft
    kernel = _fourier_kernel(features.window, n_fft) / (1.0 if corpus is None else corpus.level)
    x = graph.slide(x, _Window(kernel, strides=(1, features.hop)))  # (B, 2 F, 1, T)
    x = graph.op("Reshape", graph.op("Mul", x, x), [0, 2, n_fft // 2 + 1, 0])
    x = graph.op("ReduceSum", x, [1])  # (B, 1, F, T)
    if mel:
        scale = features.sample_rate / n_fft
        x = graph.op("MatMul", mel_filters(features.n_mels, n_fft, features.sample_rate) * scale, x)
    x = graph.op("Log", graph.op("Add", x, 1e-3))
    if corpus is not None:
        mean, deviation = (np.reshape(values, (1, 1, -1, 1)) for values in (corpus.mean, corpus.deviation))
        return graph.valid(graph.op("Div", graph.op("Sub", x, mean), deviation))
    x = graph.valid(x)
    x = graph.valid(graph.op("Sub", x, graph.mean(x, features.bins)))
    return graph.op("Div", x, graph.op("Max", graph.op("Sqrt", graph.mean(graph.op("Mul", x, x), features.bins)), 1e-5))


def _fourier_kernel(window: int, n_fft: int) -> np.ndarray:
    """(2 F, 1, 1, window): the cosines, then the sines, of F = n_fft // 2 + 1 frequencies, times the Hann window."""
    samples = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * samples / window)
    angles = 2 * np.pi * (np.arange(n_fft // 2 + 1)[:, None] * samples % n_fft) / n_fft
    return (np.concatenate((np.cos(angles), np.sin(angles))) * hann)[:, None, None]


def _convolution(graph: _Whole | _Stream, block: ConvBlock, x: str, bins: int) -> str:
    """(B, C, F, T) -> (B, O, F', T'); F is ``bins``, which is 1 in a 1D convolution, whose channels are the bins."""
    conv = block.conv
    x = graph.op("Reshape", x, [0, conv.in_channels, bins, 0])
    weight = conv.weight.detach().double()
    if block.norm is None:
        bias = conv.bias.detach()
    else:
        scale, bias = _affine(block.norm)
        weight = weight * scale[:, None, None, None]
    around, before = conv.padding
    window = _Window(weight.numpy(), bias.numpy(), bins, conv.stride, around, before, before)
    return graph.op("Clip", graph.slide(x, window), 0.0, block.activation.clip)


def _affine(norm: SequenceBatchNorm) -> tuple[Tensor, Tensor]:
    """The scale and shift of batch norm in evaluation, ``scale x + shift``; (features,) each, in float64."""
    scale = norm.weight.detach().double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale


def _recurrence(graph: _Whole | _Stream, layer: RecurrentLayer, x: str) -> str:
    """(T', B, input_size) -> (T', B, output_size)."""
    kind, order = OPERATORS[layer.rnn_type]
    attributes = {"hidden_size": layer.hidden_size, "direction": "bidirectional" if layer.bidirectional else "forward"}
    weights = _recurrent_weights(layer)
    if kind == "GRU":
        attributes["linear_before_reset"] = 1  # as in torch and gru_step: r o (U_n h)
    if kind == "RNN":
        weights[0], weights[2] = weights[0] / layer.clip, weights[2] / layer.clip
        each = {"activations": "HardSigmoid", "activation_alpha": 1.0, "activation_beta": 0.0}  # min(max(a, 0), 1)
        attributes |= {name: [value] * layer.directions for name, value in each.items()}
    w, u, b = (torch.cat([part.chunk(len(order), 1)[gate] for gate in order], 1) for part in weights)
    weights = [w, u, torch.cat((b, torch.zeros_like(b)), 1)]  # ONNX has a second bias, beside U
    states = graph.recur(kind, x, weights, **attributes)  # (T', D, B, H)
    if kind == "RNN":
        states = graph.op("Mul", states, layer.clip)
    if layer.batch_norm != "output":
        return graph.op("ReduceSum", states, [1], keepdims=0)  # (T', B, H)
    states = graph.op("Transpose", states, perm=(0, 2, 1, 3))  # (T', B, D, H)
    scale, shift = _affine(layer.norm)
    x = graph.op("Add", graph.op("Mul", graph.op("Reshape", states, [0, 0, layer.output_size]), scale), shift)
    return graph.op("Clip", x, 0.0, layer.clip)  # (T', B, D H)


def _recurrent_weights(layer: RecurrentLayer) -> list[Tensor]:
    """W (D, G H, input_size), U (D, G H, H) and b (D, G H) in float64; any batch norm inside the recurrence is folded in."""
    w, u = layer.weight_ih.detach().double(), layer.weight_hh.detach().double()
    if layer.batch_norm in ("output", "none"):
        b = layer.bias.detach().double()
    else:
        scale, b = _affine(layer.norm)
        w, b = w * scale[:, None], b[None]
        u = u * scale[:, None] if layer.batch_norm == "step" else u
    return [w.expand(layer.directions, -1, -1), u, b.expand(layer.directions, -1)]


def _log_probs(graph: _Whole | _Stream, model: DeepSpeech2, x: str) -> str:
    """The layers above the recurrences: (T', B, D H) or (T', B, H) -> (T', B, V)."""
    x = graph.valid(graph.op("Unsqueeze", graph.op("Transpose", x, perm=(1, 2, 0)), [2]))  # (B, H, 1, T')
    if model.row_convolution is not None:
        row = model.row_convolution
        x = graph.slide(x, _Window(row.weight.detach().numpy()[:, None, None], behind=row.lookahead, group=row.features))
    x = graph.op("Transpose", graph.op("Squeeze", x, [2]), perm=(2, 0, 1))  # (T', B, H)
    if model.fully_connected is not None:
        linear, activation = model.fully_connected
        x = graph.op("Clip", _linear(graph, linear, x), 0.0, activation.clip)
    return graph.arrived(graph.op("LogSoftmax", _linear(graph, model.output, x), axis=2), 0)


def _linear(graph: _Whole | _Stream, linear: torch.nn.Linear, x: str) -> str:
    """``x W^T + b``."""
    return graph.op("Add", graph.op("MatMul", x, linear.weight.t()), linear.bias)
