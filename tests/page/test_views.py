"""What is shown is what was measured: frames, symbols, times and scores."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import matplotlib.image
import numpy as np
import pytest
import torch
from test_hearing import RATE, checkpoint_of

from implementation import CharEncoder
from models.transcription import Decoder
from page import views
from page.hearing import Recording, hear


def cells(html: str) -> list[str]:
    return re.findall(r"<i[^>]*>([^<]*)</i>", html)


def test_the_strip_has_a_cell_for_each_frame_with_its_likeliest_symbol():
    encoder = CharEncoder()
    rows = torch.full((5, encoder.vocab_size), 0.001).log()
    for frame, label in enumerate((0, 8, 8, 0, encoder.encode(" ")[0])):
        rows[frame, label] = 0.0
    assert cells(views.strip(rows, encoder)) == ["·", "h", "h", "·", "␣"]
    assert views.strip(rows, encoder).count("background") == 3  # a blank has no colour of its own


def test_a_pale_cell_is_an_unsure_one():
    encoder = CharEncoder()
    rows = torch.full((2, encoder.vocab_size), 0.1).log()
    rows[0, 1], rows[1, 1] = 0.0, np.log(0.4)
    sure, unsure = (int(light) for light in re.findall(r" (\d+)%\)", views.strip(rows, encoder)))
    assert sure < unsure


def test_the_picture_has_a_pixel_for_each_bin_and_frame_low_ones_below():
    features = np.full((4, 7), -2.0)
    features[0, 3] = 3.0  # the lowest bin
    data = base64.b64decode(re.search(r"base64,([^\"]+)", views.picture(features, 'a "quoted" name'))[1])
    pixels = matplotlib.image.imread(io.BytesIO(data))
    assert pixels.shape[:2] == (4, 7)
    assert np.argwhere(pixels[..., 0] > 0.9).tolist() == [[3, 3]]
    assert 'alt="a &quot;quoted&quot; name"' in views.picture(features, 'a "quoted" name')


@pytest.fixture(scope="module")
def utterance():
    torch.manual_seed(0)
    return hear(checkpoint_of(forward_only=True), 0.1 * torch.randn(2 * RATE), "<i>", "see <b>")


def test_letters_and_words_stand_at_their_times(utterance):
    characters = [{"text": "a", "start": 0.2, "end": 0.4}, {"text": " ", "start": 0.4, "end": 0.5}]
    html = views.timeline(utterance.features, utterance.rows, utterance.checkpoint, characters, characters[:1])
    pixels = views.CELL / utterance.checkpoint.model.seconds_per_output
    assert re.findall(r'<b style="left:(\d+)px">(.)</b>', html) == [(str(round(0.3 * pixels)), "a")]
    assert f'left:{0.2 * pixels:.0f}px;width:{0.2 * pixels:.0f}px">a<small>0.20 s' in html
    assert len(cells(html)) == len(utterance.rows)


def test_each_half_second_is_marked_at_its_place():
    marks = re.findall(r'left:(\d+)px">([^<]+)<', views.axis(1.2, 200.0, start=0.4))
    assert marks == [("20", "0.5 s"), ("120", "1 s"), ("220", "1.5 s")]


def test_texts_are_texts_and_no_markup(utterance):
    found = utterance.decoded(Decoder(beam=4)) | {"text": "<script>"}
    item = {"text": "<script>", "log_ctc": 0.0, "log_lm": 0.0, "words": 1, "score": 0.0}
    html = views.result(utterance, found) + views.failure("<script>") + views.nbest_table({"nbest": [item]}, Decoder(beam=2))
    html += views.change_of_text("<script>", utterance, {"text": "<script> <script>", "doubt": "<script>"})
    assert "<script>" not in html and "&lt;script&gt;" in html and "see &lt;b&gt;" in html


def test_what_a_checkpoint_can_not_do_is_said_beside_it(utterance):
    training = {"words": ["<yes>", "no"], "best_wer": 0.8, "epoch": 1, "epochs": 9}
    checkpoint = dataclasses.replace(utterance.checkpoint, training=training)
    html, good = views.about(checkpoint, "it is bidirectional"), views.about(utterance.checkpoint, "")
    assert "29 symbols. It writes only after the end of a recording: it is bidirectional." in html
    assert "It knows 2 words: &lt;yes&gt; no." in html and '<p class="note">warning: this checkpoint got 80 %' in html
    assert "29 symbols. It writes while you speak.</p>" in good and "note" not in good


def test_the_parts_in_the_table_add_up_to_the_score(utterance):
    decoder = Decoder(beam=8, alpha=0.5, beta=2.0)
    item = {"text": "a b", "log_ctc": -3.25, "log_lm": -4.0, "words": 2, "score": -3.25 - 2.0 + 4.0}
    row = re.search(r"<tbody><tr>(.*?)</tr>", views.nbest_table({"nbest": [item]}, decoder))[1]
    text, score, ctc, lm, words = re.findall(r"<td>(.*?)</td>", row)
    lm, words = (float(cell.rpartition("= ")[2]) for cell in (lm, words))
    assert text == "a b" and float(score) == float(ctc) + lm + words
    assert "fits these frames" in views.nbest_table({"nbest": []}, decoder)


def test_words_that_change_are_marked(utterance):
    html = views.change_of_text("see the moon", utterance, {"text": "see a moon", "doubt": ""})
    assert "see <del>the</del> <ins>a</ins> moon" in html
    assert "stays the same" in views.change_of_text("see", utterance, {"text": "see", "doubt": ""})


def test_a_recording_shows_its_last_seconds_and_as_many_frames_as_the_network_gave(utterance):
    recording = Recording(utterance.checkpoint, RATE, Decoder())
    assert views.live(recording) == ""
    recording.accept(np.random.default_rng(0).normal(0, 0.1, 9 * RATE).astype(np.float32))
    step = utterance.checkpoint.model.seconds_per_output
    shown = cells(views.live(recording))
    first = int(3 / step)  # of nine seconds the last six
    assert shown == cells(views.strip(recording.rows[first:], utterance.checkpoint.encoder))
    assert views.SHOWN / step - 12 < len(shown) < views.SHOWN / step  # the last frames still wait for what follows
