"""Pictures that only the notebook needs: from sound to text, CTC's sum as it grows, runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from implementation import (
    AudioSample,
    CharEncoder,
    DeepSpeech2,
    Hypothesis,
    ctc_forward_variables,
    extend_target,
    greedy_decode,
)
from pictures.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    WIDTH,
    draw_spectrogram,
    draw_symbols,
    new_figure,
    output_of,
    seconds_shown,
    visible,
)

BLANK = "_"  # as the notebook writes it


def symbols_of(path: Sequence[int], encoder: CharEncoder) -> str:
    """A path as a text with one character per frame: the blank is ``_``, and a space is visible."""
    return "".join(BLANK if label == encoder.blank_idx else visible(encoder.decode([label])) for label in path)


def pipeline(model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, caption: str = "measured here") -> Figure:
    """All of speech recognition: waveform, spectrogram, the network's output, its best path, the text."""
    features, log_probs = output_of(model, sample, encoder)
    figure, axes = new_figure(4, 1, (WIDTH, 7.2), caption, sharex=True, gridspec_kw={"height_ratios": [1, 1.6, 1.6, 0.9]})
    wave, spectrogram, symbols, path = axes[:, 0]
    wave.plot(np.arange(len(sample.audio)) / sample.sample_rate, sample.audio, linewidth=0.4, color=BLUE)
    draw_spectrogram(spectrogram, features, sample, model.features)
    told = "; ".join(draw_symbols(symbols, log_probs.exp().numpy(), encoder, model.seconds_per_output))
    _draw_path(path, log_probs, encoder, model)
    text, frame = greedy_decode(log_probs[:, None], encoder)[0], f"output frame ({1000 * model.seconds_per_output:g} ms)"
    titles = (
        "1. the waveform: what the microphone measures",
        "2. the spectrogram: how strong each frequency is, and when (bright: strong)",
        f"3. the network: how probable each symbol is in each {frame}\n    ({told})",
        f"4. the likeliest symbol of each {frame} ({BLANK}: the blank, nothing new here).\n"
        f"    Merge repeats and drop blanks. What stays is red:   {text}",
    )
    for axis, title in zip(axes[:, 0], titles, strict=True):
        axis.set_title(title, loc="left", fontsize=11)
        axis.set(xlabel="")
    loudest = 1.05 * float(sample.audio.abs().max())
    wave.set(ylabel="amplitude", xlim=(0, seconds_shown(sample, log_probs, model)), ylim=(-loudest, loudest))
    path.set(xlabel="time, s")
    return figure


def _draw_path(axis: Axes, log_probs: Tensor, encoder: CharEncoder, model: DeepSpeech2) -> None:
    """The best path, one symbol per frame; those that stay in the text are red."""
    labels, width = log_probs.argmax(1).tolist(), model.seconds_per_output
    size = min(12, 720 / len(labels))  # smaller if there are many frames
    for frame, (label, before) in enumerate(zip(labels, [encoder.blank_idx, *labels], strict=False)):
        kept = label not in (encoder.blank_idx, before)
        style = {"color": RED, "weight": "bold"} if kept else {"color": GREY}
        axis.text((frame + 0.5) * width, 0.5, symbols_of([label], encoder), ha="center", va="center", fontsize=size, **style)
    for edge in range(len(labels) + 1):
        axis.axvline(edge * width, color=GREY, linewidth=0.4)
    axis.set(ylim=(0, 1), yticks=[])
    axis.spines["left"].set_visible(False)


def outputs(
    model: DeepSpeech2, sample: AudioSample, stages: Mapping[str, Tensor], encoder: CharEncoder, caption: str = "measured here"
) -> Figure:
    """The spectrogram of an utterance, and below it the network's output (T', V) at each stage, with the stage's name."""
    features, _ = output_of(model, sample, encoder)
    ratios = [1.2, *[1] * len(stages)]
    figure, axes = new_figure(
        1 + len(stages), 1, (WIDTH, 1.8 * sum(ratios)), caption, sharex=True, gridspec_kw={"height_ratios": ratios}
    )
    draw_spectrogram(axes[0, 0], features, sample, model.features)
    axes[0, 0].set_title(f"spoken: {sample.transcript}", loc="left", fontsize=11)
    for axis, (name, log_probs) in zip(axes[1:, 0], stages.items(), strict=True):
        probabilities = log_probs.exp().numpy()
        told = "; ".join(draw_symbols(axis, probabilities, encoder, model.seconds_per_output))
        if (top := probabilities.max()) < 0.5:
            told = f"all curves lie together: no symbol is above {math.ceil(100 * top) / 100:g}"
        axis.set_title(f"{name}: {greedy_decode(log_probs[:, None], encoder)[0]!r} ({told})", loc="left", fontsize=11)
    for axis in axes[:-1, 0]:
        axis.set_xlabel("")
    axes[-1, 0].set_xlim(0, max(seconds_shown(sample, log_probs, model) for log_probs in stages.values()))
    return figure


def forward_table(log_probs: Tensor, text: str, encoder: CharEncoder, frame: int, caption: str = "measured here") -> Figure:
    """CTC's forward variables alpha_t(s) up to a frame, counted from 1: rows are the states, blanks between all letters.

    Args:
        log_probs: (T', V) of one utterance.
    """
    target = encoder.encode(text)
    states, lengths = extend_target(target), (torch.tensor([len(log_probs)]), torch.tensor([len(target)]))
    alpha = ctc_forward_variables(log_probs[:, None], torch.tensor(target), *lengths)[:, 0].exp().t().numpy()  # (S, T')
    figure, axes = new_figure(1, 1, (WIDTH, 4.6), caption)
    axis, shown = axes[0, 0], np.where(np.arange(len(log_probs)) < frame, alpha, np.nan)
    axis.imshow(np.log10(np.where(shown > 0, shown, np.nan)), cmap="Blues", aspect="auto", vmin=-7, vmax=2)
    for (state, place), value in np.ndenumerate(shown):
        if not np.isnan(value):
            written = f"{value:.5f}" if value >= 0.001 else f"{value:.1e}" if value else "0"
            axis.text(place, state, written, ha="center", va="center", fontsize=9)
            for back in (0, 1, 2) if place == frame - 1 and place else ():
                may_skip = states[state] not in (encoder.blank_idx, states[state - 2])
                if value and state >= back and shown[state - back, place - 1] and (back < 2 or may_skip):
                    arrow = {"arrowstyle": "->", "color": RED, "shrinkA": 24, "shrinkB": 24}
                    axis.annotate("", (place, state), (place - 1, state - back), arrowprops=arrow)
    names = [symbols_of([label], encoder) for label in states]
    axis.set_yticks(range(len(states)), names, fontsize=11)
    axis.set_xticks(range(len(log_probs)), range(1, len(log_probs) + 1))
    end = alpha[-2:, -1].sum() if frame == len(log_probs) else None
    told = f"; the last two states: p({text!r}) = {end:.3g}, loss = {-np.log(end):.2f}" if end else ""
    key = f"Shades are logarithmic. {BLANK}: blank"
    axis.set_title(f"{text!r}: alpha after frame {frame}{told}\n{key}", fontsize=11)
    axis.set(xlabel="frame", ylabel="state")
    return figure


def scores(
    hypotheses: Sequence[Hypothesis], encoder: CharEncoder, alpha: float, beta: float, caption: str = "measured here"
) -> Figure:
    """The three parts of Q(y) (Eq. 12) for each text that a beam search found, the best first."""
    figure, axes = new_figure(1, 1, (WIDTH, 1.3 + 0.55 * len(hypotheses)), caption)
    axis, rows = axes[0, 0], np.arange(len(hypotheses))
    ctc, model, words = np.array([(found.log_ctc, alpha * found.log_lm, beta * found.words) for found in hypotheses]).T
    axis.barh(rows, ctc, color=BLUE, height=0.5, label="log p_ctc")
    axis.barh(rows, model, left=ctc, color=ORANGE, height=0.5, label="alpha log p_lm")
    axis.barh(rows + 0.33, words, left=ctc + model, color=GREEN, height=0.16, label="beta word_count")
    axis.vlines([found.score for found in hypotheses], rows - 0.3, rows + 0.45, color=RED, linewidth=2, label="Q, their sum")
    axis.set_yticks(range(len(hypotheses)), [repr(encoder.decode(found.labels)) for found in hypotheses], fontsize=10)
    axis.set(xlabel="nats", ylim=(len(hypotheses) - 0.3, -0.6))
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlim(left=1.03 * (ctc + model).min())  # no bar ends at the edge
    axis.set_title(f"alpha {alpha:g}, beta {beta:g}: the search writes {encoder.decode(hypotheses[0].labels)!r}", fontsize=11)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def runs(panels: Mapping[str, Mapping[str, Sequence[float]]], smooth: int = 10, caption: str = "measured here") -> Figure:
    """The loss of each step of several runs, with one panel per comparison: a mean over the last ``smooth`` steps."""
    figure, axes = new_figure(1, len(panels), (WIDTH, 3.6), caption, sharey=True)
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for (name, losses), colour in zip(curves.items(), cycle((GREY, RED, BLUE, GREEN)), strict=False):
            width = min(smooth, len(losses))
            mean = np.convolve(losses, np.full(width, 1 / width), "valid")
            axis.plot(np.arange(width, len(losses) + 1), mean, color=colour, label=name)
        axis.set_title(title, fontsize=11)
        axis.set(xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
        axis.tick_params(labelleft=True)
    axes[0, 0].set_ylabel("training loss, nats per utterance")
    axes[0, 0].set_ylim(0)  # last, so that no curve of the other panels is cut off
    return figure
