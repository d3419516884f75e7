"""lessons.py: what the notebook's own pictures say is what was measured."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from implementation import AudioSample, CharEncoder, DeepSpeech2, Hypothesis, generate_synthetic_audio, greedy_decode
from pictures import lessons
from pictures.figures import output_of

ENCODER = CharEncoder()


@pytest.fixture(scope="module")
def sample():
    torch.manual_seed(0)
    np.random.seed(0)
    return AudioSample(generate_synthetic_audio("see me", speaker=1), 16000, "see me")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=1, rnn_hidden=8).eval()


def titles(figure):
    FigureCanvasAgg(figure).draw()
    return [axis.get_title(loc) for axis in figure.axes for loc in ("left", "center") if axis.get_title(loc)]


def test_a_path_shows_its_blanks_and_spaces():
    assert lessons.symbols_of([0, 8, 8, 0, *ENCODER.encode(" i")], ENCODER) == "_hh_␣i"


def test_the_pipeline_ends_with_the_text_and_marks_what_stays_in_it(model, sample):
    figure = lessons.pipeline(model, sample, ENCODER)
    text = greedy_decode(output_of(model, sample, ENCODER)[1][:, None], ENCODER)[0]
    path = figure.axes[3].texts
    assert titles(figure)[3].endswith(f":   {text}") and len(path) == len(output_of(model, sample, ENCODER)[1])
    kept = "".join(letter.get_text() for letter in path if letter.get_weight() == "bold")
    assert kept.replace("␣", " ") == text


def test_each_stage_stands_under_its_name_with_its_text(model, sample):
    rows = torch.full((6, 29), 0.001).index_put((torch.arange(6), torch.tensor([0, 8, 8, 0, 9, 9])), torch.tensor(0.972)).log()
    figure = lessons.outputs(model, sample, {"before": output_of(model, sample, ENCODER)[1], "after": rows}, ENCODER)
    assert titles(figure)[0] == "spoken: see me" and titles(figure)[2] == "after: 'hi' (dotted: blank)"
    assert re.search(r"before: .* \(all curves lie together: no symbol is above 0\.\d\d?\)", titles(figure)[1])


def test_the_forward_table_ends_with_the_sum_over_all_paths():
    few, rows = CharEncoder("se"), torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double().log_softmax(-1)
    paths = [path for path in product(range(3), repeat=5) if few.ctc_decode(path) == "see"]
    expected = sum(np.exp(sum(rows[t, label].item() for t, label in enumerate(path))) for path in paths)
    assert f"p('see') = {expected:.3g}, loss = {-np.log(expected):.2f}" in titles(lessons.forward_table(rows, "see", few, 5))[0]
    written = [text.get_text() for text in lessons.forward_table(rows, "see", few, 2).axes[0].texts if text.get_text()]
    assert len(written) == 2 * 7  # a column for each of the two frames, none for those to come


def test_arrows_lead_only_along_steps_that_a_path_may_take():
    few, rows = CharEncoder("se"), torch.zeros(6, 3).double().log_softmax(-1)
    texts = lessons.forward_table(rows, "see", few, 6).axes[0].texts
    arrows = {(round(text.xyann[1]), round(text.xy[1])) for text in texts if getattr(text, "arrowprops", None)}
    assert (1, 3) in arrows  # s to e, over the blank
    assert (3, 5) not in arrows and (0, 2) not in arrows  # not from e to e, nor from blank to blank


def test_the_parts_of_a_score_add_up_to_it():
    found = [Hypothesis(tuple(ENCODER.encode("see me")), -7.0, -4.0, -10.0, 2), Hypothesis((), -9.0, -9.0, 0.0, 0)]
    figure = lessons.scores(found, ENCODER, alpha=0.5, beta=1.0)
    assert "alpha 0.5, beta 1" in titles(figure)[0] and titles(figure)[0].endswith("'see me'")
    (axis,) = figure.axes
    ctc, model, words = (bars[0] for bars in axis.containers)  # of the best text
    assert [part.get_width() for part in (ctc, model, words)] == [-4.0, -5.0, 2.0]
    assert words.get_x() + words.get_width() == axis.collections[0].get_segments()[0][0][0] == -7.0


def test_runs_are_means_over_the_last_steps():
    figure = lessons.runs({"one": {"a": [4.0, 2.0, 0.0], "b": [1.0]}}, smooth=2)
    a, b = figure.axes[0].lines
    assert a.get_xydata().tolist() == [[2, 3.0], [3, 1.0]] and b.get_xydata().tolist() == [[1, 1.0]]
