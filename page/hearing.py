"""What a model makes of an utterance, kept to be decoded again; and of a recording that is still coming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from implementation import AudioSample
from models.checkpoints import Checkpoint, CheckpointError, refuse_nan
from models.confidence import mean_confidence
from models.pieces import LONGEST
from models.streaming import Heard, StreamingRecognizer
from models.transcription import Decoder, Loudness, doubt, is_silent, refuse_short, said
from speech.audio import BadAudio, audio_seconds, read_audio
from speech.augmentation import Augmentation, Timing

NBEST = 5
YOURS = "your recording"
QUIETEST_NOISE = 40.0  # dB below the speech: what no noise is written as
SETTLE = 3.0  # seconds after which a live beam search keeps to its best text, as ``StreamingRecognizer`` takes it


@dataclass(frozen=True)
class Utterance:
    """An utterance and what the network made of it, so that another search needs no other forward pass.

    Attributes:
        checkpoint: of the network.
        audio: (samples,) at the network's rate.
        features: (F, T), what the network hears.
        rows: (T', V) log-probabilities, float64.
        name: where it comes from, for its reader.
        reference: what was said, where that is known.
    """

    checkpoint: Checkpoint
    audio: Tensor
    features: Tensor
    rows: Tensor
    name: str = ""
    reference: str = ""

    @property
    def seconds(self) -> float:
        return len(self.audio) / self.checkpoint.model.features.sample_rate

    def decoded(self, decoder: Decoder) -> dict:
        """As ``transcribe`` tells it: text, words, characters, nbest; and ``doubt``, a sentence or nothing."""
        found = said(self.checkpoint, self.rows, decoder, NBEST, times=True)
        found["speech"] = not is_silent(AudioSample(self.audio, self.checkpoint.model.features.sample_rate, ""))
        found["confidence"] = mean_confidence([word["confidence"] for word in found["words"]])
        return found | {"doubt": doubt(found, self.checkpoint)}


@torch.no_grad()
def hear(checkpoint: Checkpoint, audio: Tensor, name: str = "", reference: str = "") -> Utterance:
    """One forward pass over (samples,) at the model's rate; ``name`` and ``reference`` are those of ``Utterance``.

    Raises:
        BadAudio: if it is shorter than a window or longer than a minute.
        CheckpointError: if the model gives nan.
    """
    model = checkpoint.model
    seconds = len(audio) / model.features.sample_rate
    refuse_long(seconds)
    refuse_short(seconds, model.features, None)
    features = model.features(audio)  # (F, T)
    rows, _ = model(features[None, None].to(model.output.weight), torch.tensor([features.shape[1]]))  # (T', 1, V)
    refuse_nan(rows, "the utterance")
    return Utterance(checkpoint, audio, features, rows[:, 0].double(), name, reference)


def read(checkpoint: Checkpoint, path: Path) -> Utterance:
    """Hears an audio file; what is wrong with it is told by its name alone. ``BadAudio`` also for more than a minute."""
    try:
        refuse_long(audio_seconds(path))  # before all of an hour is read
        return hear(checkpoint, read_audio(path, checkpoint.model.features.sample_rate), path.name)
    except BadAudio as error:
        raise BadAudio(error.reason, Path(path.name)) from error


def refuse_long(seconds: float) -> None:
    """Raises ``BadAudio`` for more than can be looked at."""
    if seconds > LONGEST:
        how = "python transcribe.py hears any length"
        raise BadAudio(f"lasts {seconds / 60:.1f} minutes, but this page shows one at most: cut it, or {how}")


@dataclass(frozen=True)
class Change:
    """What is done to an utterance before the network hears it.

    Attributes:
        noise_db: the speech's power over the noise's, in dB; from ``QUIETEST_NOISE`` on there is no noise.
        speed: factor of speed and pitch.
        low, high: the band that is cut out, in Hz; nothing where they are equal.
    """

    noise_db: float = QUIETEST_NOISE
    speed: float = 1.0
    low: float = 0.0
    high: float = 0.0

    def __call__(self, audio: Tensor, sample_rate: int) -> Tensor:
        """(samples,) -> (samples / speed,): the same noise each time, so that only what is moved changes."""
        noisy = self.noise_db < QUIETEST_NOISE
        only = Augmentation(gain_db=0.0, noise_share=float(noisy), snr_db=(self.noise_db, self.noise_db))
        audio = only.change_audio(audio, sample_rate, Timing(speed=self.speed), np.random.default_rng(0))
        return cut_band(audio, sample_rate, self.low, self.high)


def cut_band(audio: Tensor, sample_rate: int, low: float, high: float) -> Tensor:
    """(samples,) without its frequencies from ``low`` up to ``high`` Hz; all of it where low is not below high."""
    if low >= high:
        return audio
    spectrum = torch.fft.rfft(audio)
    hertz = torch.fft.rfftfreq(len(audio), 1 / sample_rate)
    spectrum[(hertz >= low) & (hertz < high)] = 0
    return torch.fft.irfft(spectrum, len(audio))


class Recording:
    """Speech that is still coming, at any rate; a model that needs its end first only keeps it.

    Attributes:
        heard: text so far, and what may change of it.
        rows: (T', V) log-probabilities so far.
        why_not: why there is no text before the end; empty where there is.
        full: whether a minute is over, after which nothing more is taken.
    """

    def __init__(self, checkpoint: Checkpoint, rate: int, decoder: Decoder) -> None:
        self.checkpoint, features = checkpoint, checkpoint.model.features
        self.heard, self.why_not, self.rows = Heard(), "", torch.empty(0, checkpoint.model.vocab_size)
        self._resampler = soxr.ResampleStream(rate, features.sample_rate, 1, "float32", "HQ")
        self._most, self._loudness = round(LONGEST * features.sample_rate), Loudness(features.sample_rate)
        self.audio = np.empty(0, np.float32)
        try:
            self._recognizer = StreamingRecognizer(checkpoint, None, decoder, SETTLE if decoder.beam > 1 else None)
        except CheckpointError as error:
            self._recognizer, self.why_not = None, str(error)

    @property
    def full(self) -> bool:
        return len(self.audio) >= self._most

    @property
    def seconds(self) -> float:
        return len(self.audio) / self.checkpoint.model.features.sample_rate

    def features(self, begin: int = 0) -> Tensor:
        """(F, T) of its samples at the model's rate from ``begin`` on."""
        return self.checkpoint.model.features(torch.from_numpy(self.audio[begin:]))

    def accept(self, samples: np.ndarray, last: bool = False) -> None:
        """(N,) float32 of full scale 1 at the recording's rate. ValueError where they are none."""
        if not np.isfinite(samples).all():
            raise ValueError("samples hold nan or infinity")
        samples = self._resampler.resample_chunk(samples, last=last)[: self._most - len(self.audio)]
        self.audio = np.concatenate((self.audio, samples))
        self._loudness.add(samples)
        if self._recognizer is not None:
            rows = self._recognizer.log_probs(samples, last)
            self.rows, self.heard = torch.cat((self.rows, rows)), self._recognizer.hear(rows, last)

    def finish(self) -> Utterance:
        """The whole; only a model that needs the end goes through it now. ``BadAudio`` where hardly anything came."""
        self.accept(np.empty(0, np.float32), last=True)
        audio = torch.from_numpy(self.audio)
        refuse_short(self.seconds, self.checkpoint.model.features, None)
        if self._recognizer is None:
            return hear(self.checkpoint, audio, YOURS)
        return Utterance(self.checkpoint, audio, self.features(), self.rows.double(), YOURS)

    def note(self) -> str:
        """What whoever speaks should know; empty where all is well."""
        if self.full:
            return f"{LONGEST:.0f} seconds are over, and nothing more is heard: press Stop, and look at it."
        if self._loudness.silent and self.seconds > 2:
            return "Nothing but silence comes from the microphone: is it the right one, and is it on?"
        return self._loudness.clipping()
