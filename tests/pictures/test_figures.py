"""figures.py and paper_charts.py: every picture is there and not blank, and what it says is what was measured."""

from __future__ import annotations

import re
import weakref
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from decoding.tuning import Tuning
from implementation import (
    AudioSample,
    CharEncoder,
    Convolution,
    CorpusStatistics,
    DeepSpeech2,
    Features,
    RecurrentLayer,
    collate_batch,
    evaluate,
    forced_alignment,
    generate_synthetic_dataset,
    greedy_decode,
    prefix_beam_search,
    train_step,
    utterance_seconds,
)
from models.checkpoints import Checkpoint, ModelConfig
from models.deep_speech_1 import DeepSpeech1
from models.streaming import StreamingRecognizer
from pictures import figures, paper_charts

ENCODER = CharEncoder()


@pytest.fixture(scope="module")
def speech():
    np.random.seed(0)
    torch.manual_seed(0)
    return generate_synthetic_dataset(6, min_words=1, max_words=2)


@pytest.fixture(scope="module")
def model(speech):
    """A small model that has learnt a little, so that no output is flat."""
    torch.manual_seed(0)
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=24)
    optimizer, batch = torch.optim.Adam(model.parameters(), 5e-3), collate_batch(speech, ENCODER, n_fft=64)
    for _ in range(30):
        train_step(model, batch, optimizer)
    return model.eval()


LAID_OUT: weakref.WeakSet[Figure] = weakref.WeakSet()


def is_drawn(figure: Figure) -> bool:
    """Whether the picture is large enough to be read and not blank."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    LAID_OUT.add(figure)
    picture = np.asarray(canvas.buffer_rgba())[..., :3] / np.float32(255)
    return min(picture.shape[:2]) >= 300 and picture.shape[1] >= 600 and picture.std() > 0.03


def lay_out(figure: Figure) -> None:
    """Gives everything its place, unless it was drawn before."""
    if figure not in LAID_OUT:
        figure.draw_without_rendering()
        LAID_OUT.add(figure)


def words_of(figure: Figure) -> str:
    """All text of a figure but the numbers along its axes, which come with its layout."""
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def output(model, sample):
    batch = collate_batch([sample], ENCODER, n_fft=64)
    with torch.no_grad():
        return model(batch.features, batch.feature_lengths)[0][:, 0]


HISTORY = [
    {"epoch": n, "loss": 9 / n, "dev_loss": 8 / n, "dev_wer": 0.9 / n, "dev_cer": 0.5 / n, "blank_share": 0.5} for n in (1, 2, 3)
]


@pytest.fixture(scope="module")
def charts():
    """The paper's tables as figures, by name."""
    return {name: paper_charts.titled_chart(name) for name in paper_charts.CHARTS}


@pytest.fixture(scope="module")
def drawings(model, speech):
    """One figure of each kind, by name."""
    result, sample = evaluate(model, speech, ENCODER), speech[0]
    tuning = Tuning((0.0, 0.5), (0.0, 1.0, 2.0), np.array([[9, 8, 7], [6, 5, 9]]), 20)
    return {
        "training_curves": figures.training_curves(HISTORY),
        "predictions": figures.predictions(model, speech, ENCODER, result),
        "tuning_surface": figures.tuning_surface(tuning),
        "waveform_to_features": figures.waveform_to_features(sample, Features(n_fft=64)),
        "sortagrad": figures.sortagrad(utterance_seconds(speech), 2),
        "architecture": figures.architecture(model),
        "first_layer_filters": figures.first_layer_filters(model),
        "activations": figures.activations(model, speech, ENCODER),
        "ctc_output": figures.ctc_output(model, sample, ENCODER),
        "alignment": figures.alignment(model, sample, ENCODER),
        "beam_tree": figures.beam_tree(model, sample, ENCODER),
        "row_convolution": figures.row_convolution(model),
    }


def test_every_picture_is_drawn_and_says_where_it_is_from(drawings):
    for name, figure in drawings.items():
        assert is_drawn(figure), name
        assert "measured here" in words_of(figure) or "drawn from the model" in words_of(figure), name


def test_pictures_of_deep_speech_1_name_its_layers(speech):
    model = DeepSpeech1(33, 29, context=4, hidden=24).eval()
    with torch.no_grad():
        model.convolutions[1].conv.bias -= 100  # so that the clipped ReLU of layer 2 makes all of it 0
    rows = words_of(figures.architecture(model))
    for words in (
        "feed-forward, 9 spliced frames, stride 2,\nno batch norm, clipped ReLU",
        "feed-forward,\nno batch norm, clipped ReLU",
        "bidirectional RNN, 24 units each way,\nno batch norm, clipped ReLU, sum of both",
    ):
        assert words in rows
    seen = words_of(figures.activations(model, speech, ENCODER))
    assert [seen.count(f"layer {n}: {kind}") for n, kind in enumerate(["feed-forward"] * 3 + ["RNN"], start=1)] == [1] * 4
    assert "100 % become 0" in seen
    waits = words_of(figures.row_convolution(DeepSpeech1(33, 29, context=4, hidden=24, bidirectional=False)))
    assert "kernel of 9" in waits and "kernel of 1\n" not in waits and "convolution 2" not in waits
    assert "without the row convolution it would need 60 ms" in waits  # a window of 20 ms and 4 frames of 10 ms
    assert is_drawn(figures.first_layer_filters(model)) and is_drawn(figures.ctc_output(model, speech[0], ENCODER))


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """Title, caption and legends lie within the picture."""
    lay_out(figure)
    for text in (*figure.texts, *figure.legends):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, text


def test_a_long_caption_is_not_cut_off(model, speech):
    tuning = Tuning((0.0, 0.5), (0.0, 1.0, 2.0), np.array([[9, 8, 7], [6, 5, 9]]), 20)
    command = "python tune_decoder.py runs/002/checkpoint.pt --data barista_en --lm runs/002/lm.arpa --lexicon --overwrite"
    assert_nothing_is_cut_off(figures.tuning_surface(tuning, "measured here: " + command))


@pytest.mark.parametrize("name", paper_charts.CHARTS)
def test_every_chart_of_the_paper_names_its_table(charts, name):
    figure = charts[name]
    assert is_drawn(figure)
    assert_nothing_is_cut_off(figure)
    table = re.search(r"table_(\d+)", name)[1]
    assert f"paper, Table {table} (arXiv:1512.02595, Section" in words_of(figure)
    assert paper_charts.CHARTS[name].__doc__.startswith(f"Table {table}: ")


@pytest.mark.parametrize("name", paper_charts.CHARTS)
def test_every_number_of_a_chart_stands_in_its_table(charts, name):
    first = int(re.search(r"table_(\d+)", name)[1])
    tables = [getattr(paper_charts, f"TABLE_{table}") for table in ((13, 14, 15) if first == 13 else (first,))]
    if first == 13:
        tables = [row[2:] for table in tables for row in table]  # the chart leaves Deep Speech 1 out
    rates = {float(number) for number in re.findall(r"\d+\.\d+", str(tables))}
    shown = re.findall(r"^[\d,]+\.\d{2}$" if first != 7 else r"^[\d,]+\.\d$", words_of(charts[name]), re.MULTILINE)
    assert {float(number.replace(",", "")) for number in shown} == rates and len(shown) >= len(rates)


def test_the_bars_are_as_high_as_their_numbers():
    axis = paper_charts.rnn_or_gru().axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights == [[14.40, 10.56, 9.78, 9.52], [10.53, 8.00, 7.79, 8.19]]


def covered_by_legends(figure: Figure) -> list[str]:
    """What of lines, bars and numbers lies below the legend of its axes."""
    lay_out(figure)
    found = []
    for axis in (axis for axis in figure.axes if axis.get_legend()):
        box = axis.get_legend().get_window_extent()
        for line in axis.lines:
            corners = line.get_transform().transform(line.get_xydata())
            between = np.linspace(0, len(corners) - 1, 20 * len(corners))
            x, y = (np.interp(between, np.arange(len(corners)), values) for values in corners.T)
            if ((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).any():
                found.append(f"{axis.get_title()}: {line.get_label()}")
        found += [f"{axis.get_title()}: {a}" for a in (*axis.patches, *axis.texts) if box.overlaps(a.get_window_extent())]
    return found


def test_no_legend_lies_on_what_is_drawn(drawings, charts, speech):
    for name, figure in {**drawings, **charts}.items():
        assert covered_by_legends(figure) == [], name
    for sample in speech:
        assert covered_by_legends(figures.waveform_to_features(sample)) == []


def test_no_two_letters_above_the_curves_touch(drawings):
    for axis in (*drawings["predictions"].axes[1::2], drawings["ctc_output"].axes[1]):
        lay_out(axis.figure)
        boxes = [text.get_window_extent() for text in axis.texts]
        assert boxes and not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])


def test_each_frame_is_drawn_in_the_middle_of_its_window(speech):
    click = AudioSample(torch.zeros(16000).index_fill(0, torch.tensor(8000), 1.0), 16000, "")  # after half a second
    for window in (20, 80):
        features = Features(n_fft=2048, window_ms=window)
        axis = figures.new_figure(1, 1, (6, 3), "")[1][0, 0]
        figures.draw_spectrogram(axis, features(click.audio).numpy(), click, features)
        left, right, *_ = axis.images[0].get_extent()
        energy = features(click.audio).sum(0).clamp_min(0)
        middle = (left + (right - left) * (np.arange(len(energy)) + 0.5) / len(energy)) @ (energy / energy.sum()).numpy()
        assert middle == pytest.approx(0.5, abs=0.005)


def test_neighbours_in_a_text_have_different_colours(speech):
    for text in ("a man can plan a canal and a panama hat", "zebras", *(sample.transcript for sample in speech)):
        colours = figures._colours(ENCODER.encode(text))
        assert all(one == other or colours[one] != colours[other] for one, other in pairwise(ENCODER.encode(text)))


def test_no_two_texts_of_the_tree_touch(model, speech):
    for width in (2, 4, 8):  # with 8, one text at the end is the beginning of another
        (axis,) = figures.beam_tree(model, speech[0], ENCODER, width).axes
        axis.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axis.texts]
        assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])


def test_letters_can_be_read_on_a_page_850_pixels_wide(drawings, charts):
    for name, figure in {**drawings, **charts}.items():
        lay_out(figure)
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
        assert min(sizes) / 72 * 850 / figure.get_figwidth() > 11.5, name


def test_all_filters_have_one_scale(model):
    figure = figures.first_layer_filters(model)
    scales = {axis.images[0].get_clim() for axis in figure.axes if axis.images}
    assert len(scales) == 1 and figure.axes[-1].get_ylabel() == "weight"


def test_the_boxes_of_an_alignment_are_the_times_of_its_letters(model, speech):
    sample, seconds = speech[0], model.seconds_per_output
    path = forced_alignment(output(model, sample), ENCODER.encode(sample.transcript))
    boxes = [(box.get_x(), box.get_x() + box.get_width()) for box in figures.alignment(model, sample, ENCODER).axes[1].patches]
    frames = [[t for t, state in enumerate(path) if state == 2 * place + 1] for place in range(len(sample.transcript))]
    spans = [(min(of) * seconds, (max(of) + 1) * seconds) for of, c in zip(frames, sample.transcript, strict=True) if c != " "]
    assert np.array(boxes) == pytest.approx(np.array(spans))


def test_a_legend_on_a_curve_is_seen():
    figure, axes = figures.new_figure(1, 1, (6, 3), "")
    axes[0, 0].plot([0, 1], [0, 1], label="a line")
    axes[0, 0].legend(loc="upper right")
    assert covered_by_legends(figure) == [": a line"]


def test_the_way_to_the_features_is_that_of_the_features(speech):
    features = Features(window_ms=25, stride_ms=5, n_fft=512)
    text = words_of(figures.waveform_to_features(speech[0], features))
    assert "25 ms of the waveform" in text and "the next begins 5 ms later" in text and "the 257 bins that are kept" in text
    assert f"257 bins, {features(speech[0].audio).shape[1]} frames" in text
    figure = figures.waveform_to_features(speech[0])
    assert "the 65 bins that are kept" in words_of(figure)
    frame, windowed = (line.get_ydata() for line in figure.axes[1].lines)
    assert len(frame) == 320 and windowed == pytest.approx(frame * torch.hann_window(320).numpy())


def test_features_normalised_over_a_corpus_are_drawn_as_such(speech):
    statistics = CorpusStatistics(0.1, (-2.0,) * 65, (3.0,) * 65)
    features = Features(n_fft=128, normalisation="corpus", corpus=statistics)
    figure = figures.waveform_to_features(speech[0], features)
    text = words_of(figure)
    assert "normalised over the corpus" in text and "mean 0 and variance 1" not in text
    drawn = next(axis.images[0] for axis in figure.axes if axis.images)
    assert np.asarray(drawn.get_array()) == pytest.approx(features(speech[0].audio).numpy())


def test_a_clip_shorter_than_a_window_is_drawn(speech):
    clip = AudioSample(speech[0].audio[:100], 16000, "a")
    assert "65 bins, 1 frames" in words_of(figures.waveform_to_features(clip))


ARCHITECTURES = {
    "the paper's": (
        {"rnn_type": "rnn", "batch_norm": "input", "n_conv": 3},
        ["21×11 (frequency×time), stride 2×1,\nbatch norm, clipped ReLU"] * 2
        + ["→ ← bidirectional RNN, 16 units each way,\nbatch norm on W h (Eq. 8), clipped ReLU, sum of both"] * 2,
    ),
    "forward": ({"bidirectional": False}, ["→ forward GRU, 16 units,\nbatch norm, clipped ReLU"] * 2),
    "forward, and what stands above": (
        {"bidirectional": False, "row_conv": 3, "fc_hidden": 12},
        ["row convolution (Eq. 11), 3 frames ahead\n16 × 150\n", "fully connected, clipped ReLU\n12 × 150\n"],
    ),
    "forward, Eq. 8": ({"bidirectional": False, "batch_norm": "input"}, ["16 units,\nbatch norm on W h (Eq. 8)\n"] * 2),
    "no batch norm": (
        {"batch_norm": "none", "rnn_type": "lstm"},
        ["stride 2×2,\nno batch norm, clipped ReLU", "bidirectional LSTM, 16 units each way,\nno batch norm, sum of both"],
    ),
    "Eq. 7": (
        {"batch_norm": "step", "rnn_type": "rnn"},
        ["each way,\nbatch norm at each step (Eq. 7), clipped ReLU, sum of both"] * 2,
    ),
    "1D, then 2D": (
        {"convolutions": (Convolution(8, (0, 5), (1, 1)), Convolution(4, (3, 3), (1, 2)))},
        ["8 ch. × 300\n", "4 ch. × 1 bins × 150\n"],
    ),
    "1D": (
        {"convolutions": "2-layer 1D"},
        ["1D convolution over 5 frames, stride 1,\nbatch norm, clipped ReLU", "stride 2,\nbatch norm", "640 ch. × 300\n"],
    ),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_architecture_is_that_of_the_model(name):
    settings, expected = ARCHITECTURES[name]
    model = DeepSpeech2(n_freq=65, vocab_size=29, n_rnn=2, rnn_hidden=16, **settings)
    model.features = Features(sample_rate=8000, n_fft=128, stride_ms=20)
    figure = figures.architecture(model)
    text = words_of(figure)
    assert f"{sum(p.numel() for p in model.parameters()):,} in all" in text and "0 to 4 kHz" in text
    for part in expected:
        assert text.count(part) >= expected.count(part), part
    assert ("no batch norm" in text) == (name == "no batch norm") and ("←" in text) == ("forward" not in name)
    with torch.no_grad():
        log_probs, lengths = model.eval()(torch.randn(1, 1, 65, 300), torch.tensor([300]))
    assert f"29 symbols × {log_probs.shape[0]}" in text and int(lengths) == log_probs.shape[0]
    rates = re.findall(r"^(\d+) ms$", text, re.MULTILINE)
    assert rates[0] == "20" and float(rates[-1]) == pytest.approx(1000 * model.seconds_per_output)
    bars = [bar.get_width() for bar in figure.axes[1].patches]
    assert len(rates) == len(bars) and sum(bars) == sum(p.numel() for p in model.parameters())


def test_the_kernels_of_a_1d_convolution_have_all_bins():
    model = DeepSpeech2(n_freq=65, vocab_size=29, convolutions="1-layer 1D", n_rnn=1, rnn_hidden=8)
    model.features = Features(sample_rate=8000, n_fft=128, stride_ms=20)
    weights = model.convolutions[0].conv.weight.detach()
    weights[7] *= 3
    figure = figures.first_layer_filters(model)
    text, images = words_of(figure), [axis.images[0] for axis in figure.axes if axis.images]
    assert "the 32 strongest of 1280 kernels" in text and "frequency, kHz" in text and len(images) == 32
    assert np.array_equal(images[0].get_array(), weights[7, :, 0])
    assert images[0].get_extent() == pytest.approx((-110, 110, 0, 4 * 65 / 64))  # 11 frames of 20 ms


def test_the_kernels_of_a_2d_convolution_lie_about_their_centre(model):
    image = figures.first_layer_filters(model).axes[0].images[0]
    assert image.get_array().shape == (41, 11)
    assert image.get_extent() == pytest.approx((-55, 55, -8 * 20.5 / 32, 8 * 20.5 / 32))


def test_seconds_are_those_of_the_models_features(speech):
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8).eval()
    model.features = Features(window_ms=25, stride_ms=12.5, n_fft=64)
    sample = speech[0]
    frames = int(model.output_lengths(torch.tensor([model.features.frames(sample.seconds)])))
    axes = figures.ctc_output(model, sample, ENCODER).axes
    for axis in axes[1:]:
        assert axis.lines[0].get_xdata() == pytest.approx((np.arange(frames) + 0.5) * 0.025)
    assert axes[2].images[0].get_extent()[1] == pytest.approx(frames * 0.025)
    blank = figures.predictions(model, speech[:1], ENCODER, evaluate(model, speech[:1], ENCODER)).axes[1].lines[0]
    assert blank.get_xdata()[-1] == pytest.approx((frames - 0.5) * 0.025)
    words = figures.alignment(model, sample, ENCODER).axes[2].texts
    ends = [float(re.search(r"-\n(\d+\.\d\d) s", word.get_text())[1]) for word in words]
    with torch.no_grad():
        batch = collate_batch([sample], ENCODER, features=model.features)
        path = forced_alignment(model(batch.features, batch.feature_lengths)[0][:, 0], ENCODER.encode(sample.transcript))
    last = max(frame for frame, state in enumerate(path) if state == 2 * len(sample.transcript) - 1)
    assert ends[-1] == pytest.approx((last + 1) * 0.025, abs=0.006)


def test_the_example_of_a_row_convolution_is_the_sum_of_its_window(model):
    axis = figures.row_convolution(model).axes[0]
    cells = {text.get_position(): float(text.get_text()) for text in axis.texts if re.fullmatch(r"\d+", text.get_text())}
    rows = [[value for (_, y), value in cells.items() if y == height] for height in sorted({y for _, y in cells})]
    h, weights, r = (np.array(rows[first : first + 3]) for first in (0, 3, 6))
    assert h.shape == (3, 9) and weights.shape == (3, 3) and (h[:, 7:] == 0).all()
    assert np.array_equal(r, [[weights[i] @ h[i, t : t + 3] for t in range(7)] for i in range(3)])
    marked = [cell.get_x() for cell in axis.patches if cell.get_facecolor()[:3] != (1, 1, 1)]
    assert sorted(marked) == sorted(3 * [*range(2, 5), *range(2, 5), 2])  # a window of h, W below it, one frame of r
    sums = [re.fullmatch(r"(\d)·(\d) \+ (\d)·(\d) \+ (\d)·(\d) = (\d+)", text.get_text()) for text in axis.texts]
    sums = np.array([[int(number) for number in found.groups()] for found in sums if found])
    assert (
        np.array_equal(sums[:, :6:2], weights)
        and np.array_equal(sums[:, 1:6:2], h[:, 2:5])
        and np.array_equal(sums[:, 6], r[:, 2])
    )


STREAMED = {
    "the paper's lookahead": {"time_strides": (2, 2), "row_conv": 19},
    "other features": {"n_conv": 3, "row_conv": 4, "features": {"window_ms": 25, "stride_ms": 5, "sample_rate": 8000}},
    "no row convolution": {"convolutions": "3-layer 1D"},
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_waits_as_long_as_is_drawn(name):
    """Sample by sample, about the end of the wait, until the first output frame is there."""
    settings, statistics = dict(STREAMED[name]), CorpusStatistics(0.1, (0.0,) * 33, (1.0,) * 33)
    features = Features(n_fft=64, normalisation="corpus", corpus=statistics, **settings.pop("features", {}))
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8, bidirectional=False, **settings)
    model.features = features
    axis = figures.row_convolution(model).axes[1]
    with_row, without = (float(number) for number in re.findall(r"([\d.]+) ms", axis.get_title()))
    wait = round((with_row if "row_conv" in settings else without) * features.sample_rate / 1000)
    recognizer = StreamingRecognizer(Checkpoint(model, ModelConfig(), ENCODER))
    assert len(recognizer.log_probs(np.zeros(wait - 1, np.float32))) == 0
    assert len(recognizer.log_probs(np.zeros(1, np.float32))) == 1
    assert max(cell.get_x() + cell.get_width() for cell in axis.patches) == pytest.approx(with_row)


def test_the_wait_of_the_deployed_model_is_the_sum_of_its_layers():
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8, time_strides=(2, 2))
    text = words_of(figures.row_convolution(model))
    assert "needs 930 ms of audio;\nwithout the row convolution it would need 170 ms" in text and "the paper's tau = 19" in text
    assert "5 more frames, 10 ms apart: 50 ms" in text and "5 more frames, 20 ms apart: 100 ms" in text
    assert "\n20 ms\n" in text and "19 more frames, 40 ms apart: 760 ms" in text


def test_the_share_that_the_clipped_relu_cuts_is_counted(model, speech):
    text = words_of(figures.activations(model, speech[:1], ENCODER))
    shares = [int(share) for share in re.findall(r"(\d+) % become 0", text)]
    assert len(shares) == len(model.convolutions) + len(model.recurrences)
    batch = collate_batch(speech[:1], ENCODER, n_fft=64)
    with torch.no_grad():
        first, _ = model.convolutions[0](batch.features, batch.feature_lengths)
    assert shares[0] == pytest.approx(100 * (first == 0).float().mean().item(), abs=1)


PLACEMENTS = [
    {},
    {"batch_norm": "input", "bidirectional": False},
    {"batch_norm": "none", "convolutions": "1-layer 1D"},
    {"batch_norm": "none", "rnn_type": "lstm", "bidirectional": False},
    {"batch_norm": "step", "rnn_type": "rnn"},
]


@pytest.mark.parametrize("settings", PLACEMENTS, ids=str)
def test_activations_are_those_of_the_utterances_without_padding(speech, settings):
    torch.manual_seed(1)
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=2, rnn_hidden=8, **settings).eval()
    layers = [*model.convolutions, *model.recurrences]
    together = figures._seen_values(model, layers, speech[:3], ENCODER)
    alone = [figures._seen_values(model, layers, [sample], ENCODER) for sample in speech[:3]]
    assert len(together) == len(layers)
    for layer, both, parts in zip(layers, together, zip(*alone, strict=True), strict=True):
        shown = layer.norm is not None and settings.get("batch_norm") != "step"
        assert (both[0] is not None) == (shown or (layer.norm is not None and not isinstance(layer, RecurrentLayer)))
        for values, of_each in zip(both, zip(*parts, strict=True), strict=True):
            if values is not None:
                assert values.dtype == np.float32 and np.abs(values).max() > 0
                assert np.sort(values) == pytest.approx(np.sort(np.concatenate(of_each)), abs=1e-4)


def test_without_batch_norm_the_values_before_the_clipped_relu_and_the_outputs_are_shown(speech):
    torch.manual_seed(1)
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8, batch_norm="none").eval()
    torch.nn.init.constant_(model.convolutions[0].conv.bias, 0.1)
    batch = collate_batch(speech[:1], ENCODER, n_fft=64)
    with torch.no_grad():
        x = model.convolutions[0].conv(batch.features)
        hidden, lengths = batch.features, batch.feature_lengths
        for block in model.convolutions:
            hidden, lengths = block(hidden, lengths)
        states = model.recurrences[0](hidden.permute(3, 0, 1, 2).flatten(2), lengths)
    text = words_of(figures.activations(model, speech[:1], ENCODER))
    assert text.count("no batch norm") == 3 and "before:" not in text and "after:" not in text and "out of it" not in text
    assert f"before the ReLU: {x.mean():.2f} ± {x.std():.2f}\n{100 * (x < 0).float().mean():.0f} % become 0" in text
    assert f"output: {states.mean():.2f} ± {states.std():.2f}" in text


def test_batch_norm_at_each_step_is_called_so(speech):
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8, batch_norm="step", rnn_type="rnn").eval()
    text = words_of(figures.activations(model, speech[:1], ENCODER))
    assert "batch norm at each\nstep (Eq. 7)" in text and text.count("before: ") == 2 and text.count("% become 0") == 2


def test_the_path_drawn_is_the_viterbi_path(model, speech):
    axis = figures.ctc_output(model, speech[0], ENCODER).axes[2]
    drawn = axis.lines[0].get_ydata().tolist()
    assert drawn == forced_alignment(output(model, speech[0]), ENCODER.encode(speech[0].transcript))


def test_the_shares_of_the_states_are_those_of_all_paths():
    torch.manual_seed(2)
    log_probs, target = torch.randn(5, 3, dtype=torch.float64).log_softmax(1), [1, 1]
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for states in product(range(5), repeat=5):
        steps = [later - earlier for earlier, later in pairwise(states)]
        if states[0] < 2 and states[-1] > 2 and all(step in (0, 1) for step in steps):  # equal letters: no blank is skipped
            symbols = [target[state // 2] if state % 2 else ENCODER.blank_idx for state in states]
            probability = log_probs[range(5), symbols].sum().exp()
            for frame, state in enumerate(states):
                expected[frame, state] += probability
    assert torch.allclose(figures._state_shares(log_probs, target), expected / expected.sum(1, keepdim=True))


def test_the_tree_ends_with_the_texts_of_the_search(model, speech):
    log_probs = output(model, speech[0])
    text = words_of(figures.beam_tree(model, speech[0], ENCODER, beam_width=3))
    found = prefix_beam_search(log_probs.double().numpy(), 3)
    assert len(found) == 3
    for hypothesis in found:
        assert f"{ENCODER.decode(hypothesis.labels)!r}  {np.exp(hypothesis.log_ctc):.2g}" in text


TREE = {
    (): 0,
    (1,): 1,
    (2,): 1,
    (1, 1): 2,
    (1, 2): 2,
    (2, 2): 3,
    (1, 2, 1): 4,
    (1, 3): 4,
    (3,): 3,
    (4,): 3,
    (2, 1): 3,
    (1, 1, 1): 4,
}


def test_the_way_down_to_a_branch_touches_no_other():
    places = figures._tree_places(TREE, (1, 2, 1))
    starts = figures._tree_starts(TREE, places)
    others = [prefix for prefix, row in places.items() if row > 0]
    for branch in others:
        from_, to = places[branch[:-1]], places[branch]
        crossed = [prefix for prefix in others if from_ < places[prefix] < to and starts[prefix] <= starts[branch]]
        assert from_ < to and crossed == [], branch


def test_branches_of_the_tree_never_share_a_row():
    first = {(): 0, (1,): 1, (2,): 1, (1, 2): 2, (2, 2): 3, (1, 2, 1): 4, (1, 3): 4}
    places = figures._tree_places(first, (1, 2, 1))
    on_path = [(), (1,), (1, 2), (1, 2, 1)]
    assert places.keys() == first.keys() and all(places[prefix] == 0 for prefix in on_path)
    others = [row for prefix, row in places.items() if prefix not in on_path]
    assert sorted(others) == list(range(1, len(others) + 1))


def test_padding_shares_are_those_of_the_minibatches():
    lengths = np.array([1.0, 2.0, 3.0, 4.0])
    assert figures._padding_share(lengths, [[0, 3], [1, 2]]) == pytest.approx(1 - 10 / 14)
    assert figures._padding_share(lengths, [[0], [1], [2], [3]]) == 0
    text = words_of(figures.sortagrad([1.0, 1.0, 3.0, 3.0], 2))
    assert text.count("0.0 %") >= 1


def test_a_model_in_training_is_left_there(model, speech):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    figures.ctc_output(model, speech[0], ENCODER)
    figures.activations(model, speech, ENCODER)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()


def test_the_worst_the_middle_and_the_best_are_shown(model, speech):
    result = evaluate(model, speech, ENCODER)
    text = words_of(figures.predictions(model, speech, ENCODER, result))
    worst, best = result["words"].from_worst_to_best()[0], result["words"].from_worst_to_best()[-1]
    for index in (worst, best):
        assert result["words"].aligned_lines(index) in text
    assert result["hypotheses"][best] == greedy_decode(output(model, speech[best])[:, None], ENCODER)[0]
