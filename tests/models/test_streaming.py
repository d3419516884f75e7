"""Streamed = offline: any chunks give the log-probabilities, text and times of the whole recording."""

from __future__ import annotations

import copy
import functools
import json
from itertools import product

import numpy as np
import pytest
import soundfile
import soxr
import torch

from decoding.ngrams import NGramModel
from decoding.scorers import CharacterScorer, WordScorer
from implementation import (
    ENGLISH,
    CharEncoder,
    CorpusStatistics,
    Features,
    character_times,
    generate_synthetic_audio,
    greedy_decode,
    word_times,
)
from models import streaming
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, save_checkpoint
from models.confidence import Calibration
from models.streaming import StreamingRecognizer, accept_together
from models.transcription import Decoder, transcribe

ENCODER = CharEncoder()


def checkpoint(**settings) -> Checkpoint:
    """A forward-only model of random weights, so sharp that its best path has many letters and spaces."""
    return copy.deepcopy(_checkpoint(json.dumps(settings)))


@functools.cache
def _checkpoint(text: str) -> Checkpoint:
    settings = json.loads(text)
    torch.manual_seed(0)
    features = Features(sample_rate=8000, n_fft=64, normalisation="corpus")
    statistics = CorpusStatistics(0.1, tuple(np.linspace(-1, 2, 33)), tuple(np.linspace(1, 3, 33)))
    values = {"n_rnn": 2, "rnn_hidden": 24, "bidirectional": False} | settings
    config = ModelConfig(Features(**vars(features) | {"corpus": statistics}), **values)
    model = config.build(ENCODER).eval()
    for name, value in model.state_dict().items():
        if "running_mean" in name or name.endswith("bias"):
            value.normal_(std=0.3)
        if "running_var" in name:
            value.uniform_(0.3, 1.5)
    model.output.weight.data.mul_(12)
    trained = Checkpoint(model, config, ENCODER)
    model.output.bias.data -= whole(trained, speech()).mean(0)  # else one symbol wins in all frames
    model.output.bias.data[ENCODER.encode(" ")] += 1.5
    return trained


def chunks(audio: np.ndarray, seed: int, widest: int) -> list[np.ndarray]:
    rng, parts, place = np.random.default_rng(seed), [], 0
    while place < len(audio):
        size = int(rng.integers(0, widest + 1))
        parts.append(audio[place : place + size])
        place += size
    return parts


def whole(trained: Checkpoint, audio: np.ndarray) -> torch.Tensor:
    """(T', V) of the recording heard at once, at the model's rate."""
    features = trained.model.features(torch.from_numpy(audio))[None, None]
    with torch.no_grad():
        return trained.model(features, torch.tensor([features.shape[3]]))[0][:, 0]


@functools.cache
def speech(seconds: float = 2.0, rate: int = 8000) -> np.ndarray:
    np.random.seed(0)  # whichever test asks first
    torch.manual_seed(0)
    audio = generate_synthetic_audio("see the little moon", speaker=550, sample_rate=rate).numpy()
    return np.resize(audio, int(seconds * rate)).astype(np.float32)


ARCHITECTURES = [
    {},
    {"row_conv": 5, "fc_hidden": 16},
    {"rnn_type": "lstm", "batch_norm": "input", "n_conv": 3, "row_conv": 2},
    {"rnn_type": "rnn", "batch_norm": "none", "n_conv": 1, "time_strides": [3]},
    {"rnn_type": "rnn", "batch_norm": "step", "time_strides": [1, 2]},
    {"convolutions": "3-layer 1D", "time_strides": [1, 1, 2]},
    {"n_conv": 1, "time_strides": [13]},
]


@pytest.mark.parametrize("settings", ARCHITECTURES, ids=str)
def test_log_probabilities_are_those_of_the_whole(settings):
    trained, audio = checkpoint(**settings), speech()
    expected = whole(trained, audio)
    for seed, widest in enumerate((1, 100, 3000, 20000)):
        recognizer = StreamingRecognizer(trained)
        parts = chunks(audio[:1000] if widest == 1 else audio, seed, widest)
        rows = [recognizer.log_probs(part) for part in parts] + [recognizer.log_probs(audio[:0], last=True)]
        expected_now = whole(trained, audio[:1000]) if widest == 1 else expected
        torch.testing.assert_close(torch.cat(rows), expected_now, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 200), marks=pytest.mark.slow)], ids=["first", "others"])
def test_text_and_times_are_those_of_the_whole_in_200_chunkings(seeds):
    trained, audio = checkpoint(row_conv=3), speech(2)
    rows = whole(trained, audio)
    labels = ENCODER.encode(greedy_decode(rows[:, None], ENCODER)[0])
    expected = word_times(character_times(rows, labels, ENCODER, trained.model.seconds_per_output))
    assert len(expected) > 3
    for seed in seeds:
        recognizer, text = StreamingRecognizer(trained), ""
        for part in chunks(audio, seed, 4 ** (3 + seed % 6)):
            heard = recognizer.accept(part)
            text += heard.new
            assert heard.text == text  # nothing is taken back
        heard = recognizer.finish()
        assert heard.text == text + heard.new == " ".join(word.text for word in expected)
        assert [word.text for word in heard.words] == [word.text for word in expected]
        for found, word in zip(heard.words, expected, strict=True):
            assert (found.start, found.end) == pytest.approx((word.start, word.end))


def scorer(kind: str | None) -> WordScorer | CharacterScorer | None:
    """Of words that a model of random weights may say, and of others."""
    words = ["".join(pair) for pair in product("abcdefghijklmnopqrstuvwxyz", repeat=2)] + list("abcdefghijklmnopqrstuvwxyz'")
    model = NGramModel.train(
        [" ".join(words[n : n + 5]) for n in range(0, len(words), 3)],
        order=2,
        unit="character" if kind == "characters" else "word",
    )
    if kind == "characters":
        return CharacterScorer(model, ENCODER)
    return None if kind is None else WordScorer(model, ENCODER, kind == "lexicon" or None)


@pytest.mark.parametrize(
    "seeds", [range(1, 4), pytest.param([0, *range(4, 50)], marks=pytest.mark.slow)], ids=["first", "others"]
)
@pytest.mark.parametrize("kind", [None, "words", "lexicon", "characters"])
def test_a_beam_that_is_carried_finds_the_text_of_the_whole_in_200_chunkings(kind, seeds, tmp_path):
    trained, audio = checkpoint(row_conv=3), speech(2)
    soundfile.write(tmp_path / "a.wav", audio, 8000, subtype="FLOAT")
    decoder = Decoder(12, scorer(kind), 0.4, 0.5)
    expected = transcribe(trained, tmp_path / "a.wav", decoder, times=True)
    assert len(expected["text"].split()) > 2
    for seed in seeds:
        recognizer, text = StreamingRecognizer(trained, decoder=decoder), ""
        for part in chunks(audio, seed, 4 ** (3 + seed % 6)):
            heard = recognizer.accept(part)
            text += heard.new
            assert heard.text == text  # nothing is taken back
            assert text == " ".join(word.text for word in heard.words)
        heard = recognizer.finish()
        assert heard.text == text + heard.new == " ".join(word.text for word in heard.words)
        assert (heard.text, heard.partial) == (expected["text"], "")
        pairs = zip(heard.words, expected["words"], strict=True)  # aligned with the frames there were, so not always the same
        apart = [abs(found.start - word["start"]) + abs(found.end - word["end"]) for found, word in pairs]
        assert np.median(apart) < 0.05 and max(apart) < 0.6


def test_what_may_change_is_marked_as_such():
    trained, audio = checkpoint(row_conv=3), speech(2)
    recognizer, seen = StreamingRecognizer(trained, decoder=Decoder(12)), []
    for start in range(0, len(audio), 800):
        heard = recognizer.accept(audio[start : start + 800])
        whole = StreamingRecognizer(trained, decoder=Decoder(12))
        assert whole.accept(audio[: start + 800]).text[: len(heard.text)] == heard.text
        seen.append(heard.partial)
    assert any(seen) and recognizer.finish().partial == ""


def test_words_settle_after_the_time_that_is_asked_for():
    trained, audio = checkpoint(row_conv=3), speech(6)
    exact, whole = StreamingRecognizer(trained, decoder=Decoder(30)), None
    late = {}
    for patience in (None, 60.0, 0.5, 0.0):
        recognizer, lags, text = StreamingRecognizer(trained, decoder=Decoder(30), settle_after=patience), [], ""
        for number, part in enumerate(np.array_split(audio, 60), start=1):
            heard = recognizer.accept(part)
            text += heard.new
            assert heard.text == text
            lags.append(0.1 * number - (heard.words[-1].end if heard.words else 0.0))
        late[patience] = max(lags)
        ended = recognizer.finish().text
        whole = whole or ended
        assert ended == whole or patience in (0.0, 0.5)
        assert patience is None or len(recognizer._decoder.led) <= 10 * patience + 2 + 60
    exact.accept(audio)
    assert exact.finish().text == whole
    assert late[0.0] <= late[0.5] < late[None] == late[60.0]
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="settle_after must be a number of seconds, at least 0"):
            StreamingRecognizer(trained, settle_after=bad)


def test_letters_that_end_in_no_word_of_the_lexicon_are_left_in_partial():
    """Where ``transcribe`` would search once more, a stream says what it can't place."""
    model = NGramModel.train(["a bcd"], order=2)
    rows = torch.full((8, ENCODER.vocab_size), -20.0)
    for frame, char in enumerate("a bc"):
        rows[2 * frame, ENCODER.encode(char)[0]] = 0.0
        rows[2 * frame + 1, 0] = 0.0
    beam = streaming._Beam(streaming._Words(ENCODER, 0.04, Calibration()), Decoder(1, WordScorer(model, ENCODER, True), 0.4, 0.5))
    assert beam.push(rows.log_softmax(1), last=True) == ("a", beam.words.over, " bc")


def test_an_hour_of_silence_keeps_nothing():
    beam = streaming._Beam(streaming._Words(ENCODER, 0.04, Calibration()), Decoder(8))
    rows = torch.randn(400, ENCODER.vocab_size)
    rows[100:, 0] += 20
    for start in range(0, 400, 4):
        beam.push(rows[start : start + 4].log_softmax(1), last=False)
    assert len(beam.rows) == len(beam.frames) < 110


@pytest.mark.parametrize("decoder", [None, Decoder(6)])
def test_in_an_alphabet_without_a_space_each_character_is_a_word(decoder):
    encoder, torch_rows = CharEncoder("你好吗"), torch.full((9, 4), -9.0)
    for frame, label in enumerate((1, 1, 0, 1, 2, 0, 3, 3, 3)):
        torch_rows[frame, label] = 0.0
    kind = (
        streaming._Greedy(streaming._Words(encoder, 0.5, Calibration()))
        if decoder is None
        else streaming._Beam(streaming._Words(encoder, 0.5, Calibration()), decoder)
    )
    for row in torch_rows.log_softmax(1):
        kind.push(row[None], False)
    text, words, partial = kind.push(torch.empty(0, 4), True)
    assert (text, partial) == ("你你好吗", "")
    assert [(word.text, word.start, word.end) for word in words] == [
        ("你", 0, 1), ("你", 1.5, 2), ("好", 2, 2.5), ("吗", 3, 4.5)
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_any_rate_gives_the_text_of_the_file(tmp_path, rate):
    trained, audio = checkpoint(), speech(2, rate)
    soundfile.write(tmp_path / "a.wav", audio, rate, subtype="PCM_16")
    samples = soundfile.read(tmp_path / "a.wav", dtype="int16")[0]
    recognizer = StreamingRecognizer(trained, rate)
    for part in chunks(samples, rate, 3000):
        recognizer.accept(part)
    assert recognizer.finish().text == transcribe(trained, tmp_path / "a.wav")["text"]
    resampled = soxr.resample(samples.astype(np.float32) / 32768, rate, 8000, quality="HQ") if rate != 8000 else None
    if resampled is not None:
        again = StreamingRecognizer(trained, rate)
        rows = [again.log_probs(part.astype(np.float32) / 32768) for part in chunks(samples, 1, 3000)]
        rows.append(again.log_probs(np.empty(0, np.float32), last=True))
        torch.testing.assert_close(torch.cat(rows), whole(trained, resampled), atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("decoder", [None, Decoder(4)], ids=["greedy", "beam"])
def test_streams_that_are_served_together_hear_what_each_hears_alone(settings, decoder):
    trained, audio = checkpoint(**settings), speech(3)
    rng = np.random.default_rng(0)
    together = [StreamingRecognizer(trained, decoder=decoder) for _ in range(5)]
    alone = [StreamingRecognizer(trained, decoder=decoder) for _ in range(5)]
    batches, gathered = [], streaming._Network.gathered
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming._Network, "gathered", lambda networks: (batches.append(len(networks)), gathered(networks))[1])
        for step in range(12):
            served = [n for n in range(5) if rng.random() < 0.8]
            widths = [800 if n < 4 else int(rng.integers(0, 900)) for n in served]
            parts = [np.roll(audio, 997 * n - 800 * step)[:width] for n, width in zip(served, widths, strict=True)]
            heard = accept_together([together[n] for n in served], parts)
            assert heard == [together[n]._heard for n in served]
            expected = [alone[n].accept(part) for n, part in zip(served, parts, strict=True)]
            assert [(one.text, one.partial) for one in heard] == [(one.text, one.partial) for one in expected]
    assert max(batches) == 4
    for one, other in zip(together, alone, strict=True):
        assert one.finish().text == other.finish().text


def test_streams_served_together_are_refused_before_any_has_heard():
    trained = checkpoint()
    one, other = StreamingRecognizer(trained), StreamingRecognizer(trained)
    for recognizers, parts, message in (
        ([one, one], [speech(), speech()], "one chunk for each stream"),
        ([one], [speech(), speech()], "2 chunks for 1 streams"),
        ([one, one, other], [speech(), speech()], "2 chunks for 3 streams"),
        ([one, other], [speech(), np.array([np.nan])], "nan or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            accept_together(recognizers, parts)
    assert one._network.states[0] is None and not len(one._frames.samples)
    assert accept_together([], []) == []


def test_what_is_kept_does_not_grow():
    recognizer, audio = StreamingRecognizer(checkpoint(row_conv=5)), speech(1)

    def kept() -> int:
        network = recognizer._network
        parts = [recognizer._frames.samples, network.ahead.kept, *(c.kept for c in network.convolutions)]
        return sum(part.size if isinstance(part, np.ndarray) else part.numel() for part in parts)

    sizes = []
    for _ in range(30):
        recognizer.accept(audio)
        sizes.append(kept())
    assert max(sizes[2:]) <= 1.05 * max(sizes[:2])


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 300])
def test_short_streams_are_heard_as_short_clips(samples):
    trained, audio = checkpoint(row_conv=2), speech()[1000 : 1000 + samples]
    recognizer = StreamingRecognizer(trained)
    recognizer.accept(audio)
    heard = recognizer.finish()
    if samples:
        expected = greedy_decode(whole(trained, audio)[:, None], ENCODER)[0]
        assert heard.text == " ".join(expected.split())
    else:
        assert (heard.text, heard.new, heard.words) == ("", "", [])


def test_after_the_end_nothing_is_accepted():
    recognizer = StreamingRecognizer(checkpoint())
    recognizer.finish()
    with pytest.raises(ValueError, match="the stream is finished: make a new StreamingRecognizer"):
        recognizer.accept(speech())
    with pytest.raises(ValueError, match="already finished"):
        recognizer.finish()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((4, 2), np.float32), r"samples of shape \(N,\), not \(4, 2\); mix the channels first"),
        (np.zeros(4, np.int32), "floats of full scale 1, or int16, not int32"),
        (np.array([0.0, np.nan]), "samples hold nan or infinity"),
        (np.array([3.0, -2900.0]), "a sample is 2900, but full scale is 1: give int16, or divide by 32768"),
    ],
)
def test_other_samples_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        StreamingRecognizer(checkpoint()).accept(samples)
    for rate in (0, 16, 2_000_000):
        with pytest.raises(ValueError, match=f"sample_rate must lie between 1000 and 768000 Hz, not {rate}"):
            StreamingRecognizer(checkpoint(), rate)


def test_a_model_that_needs_the_end_is_refused_with_the_reason_and_the_remedy(tmp_path):
    both = ModelConfig(Features(n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=8)
    save_checkpoint(tmp_path / "c.pt", both.build(ENCODER), both, ENCODER)
    with pytest.raises(CheckpointError, match=r"bidirectional, so they need the end .* --forward-only"):
        StreamingRecognizer(tmp_path / "c.pt")
    forward = ModelConfig(Features(n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=8, bidirectional=False)
    with pytest.raises(CheckpointError, match="normalised over the utterance, which has not ended yet"):
        StreamingRecognizer(Checkpoint(forward.build(ENCODER), forward, ENCODER))


def test_a_model_that_gives_nan_is_told_as_that():
    trained = checkpoint()
    trained.model.output.weight.data.fill_(float("inf"))
    with pytest.raises(CheckpointError, match="the stream: the model gives nan instead of probabilities"):
        StreamingRecognizer(trained).accept(speech())


@pytest.mark.parametrize("decoder", [None, Decoder(beam=4)])
def test_where_each_character_counts_as_a_word_a_space_is_none(tmp_path, decoder):
    trained, audio = checkpoint(), speech()
    trained.encoder = CharEncoder(ENGLISH.replace("'", "中"))
    soundfile.write(tmp_path / "a.wav", audio, 8000, subtype="FLOAT")
    expected = transcribe(trained, tmp_path / "a.wav", decoder)
    recognizer = StreamingRecognizer(trained, 8000, decoder)
    for chunk in chunks(audio, seed=1, widest=900):
        recognizer.accept(chunk)
    heard = recognizer.finish()
    assert " " in expected["text"] and " ".join(heard.text.split()) == expected["text"]
    assert (
        [word.text for word in heard.words] == [word["text"] for word in expected["words"]] == list("".join(heard.text.split()))
    )
