"""Pictures of speech, models and runs. Each shows measured values; its caption says of what.

Every function returns a ``matplotlib.figure.Figure``: a notebook shows it, a script saves it with ``figure.savefig(path)``.
The tables of the paper are drawn by ``pictures/paper_charts.py``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from itertools import cycle, groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from implementation import (
    AudioSample,
    BidirectionalRNNLayer,
    CharEncoder,
    ClippedReLU,
    DeepSpeech2,
    SortaGradBatchSampler,
    character_times,
    collate_batch,
    compute_spectrogram,
    extend_target,
    forced_alignment,
    prefix_beam_search,
    sequence_mask,
    word_times,
)

if TYPE_CHECKING:
    from decoding.tuning import Tuning

# Colours that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
HOP_SECONDS = 0.01  # of compute_spectrogram


def new_figure(
    rows: int, columns: int, size: tuple[float, float], caption: str, **subplots: object
) -> tuple[Figure, np.ndarray]:
    """An empty figure in the house's style and its (rows, columns) axes; ``caption`` stands below and says what was measured."""
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    if caption:
        lines = textwrap.fill(caption, int(15 * size[0]))  # 15 letters of this size to an inch
        figure.supxlabel(lines, fontsize=8, color=GREY, x=0.01, ha="left")
    return figure, axes


def visible(text: str) -> str:
    """The text with its spaces to be seen."""
    return text.replace(" ", "␣")


@torch.no_grad()
def _output(model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder) -> tuple[np.ndarray, Tensor]:
    """Features (F, T) and log-probabilities (T', V) of one utterance, by the model as it is used, in evaluation."""
    was_training = model.training
    batch = collate_batch([sample], encoder, n_fft=2 * (model.n_freq - 1)).to(next(model.parameters()).device)
    log_probs, _ = model.eval()(batch.features, batch.feature_lengths)
    model.train(was_training)
    return batch.features[0, 0].cpu().numpy(), log_probs[:, 0].cpu()


def draw_spectrogram(axis: Axes, features: np.ndarray, sample: AudioSample) -> None:
    """Features (F, T) over seconds and kHz."""
    extent = (0.0, sample.seconds, 0.0, sample.sample_rate / 2000)
    axis.imshow(features, origin="lower", aspect="auto", extent=extent, cmap="magma")
    axis.set(ylabel="frequency, kHz", xlabel="time, s")


# ---------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------


def training_curves(history: Sequence[dict], caption: str = "measured here") -> Figure:
    """Loss, error rates and blank share by epoch, from the lines of metrics.jsonl."""
    epochs = [line["epoch"] for line in history]
    figure, axes = new_figure(1, 3, (12, 3.6), caption)
    left, middle, right = axes[0]
    style = {"marker": "o", "markersize": 3}
    left.plot(epochs, [line["loss"] for line in history], color=BLUE, label="training (augmented)", **style)
    left.plot(epochs, [line["dev_loss"] for line in history], color=ORANGE, label="dev", **style)
    left.set(ylabel="CTC loss, nats per utterance", yscale="log")
    middle.plot(epochs, [100 * line["dev_wer"] for line in history], color=RED, label="dev WER", **style)
    middle.plot(epochs, [100 * line["dev_cer"] for line in history], color=BLUE, label="dev CER", **style)
    middle.set(ylabel="error rate, %", ylim=(0, None))
    right.plot(epochs, [100 * line["blank_share"] for line in history], color=GREY, label="dev", **style)
    right.set(ylabel="blank frames of the best path, %", ylim=(0, 100))
    for axis in axes[0]:
        axis.set(xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            axis.set_xticks(epochs)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return figure


def predictions(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, result: dict, caption: str = "measured here"
) -> Figure:
    """Three utterances, the worst, the middle and the best of an evaluation: features above, output symbols below.

    Args:
        result: what ``evaluate`` returned for this model and dataset.
    """
    ranked = result["words"].from_worst_to_best()
    chosen = list(dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])))
    figure, axes = new_figure(2, len(chosen), (5 * len(chosen), 6), caption)
    for (above, below), index in zip(axes.T, chosen, strict=True):
        features, log_probs = _output(model, dataset[index], encoder)
        draw_spectrogram(above, features, dataset[index])
        texts = {"REF": result["references"][index], "HYP": result["hypotheses"][index]}
        title = "\n".join(_shortened(f"{kind} {text}") for kind, text in texts.items())
        above.set_title(title, loc="left", family="monospace", fontsize=9)
        _draw_symbols(below, log_probs.exp().numpy(), encoder, model.time_stride * HOP_SECONDS)
        below.set(xlim=(0, dataset[index].seconds))
    return figure


def _shortened(text: str, width: int = 58) -> str:
    """As much of a line as fits above a picture."""
    return text if len(text) <= width else text[: width - 4] + " ..."


def _draw_symbols(axis: Axes, probabilities: np.ndarray, encoder: CharEncoder, seconds_per_frame: float) -> None:
    """Probability of each symbol of the best path over time, the symbols written above their peaks."""
    seconds = (np.arange(len(probabilities)) + 0.5) * seconds_per_frame
    axis.plot(seconds, probabilities[:, encoder.blank_idx], color=GREY, linewidth=1, linestyle=":", label="blank")
    path = probabilities.argmax(1)
    colours = dict(zip(dict.fromkeys(path[path != encoder.blank_idx].tolist()), cycle((BLUE, ORANGE, GREEN, RED)), strict=False))
    for symbol, colour in colours.items():
        axis.plot(seconds, probabilities[:, symbol], color=colour, linewidth=1.3)
    for symbol, frames in groupby(range(len(path)), key=lambda frame: path[frame]):
        if symbol != encoder.blank_idx:
            peak = max(frames, key=lambda frame: probabilities[frame, symbol])
            name = visible(encoder.decode([symbol]))
            axis.annotate(name, (seconds[peak], 1.03), ha="center", fontsize=9, color=colours[symbol])
    axis.set(xlabel="time, s", ylabel="probability", ylim=(0, 1.12))
    axis.legend(loc="upper right", bbox_to_anchor=(1, -0.12), frameon=False, fontsize=8)


def tuning_surface(tuning: Tuning, caption: str = "measured here") -> Figure:
    """Word error rate on dev over alpha and beta, the chosen pair marked."""
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
    axis.set(xlabel="beta, weight of the number of words", ylabel="alpha, weight of the language model")
    axis.set_title(f"WER on dev, %; chosen: alpha {alpha:g}, beta {beta:g}", fontsize=10)
    figure.colorbar(image, ax=axis)
    return figure


# ---------------------------------------------------------------------------------------------
# Features and minibatches
# ---------------------------------------------------------------------------------------------


def waveform_to_features(sample: AudioSample, n_fft: int = 128, caption: str = "measured here") -> Figure:
    """The way from samples to features (arXiv 3.1): waveform, one windowed frame, its power spectrum, all frames."""
    rate, window, hop = sample.sample_rate, round(0.02 * sample.sample_rate), round(HOP_SECONDS * sample.sample_rate)
    power_at = np.convolve(sample.audio.numpy() ** 2, np.ones(window), "valid")
    start = int(power_at.argmax()) // hop * hop  # the loudest frame
    frame = sample.audio[start : start + window]
    windowed = (frame * torch.hann_window(window)).numpy()
    figure, axes = new_figure(2, 2, (12, 6), caption)
    (wave, one), (spectrum, features) = axes
    seconds = np.arange(len(sample.audio)) / rate
    wave.plot(seconds, sample.audio, linewidth=0.4, color=BLUE)
    wave.axvspan(start / rate, (start + window) / rate, color=ORANGE)
    wave.set(title=f"1. waveform: {visible(sample.transcript)!r}", xlabel="time, s", ylabel="amplitude", xlim=(0, sample.seconds))
    milliseconds = 1000 * np.arange(window) / rate
    one.plot(milliseconds, frame, color=GREY, linewidth=1, label="20 ms of it")
    one.plot(milliseconds, windowed, color=ORANGE, label="times the Hann window")
    one.set(title="2. one frame; the next begins 10 ms later", xlabel="time within the frame, ms", ylabel="amplitude")
    _draw_spectrum(spectrum, windowed, rate, n_fft)
    values = compute_spectrogram(sample.audio, rate, n_fft=n_fft).numpy()
    draw_spectrogram(features, values, sample)
    image = features.images[0]
    features.set(title=f"4. features: {values.shape[0]} bins, {values.shape[1]} frames, mean 0 and variance 1")
    figure.colorbar(image, ax=features, label="normalised log power")
    for axis in (one, spectrum):
        axis.legend(frameon=False, fontsize=9)
    return figure


def _draw_spectrum(axis: Axes, windowed: np.ndarray, rate: int, n_fft: int) -> None:
    """Log power of a windowed frame: the fine curve, and the points of it that ``n_fft`` keeps."""
    fine = 16 * n_fft
    for points, style in ((fine, {"color": GREY, "linewidth": 1}), (n_fft, {"color": RED, "marker": ".", "linestyle": ""})):
        folded = np.pad(windowed, (0, -len(windowed) % points)).reshape(-1, points).sum(0)
        log_power = 10 * np.log10(np.abs(np.fft.rfft(folded)) ** 2 + 1e-8)
        label = f"{points // 2 + 1} bins that n_fft = {n_fft} keeps" if points == n_fft else "spectrum of the frame"
        axis.plot(np.linspace(0, rate / 2000, points // 2 + 1), log_power, label=label, **style)
    axis.set(title="3. power of each frequency, logarithm", xlabel="frequency, kHz", ylabel="power, dB")


def sortagrad(seconds: Sequence[float], batch_size: int = 8, caption: str = "measured here") -> Figure:
    """Order of the minibatches in the first and the second epoch (arXiv 3.3), and what padding each way of batching costs."""
    sampler = SortaGradBatchSampler(seconds, batch_size)
    figure, axes = new_figure(1, 3, (12, 3.4), caption, gridspec_kw={"width_ratios": [2, 2, 1.6]})
    lengths, shares = np.asarray(seconds), {}
    for epoch, axis in enumerate(axes[0, :2]):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        shares["first epoch:\nsorted" if epoch == 0 else "later epochs:\nlike lengths"] = _padding_share(lengths, batches)
        places = range(1, len(batches) + 1)
        axis.bar(places, [lengths[b].max() for b in batches], color=ORANGE, width=1, label="longest (padded to)")
        axis.bar(places, [lengths[b].mean() for b in batches], color=BLUE, width=1, label="mean")
        axis.set(title=("epoch 1: from short to long", "epoch 2: random order")[epoch], xlabel="minibatch", ylabel="seconds")
    axes[0, 0].legend(frameon=False, fontsize=9)
    order = np.random.default_rng(0).permutation(len(lengths))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    shares["random\nminibatches"] = _padding_share(lengths, batches)
    bars = axes[0, 2].barh(list(shares), [100 * share for share in shares.values()], color=[BLUE, BLUE, GREY])
    axes[0, 2].bar_label(bars, fmt="%.1f %%", padding=3)
    axes[0, 2].set(title="frames that are padding", xlim=(0, 118 * max(0.01, *shares.values())), xlabel="%")
    return figure


def _padding_share(lengths: np.ndarray, batches: Sequence) -> float:
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    return 1 - float(lengths.sum() / padded)


# ---------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------


def architecture(model: DeepSpeech2, sample_rate: int = 16000, caption: str = "drawn from the model itself") -> Figure:
    """The layers with their kernels, strides, frames and weights; each cell of a row is one frame of 0.4 s of speech."""
    shown, frames = 40, 300
    rows = _layer_rows(model, frames, sample_rate)
    figure, axes = new_figure(1, 3, (13, 0.62 * len(rows) + 1.0), caption, gridspec_kw={"width_ratios": [2.1, 3.6, 1.6]})
    words, cells, bars = axes[0]
    for place, (name, shape, stride, _) in enumerate(rows):
        words.text(0.0, place, name, va="center", fontsize=9)
        for start in np.arange(0, shown, stride):
            width = min(stride, shown - start)
            colour = GREY if place == 0 else BLUE if "convolution" in name else GREEN if "←" in name else ORANGE
            box = Rectangle((start / 100, place - 0.3), width / 100, 0.6, facecolor=colour, alpha=0.55, edgecolor="white")
            cells.add_patch(box)
        cells.text(0.407, place, shape, va="center", fontsize=9)
    words.axis("off")
    cells.set(xlim=(0, 0.56), xlabel=f"time, s, and the shape that {frames} frames come to")
    cells.set_xticks(np.arange(0, 0.41, 0.1))
    cells.set_yticks([])
    weights = [row[3] for row in rows]
    drawn = bars.barh(range(len(rows)), weights, color=GREY, height=0.5)
    bars.bar_label(drawn, [f"{n:,}" if n else "" for n in weights], padding=3, fontsize=9)
    bars.set(title=f"weights, {sum(weights):,} in all", xlim=(0, 1.45 * max(weights)))
    bars.set_xticks([])
    bars.set_yticks([])
    for axis in axes[0]:
        axis.set_ylim(len(rows) - 0.4, -0.6)
    for axis in (cells, bars):
        axis.spines["left"].set_visible(False)
    return figure


@torch.no_grad()
def _layer_rows(model: DeepSpeech2, frames: int, sample_rate: int) -> list[tuple[str, str, int, int]]:
    """What each layer is, the shape of its output, feature frames per output frame, number of weights."""
    lengths, stride = torch.tensor([frames]), 1
    rows = [(f"log power spectrogram, 0 to {sample_rate / 2000:g} kHz", f"{model.n_freq} bins × {frames}", 1, 0)]
    channels, bins = 1, model.n_freq
    for block in model.convolutions:
        kernel, step = block.conv.kernel_size, block.conv.stride
        lengths, channels, bins = block.output_lengths(lengths), block.conv.out_channels, -(-bins // step[0])
        stride *= step[1]
        name = f"convolution {kernel[0]}×{kernel[1]} (frequency×time), stride {step[0]}×{step[1]},\nbatch norm, clipped ReLU"
        rows.append((name, f"{channels} ch. × {bins} bins × {int(lengths)}", stride, _weights(block)))
    for layer in model.recurrences:
        placed = "batch norm on W h (Eq. 8), sum" if layer.batch_norm == "input" else "batch norm, clipped ReLU"
        name = f"→ ← bidirectional {layer.rnn_type.upper()}, {layer.hidden_size} units each way,\n{placed}"
        rows.append((name, f"{layer.output_size} × {int(lengths)}", stride, _weights(layer)))
    rows.append(("linear, log-softmax", f"{model.vocab_size} symbols × {int(lengths)}", stride, _weights(model.output)))
    return rows


def _weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def first_layer_filters(model: DeepSpeech2, sample_rate: int = 16000, caption: str = "measured here") -> Figure:
    """The kernels of the first convolution, as it has learnt them: time to the right, frequency upwards."""
    kernels = model.convolutions[0].conv.weight.detach()[:, 0].cpu().numpy()  # (32, 41, 11)
    _, height, width = kernels.shape
    figure, axes = new_figure(4, 8, (11, 8), caption, sharex=True, sharey=True)
    khz = sample_rate / 2000 / (model.n_freq - 1) * height / 2
    milliseconds = 1000 * HOP_SECONDS * width / 2
    order = np.argsort(-np.square(kernels).sum((1, 2)))  # the strongest first
    for axis, index in zip(axes.flat, order, strict=True):
        reach = np.abs(kernels[index]).max()
        extent = (-milliseconds, milliseconds, -khz, khz)
        axis.imshow(kernels[index], origin="lower", aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent)
    axes[-1, 0].set(xlabel="time, ms", ylabel="from the centre, kHz")
    figure.suptitle("First convolution: red adds, blue subtracts; vertical stripes see onsets, horizontal ones resonances")
    return figure


@torch.no_grad()
def activations(
    model: DeepSpeech2, samples: Sequence[AudioSample], encoder: CharEncoder, caption: str = "measured here"
) -> Figure:
    """What batch norm does in each layer: values before and after it, and the share that the clipped ReLU cuts."""
    layers = [*model.convolutions, *model.recurrences]
    seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    hooks = [layer.norm.register_forward_hook(_keep_valid(seen, i)) for i, layer in enumerate(layers)]
    batch = collate_batch(list(samples), encoder, n_fft=2 * (model.n_freq - 1)).to(next(model.parameters()).device)
    was_training = model.training
    model.eval()(batch.features, batch.feature_lengths)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    figure, axes = new_figure(2, len(layers), (2.6 * len(layers), 5), caption)
    for i, (layer, (before, after)) in enumerate(zip(layers, axes.T, strict=True)):
        name = layer.rnn_type.upper() if isinstance(layer, BidirectionalRNNLayer) else "convolution"
        for axis, values, colour in ((before, seen[i][0], GREY), (after, seen[i][1], BLUE)):
            low, high = np.quantile(values, (0.001, 0.999))
            axis.hist(values, bins=60, range=(low, high), color=colour, density=True)
            axis.set_yticks([])
        before.set(title=f"layer {i + 1}: {name}", xlabel=f"before: {seen[i][0].mean():.2f} ± {seen[i][0].std():.2f}")
        text = f"after: {seen[i][1].mean():.2f} ± {seen[i][1].std():.2f}"
        if isinstance(layer.activation, ClippedReLU):
            after.axvspan(after.get_xlim()[0], 0, color=ORANGE, alpha=0.25, linewidth=0)
            clip = layer.activation.clip
            text += f"\n{100 * (seen[i][1] < 0).mean():.0f} % become 0\n{100 * (seen[i][1] > clip).mean():.2g} % exceed {clip:g}"
        after.set(xlabel=text)
    axes[0, 0].set(ylabel="into batch norm")
    axes[1, 0].set(ylabel="out of it\n(beige: becomes 0)")
    return figure


def _keep_valid(seen: dict, number: int) -> Callable:
    """A hook for a batch norm: keeps what goes in and what comes out in the frames that are speech."""

    def hook(_module, inputs: tuple, output: Tensor) -> None:
        x, lengths = inputs
        by_utterance = [(v.permute(1, 0, 2) if v.dim() == 3 else v.permute(0, 3, 1, 2).flatten(2)) for v in (x, output)]
        mask = sequence_mask(lengths, by_utterance[0].shape[1])
        seen[number] = tuple(v[mask].flatten().float().cpu().numpy() for v in by_utterance)

    return hook


# ---------------------------------------------------------------------------------------------
# Output, alignment, search
# ---------------------------------------------------------------------------------------------


def ctc_output(model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, caption: str = "measured here") -> Figure:
    """What a trained model puts out for an utterance: features, symbols, and the likeliest path that spells the transcript.

    Below, each row is a state of the extended target (blanks between all labels); the line is the Viterbi path (Eq. 13).
    """
    features, log_probs = _output(model, sample, encoder)
    target = encoder.encode(sample.transcript)
    extended, path = extend_target(target), forced_alignment(log_probs, target)
    seconds_per_frame = model.time_stride * HOP_SECONDS
    figure, axes = new_figure(3, 1, (12, 10), caption, sharex=True, gridspec_kw={"height_ratios": [1.2, 1, 2.2]})
    above, middle, below = axes[:, 0]
    draw_spectrogram(above, features, sample)
    above.set_title(f"spoken: {sample.transcript}", loc="left", fontsize=10)
    _draw_symbols(middle, log_probs.exp().numpy(), encoder, seconds_per_frame)
    middle.get_legend().remove()
    middle.set_title("probability of each symbol (dotted: blank)", loc="left", fontsize=10)
    states = log_probs[:, extended].exp().numpy().T  # (S, T')
    end = len(path) * seconds_per_frame
    below.imshow(states, origin="upper", aspect="auto", cmap="Blues", extent=(0, end, len(extended) - 0.5, -0.5), vmin=0, vmax=1)
    seconds = (np.arange(len(path)) + 0.5) * seconds_per_frame
    below.plot(seconds, path, color=RED, marker="o", markersize=3, linewidth=1.2)
    below.set_yticks(range(1, len(extended), 2), [visible(encoder.decode([label])) for label in target], fontsize=9)
    below.set(xlabel="time, s", ylabel="state of the extended target", xlim=(0, sample.seconds))
    below.set_title("the likeliest path that spells it (Eq. 13); unnamed rows are blanks", loc="left", fontsize=10)
    above.set_xlabel("")
    middle.set_xlabel("")
    return figure


def alignment(
    model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, text: str | None = None, caption: str = "measured here"
) -> Figure:
    """Features with the times of each character and word of ``text`` (default: the transcript), by forced alignment."""
    features, log_probs = _output(model, sample, encoder)
    characters = character_times(log_probs, text or sample.transcript, encoder, model.time_stride * HOP_SECONDS)
    figure, axes = new_figure(2, 1, (12, 4.6), caption, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    above, below = axes[:, 0]
    draw_spectrogram(above, features, sample)
    above.set_xlabel("")
    for unit in characters:
        if not unit.text.isspace():
            middle = (unit.start + unit.end) / 2
            above.axvline(middle, color="white", linewidth=0.6, alpha=0.6)
            above.text(middle, 0.93, unit.text, color="white", ha="center", transform=above.get_xaxis_transform(), weight="bold")
    for word, colour in zip(word_times(characters), cycle((BLUE, ORANGE)), strict=False):
        below.axvspan(word.start, word.end, color=colour, alpha=0.5, linewidth=0)
        label = f"{word.text}\n{word.start:.2f}-{word.end:.2f} s"
        below.text((word.start + word.end) / 2, 0.5, label, ha="center", va="center", fontsize=9)
    below.set(ylim=(0, 1), xlabel="time, s", xlim=(0, sample.seconds))
    below.set_yticks([])
    below.spines["left"].set_visible(False)
    return figure


def beam_tree(
    model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, beam_width: int = 4, caption: str = "measured here"
) -> Figure:
    """Prefix beam search of a short utterance as a tree: each line is a prefix, from the frame that took it into the beam to
    the one that dropped it; the letter is the one that it adds to the prefix it grew from.
    """
    rows = _output(model, sample, encoder)[1].double().numpy()
    beams = [prefix_beam_search(rows[:frames], beam_width) for frames in range(1, len(rows) + 1)]  # the beam after each frame
    first, last = {(): 0}, {(): 0}
    for frame, beam in enumerate(beams, start=1):
        for hypothesis in beam:
            first.setdefault(hypothesis.labels, frame)
            last[hypothesis.labels] = frame
    winner, place = beams[-1][0].labels, _tree_places(first, beams[-1][0].labels)
    figure, axes = new_figure(1, 1, (12, 1.2 + 0.17 * len(first)), caption)
    axis = axes[0, 0]
    for prefix, row in place.items():
        on_path = winner[: len(prefix)] == prefix
        style = {"color": BLUE if on_path else GREY, "linewidth": 2 if on_path else 0.8}
        axis.plot((first[prefix], last[prefix] + 1), (row, row), **style)
        if prefix:
            axis.plot((first[prefix],) * 2, (place[prefix[:-1]], row), **style)
            axis.text(first[prefix] + 0.1, row - 0.2, visible(encoder.decode(prefix[-1:])), fontsize=9, color=style["color"])
    endings: dict[int, list[str]] = {}  # by row: a text may be the beginning of another one
    for hypothesis in beams[-1]:
        text = f"{encoder.decode(hypothesis.labels)!r}  {np.exp(hypothesis.log_ctc):.2g}"
        endings.setdefault(place[hypothesis.labels], []).append(text)
    for row, texts in endings.items():
        axis.text(len(rows) + 1.1, row, ",  ".join(texts), va="center", fontsize=9, weight="normal" if row else "bold")
    axis.set(xlabel="output frame", xlim=(0, 1.25 * len(rows)), ylim=(max(place.values()) + 1, -1))
    title = f"spoken: {sample.transcript}; beam of {beam_width}; right: the texts at the end and their probability"
    axis.set_title(title, fontsize=10)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    return figure


def _tree_places(first: dict[tuple[int, ...], int], winner: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    """A row for each prefix: the winner's on row 0, the other branches below, those that leave it last on top."""
    children: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for prefix in sorted(first, key=lambda p: -first[p]):
        if prefix:
            children.setdefault(prefix[:-1], []).append(prefix)
    place: dict[tuple[int, ...], int] = {winner[:end]: 0 for end in range(len(winner) + 1)}
    for end in range(len(winner), -1, -1):
        stack = [child for child in children.get(winner[:end], []) if child not in place]
        while stack:
            prefix = stack.pop(0)
            place[prefix] = len(place) - len(winner)
            stack = children.get(prefix, []) + stack
    return place
