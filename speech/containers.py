"""Finds the audio in the bytes of a file: whole, cut off, joined from several, or with a wrong length in its header.

libsndfile believes the header. This module walks through the bytes: the chunks of WAV and AIFF, the last frame of FLAC, the
pages of Ogg, the frames of MP3. If header and bytes differ, it passes the streams on with a header that fits them.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Bytes = bytes | mmap.mmap
Stream = tuple[bytes | tuple[int, int], ...]  # bytes made here, and (begin, end) in the file, one after the other


@dataclass(frozen=True)
class Contents:
    """The streams for libsndfile to read; none if it can read the file as it is.

    Attributes:
        streams: one after the other they are the audio; each must be opened as a file of its own.
        cut: what is missing, if the file is cut off; else empty.
        remark: what may be missing or wrong though the audio can be read; else empty.
    """

    streams: tuple[Stream, ...] = ()
    cut: str = ""
    remark: str = ""


def contents_of(data: Bytes, is_mpeg: bool = False) -> Contents:
    """What the bytes of an audio file hold.

    Args:
        data: the whole file.
        is_mpeg: its name says MP3, so frames are also searched after other bytes.

    Returns:
        for a format that is not walked through here, an empty ``Contents``.
    """
    head = data[:4]
    if head in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return _chunked(data)
    if head in (b".snd", b"dns."):
        return _au(data)
    if head == b"caff":
        return _caf(data)
    if head == b"NIST":
        return _sphere(data)
    begin = _behind_id3(data, 0)
    if data[begin : begin + 4] == b"OggS":
        return _ogg(data, begin)
    if data[begin : begin + 4] == b"fLaC":
        return _flac(data, begin)
    if is_mpeg or head[:3] == b"ID3" or _mpeg_frame(head):
        return _mpeg(data)
    if (at := data.find(b"OggS", 0, 4096)) > 0:
        return _ogg(data, at)
    return Contents()


def bytes_of(stream: Stream, data: Bytes) -> bytes:
    """A stream's bytes, put together."""
    return b"".join(part if isinstance(part, bytes) else data[slice(*part)] for part in stream)


def _behind_id3(data: Bytes, at: int) -> int:
    """Where the ID3v2 tags that begin at ``at`` end."""
    while data[at : at + 3] == b"ID3" and len(head := data[at + 6 : at + 10]) == 4:
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head, (21, 14, 7, 0), strict=True))
    return at


# ---- WAV and AIFF: chunks -------------------------------------------------------------------

_NO_LENGTH = 0x7F00_0000  # bytes; programs that write to a pipe put about 2**31 or 2**32 as the length
_SLIP = 1024  # bytes; a smaller excess in the size is more often the writer's mistake than a file that is cut off
_KNOWN_CHUNK = re.compile(
    rb"(?:LIST|INFO|id3 |ID3 |bext|JUNK|junk|fact|cue |smpl|inst|iXML|_PMX|PEAK|afsp|acid|slnt|COMT|NAME|ANNO|AUTH)"
)


def _short(size: int, there: int) -> Contents:
    """The verdict on a file with fewer bytes of audio than its header counts."""
    if size - there < min(_SLIP, size / 10):
        remark = (
            f"its header counts {size - there} more bytes of audio than there are: the size is wrong, or the very end is missing"
        )
        return Contents(remark=remark)
    return Contents(cut=f"{there} of {size} bytes of audio are there")


def _left_behind(data: Bytes, begin: int, size: int) -> str:
    """A remark if something other than zeros follows the audio that a header counts."""
    rest = len(data) - begin - size
    if not data[begin + size : begin + size + 65536].strip(b"\0"):
        return ""
    return f"{rest} bytes after the {size} bytes of audio that its header counts are not read"


def _chunked(data: Bytes) -> Contents:
    order = "big" if data[:4] in (b"RIFX", b"FORM") else "little"
    sizes: dict[bytes, tuple[int, int]] = {}  # by name: where the chunk's content begins, and its size
    at, odd = 12, data[:4] == b"BW64"  # odd: as libsndfile can't read it
    while at + 8 <= len(data) and b"SSND" not in sizes and not sizes.keys() >= {b"data", b"fmt "}:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], order)
        odd = odd or b"data" in sizes
        sizes[name] = (at + 8, size)
        at += 8 + size
        padded = size % 2 and data[at : at + 4] not in (b"data", b"SSND", b"fmt ")  # some writers leave out the padding
        odd = odd or (size % 2 > padded and name != b"data")
        at += padded
    if b"SSND" in sizes:
        return _aiff(data, *sizes[b"SSND"])
    if b"data" not in sizes and data[8:12] == b"WAVE" and at + 8 > len(data):
        return Contents(cut="it ends before its audio begins")
    if b"data" not in sizes or b"fmt " not in sizes:
        return Contents()
    begin, size = sizes[b"data"]
    whole = 8 + int.from_bytes(data[4:8], order)
    if data[:4] in (b"RF64", b"BW64") and b"ds64" in sizes:
        at = sizes[b"ds64"][0]
        whole = 8 + int.from_bytes(data[at : at + 8], "little")
        size = int.from_bytes(data[at + 8 : at + 16], "little") if size == 0xFFFF_FFFF else size
    begin_fmt, size_fmt = sizes[b"fmt "]
    fmt = data[begin_fmt : begin_fmt + size_fmt]
    return _joined_wav(data, begin + size) or _wav(data, begin, size, whole, fmt, order, odd)


_WAV_BEGIN = re.compile(rb"RIFF....WAVE", re.DOTALL)


def _joined_wav(data: Bytes, end: int) -> Contents | None:
    """WAVs one after the other, as ``cat a.wav b.wav`` makes them; None if no WAV begins where the first ends."""
    second = _WAV_BEGIN.search(data[end : end + 65536])
    if not second or not _chunks_to_the_end(data[: end + second.start()], end, "little"):
        return None
    first, rest = data[: end + second.start()], data[end + second.start() :]
    found = [(part, _chunked(part)) for part in (first, rest)]
    streams = [(bytes_of(stream, part),) for part, contents in found for stream in contents.streams or (((0, len(part)),),)]
    return Contents(tuple(streams), found[1][1].cut, found[0][1].remark or found[1][1].remark)


def _wav(data: Bytes, begin: int, size: int, whole: int, fmt: bytes, order: str, odd: bool) -> Contents:
    """The verdict on a WAV whose data chunk begins at ``begin`` and should hold ``size`` of the ``whole`` file's bytes."""
    there, align = len(data) - begin, max(1, int.from_bytes(fmt[12:14], order))
    length, remark = size, ""
    if size >= there or size == 0:
        length = _without_chunks(data, begin, order)
        counted_all = abs(whole - len(data)) <= 1 or size in (len(data), len(data) - 8)  # so the field is wrong, not the file
        if there < size < _NO_LENGTH and not counted_all and not (size - there < align and there % align == 0):
            short = _short(size, there)
            if short.cut:
                return short
            remark = short.remark
    elif there - size > 1 and not _chunks_to_the_end(data, begin + size, order):
        if abs(whole - len(data)) <= 1:  # the file's own size counts them
            length = there
        else:
            remark = _left_behind(data, begin, size)
    length -= length % align
    if length in (size, size - size % align) and not remark and not odd:
        return Contents()
    return Contents(((_wav_head(fmt, length, order), (begin, begin + length)),) if length else (), remark=remark)


def _wav_head(fmt: bytes, length: int, order: str) -> bytes:
    """The header of a WAV with ``length`` bytes of audio; if it can't express them, libsndfile reads up to the end."""

    def number(value: int) -> bytes:
        return min(value, 0xFFFF_FFFF).to_bytes(4, order)

    riff = b"RIFX" if order == "big" else b"RIFF"
    return riff + number(20 + len(fmt) + length) + b"WAVEfmt " + number(len(fmt)) + fmt + b"data" + number(length)


def _chunks_to_the_end(data: Bytes, at: int, order: str) -> bool:
    """Whether chunks with plausible names fill the file from ``at`` on (the last may be cut off, an odd one lack its padding)."""
    if at < len(data) and data[at] == 0 and not _is_chunk(data, at):
        at += 1  # the padding
    while at + 8 <= len(data):
        if not _is_chunk(data, at):
            return False
        size = int.from_bytes(data[at + 4 : at + 8], order)
        at += 8 + size
        at += size % 2 and not _is_chunk(data, at)
    return True


def _is_chunk(data: Bytes, at: int) -> bool:
    return re.fullmatch(rb"[A-Za-z0-9_ ]{4}", data[at : at + 4]) is not None


def _without_chunks(data: Bytes, begin: int, order: str) -> int:
    """Number of bytes from ``begin`` to the end, without known chunks at the end."""
    window = max(begin, len(data) - 65536)
    for found in _KNOWN_CHUNK.finditer(data[window:]):
        if _chunks_to_the_end(data, window + found.start(), order):
            return window + found.start() - begin
    return len(data) - begin


def _aiff(data: Bytes, begin: int, size: int) -> Contents:
    there, whole = len(data) - begin, 8 + int.from_bytes(data[4:8], "big")
    if there < size < _NO_LENGTH and abs(whole - len(data)) > 1:
        return _short(size - 8, max(0, there - 8))
    if 8 < size < there - 1 and not _chunks_to_the_end(data, begin + size, "big"):
        return Contents(remark=_left_behind(data, begin, size))
    return Contents()


def _au(data: Bytes) -> Contents:
    """Sun's AU: the header says where the audio begins and its size; there are no chunks."""
    order = "big" if data[:4] == b".snd" else "little"
    begin, size = (int.from_bytes(data[at : at + 4], order) for at in (4, 8))
    there = max(0, len(data) - begin)
    if size == 0 < there:
        return Contents(((data[:8] + min(there, 0xFFFF_FFFF).to_bytes(4, order), (12, len(data))),))
    if there < size < _NO_LENGTH:
        return _short(size, there)
    return Contents(remark=_left_behind(data, begin, size) if size < there else "")


def _caf(data: Bytes) -> Contents:
    """Apple's CAF: chunks with 8-byte sizes; the last size may be -1, which means up to the end."""
    at = 8
    while at + 12 <= len(data) and data[at : at + 4] != b"data":
        at += 12 + int.from_bytes(data[at + 4 : at + 12], "big")
    begin, size = at + 12, int.from_bytes(data[at + 4 : at + 12], "big", signed=True)
    there = len(data) - begin
    if there <= 4:
        return Contents(cut="it ends before its audio begins")
    short = _short(size, there) if size > there else Contents()
    if size <= 0 or short.remark:
        return Contents((((0, at + 4), there.to_bytes(8, "big"), (begin, len(data))),), remark=short.remark)
    if size < there and not re.fullmatch(rb"[a-z]{4}", data[begin + size : begin + size + 4]):
        return Contents(remark=_left_behind(data, begin, size))
    return short


def _sphere(data: Bytes) -> Contents:
    """NIST SPHERE: lines of text, then audio."""
    fields = dict(re.findall(rb"(\w+) -i (\d{1,18})", data[:1024]))
    numbers = [int(fields.get(name, 0)) for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    begin = re.match(rb"\s*(\d+)", data[8:16])
    there, size = len(data) - int(begin[1] if begin else 0), numbers[0] * numbers[1] * numbers[2]
    packed = b"shorten" in data[:1024] or b"wavpack" in data[:1024]
    return Contents(cut=f"{there} of {size} bytes of audio are there" if there < size and not packed else "")


# ---- FLAC: the last frame says where it ends ------------------------------------------------

_FLAC_BEGIN = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the marker, then a STREAMINFO block of 34 bytes
_FLAC_TAIL = 1 << 18  # bytes; the largest usual frame has 50,000
_FLAC_LAST = 1 << 14  # bytes; enough for the last frame of one channel of 16 bits
_FLAC_MORE = 1 << 16  # bytes before the first frame: tags, a table for seeking, a picture


def _flac(data: Bytes, begin: int) -> Contents:
    """Takes joined streams apart; corrects the number of samples if the header states a wrong one."""
    begins = [found.start() for found in _FLAC_BEGIN.finditer(data, begin)] or [begin]
    streams: list[Stream] = []
    remark = ""
    for at, end in zip(begins, [*begins[1:], len(data)], strict=True):
        head = int.from_bytes(data[at + 18 : at + 26], "big")  # rate, channels, bits; the last 36 bits are the number of samples
        stated = head & 0xF_FFFF_FFFF
        counted = _flac_end(data[max(at + 42, end - _FLAC_TAIL) : end], data[at + 8 : at + 42], stated)
        if counted and counted < stated:
            remark = f"its header counts {stated} samples, but its last frame ends at {counted}: its end may be missing"
        if counted and counted != stated:
            streams.append((data[at : at + 18] + (head >> 36 << 36 | counted).to_bytes(8, "big"), (at + 26, end)))
        else:
            streams.append(((at, end),))
    as_it_stands = len(streams) == 1 and len(streams[0]) == 1
    return Contents(() if as_it_stands else tuple(streams), remark=remark)


def flac_seconds(path: Path) -> float | None:
    """Duration of a FLAC file from its two ends; None if the whole file must be examined, as ``contents_of`` does.

    So a large corpus need not be read in full for this. The last frame must end where the header says, and the file must be no
    larger than its largest frames allow. Joined streams of exactly the same length can pass for one stream; they are found,
    and refused for their length, when the audio is read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(64)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(42, size - _FLAC_LAST))
            tail = file.read(_FLAC_LAST)
    except OSError:
        return None
    if not _FLAC_BEGIN.match(head):
        return None
    info, facts = head[8:42], int.from_bytes(head[18:26], "big")
    rate, stated, block, largest = facts >> 44, facts & 0xF_FFFF_FFFF, *(int.from_bytes(p, "big") for p in (info[:2], info[7:10]))
    if not (rate and stated and block and largest) or size > _FLAC_MORE + -(-stated // block) * largest:
        return None
    return stated / rate if _flac_end(tail, info, stated) == stated else None


def _flac_end(tail: bytes, info: bytes, stated: int) -> int | None:
    """Samples up to the end of the last frame in a FLAC stream's last bytes; None if there is no frame.

    If a frame ends at the number that the header states, this number is returned.
    """
    at, last = len(tail), None
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        samples = _flac_frame_end(tail[at : at + 16], info)
        if samples and (samples == stated or not stated):
            return samples
        last = last or samples  # perhaps only what looks like a frame
    return last


def _flac_frame_end(head: bytes, info: bytes) -> int | None:
    """Number of the sample after the frame that begins with these bytes; None if they are not a frame header of this stream."""
    if len(head) < 6 or head[0] != 0xFF or head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return None
    code, rate_code = head[2] >> 4, head[2] & 15
    ones = f"{head[4]:08b}".index("0") if head[4] != 0xFF else 8
    if code == 0 or rate_code == 15 or ones in (1, 8):
        return None
    more = max(0, ones - 1)  # the number is written as UTF-8 writes characters
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    at, extra = 5 + more, {6: 1, 7: 2}.get(code, 0)
    if extra:
        size = 1 + int.from_bytes(head[at : at + extra], "big")
    else:
        size = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[: at + 1]):
        return None
    return size + (number if head[1] & 1 else number * int.from_bytes(info[2:4], "big"))


def _crc8(data: bytes) -> int:
    """Cyclic checksum with the polynomial 0x07; 0 over bytes that end in their own."""
    value = 0
    for byte in data:
        value = _crc8_of(value ^ byte)
    return value


@cache
def _crc8_of(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


# ---- Ogg: pages -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    begin: int
    body: int  # where its content begins
    end: int
    flags: int  # 2: first page of a stream, 4: last one
    serial: bytes
    number: int  # in its stream


def _pages(data: Bytes, at: int) -> Iterator[_Page]:
    while (at := data.find(b"OggS", at)) >= 0:
        head = data[at : at + 27]
        if len(head) < 27 or head[4]:
            at += 4
            continue
        body = at + 27 + head[26]
        page = _Page(at, body, body + sum(data[at + 27 : body]), head[5], head[14:18], int.from_bytes(head[18:22], "little"))
        yield page
        at = max(page.end, at + 4)


def _ogg(data: Bytes, begin: int) -> Contents:
    """Streams that follow each other (not interleaved ones) begin at a first page that follows other pages."""
    links: list[list[_Page]] = []
    for page in _pages(data, begin):
        if not links or (page.flags & 2 and not links[-1][-1].flags & 2):
            links.append([])
        links[-1].append(page)
    if not links:
        return Contents()
    last = links[-1][-1]
    if last.end > len(data):
        return Contents(cut=f"it ends in the middle of a page, {last.end - len(data)} bytes are missing there")
    ended = any(page.flags & 4 for page in links[-1][-20:])
    remark = "" if ended else "its last page is not marked as the last, so that its end may be missing"
    streams: list[Stream] = []
    for pages in links:
        first = pages[0]
        if data[first.body : first.body + 5] == b"\x7fFLAC":
            streams.append(_flac_in_ogg(data, [page for page in pages if page.serial == first.serial]))
        else:
            streams.append(((first.begin, pages[-1].end),))
    if lost := sum(map(_lost_pages, links)):
        remark = f"{lost} of its pages are missing in the middle"
    as_it_stands = len(links) == 1 and not isinstance(streams[0][0], bytes) and begin == 0
    return Contents(() if as_it_stands else tuple(streams), remark=remark)


def _lost_pages(pages: list[_Page]) -> int:
    """How many page numbers are missing, stream by stream; a recorded broadcast may skip some after its headers."""
    last: dict[bytes, int] = {}
    lost = 0
    for page in pages:
        before = last.get(page.serial, page.number - 1)
        lost += max(0, page.number - before - 1) if before > 3 else 0
        last[page.serial] = page.number
    return lost


def _flac_in_ogg(data: Bytes, pages: list[_Page]) -> Stream:
    """Native FLAC: the content of the pages without the nine bytes that mark FLAC in Ogg."""
    ranges = [(page.body, page.end) for page in pages]
    ranges[0] = (pages[0].body + 9, pages[0].end)
    native = bytes_of(tuple(ranges), data)
    head = next((bytes_of(stream, native) for stream in _flac(native, 0).streams), native)[:26]
    return (head, (ranges[0][0] + 26, ranges[0][1]), *ranges[1:])


# ---- MP3: frames ----------------------------------------------------------------------------

_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version: 1, 2, 2.5
_MPEG_KBITS = {  # by whether it is version 1, and layer
    (True, 1): range(32, 480, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class _MpegFrame:
    length: int  # bytes
    kind: tuple[int, int, int, bool, int]  # version, layer, Hz, mono, of layers 1 and 2 the bit rate: the same in all frames
    info_at: int  # where in a frame 'Xing' or 'Info' may stand


@cache
def _frame_of(head: bytes) -> _MpegFrame | None:
    bits = int.from_bytes(head, "big")
    version, layer, rate = bits >> 19 & 3, 4 - (bits >> 17 & 3), bits >> 10 & 3
    kbits = bits >> 12 & 15
    if len(head) < 4 or bits >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3 or kbits in (0, 15):
        return None
    hertz, bit_rate = _MPEG_RATES[version][rate], 1000 * _MPEG_KBITS[version == 3, layer][kbits - 1]
    padding, mono = bits >> 9 & 1, bits >> 6 & 3 == 3
    if layer == 1:
        length = 4 * (12 * bit_rate // hertz + padding)
    else:
        length = (144 if layer == 2 or version == 3 else 72) * bit_rate // hertz + padding
    side = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[version == 3, mono]
    return _MpegFrame(length, (version, layer, hertz, mono, 0 if layer == 3 else bit_rate), 4 + side)


def _mpeg_frame(head: bytes) -> _MpegFrame | None:
    return _frame_of(bytes(head)) if head[:1] == b"\xff" else None


def _next_frame(data: Bytes, at: int) -> int:
    """Where the next frame begins that is followed by another of its kind or by the end; -1 if there is none."""
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _mpeg_frame(data[at : at + 4])
        if frame:
            after = _mpeg_frame(data[at + frame.length : at + frame.length + 4])
            if at + frame.length == len(data) or (after and after.kind == frame.kind):
                return at
        at += 1
    return -1


def _behind_tags(data: Bytes, at: int) -> int:
    """Where the tags (ID3v1, ID3v2, APE) at ``at`` end."""
    before = None
    while at != before:
        before = at
        at = _behind_id3(data, at)
        if data[at : at + 3] == b"TAG":
            at += 128
        elif data[at : at + 8] == b"APETAGEX":
            size, flags = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (12, 20))
            at += size + (32 if flags >> 29 & 1 else 0)  # a footer alone counts its own 32 bytes
    return at


@dataclass
class _Take:
    """Frames of one kind that follow each other; ``info`` is the frame before them that states their number."""

    frame: _MpegFrame
    info: bytes
    stated: int | None
    ranges: list[tuple[int, int]]
    count: int = 0


def _mpeg(data: Bytes) -> Contents:
    takes, loose, part = _takes(data)
    few = next((take for take in takes if take.stated is not None and take.stated > take.count + 1), None)
    if few and (part or loose):
        return Contents(cut=f"{few.count} of {few.stated} frames of MP3 are there")
    if not takes:
        return Contents()
    remark = f"{loose} bytes in it are neither MP3 nor a tag, and are left out" if loose > 10_000 else ""
    as_stated = len(takes) == 1 and takes[0].stated is not None and takes[0].count <= takes[0].stated + 1
    if few:  # though the last one is whole
        as_stated, remark = False, f"its header counts {few.stated} frames, but {few.count} are there: its end may be missing"
    if part and not as_stated:
        remark = "it ends in the middle of a frame, so that its end may be missing"
    layer = takes[0].frame.kind[
        1
    ]  # 1 and 2 have no place for a number of frames, and need none: all their frames are equally long
    healthy = not loose and (as_stated or (layer != 3 and len(takes) == 1))
    return Contents(() if healthy else tuple(map(_with_count, takes)), remark=remark)


def _takes(data: Bytes) -> tuple[list[_Take], int, bool]:
    """All frames, the number of bytes that are neither frames nor tags, and whether the file ends with part of a frame."""
    at, takes, loose = _behind_tags(data, 0), [], 0
    while at < len(data):
        frame = _mpeg_frame(data[at : at + 4])
        if frame and takes and frame.kind != takes[-1].frame.kind and _next_frame(data, at) != at:
            frame = None  # it only looks like one
        if frame and at + frame.length > len(data):
            return takes, loose, True
        if frame:
            _take(data, at, frame, takes)
            at += frame.length
        elif (behind := _behind_tags(data, at)) > at:
            at = behind
        else:
            found = _next_frame(data, at)
            found = len(data) if found < 0 else found
            loose += found - at
            at = found
    return [take for take in takes if take.count], loose, False


def _take(data: Bytes, at: int, frame: _MpegFrame, takes: list[_Take]) -> None:
    """Puts one frame where it belongs: into the last take, or at the head of a new one."""
    tag = data[at + frame.info_at : at + frame.info_at + 16]
    has_tag = tag[:4] in (b"Xing", b"Info") and frame.length >= frame.info_at + 16  # short frames have no room for it
    is_info = frame.kind[1] == 3 and (has_tag or data[at + 36 : at + 40] == b"VBRI")
    if is_info or not takes or takes[-1].frame.kind != frame.kind:
        counts = has_tag and tag[7] & 1  # else nothing in it helps
        info = bytes(data[at : at + frame.length]) if counts else b""
        takes.append(_Take(frame, info, int.from_bytes(tag[8:12], "big") if counts else None, []))
    take = takes[-1]
    if is_info:
        return
    take.count += 1
    if take.ranges and take.ranges[-1][1] == at:
        take.ranges[-1] = (take.ranges[-1][0], at + frame.length)
    else:
        take.ranges.append((at, at + frame.length))
    if not take.info and frame.kind[1] == 3:
        take.info = _blank_info(data[at : at + 4], frame)


def _blank_info(head: bytes, frame: _MpegFrame) -> bytes:
    """A frame with a header like the others', without audio, but with the tag 'Info' and two numbers, still 0."""
    head = bytes([head[0], head[1] | 1, head[2] & 0x0D | 0x80, head[3]])  # no checksum, no padding, long enough
    body = bytes(frame.info_at - 4) + b"Info" + (3).to_bytes(4, "big")
    return (head + body).ljust(_frame_of(head).length, b"\0")


def _with_count(take: _Take) -> Stream:
    """The stream of a take: the frame that states the number of frames (and bytes), corrected, and then the frames."""
    if not take.info:
        return tuple(take.ranges)
    info, at = bytearray(take.info), take.frame.info_at
    info[at + 8 : at + 12] = take.count.to_bytes(4, "big")
    if info[at + 7] & 2:
        size = len(info) + sum(end - begin for begin, end in take.ranges)
        info[at + 12 : at + 16] = size.to_bytes(4, "big")
    return (bytes(info), *take.ranges)
