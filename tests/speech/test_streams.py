"""Sound while it comes: files, raw samples in any pieces, a microphone."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from helpers import write_noise
from speech.audio import BadAudio, read_audio
from speech.streams import microphone, played, raw_samples, until_interrupted


class Pieces(io.BytesIO):
    """A pipe that gives its bytes in pieces of these sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self.sizes = sizes

    def read1(self, size: int = -1) -> bytes:
        return super().read1(min(size, self.sizes.pop(0) if self.sizes else size))


SAMPLES = np.random.default_rng(0).integers(-3000, 3000, 5000).astype("<i2")


def test_a_file_comes_whole_in_chunks_of_a_tenth_of_a_second(tmp_path):
    path = write_noise(tmp_path / "a.wav", 1.05)
    chunks = list(played(path, 8000))
    np.testing.assert_array_equal(np.concatenate(chunks), read_audio(path, 8000).numpy())
    assert len(chunks) == 11 and max(map(len, chunks)) <= 800
    with pytest.raises(BadAudio, match="file not found"):
        next(played(tmp_path / "b.wav", 8000))


@pytest.mark.parametrize("sizes", [[], [1] * 4000, [3, 1, 1, 5, 999, 2, 7], [3] * 3000])
def test_raw_samples_come_whole_whatever_the_pieces(sizes):
    found = list(raw_samples(Pieces(SAMPLES.tobytes(), list(sizes)), 16000))
    np.testing.assert_array_equal(np.concatenate(found), SAMPLES)
    assert all(chunk.dtype == np.int16 for chunk in found)


@pytest.mark.parametrize(("count", "whole"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9999, 4999)])
def test_half_a_sample_at_the_end_is_left_out_and_said(count, whole, caplog):
    found = list(raw_samples(Pieces(SAMPLES.tobytes()[:count], [1, 1, 2]), 16000))
    np.testing.assert_array_equal(np.concatenate([*found, SAMPLES[:0]]), SAMPLES[:whole])
    assert ("half a 16-bit sample" in caplog.text) == bool(count % 2)


HEADS = [b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3\x04", b"FORM", b"caff", b".snd", b"NIST_1A", b"\x1aE\xdf\xa3", b"1234ftypM4A"]


@pytest.mark.parametrize("head", HEADS)
def test_an_audio_file_is_not_heard_as_raw_samples(head):
    with pytest.raises(BadAudio, match=r"raw samples are expected, but .* leave out --stream, or .* -ar 16000 -"):
        list(raw_samples(Pieces(head + bytes(100), [1, 2]), 16000))


def test_a_text_is_not_heard_as_raw_samples_but_samples_that_look_like_one_for_a_moment_are():
    with pytest.raises(BadAudio, match="this begins like a text"):
        list(raw_samples(Pieces(b"# A title\n\nand some more words, as there are in every text\n" * 9, [5]), 16000))
    for head in (b"abcdefgh", np.array([-1025, 3000], "<i2").tobytes()):
        data = head + SAMPLES.tobytes()
        np.testing.assert_array_equal(np.concatenate(list(raw_samples(Pieces(data, [1, 9]), 16000))), np.frombuffer(data, "<i2"))


class Device:
    """sounddevice, as far as it is used."""

    PortAudioError = OSError

    def __init__(self, blocks: list[tuple[np.ndarray, str]], missing: bool = False) -> None:
        self.blocks, self.missing = blocks, missing

    def query_devices(self, kind: str) -> dict:
        if self.missing:
            raise self.PortAudioError("Error querying device -1")
        return {"default_samplerate": 44100.0}

    def InputStream(self, rate, blocksize, channels, dtype, callback):
        assert (rate, blocksize, channels, dtype) == (44100, 4410, 1, "int16")
        for samples, status in self.blocks:
            callback(samples[:, None], len(samples), None, status)
        return nullcontext()


def test_a_microphone_gives_its_own_rate_and_all_blocks(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "sounddevice", Device([(SAMPLES[:10], ""), (SAMPLES[10:25], "input overflow")]))
    with microphone() as (rate, chunks):
        assert rate == 44100
        np.testing.assert_array_equal(np.concatenate([next(chunks), next(chunks)]), SAMPLES[:25])
    assert "input overflow: some audio was lost" in caplog.text


@pytest.mark.parametrize(
    ("module", "message"),
    [(None, "pip install sounddevice"), (Device([], missing=True), "is it plugged in, and may this program use it")],
)
def test_what_a_microphone_lacks_is_said_with_the_remedy(module, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    with pytest.raises(BadAudio, match=message), microphone():
        pass


def test_without_portaudio_the_package_that_has_it_is_named(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadAudio, match="sudo apt install libportaudio2"), microphone():
        pass


def test_an_interrupt_ends_the_wait_but_not_the_work():
    def slow():
        yield 1
        time.sleep(20)
        yield 2

    begun, before = time.monotonic(), signal.getsignal(signal.SIGINT)
    chunks = until_interrupted(slow())
    assert next(chunks) == 1
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert list(chunks) == [] and time.monotonic() - begun < 10
    assert signal.getsignal(signal.SIGINT) is before

    worked = []
    for chunk in until_interrupted(iter([1, 2, 3])):
        os.kill(os.getpid(), signal.SIGINT)  # comes in the midst of the work on a chunk
        worked.append(chunk)
    assert worked == [1]
