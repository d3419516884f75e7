"""A trained model in one file, with the settings and the alphabet it was made with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from implementation import CharEncoder, CorpusStatistics, DeepSpeech2, Features
from models.confidence import Calibration
from models.deep_speech_1 import DeepSpeech1
from models.torch_files import BadFile, read_torch_file
from models.writing import whole_file
from speech.alphabets import encoder_of

CHECKPOINT_FORMAT = 1  # version of the file format; settings missing from a file get their defaults
MODELS = ("ds2", "ds1")
# Settings of ModelConfig that Deep Speech 1 does not use.
OF_DS2 = ("n_conv", "convolutions", "n_rnn", "rnn_type", "batch_norm", "row_conv", "fc_hidden", "time_strides")
DEFAULT_FEATURES = Features(n_fft=128)  # 65 bins, a quarter as many as Features() has, for a quick model [ours]


@dataclass
class ModelConfig:
    """Everything needed to build the model and its features again.

    Attributes:
        features: how audio becomes the model's input.
        n_conv: 1 to 3 convolutions, the 2D rows of Table 4.
        convolutions: the name of another row of Table 4, such as '3-layer 1D', to use instead of ``n_conv``.
        n_rnn, rnn_hidden, rnn_type, batch_norm, bidirectional, row_conv, fc_hidden, dropout: as in ``DeepSpeech2``; a laptop
            trains 128 hidden units, half that class's default, in minutes [ours].
        time_strides: strides of the convolutions in time; None: those of Table 4.
        model: 'ds2', or 'ds1' for a ``DeepSpeech1``, to which rnn_hidden, bidirectional and dropout also apply.
        context: the frames that 'ds1' splices on either side.

    Raises:
        ValueError: for settings that belong to the other model.
    """

    features: Features = DEFAULT_FEATURES
    n_conv: int = 2
    convolutions: str | None = None
    n_rnn: int = 3
    rnn_hidden: int = 128
    rnn_type: str = "gru"
    batch_norm: str = "output"
    bidirectional: bool = True
    row_conv: int = 0
    fc_hidden: int = 0
    time_strides: list[int] | None = None
    dropout: float = 0.0
    model: str = "ds2"
    context: int = 9

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, not {self.model!r}")
        other = OF_DS2 if self.model == "ds1" else ("context",)
        wrong = [name for name in other if getattr(self, name) != getattr(ModelConfig, name)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not settings of model {self.model!r}; leave them at their defaults")

    @property
    def sample_rate(self) -> int:
        """Sample rate of the features, in Hz."""
        return self.features.sample_rate

    @property
    def n_fft(self) -> int:
        """Number of points in the features' Fourier transform."""
        return self.features.n_fft

    def flat(self) -> dict:
        """All settings by name, including those of the features but not the corpus statistics, which depend on the speech."""
        settings = dataclasses.asdict(self)
        features = settings.pop("features")
        del features["corpus"]
        return features | settings

    def build(self, encoder: CharEncoder) -> DeepSpeech2:
        """A new model with random weights."""
        sizes = {"n_freq": self.features.bins, "vocab_size": encoder.vocab_size}
        both = {"dropout": self.dropout, "bidirectional": self.bidirectional}
        if self.model == "ds1":
            model = DeepSpeech1(**sizes, context=self.context, hidden=self.rnn_hidden, **both)
        else:
            layers = {name: getattr(self, name) for name in OF_DS2}
            model = DeepSpeech2(**sizes, rnn_hidden=self.rnn_hidden, **layers, **both)
        model.features = self.features
        return model


class CheckpointError(ValueError):
    """A checkpoint that can't be used; the message says why and what to do."""


@dataclass
class Checkpoint:
    """A loaded checkpoint: the model in evaluation mode, and what it was made with."""

    model: DeepSpeech2
    config: ModelConfig
    encoder: CharEncoder
    training: dict = field(default_factory=dict)

    @property
    def calibration(self) -> Calibration:
        """The calibration of the model's confidence; checkpoints of unfinished runs have only the default."""
        return Calibration(**self.training.get("calibration", {}))

    @property
    def words(self) -> list[str]:
        """All the words of a model that was trained on just a few; empty for most checkpoints."""
        return self.training.get("words", [])


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside torch.compile, DataParallel and DistributedDataParallel, however they are nested."""
    while True:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _bare_names(weights: Mapping) -> dict:
    """The weights under their names without wrappers: 'module._orig_mod.output.weight' becomes 'output.weight'."""
    inside = r"(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
    wrappers = re.compile(rf"^(?:{inside}|model\.|network\.)+|(?<=\.)(?:{inside})+")
    return {wrappers.sub("", name): value for name, value in weights.items()}


def save_checkpoint(
    path: Path, model: DeepSpeech2, config: ModelConfig, encoder: CharEncoder, training: dict | None = None
) -> None:
    """Writes the weights, configuration, alphabet and versions; an old file stays until the new one is complete.

    Args:
        training: anything made of tensors, numbers, strings, lists and dicts, such as ``Trainer.state_dict()``.

    Raises:
        OSError: if the file can't be written; the old one stays.
    """
    content = {
        "format": CHECKPOINT_FORMAT, "torch": torch.__version__.split("+")[0], "config": dataclasses.asdict(config),
        "alphabet": encoder.alphabet, "model": _bare_names(model.state_dict()), "training": training or {},
    }  # fmt: skip
    with whole_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch raises this if the disk is full
            raise OSError("torch could not write the whole file") from error


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Reads a checkpoint without running any code from it.

    Raises:
        CheckpointError: if there is no such file, or if it is not a checkpoint, is damaged or does not fit this version.
    """
    path = Path(path)
    content = _read(path, device)
    weights, training = _bare_names(content["model"]), content.get("training", {})
    if broken := not_finite(weights):
        raise CheckpointError(f"{path}: there is nan or infinity in {broken}, so the model can't work: use an earlier checkpoint")
    try:
        if not _is_setting(content["alphabet"]):
            raise TypeError("its alphabet is not a list of characters")
        encoder, config = encoder_of(content["alphabet"]), config_from(content["config"])
        with torch.device("meta"):  # uses no memory; foreign settings could ask for any amount
            sketch = config.build(encoder)
        check_training(training)
    except Exception as error:  # building a model from foreign settings can raise anything
        raise CheckpointError(f"{path}: no model can be built from its settings: {_in_short(error)}") from error
    try:
        sketch.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        said = str(error).partition(f"{type(sketch).__name__}:")[2]
        what = " ".join(said.split())[:200]
        raise CheckpointError(f"{path}: the weights do not fit the settings stored with them ({what}); train again") from error
    model = config.build(encoder).to(device).eval()
    model.load_state_dict(weights)
    return Checkpoint(model, config, encoder, training)


def not_finite(weights: Mapping[str, Tensor]) -> str:
    """The names of the weights that hold nan or infinity, at most five of them; empty if none do."""
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    return ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")


def refuse_nan(log_probs: Tensor, heard: str | Path) -> None:
    """Raises ``CheckpointError`` if the model gives nan instead of probabilities."""
    if log_probs.isnan().any():
        raise CheckpointError(f"{heard}: the model gives nan instead of probabilities; its weights are broken or too large: "
                              "use an earlier checkpoint")  # fmt: skip


def _read(path: Path, device: str | torch.device) -> dict:
    """The parts of a checkpoint file; raises ``CheckpointError`` if it is not one."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the file, such as {path / 'checkpoint.pt'}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; train_minimal.py writes checkpoint.pt into its output folder")
    with open(path, "rb") as file:
        begins = file.read(4096)
    if any(line.strip() == b"\\data\\" for line in begins.splitlines()):
        raise CheckpointError(f"{path} is a language model, not a checkpoint; give the checkpoint.pt that train_minimal.py wrote")
    try:
        content = read_torch_file(path, device)
    except BadFile as error:
        raise CheckpointError(f"{path}: not a checkpoint from this library, or damaged ({error})") from error
    if not isinstance(content, dict) or not {"format", "config", "alphabet", "model"} <= content.keys():
        raise CheckpointError(f"{path}: a torch file, but not a checkpoint from this library")
    written = content["format"] if isinstance(content["format"], int) else "unknown"
    if written != CHECKPOINT_FORMAT:
        newer = "use the newer version that wrote it, or train again"
        raise CheckpointError(f"{path}: format {written}, but this version reads format {CHECKPOINT_FORMAT}; {newer}")
    weights = content["model"]
    if not isinstance(weights, dict) or not all(isinstance(name, str) and _is_weight(w) for name, w in weights.items()):
        raise CheckpointError(f"{path}: a torch file, but it holds no weights where they should be")
    return content


def _is_weight(value: object) -> bool:
    """Whether ``value`` is a tensor of real numbers, each of them in the file; a repeated one could fill up all the memory."""
    if not isinstance(value, Tensor) or value.is_complex():
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def check_training(training: Mapping) -> None:
    """Raises ``TypeError`` if the error rates, calibration or words in a checkpoint have the wrong type."""
    calibration = dataclasses.astuple(Calibration(**training.get("calibration", {})))
    rates = [training[name] for name in ("best_wer", "best_cer", "epoch", "epochs") if name in training]
    if not all(isinstance(number, int | float) for number in (*calibration, *rates)) or max(map(abs, calibration)) > 50:
        raise TypeError("its training results are not numbers")
    words = training.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() == word != "" for word in words):
        raise TypeError("its 'words' are not a list of words")


def _in_short(error: Exception) -> str:
    """The text of an error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def config_from(settings: Mapping) -> ModelConfig:
    """The configuration in a checkpoint of this version or an older one; missing settings get their defaults.

    Raises:
        ValueError: for settings that this version does not know.
    """
    settings = dict(settings)
    features = dict(settings.pop("features", {}))
    features |= {name: settings.pop(name) for name in ("sample_rate", "n_fft") if name in settings}  # as in older versions
    statistics = features.pop("corpus", None)
    unknown = settings.keys() - {f.name for f in dataclasses.fields(ModelConfig)}
    unknown |= features.keys() - {f.name for f in dataclasses.fields(Features)}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"this version does not know {names}; use the newer version that wrote the file, or train again")
    strange = [name for name, value in (settings | features).items() if not _is_setting(value)]
    if strange:
        raise ValueError(f"{', '.join(strange)}: neither a number nor text")
    corpus = CorpusStatistics(**statistics) if statistics else None
    if corpus and not all(isinstance(number, int | float) for number in (corpus.level, *corpus.mean, *corpus.deviation)):
        raise ValueError("the corpus statistics are not numbers")
    heard = dataclasses.replace(DEFAULT_FEATURES, **features, corpus=corpus)
    if max(heard.window, heard.hop) > heard.sample_rate or heard.sample_rate > 768_000:
        raise ValueError(
            f"windows of {heard.window_ms} ms every {heard.stride_ms} ms at {heard.sample_rate} Hz do not suit speech"
        )
    return ModelConfig(features=heard, **settings)


def _is_setting(value: object) -> bool:
    """Whether a setting can have this value: a number, text, None or a list of these."""
    parts = value if isinstance(value, list | tuple) else [value]
    return all(part is None or isinstance(part, int | float | str) for part in parts)
