"""Pictures of runs: training curves and predictions. Each shows measured values; the captions say of what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")  # files only, no window

import matplotlib.pyplot as plt
import numpy as np
import torch

from implementation import AudioSample, CharEncoder, DeepSpeech2, collate_batch

if TYPE_CHECKING:
    from tune_decoder import Tuning

# Colours that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"


def save_training_curves(history: Sequence[dict], path: Path) -> None:
    """Loss, error rates and blank share by epoch, from the lines of metrics.jsonl."""
    epochs = [line["epoch"] for line in history]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    style = {"marker": "o", "markersize": 3}
    axes[0].plot(epochs, [line["loss"] for line in history], color=BLUE, label="training (augmented)", **style)
    axes[0].plot(epochs, [line["dev_loss"] for line in history], color=ORANGE, label="dev", **style)
    axes[0].set(ylabel="CTC loss, nats per utterance", yscale="log")
    axes[1].plot(epochs, [100 * line["dev_wer"] for line in history], color=RED, label="dev WER", **style)
    axes[1].plot(epochs, [100 * line["dev_cer"] for line in history], color=BLUE, label="dev CER", **style)
    axes[1].set(ylabel="error rate, %", ylim=(0, None))
    axes[2].plot(epochs, [100 * line["blank_share"] for line in history], color=GREY, label="dev", **style)
    axes[2].set(ylabel="blank frames of the best path, %", ylim=(0, 100))
    for axis in axes:
        axis.set(xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


@torch.no_grad()
def save_predictions(
    model: DeepSpeech2, dataset: Sequence[AudioSample], encoder: CharEncoder, result: dict, path: Path
) -> None:
    """Three utterances, the worst, the middle and the best of an evaluation: features above, output symbols below.

    Args:
        result: what ``evaluate`` returned for this model and dataset.
    """
    ranked = result["words"].from_worst_to_best()
    chosen = list(dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])))
    figure, axes = plt.subplots(2, len(chosen), figsize=(5 * len(chosen), 6), constrained_layout=True, squeeze=False)
    for column, index in enumerate(chosen):
        _draw_prediction(axes[:, column], model, dataset[index], encoder, result, index)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_prediction(
    axes: np.ndarray, model: DeepSpeech2, sample: AudioSample, encoder: CharEncoder, result: dict, index: int
) -> None:
    batch = collate_batch([sample], encoder, n_fft=2 * (model.n_freq - 1)).to(next(model.parameters()).device)
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    features, probabilities = batch.features[0, 0].cpu().numpy(), log_probs[: int(lengths[0]), 0].exp().cpu().numpy()
    extent = (0.0, sample.seconds, 0.0, sample.sample_rate / 2000)
    axes[0].imshow(features, origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes[0].set(ylabel="frequency, kHz", xlabel="time, s")
    title = f"REF {result['references'][index]}\nHYP {result['hypotheses'][index]}"
    axes[0].set_title(title, loc="left", family="monospace", fontsize=9)
    seconds = (np.arange(len(probabilities)) + 0.5) * model.time_stride / 100
    axes[1].plot(seconds, probabilities[:, encoder.blank_idx], color=GREY, linewidth=1, linestyle=":", label="blank")
    path = probabilities.argmax(1)
    colours = dict(zip(dict.fromkeys(path[path != encoder.blank_idx].tolist()), cycle((BLUE, ORANGE, GREEN, RED)), strict=False))
    for symbol, colour in colours.items():
        axes[1].plot(seconds, probabilities[:, symbol], color=colour, linewidth=1.3)
    for symbol, frames in groupby(range(len(path)), key=lambda frame: path[frame]):
        if symbol != encoder.blank_idx:
            peak = max(frames, key=lambda frame: probabilities[frame, symbol])
            name = encoder.decode([symbol]).replace(" ", "␣")
            axes[1].annotate(name, (seconds[peak], 1.03), ha="center", fontsize=9, color=colours[symbol])
    axes[1].set(xlabel="time, s", ylabel="probability", ylim=(0, 1.12), xlim=(0, sample.seconds))
    axes[1].legend(loc="upper right", bbox_to_anchor=(1, -0.12), frameon=False, fontsize=8)


def save_tuning_surface(tuning: Tuning, path: Path) -> None:
    """Word error rate on dev over alpha and beta, the chosen pair marked."""
    figure, axis = plt.subplots(figsize=(6, 4.5), constrained_layout=True)
    rates = 100 * tuning.errors / tuning.words
    image = axis.imshow(rates, origin="lower", aspect="auto", cmap="cividis_r")
    middle = (rates.min() + rates.max()) / 2
    for (row, column), rate in np.ndenumerate(rates):
        axis.text(column, row, f"{rate:.1f}", ha="center", va="center", color="white" if rate > middle else "black", fontsize=9)
    alpha, beta = tuning.best
    place = tuning.betas.index(beta), tuning.alphas.index(alpha)
    axis.add_patch(plt.Rectangle((place[0] - 0.5, place[1] - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2.5))
    axis.set_xticks(range(len(tuning.betas)), [f"{value:g}" for value in tuning.betas])
    axis.set_yticks(range(len(tuning.alphas)), [f"{value:g}" for value in tuning.alphas])
    axis.set(xlabel="beta, weight of the number of words", ylabel="alpha, weight of the language model")
    axis.set_title(f"WER on dev, %; chosen: alpha {alpha:g}, beta {beta:g}", fontsize=10)
    figure.colorbar(image, ax=axis)
    figure.savefig(path, dpi=110)
    plt.close(figure)
