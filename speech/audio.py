"""Reads audio files to their end, as one channel at the wanted rate; errors say what is wrong."""

from __future__ import annotations

import io
import logging
import mmap
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from speech.containers import Bytes, Contents, bytes_of, contents_of

_log = logging.getLogger(__name__)  # unless configured, its warnings are plain lines on standard error
_told: set[object] = set()  # warnings that this process has already printed


class BadAudio(Exception):
    """An audio file that cannot be read: ``reason`` says why, ``path`` says which (None after a DataLoader worker)."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def tell(key: object, text: str) -> None:
    """Prints a warning, once for each key in a process."""
    if key not in _told:
        _told.add(key)
        _log.warning(text)


# ---------------------------------------------------------------------------------------------
# From a path to the streams in it
# ---------------------------------------------------------------------------------------------

# libsndfile shortens a truncated file in some formats (W64, VOC, SVX, AVR) to what is there, and says so only in its log.
_SHORTENED = re.compile(r"^\s*(?:riff|BODY)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_COUNTED = re.compile(r"^\s*Frames\s*: (\d+)$", re.MULTILINE)
_LENGTH_UNKNOWN = 0x7F00_0000  # bytes; programs that write to a pipe give about 2**31 or 2**32 as the length
RATES = range(1000, 768_001)  # Hz, for speech or song
_MPEG = (".mp3", ".mp2", ".mpga", ".mpeg")


class Audio:
    """An audio file; iterating opens its streams (nearly always one) one after the other."""

    def __init__(self, path: Path, data: Bytes, contents: Contents, in_memory: bool) -> None:
        self.path, self._data, self._contents, self._in_memory = path, data, contents, in_memory

    def __len__(self) -> int:
        return len(self._contents.streams) or 1

    def __iter__(self) -> Iterator[soundfile.SoundFile]:
        for stream in self._contents.streams or (None,):
            as_it_stands = io.BytesIO(self._data) if self._in_memory else self.path
            with soundfile.SoundFile(as_it_stands if stream is None else io.BytesIO(bytes_of(stream, self._data))) as file:
                self._refuse_shortened(file)
                if file.frames > 2**40:
                    raise BadAudio("its header gives no length", self.path)
                if file.samplerate not in RATES:
                    raise BadAudio(f"its header says {file.samplerate} Hz, which is not a sample rate for speech", self.path)
                if file.frames == 0 and len(self) == 1:
                    more = f": its header says there is no audio, though the file has {len(self._data):,} bytes"
                    raise BadAudio(f"zero-length audio{more if len(self._data) > 8192 else ''}", self.path)
                yield file

    def _refuse_shortened(self, file: soundfile.SoundFile) -> None:
        size = _SHORTENED.search(file.extra_info) if file.format in ("W64", "SVX") else None
        if size and size[1] == "0":
            raise BadAudio("its header gives no length", self.path)
        if size and int(size[2]) < int(size[1]) < _LENGTH_UNKNOWN:
            raise BadAudio(f"truncated: {size[2]} of {size[1]} bytes are there", self.path)
        counted = _COUNTED.search(file.extra_info) if file.format in ("AVR", "MPC2K") else None
        if counted and int(counted[1]) > file.frames:
            raise BadAudio(f"truncated: {file.frames} of {counted[1]} frames are there", self.path)
        if re.search("truncated file|seems to be truncated", file.extra_info):
            raise BadAudio("truncated: its end is missing", self.path)


@contextmanager
def open_audio(path: Path) -> Iterator[Audio]:
    """Opens an audio file, a pipe, or ``-`` for standard input; errors inside the block are raised as ``BadAudio`` too."""
    with _all_bytes(path) as data:
        try:
            in_memory = (isinstance(data, bytes) and len(data) > 0) or not _is_named_in_utf_8(path)
            yield Audio(path, data, _contents(path, data), in_memory)
        except RecursionError as error:
            raise BadAudio("consists of too many joined files to be taken apart: give them one by one", path) from error
        except (soundfile.SoundFileError, OSError, TypeError) as error:
            raise BadAudio(_foreign(path, data) or f"cannot be read as audio ({_plainly(error)})", path) from error


def _is_named_in_utf_8(path: Path) -> bool:
    """Whether libsndfile can open a file of this name."""
    try:
        return bool(str(path).encode("utf-8"))
    except UnicodeEncodeError:
        return False


@contextmanager
def _all_bytes(path: Path) -> Iterator[Bytes]:
    """The bytes of a file; for a pipe, all bytes until it is closed."""
    if str(path) == "-":
        if sys.stdin is None:
            raise BadAudio("standard input is closed: send audio with | or <", path)
        if sys.stdin.isatty():
            raise BadAudio("standard input is the keyboard: send audio with | or <", path)
        yield _not_empty(sys.stdin.buffer.read(), path)
        return
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise BadAudio("file not found", path) from error
    if stat.S_ISDIR(mode):
        raise BadAudio("a folder, not an audio file", path)
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        raise BadAudio("a device, not an audio file", path)
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below; only what opening raises is caught here)
    except OSError as error:
        raise BadAudio(f"cannot be read ({error.strerror})", path) from error
    with file:
        if stat.S_ISFIFO(mode):
            yield _not_empty(file.read(), path)
        elif os.fstat(file.fileno()).st_size == 0:
            yield b""
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data


def _not_empty(data: bytes, path: Path) -> bytes:
    if not data:
        raise BadAudio("nothing came from this pipe, which can be read only once", path)
    return data


def _contents(path: Path, data: Bytes) -> Contents:
    if isinstance(data, bytes):
        contents = contents_of(data, path.suffix.lower() in _MPEG)
    else:
        contents = _contents_of_file(path, len(data), os.stat(path).st_mtime_ns)
    if contents.cut:
        raise BadAudio(f"truncated: {contents.cut}", path)
    if contents.remark:
        tell((path, contents.remark), f"{path}: {contents.remark}")
    return contents


@lru_cache(maxsize=1024)  # pieces of one file are asked for one by one
def _contents_of_file(path: Path, size: int, changed: int) -> Contents:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        return contents_of(data, path.suffix.lower() in _MPEG)


# Formats that other programs read: how such files begin, what they are, and their suffixes.
_OTHERS = (
    (r"....ftyp", "MPEG-4 audio (AAC or ALAC, as in .m4a)", (".m4a", ".m4b", ".mp4", ".3gp", ".mov")),
    (r"\xff[\xf0\xf1\xf8\xf9]|ADIF", "AAC", (".aac",)),
    (r"\x30\x26\xb2\x75", "Windows Media audio", (".wma", ".asf")),
    (r"\x1a\x45\xdf\xa3", "WebM or Matroska", (".webm", ".mka", ".mkv")),
    (r"#!AMR", "AMR", (".amr",)),
    (r"MAC ", "Monkey's Audio", (".ape",)),
    (r"wvpk", "WavPack", (".wv",)),
    (r"TTA", "True Audio", (".tta",)),
    (r"\x0b\x77", "AC-3", (".ac3",)),
    (r"FLV|\x00\x00\x01\xba|RIFF....AVI ", "a video", (".flv", ".mpg", ".avi", ".ts")),
    (r"\.RMF|\.ra\xfd", "RealAudio", (".ra", ".rm")),
    (r"OggS", "Ogg with a codec other than Vorbis, Opus or FLAC", (".ogg", ".oga", ".ogv", ".spx")),
    (r"MThd", "MIDI (notes, not sound)", (".mid",)),
)


def _plainly(error: Exception) -> str:
    """libsndfile's error, in words that mean something to the user."""
    said = str(getattr(error, "error_string", error))
    if re.search("not recognised|not a regular file|sample.?rate", said):
        return "it begins like no known audio format; raw samples need a header: ffmpeg -f s16le -ar 16000 -ac 1 -i FILE FILE.wav"
    if re.search("Internal|malformed", said):
        return "its header is broken, or its end is missing: copy it again"
    if "flac decoder" in said:
        return "it is damaged or cut off, since a FLAC frame is incomplete: copy it again"
    return said


def _foreign(path: Path, data: Bytes) -> str:
    """Says what kind of file libsndfile cannot read here, and which command helps; empty if unknown."""
    head, suffix = bytes(data[:1024]), path.suffix.lower()
    wav = shlex.quote(str(path.with_suffix(".wav") if suffix != ".wav" else path.with_name(f"{path.stem}_converted.wav")))
    source = shlex.quote(str(path))
    if not head.strip(b"\0"):
        return "holds nothing but zeros: copy it again" if head else "the file is empty (0 bytes): copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the audio itself; fetch it: git lfs pull"
    if re.match(rb"\s*<(?:!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page, not audio: the download failed"
    if head.startswith(b"NIST_1A"):
        return f"a SPHERE file whose compression is not read here; convert it: sph2pipe -f wav {source} {wav}"
    for magic, name, _ in _OTHERS:
        if re.match(magic.encode("latin-1"), head, re.DOTALL):
            return f"{name}, which is not read here; convert it: ffmpeg -i {source} {wav}"
    for _, name, suffixes in _OTHERS:
        if suffix in suffixes and not head[:256].isascii():
            return f"judging by its name, {name}, which is not read here; convert it: ffmpeg -i {source} {wav}"
    return ""


# ---------------------------------------------------------------------------------------------
# From the streams to samples
# ---------------------------------------------------------------------------------------------


def audio_rate(path: Path | str) -> int:
    """Sample rate of an audio file in Hz (of the first stream if several are joined); ``BadAudio`` if it can't be read."""
    with open_audio(Path(path)) as audio:
        return next(file.samplerate for file in audio)


def audio_channels(path: Path | str) -> int:
    """Number of channels in an audio file (in the first stream if several are joined); ``BadAudio`` if it can't be read."""
    with open_audio(Path(path)) as audio:
        return next(file.channels for file in audio)


def audio_seconds(path: Path | str) -> float:
    """Duration of an audio file in seconds, the same as ``read_audio`` gives, nearly always without decoding.

    Args:
        path: as in ``read_audio``.

    Returns:
        the seconds of all streams in the file; counted from its bytes if the header has no length or a wrong one.

    Raises:
        BadAudio: if the file is unreadable, empty or cut off.
    """
    with open_audio(Path(path)) as audio:
        return sum(_length(file) / file.samplerate for file in audio)


def read_audio(
    path: Path | str, sample_rate: int, start: float = 0.0, seconds: float | None = None, channel: int | None = None
) -> Tensor:
    """Reads an audio file, or a piece of it, as one channel at the wanted rate.

    Args:
        path: anything libsndfile reads: WAV, FLAC, OGG, MP3; streams joined in one file are read one after the other. A pipe is
            read to its end; ``-`` is standard input.
        sample_rate: wanted rate in Hz; the file is resampled only if its own rate differs.
        start: where the piece begins, in seconds.
        seconds: length of the piece; None: up to the end. In a file with one stream, only the piece is read.
        channel: the channel to take, from 0; None: all, mixed as ``mix`` does.

    Returns:
        (samples,) float32.

    Raises:
        BadAudio: if the file is unreadable, corrupt, truncated, empty, or holds NaN or infinity, or if the piece or the channel
            is not in it.
        ValueError: if ``start`` is negative or ``seconds`` not positive.
    """
    path = Path(path)
    if start < 0 or (seconds is not None and seconds <= 0):
        raise ValueError(f"a piece can't begin at {start} s and last {seconds} s")
    parts = []
    with open_audio(path) as streams:
        for file in streams:
            alone = len(streams) == 1  # only then is the place of the piece known without reading
            begin, count = _place(start, seconds, _length(file), file.samplerate, path) if alone else (0, _length(file))
            if count:
                audio = _frames(file, begin, count, path)
                parts.append(_one_channel(audio, file.samplerate, sample_rate, channel, path))
    if not parts:
        raise BadAudio("zero-length audio", path)
    if len(streams) == 1:
        return torch.from_numpy(parts[0])
    audio = np.concatenate(parts)
    begin, count = _place(start, seconds, len(audio), sample_rate, path)
    return torch.from_numpy(audio[begin : begin + count])


def _length(file: soundfile.SoundFile) -> int:
    """Frames of a stream; counted by decoding for kinds of MPEG audio where libsndfile only guesses."""
    if not file.subtype.startswith("MPEG_LAYER") or (file.format == "MP3" and file.subtype == "MPEG_LAYER_III"):
        return file.frames
    frames = len(_read_in_blocks(file, file.frames))
    file.seek(0)
    return frames


PIECE_SLACK = 0.1  # seconds by which a piece may reach beyond the end, because ends are often rounded


def _place(start: float, seconds: float | None, frames: int, rate: int, path: Path) -> tuple[int, int]:
    """The first frame of a piece and its number of frames."""
    begin = round(start * rate)
    count = frames - begin if seconds is None else max(1, round(seconds * rate))
    if begin >= frames or begin + count > frames + PIECE_SLACK * rate:
        end = "its end" if seconds is None else f"{start + seconds:g} s"
        raise BadAudio(f"the piece from {start:g} s to {end} is not in the audio, which lasts {frames / rate:g} s", path)
    return begin, min(count, frames - begin)


_MOST_SAMPLES = 2**31  # the most to be read into memory: 8 GB, or 37 hours of one channel at 16 kHz
_BLOCK = 2**26  # samples that are read at once
_SEEK_MPEG = 60  # seconds; up to this point decoding is quick, whereas libsndfile complains on standard error when it jumps


def _frames(file: soundfile.SoundFile, begin: int, count: int, path: Path) -> np.ndarray:
    """(count, channels) float32; raises ``BadAudio`` if fewer come than the header says."""
    skip = begin if file.format == "MP3" and begin < _SEEK_MPEG * file.samplerate else 0
    if (skip + count) * file.channels > _MOST_SAMPLES:
        hours = (skip + count) / file.samplerate / 3600
        raise BadAudio(f"{hours:.1f} hours in {file.channels} channels do not fit into memory: cut the file into pieces", path)
    if begin > skip:
        file.seek(begin)
    audio = _read_in_blocks(file, skip + count)[skip:]
    if len(audio) < count:
        raise BadAudio(f"truncated: {len(audio)} of {count} frames are there", path)
    return audio


def _read_in_blocks(file: soundfile.SoundFile, count: int) -> np.ndarray:
    """(frames, channels) float32, ``count`` frames or fewer; a header that promises too much costs no memory."""
    block, blocks = max(1, _BLOCK // file.channels), []
    while count > 0 and (not blocks or len(blocks[-1]) == block):
        blocks.append(file.read(min(count, block), dtype="float32", always_2d=True))
        count -= len(blocks[-1])
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _one_channel(audio: np.ndarray, rate: int, sample_rate: int, channel: int | None, path: Path) -> np.ndarray:
    """(frames, channels) -> (samples,) at the wanted rate."""
    largest = max(audio.max(), -audio.min())  # without a copy: the audio may last hours
    if not np.isfinite(largest):
        raise BadAudio("holds samples that are not finite", path)
    if largest > 1e15:  # its power would be infinite; sound lies between -1 and 1
        raise BadAudio(f"holds samples as large as {largest:.2g}, which can't be sound", path)
    if channel is not None and not 0 <= channel < audio.shape[1]:
        raise BadAudio(f"has no channel {channel} (counted from 0): it has {audio.shape[1]}", path)
    audio = mix(audio, path) if channel is None else audio[:, channel]  # (frames,)
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate, quality="HQ")  # (samples,)
    if len(audio) == 0:
        raise BadAudio(f"too short to be resampled to {sample_rate} Hz", path)
    return np.ascontiguousarray(audio)


_LOST = 0.2  # of the louder channel's power; if the other channel is silent, a quarter is left, and nothing is lost
_MIX_BLOCK = 1000  # frames in a block; the channels are compared block by block


def mix(audio: np.ndarray, name: object = "audio") -> np.ndarray:
    """The mean of the channels or, where they cancel each other because one is inverted, the louder channel.

    Channels are compared block by block, and the change from one to the other is gradual. A warning names the first file
    in which a process finds this.

    Args:
        audio: (frames, channels) float32.
        name: name of the file, for the warning.

    Returns:
        (frames,) float32.
    """
    if audio.shape[1] == 1:
        return audio[:, 0]
    mean = audio.mean(axis=1)
    power, left = _block_power(audio), _block_power(mean[:, None])[:, 0]
    loudest, total = power.max(axis=1), int(power.sum(axis=0).argmax())
    lost = (left < _LOST * loudest) & (loudest > 1e-4 * loudest.max())  # (blocks,)
    if not lost.any():
        return mean
    lost[1:-1] |= lost[:-2] | lost[2:]  # also the blocks where the loss begins or ends
    if loudest[lost].sum() > 0.01 * loudest.sum():
        told = "its channels cancel each other (one may be inverted), so the louder one is taken where they do"
        tell("mix", f"{name}: {told}. Other files like it are mixed the same way without a warning.")
    take = np.where(power[:, total] >= loudest / 4, total, power.argmax(axis=1))  # preferably the same one throughout
    weights = np.full(power.shape, 1 / audio.shape[1], dtype=np.float32)
    weights[lost] = np.eye(audio.shape[1], dtype=np.float32)[take[lost]]
    centres, at = (np.arange(len(weights)) + 0.5) * _MIX_BLOCK, np.arange(len(audio))
    return sum(np.interp(at, centres, weights[:, c]).astype(np.float32) * audio[:, c] for c in range(audio.shape[1]))


def _block_power(audio: np.ndarray) -> np.ndarray:
    """(frames, channels) -> (blocks, channels): sums of squared differences, in which hum and a constant count for little."""
    powers, many = [], 1000 * _MIX_BLOCK  # long audio is processed in parts
    for start in range(0, len(audio), many):
        before = audio[max(0, start - 1) : max(1, start)]
        change = np.diff(audio[start : start + many], axis=0, prepend=before)
        powers.append(np.add.reduceat(np.square(change, dtype=np.float64), np.arange(0, len(change), _MIX_BLOCK), axis=0))
    return np.concatenate(powers)
