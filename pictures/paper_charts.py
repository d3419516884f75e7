"""Tables 1 to 5, 7, 10, 11 and 13 to 15 of the paper (arXiv:1512.02595), number by number, and a chart of each.

Error rates are word error rates in per cent on the development sets: 'regular' is an internal set of 2048 mostly read
utterances, 'noisy' 2048 utterances sampled from the CHiME 2015 development data (Section 3.5). They were decoded with a
language model (Section 3.1), except where Table 5 says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pictures.figures import BLUE, GREY, ORANGE, RED, WIDTH, balanced, new_figure

# Table 1, Section 3.2: recurrent layers, layers in all, hidden units; train without and with BN, dev without and with BN.
TABLE_1 = (
    (1, 5, 2400, 10.55, 11.99, 13.55, 14.40),
    (3, 5, 1880, 9.55, 8.29, 11.61, 10.56),
    (5, 7, 1510, 8.59, 7.61, 10.77, 9.78),
    (7, 9, 1280, 8.76, 7.68, 10.83, 9.52),
)
# Table 2, Section 3.3: train without and with BN, dev without and with BN.
TABLE_2 = {"not sorted": (10.71, 8.04, 11.96, 9.78), "sorted": (8.76, 7.68, 10.83, 9.52)}
# Table 3, Section 3.4: recurrent layers, layers in all; simple RNN, GRU.
TABLE_3 = ((1, 5, 14.40, 10.53), (3, 5, 10.56, 8.00), (5, 7, 9.78, 7.79), (7, 9, 9.52, 8.19))
# Table 4, Section 3.5: convolutions, channels, kernels, strides; regular dev, noisy dev.
TABLE_4 = (
    ("1-layer 1D", "1280", "11", "2", 9.52, 19.36),
    ("2-layer 1D", "640, 640", "5, 5", "1, 2", 9.67, 19.21),
    ("3-layer 1D", "512, 512, 512", "5, 5, 5", "1, 1, 2", 9.20, 20.22),
    ("1-layer 2D", "32", "41x11", "2x2", 8.94, 16.22),
    ("2-layer 2D", "32, 32", "41x11, 21x11", "2x2, 2x1", 9.06, 15.71),
    ("3-layer 2D", "32, 32, 96", "41x11, 21x11, 21x11", "2x2, 2x1, 2x1", 8.61, 14.74),
)
# Table 5, Section 3.6: stride; unigrams and bigrams without, unigrams and bigrams with a language model.
TABLE_5 = ((2, 14.93, 14.56, 9.52, 9.66), (3, 15.01, 15.60, 9.65, 10.06), (4, 18.86, 14.84, 11.92, 9.93))
# Table 7, Section 4.1: GPUs; seconds of all-reduce in an epoch with OpenMPI 1.8.5, with the authors' own.
TABLE_7 = (
    (4, 55359.1, 2587.4),
    (8, 48881.6, 2470.9),
    (16, 21562.6, 1393.7),
    (32, 8191.8, 1339.6),
    (64, 1395.2, 611.0),
    (128, 1602.1, 422.6),
)
# Table 10, Section 5.3: share of the data in per cent, hours; regular dev, noisy dev.
TABLE_10 = (
    (1, 120, 29.23, 50.97),
    (10, 1200, 13.80, 22.99),
    (20, 2400, 11.65, 20.41),
    (50, 6000, 9.51, 15.90),
    (100, 12000, 8.46, 13.59),
)
# Table 11, Section 6.1.1: millions of parameters, recurrence; regular dev, noisy dev.
TABLE_11 = (
    (18, "GRU", 10.59, 21.38),
    (38, "GRU", 9.06, 17.07),
    (70, "GRU", 8.54, 15.98),
    (70, "RNN", 8.44, 15.09),
    (100, "GRU", 7.78, 14.17),
    (100, "RNN", 7.73, 13.06),
)
# Tables 13 to 15, Sections 6.1.2 to 6.1.4: test set; Deep Speech 1, Deep Speech 2, people.
TABLE_13 = (
    ("WSJ eval'92", 4.94, 3.60, 5.03),
    ("WSJ eval'93", 6.94, 4.98, 8.08),
    ("LibriSpeech clean", 7.89, 5.33, 5.83),
    ("LibriSpeech other", 21.74, 13.25, 12.69),
)
TABLE_14 = (
    ("American, Canadian", 15.01, 7.55, 4.85),
    ("Commonwealth", 28.46, 13.56, 8.15),
    ("European", 31.20, 17.55, 12.76),
    ("Indian", 45.35, 22.44, 22.15),
)
TABLE_15 = (("clean", 6.30, 3.34, 3.46), ("real noise", 67.94, 21.79, 11.84), ("simulated noise", 80.27, 45.05, 31.33))


def _caption(table: int, section: str, more: str) -> str:
    return f"paper, Table {table} (arXiv:1512.02595, Section {section}); {more}"


def _grouped_bars(axis: Axes, groups: Sequence[str], series: dict[str, Sequence[float]], colours: Sequence[str]) -> None:
    """Bars side by side in each group, each with its number."""
    width = 0.9 / len(series)
    for i, ((name, values), colour) in enumerate(zip(series.items(), colours, strict=True)):
        bars = axis.bar(np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width, values, width, label=name, color=colour)
        axis.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
    axis.set_xticks(range(len(groups)), groups)
    axis.set(ylabel="WER, %", ylim=(0, 1.15 * max(map(max, series.values()))), xlim=(-0.55, len(groups) - 0.45))
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelleft=True)


def _legend_above(figure: Figure) -> None:
    """One legend for all panels, which show the same."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)


def batch_norm_by_depth() -> Figure:
    """Table 1: on dev batch norm helps deeper networks more, and it harms the shallowest."""
    caption = _caption(1, "3.2", "38 M parameters each, 2400 to 1280 units per layer; dev rates with the language model (3.1)")
    figure, axes = new_figure(1, 2, (WIDTH, 4), caption, sharey=True)
    groups = [f"{recurrent} recurrent\nof {layers} layers" for recurrent, layers, *_ in TABLE_1]
    for axis, title, first in zip(axes[0], ("training set", "development set"), (3, 5), strict=True):
        series = {"without batch norm": [row[first] for row in TABLE_1], "with batch norm": [row[first + 1] for row in TABLE_1]}
        _grouped_bars(axis, groups, series, (GREY, BLUE))
        axis.set(title=title)
    _legend_above(figure)
    return figure


def sortagrad_gain() -> Figure:
    """Table 2: sorting the first epoch helps, above all without batch norm."""
    more = "9 layers, 7 of them recurrent; dev rates with the language model (3.1)"
    figure, axes = new_figure(1, 2, (WIDTH, 3.8), _caption(2, "3.3", more), sharey=True)
    for axis, title, first in zip(axes[0], ("training set", "development set"), (0, 2), strict=True):
        series = {name: row[first : first + 2] for name, row in TABLE_2.items()}
        _grouped_bars(axis, ("without\nbatch norm", "with\nbatch norm"), series, (GREY, BLUE))
        axis.set(title=title)
    _legend_above(figure)
    return figure


def rnn_or_gru() -> Figure:
    """Table 3: at the same number of parameters the GRU is ahead, but gains nothing beyond 5 recurrent layers."""
    caption = _caption(3, "3.4", "about 38 M parameters, batch norm, one 1D convolution; dev rates with the language model (3.1)")
    figure, axes = new_figure(1, 1, (WIDTH, 3.8), caption)
    groups = [f"{recurrent} recurrent\nof {layers} layers" for recurrent, layers, *_ in TABLE_3]
    series = {"simple RNN": [row[2] for row in TABLE_3], "GRU": [row[3] for row in TABLE_3]}
    _grouped_bars(axes[0, 0], groups, series, (GREY, BLUE))
    _legend_above(figure)
    return figure


def convolutions() -> Figure:
    """Table 4: convolutions over time and frequency help most on noisy speech."""
    caption = _caption(4, "3.5", "7 recurrent layers, 35 M parameters, batch norm, SortaGrad; with the language model (3.1)")
    figure, axes = new_figure(1, 1, (WIDTH, 4), caption)
    groups = [f"{name}\n{channels}" for name, channels, *_ in TABLE_4]
    series = {"regular dev": [row[4] for row in TABLE_4], "noisy dev": [row[5] for row in TABLE_4]}
    _grouped_bars(axes[0, 0], groups, series, (BLUE, ORANGE))
    axes[0, 0].set(xlabel="layers (1D: over time; 2D: over frequency and time), and channels of each")
    _legend_above(figure)
    return figure


def strides_and_bigrams() -> Figure:
    """Table 5: at stride 4 single letters get too few frames; bigrams lose little."""
    caption = _caption(5, "3.6", "one 1D convolution, 7 recurrent layers, 35 M parameters; development set")
    figure, axes = new_figure(1, 2, (WIDTH, 3.8), caption, sharey=True)
    for axis, title, first in zip(axes[0], ("without a language model", "with a 5-gram language model"), (1, 3), strict=True):
        for name, column, colour in (("unigrams: single letters", first, RED), ("bigrams: letter pairs", first + 1, BLUE)):
            axis.plot([row[0] for row in TABLE_5], [row[column] for row in TABLE_5], marker="o", color=colour, label=name)
            for row in TABLE_5:
                other = row[2 * first + 1 - column]
                axis.annotate(f"{row[column]:.2f}", (row[0], row[column]), (0, 7 if row[column] > other else -14),
                              textcoords="offset points", ha="center", fontsize=9, color=colour)  # fmt: skip
        axis.set(
            title=title,
            xlabel="stride in time, frames",
            ylabel="WER, %",
            xticks=(2, 3, 4),
            xlim=(1.7, 4.3),
            ylim=(0, 21),
            yticks=range(0, 25, 5),
        )
        axis.tick_params(labelleft=True)
    _legend_above(figure)
    return figure


def more_data() -> Figure:
    """Table 10: from 120 to 1,200 hours the errors fall by more than half, from 1,200 to 12,000 by about 40 per cent."""
    caption = _caption(
        10, "5.3", "68 M parameters: 2 layers of 2D convolution and 7 recurrent; dev rates with the language model (3.1)"
    )
    figure, axes = new_figure(1, 1, (WIDTH, 4.2), caption)
    axis = axes[0, 0]
    for name, column, colour in (("noisy dev", 3, ORANGE), ("regular dev", 2, BLUE)):
        hours, rates = [row[1] for row in TABLE_10], [row[column] for row in TABLE_10]
        axis.loglog(hours, rates, marker="o", color=colour, label=name)
        for x, y in zip(hours, rates, strict=True):
            axis.annotate(f"{y:.2f}", (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axis.set(xlabel="hours of training speech, logarithmic", ylabel="WER, %, logarithmic", ylim=(6, 75), xlim=(90, 17000))
    axis.vlines(1200, 6, 13.3, color=GREY, linewidth=0.8, linestyle=":")
    axis.annotate("the kink: from here on flatter", (1200, 6), (6, 6), textcoords="offset points", fontsize=9, color=GREY)
    axis.set_xticks([row[1] for row in TABLE_10], [f"{row[1]:,}" for row in TABLE_10])
    axis.set_yticks((10, 20, 50), ("10", "20", "50"))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def model_size() -> Figure:
    """Table 11: larger models are better; at equal size the simple RNN, which has more layers, is slightly ahead."""
    more = (
        "GRU: one 2D convolution, 3 recurrent layers; RNN: three and 7. "
        "Bigrams, stride 3; dev rates with the language model (3.1)"
    )
    caption = _caption(11, "6.1.1", more)
    figure, axes = new_figure(1, 2, (WIDTH, 3.8), caption, sharey=True)
    for axis, title, column in zip(axes[0], ("regular dev", "noisy dev"), (2, 3), strict=True):
        for name, colour, above in (("GRU", BLUE, 7), ("RNN", GREY, -14)):
            points = [(row[0], row[column]) for row in TABLE_11 if row[1] == name]
            axis.plot(*zip(*points, strict=True), marker="o", color=colour, label="simple RNN" if name == "RNN" else name)
            for x, y in points:
                axis.annotate(f"{y:.2f}", (x, y), (4, above), textcoords="offset points", ha="center", fontsize=9, color=colour)
        sizes = sorted({row[0] for row in TABLE_11})
        axis.set(title=title, xlabel="parameters, millions", ylabel="WER, %", xticks=sizes, xlim=(8, 110))
        axis.set_ylim(0, 25)
        axis.tick_params(labelleft=True)
    _legend_above(figure)
    return figure


def all_reduce() -> Figure:
    """Table 7: OpenMPI's all-reduce takes 2.3 to 21.4 times as long as the authors' own."""
    more = "5 layers, 3 of them recurrent with 2560 units; 64 utterances per GPU"
    figure, axes = new_figure(1, 1, (WIDTH, 4.2), _caption(7, "4.1", more))
    axis = axes[0, 0]
    gpus = [row[0] for row in TABLE_7]
    beside, above, below = (12, 7), (0, 7), (0, -14)
    own = [above] * 2 + [below] * 4  # off the other lines
    for name, column, colour, offsets in (("OpenMPI 1.8.5", 1, GREY, [beside] * 6), ("the authors' own", 2, BLUE, own)):
        seconds = [row[column] for row in TABLE_7]
        axis.loglog(gpus, seconds, marker="o", color=colour, label=name)
        for x, y, offset in zip(gpus, seconds, offsets, strict=True):
            axis.annotate(f"{y:,.1f}", (x, y), offset, textcoords="offset points", ha="center", fontsize=9)
    perfect = [TABLE_7[0][2] * gpus[0] / number for number in gpus]
    axis.plot(gpus, perfect, color=BLUE, linewidth=0.8, linestyle="--", label="half for each doubling (perfect scaling)")
    axis.set(
        xlabel="GPUs, logarithmic", ylabel="time for all-reduce, s per epoch,\nlogarithmic", xlim=(3, 170), ylim=(50, 150_000)
    )
    axis.set_xticks(gpus, map(str, gpus))
    axis.set_yticks((100, 1000, 10_000, 100_000), ("100", "1,000", "10,000", "100,000"))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def people() -> Figure:
    """Table 13: ahead of people on 3 of 4 sets of read speech. Tables 14 and 15: behind them on accents and in noise."""
    more = "with Tables 14 (6.1.3, VoxForge) and 15 (6.1.4, CHiME-3). People: the better of two transcripts of each clip"
    parts = (("read speech (Table 13)", TABLE_13), ("accents (Table 14)", TABLE_14), ("CHiME-3 (Table 15)", TABLE_15))
    sizes = {"height_ratios": [len(table) for _, table in parts]}
    figure, axes = new_figure(3, 1, (WIDTH, 7.5), _caption(13, "6.1.2", more), sharex=True, gridspec_kw=sizes)
    for axis, (title, table) in zip(axes[:, 0], parts, strict=True):
        for column, name, colour, shift in ((2, "Deep Speech 2", BLUE, -0.2), (3, "people", ORANGE, 0.2)):
            bars = axis.barh(np.arange(len(table)) + shift, [row[column] for row in table], 0.4, label=name, color=colour)
            axis.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
        axis.set_yticks(range(len(table)), [row[0] for row in table])
        axis.set_title(title, loc="left", fontsize=10)
        axis.invert_yaxis()
    axes[0, 0].legend(frameon=False, loc="upper right")
    axes[-1, 0].set(xlabel="WER, %", xlim=(0, 50))
    return figure


# The docstring of each says what it shows, and is also its title.
CHARTS = {
    "paper_table_1_batch_norm": batch_norm_by_depth,
    "paper_table_2_sortagrad": sortagrad_gain,
    "paper_table_3_rnn_or_gru": rnn_or_gru,
    "paper_table_4_convolutions": convolutions,
    "paper_table_5_strides_and_bigrams": strides_and_bigrams,
    "paper_table_7_all_reduce": all_reduce,
    "paper_table_10_more_data": more_data,
    "paper_table_11_model_size": model_size,
    "paper_table_13_people": people,
}


def titled_chart(name: str) -> Figure:
    """A chart of ``CHARTS`` under its title."""
    figure, title = CHARTS[name](), CHARTS[name].__doc__
    title = balanced(title, int(9.5 * figure.get_figwidth()))  # 9.5 letters of this size to an inch
    if figure.legends:  # it stands at the top
        figure.legends[0].set_title(title, {"size": "large"})
        figure.legends[0].get_title().set_multialignment("center")
    else:
        figure.suptitle(title)
    return figure
