"""What of a corpus can be used, and why not: problems, transcripts, audio, and the time that CTC needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import DATA, make_corpus, needs_digits, noisy_utterances
from implementation import AudioSample, CharEncoder, Features, compute_spectrogram
from models.checkpoints import ModelConfig
from speech.corpora import CorpusError, Problem, Utterance, read_corpus
from speech.preflight import check_problems, drawn, encodable, feasible, readable, stop_if_many
from trainers import SMALL


def test_check_problems():
    check_problems(make_corpus(99, 1))
    check_problems(make_corpus(1, 1), limit=0.5)
    with pytest.raises(CorpusError) as error:
        check_problems(make_corpus(93, 7))
    assert str(error.value) == (
        "root: 7 of 100 lines are bad (7.0%; at most 1.0% is accepted).\n  m.tsv:2: bad\n  m.tsv:3: bad\n  m.tsv:4: bad\n"
        "  m.tsv:5: bad\n  m.tsv:6: bad\n  ... and 2 more"
    )
    with pytest.raises(CorpusError, match="no utterance is usable"):
        check_problems(make_corpus(0, 0), limit=1.0)


class TestWhatCanBeUsed:
    encoder = CharEncoder()

    def test_too_short_audio_is_named_with_the_arithmetic(self):
        model = SMALL.build(self.encoder)  # one convolution, a frame every 20 ms
        samples = [AudioSample(torch.randn(16000 * n // 100), 16000, "all") for n in (5, 6, 7, 8)]
        good, problems = feasible(samples, self.encoder, model)
        # 3 letters + 1 repeat need 4 outputs; 0.07 s are 6 frames and 3 outputs, 0.08 s are 7 and 4.
        assert good == samples[3:]
        assert str(problems[2]) == (
            "utterance 2: 'all': 3 symbols + 1 for equal neighbours need 4 output frames, but 0.07 s give 3"
        )

    def test_agrees_with_the_real_features(self):
        model = SMALL.build(self.encoder)
        for n in range(320, 3000, 37):
            audio = torch.randn(n)
            outputs = int(model.output_lengths(torch.tensor([compute_spectrogram(audio, n_fft=64).shape[1]])))
            text = "ab" * 40
            for length in (outputs, outputs + 1):
                good, _ = feasible([AudioSample(audio, 16000, text[:length])], self.encoder, model)
                assert len(good) == (length == outputs)

    def test_counts_the_models_own_frames(self):
        """At 11025 Hz 10 ms are 110 samples: after a minute that makes 14 frames more than the clock would."""
        features = Features(sample_rate=11025, n_fft=64)
        model = ModelConfig(features, n_conv=1, n_rnn=1, rnn_hidden=8, time_strides=[1]).build(self.encoder)
        audio = torch.randn(60 * 11025)
        frames = features(audio).shape[1]
        assert frames == 6012
        for length in (frames, frames + 1):
            good, _ = feasible([AudioSample(audio, 11025, ("ab" * 4000)[:length])], self.encoder, model)
            assert len(good) == (length == frames)

    def test_text_outside_the_alphabet_is_named(self):
        items = [Utterance(path="a.wav", transcript="seven"), Utterance(path="b.wav", transcript="7 up")]
        good, problems = encodable(items, self.encoder)
        assert good == items[:1]
        assert "b.wav" in str(problems[0]) and "'7' at position 0" in str(problems[0])

    def test_a_text_of_which_nothing_is_left_is_named(self):
        items = [Utterance(path="a.wav", transcript="seven 7"), Utterance(path="b.wav", transcript="北京")]
        good, problems = encodable(items, CharEncoder(unknown="drop"))
        assert good == items[:1] and "b.wav" in str(problems[0]) and "nothing of its transcript '北京'" in str(problems[0])
        good, problems = encodable([Utterance(path="c.wav", transcript="привет мир")], CharEncoder(unknown="drop"))
        assert not good and "nothing of its transcript 'привет мир'" in str(problems[0])
        good, problems = encodable([Utterance(path="d.wav", transcript="\u00ad")], self.encoder)  # a soft hyphen
        assert not good and "nothing of its transcript ''" in str(problems[0])

    def test_more_than_one_percent_stops(self):
        stop_if_many([Problem("x", "y")], 100)
        with pytest.raises(CorpusError, match="2 of 100 utterances are bad, more than 1 %: x: y"):
            stop_if_many([Problem("x", "y")] * 2, 100)


def test_a_part_is_drawn_by_the_seed_in_the_order_of_the_corpus_and_told(capsys):
    """Of a set sorted by word the first 300 would be but two words."""
    words = [word for word in "zero one two three four five six seven eight nine".split() for _ in range(160)]
    items = list(enumerate(words))
    part = drawn(items, 300, "train", 4)
    assert part == sorted(part) and len(set(part)) == 300 and len({word for _, word in part}) == 10
    assert capsys.readouterr().out == "train: uses 300 of 1600 utterances, drawn with seed 4\n"
    assert drawn(items, 300, "train", 4) == part != drawn(items, 300, "train", 5)
    state = np.random.get_state()[1].copy()
    for n in (None, 1600, 5000):
        assert drawn(items, n, "train") == items
    assert (np.random.get_state()[1] == state).all() and "1600 of" not in capsys.readouterr().out


def test_readable_finds_them_beforehand(tmp_path):
    utterances = noisy_utterances(tmp_path, 3)
    (tmp_path / "1.wav").write_bytes(b"RIFF")
    good, problems = readable(utterances)
    assert [u.path.name for u in good] == ["0.wav", "2.wav"] and "1.wav" in str(problems[0])


@needs_digits
def test_the_real_sets_are_all_spellable_at_the_default_stride():
    encoder = CharEncoder()
    model = ModelConfig().build(encoder)
    for name in ("fsdd", "barista_en", "kathleen_arctic"):
        utterances = read_corpus(DATA / name).utterances
        good, problems = feasible(utterances, encoder, model)
        assert len(good) == len(utterances), problems[:3]


def test_transcripts_are_written_in_the_alphabet_before_anything_is_dropped():
    items = [Utterance(path="a.wav", transcript="twenty-five naïve cafés, don’t")]
    good, problems = encodable(items, CharEncoder(unknown="drop"))
    assert good[0].transcript.split() == ["twenty", "five", "naive", "cafes", "don't"] and not problems
