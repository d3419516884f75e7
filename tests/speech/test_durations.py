"""Durations are read once, and again where a file has changed; a broken or locked cache harms nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import manifest, write_audio
from speech import durations
from speech.audio import BadAudio, audio_seconds
from speech.containers import flac_seconds
from speech.corpora import read_corpus
from speech.durations import Durations


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(durations, "MANY", 1)
    return tmp_path / "cache" / "deep_speech_2"


def test_what_was_read_is_not_read_again_until_the_file_changes(tmp_path, monkeypatch):
    paths = [write_audio(tmp_path / "d" / f"{n}.wav", 0.1 * n) for n in (1, 2, 3)]
    first = Durations(tmp_path / "d")
    assert [first.seconds(path) for path in paths] == [audio_seconds(path) for path in paths] and first.read == 3
    first.keep()
    write_audio(paths[1], 0.5)
    read = []
    monkeypatch.setattr(durations, "audio_seconds", lambda path: (read.append(path), audio_seconds(path))[1])
    again = Durations(tmp_path / "d")
    assert [again.seconds(path) for path in paths] == pytest.approx([0.1, 0.5, 0.3]) and read == [paths[1]]
    os.utime(paths[2], ns=(1, 1))  # written again, as long as before
    again.seconds(paths[2])
    assert read == paths[1:]


@pytest.mark.parametrize(("rate", "seconds"), [(16000, 0.001), (16000, 0.3), (8000, 7.77), (44100, 31.0), (11025, 2.0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_two_ends_of_a_flac_give_its_duration(tmp_path, rate, seconds, channels):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).normal(0, 0.003, (round(rate * seconds), channels))
    soundfile.write(path, noise, rate)
    assert flac_seconds(path) == len(noise) / rate == audio_seconds(path)
    data = path.read_bytes()
    for cut in (1, 3, len(data) // 3):  # the last frame's header may still be there
        path.write_bytes(data[:-cut])
        assert flac_seconds(path) in (None, len(noise) / rate)
    path.write_bytes(data[: len(data) // 2])
    assert flac_seconds(path) is None or len(data) < 10_000


def test_flacs_that_must_be_looked_at_whole_are(tmp_path):
    path, noise = tmp_path / "a.flac", np.random.default_rng(0).normal(0, 0.1, 160_000)
    soundfile.write(path, noise, 16000)
    whole = path.read_bytes()
    soundfile.write(path, noise[:32_000], 16000)
    short = path.read_bytes()
    facts = int.from_bytes(whole[18:26], "big")
    unknown = whole[:18] + (facts >> 36 << 36).to_bytes(8, "big") + whole[26:]  # as an encoder that writes to a pipe
    for data, seconds in ((whole + short, 12), (short + whole, 12), (whole + whole, 20), (unknown, 10)):
        path.write_bytes(data)
        assert flac_seconds(path) is None and Durations(tmp_path).seconds(path) == audio_seconds(path) == seconds
    tag = b"ID3\x04\0\0\0\0\0\x05hello"
    for data in (tag + whole, b"", b"fLaC", whole[:50], b"RIFF" + whole[4:]):
        path.write_bytes(data)
        assert flac_seconds(path) is None
    assert flac_seconds(tmp_path / "none.flac") is None


@pytest.mark.parametrize(
    "content", ["", "no json", "[1]", '{"1.wav": [1, 2]}', '{"1.wav": [1, 2, "x"]}', '{"1.wav": [1, 2, -3.0]}']
)
def test_a_broken_cache_is_made_anew(tmp_path, cache, content):
    path = write_audio(tmp_path / "d" / "1.wav", 0.3)
    made = Durations(tmp_path / "d")
    made.seconds(path)
    made.keep()
    (file,) = cache.iterdir()
    file.write_text(content)
    found = Durations(tmp_path / "d")
    assert found.seconds(path) == pytest.approx(0.3)
    found.keep()
    assert json.loads(file.read_text())["1.wav"][2] == pytest.approx(0.3)


def test_where_nothing_can_be_kept_it_is_read(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "1.wav", 0.3)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "below", tmp_path / "file"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        found = Durations(tmp_path)
        assert found.seconds(path) == pytest.approx(0.3)
        found.keep()
    with pytest.raises(BadAudio, match="file not found"):
        Durations(tmp_path).seconds(tmp_path / "none.wav")


def test_few_files_leave_nothing_and_many_are_read_once_by_a_corpus(tmp_path, cache, monkeypatch):
    write_audio(tmp_path / "a.wav", 0.3)
    manifest(tmp_path, "path\ttext\na.wav\tx\n", audio="")
    monkeypatch.setattr(durations, "MANY", 2)
    read_corpus(tmp_path)
    assert not cache.exists()
    monkeypatch.setattr(durations, "MANY", 1)
    assert read_corpus(tmp_path).utterances[0].seconds == pytest.approx(0.3)
    monkeypatch.setattr(durations, "audio_seconds", None)
    assert read_corpus(tmp_path).utterances[0].seconds == pytest.approx(0.3)


def test_files_of_one_name_in_two_folders_are_kept_apart(tmp_path, cache):
    lengths = {"a/1.wav": 0.3, "b/1.wav": 0.2}
    for name, seconds in lengths.items():
        write_audio(tmp_path / "d" / name, seconds)
        os.utime(tmp_path / "d" / name, ns=(1, 1))
    first = Durations(tmp_path / "d")
    assert [first.seconds(tmp_path / "d" / name) for name in lengths] == pytest.approx([0.3, 0.2])
    first.seconds(write_audio(tmp_path / "beside.wav", 0.4))
    first.keep()
    (file,) = cache.iterdir()
    assert set(json.loads(file.read_text())) == {"a/1.wav", "b/1.wav", "../beside.wav"}  # so that the corpus can be moved
