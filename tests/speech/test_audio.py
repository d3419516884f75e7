"""Audio files: read whole and in pieces, mixed down, resampled; every kind of damage is named. Audio is made by the tests."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from helpers import RATE, ROOT, write_audio, write_noise
from speech import audio as audio_module
from speech.audio import BadAudio, audio_seconds, mix, read_audio
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
    assert audio[wanted // 4 : -wanted // 4].abs().max() == pytest.approx(0.5, abs=0.005)


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
    (tmp_path / "cut.flac").write_bytes(whole[: int(share * len(whole))])
    assert_bad(tmp_path / "cut.flac", "cannot be read as audio (it" if share else "the file is empty")


def test_fewer_frames_than_the_header_says(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.ogg", seconds=4.0).read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 3000] = bytes(3000)
    (tmp_path / "holes.ogg").write_bytes(whole)
    assert_bad(tmp_path / "holes.ogg", "truncated: ")


def test_flac_damaged_in_the_middle(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.flac", seconds=4.0).read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    (tmp_path / "damaged.flac").write_bytes(whole)
    assert_bad(tmp_path / "damaged.flac", "cannot be read as audio (")


@pytest.mark.parametrize("kind", ["wav", "aiff"])
def test_truncated_wav_and_aiff(tmp_path, kind):
    whole = write_noise(tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(whole[:-2000])
    assert_bad(tmp_path / f"cut.{kind}", "truncated: 14000 of 16000 bytes of audio are there")


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_from_a_pipe_whose_header_gives_no_length_is_read(tmp_path, length):
    whole = bytearray(write_noise(tmp_path / "a.wav").read_bytes())
    start = whole.find(b"data") + 4
    whole[start : start + 4] = length.to_bytes(4, "little")
    (tmp_path / "pipe.wav").write_bytes(whole)
    assert len(read_audio(tmp_path / "pipe.wav", RATE)) == RATE


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
    assert_bad(tmp_path / "a.wav", "holds samples as large as 1e+29, which can't be sound")


def test_bad_audio_comes_back_from_a_worker(tmp_path):
    error = pickle.loads(pickle.dumps(BadAudio("reason", tmp_path)))
    assert (error.reason, error.path) == ("reason", tmp_path)
    dataset = SpeechDataset([Utterance(tmp_path / "gone.wav", "x", seconds=1.0)])
    with pytest.raises(BadAudio, match=r"gone\.wav: file not found"):
        next(iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)))


# ---------------------------------------------------------------------------------------------
# Whatever common players play is read to its end
# ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(audio_module, "_told", set())


def uneven(seconds: float = 4.0, rate: int = 16000) -> np.ndarray:
    """A noise that begins in silence, so that its first frames tell nothing of the others."""
    wave = 0.3 * np.random.default_rng(0).uniform(-1, 1, round(seconds * rate))
    return wave * (np.arange(len(wave)) > len(wave) / 2)


def encoded(kind: str, wave: np.ndarray | None = None, rate: int = 16000, **options) -> bytes:
    memory = io.BytesIO()
    subtype = {"opus": "OPUS", "ogg": "VORBIS"}.get(kind)
    name = {"opus": "OGG", "aiff": "AIFF"}.get(kind, kind.upper())
    soundfile.write(memory, uneven(rate=rate) if wave is None else wave, rate, format=name, subtype=subtype, **options)
    return memory.getvalue()


def whole_and_seconds(path: Path, data: bytes, rate: int = 16000) -> torch.Tensor:
    """The audio of a file with these bytes; its duration is known without decoding."""
    path.write_bytes(data)
    audio = read_audio(path, rate)
    assert audio_seconds(path) == pytest.approx(len(audio) / rate, abs=1 / rate)
    return audio


def without_info(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which holds no audio but the number of frames."""
    assert mp3[:2] in (b"\xff\xf3", b"\xff\xfb", b"\xff\xe3") and (b"Xing" in mp3[:64] or b"Info" in mp3[:64])
    second = mp3.index(mp3[:2], 60)
    assert b"Xing" not in mp3[second:] and b"Info" not in mp3[second:]
    return mp3[second:]


MP3 = [{}, {"bitrate_mode": "VARIABLE"}, {"bitrate_mode": "AVERAGE"}, {"rate": 44100, "bitrate_mode": "VARIABLE"}, {"rate": 8000}]
ID3 = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)


@pytest.mark.parametrize("options", MP3)
@pytest.mark.parametrize("before", [b"", ID3, bytes(333)])
def test_mp3_without_length_is_read_to_its_end(tmp_path, options, before):
    rate = options.get("rate", 16000)
    whole = encoded("mp3", **options)
    healthy, audio = (whole_and_seconds(tmp_path / "a.mp3", data, rate) for data in (whole, before + without_info(whole)))
    assert len(healthy) == 4 * rate and len(audio) == pytest.approx(4 * rate, abs=3000)
    assert audio[-rate:].std() > 0.1  # the noise at the end


def test_mp3_that_states_too_few_frames(tmp_path):
    whole = bytearray(encoded("mp3"))
    at = max(whole.find(b"Info"), whole.find(b"Xing")) + 8
    assert int.from_bytes(whole[at : at + 4], "big") == pytest.approx(4 * 16000 / 576, abs=4)
    whole[at : at + 4] = (30).to_bytes(4, "big")
    assert len(whole_and_seconds(tmp_path / "a.mp3", bytes(whole))) == pytest.approx(64000, abs=1200)


def test_tags_behind_and_within_an_mp3_are_no_loss(tmp_path):
    whole = encoded("mp3")
    tag, ape = b"TAG" + bytes(125), b"APETAGEX" + b"\xd0\x07\0\0" + (32).to_bytes(4, "little") + bytes(16)
    assert len(whole_and_seconds(tmp_path / "a.mp3", ID3 + whole + ape + tag)) == 64000
    assert len(whole_and_seconds(tmp_path / "b.mp3", whole + tag + ID3 + whole)) == pytest.approx(128000, abs=1200)


def silent_mp2(frames: int, rate_code: int) -> bytes:
    """MPEG-1 layer 2, mono, 44.1 kHz: frames that allot no bit to any band."""
    length = 144 * {8: 128, 4: 64}[rate_code] * 1000 // 44100
    return frames * (bytes([0xFF, 0xFD, rate_code << 4, 0xC0]) + bytes(length - 4))


def test_mp2(tmp_path):
    for data, frames in (
        (silent_mp2(30, 8), 30),
        (silent_mp2(30, 8) + silent_mp2(40, 4), 70),
        (silent_mp2(5, 8) + ID3 + silent_mp2(9, 8), 14),
    ):
        assert len(whole_and_seconds(tmp_path / "a.mp2", data, 44100)) == frames * 1152


def test_mp3_in_wav(tmp_path):
    mp3 = without_info(encoded("mp3"))
    fmt = b"".join(n.to_bytes(size, "little") for n, size in ((0x55, 2), (1, 2), (16000, 4), (4000, 4), (1, 2), (0, 2), (12, 2)))
    fmt += b"".join(n.to_bytes(size, "little") for n, size in ((1, 2), (2, 4), (144, 2), (1, 2), (1393, 2)))
    data = b"WAVEfmt " + len(fmt).to_bytes(4, "little") + fmt + b"data" + len(mp3).to_bytes(4, "little") + mp3
    audio = whole_and_seconds(tmp_path / "a.wav", b"RIFF" + len(data).to_bytes(4, "little") + data)
    assert len(audio) == pytest.approx(64000, abs=2000)


@pytest.mark.parametrize("kind", ["ogg", "opus", "flac", "mp3"])
def test_joined_streams_are_read_one_after_the_other(tmp_path, kind):
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    first, second = encoded(kind), encoded(kind, tone)
    alone = [whole_and_seconds(tmp_path / f"a.{kind}", data) for data in (first, second)]
    assert [len(audio) for audio in alone] == [64000, 16000]
    for data in (first + second, first + first + second):
        joined = whole_and_seconds(tmp_path / f"b.{kind}", data)
        assert len(joined) == len(data) // len(first) * 64000 + 16000
        assert torch.allclose(joined[-16000:], alone[1], atol=0.05)
        assert torch.allclose(joined[:64000], alone[0], atol=0.05)
    piece = read_audio(tmp_path / f"b.{kind}", 16000, start=8.25, seconds=0.5)
    assert torch.equal(piece, joined[132000:140000])


@pytest.mark.parametrize("kind", ["ogg", "flac", "mp3"])
def test_joined_streams_of_different_rates(tmp_path, kind):
    second = encoded(kind, rate=8000)
    audio = whole_and_seconds(tmp_path / f"a.{kind}", encoded(kind) + second)
    assert len(audio) == pytest.approx(128000, abs=4)
    assert audio[-16000:].std() > 0.1 and audio[64000 + 500 : 96000 - 500].std() < 0.01


@pytest.mark.parametrize("stated", [0, 100])
@pytest.mark.parametrize("seconds", [0.01, 0.3, 4.0, 40.0])
def test_flac_that_states_no_or_too_few_samples(tmp_path, stated, seconds):
    whole = bytearray(encoded("flac", uneven(seconds)))
    whole[21:26] = (int.from_bytes(whole[21:26], "big") >> 36 << 36 | stated).to_bytes(5, "big")
    audio = whole_and_seconds(tmp_path / "a.flac", bytes(whole))
    assert len(audio) == round(seconds * 16000)
    assert torch.equal(audio, whole_and_seconds(tmp_path / "b.flac", encoded("flac", uneven(seconds))))
    piece = read_audio(tmp_path / "a.flac", 16000, start=0.7 * seconds, seconds=0.2 * seconds)
    assert torch.equal(piece, audio[round(0.7 * seconds * 16000) :][: round(0.2 * seconds * 16000)])


def test_what_looks_like_a_frame_of_flac_but_is_audio(tmp_path):
    wave = np.random.default_rng(0).integers(
        -32768, 32767, 9000, dtype=np.int16
    )  # cannot be packed, and so stands there as it is
    wave[8700:8703] = np.array([0xFFF8, 0xC408, 0x0500], dtype=np.uint16).astype(np.int16)
    data = bytearray(encoded("flac", wave))
    assert b"\xff\xf8\xc4\x08\x05\x00" in data
    assert len(whole_and_seconds(tmp_path / "a.flac", bytes(data))) == 9000
    data[21:26] = (int.from_bytes(data[21:26], "big") >> 36 << 36).to_bytes(5, "big")
    assert len(whole_and_seconds(tmp_path / "a.flac", bytes(data))) == 9000


def test_what_looks_like_a_frame_far_behind_the_end_is_audio_too(tmp_path, caplog):
    wave = np.random.default_rng(0).integers(-32768, 32767, 9000, dtype=np.int16)
    wave[8700:8703] = np.array([0xFFF8, 0xC408, 0x44DF], dtype=np.uint16).astype(np.int16)
    data = encoded("flac", wave)
    assert b"\xff\xf8\xc4\x08\x44\xdf" in data
    assert len(whole_and_seconds(tmp_path / "a.flac", data)) == 9000 and not caplog.records


def ogg_page(flags: int, number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(bytes([255] * (len(p) // 255) + [len(p) % 255]) for p in packets)
    head = b"OggS\0" + bytes([flags]) + bytes(8) + b"mine" + number.to_bytes(4, "little") + bytes(4)
    return head + bytes([len(lacing)]) + lacing + b"".join(packets)


def test_flac_in_ogg(tmp_path):
    native = encoded("flac", uneven(0.5))
    frames = native.index(b"\xff\xf8")
    first = b"\x7fFLAC\1\0\0\1" + native[:4] + b"\0" + native[5:42]
    data = ogg_page(2, 0, [first]) + ogg_page(0, 1, [native[42:frames]]) + ogg_page(4, 2, [native[frames:]])
    expected = whole_and_seconds(tmp_path / "a.flac", native)
    assert torch.equal(whole_and_seconds(tmp_path / "a.oga", data), expected)


LIST = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT\x0e\0\0\0Lavf59.27.100\0"


def wav(data: int | None = None, riff: int | None = None, behind: bytes = b"", frames: int = 1000) -> bytes:
    """WAV of 0, 1, 2, ... with these bytes as its sizes; None: the true ones."""
    audio = np.arange(frames, dtype="<i2").tobytes()
    sizes = [len(audio) + 36 + len(behind) if riff is None else riff, len(audio) if data is None else data]
    whole, part = (size.to_bytes(4, "little") for size in sizes)
    return b"RIFF" + whole + encoded("wav", np.zeros(1), RATE)[8:36] + b"data" + part + audio + behind


WAVS = {
    "healthy": wav(),
    "the header counted in the data": wav(data=2044),
    "the header counted in both": wav(data=2044, riff=2080),
    "as many bytes as the whole file has": wav(data=2044, riff=0xFFFF_FFFF),
    "30 too many": wav(data=2030),
    "odd": wav(data=2001),
    "odd, and no size of the file": wav(data=2001, riff=0xFFFF_FFFF),
    "odd, and a padding": wav(data=2001, behind=b"\0"),
    "odd in both": wav(data=2001, riff=2037),
    "44 too few": wav(data=1956),
    "as many as came first": wav(data=20, riff=6036, frames=3000),
    "none but one": wav(data=1),
    "a chunk behind": wav(behind=LIST),
    "a chunk behind, counted": wav(data=2034, behind=LIST),
    "a chunk behind, no sizes": wav(data=0xFFFF_FFFF, riff=0xFFFF_FFFF, behind=LIST),
    "a chunk behind that is cut off": wav(behind=LIST[:-4], riff=2036 + len(LIST)),
    "no sizes": wav(data=0, riff=0),
    "no size of the data": wav(data=0),
    "no size of the data, a chunk behind": wav(data=0, behind=LIST),
    "sizes of a pipe": wav(data=0xFFFF_FFFF, riff=0xFFFF_FFFF),
    "sizes of another pipe": wav(data=0x7FFF_FFFF - 36, riff=0x7FFF_FFFF),
    "no size of the file": wav(riff=0),
    "too small a size of the file": wav(riff=100),
    "too large a size of the file": wav(riff=9000),
}


@pytest.mark.parametrize("name", WAVS)
def test_wav_with_a_wrong_size_is_read(tmp_path, name, caplog):
    audio = whole_and_seconds(tmp_path / "a.wav", WAVS[name], RATE)
    assert torch.equal(audio * 2**15, torch.arange(3000.0 if "first" in name else 1000.0)) and not caplog.records


def test_wav_of_three_bytes_with_an_odd_size(tmp_path):
    memory = io.BytesIO()
    soundfile.write(memory, np.full(333, 0.5), RATE, format="WAV", subtype="PCM_24")  # 999 bytes, and one of padding
    data = bytearray(memory.getvalue())
    at = data.find(b"data") + 4
    for size, end in ((999, 1000), (1000, 1000), (999, 999), (1000, 999)):
        data[at : at + 4] = size.to_bytes(4, "little")
        assert len(whole_and_seconds(tmp_path / "a.wav", bytes(data[: at + 4 + end]), RATE)) == 333


def test_wav_whose_data_are_followed_by_what_it_does_not_count(tmp_path, caplog):
    audio = whole_and_seconds(tmp_path / "a.wav", wav(data=2000, riff=2036, behind=np.arange(5000, dtype="<i2").tobytes()), RATE)
    assert len(audio) == 1000
    assert [r.message for r in caplog.records] == [
        f"{tmp_path}/a.wav: 10000 bytes after the 2000 bytes of audio that its header states are not read"]  # fmt: skip


@pytest.mark.parametrize("sizes", [(-1, -1), (0, 0), (None, None), (None, 0)])
def test_rf64(tmp_path, sizes):
    whole, part = (true if size is None else size % 2**64 for true, size in zip((2072, 2000), sizes, strict=True))
    ds64 = b"ds64" + (28).to_bytes(4, "little") + b"".join(n.to_bytes(8, "little") for n in (whole, part, 1000)) + bytes(4)
    data = wav(data=0xFFFF_FFFF)
    data = b"RF64\xff\xff\xff\xffWAVE" + ds64 + data[12:]
    assert len(whole_and_seconds(tmp_path / "a.wav", data, RATE)) == 1000
    if sizes == (None, None):
        (tmp_path / "cut.wav").write_bytes(data[:-200])
        assert_bad(tmp_path / "cut.wav", "truncated: 1800 of 2000 bytes of audio are there")


def test_wav_of_big_endian_numbers_and_no_size(tmp_path):
    memory = io.BytesIO()
    soundfile.write(memory, np.full(100, 0.5), RATE, format="WAV", endian="BIG")
    data = bytearray(memory.getvalue())
    assert data[:4] == b"RIFX"
    data[data.find(b"data") + 4 : data.find(b"data") + 8] = bytes(4)
    assert torch.equal(whole_and_seconds(tmp_path / "a.wav", bytes(data), RATE), torch.full((100,), 0.5))


def test_aiff_and_au_from_a_pipe(tmp_path):
    for kind, name, sizes in (("aiff", b"SSND", (0, 0x7F00_0008)), ("au", b".snd\0\0\0\x18", (0xFFFF_FFFF,))):
        for size in sizes:
            data = bytearray(encoded(kind, uneven(0.1)))
            at = data.find(name) + len(name)
            data[at : at + 4] = size.to_bytes(4, "big")
            assert len(whole_and_seconds(tmp_path / f"a.{kind}", bytes(data))) == 1600


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "caf"])
def test_a_size_that_is_a_little_too_large_is_read_and_told(tmp_path, kind, caplog):
    whole = encoded(kind, uneven(0.5))
    healthy = whole_and_seconds(tmp_path / f"a.{kind}", whole)
    cut = whole_and_seconds(tmp_path / f"b.{kind}", whole[:-8])  # the same bytes as of a writer that counted 8 too many
    assert torch.equal(cut, healthy[:-4])
    (record,) = caplog.records
    assert record.message.startswith(f"{tmp_path}/b.{kind}: its header states 8 more bytes of audio than there are: ")


@pytest.mark.parametrize("kind", ["au", "caf"])
def test_what_stands_behind_the_counted_audio_is_told_and_no_size_is_read_to_the_end(tmp_path, kind, caplog):
    whole = bytearray(encoded(kind, uneven(0.5)))
    at, width = (8, 4) if kind == "au" else (whole.find(b"data") + 4, 8)
    for size in (0, 2 ** (8 * width) - 1):
        whole[at : at + width] = size.to_bytes(width, "big")
        assert len(whole_and_seconds(tmp_path / f"a.{kind}", bytes(whole))) == 8000
    whole[at : at + width] = (6000 + 4 * (kind == "caf")).to_bytes(width, "big")
    assert len(whole_and_seconds(tmp_path / f"b.{kind}", bytes(whole))) == 3000
    assert [record.message.split(": ")[1][:25] for record in caplog.records] == ["10000 bytes after the 600"[:25]]


def test_wav_with_an_odd_chunk_before_its_audio_or_of_the_kind_bw64_or_joined(tmp_path):
    whole = wav()
    odd = b"LIST\x05\0\0\0INFOX"  # without its padding
    assert len(whole_and_seconds(tmp_path / "a.wav", whole[:12] + odd + whole[12:], RATE)) == 1000
    sizes = b"".join(n.to_bytes(8, "little") for n in (2072, 2000, 1000))
    bw64 = b"BW64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + sizes + bytes(4) + wav(data=0xFFFF_FFFF)[12:]
    assert len(whole_and_seconds(tmp_path / "b.wav", bw64, RATE)) == 1000
    audio = whole_and_seconds(tmp_path / "c.wav", whole + wav(behind=LIST) + whole, RATE)
    assert torch.equal(audio * 2**15, torch.arange(1000.0).repeat(3))


def test_flac_that_states_too_many_samples_is_read_and_told(tmp_path, caplog):
    whole = bytearray(encoded("flac"))
    whole[21:26] = (int.from_bytes(whole[21:26], "big") + 5000).to_bytes(5, "big")
    assert len(whole_and_seconds(tmp_path / "a.flac", bytes(whole))) == 64000
    (record,) = caplog.records
    assert record.message.endswith("header states 69000 samples, but its last frame ends at 64000: its end may be missing")


def test_mp3_that_states_too_many_frames_and_ends_with_a_whole_one_is_read_and_told(tmp_path, caplog):
    whole = bytearray(encoded("mp3"))
    at = max(whole.find(b"Info"), whole.find(b"Xing")) + 8
    frames = int.from_bytes(whole[at : at + 4], "big")
    whole[at : at + 4] = (3000).to_bytes(4, "big")
    assert len(whole_and_seconds(tmp_path / "a.mp3", bytes(whole))) == 64000
    (record,) = caplog.records
    assert record.message.endswith(f"its header states 3000 frames, but {frames} are there: its end may be missing")


def test_ogg_behind_a_tag_or_other_bytes_and_with_a_lost_page(tmp_path, caplog):
    whole = encoded("ogg", uneven(20.0))
    for before in (ID3, bytes(100)):
        assert len(whole_and_seconds(tmp_path / "a.ogg", before + whole)) == 320000
    assert not caplog.records
    pages = [n for n in range(len(whole)) if whole[n : n + 4] == b"OggS"]
    (tmp_path / "b.ogg").write_bytes(whole[: pages[5]] + whole[pages[6] :])
    with contextlib.suppress(BadAudio):
        read_audio(tmp_path / "b.ogg", 16000)
    assert [record.message for record in caplog.records] == [f"{tmp_path}/b.ogg: 1 of its pages are missing in the middle"]


# ---------------------------------------------------------------------------------------------
# What is cut off is refused, or warned of where only its end can't be known
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "w64", "caf", "svx", "avr", "mpc2k", "flac", "ogg", "opus", "mp3"])
def test_what_is_cut_off_is_refused(tmp_path, kind, share):
    whole = encoded(kind)
    (tmp_path / f"a.{kind}").write_bytes(whole[: int(share * len(whole))])
    for read in (audio_seconds, lambda path: read_audio(path, 16000)):
        if kind == "flac" and read is audio_seconds:
            continue  # what its header says; only decoding shows it
        with pytest.raises(BadAudio, match=r"truncated: |cannot be read as audio \("):
            read(tmp_path / f"a.{kind}")


def test_a_cut_sphere_file_and_a_cut_flac_without_length(tmp_path):
    head = "NIST_1A\n   1024\nsample_count -i 800\nsample_n_bytes -i 2\nchannel_count -i 1\nsample_rate -i 8000\n"
    head += "sample_byte_format -s2 01\nsample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    data = head.encode().ljust(1024) + bytes(1600)
    assert len(whole_and_seconds(tmp_path / "a.sph", data, RATE)) == 800
    (tmp_path / "b.sph").write_bytes(data[:-600])
    assert_bad(tmp_path / "b.sph", "truncated: 1000 of 1600 bytes of audio are there")
    flac = bytearray(encoded("flac"))
    flac[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(flac[:-1000])
    assert_bad(tmp_path / "b.flac", "cannot be read as audio (")


def test_an_mp3_without_length_or_an_ogg_without_end_is_warned_of(tmp_path, caplog):
    whole = without_info(encoded("mp3"))
    whole_and_seconds(tmp_path / "a.mp3", whole)
    assert not caplog.records
    whole_and_seconds(tmp_path / "cut.mp3", whole[:-50])
    assert [r.message for r in caplog.records] == [
        f"{tmp_path}/cut.mp3: it ends in the middle of a frame, so its end may be missing"]  # fmt: skip
    ogg = encoded("ogg")
    whole_and_seconds(tmp_path / "cut.ogg", ogg[: ogg.rindex(b"OggS")])
    assert "cut.ogg: its last page is not marked as the last" in caplog.records[-1].message


# ---------------------------------------------------------------------------------------------
# Channels
# ---------------------------------------------------------------------------------------------


def speechlike(frames: int = 40000) -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal(frames).astype(np.float32)


def stereo(path: Path, *channels: np.ndarray) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize("gain", [-1.0, -0.999, -0.8, -1.2])
def test_inverted_channels_do_not_cancel(tmp_path, gain, caplog):
    voice = speechlike()
    mixed = read_audio(stereo(tmp_path / "a.wav", voice, gain * voice), RATE).numpy()
    assert abs(np.corrcoef(mixed, voice)[0, 1]) > 0.999 and mixed.std() > 0.5 * voice.std()
    read_audio(stereo(tmp_path / "b.wav", voice, -voice), RATE)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.message.startswith(f"{tmp_path}/a.wav: its channels cancel each other")


def test_where_channels_cancel_only_in_part_nothing_is_lost(tmp_path):
    voice = speechlike()
    sign = np.where(np.arange(40000) < 21300, 1, -1).astype(np.float32)
    mixed = read_audio(stereo(tmp_path / "a.wav", voice, sign * voice), RATE).numpy()
    ratio = [mixed[n : n + 500].std() / voice[n : n + 500].std() for n in range(0, 40000, 500)]
    assert min(ratio) > 0.3 and np.allclose(mixed[:15000], voice[:15000], atol=1e-6)
    assert np.abs(np.diff(mixed)).max() < 1.5 * np.abs(np.diff(voice)).max()  # no click


def test_hum_common_to_the_channels_does_not_hide_that_speech_cancels(tmp_path):
    speech, hum = uneven(2.0) * 0.2, 0.5 * np.sin(2 * np.pi * 50 * np.arange(32000) / 16000)
    audio = mix(np.stack([hum + speech, hum - speech], axis=1).astype(np.float32))
    spectrum = np.abs(np.fft.rfft(audio[17000:]))
    assert spectrum[2000:].mean() > 0.9 * np.abs(np.fft.rfft(speech[17000:]))[2000:].mean()


def test_two_speakers_on_two_channels_stay_both(tmp_path, caplog):
    left, right = speechlike() * (np.arange(40000) < 20000), speechlike()[::-1] * (np.arange(40000) >= 20000)
    mixed = read_audio(stereo(tmp_path / "a.wav", left, right), RATE).numpy()
    assert np.allclose(mixed, (left + right) / 2, atol=1e-7) and not caplog.records


def test_one_channel_of_eight_is_heard(tmp_path):
    channels = [1e-3 * speechlike()[::-1].copy() for _ in range(8)]
    channels[5] = speechlike()
    assert np.allclose(read_audio(stereo(tmp_path / "a.wav", *channels), RATE).numpy(), channels[5])


def test_a_channel_is_chosen(tmp_path):
    path = stereo(tmp_path / "a.wav", np.full(50, 0.5), np.full(50, -0.25))
    assert [read_audio(path, RATE, channel=c)[0].item() for c in (0, 1)] == [0.5, -0.25]
    with pytest.raises(BadAudio, match=r"has no channel 2 \(counted from 0\): it has 2"):
        read_audio(path, RATE, channel=2)


# ---------------------------------------------------------------------------------------------
# Pieces
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seconds"), [("wav", 4.0), ("flac", 4.0), ("ogg", 4.0), ("opus", 4.0), ("mp3", 4.0), ("mp3", 70.0)]
)
def test_a_piece_is_what_lies_there(tmp_path, kind, seconds):
    (tmp_path / f"a.{kind}").write_bytes(encoded(kind, uneven(seconds)))
    whole = read_audio(tmp_path / f"a.{kind}", 16000)
    for start, length in ((0.0, 0.5), (0.51 * seconds, 0.25), (0.9 * seconds, None)):
        piece = read_audio(tmp_path / f"a.{kind}", 16000, start, length)
        begin = round(start * 16000)
        expected = whole[begin:] if length is None else whole[begin : begin + round(length * 16000)]
        assert torch.allclose(piece, expected, atol=1e-6)


def test_a_piece_is_not_decoded_with_all_before_it(tmp_path, monkeypatch):
    path = write_noise(tmp_path / "a.flac", seconds=20.0)
    asked, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda file, n, **how: asked.append(n) or read(file, n, **how))
    assert len(read_audio(path, RATE, 15.0, 1.0)) == RATE and asked == [RATE]


def test_a_piece_beyond_the_end(tmp_path):
    path = write_noise(tmp_path / "a.wav")
    assert len(read_audio(path, RATE, 0.5, 0.55)) == RATE // 2  # rounded ends are no error
    for start, seconds, end in ((0.5, 0.7, "1.2 s"), (1.0, None, "its end"), (950, 400, "1350 s")):
        with pytest.raises(BadAudio, match=f"the piece from {start:g} s to {end} is not in the audio, which lasts 1 s"):
            read_audio(path, RATE, start, seconds)
    for start, seconds in ((-0.1, 1.0), (0.0, 0.0)):
        with pytest.raises(ValueError, match="a piece can't begin at"):
            read_audio(path, RATE, start, seconds)


# ---------------------------------------------------------------------------------------------
# What is no audio file, or of another kind
# ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("data", [wav(), encoded("flac", uneven(0.5)), without_info(encoded("mp3"))])
def test_a_pipe_is_read(tmp_path, data):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "file.mp3").write_bytes(data)
    writer = threading.Thread(target=(tmp_path / "pipe.mp3").write_bytes, args=(data,))
    writer.start()
    assert torch.equal(read_audio(tmp_path / "pipe.mp3", RATE), read_audio(tmp_path / "file.mp3", RATE))
    writer.join()


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are text here")
def test_a_name_that_is_not_utf_8(tmp_path):
    path = write_noise(tmp_path / "a.wav")
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.wav"))
    path.rename(strange)
    assert len(read_audio(strange, RATE)) == RATE and audio_seconds(strange) == 1.0


def test_the_standard_input_where_it_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert_bad(Path("-"), "standard input is closed: send audio with | or <")


def test_the_standard_input(monkeypatch):
    def stdin(data: bytes, terminal: bool = False) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: terminal))

    stdin(wav())
    assert len(read_audio("-", RATE)) == 1000
    assert_bad(Path("-"), "nothing came from this pipe, which can be read only once")
    stdin(b"", terminal=True)
    assert_bad(Path("-"), "standard input is the keyboard: send audio with | or <")
    assert_bad(Path("/dev/null"), "a device, not an audio file")


OTHERS = {
    "a.m4a": (b"\0\0\0\x20ftypM4A ", "MPEG-4 audio"), "b.wav": (b"\0\0\0\x20ftypM4A ", "MPEG-4 audio"),
    "a.aac": (b"\xff\xf1\x50\x80", "AAC"), "a.wma": (b"\x30\x26\xb2\x75\x8e\x66", "Windows Media audio"),
    "a.webm": (b"\x1a\x45\xdf\xa3", "WebM or Matroska"), "a.amr": (b"#!AMR\n", "AMR"), "a.ape": (b"MAC \x96", "Monkey's Audio"),
    "a.wv": (b"wvpk", "WavPack"), "a.spx": (ogg_page(6, 0, [b"Speex   "]), "Ogg with a codec other than"),
    "b.wma": (b"\x80\0\x81", "judging by its name, Windows Media audio,"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named_with_the_command_that_converts_them(tmp_path, name):
    path = tmp_path / "my files" / name
    path.parent.mkdir()
    path.write_bytes(OTHERS[name][0].ljust(2000, b"\x80"))
    with pytest.raises(BadAudio) as error:
        read_audio(path, RATE)
    assert error.value.reason.startswith(OTHERS[name][1])
    new = path.with_suffix(".wav") if path.suffix != ".wav" else path.with_name("b_converted.wav")
    assert error.value.reason.endswith(f"which is not read here; convert it: ffmpeg -i '{path}' '{new}'")


def test_what_is_no_sound_at_all(tmp_path):
    for text, reason in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer, not the audio itself; fetch it"),
        (b"\n<!DOCTYPE html><title>404", "a web page, not audio: the download failed"),
        (b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n", "a SPHERE file whose compression"),
        (b"", "the file is empty (0 bytes)"),
        (bytes(50), "holds nothing but zeros"),
        (b"hello, this is a text", "cannot be read as audio (it begins like no known audio format"),
        (wav()[:36], "truncated: it ends before its audio begins"),
        (wav()[:40], "truncated: it ends before its audio begins"),
    ):  # fmt: skip
        (tmp_path / "a.wav").write_bytes(text)
        assert_bad(tmp_path / "a.wav", reason)
    with pytest.raises(BadAudio, match=r"sph2pipe -f wav .*x\.sph .*x\.wav"):
        (tmp_path / "x.sph").write_bytes(b"NIST_1A".ljust(1024))
        read_audio(tmp_path / "x.sph", RATE)


FAULTS = ROOT.parent / "shared" / "faults"
SECONDS = {
    "cbr_noinfo.mp3": 10.99, "vbr_noinfo.mp3": 10.99, "cat2.ogg": 2.74, "antiphase.wav": 1.37,
    "data_size_plus44.wav": 1.37, "flac_unknown.flac": 1.37,
}  # fmt: skip


@pytest.mark.skipif(not FAULTS.is_dir(), reason="no collection of broken files beside the repository")
@pytest.mark.parametrize("name", SECONDS)
def test_files_of_bug_reports(name):
    audio = read_audio(FAULTS / name, 16000)
    assert len(audio) / 16000 == pytest.approx(SECONDS[name], abs=0.02)
    assert audio.std() > 0.03 and audio[-16000:].std() > 0.02
