"""A trained model with all that it was made with, in one file."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from implementation import CharEncoder, DeepSpeech2
from speech.alphabets import encoder_of

CHECKPOINT_FORMAT = 1


@dataclass
class ModelConfig:
    """All that is needed to build the model and its features again; ``time_strides`` None means those of Table 4."""

    sample_rate: int = 16000
    n_fft: int = 128
    n_conv: int = 2
    n_rnn: int = 3
    rnn_hidden: int = 128
    rnn_type: str = "gru"
    batch_norm: str = "output"
    time_strides: list[int] | None = None
    dropout: float = 0.0

    def build(self, encoder: CharEncoder) -> DeepSpeech2:
        """A new model with random weights."""
        values = dataclasses.asdict(self)
        del values["sample_rate"]
        return DeepSpeech2(n_freq=values.pop("n_fft") // 2 + 1, vocab_size=encoder.vocab_size, **values)


class CheckpointError(ValueError):
    """A checkpoint that can't be used; the message says why and what to do."""


@dataclass
class Checkpoint:
    """A loaded checkpoint: the model in evaluation mode, and what it was made with."""

    model: DeepSpeech2
    config: ModelConfig
    encoder: CharEncoder
    training: dict = field(default_factory=dict)


def save_checkpoint(
    path: Path, model: DeepSpeech2, config: ModelConfig, encoder: CharEncoder, training: dict | None = None
) -> None:
    """Writes weights, configuration, alphabet and versions; the old file stays whole until the new one is.

    Args:
        training: anything made of tensors, numbers, strings, lists and dicts, such as ``Trainer.state_dict()``.
    """
    path = Path(path)
    content = {
        "format": CHECKPOINT_FORMAT, "torch": torch.__version__.split("+")[0], "config": dataclasses.asdict(config),
        "alphabet": encoder.alphabet, "model": model.state_dict(), "training": training or {},
    }  # fmt: skip
    temporary = path.with_suffix(".tmp")
    try:
        torch.save(content, temporary)
    except (RuntimeError, OSError) as error:  # torch raises RuntimeError where the disk is full
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path} can't be written; is the disk full? ({str(error).splitlines()[0]})") from error
    os.replace(temporary, path)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Reads a checkpoint without running any code from it.

    Raises:
        CheckpointError: if there is no such file, it is not a checkpoint, or it does not fit this version.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the file, {path / 'checkpoint.pt'}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; train_minimal.py writes checkpoint.pt into its output folder")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # reading foreign bytes as a pickle can raise anything
        raise CheckpointError(f"{path}: not a checkpoint of this library, or damaged ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"format", "config", "alphabet", "model"} <= content.keys():
        raise CheckpointError(f"{path}: a torch file, but not a checkpoint of this library")
    if content["format"] != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path}: format {content['format']}, this version reads {CHECKPOINT_FORMAT}; train again")
    known = {f.name for f in dataclasses.fields(ModelConfig)}
    if content["config"].keys() != known:
        raise CheckpointError(f"{path}: settings differ from this version's: {sorted(content['config'].keys() ^ known)}")
    config, encoder = ModelConfig(**content["config"]), encoder_of(content["alphabet"])
    model = config.build(encoder).to(device).eval()
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the settings stored with them: {error}") from error
    return Checkpoint(model, config, encoder, content["training"])
