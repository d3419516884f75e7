"""Recordings as samples, cached where they fit; utterances of a speaker joined. Audio is made by the tests."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from helpers import RATE, write_audio
from speech import datasets
from speech.audio import read_audio
from speech.corpora import Utterance
from speech.datasets import JoinedDataset, SpeechDataset, read_utterance

SPEAKERS = ["ann", "ann", "ann", "bob", "bob", "", "", "eve"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> list[Utterance]:
    """Eight utterances of 0.2, 0.21, ... seconds, each a tone of its own; their transcripts are letters."""
    folder, utterances = tmp_path_factory.mktemp("speech"), []
    for n, speaker in enumerate(SPEAKERS):
        path = write_audio(folder / f"{n}.wav", seconds=0.2 + 0.01 * n, hertz=500.0 + 100 * n)
        utterances.append(Utterance(path, "abcdefgh"[n], speaker, "train", 0.2 + 0.01 * n))
    return utterances


def test_speech_dataset(speech):
    dataset = SpeechDataset(speech, sample_rate=16000)
    assert len(dataset) == 8 and dataset.speakers == SPEAKERS and dataset.transcripts == list("abcdefgh")
    for index, sample in enumerate(dataset[i] for i in range(8)):
        assert (sample.sample_rate, sample.transcript) == (16000, "abcdefgh"[index])
        assert torch.equal(sample.audio, read_audio(speech[index].path, 16000))
        assert len(sample.audio) / 16000 == pytest.approx(dataset.seconds[index])
    assert SpeechDataset([Utterance(speech[0].path, "a")]).seconds == [pytest.approx(0.2)]


def test_pieces_and_channels_are_utterances_of_their_own(tmp_path):
    left, right = np.linspace(0, 0.5, RATE), np.linspace(0, -0.25, RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    whole = read_audio(tmp_path / "a.wav", RATE, channel=1)
    utterances = [
        Utterance(tmp_path / "a.wav", "a", start=0.25, stop=0.75, channel=1),
        Utterance(tmp_path / "a.wav", "b", start=0.75, channel=1),
        Utterance(tmp_path / "a.wav", "c", stop=0.25, channel=0),
    ]
    dataset = SpeechDataset(utterances, RATE)
    assert dataset.seconds == [0.5, 0.25, 0.25]
    assert torch.equal(dataset[0].audio, whole[RATE // 4 : 3 * RATE // 4]) and torch.equal(
        dataset[1].audio, whole[3 * RATE // 4 :]
    )
    assert torch.equal(read_utterance(utterances[2], RATE), -2 * whole[: RATE // 4])
    assert [u.name for u in utterances] == [
        f"{tmp_path}/a.wav from {part}" for part in ("0.25 s to 0.75 s", "0.75 s to the end", "0 s to 0.25 s")
    ]


@pytest.mark.parametrize(("cache_mb", "expected"), [(4, "01234567"), (3, "000111222333444555666777")])
def test_audio_is_cached_if_all_of_it_fits(speech, monkeypatch, cache_mb, expected):
    dataset, reads = SpeechDataset(speech, sample_rate=500_000, cache_mb=cache_mb), []  # 8 of about 0.4 MB
    fresh = [read_audio(u.path, 500_000) for u in speech]
    monkeypatch.setattr(datasets, "read_audio", lambda path, rate: reads.append(path.stem) or read_audio(path, rate))
    for index, audio in enumerate(fresh):
        for _ in range(3):
            again = dataset[index].audio
            assert torch.equal(again, audio)
            again.zero_()
    assert "".join(reads) == expected


def test_gaps_of_joined_utterances_are_known_in_seconds(speech):
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, gap_seconds=(0.1, 0.2))
    assert {len(joined.gap_times(index)) for index in range(8)} > {1}
    for index in range(8):
        audio, ends = joined[index].audio, [0.0]
        for start, end in joined.gap_times(index):
            assert 0.1 <= end - start <= 0.2
            quiet = audio[round(start * RATE) + 1 : round(end * RATE) - 1]
            before = audio[round(ends[-1] * RATE) : round(start * RATE)]
            assert quiet.abs().max() < 0.02 * before.abs().max()
            ends.append(end)


def parts_of(transcript: str) -> list[int]:
    return ["abcdefgh".index(word) for word in transcript.split(" ")]


def test_joined_utterances_are_of_one_speaker_and_begin_with_their_own(speech):
    joined, counts = JoinedDataset(SpeechDataset(speech, RATE), max_join=3), defaultdict(set)
    for epoch in range(20):
        joined.set_epoch(epoch)
        for index, transcript in enumerate(joined.transcripts):
            parts = parts_of(transcript)
            assert parts[0] == index and len(set(parts)) == len(parts) <= 3
            assert {SPEAKERS[p] for p in parts} == {SPEAKERS[index]}
            counts[index] |= {len(parts)}
    assert counts[0] == {1, 2, 3} and counts[3] == {1, 2} and counts[7] == {1}
    assert joined.speakers == SPEAKERS and len(joined) == 8


def test_number_of_parts_is_uniform_and_every_utterance_is_drawn():
    utterances = [Utterance(Path("-"), chr(0xAC00 + n), "ann", seconds=1.0) for n in range(600)]
    lengths = np.array([t.count(" ") + 1 for t in JoinedDataset(SpeechDataset(utterances), max_join=4).transcripts])
    for count in (1, 2, 3, 4):
        assert 100 < (lengths == count).sum() < 200
    joined = JoinedDataset(SpeechDataset(utterances[:4]), max_join=2)
    pairs = set()
    for epoch in range(60):
        joined.set_epoch(epoch)
        pairs |= {t for t in joined.transcripts if " " in t}
    assert len(pairs) == 12


def test_joined_seconds_and_audio_agree(speech):
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, gap_seconds=(0.05, 0.1))
    for index, sample in enumerate(joined[i] for i in range(8)):
        assert len(sample.audio) / RATE == pytest.approx(joined.seconds[index], abs=1 / RATE)
        assert sample.transcript == joined.transcripts[index] and sample.sample_rate == RATE


def test_joined_audio_is_the_parts_with_quiet_gaps_between(speech):
    base = SpeechDataset(speech, RATE)
    joined = JoinedDataset(base, max_join=2, gap_seconds=(0.05, 0.05), seed=3)
    index = next(i for i in range(8) if " " in joined.transcripts[i])
    first, second = (base[p].audio for p in parts_of(joined.transcripts[index]))
    audio = joined[index].audio
    gap = audio[len(first) : -len(second)]
    assert torch.equal(audio[: len(first)], first) and torch.equal(audio[-len(second) :], second)
    assert len(gap) == 0.05 * RATE
    level = 20 * torch.log10(gap.square().mean().sqrt() / first.square().mean().sqrt())
    assert level == pytest.approx(-60, abs=1)


def test_joining_is_a_function_of_seed_epoch_and_index(speech):
    def everything(seed: int, epoch: int) -> tuple[list[str], list[float], list[float]]:
        joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, seed=seed)
        joined.set_epoch(epoch)
        return joined.transcripts, joined.seconds, torch.cat([joined[i].audio for i in (7, 2, 0)]).tolist()

    assert everything(0, 5) == everything(0, 5)
    assert everything(0, 5)[0] != everything(0, 6)[0] and everything(0, 5)[1] != everything(1, 5)[1]
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3)
    at_first, first = joined.transcripts, joined[0].audio
    joined.set_epoch(9)
    joined.set_epoch(0)
    assert joined.transcripts == at_first and torch.equal(joined[0].audio, first)


def test_joining_one_is_no_joining(speech):
    base = SpeechDataset(speech, RATE)
    joined = JoinedDataset(base, max_join=1)
    assert (joined.transcripts, joined.seconds) == (base.transcripts, base.seconds)
    assert torch.equal(joined[4].audio, base[4].audio)


@pytest.mark.parametrize(("max_join", "gaps"), [(0, (0, 1)), (2, (0.2, 0.1)), (2, (-0.1, 0.1))])
def test_joining_refuses_nonsense(speech, max_join, gaps):
    with pytest.raises(ValueError, match=f"cannot join {max_join} utterances with gaps of "):
        JoinedDataset(SpeechDataset(speech), max_join, gap_seconds=gaps)
