"""The state of one open page, but not the page itself: a checkpoint, a search, an utterance and perhaps a recording."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import torch

from models.checkpoints import Checkpoint, CheckpointError
from models.transcription import Decoder
from page import views
from page.hearing import Change, Recording, Utterance, hear, load, read, recognizer_of
from page.material import Material, scorer_of
from speech.audio import RATES, BadAudio

DRAWN_EVERY = 0.15  # seconds of a recording: a picture costs several times as much as recognition, and text must not wait
MOST_DESKS = 16  # pages that are open at once; the oldest is forgotten
WRONG = (ValueError, BadAudio, OSError)  # what a user's choice can raise; each message says what to do


@lru_cache(maxsize=4)
def _loaded(path: Path, _changed: int) -> Checkpoint:
    return load(path)


class Desk:
    """Does everything that a page asks for. A bad choice by the user raises one of ``WRONG``, and changes nothing."""

    def __init__(self, material: Material) -> None:
        self.material, self.decoder = material, Decoder(beam=20)
        self._checkpoint: Checkpoint | None = None
        self.utterance: Utterance | None = None
        self.recording: Recording | None = None
        self._drawn = 0.0  # seconds of the recording that the page has already drawn
        self._scorer_of = lru_cache(maxsize=4)(scorer_of)

    @property
    def checkpoint(self) -> Checkpoint:
        """The last chosen checkpoint that could be loaded; raises ValueError if there is none."""
        if self._checkpoint is None:
            raise ValueError("no checkpoint is loaded: choose another one")
        return self._checkpoint

    def choose(self, path: Path) -> str:
        """Loads a checkpoint or ONNX file and transcribes the utterance anew; returns what the page says about it."""
        checkpoint = _loaded(path, path.stat().st_mtime_ns) if path.is_file() else load(path)
        utterance = self.utterance and _heard_by(checkpoint, self.utterance)
        self._checkpoint, self.utterance, self.recording = checkpoint, utterance, None
        try:
            recognizer_of(checkpoint, Decoder())
        except CheckpointError as error:
            return views.about(checkpoint, str(error))
        return views.about(checkpoint, "")

    def search(self, beam: float, model: str, alpha: float, beta: float, lexicon: bool) -> None:
        """Sets how texts are searched for, now and in the next recording; ``model`` is a name of ``language_models``."""
        texts = tuple(self.checkpoint.words or self.material.texts)
        scorer = self._scorer_of(model, self.checkpoint.encoder, texts, lexicon)
        self.decoder = Decoder(int(beam), scorer, alpha if scorer else 0.0, beta if scorer else 0.0)

    def take_recorded(self, name: str) -> None:
        """Takes one of the recorded utterances."""
        chosen = next(recorded for recorded in self.material.utterances if recorded.name == name)
        audio = chosen.audio(self.checkpoint.model.features.sample_rate)
        self.utterance = hear(self.checkpoint, audio, chosen.name, chosen.reference)

    def take_file(self, path: Path | str) -> None:
        """Takes an audio file."""
        self.utterance = read(self.checkpoint, Path(path))

    def show(self) -> tuple[str, str]:
        """Result and n-best list of the utterance, from a search over the network's output, which is kept."""
        if self.utterance is None:
            return "", ""
        found = self.utterance.decoded(self.decoder)
        return views.result(self.utterance, found), views.nbest_table(found, self.decoder)

    def change(self, change: Change) -> tuple[tuple[int, np.ndarray] | None, str]:
        """The changed utterance as (rate, int16 samples), and its result."""
        if self.utterance is None:
            return None, ""
        rate = self.checkpoint.model.features.sample_rate
        heard = hear(self.checkpoint, change(self.utterance.audio, rate))
        before = self.utterance.decoded(self.decoder)["text"]
        samples = (32767 * heard.audio.clamp(-1, 1)).to(torch.int16).numpy()
        return (rate, samples), views.change_of_text(before, heard, heard.decoded(self.decoder))

    def begin(self, rate: int) -> dict:
        """Starts a recording at ``rate`` Hz; returns what ``listen`` does."""
        if rate not in RATES:
            raise ValueError(f"the microphone's rate must lie between {RATES.start} and {RATES.stop - 1} Hz, not {rate}")
        self.recording, self._drawn = Recording(self.checkpoint, rate, self.decoder), 0.0
        return self._so_far()

    def listen(self, samples: np.ndarray) -> dict:
        """Takes (N,) more samples; returns the text so far, the part that may change, a note or "", perhaps a new picture."""
        if self.recording is None:
            raise ValueError("no recording has begun: press Record")
        self.recording.accept(samples)
        return self._so_far()

    def end(self) -> None:
        """Takes the recording as the utterance."""
        recording, self.recording = self.recording, None
        if recording is None:
            raise ValueError("no recording has begun: press Record")
        self.utterance = recording.finish()

    def _so_far(self) -> dict:
        recording, heard = self.recording, self.recording.heard
        later = "This model writes only after the end: press Stop." if recording.why_not else ""
        note = recording.note() or later
        said = {"text": heard.text, "partial": heard.partial, "note": note}
        if recording.seconds < self._drawn + DRAWN_EVERY:
            return said
        self._drawn = recording.seconds
        return said | {"picture": views.live(recording)}


def _heard_by(checkpoint: Checkpoint, utterance: Utterance) -> Utterance:
    """The same utterance through another model, at that model's rate."""
    old, new = utterance.checkpoint.model.features.sample_rate, checkpoint.model.features.sample_rate
    audio = utterance.audio if old == new else torch.from_numpy(soxr.resample(utterance.audio.numpy(), old, new))
    return hear(checkpoint, audio, utterance.name, utterance.reference)


class Desks:
    """The desks of all open pages, each under a token that cannot be guessed."""

    def __init__(self, material: Material) -> None:
        self._material, self._desks = material, OrderedDict()

    def open(self) -> str:
        """Makes a new desk and returns its token."""
        token = secrets.token_urlsafe(16)
        self._desks[token] = Desk(self._material)
        if len(self._desks) > MOST_DESKS:
            self._desks.popitem(last=False)
        return token

    def of(self, token: str) -> Desk:
        """The desk that a token belongs to; raises ValueError if it has been forgotten."""
        if token not in self._desks:
            raise ValueError("the program was restarted, or too many pages are open: reload this page")
        return self._desks[token]
