"""What anyone may have written: damaged bytes, odd texts; and limits for what reads them: five seconds of work, little memory."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import strategies as st

SECONDS = 5.0
MEMORY = 2**30  # bytes beyond what the process has already


class TookTooLong(AssertionError):
    """The work took more than ``SECONDS`` of the processor's time."""


@contextlib.contextmanager
def within_limits() -> Iterator[None]:
    """Raises ``TookTooLong``, or ``MemoryError`` from where too much is asked for; on Linux, elsewhere there are no limits."""
    if sys.platform != "linux":
        yield
        return
    import resource  # which Windows has not

    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, _stop)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of this process: other work on the machine does not count
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _stop(_number: int, _frame: object) -> None:
    raise TookTooLong


NUMBERS = [
    b"\0" * 8,
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 3 + b"\x7f" + b"\0" * 4,
    b"\0\0\0\1" * 2,
    b"9999999999",
    b"-1",
]


@st.composite
def damaged(draw: st.DrawFn, wholes: Sequence[bytes]) -> bytes:
    """One of the files with up to four edits: bits flipped, parts lost, doubled, put in, or numbers in place of them."""
    data = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, min(len(data), 200)) | st.integers(0, len(data)))
        edit, size = draw(st.sampled_from("flip flip cut insert delete repeat number".split())), draw(st.integers(1, 40))
        before, part, after = data[:place], data[place : place + size], data[place + size :]
        if edit == "flip":
            part = bytes([part[0] ^ 1 << size % 8]) + part[1:] if part else part
        elif edit == "cut":
            part = after = b""
        elif edit == "insert":
            part = draw(st.binary(max_size=20)) + part
        elif edit == "delete":
            part = b""
        elif edit == "repeat":
            part *= draw(st.integers(2, 50))
        else:
            number = draw(st.sampled_from(NUMBERS))[: draw(st.sampled_from([1, 2, 4, 8, 10]))]
            part = number + part[len(number) :]
        data = before + part + after
    return data


# In any Unicode, also halves of characters beyond 16 bits, which JSON and file names can hold
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ODD = [
    "", " ", "0", "-1", "1", "2", "1.5", "1,5", "00:01:02.5", "1:" * 200, "nan", "inf", "-inf", "1e308", "1e-308", "9" * 400,
    "9" * 5000, "٣", "²", "1_0", "0x10", "a,b", ",", '"', "'", '"a', "A", "left", "\t", "\x85", "\u2028", "\ufeff", "\\", "..",
    "/", "~", "~no_such_user/a", "~\0", "a\0b", "é/" * 700, "x" * 5000, "e\u0301\u0323" * 300, "file:///a.wav", "%61.wav",
    "http://x/a.wav", "C:\\a.wav", "sub\\a.wav", "A.WAV", "/dev/null", "-", "train", "dev", "test", "None", "true", "{}",
    "[0.1, 0.2]", "\U0001f600", "你好",
]  # fmt: skip
CELLS = st.sampled_from(ODD) | st.sampled_from(["a.wav", "b.wav", "hello", "0.01", "1"]) | ANY_TEXT
