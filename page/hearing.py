"""A model's output for an utterance, kept to be decoded again, or for a recording that is still coming in."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from implementation import AudioSample, DeepSpeech2
from models.checkpoints import Checkpoint, CheckpointError, load_checkpoint, refuse_nan
from models.confidence import mean_confidence
from models.pieces import LONGEST
from models.streaming import Heard, StreamingRecognizer
from models.transcription import Decoder, Loudness, doubt, is_silent, refuse_short, said
from speech.audio import BadAudio, audio_seconds, read_audio
from speech.augmentation import Augmentation, Timing

NBEST = 5
YOURS = "your recording"
QUIETEST_NOISE = 40.0  # dB below the speech: this value means no noise
SETTLE = 3.0  # a live beam search fixes what its best text has kept for these seconds: ``StreamingRecognizer.settle_after``


def load(path: Path) -> Checkpoint:
    """Loads a checkpoint, or an ONNX file (by ``load_onnx``), which then serves as one.

    Raises:
        ValueError: if the file can't be read, or onnxruntime is not installed.
    """
    if path.suffix != ".onnx":
        return load_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; export.py writes ONNX files")
    if find_spec("onnxruntime") is None:
        raise ValueError(f"{path} needs onnxruntime, which is not installed: pip install -r requirements-export.txt")
    from models.onnx_runtime import load_onnx  # only now, since it needs onnxruntime

    return load_onnx(path)


def recognizer_of(checkpoint: Checkpoint, decoder: Decoder) -> StreamingRecognizer:
    """The recogniser for a stream at the model's rate; raises CheckpointError if the model must wait for the end."""
    settle = SETTLE if decoder.beam > 1 else None
    if isinstance(checkpoint.model, DeepSpeech2):
        return StreamingRecognizer(checkpoint, None, decoder, settle)
    from models.onnx_runtime import OnnxRecognizer

    return OnnxRecognizer(checkpoint, decoder, settle)


@dataclass(frozen=True)
class Utterance:
    """An utterance and the network's output for it, so that another search needs no new forward pass.

    Attributes:
        checkpoint: the network's checkpoint.
        audio: (samples,) at the network's rate.
        features: (F, T), the network's input.
        rows: (T', V) log-probabilities, float64.
        name: where it comes from, shown to the user.
        reference: what was said, if known.
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
        """The result as in ``transcribe``: text, words, characters, nbest; and ``doubt``, a sentence that may be empty."""
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
    if isinstance(model, DeepSpeech2):
        rows = model(features[None, None].to(model.output.weight), torch.tensor([features.shape[1]]))[0][:, 0]  # (T', V)
    else:
        rows = model.log_probs(audio.numpy())  # an ``OnnxModel`` computes the features itself
    refuse_nan(rows, "the utterance")
    return Utterance(checkpoint, audio, features, rows.double(), name, reference)


def read(checkpoint: Checkpoint, path: Path) -> Utterance:
    """Takes an audio file; errors show its name, not its path. Raises ``BadAudio`` also if it lasts more than a minute."""
    try:
        refuse_long(audio_seconds(path))  # before a whole hour is read
        return hear(checkpoint, read_audio(path, checkpoint.model.features.sample_rate), path.name)
    except BadAudio as error:
        raise BadAudio(error.reason, Path(path.name)) from error


def refuse_long(seconds: float) -> None:
    """Raises ``BadAudio`` for more audio than the page can show."""
    if seconds > LONGEST:
        how = "use python transcribe.py, which takes any length"
        raise BadAudio(f"lasts {seconds / 60:.1f} minutes, but this page shows one at most: cut it, or {how}")


@dataclass(frozen=True)
class Change:
    """Changes made to an utterance before it reaches the network.

    Attributes:
        noise_db: power of the speech relative to the noise, in dB; at ``QUIETEST_NOISE`` or more there is no noise.
        speed: factor of speed and pitch.
        low, high: the band that is cut out, in Hz; nothing if they are equal.
    """

    noise_db: float = QUIETEST_NOISE
    speed: float = 1.0
    low: float = 0.0
    high: float = 0.0

    def __call__(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Turns (samples,) into (samples / speed,), always with the same noise, so that only a moved slider has an effect."""
        noisy = self.noise_db < QUIETEST_NOISE
        only = Augmentation(gain_db=0.0, noise_share=float(noisy), snr_db=(self.noise_db, self.noise_db))
        audio = only.change_audio(audio, sample_rate, Timing(speed=self.speed), np.random.default_rng(0))
        return cut_band(audio, sample_rate, self.low, self.high)


def cut_band(audio: Tensor, sample_rate: int, low: float, high: float) -> Tensor:
    """(samples,) without its frequencies from ``low`` up to ``high`` Hz; unchanged if low is not below high."""
    if low >= high:
        return audio
    spectrum = torch.fft.rfft(audio)
    hertz = torch.fft.rfftfreq(len(audio), 1 / sample_rate)
    spectrum[(hertz >= low) & (hertz < high)] = 0
    return torch.fft.irfft(spectrum, len(audio))


class Recording:
    """Speech that is still coming in, at any sample rate; for a model that must wait for the end, it is only stored.

    Attributes:
        heard: text so far, and the part of it that may change.
        rows: (T', V) log-probabilities so far.
        why_not: why there is no text before the end; empty if there is.
        full: whether a minute is over; then nothing more is taken.
    """

    def __init__(self, checkpoint: Checkpoint, rate: int, decoder: Decoder) -> None:
        self.checkpoint, features = checkpoint, checkpoint.model.features
        self.heard, self.why_not, self.rows = Heard(), "", torch.empty(0, checkpoint.encoder.vocab_size)
        self._resampler = soxr.ResampleStream(rate, features.sample_rate, 1, "float32", "HQ")
        self._most, self._loudness = round(LONGEST * features.sample_rate), Loudness(features.sample_rate)
        self.audio = np.empty(0, np.float32)
        try:
            self._recognizer = recognizer_of(checkpoint, decoder)
        except CheckpointError as error:
            self._recognizer, self.why_not = None, str(error)

    @property
    def full(self) -> bool:
        return len(self.audio) >= self._most

    @property
    def seconds(self) -> float:
        return len(self.audio) / self.checkpoint.model.features.sample_rate

    def features(self, begin: int = 0) -> Tensor:
        """The (F, T) features of its samples from number ``begin`` onwards, at the model's rate."""
        return self.checkpoint.model.features(torch.from_numpy(self.audio[begin:]))

    def accept(self, samples: np.ndarray, last: bool = False) -> None:
        """Takes (N,) float32 samples of full scale 1 at the recording's rate; raises ValueError if any is not finite."""
        if not np.isfinite(samples).all():
            raise ValueError("samples hold nan or infinity")
        samples = self._resampler.resample_chunk(samples, last=last)[: self._most - len(self.audio)]
        self.audio = np.concatenate((self.audio, samples))
        self._loudness.add(samples)
        if self._recognizer is not None:
            rows = self._recognizer.log_probs(samples, last)
            self.rows, self.heard = torch.cat((self.rows, rows)), self._recognizer.hear(rows, last)

    def finish(self) -> Utterance:
        """The whole recording; a model that must wait for the end runs only now. Raises ``BadAudio`` if it is too short."""
        self.accept(np.empty(0, np.float32), last=True)
        audio = torch.from_numpy(self.audio)
        refuse_short(self.seconds, self.checkpoint.model.features, None)
        if self._recognizer is None:
            return hear(self.checkpoint, audio, YOURS)
        return Utterance(self.checkpoint, audio, self.features(), self.rows.double(), YOURS)

    def note(self) -> str:
        """What the speaker should know; empty if all is well."""
        if self.full:
            return f"{LONGEST:.0f} seconds are over, and recording has ended: press Stop to see the result."
        if self._loudness.silent and self.seconds > 2:
            return "Only silence comes from the microphone: is it the right one, and is it on?"
        return self._loudness.clipping()
