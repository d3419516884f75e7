"""Long recordings in pieces: where they are cut, and that their text and times are those of the whole."""

from __future__ import annotations

import itertools
import json
import logging

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

import transcribe
from implementation import CharEncoder, CorpusStatistics, Features
from models import pieces, transcription
from models.checkpoints import Checkpoint, ModelConfig
from models.pieces import likeliest_joined, pieces_of
from speech import audio as audio_module

RATE, STEP = 8000, 160  # a hop of 10 ms and a stride of 2
LETTERS, LETTER, GAP = "abcdefghijklmnopqrstuvwxyz ", 0.1, 0.06  # of the tone language below, in seconds


def tone_language(seconds: float) -> tuple[np.ndarray, str, list[tuple[str, float]], list[tuple[float, float]]]:
    """A recording where each letter is a tone of its own: samples, text, each word's start, pauses from and to."""
    rng, t = np.random.default_rng(0), np.arange(round(LETTER * RATE)) / RATE
    wave, words, pauses = [np.zeros(4000)], [], []
    now = 0.5

    def add(samples: np.ndarray) -> None:
        nonlocal now
        wave.append(samples)
        now += len(samples) / RATE

    while now < seconds:
        for _ in range(rng.integers(3, 7)):
            word = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 6)))
            words.append((word, now))
            for letter in word + " ":
                add(0.1 * np.sin(2 * np.pi * 125 * (LETTERS.index(letter) + 3) * t))
                add(np.zeros(round(GAP * RATE)))
        pauses.append((now, now + 0.8))
        add(np.zeros(round(0.8 * RATE)))
    wave = np.concatenate(wave)
    return wave + 1e-4 * rng.standard_normal(len(wave)), " ".join(word for word, _ in words), words, pauses


@pytest.fixture
def understands_tones(monkeypatch):
    """A checkpoint whose network hears in each frame which tone is loudest."""
    bins = 33
    for name, seconds in (("LONGEST", 15.0), ("SHORTEST_PIECE", 3.0), ("LONGEST_PIECE", 9.0), ("CONTEXT", 1.0)):
        monkeypatch.setattr(pieces, name, seconds)  # so that a short recording will do
    corpus = CorpusStatistics(0.1, (0.0,) * bins, (1.0,) * bins)
    config, encoder = (
        ModelConfig(Features(n_fft=64, sample_rate=RATE, normalisation="corpus", corpus=corpus), n_conv=1, n_rnn=1, rnn_hidden=8),
        CharEncoder(),
    )
    model = config.build(encoder).eval()
    heard = []

    def forward(features, _lengths):
        frames = features[0, 0, :, :: model.time_stride].t()  # (T', F)
        labels = torch.where(frames.amax(1) > 1.0, frames.argmax(1) - 2, 0).clamp(0, 27)
        heard.append(features.shape[3])
        rows = torch.full((len(frames), 29), 0.03 / 28).double()
        rows[range(len(frames)), labels] = 0.97
        return rows.log()[:, None], torch.tensor([len(frames)])

    monkeypatch.setattr(model, "forward", forward)
    return Checkpoint(model, config, encoder), heard


def test_text_and_times_are_those_of_the_whole_recording(understands_tones, tmp_path, monkeypatch, caplog):
    (checkpoint, heard), (wave, text, words, _) = understands_tones, tone_language(30)
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    with caplog.at_level(logging.WARNING):
        found = transcribe.transcribe(checkpoint, tmp_path / "long.wav", times=True)
    assert f"minutes; cut into {len(heard)} pieces at pauses" in caplog.text and len(heard) > 3
    assert max(heard) * 0.01 < pieces.LONGEST_PIECE + 2 * pieces.CONTEXT + 0.1
    assert found["text"] == text and [word["text"] for word in found["words"]] == [word for word, _ in words]
    late = [word["start"] - start for word, (_, start) in zip(found["words"], words, strict=True)]
    ends_of_spaces = (0.0, -GAP, -GAP - 0.8)  # there a word begins, behind a pause too, unless it is the first of a piece
    assert all(min(abs(seconds - expected) for expected in ends_of_spaces) < 0.03 for seconds in late)
    assert "".join(c["text"] for c in found["characters"]).replace(" ", "") == text.replace(" ", "")
    monkeypatch.setattr(pieces, "LONGEST", 1e9)
    whole = transcribe.transcribe(checkpoint, tmp_path / "long.wav", times=True)
    assert heard[-1] > 3000
    assert {name: found[name] for name in ("text", "seconds", "speech", "confidence")} == {
        name: whole[name] for name in ("text", "seconds", "speech", "confidence")
    }
    for ours, theirs in zip(found["characters"], whole["characters"], strict=True):
        assert ours == {name: pytest.approx(value) if name != "text" else value for name, value in theirs.items()}


def test_a_beam_search_gives_the_same_text_and_json_the_times_of_the_whole(understands_tones, tmp_path, monkeypatch, capsys):
    (checkpoint, _), (wave, text, words, _) = understands_tones, tone_language(25)
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    monkeypatch.setattr(transcribe, "load_checkpoint", lambda *_: checkpoint)
    assert transcribe.main(["c.pt", str(tmp_path / "long.wav"), "--json", "--times", "--beam", "3", "--nbest", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == text and found["nbest"][0]["text"] == text and len(found["nbest"]) == 2
    assert found["nbest"][0]["score"] >= found["nbest"][1]["score"] and found["words"][-1]["start"] > 20
    assert found["words"][-1]["start"] == pytest.approx(words[-1][1] - GAP, abs=0.03)


def test_cuts_stand_in_pauses():
    wave, _, _, pauses = tone_language(120)
    cut = [piece.start / RATE for piece in pieces_of(torch.tensor(wave).float(), RATE, STEP)[1:]]
    assert len(cut) >= 4
    assert all(any(start <= second <= end for start, end in pauses) for second in cut), (cut, pauses)


@given(st.floats(60.1, 400), st.integers(10, 100), st.integers(0, 5))
def test_pieces_are_the_recording_and_none_is_too_long_or_too_short(seconds, step, seed):
    samples = round(seconds * 200)
    found = pieces_of(torch.randn(samples, generator=torch.Generator().manual_seed(seed)), 200, step)
    assert found[0].start == 0 and found[-1].end == samples
    assert all(a.end == b.start and b.start % step == b.begin % step == 0 for a, b in itertools.pairwise(found))
    slack = 2 * step / 200  # cuts stand between output frames
    for piece in found:
        assert pieces.SHORTEST_PIECE - slack <= (piece.end - piece.start) / 200 <= pieces.LONGEST_PIECE + 2 * slack
        assert piece.begin <= piece.start and piece.stop >= piece.end and not piece.quiet


def test_what_is_heard_whole_and_pieces_without_speech():
    assert pieces_of(torch.randn(60 * 100), 100, 2) == [pieces.Piece(0, 6000, 0, 6000)]
    silent = pieces_of(torch.zeros(200 * 100), 100, 2)
    assert len(silent) > 5 and not any(piece.quiet for piece in silent)  # a wholly silent one is said elsewhere
    wave = 1e-3 * torch.randn(200 * 100)
    wave[:2000] += torch.randn(2000)
    found = pieces_of(wave, 100, 2)
    assert not found[0].quiet and all(piece.quiet for piece in found if piece.start > 2500)


def test_rows_of_all_pieces_are_the_frames_of_the_whole(understands_tones):
    (checkpoint, _), samples = understands_tones, 20 * RATE + 1234
    sample = transcription.AudioSample(torch.randn(samples, generator=torch.Generator().manual_seed(0)), RATE, "")
    rows = [rows for _, rows in transcription._heard(checkpoint, sample, "noise")]
    frames = checkpoint.model.features.frames(samples / RATE)
    assert len(rows) > 2 and sum(map(len, rows)) == -(-frames // checkpoint.model.time_stride)


def test_the_best_texts_of_all_pieces_are_those_of_all_combinations():
    rng, names = np.random.default_rng(0), ("score", "log_ctc", "log_lm", "words")
    parts = [[{"text": f"{p}{i}"} | {name: float(rng.normal()) for name in names} for i in range(4)] for p in "abc"]
    parts = [sorted(part, key=lambda one: -one["score"]) for part in parts]
    every = [
        {"text": " ".join(one["text"] for one in chosen)} | {name: sum(one[name] for one in chosen) for name in names}
        for chosen in itertools.product(*parts)
    ]
    every.sort(key=lambda one: -one["score"])
    found = likeliest_joined([parts[0], [], *parts[1:]], " ", 4)
    assert [one["text"] for one in found] == [one["text"] for one in every[:4]]
    for ours, theirs in zip(found, every, strict=False):
        assert [ours[name] for name in names] == pytest.approx([theirs[name] for name in names])


def test_an_hours_channels_are_compared_block_by_block_as_a_short_recordings():
    samples = np.random.default_rng(0).standard_normal((1_234_567, 2)).astype(np.float32)
    change = np.diff(samples, axis=0, prepend=samples[:1]).astype(np.float64) ** 2
    expected = np.add.reduceat(change, np.arange(0, len(change), audio_module._MIX_BLOCK), axis=0)
    np.testing.assert_allclose(audio_module._block_power(samples), expected, rtol=1e-12)
