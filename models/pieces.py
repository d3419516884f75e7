"""Cuts a long recording into pieces where nobody speaks; each is transcribed with a little of the audio around it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

LONGEST = 60.0  # seconds; up to here a recording stays whole: longer than a corpus's utterances, yet fits any memory [ours]
SHORTEST_PIECE, LONGEST_PIECE = 10.0, 30.0  # seconds, like LibriSpeech's utterances [ours]
CONTEXT = 2.0  # seconds on either side that go through the model with a piece, but whose text is not used [ours]
PAUSE = 0.3  # seconds over which the power is averaged to find a pause [ours]
QUIET_DB = -40.0  # a piece whose loudest moment is this far below the recording's loudest counts as a pause [ours]


@dataclass(frozen=True)
class Piece:
    """A piece from sample ``start`` to ``end``, with context from ``begin`` to ``stop``; ``quiet`` if nobody speaks in it."""

    start: int
    end: int
    begin: int
    stop: int
    quiet: bool = False


def pieces_of(audio: Tensor, sample_rate: int, step: int) -> list[Piece]:
    """The pieces of a recording, none longer than ``LONGEST_PIECE``; a recording of up to ``LONGEST`` seconds is one piece.

    Each cut is at the quietest ``PAUSE`` between ``SHORTEST_PIECE`` and ``LONGEST_PIECE`` after the previous cut: where nobody
    speaks, if there is such a place.

    Args:
        audio: (samples,) waveform.
        sample_rate: in Hz.
        step: samples from one output frame to the next; all cuts are multiples of it.
    """
    samples = len(audio)
    if samples <= LONGEST * sample_rate:
        return [Piece(0, samples, 0, samples)]
    cells = samples // step
    power = audio[: cells * step].view(cells, step).var(1, correction=0).double().numpy()
    width = max(1, round(PAUSE * sample_rate / step))
    power = np.convolve(power, np.full(width, 1 / width), "same")  # (cells,)
    bounds = [0, *(cell * step for cell in quietest_cells(power, sample_rate / step)), samples]
    context, limit = round(CONTEXT * sample_rate / step) * step, power.max() * 10 ** (QUIET_DB / 10)
    return [
        Piece(start, end, max(0, start - context), min(samples, end + context), power[start // step : end // step].max() < limit)
        for start, end in pairwise(bounds)
    ]


def quietest_cells(power: np.ndarray, cells_per_second: float) -> list[int]:
    """Where to cut, by the power of each cell; the rest after the last cut lasts at least ``SHORTEST_PIECE``."""
    shortest, longest = round(SHORTEST_PIECE * cells_per_second), round(LONGEST_PIECE * cells_per_second)
    cuts, start = [], 0
    while len(power) - start > longest:
        first, last = start + shortest, min(start + longest, len(power) - shortest)
        start = first + int(np.argmin(power[first : last + 1]))
        cuts.append(start)
    return cuts


def rows_of(piece: Piece, rows: Tensor, step: int) -> Tensor:
    """(T', V) of a piece with its context -> the piece's own frames; for the last piece, all that are left."""
    first = (piece.start - piece.begin) // step
    return rows[first:] if piece.end == piece.stop else rows[first : first + (piece.end - piece.start) // step]


def likeliest_joined(parts: list[list[dict]], joint: str, count: int) -> list[dict]:
    """The ``count`` best texts of a recording, joined from those of its pieces; scores add up, as each is searched alone."""
    names = ("score", "log_ctc", "log_lm", "words")
    if not any(parts):
        return []
    best: list[dict] = [{"text": "", **dict.fromkeys(names, 0)}]
    for part in filter(None, parts):
        found: dict[str, dict] = {}
        for a, b in sorted(((a, b) for a in best for b in part), key=lambda pair: -(pair[0]["score"] + pair[1]["score"])):
            text = joint.join(filter(None, (a["text"], b["text"])))
            found.setdefault(text, {"text": text} | {name: a[name] + b[name] for name in names})
        best = list(found.values())[:count]
    return best


def moved_by(seconds: float, spans: list[dict]) -> list[dict]:
    """Words or characters with ``start`` and ``end`` moved later by ``seconds``; those without times stay as they are."""
    return [span | {name: span[name] + seconds for name in ("start", "end") if name in span} for span in spans]
