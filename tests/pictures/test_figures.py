"""figures.py and paper_charts.py: every picture is there and not blank, and what it says is what was measured."""

from __future__ import annotations

import io
import re

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from decoding.tuning import Tuning
from implementation import (
    CharEncoder,
    DeepSpeech2,
    collate_batch,
    evaluate,
    forced_alignment,
    generate_synthetic_dataset,
    greedy_decode,
    prefix_beam_search,
    train_step,
    utterance_seconds,
)
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
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        train_step(model, collate_batch(speech, ENCODER, n_fft=64), optimizer)
    return model.eval()


def is_drawn(figure: Figure) -> bool:
    """Whether the saved picture is large enough to be read and not blank."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    picture = matplotlib.image.imread(file)[..., :3]
    return min(picture.shape[:2]) >= 300 and picture.shape[1] >= 600 and picture.std() > 0.03


def words_of(figure: Figure) -> str:
    """All text of a figure."""
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def output(model, sample):
    batch = collate_batch([sample], ENCODER, n_fft=64)
    with torch.no_grad():
        return model(batch.features, batch.feature_lengths)[0][:, 0]


HISTORY = [
    {"epoch": n, "loss": 9 / n, "dev_loss": 8 / n, "dev_wer": 0.9 / n, "dev_cer": 0.5 / n, "blank_share": 0.5} for n in (1, 2, 3)
]


def drawings(model, speech):
    """One figure of each kind, by name."""
    result, sample = evaluate(model, speech, ENCODER), speech[0]
    tuning = Tuning((0.0, 0.5), (0.0, 1.0, 2.0), np.array([[9, 8, 7], [6, 5, 9]]), 20)
    return {
        "training_curves": figures.training_curves(HISTORY),
        "predictions": figures.predictions(model, speech, ENCODER, result),
        "tuning_surface": figures.tuning_surface(tuning),
        "waveform_to_features": figures.waveform_to_features(sample, 64),
        "sortagrad": figures.sortagrad(utterance_seconds(speech), 2),
        "architecture": figures.architecture(model),
        "first_layer_filters": figures.first_layer_filters(model),
        "activations": figures.activations(model, speech, ENCODER),
        "ctc_output": figures.ctc_output(model, sample, ENCODER),
        "alignment": figures.alignment(model, sample, ENCODER),
        "beam_tree": figures.beam_tree(model, sample, ENCODER),
    }


def test_every_picture_is_drawn_and_says_where_it_is_from(model, speech):
    for name, figure in drawings(model, speech).items():
        assert is_drawn(figure), name
        assert "measured here" in words_of(figure) or "drawn from the model" in words_of(figure), name


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """Title and caption lie within the picture."""
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()


def test_a_long_caption_is_not_cut_off(model, speech):
    tuning = Tuning((0.0, 0.5), (0.0, 1.0, 2.0), np.array([[9, 8, 7], [6, 5, 9]]), 20)
    command = "python tune_decoder.py runs/002/checkpoint.pt --data barista_en --lm runs/002/lm.arpa --lexicon --overwrite"
    assert_nothing_is_cut_off(figures.tuning_surface(tuning, "measured here: " + command))


@pytest.mark.parametrize("name", paper_charts.CHARTS)
def test_every_chart_of_the_paper_names_its_table(name):
    figure = paper_charts.titled_chart(name)
    assert is_drawn(figure)
    assert_nothing_is_cut_off(figure)
    table = re.search(r"table_(\d+)", name)[1]
    assert f"paper, Table {table} (arXiv:1512.02595, Section" in words_of(figure)
    assert paper_charts.CHARTS[name].__doc__.startswith(f"Table {table}: ")


@pytest.mark.parametrize("name", paper_charts.CHARTS)
def test_every_number_of_a_chart_stands_in_its_table(name):
    table = str(getattr(paper_charts, "TABLE_" + re.search(r"table_(\d+)", name)[1]))
    rates = {float(number) for number in re.findall(r"\d+\.\d+", table)}
    shown = re.findall(r"^\d+\.\d\d$", words_of(paper_charts.CHARTS[name]()), re.MULTILINE)
    assert {float(number) for number in shown} == rates and len(shown) >= len(rates)


def test_the_bars_are_as_high_as_their_numbers():
    axis = paper_charts.rnn_or_gru().axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights == [[14.40, 10.56, 9.78, 9.52], [10.53, 8.00, 7.79, 8.19]]


def test_the_architecture_is_that_of_the_model():
    model = DeepSpeech2(n_freq=65, vocab_size=29, n_conv=3, n_rnn=2, rnn_hidden=16, rnn_type="rnn", batch_norm="input")
    text = words_of(figures.architecture(model, 8000))
    assert f"{sum(p.numel() for p in model.parameters()):,} in all" in text
    assert "0 to 4 kHz" in text and text.count("21×11") == 2 and text.count("bidirectional RNN, 16 units") == 2
    with torch.no_grad():
        log_probs, lengths = model.eval()(torch.randn(1, 1, 65, 300), torch.tensor([300]))
    assert f"29 symbols × {log_probs.shape[0]}" in text and int(lengths) == log_probs.shape[0]


def test_the_share_that_the_clipped_relu_cuts_is_counted(model, speech):
    text = words_of(figures.activations(model, speech[:1], ENCODER))
    shares = [int(share) for share in re.findall(r"(\d+) % become 0", text)]
    assert len(shares) == len(model.convolutions) + len(model.recurrences)
    batch = collate_batch(speech[:1], ENCODER, n_fft=64)
    with torch.no_grad():
        first, _ = model.convolutions[0](batch.features, batch.feature_lengths)
    assert shares[0] == pytest.approx(100 * (first == 0).float().mean().item(), abs=1)


def test_activations_leave_out_padding(model, speech):
    seen = {}
    hook = model.convolutions[0].norm.register_forward_hook(figures._keep_valid(seen, 0))
    batch = collate_batch(speech, ENCODER, n_fft=64)
    with torch.no_grad():
        _, lengths = model.convolutions[0](batch.features, batch.feature_lengths)
    hook.remove()
    assert len(seen[0][0]) == int(lengths.sum()) * 32 * 17


def test_the_path_drawn_is_the_viterbi_path(model, speech):
    axis = figures.ctc_output(model, speech[0], ENCODER).axes[2]
    drawn = axis.lines[0].get_ydata().tolist()
    assert drawn == forced_alignment(output(model, speech[0]), ENCODER.encode(speech[0].transcript))


def test_the_tree_ends_with_the_texts_of_the_search(model, speech):
    log_probs = output(model, speech[0])
    text = words_of(figures.beam_tree(model, speech[0], ENCODER, beam_width=3))
    found = prefix_beam_search(log_probs.double().numpy(), 3)
    assert len(found) == 3
    for hypothesis in found:
        assert f"{ENCODER.decode(hypothesis.labels)!r}  {np.exp(hypothesis.log_ctc):.2g}" in text


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
        assert f"REF {result['references'][index]}\nHYP {result['hypotheses'][index]}" in text
    assert result["hypotheses"][best] == greedy_decode(output(model, speech[best])[:, None], ENCODER)[0]
