"""What the recipes share: reading lists of clips, finding pieces of clips by a checksum, and writing the manifest."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import soundfile

RATE, HEAD = 16000, 1600  # Hz; number of first samples by which a piece is found in its clip


def read_list(file: Path) -> list[list[str]]:
    """Reads the cells of a list, without its comments and its header."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [line.split("\t") for line in lines[1:]]


def piece_start(clip: Path, samples: int, head: int, step: int = 1) -> int | None:
    """The sample at which a piece begins in its clip; None if it is not there.

    Args:
        clip: 16 bits, 16 kHz, one channel.
        samples, head: length of the piece, and the CRC-32 of its first ``HEAD`` samples.
        step: the piece begins at a multiple of this number of samples.
    """
    audio, rate = soundfile.read(clip, dtype="int16", always_2d=True)  # (samples, channels)
    if rate != RATE or audio.shape[1] != 1:
        return None
    data = audio.astype("<i2").tobytes()
    starts = range(0, len(audio) - samples + 1, step)
    return next((start for start in starts if zlib.crc32(data[2 * start : 2 * (start + HEAD)]) == head), None)


def piece_times(start: int | None, samples: int) -> tuple[str, str]:
    """Offset and duration in seconds, as in a manifest; empty if the whole clip is used."""
    return ("", "") if start is None else (f"{start / RATE:.7f}", f"{samples / RATE:.7f}")  # a sample is 62.5 us


def write_manifest(folder: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes ``folder``/manifest.tsv, prints how many utterances each split has, and names the number of clips used whole.

    Raises:
        ValueError: if there is already a manifest with other lines.
    """
    file = folder / "manifest.tsv"
    text = "".join("\t".join(row) + "\n" for row in [columns, *rows])
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ValueError(f"{file} exists and holds something else; move it away first")
    file.write_text(text, encoding="utf-8", newline="\n")
    splits = Counter(row[list(columns).index("split")] for row in rows)
    print(f"{file}: {len(rows)} utterances, " + ", ".join(f"{count} {name}" for name, count in sorted(splits.items())))
    whole = sum(row[list(columns).index("offset")] == "" for row in rows) if "offset" in columns else 0
    if whole:
        print(f"note: {whole} of the {len(rows)} clips do not hold the piece that was used, so they are used whole: "
              "error rates will differ a little from those in the README")  # fmt: skip
