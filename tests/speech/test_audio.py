"""Audio files: read unchanged, mixed down, resampled; every kind of damage is named. Audio is made by the tests."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from helpers import RATE, write_audio, write_noise
from speech.audio import BadAudio, read_audio
from speech.corpora import Utterance
from speech.datasets import SpeechDataset


def test_audio_is_read_unchanged_at_its_own_rate(tmp_path):
    path = write_noise(tmp_path / "a.wav")
    stored, _ = soundfile.read(path, dtype="int16")
    audio = read_audio(path, RATE)
    assert audio.dtype == torch.float32 and audio.shape == (RATE,)
    assert torch.equal(audio, torch.from_numpy(stored.astype(np.float32) / 2**15))


def test_channels_are_averaged(tmp_path):
    left, right = np.full(100, 0.5), np.full(100, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav", RATE), torch.full((100,), 0.125))


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (48000, 8000)])
def test_resampling_keeps_duration_frequency_and_loudness(tmp_path, rate, wanted):
    audio = read_audio(write_audio(tmp_path / "a.wav", seconds=1.0, rate=rate, hertz=1000.0), wanted)
    assert len(audio) == wanted
    spectrum = torch.fft.rfft(audio * torch.hann_window(wanted)).abs()  # 1 s, so bin number = frequency in Hz
    assert spectrum.argmax() == 1000
    assert audio[wanted // 4: -wanted // 4].abs().max() == pytest.approx(0.5, abs=0.005)


def test_what_the_new_rate_cannot_hold_is_filtered_out(tmp_path):
    audio = read_audio(write_audio(tmp_path / "a.wav", seconds=1.0, rate=16000, hertz=6000.0), 8000)
    assert audio[1000:-1000].abs().max() < 1e-3


def assert_bad(path: Path, reason: str, sample_rate: int = RATE) -> None:
    with pytest.raises(BadAudio) as error:
        read_audio(path, sample_rate)
    assert error.value.path == path
    assert str(error.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 0.999])
def test_truncated_flac(tmp_path, share):
    whole = write_noise(tmp_path / "a.flac", rate=16000).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:int(share * len(whole))])
    assert_bad(tmp_path / "cut.flac", "cannot be read as audio (")


def test_fewer_frames_than_the_header_says(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.ogg", seconds=4.0).read_bytes())
    whole[len(whole) // 2:len(whole) // 2 + 3000] = bytes(3000)
    (tmp_path / "holes.ogg").write_bytes(whole)
    assert_bad(tmp_path / "holes.ogg", "truncated: ")


def test_flac_damaged_in_the_middle(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.flac", seconds=4.0).read_bytes())
    whole[len(whole) // 2:len(whole) // 2 + 2000] = bytes(2000)
    (tmp_path / "damaged.flac").write_bytes(whole)
    assert_bad(tmp_path / "damaged.flac", "cannot be read as audio (")


@pytest.mark.parametrize("kind", ["wav", "aiff"])
def test_truncated_wav_and_aiff(tmp_path, kind):
    whole = write_noise(tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(whole[:-2])
    assert_bad(tmp_path / f"cut.{kind}", "truncated: 1")


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_from_a_pipe_whose_header_gives_no_length_is_read(tmp_path, length):
    whole = bytearray(write_noise(tmp_path / "a.wav").read_bytes())
    start = whole.find(b"data") + 4
    whole[start:start + 4] = length.to_bytes(4, "little")
    (tmp_path / "pipe.wav").write_bytes(whole)
    assert len(read_audio(tmp_path / "pipe.wav", RATE)) == RATE


def test_flac_without_length(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.flac").read_bytes())
    whole[21] &= 0xF0  # STREAMINFO: 36 bits of total samples
    whole[22:26] = bytes(4)
    (tmp_path / "pipe.flac").write_bytes(whole)
    assert_bad(tmp_path / "pipe.flac", "its header gives no length")


def test_other_bad_audio(tmp_path):
    assert_bad(tmp_path / "gone.wav", "file not found")
    assert_bad(tmp_path, "a folder, not an audio file")
    assert_bad(write_audio(tmp_path / "empty.wav", seconds=0), "zero-length audio")
    one_sample = write_audio(tmp_path / "short.wav", seconds=1 / 48000, rate=48000)
    assert_bad(one_sample, "too short to be resampled to 8000 Hz")
    for value in (np.nan, np.inf):
        soundfile.write(tmp_path / "a.wav", np.array([0.0, value]), RATE, subtype="FLOAT")
        assert_bad(tmp_path / "a.wav", "holds samples that are not finite")
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 1e29], dtype=np.float32), RATE, subtype="FLOAT")
    assert_bad(tmp_path / "a.wav", "holds samples as large as 1e+29, which are no sound")


def test_bad_audio_comes_back_from_a_worker(tmp_path):
    error = pickle.loads(pickle.dumps(BadAudio("reason", tmp_path)))
    assert (error.reason, error.path) == ("reason", tmp_path)
    dataset = SpeechDataset([Utterance(tmp_path / "gone.wav", "x", seconds=1.0)])
    with pytest.raises(BadAudio, match=r"gone\.wav: file not found"):
        next(iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)))
