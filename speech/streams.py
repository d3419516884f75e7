"""Live audio in chunks: a file played back, raw samples from another program, or a microphone."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speech.audio import BadAudio, read_audio, tell

CHUNK = 0.1  # seconds
_HEAD = 64  # bytes that show whether it is something other than raw samples
_HEADS = {
    b"RIFF": "a WAV file", b"RF64": "a WAV file", b"fLaC": "a FLAC file", b"OggS": "an OGG file", b"ID3": "an MP3 file",
    b"FORM": "an AIFF file", b"caff": "a CAF file", b".snd": "an AU file", b"NIST_1A": "a SPHERE file",
    b"\x1a\x45\xdf\xa3": "a WebM file",
}  # fmt: skip


def played(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """(N,) float32 chunks of an audio file at this rate, as a stream would bring them; ``BadAudio`` if it can't be read."""
    yield from np.array_split(audio := read_audio(path, sample_rate).numpy(), -(-len(audio) // round(CHUNK * sample_rate)))


def raw_samples(pipe: BinaryIO, sample_rate: int) -> Iterator[np.ndarray]:
    """(N,) int16 samples of raw audio (16 bits, little-endian, one channel), in whatever pieces they come.

    Half a sample at the end is left out with a warning.

    Raises:
        BadAudio: if it begins like an audio file, whose header would be heard as noise.
    """
    begun, head = b"", True
    while piece := pipe.read1(2 * round(CHUNK * sample_rate)):
        begun += piece
        if head and len(begun) < _HEAD:
            continue
        if head:
            _refuse_other(begun, sample_rate)
        head, whole = False, len(begun) // 2 * 2
        yield np.frombuffer(begun[:whole], "<i2")
        begun = begun[whole:]
    if len(begun) > 1:  # the whole stream is shorter than a head
        _refuse_other(begun, sample_rate)
        yield np.frombuffer(begun[: len(begun) // 2 * 2], "<i2")
    if len(begun) % 2:
        tell(object(), "-: the number of bytes is odd; the last byte is half a 16-bit sample and is left out")


def _refuse_other(head: bytes, sample_rate: int) -> None:
    """Raises ``BadAudio`` if the first bytes are those of an audio file or of a text."""
    kind = next((kind for start, kind in _HEADS.items() if head.startswith(start)), None)
    kind = "an M4A or MP4 file" if head[4:8] == b"ftyp" else kind
    if kind:
        raise BadAudio(f"raw samples are expected, but this begins like {kind}; leave out --stream, or send it through "
                       f"ffmpeg -i - -f s16le -ac 1 -ar {sample_rate} -", Path("-"))  # fmt: skip
    if len(head) >= _HEAD and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:_HEAD]):
        raise BadAudio("raw samples are expected, but this begins like a text", Path("-"))


@contextmanager
def microphone() -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """The rate of the microphone in Hz, and its (N,) int16 samples, which come until the program stops asking.

    Raises:
        BadAudio: if sounddevice, PortAudio, or a microphone is missing; the message says how to get it.
    """
    path = Path("microphone")
    try:
        import sounddevice
    except ImportError:
        raise BadAudio("needs the package sounddevice: pip install sounddevice", path) from None
    except OSError:
        how = "sudo apt install libportaudio2 on Debian and Ubuntu, brew install portaudio on a Mac"
        raise BadAudio(f"needs the library PortAudio: {how}", path) from None
    chunks: queue.SimpleQueue = queue.SimpleQueue()

    def keep(samples: np.ndarray, _frames: int, _time: object, status: object) -> None:
        if status:
            tell((path, str(status)), f"microphone: {status}: some audio was lost because the computer is too slow")
        chunks.put(samples[:, 0].copy())

    try:
        rate = round(sounddevice.query_devices(kind="input")["default_samplerate"])
        with sounddevice.InputStream(rate, round(CHUNK * rate), channels=1, dtype="int16", callback=keep):
            yield rate, _waiting(chunks)
    except sounddevice.PortAudioError as error:
        raise BadAudio(f"cannot be opened ({error}): is it plugged in, and may this program use it?", path) from error


def _waiting(chunks: queue.SimpleQueue) -> Iterator[np.ndarray]:
    while True:
        with suppress(queue.Empty):
            yield chunks.get(timeout=0.5)  # Windows notices Ctrl-C only between two waits


def until_interrupted(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The chunks until Ctrl-C, which ends the wait for the next chunk but does not interrupt work on one."""
    waits = interrupted = False

    def note(_number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        if waits:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, note) if main else None
    try:
        while not interrupted:
            waits = True
            chunk = next(chunks, None)
            waits = False
            if chunk is None:
                return
            yield chunk
    except KeyboardInterrupt:
        return
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
