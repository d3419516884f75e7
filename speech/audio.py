"""Audio files to samples: read to their end, one channel, at the wanted rate; what is wrong is said."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor


class BadAudio(Exception):
    """An audio file cannot be read: ``reason`` says why, ``path`` which (None after a DataLoader worker)."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


# libsndfile shortens a truncated WAV or AIFF to what is there, and only its log tells.
_SHORTENED = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_LENGTH_UNKNOWN = 0x7FFF_0000  # bytes; programs that write to a pipe put about 2**31 or 2**32 as the length


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """An open audio file; what goes wrong inside the block is raised as ``BadAudio``, too."""
    if not os.path.isfile(path):
        raise BadAudio("a folder, not an audio file" if os.path.isdir(path) else "file not found", path)
    try:
        with soundfile.SoundFile(path) as file:
            shortened = _SHORTENED.search(file.extra_info)
            if shortened and int(shortened[2]) < int(shortened[1]) < _LENGTH_UNKNOWN:
                raise BadAudio(f"truncated: {shortened[2]} of {shortened[1]} bytes of audio are there", path)
            if file.frames == 0:
                raise BadAudio("zero-length audio", path)
            if file.frames > 2**40:
                raise BadAudio("its header gives no length", path)
            yield file
    except UnicodeError as error:
        raise BadAudio("its name is not UTF-8; rename it", path) from error
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise BadAudio(f"cannot be read as audio ({getattr(error, 'error_string', error)})", path) from error


def audio_seconds(path: Path) -> float:
    """Duration of an audio file in seconds, from its header.

    Raises:
        BadAudio: if the file is unreadable, empty, or a truncated WAV.
    """
    with open_audio(path) as file:
        return file.frames / file.samplerate


def read_audio(path: Path | str, sample_rate: int) -> Tensor:
    """Read an audio file as one channel at the wanted rate.

    Args:
        path: anything libsndfile reads: WAV, FLAC, OGG, MP3.
        sample_rate: wanted rate in Hz; the file is resampled only if its own rate differs.

    Returns:
        (samples,) float32, the mean of the channels.

    Raises:
        BadAudio: if the file is unreadable, corrupt, truncated, empty, or holds NaN or infinity.
    """
    path = Path(path)
    with open_audio(path) as file:
        frames, rate = file.frames, file.samplerate
        audio = file.read(dtype="float32", always_2d=True)  # (frames, channels)
    if len(audio) < frames:
        raise BadAudio(f"truncated: {len(audio)} of {frames} frames are there", path)
    if not np.isfinite(audio).all():
        raise BadAudio("holds samples that are not finite", path)
    if np.abs(audio).max() > 1e15:  # its power would be infinite; sound lies between -1 and 1
        raise BadAudio(f"holds samples as large as {np.abs(audio).max():.2g}, which are no sound", path)
    audio = audio.mean(axis=1)  # (frames,)
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate, quality="HQ")  # (samples,)
    if len(audio) == 0:
        raise BadAudio(f"too short to be resampled to {sample_rate} Hz", path)
    return torch.from_numpy(audio)
