"""Runs a model that export.py wrote, using onnxruntime: the torch model's numbers, for whole utterances and for streams."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from implementation import AudioSample, Features, collate_batch
from models.checkpoints import Checkpoint, CheckpointError, check_training, config_from
from models.streaming import StreamingRecognizer
from models.transcription import Decoder
from speech.alphabets import encoder_of


class OnnxModel:
    """An exported model.

        model = OnnxModel("model.onnx")
        rows = model.log_probs(samples)  # (T', V), for any decoder
        print(model.encoder.ctc_decode(rows.argmax(1)))

    Args:
        model: the file, or its bytes.

    Attributes:
        encoder, sample_rate, seconds_per_output: the checkpoint's encoder; the sample rate in Hz; seconds between two rows.
        config, features: the settings of the torch model and of its spectrogram, which the exported graph computes.
        training: the words of a model that knows just a few, and the calibration of its confidence, as in ``Checkpoint``.
        streams: whether it takes an utterance in pieces.

    Raises:
        ValueError: if it is not a model that export.py wrote.
    """

    def __init__(self, model: str | Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        source = model if isinstance(model, bytes) else Path(model).read_bytes()
        name = "the model" if isinstance(model, bytes) else model
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each fault, none of them documented
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{name}: not an ONNX model that onnxruntime can run ({reason})") from error
        told = self.session.get_modelmeta().custom_metadata_map
        if not {"kind", "symbols", "sample_rate", "seconds_per_output", "features", "settings"} <= told.keys():
            raise ValueError(f"{name}: an ONNX model, but not one that export.py wrote: its metadata are incomplete")
        try:
            self._read(told)
        except Exception as error:  # strange settings can raise anything
            raise ValueError(f"{name}: its metadata are broken ({error}): export the model again") from error

    def _read(self, told: Mapping[str, str]) -> None:
        """Reads the attributes from the metadata."""
        self.encoder = encoder_of(json.loads(told["symbols"])[1:])
        self.sample_rate, self.seconds_per_output = int(told["sample_rate"]), float(told["seconds_per_output"])
        self.streams, self.states = told["kind"] == "stream", json.loads(told.get("states", "{}"))
        settings, features = json.loads(told["settings"]), json.loads(told["features"])
        of_features = {field.name: features[field.name] for field in dataclasses.fields(Features)}
        self.config = config_from(
            {name: settings[name] for name in settings.keys() - features.keys()} | {"features": of_features}
        )
        self.features = self.config.features
        self.training = {name: json.loads(told[name]) for name in ("words", "calibration") if name in told}
        check_training(self.training)

    def log_probs(self, samples: np.ndarray) -> Tensor:
        """(N,) samples of a whole utterance, floats of full scale 1 -> (T', V)."""
        return OnnxStream(self).log_probs(samples, last=True) if self.streams else self.batch([samples])[0]

    def batch(self, utterances: Sequence[np.ndarray]) -> list[Tensor]:
        """The (T', V) of each of several whole utterances, computed together; ValueError if the model is for streams."""
        if self.streams:
            raise ValueError("this model was exported with --stream, so it takes no batch of utterances: use OnnxStream")
        lengths = np.array([len(samples) for samples in utterances])
        padded = np.zeros((len(utterances), lengths.max()), np.float32)
        for row, samples in zip(padded, utterances, strict=True):
            row[: len(samples)] = samples
        log_probs, frames = self.session.run(["log_probs", "output_lengths"], {"samples": padded, "lengths": lengths})
        return [torch.from_numpy(log_probs[:n, place]) for place, n in enumerate(frames)]


class OnnxStream:
    """Takes one utterance piece by piece, using a model exported with ``--stream``; CheckpointError for any other model."""

    def __init__(self, model: OnnxModel) -> None:
        if not model.streams:
            raise CheckpointError("it was exported for whole utterances: export a forward-only model with --stream")
        self.session = model.session
        self.states = {name: np.zeros([1 if size == "B" else size for size in shape], np.float32)
                       for name, shape in model.states.items()}  # fmt: skip

    def log_probs(self, samples: np.ndarray, last: bool = False) -> Tensor:
        """(N,) more samples -> (T', V), the rows that are ready; with ``last``, all remaining ones."""
        names = [name.replace("state", "next") for name in self.states]
        given = {"samples": np.asarray(samples, np.float32)[None], "last": np.array(last)} | self.states
        log_probs, *kept = self.session.run(["log_probs", *names], given)
        self.states = dict(zip(self.states, kept, strict=True))
        return torch.from_numpy(log_probs[:, 0])


def load_onnx(path: Path) -> Checkpoint:
    """An exported file as a checkpoint whose ``model`` is an ``OnnxModel``; raises ValueError as that class does."""
    model = OnnxModel(path)
    return Checkpoint(model, model.config, model.encoder, model.training)


class OnnxRecognizer(StreamingRecognizer):
    """A ``StreamingRecognizer`` for a model from ``load_onnx``; it takes audio at the model's rate.

    Raises:
        CheckpointError: if the model was exported without ``--stream``.
    """

    def __init__(self, checkpoint: Checkpoint, decoder: Decoder | None = None, settle_after: float | None = None) -> None:
        self._stream = OnnxStream(checkpoint.model)
        self._begin(checkpoint, decoder, settle_after)

    def log_probs(self, samples: np.ndarray, last: bool = False) -> Tensor:
        """(N,) more samples -> (T', V), the rows that are ready; with ``last``, all remaining ones."""
        return self._stream.log_probs(samples, last)


@torch.no_grad()
def difference(checkpoint: Checkpoint, exported: bytes) -> float:
    """The largest difference between onnxruntime's log-probabilities and torch's, over two utterances of noise."""
    rate, random = checkpoint.model.features.sample_rate, np.random.default_rng(0)
    utterances = [0.1 * random.standard_normal(round(seconds * rate)).astype(np.float32) for seconds in (2.0, 1.3)]
    model = OnnxModel(exported)
    heard = [model.log_probs(samples) for samples in utterances] if model.streams else model.batch(utterances)
    samples = [AudioSample(torch.from_numpy(audio), rate, "") for audio in utterances]
    batch = collate_batch(samples, checkpoint.encoder, features=checkpoint.model.features)
    log_probs, lengths = checkpoint.model(batch.features, batch.feature_lengths)
    return max(
        float((rows - log_probs[:n, place]).abs().max()) for place, (rows, n) in enumerate(zip(heard, lengths, strict=True))
    )
