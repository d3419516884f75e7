"""An utterance is heard as transcribe hears it, a recording as the whole, and a change changes what it says it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import soxr
import torch

from helpers import write_audio
from implementation import CharEncoder, CorpusStatistics, Features, generate_synthetic_audio
from models.checkpoints import Checkpoint, ModelConfig
from models.transcription import Decoder, transcribe
from page import hearing
from page.hearing import Change, Recording, cut_band, hear, read
from speech.audio import BadAudio

RATE = 8000


def checkpoint_of(forward_only: bool) -> Checkpoint:
    """An untrained model whose output is anything but blank."""
    torch.manual_seed(1)
    corpus = CorpusStatistics(0.1, (0.0,) * 33, (1.0,) * 33) if forward_only else None
    features = Features(sample_rate=RATE, n_fft=64, normalisation="corpus" if forward_only else "utterance", corpus=corpus)
    config = ModelConfig(features, n_conv=1, n_rnn=1, rnn_hidden=16, bidirectional=not forward_only, row_conv=3 * forward_only)
    model, encoder = config.build(CharEncoder()).eval(), CharEncoder()
    with torch.no_grad():
        model.output.weight.mul_(10)
    return Checkpoint(model, config, encoder)


@pytest.fixture(scope="module")
def streaming():
    return checkpoint_of(forward_only=True)


@pytest.fixture(scope="module")
def bidirectional():
    return checkpoint_of(forward_only=False)


@pytest.fixture(scope="module")
def speech():
    torch.manual_seed(0)
    return generate_synthetic_audio("hello moon", RATE, speaker=501, snr_db=30.0)


@pytest.mark.parametrize("decoder", [Decoder(), Decoder(beam=8)], ids=["greedy", "beam"])
def test_a_file_is_heard_as_transcribe_hears_it(bidirectional, speech, tmp_path, decoder):
    soundfile.write(tmp_path / "a.wav", speech.numpy(), RATE, subtype="FLOAT")
    found, other = read(bidirectional, tmp_path / "a.wav").decoded(decoder), transcribe(
        bidirectional, tmp_path / "a.wav", decoder, nbest=5, times=True
    )  # fmt: skip
    assert found["text"] and found["text"] == other["text"]
    assert (found["characters"], found["words"]) == (other["characters"], other["words"])
    assert [item["text"] for item in found.get("nbest", [])] == [item["text"] for item in other.get("nbest", [])]


def test_another_search_needs_no_forward_pass(bidirectional, speech, monkeypatch):
    utterance = hear(bidirectional, speech)
    monkeypatch.setattr(type(bidirectional.model), "forward", None)
    narrow, wide = utterance.decoded(Decoder(beam=1)), utterance.decoded(Decoder(beam=30))
    assert wide["nbest"][0]["log_ctc"] > -math.inf and narrow["text"]


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_a_recording_in_pieces_is_heard_as_the_whole(streaming, speech, rate):
    sound = speech.numpy() if rate == RATE else soxr.resample(speech.numpy(), RATE, rate)
    recording, texts = Recording(streaming, rate, Decoder()), []
    for begin in range(0, len(sound), 777):
        recording.accept(sound[begin : begin + 777])
        texts.append(recording.heard.text)
    utterance = recording.finish()
    whole = hear(streaming, torch.from_numpy(sound if rate == RATE else soxr.resample(sound, rate, RATE)))
    assert abs(len(utterance.audio) - len(whole.audio)) <= 1 and (utterance.rows.shape == whole.rows.shape)
    assert torch.allclose(utterance.rows, whole.rows, atol=1e-3)
    assert torch.allclose(utterance.features, whole.features, atol=1e-3)
    assert recording.heard.text == utterance.decoded(Decoder())["text"]
    assert len(set(texts)) > 3 and not recording.why_not  # it came while it was said


def test_at_the_end_of_a_recording_its_text_is_settled(streaming, speech):
    recording = Recording(streaming, RATE, Decoder(beam=8))
    recording.accept(speech.numpy())
    assert recording.heard.partial
    utterance = recording.finish()
    assert (recording.heard.text, recording.heard.partial) == (utterance.decoded(Decoder(beam=8))["text"], "")


def test_a_bidirectional_model_hears_a_recording_after_its_end(bidirectional, speech):
    recording = Recording(bidirectional, RATE, Decoder())
    recording.accept(speech.numpy())
    assert "bidirectional" in recording.why_not and not len(recording.rows) and recording.features().shape[1] > 10
    assert torch.equal(recording.finish().rows, hear(bidirectional, speech).rows)


def test_after_a_minute_nothing_more_is_taken_and_it_is_said(bidirectional):
    recording = Recording(bidirectional, RATE, Decoder())
    recording.accept(np.zeros(3 * RATE, np.float32))
    assert "silence" in recording.note()
    recording.accept(np.full(58 * RATE, 0.1, np.float32))
    assert recording.full and recording.seconds == 60 and "60 seconds are over" in recording.note()
    with pytest.raises(ValueError, match="nan or infinity"):
        recording.accept(np.array([math.nan], np.float32))


def test_a_recording_that_is_too_loud_is_told_and_a_good_one_is_not(bidirectional, speech):
    recording = Recording(bidirectional, RATE, Decoder())
    recording.accept(0.5 * speech.numpy())
    recording.accept(np.zeros(3 * RATE, np.float32))
    assert recording.note() == ""
    recording.accept(np.sign(speech.numpy()))
    assert "at full scale: turn the recording level down" in recording.note()


def test_a_recording_of_nothing_is_refused(streaming):
    with pytest.raises(BadAudio, match=r"lasts 0\.0 ms, too short"):
        Recording(streaming, RATE, Decoder()).finish()


def test_what_is_wrong_with_a_file_is_said_by_its_name(streaming, tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_text("no audio at all")
    with pytest.raises(BadAudio, match=r"^a\.wav: .*it begins like no known audio format"):
        read(streaming, tmp_path / "a.wav")
    write_audio(tmp_path / "hour.wav", seconds=61)
    monkeypatch.setattr(hearing, "read_audio", None)  # it is refused before all of it is read
    with pytest.raises(BadAudio, match=r"^hour\.wav: lasts 1\.0 minutes.*transcribe\.py"):
        read(streaming, tmp_path / "hour.wav")
    monkeypatch.undo()
    write_audio(tmp_path / "click.wav", seconds=0.001)
    with pytest.raises(BadAudio, match=r"^click\.wav: lasts 1\.0 ms, too short"):
        read(streaming, tmp_path / "click.wav")


def test_silence_is_doubted(streaming):
    assert "it is silent" in hear(streaming, torch.zeros(RATE)).decoded(Decoder())["doubt"]


def tone(hertz: float) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)


def test_a_cut_band_takes_what_lies_in_it_and_nothing_else():
    left = cut_band(tone(500) + tone(1000) + tone(3000), RATE, 900, 1100)
    assert torch.allclose(left, tone(500) + tone(3000), atol=1e-3)
    assert torch.equal(cut_band(tone(1000), RATE, 1000, 1000), tone(1000))


def test_noise_has_the_power_that_the_slider_says_and_is_always_the_same():
    clean = tone(440)
    noisy = Change(noise_db=6.0)(clean, RATE)
    power = float(clean.square().mean() / (noisy - clean).square().mean())
    assert 10 * math.log10(power) == pytest.approx(6.0, abs=0.1)
    assert torch.equal(noisy, Change(noise_db=6.0)(clean, RATE))


def test_speed_changes_length_and_pitch_together():
    fast = Change(speed=2.0)(tone(440), RATE)
    assert len(fast) == RATE / 2
    assert int(torch.fft.rfft(fast).abs().argmax()) == 440  # periods in half a second


def test_without_a_change_the_audio_is_itself():
    assert torch.equal(Change()(tone(440), RATE), tone(440))
