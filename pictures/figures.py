"""Pictures of speech, models and runs. Each shows measured values, and its caption says what was measured.

Every function returns a ``matplotlib.figure.Figure``: a notebook shows it, a script saves it with ``figure.savefig(path)``.
The tables of the paper are drawn by ``pictures/paper_charts.py``.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from implementation import (
    AlignedText,
    AudioSample,
    CharEncoder,
    ClippedReLU,
    ConvBlock,
    DeepSpeech2,
    Features,
    RecurrentLayer,
    RowConvolution,
    SequenceBatchNorm,
    SortaGradBatchSampler,
    character_times,
    collate_batch,
    ctc_backward_variables,
    ctc_forward_variables,
    extend_target,
    forced_alignment,
    leading_errors,
    plain_definitions,
    prefix_beam_search,
    sequence_mask,
    word_times,
)
from models.deep_speech_1 import DeepSpeech1
from pictures.folding import columns
from pictures.fonts import ReadableFigure

if TYPE_CHECKING:
    from decoding.tuning import Tuning

# Colours that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#CC3311", "#777777"
OF_SYMBOLS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9")
WIDTH = 9  # inches of a picture; on a page 850 pixels wide, letters of 9 points are then 12 pixels high


def new_figure(rows: int, columns: int, size: tuple[float, float], caption: str, **subplots: object) -> tuple[Figure, np.ndarray]:
    """An empty figure in the project's style and its (rows, columns) axes; ``caption``, below it, says what was measured."""
    figure = ReadableFigure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    if caption:
        lines = balanced(caption, int(15 * size[0]))  # 15 letters of this size to an inch
        figure.supxlabel(lines, fontsize=9, color=GREY, x=0.01, ha="left")
    return figure, axes


def balanced(text: str, width: int) -> str:
    """The text in as few lines as can hold it, of about the same length."""
    lines = len(textwrap.wrap(text, width))
    return next(wrapped for letters in range(len(text) // lines, width + 1)
                if (wrapped := textwrap.fill(text, letters)).count("\n") == lines - 1)  # fmt: skip


def visible(text: str) -> str:
    """The text with visible spaces."""
    return text.replace(" ", "␣")


@torch.no_grad()
def output_of(model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder) -> tuple[np.ndarray, Tensor]:
    """Features (F, T) and log-probabilities (T', V) of one utterance, from the model in evaluation mode."""
    was_training = model.training
    batch = collate_batch([sample], encoder, features=model.features).to(next(model.parameters()).device)
    log_probs, _ = model.eval()(batch.features, batch.feature_lengths)
    model.train(was_training)
    return batch.features[0, 0].cpu().numpy(), log_probs[:, 0].cpu()


def draw_spectrogram(axis: Axes, values: np.ndarray, sample: AudioSample, features: Features) -> None:
    """Features (F, T) over seconds and kHz; each frame is as wide as the hop and lies in the middle of its window."""
    start, hop = (features.window - features.hop) / 2 / features.sample_rate, features.seconds_per_frame
    extent = (start, start + values.shape[1] * hop, 0.0, sample.sample_rate / 2000)
    axis.imshow(values, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    axis.set(ylabel="frequency, kHz", xlabel="time, s", xlim=(0, sample.seconds))


def seconds_shown(sample: AudioSample, log_probs: Tensor, model: DeepSpeech2) -> float:
    """To the end of the utterance and of its last output frame, which can reach further."""
    return max(sample.seconds, len(log_probs) * model.seconds_per_output)


# ---------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------


def training_curves(history: Sequence[dict], caption: str = "measured here") -> Figure:
    """Loss, error rates and blank share by epoch, from the lines of metrics.jsonl."""
    epochs = [line["epoch"] for line in history]
    figure, axes = new_figure(1, 3, (WIDTH, 3.3), caption)
    left, middle, right = axes[0]
    style = {"marker": "o", "markersize": 3, "color": BLUE}  # blue: dev
    left.plot(epochs, [line["loss"] for line in history], **style | {"color": GREY}, label="training (augmented)")
    left.plot(epochs, [line["dev_loss"] for line in history], label="dev", **style)
    left.set(ylabel="CTC loss, nats per utterance,\nlogarithmic", yscale="log")
    if "dev_wer" in history[0]:  # missing in languages without spaces
        middle.plot(epochs, [100 * line["dev_wer"] for line in history], label="WER", **style)
    middle.plot(epochs, [100 * line["dev_cer"] for line in history], linestyle="--", label="CER", **style)
    middle.set(ylabel="error rate, %", ylim=(0, None))
    right.plot(epochs, [100 * line["blank_share"] for line in history], **style)
    right.set(ylabel="blank frames, %", ylim=(0, 100))
    for axis in axes[0]:
        axis.set(xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            axis.set_xticks(epochs)
        axis.grid(alpha=0.3)
    middle.legend(frameon=False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def predictions(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, result: dict, caption: str = "measured here"
) -> Figure:
    """Three utterances (the worst, the middle and the best of an evaluation): features at the left, output symbols at the right.

    Args:
        result: what ``evaluate`` returned for this model and dataset.
    """
    errors = leading_errors(result, encoder)
    ranked = errors.from_worst_to_best()
    chosen = list(dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])))
    size, widths = (WIDTH, 2.6 * len(chosen) + 0.3), {"width_ratios": [1, 1.7]}
    figure, axes = new_figure(len(chosen), 2, size, caption, gridspec_kw=widths)
    keys = []
    for (left, right), index in zip(axes, chosen, strict=True):
        features, log_probs = output_of(model, dataset[index], encoder)
        draw_spectrogram(left, features, dataset[index], model.features)
        title = "\n".join(map(_shortened, errors.aligned_lines(index).split("\n")))
        left.set_title(title, loc="left", family="monospace", fontsize=9)
        keys += draw_symbols(right, log_probs.exp().numpy(), encoder, model.seconds_per_output)
        for axis in (left, right):
            axis.set(xlim=(0, seconds_shown(dataset[index], log_probs, model)))
    told = "; ".join(dict.fromkeys(keys))
    figure.suptitle(f"Left: features. Right: probability of each symbol ({told})", fontsize=10)
    return figure


def _shortened(text: str, width: int = 58) -> str:
    """As much of a line as fits above a picture; Chinese characters take two columns."""
    if columns(text) <= width:
        return text
    fits = sum(columns(text[: end + 1]) <= width - 4 for end in range(len(text)))
    return text[:fits] + " ..."


def draw_symbols(axis: Axes, probabilities: np.ndarray, encoder: CharEncoder, seconds_per_frame: float) -> list[str]:
    """Probability of each symbol of the best path over time, with the symbols written above their peaks.

    A symbol that would touch the one before it is written one line higher.

    Returns:
        what must be said about the curves, for a title.
    """
    seconds = (np.arange(len(probabilities)) + 0.5) * seconds_per_frame
    axis.plot(seconds, probabilities[:, encoder.blank_idx], color=GREY, linewidth=1, linestyle=":")
    path = probabilities.argmax(1).tolist()
    colours = _colours([symbol for symbol, _ in groupby(path) if symbol != encoder.blank_idx])
    for symbol, colour in colours.items():
        axis.plot(seconds, probabilities[:, symbol], color=colour, linewidth=1.3)
    inches = axis.get_position().width * axis.figure.get_figwidth()
    room = 0.1 / inches * seconds_per_frame * len(path)  # of a letter, in seconds
    before, higher, top = -room, False, probabilities.max()
    for symbol, frames in groupby(range(len(path)), key=lambda frame: path[frame]):
        if symbol != encoder.blank_idx:
            peak = max(frames, key=lambda frame: probabilities[frame, symbol])
            higher = seconds[peak] - before < room and not higher
            before, name = seconds[peak], visible(encoder.decode([symbol]))
            place = (before, top + (0.23 if higher else 0.07))
            axis.annotate(name, place, ha="center", va="baseline", fontsize=9, color=colours[symbol])
    axis.set(xlabel="time, s", ylabel="probability", ylim=(0, 1.36), yticks=(0, 0.5, 1))
    space = any(encoder.decode([symbol]) == " " for symbol in colours)
    repeat = len(set(colours.values())) < len(colours)
    return ["dotted: blank", *["␣: space"] * space, *["colours repeat"] * repeat]


def _colours(symbols: Sequence[int]) -> dict[int, str]:
    """A colour for each symbol of a text, if possible another one than those of its neighbours."""
    beside: dict[int, set[int]] = {symbol: set() for symbol in symbols}
    for one, other in pairwise(symbols):
        beside[one] |= {other} - {one}
        beside[other] |= {one} - {other}
    colours: dict[int, str] = {}
    for symbol in sorted(beside, key=lambda symbol: -len(beside[symbol])):  # first the one with most neighbours
        near, far = Counter(colours.get(other) for other in beside[symbol]), Counter(colours.values())
        colours[symbol] = min(OF_SYMBOLS, key=lambda colour: (near[colour], far[colour]))
    return colours


def tuning_surface(tuning: Tuning, caption: str = "measured here", measure: str = "WER") -> Figure:
    """Error rate on dev, 'WER' or 'CER', over alpha and beta; the chosen pair is marked."""
    figure, axes = new_figure(1, 1, (6, 4.8), caption)
    axis, rates = axes[0, 0], 100 * tuning.errors / tuning.words
    image = axis.imshow(rates, origin="lower", aspect="auto", cmap="cividis_r")
    middle = (rates.min() + rates.max()) / 2
    for (row, column), rate in np.ndenumerate(rates):
        axis.text(column, row, f"{rate:.1f}", ha="center", va="center", color="white" if rate > middle else "black", fontsize=9)
    alpha, beta = tuning.best
    place = tuning.betas.index(beta), tuning.alphas.index(alpha)
    axis.add_patch(Rectangle((place[0] - 0.5, place[1] - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2.5))
    axis.set_xticks(range(len(tuning.betas)), [f"{value:g}" for value in tuning.betas])
    axis.set_yticks(range(len(tuning.alphas)), [f"{value:g}" for value in tuning.alphas])
    counted = "words" if measure == "WER" else "characters"
    axis.set(xlabel=f"beta, weight of the number of {counted}", ylabel="alpha, weight of the language model")
    axis.set_title(f"{measure} on dev, %; chosen: alpha {alpha:g}, beta {beta:g}", fontsize=10)
    figure.colorbar(image, ax=axis, label=f"{measure}, %")
    return figure


# ---------------------------------------------------------------------------------------------
# Features and minibatches
# ---------------------------------------------------------------------------------------------


def waveform_to_features(sample: AudioSample, features: Features | None = None, caption: str = "measured here") -> Figure:
    """From samples to features (arXiv 3.1): waveform, one windowed frame, its power spectrum, all frames.

    Args:
        features: by default with ``n_fft`` 128; computed at the sample's rate.
    """
    features = replace(features or Features(n_fft=128), sample_rate=sample.sample_rate)
    rate, window, hop = features.sample_rate, features.window, features.hop
    audio = np.pad(sample.audio.numpy(), (0, max(0, window - len(sample.audio))))
    start = int(np.convolve(audio**2, np.ones(window), "valid").argmax()) // hop * hop  # the loudest frame
    frame = audio[start : start + window]
    windowed = frame * torch.hann_window(window).numpy()
    figure, axes = new_figure(2, 2, (WIDTH, 6), caption)
    (wave, one), (spectrum, all_frames) = axes
    wave.plot(np.arange(len(audio)) / rate, audio, linewidth=0.4, color=BLUE)
    wave.axvspan(start / rate, (start + window) / rate, color=ORANGE)
    wave.set(title="1. waveform; orange: the frame of plot 2", xlabel="time, s", ylabel="amplitude", xlim=(0, sample.seconds))
    milliseconds = 1000 * np.arange(window) / rate
    one.plot(milliseconds, frame, color=GREY, linewidth=1, label=f"{features.window_ms:g} ms of the waveform")
    one.plot(milliseconds, windowed, color=ORANGE, label="times the Hann window")
    title = f"2. one frame; the next begins {features.stride_ms:g} ms later"
    one.set(title=title, xlabel="time within the frame, ms", ylabel="amplitude")
    _draw_spectrum(spectrum, windowed, features)
    for axis in (one, spectrum):
        _legend_above_the_curves(axis)
    values = features(sample.audio).numpy()
    draw_spectrogram(all_frames, values, sample, features)
    over = "mean 0 and variance 1" if features.corpus is None else "normalised over the corpus"
    all_frames.set(title=f"4. features of {sample.transcript!r}:\n{values.shape[0]} bins, {values.shape[1]} frames, {over}")
    figure.colorbar(all_frames.images[0], ax=all_frames, label="normalised log power")
    for axis in axes.flat:
        axis.title.set_fontsize(10)
    return figure


def _legend_above_the_curves(axis: Axes) -> None:
    """A legend, with room made for it above the curves."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))
    axis.legend(frameon=False, fontsize=9, loc="upper left", borderaxespad=0.1)


def _draw_spectrum(axis: Axes, windowed: np.ndarray, features: Features) -> None:
    """Log power of a windowed frame: the fine curve, and the points of it that ``n_fft`` keeps."""
    n_fft, fine = features.n_fft, 16 * features.n_fft
    for points, style in ((fine, {"color": GREY, "linewidth": 1}), (n_fft, {"color": RED, "marker": ".", "linestyle": ""})):
        folded = np.pad(windowed, (0, -len(windowed) % points)).reshape(-1, points).sum(0)
        log_power = 10 * np.log10(np.abs(np.fft.rfft(folded)) ** 2 + 1e-8)
        label = f"the {features.bins} bins that are kept" if points == n_fft else "spectrum of the frame"
        axis.plot(np.linspace(0, features.sample_rate / 2000, points // 2 + 1), log_power, label=label, **style)
    axis.set(title="3. log power at each frequency of that frame", xlabel="frequency, kHz", ylabel="power, dB")


def sortagrad(seconds: Sequence[float], batch_size: int = 8, caption: str = "measured here") -> Figure:
    """Order of the minibatches in the first and the second epoch (arXiv 3.3), and the padding that each order costs."""
    sampler = SortaGradBatchSampler(seconds, batch_size)
    figure, axes = new_figure(1, 3, (WIDTH, 3.3), caption, gridspec_kw={"width_ratios": [2, 2, 1.7]})
    lengths, shares = np.asarray(seconds), {}
    for epoch, axis in enumerate(axes[0, :2]):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        shares["epoch 1:\nsorted" if epoch == 0 else "later epochs:\nsimilar lengths"] = _padding_share(lengths, batches)
        places = range(1, len(batches) + 1)
        axis.bar(places, [lengths[b].max() for b in batches], color=ORANGE, width=1, label="longest: all are padded to it")
        axis.bar(places, [lengths[b].mean() for b in batches], color=BLUE, width=1, label="mean")
        titles = ("epoch 1: from short to long", "epoch 2: similar lengths together,\nminibatches shuffled")
        axis.set_title(titles[epoch], fontsize=10)
        axis.set(xlabel="minibatch", ylabel="length of utterances, s", ylim=(0, 1.3 * lengths.max()))
    axes[0, 0].legend(frameon=False, fontsize=9, loc="upper left", borderaxespad=0)
    order = np.random.default_rng(0).permutation(len(lengths))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    shares["without\nsorting"] = _padding_share(lengths, batches)
    bars = axes[0, 2].barh(list(shares), [100 * share for share in shares.values()], color=GREY)
    axes[0, 2].bar_label(bars, fmt="%.1f %%", padding=3)
    axes[0, 2].set_title("padding in each order", fontsize=10)
    axes[0, 2].set(xlim=(0, 140 * max(0.01, *shares.values())), xlabel="padding, % of all frames")
    axes[0, 2].invert_yaxis()
    return figure


def _padding_share(lengths: np.ndarray, batches: Sequence) -> float:
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    return 1 - float(lengths.sum() / padded)


# ---------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------


@dataclass
class _LayerRow:
    """A row of ``architecture``: the layer, the shape of its output, feature frames per output frame, weights."""

    name: str
    shape: str
    stride: int
    weights: int
    colour: str


def architecture(model: DeepSpeech2, sample_rate: int | None = None, caption: str = "drawn from the model itself") -> Figure:
    """The layers of the network from bottom to top, with kernels, strides, shapes, frame rates and weights."""
    frames, hop = 300, model.features.seconds_per_frame
    rows = _layer_rows(model, frames, sample_rate or model.features.sample_rate)
    size = (WIDTH, 0.66 * len(rows) + 1.0)
    figure, axes = new_figure(1, 2, size, caption, sharey=True, gridspec_kw={"width_ratios": [7, 2]})
    blocks, bars = axes[0]
    for place, row in enumerate(rows):
        blocks.add_patch(Rectangle((0, place - 0.33), 4, 0.66, facecolor=row.colour, alpha=0.4, edgecolor=row.colour))
        blocks.text(0.05, place, row.name, va="center", fontsize=10)
        blocks.text(4.1, place, row.shape, va="center", fontsize=10)
        blocks.text(6.4, place, f"{1000 * row.stride * hop:g} ms", va="center", fontsize=10)
        if place:
            blocks.annotate("", (2, place - 0.33), (2, place - 0.67), arrowprops={"arrowstyle": "->", "color": GREY})
    for x, heading in ((4.1, f"what comes out for {frames}\nframes (ch.: channels)"), (6.4, "a frame\nevery")):
        blocks.text(x, -0.55, heading, va="bottom", fontsize=10, color=GREY)
    weights = [row.weights for row in rows]
    drawn = bars.barh(range(len(rows)), weights, color=GREY, height=0.4)
    bars.bar_label(drawn, [f"{n:,}" if n else "none" for n in weights], padding=3, fontsize=10)
    bars.text(0, -0.55, f"weights,\n{sum(weights):,} in all", va="bottom", fontsize=10, color=GREY)
    blocks.set(xlim=(0, 7), ylim=(len(rows) - 0.5, -1.2))
    bars.set(xlim=(0, 1.7 * max(weights)))
    for axis in axes[0]:
        axis.axis("off")
    return figure


def _layer_rows(model: DeepSpeech2, frames: int, sample_rate: int) -> list[_LayerRow]:
    """All layers, with the shapes that this many feature frames take."""
    khz, bins, stride, lengths = sample_rate / 2000, model.n_freq, 1, torch.tensor([frames])
    rows = [_LayerRow(f"log power spectrogram, 0 to {khz:g} kHz", f"{bins} bins × {frames}", stride, 0, GREY)]
    for block, layer in zip(model.convolutions, model.specification, strict=True):
        lengths, stride = block.output_lengths(lengths), stride * layer.stride[1]
        (height, width), (down, along) = layer.kernel, layer.stride
        bins = -(-bins // down) if height else 1  # a 1D convolution takes all bins together
        name = f"convolution {height}×{width} (frequency×time), stride {down}×{along}"
        if not height:
            name = f"1D convolution over {width} frames, stride {along}"
        if isinstance(model, DeepSpeech1):  # its layers are convolutions over spliced frames, or over one frame
            name = f"feed-forward, {width} spliced frames, stride {along}" if width > 1 else "feed-forward"
        shape = f"{layer.channels} ch. × {bins} bins × {int(lengths)}" if height else f"{layer.channels} ch. × {int(lengths)}"
        placed = f"{_placement(block)}, clipped ReLU"
        rows.append(_LayerRow(f"{name},\n{placed}", shape, stride, _weights(block), BLUE))
    for layer in model.recurrences:
        kind, units = layer.rnn_type.upper(), layer.hidden_size
        name = f"→ ← bidirectional {kind}, {units} units each way" if layer.bidirectional else f"→ forward {kind}, {units} units"
        clipped = "clipped ReLU" if layer.batch_norm == "output" or layer.rnn_type == "rnn" else ""
        summed = "sum of both" if layer.bidirectional and layer.batch_norm != "output" else ""
        placed = ", ".join(filter(None, (_placement(layer), clipped, summed)))
        shape = f"{layer.output_size} × {int(lengths)}"
        rows.append(_LayerRow(f"{name},\n{placed}", shape, stride, _weights(layer), GREEN))
    if (row := model.row_convolution) is not None:
        name = f"row convolution (Eq. 11), {row.lookahead} frames ahead"
        rows.append(_LayerRow(name, f"{row.features} × {int(lengths)}", stride, _weights(row), RED))
    if (connected := model.fully_connected) is not None:
        units = connected[0].out_features
        rows.append(_LayerRow("fully connected, clipped ReLU", f"{units} × {int(lengths)}", stride, _weights(connected), ORANGE))
    shape = f"{model.vocab_size} symbols × {int(lengths)}"
    return [*rows, _LayerRow("linear, log-softmax", shape, stride, _weights(model.output), ORANGE)]


def _placement(layer: ConvBlock | RecurrentLayer) -> str:
    """Where a layer applies batch norm."""
    if not isinstance(layer.norm, SequenceBatchNorm):
        return "no batch norm"
    placements = {"input": "batch norm on W h (Eq. 8)", "step": "batch norm at each step (Eq. 7)"}
    return placements.get(getattr(layer, "batch_norm", ""), "batch norm")


def _weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def first_layer_filters(model: DeepSpeech2, sample_rate: int | None = None, caption: str = "measured here") -> Figure:
    """The strongest kernels that the first convolution has learnt: time to the right, frequency upwards."""
    weights, one_d = model.convolutions[0].conv.weight.detach().cpu().numpy(), model.specification[0].kernel[0] == 0
    kernels = weights[:, :, 0] if one_d else weights[:, 0]  # (C, bins, frames); 1D: all bins of the features
    count, height, width = kernels.shape
    figure, axes = new_figure(4, 8, (WIDTH, 7), caption, sharex=True, sharey=True)
    khz = (sample_rate or model.features.sample_rate) / 2000 / (model.n_freq - 1) * height / 2
    milliseconds = 1000 * model.features.seconds_per_frame * width / 2
    bottom, top, label = (0, 2 * khz, "frequency, kHz") if one_d else (-khz, khz, "frequency, kHz\nfrom the centre")
    order = np.argsort(-np.square(kernels).sum((1, 2)))[: axes.size]  # the strongest first
    reach = float(np.quantile(np.abs(kernels[order]), 0.998))  # one scale for all
    for axis in axes.flat[len(order) :]:
        axis.axis("off")
    for axis, index in zip(axes.flat, order, strict=False):
        extent = (-milliseconds, milliseconds, bottom, top)
        image = axis.imshow(kernels[index], origin="lower", aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent)
    figure.colorbar(image, ax=axes, extend="both", label="weight", fraction=0.02, pad=0.01)
    for axis in axes.flat:
        axis.set_ylabel(label)
        axis.label_outer(remove_inner_ticks=True)
    axes[-1, 3].set_xlabel("time from the centre, ms", x=1.15)  # one for all
    which = "First convolution" if count <= axes.size else f"First convolution, the {axes.size} strongest of {count} kernels"
    stripes = "A horizontal stripe responds to a steady tone; a vertical one would respond to the start or end of a sound."
    figure.suptitle(f"{which}: red weights add, blue ones subtract.\n{stripes}", fontsize=11)
    return figure


def activations(
    model: DeepSpeech2, samples: Sequence[AudioSample], encoder: CharEncoder, caption: str = "measured here"
) -> Figure:
    """What batch norm does in each layer: values before and after it, and the share that the clipped ReLU cuts.

    For a layer without batch norm, or with one at each step (Eq. 7): the input of its clipped ReLU, or else its output.
    """
    layers = [*model.convolutions, *model.recurrences]
    seen = _seen_values(model, layers, samples, encoder)
    shown = [values for both in seen for values in both if values is not None]
    reach = math.ceil(max(np.abs(np.quantile(values, (0.1, 0.9))).max() for values in shown))  # one scale for all
    told = f"{caption}. Beside: mean ± standard deviation. Beyond ±{reach} nothing is drawn. Each plot has its own height."
    figure, axes = new_figure(len(layers), 2, (WIDTH, 1.15 * len(layers) + 1), told, sharex=True)
    below_recurrence = "feed-forward" if isinstance(model, DeepSpeech1) else "convolution"
    for number, (layer, (left, right), (before, after)) in enumerate(zip(layers, axes, seen, strict=True), start=1):
        kind = layer.rnn_type.upper() if isinstance(layer, RecurrentLayer) else below_recurrence
        left.set_title(f"layer {number}: {kind}", loc="left", fontsize=10)
        if before is None:
            left.axis("off")
            left.text(0.5, 0.5, textwrap.fill(_placement(layer), 18), ha="center", va="center", transform=left.transAxes)
        else:
            _draw_histogram(left, before, reach, GREY, "before")
        relu = isinstance(layer.activation, ClippedReLU)
        name, more = "after" if before is not None else "before the ReLU" if relu else "output", ""
        if relu:
            right.axvspan(-reach, 0, color=ORANGE, alpha=0.25, linewidth=0)
            zero, over = (after < 0).mean(), (after > layer.activation.clip).mean()
            more = f"\n{100 * zero:.0f} % become 0\n{100 * over:.2g} % exceed {layer.activation.clip:g}"
        _draw_histogram(right, after, reach, BLUE, name, more)
    if any(layer.rnn_type == "gru" and layer.batch_norm == "output" for layer in model.recurrences):
        figure.suptitle("Before batch norm a GRU's output lies between -1 and 1, since its candidate is a tanh.", fontsize=11)
    axes[0, 0].set_xlim(-reach, reach)
    axes[-1, 0].set(xlabel="value before batch norm")
    axes[-1, 1].set(xlabel=("value after batch norm" if seen[0][0] is not None else "value") + " (beige: the ReLU makes it 0)")
    return figure


def _draw_histogram(axis: Axes, values: np.ndarray, reach: int, colour: str, name: str, more: str = "") -> None:
    """Draws the values up to ``reach``; writes beside them their mean, their standard deviation, and more."""
    parts = max(1, round(40 / reach))  # of 1, so that a bin ends there
    axis.hist(
        values, bins=np.arange(-reach * parts, reach * parts + 1) / parts, color=colour, density=True, histtype="stepfilled"
    )
    text = f"{name}: {values.mean().round(2) + 0.0:.2f} ± {values.std():.2f}{more}"  # + 0.0: no -0.00
    axis.text(1.02, 0.5, text, va="center", fontsize=9, transform=axis.transAxes)
    axis.set(yticks=[], ylabel="share")


Layer = ConvBlock | RecurrentLayer


@torch.no_grad()
def _seen_values(
    model: DeepSpeech2, layers: Sequence[Layer], samples: Sequence[AudioSample], encoder: CharEncoder
) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Input and output of each batch norm; for a layer without one None, and the output of its convolution or recurrence."""
    seen: dict[int, tuple[np.ndarray | None, np.ndarray]] = {}
    hooks = [_watched(layer).register_forward_hook(_keep_valid(seen, i)) for i, layer in enumerate(layers)]
    batch = collate_batch(list(samples), encoder, features=model.features).to(next(model.parameters()).device)
    was_training = model.training
    with plain_definitions():  # then batch norm is a module of its own, on every machine
        model.eval()(batch.features, batch.feature_lengths)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return [seen[i] for i in range(len(layers))]


def _watched(layer: Layer) -> torch.nn.Module:
    """The batch norm of a layer if it covers all frames, else the layer."""
    own = isinstance(layer.norm, SequenceBatchNorm) and getattr(layer, "batch_norm", "") != "step"
    return layer.norm if own else layer


def _keep_valid(seen: dict, number: int) -> Callable:
    """A hook for ``_watched``: keeps the values in frames that are not padding."""

    def hook(module: torch.nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        x, lengths = inputs
        if isinstance(module, SequenceBatchNorm):
            seen[number] = _of_speech(x, lengths), _of_speech(output, lengths)
        elif isinstance(module, ConvBlock):  # its output has passed the clipped ReLU
            before_relu = module.conv(x.reshape(len(x), module.conv.in_channels, -1, x.shape[3]))
            seen[number] = None, _of_speech(before_relu, output[1])
        else:
            seen[number] = None, _of_speech(output, lengths)

    return hook


def _of_speech(values: Tensor, lengths: Tensor) -> np.ndarray:
    """All values (T, B, H) or (B, C, F, T) that are not padding, in a row."""
    by_utterance = values.permute(1, 0, 2) if values.dim() == 3 else values.permute(0, 3, 1, 2).flatten(2)  # (B, T, ...)
    return by_utterance[sequence_mask(lengths, by_utterance.shape[1])].flatten().float().cpu().numpy()


# ---------------------------------------------------------------------------------------------
# Looking ahead
# ---------------------------------------------------------------------------------------------

DEPLOYED_LOOKAHEAD = 19  # tau of the model that the authors deployed [paper, Section 7.4]


def row_convolution(model: DeepSpeech2, caption: str = "drawn from the model itself") -> Figure:
    """Above: an example of a row convolution (Eq. 11); below: the audio that an output frame of this model waits for.

    If the model has no row convolution, the picture shows what the paper's would wait for.
    """
    figure, axes = new_figure(2, 1, (WIDTH, 8), caption, gridspec_kw={"height_ratios": [1.1, 1]})
    _draw_lookahead(axes[0, 0])
    _draw_waits(axes[1, 0], _waits(model))
    return figure


@torch.no_grad()
def _draw_lookahead(axis: Axes, present: int = 2) -> None:
    """Three features, each with its own filter over the present frame and the next two; r is the layer's output."""
    h = torch.tensor([[0, 2, 1, 3, 1, 0, 2], [1, 0, 2, 2, 0, 1, 3], [2, 1, 3, 1, 0, 2, 1]]).float()  # (H, T)
    layer = RowConvolution(features=3, lookahead=2)
    layer.weight.copy_(torch.tensor([[1, 2, 1], [2, 0, 3], [1, 0, 0]]))
    r, frames, window = layer(h.t()[:, None])[:, 0].t(), h.shape[1], layer.lookahead + 1  # r: (H, T)
    padded = torch.nn.functional.pad(h, (0, layer.lookahead))
    for row, colour in enumerate((BLUE, ORANGE, GREEN)):
        marked = range(present, present + window)
        _draw_cells(axis, padded[row], 0, row, colour, marked, empty=frames)
        _draw_cells(axis, layer.weight[row], present, row + 4.2, colour, range(window))
        _draw_cells(axis, r[row], 0, row + 8.4, colour, (present,))
        products = " + ".join(f"{w:g}·{x:g}" for w, x in zip(layer.weight[row], padded[row, present:], strict=False))
        axis.text(present + window + 0.3, row + 4.7, f"{products} = {r[row, present]:g}", va="center", fontsize=9)
    for place, name in ((-0.25, "h, the output of the last recurrent layer: a row for each feature, time to the right"),
                        (3.95, f"W, times the present frame and the next {layer.lookahead}, row by row"),
                        (8.15, "r, the input of the next layer")):  # fmt: skip
        axis.text(0, place, name, va="bottom", fontsize=9)
    axis.text(frames + 0.5 * layer.lookahead, 3.1, "zeros after\nthe end", ha="center", va="top", fontsize=9, color=GREY)
    axis.set(xlim=(-0.1, frames + layer.lookahead + 0.1), ylim=(11.6, -0.9))
    axis.set_title("a row convolution, for example with tau = 2", fontsize=11)
    axis.axis("off")


def _draw_cells(
    axis: Axes, values: Tensor, left: int, top: float, colour: str, marked: Sequence[int], empty: int | None = None
) -> None:  # fmt: skip
    """A row of numbers, some of them marked; from ``empty`` on they are not frames."""
    for place, value in enumerate(values.tolist()):
        outside = empty is not None and place >= empty
        style = {"facecolor": colour if place in marked else "white", "alpha": 0.45 if place in marked else 1}
        edge = {"edgecolor": GREY, "linewidth": 0.8, "linestyle": ":" if outside else "-"}
        axis.add_patch(Rectangle((left + place, top), 1, 1, **style, **edge))
        axis.text(left + place + 0.5, top + 0.5, f"{value:g}", ha="center", va="center", color=GREY if outside else "black")


@dataclass
class _Wait:
    """What a layer waits for: a number of frames, or one window, and the milliseconds of each."""

    name: str
    frames: int
    milliseconds: float
    colour: str


def _waits(model: DeepSpeech2) -> list[_Wait]:
    """What each layer of a forward-only model waits for after the present frame, from the features upwards."""
    features, hop = model.features, 1000 * model.features.seconds_per_frame
    waits = [_Wait("window of\nthe features", 1, 1000 * features.window / features.sample_rate, GREY)]
    for number, block in enumerate(model.convolutions, start=1):
        kernel, stride, padding = (size[1] for size in (block.conv.kernel_size, block.conv.stride, block.conv.padding))
        if kernel > 1:
            waits.append(_Wait(f"convolution {number},\nkernel of {kernel}", kernel - 1 - padding, hop, BLUE))
        hop *= stride
    waits.append(_Wait("recurrent layers,\nforward only", 0, hop, GREEN))
    row = model.row_convolution
    name = f"tau = {row.lookahead}" if row else f"the paper's tau = {DEPLOYED_LOOKAHEAD}"
    return [*waits, _Wait(f"row convolution,\n{name}", row.lookahead if row else DEPLOYED_LOOKAHEAD, hop, RED)]


def _draw_waits(axis: Axes, waits: Sequence[_Wait]) -> None:
    """A row for each layer, which begins where the row above it ends; each cell is an input frame of the layer."""
    start, total = 0.0, sum(wait.frames * wait.milliseconds for wait in waits)
    for place, wait in enumerate(waits):
        axis.plot((start, start), (place - 0.75, place + 0.25), color=GREY, linewidth=0.8, linestyle=":")
        length, height = wait.frames * wait.milliseconds, place - 0.24 if wait.frames else place
        told = f"{length:.4g} ms" if wait.frames else "they wait for nothing"
        told = f"{wait.frames} more frames, {wait.milliseconds:.4g} ms apart: {told}" if wait.frames > 1 else told
        x, side = (start + 0.007 * total, "left") if start < 0.55 * total else (start - 0.007 * total, "right")
        axis.text(x, height, told, va="bottom" if wait.frames else "center", ha=side, fontsize=9)
        for _ in range(wait.frames):
            cell = Rectangle((start, place - 0.22), wait.milliseconds, 0.47, facecolor=wait.colour, alpha=0.55, edgecolor="white")
            axis.add_patch(cell)
            start += wait.milliseconds
    before = total - waits[-1].frames * waits[-1].milliseconds
    title = f"an output frame needs {total:.4g} ms of audio;\nwithout the row convolution it would need {before:.4g} ms"
    axis.set_title(title, fontsize=11)
    axis.set(xlim=(0, 1.02 * total), ylim=(len(waits) - 0.5, -0.75), xlabel="audio since the output frame began, ms")
    axis.set_yticks(range(len(waits)), [wait.name for wait in waits], fontsize=9)
    axis.tick_params(left=False)
    axis.spines["left"].set_visible(False)


# ---------------------------------------------------------------------------------------------
# Output, alignment, search
# ---------------------------------------------------------------------------------------------


def ctc_output(model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, caption: str = "measured here") -> Figure:
    """The output of a trained model for an utterance: features, symbols, and the likeliest path that spells the transcript.

    Below, each row is a state of the extended label (blanks between all labels). Blue shows, of all paths that spell the
    transcript, the share in that state in that frame; the line is the likeliest of them, the Viterbi path (Eq. 13).
    """
    features, log_probs = output_of(model, sample, encoder)
    target = encoder.encode(sample.transcript)
    states, path = _state_shares(log_probs, target).numpy().T, forced_alignment(log_probs, target)  # (S, T'), (T',)
    seconds_per_frame = model.seconds_per_output
    figure, axes = new_figure(3, 1, (WIDTH, 8.5), caption, sharex=True, gridspec_kw={"height_ratios": [1.2, 1, 2.2]})
    above, middle, below = axes[:, 0]
    draw_spectrogram(above, features, sample, model.features)
    above.set_title(f"spoken: {sample.transcript} (bright: strong)", loc="left", fontsize=10)
    told = "; ".join(draw_symbols(middle, log_probs.exp().numpy(), encoder, seconds_per_frame))
    middle.set_title(f"probability of each symbol ({told})", loc="left", fontsize=10)
    end = len(path) * seconds_per_frame
    below.imshow(states, origin="upper", aspect="auto", cmap="Blues", extent=(0, end, len(states) - 0.5, -0.5), vmin=0, vmax=1)
    seconds = (np.arange(len(path)) + 0.5) * seconds_per_frame
    below.plot(seconds, path, color=RED, marker="o", markersize=3, linewidth=1.2)
    below.set_yticks(range(1, len(states), 2), [visible(encoder.decode([label])) for label in target], fontsize=9)
    below.set(xlabel="time, s", ylabel="letter, or blank between", xlim=(0, seconds_shown(sample, log_probs, model)))
    title = "blue: all paths that spell the transcript, darker where they are more probable;\n"
    below.set_title(title + "red: the most probable path (Eq. 13); rows without a letter: blanks", loc="left", fontsize=10)
    above.set_xlabel("")
    middle.set_xlabel("")
    return figure


def _state_shares(log_probs: Tensor, target: Sequence[int]) -> Tensor:
    """(T', S): the share of all paths that spell the target, weighted by probability, in each state in each frame.

    ``alpha_t(s) beta_t(s) / y_t``, divided by its sum over s (Graves et al. 2006, Eq. 14).
    """
    lengths = torch.tensor([len(log_probs)]), torch.tensor([len(target)])
    arguments = (log_probs.double()[:, None], torch.tensor(target), *lengths)
    both = ctc_forward_variables(*arguments) + ctc_backward_variables(*arguments)  # (T', 1, S); both count frame t
    return (both[:, 0] - log_probs[:, extend_target(target)]).nan_to_num(nan=-math.inf).softmax(1)


def alignment(
    model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, text: str | None = None, caption: str = "measured here"
) -> Figure:
    """Features with the times of each character and word of ``text`` (default: the transcript), from forced alignment."""
    features, log_probs = output_of(model, sample, encoder)
    characters = character_times(log_probs, text or sample.transcript, encoder, model.seconds_per_output)
    told = f"{caption}. Gaps: blanks, or the space between words. A word goes from the space before it to the space after it."
    figure, axes = new_figure(3, 1, (WIDTH, 4.7), told, sharex=True, gridspec_kw={"height_ratios": [4, 0.6, 1.4]})
    above, letters, words = axes[:, 0]
    draw_spectrogram(above, features, sample, model.features)
    above.set_xlabel("")
    spoken = [unit for unit in characters if not unit.text.isspace()]
    _draw_spans(letters, [(unit, unit.text) for unit in spoken])
    _draw_spans(words, [(word, f"{word.text}\n{word.start:.2f}-\n{word.end:.2f} s") for word in word_times(characters)])
    letters.set_ylabel("letters", rotation=0, ha="right", va="center")
    words.set_ylabel("words", rotation=0, ha="right", va="center")
    words.set(xlabel="time, s", xlim=(0, sample.seconds))
    return figure


def _draw_spans(axis: Axes, spans: Sequence[tuple[AlignedText, str]]) -> None:
    """A box with a label for each piece of time."""
    for unit, label in spans:
        axis.axvspan(unit.start, unit.end, facecolor=(BLUE, 0.4), edgecolor="white", linewidth=2)
        axis.text((unit.start + unit.end) / 2, 0.5, label, ha="center", va="center", fontsize=9)
    last = axis.get_subplotspec().is_last_row()
    axis.set(ylim=(0, 1), yticks=[])
    axis.tick_params(bottom=last)
    axis.spines["bottom"].set_visible(last)
    axis.spines["left"].set_visible(False)


def beam_tree(
    model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, beam_width: int = 4, caption: str = "measured here"
) -> Figure:
    """Prefix beam search of a short utterance as a tree. Each line is a prefix, from the frame where it entered the beam to
    the frame where it left; the letter is what it adds; a branch off the winner shows its whole prefix.
    """
    rows = output_of(model, sample, encoder)[1].double().numpy()
    beams = [prefix_beam_search(rows[:frames], beam_width) for frames in range(1, len(rows) + 1)]  # the beam after each frame
    first, last = {(): 0}, {(): 0}
    for frame, beam in enumerate(beams, start=1):
        for hypothesis in beam:
            first.setdefault(hypothesis.labels, frame)
            last[hypothesis.labels] = frame
    winner, place = beams[-1][0].labels, _tree_places(first, beams[-1][0].labels)
    start = _tree_starts(first, place)
    figure, ((axis,),) = new_figure(1, 1, (WIDTH, 1.5 + 0.2 * len(place)), caption)
    for prefix, row in place.items():
        on_path = winner[: len(prefix)] == prefix
        style = {"color": BLUE if on_path else GREY, "linewidth": 2 if on_path else 0.8}
        axis.plot((start[prefix], last[prefix] + 1), (row, row), **style)
        if prefix:
            axis.plot((start[prefix],) * 2, (place[prefix[:-1]], row), **style)
            name = visible(encoder.decode(prefix if not on_path and place[prefix[:-1]] == 0 else prefix[-1:]))
            axis.text(start[prefix] + 0.1, row - 0.1, name, va="bottom", fontsize=9, color=style["color"])
    below = -1.0  # no text at the end lies on the one above
    for labels, log_ctc in sorted(((h.labels, h.log_ctc) for h in beams[-1]), key=lambda found: place[found[0]]):
        text = f"{visible(encoder.decode(labels))!r}  {np.exp(log_ctc):.2g}"
        below, weight = max(place[labels], below + 1), "bold" if labels == winner else "normal"
        axis.text(len(rows) + 1.1, below, text, va="center", fontsize=9, weight=weight)
    axis.set(xlabel="output frame", xlim=(0, 1.25 * len(rows)), ylim=(max(place.values()) + 1, -1.2))
    title = (
        f"spoken: {sample.transcript}. A line: a prefix while it is among the {beam_width} likeliest.\n"
        "Blue: all prefixes of the winner share this line. A branch begins with its whole prefix, then\n"
        "adds letters (␣: space). Right: final texts, their probability."
    )
    axis.set_title(title, fontsize=10, loc="left")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    return figure


def _tree_places(first: dict[tuple[int, ...], int], winner: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    """A row for each prefix: the winner on row 0, the other branches below, those that branch off last on top.

    So the way down to a branch crosses no other: all above it begin later.
    """
    children: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for prefix in sorted(first, key=lambda p: -first[p]):
        if prefix:
            children.setdefault(prefix[:-1], []).append(prefix)
    place: dict[tuple[int, ...], int] = {winner[:end]: 0 for end in range(len(winner) + 1)}
    stack = [p for p in sorted(first, key=lambda p: -first[p]) if p not in place and p[:-1] in place]
    while stack:
        prefix = stack.pop(0)
        place[prefix] = len(place) - len(winner)
        stack = children.get(prefix, []) + stack
    return place


def _tree_starts(first: dict[tuple[int, ...], int], place: dict[tuple[int, ...], int]) -> dict[tuple[int, ...], float]:
    """Where each prefix begins: in its first frame; of those that branch off together, the lower one a little further left.

    So the way down to a branch doesn't touch the beginning of another.
    """
    together: Counter[tuple[int, int]] = Counter()
    start = {}
    for prefix in sorted(place, key=place.get):
        branching = place.get(prefix[:-1], 0), first[prefix]
        start[prefix] = first[prefix] - 0.12 * together[branching]
        together[branching] += place[prefix] > 0
    return start
