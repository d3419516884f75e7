"""What a manifest's columns mean: the names that NeMo, Common Voice, Hugging Face and others use, and the times of pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_NAMES = {  # by meaning; the first name that occurs counts
    "path": (
        "path", "audio_filepath", "audio_file_path", "audio_path", "audio_file", "audio_filename", "audio", "file_name",
        "filename", "file_path", "filepath", "file", "wav_filename", "wav_path", "wav_file", "wav",
    ),
    "transcript": ("transcript", "text", "transcription", "sentence", "txt", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "speaker_name", "client_id"),
    "split": ("split", "partition"),
    "channel": (
        "channel", "channel_selector", "channel_id", "audio_channel", "chan", "ch", "channel_index", "channel_idx",
        "channel_number", "channel_num", "channel_no", "channel_tag", "audio_channel_id", "wav_channel", "side",
    ),
}  # fmt: skip
_OWNER = r"(?:(?:audio|segment|seg|utterance|utt|clip|piece|chunk|file|speech|wav|recording)_)?"
_UNIT = r"(?:_?(?:in_)?(s|secs?|seconds?|ms|msecs?|millis|milliseconds?|samples?))?"
_TIMES = {
    "start": re.compile(
        rf"{_OWNER}(?:start|begin|beginning|beg|onset|offset|start_offset|begin_offset|tmin|xmin|t0)(?:_?time|_at)?{_UNIT}"
    ),
    "stop": re.compile(rf"{_OWNER}(?:end|stop|end_offset|stop_offset|tmax|xmax|t1)(?:_?time|_at)?{_UNIT}"),
    "seconds": re.compile(rf"{_OWNER}(?:duration|dur|length|len|(?:num|n)_?(?=samples$)|(?=secs?$|seconds?$))(?:_time)?{_UNIT}"),
}
_SUSPECT = {
    "start", "begin", "beginning", "beg", "onset", "offset", "end", "ending", "stop", "interval", "trim", "channel", "chan",
    "tmin", "tmax", "t0", "t1", "timecode",
}  # fmt: skip
_SUSPECT_NAMES = re.compile(  # whole names, because their single words may mean anything
    rf"{_OWNER}(?:from|to|skip|cut_from|cut_to|st|et|stime|etime|s_time|e_time|in|out|in_point|out_point|tc_in|tc_out|finish){_UNIT}"
)
# Perhaps the length of a piece, if nothing else gives it.
_COUNTS = {"frames", "samples", "nframes", "nsamples", "size", "seconds", "secs"}
_INTERVAL = re.compile(r"[\[({ ]*\d{1,4}(?:\.\d+)? *(?:-|–|,|;|:|\.\.|to) *\d{1,4}(?:\.\d+)?[\])} ]*")  # 0.5-1.0, [0.5, 1.0]
_MAYBE_INTERVAL = {"time", "times", "timestamp", "timestamps", "segment", "range", "span", "region", "position", "boundaries"}
# Numbers without a stated unit: used only for a piece.
_MAYBE_LENGTH = ("length", "len", "segment_length", "audio_length", "num_samples", "n_samples")


LONGEST = 1e12  # seconds or samples; no audio is that long, so larger times are refused


class ColumnError(ValueError):
    """A column that is not understood and may change what the lines mean."""


class CellError(ValueError):
    """A cell that cannot be used."""


@dataclass(frozen=True)
class Piece:
    """Where in a file an utterance lies, in seconds, or in the file's samples if ``in_samples``; None: not given."""

    start: float | None = None
    stop: float | None = None
    seconds: float | None = None
    channel: str = ""
    in_samples: bool = False


@dataclass(frozen=True)
class Columns:
    """The name of the column for each role, and the units of the columns that hold times."""

    names: Mapping[str, str]
    units: Mapping[str, str]
    suspects: tuple[str, ...]
    maybe_intervals: tuple[str, ...] = ()

    def get(self, row: Mapping[str, str], role: str) -> str:
        """The cell with that role, or ``''`` if there is none."""
        return row.get(self.names[role], "") if role in self.names else ""

    def refuse_suspects(self, row: Mapping[str, str], where: str) -> None:
        """Raises ``ColumnError`` if a column that looks like a time or a channel, but is not understood, holds a number."""
        for name in (*self.suspects, *self.maybe_intervals):
            says = row.get(name, "")
            looks = re.match(r"[-+\[({ ]*\.?\d|(?:[abABlrLR]|left|right)$", says)
            if looks if name in self.suspects else _INTERVAL.fullmatch(says):
                raise ColumnError(
                    f"{where}: the column {name!r} ({row[name]!r}) may say which part of the audio is meant, "
                    "but is not understood; call it 'start', 'end', 'duration' (in seconds) or 'channel', or remove it"
                )

    def piece(self, row: Mapping[str, str]) -> Piece:
        """The times and the channel of a line; raises ``CellError`` for a time that is negative or not a number."""
        times = {role: _time(self.get(row, role), self.names[role]) for role in _TIMES if role in self.names}
        if times.get("start") is None and times.get("stop") is None:
            times = {"seconds": None if self.names.get("seconds") in _MAYBE_LENGTH else times.get("seconds")}
        samples = [self.units[role] == "samples" for role, value in times.items() if value is not None]
        if any(samples) and not all(samples):
            raise CellError("some of its times are in samples and some in seconds")
        factor = {"ms": 1e-3}
        times = {role: value and value * factor.get(self.units.get(role), 1.0) for role, value in times.items()}
        return Piece(**times, channel=self.get(row, "channel"), in_samples=any(samples))


@lru_cache(maxsize=256)
def understand(names: tuple[str, ...], transcript: str | None = None) -> Columns:
    """What columns with these names mean.

    Args:
        names: as the manifest writes them.
        transcript: name of the column with the transcripts; None: the one whose name says so.

    Returns:
        the role of each column that is understood; others are ignored, or suspect if they look like times or channels.
    """
    plain = {_plain(name): name for name in reversed(names)}
    roles = {}
    for role, known in (_NAMES | ({"transcript": (_plain(transcript),)} if transcript else {})).items():
        found = next((name for name in known if name in plain), None)
        if found:
            roles[role] = plain[found]
    units = {}
    for role, pattern in _TIMES.items():
        fits = sorted(((len(name), name, fit) for name in plain if (fit := pattern.fullmatch(name))), key=lambda item: item[:2])
        fits = [item for item in fits if item[1] == "seconds"] or fits if role == "seconds" else fits
        if role == "start" and len(fits) == 2 and {"onset", "offset"} == {fits[0][1], fits[1][1]}:  # of an event
            roles |= {"start": plain["onset"], "stop": plain["offset"]}
            units |= {"start": "s", "stop": "s"}
        elif fits and role not in roles:
            roles[role], units[role] = plain[fits[0][1]], _unit(fits[0][2][1])
    others = {key: set(key.split("_")) for key, name in plain.items() if name not in roles.values()}
    words = _SUSPECT | (_COUNTS if "start" in roles and not {"stop", "seconds"} & roles.keys() else set())
    counts = {"channels", "num_channels", "n_channels", "nchannels", "channel_count", "channels_count"}
    suspects = [key for key in others if key not in counts and (words & others[key] or _SUSPECT_NAMES.fullmatch(key))]
    intervals = tuple(plain[key] for key in others if _MAYBE_INTERVAL & others[key])
    return Columns(roles, units, tuple(map(plain.__getitem__, suspects)), intervals)


def _plain(name: str) -> str:
    """Turns camelCase, spaces, dots and hyphens into words_with_underscores."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _unit(text: str | None) -> str:
    return "samples" if text and text.startswith("sample") else "ms" if text and text.startswith("m") else "s"


def _time(text: str, name: str) -> float | None:
    """Seconds from ``1.5``, ``1,5`` or ``00:01:02.5``; None for an empty cell."""
    if not text:
        return None
    text = text if "." in text or text.count(",") != 1 else text.replace(",", ".")
    try:
        hours, minutes, seconds = map(float, ["0", "0", *text.split(":")][-max(3, text.count(":") + 1) :])
        value = 3600 * hours + 60 * minutes + seconds
    except ValueError:  # also if there are more parts
        value = float("nan")
    if value == -1 and re.match("end|stop", _plain(name)):  # Kaldi: up to the end
        return None
    if not 0 <= value < LONGEST:
        raise CellError(f"{name} must be a number of at least 0, not {text!r}")
    return value


def channel_numbers(texts: Iterable[str], from_zero: bool = False) -> dict[str, int | None]:
    """Channel numbers, from 0, for a manifest's cells: A and B, left and right, or numbers; None stands for all channels.

    Args:
        texts: all the different cells in the column.
        from_zero: whether the column's name says that it counts from 0 (NeMo's channel_selector).

    Returns:
        the number for each cell; cells count from 0 if one of them is 0, else from 1.

    Raises:
        ColumnError: for a cell that is none of these.
    """
    letters = {"a": 0, "b": 1, "l": 0, "r": 1, "left": 0, "right": 1, "": None, "average": None, "mono": None, "mix": None}
    texts = set(texts)
    numbers = {text for text in texts if re.fullmatch(r"\d{1,4}(?:\.0)?", text)}
    lowest = 0 if from_zero or any(float(text) == 0 for text in numbers) else 1
    strange = {text for text in texts - numbers if text.lower() not in letters}
    if strange:
        raise ColumnError(f"channel {min(strange)!r} is not understood; write a number from 0, or A and B")
    return {text: int(float(text)) - lowest if text in numbers else letters[text.lower()] for text in texts}
