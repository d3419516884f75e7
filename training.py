"""What training needs beside the model: data, schedules, checkpoints and the loop over epochs.

Used by ``train_minimal.py``, by notebooks and by ``transcribe.py``; nothing here prints.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from augmentation import Augmentation
from bigrams import BigramEncoder
from corpora import BadAudio, CorpusError, Problem, Utterance, read_audio
from implementation import (
    AudioSample,
    CharEncoder,
    DeepSpeech2,
    SortaGradBatchSampler,
    SpectrogramBatch,
    collate_features,
    compute_spectrogram,
    ctc_required_frames,
    sequence_mask,
    train_step,
    utterance_seconds,
)

CHECKPOINT_FORMAT = 1
WINDOW_MS, STRIDE_MS = 20.0, 10.0  # as in compute_spectrogram
QUICK = bool(os.environ.get("DS2_QUICK"))  # scripts cut their trainings down to seconds, to try a command

# ---------------------------------------------------------------------------------------------
# Model and checkpoints
# ---------------------------------------------------------------------------------------------


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


def encoder_of(units: Sequence[str], unknown: str = "error") -> CharEncoder:
    """The encoder whose units these are, characters or bigrams (arXiv 3.6)."""
    return (BigramEncoder if any(len(unit) > 1 for unit in units) else CharEncoder)(units, unknown)


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


# ---------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------


class TrainingSet(Dataset):
    """Features and transcripts for training, augmented anew each epoch.

    Item i is ``(features (F, T), text)``, or a ``Problem`` where the audio can't be read or is too short for its
    text. It depends on (seed, epoch, i) alone, so workers and resumed runs see the same.
    """

    def __init__(
        self, samples: Sequence[AudioSample], encoder: CharEncoder, model: DeepSpeech2,
        augmentation: Augmentation | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.samples, self.encoder, self.augmentation, self.seed, self.epoch = samples, encoder, augmentation, seed, 0
        self.n_fft, self._blocks = 2 * (model.n_freq - 1), model.output_lengths
        self._seconds: list[float] | None = None  # of this epoch, once they were asked for
        self.reading = torch.empty(0, dtype=torch.long)  # item that each worker process is at, in shared memory

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> list[float]:
        """Length of each utterance as this epoch's augmentation makes it; known without reading audio."""
        if self._seconds is None:
            seconds = utterance_seconds(self.samples)
            if self.augmentation is not None:
                draw = self.augmentation.draw_timing
                seconds = [draw(length, self._rng(index)).seconds(length) for index, length in enumerate(seconds)]
            self._seconds = seconds
        return self._seconds

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, index))

    def set_epoch(self, epoch: int) -> None:
        """Epoch whose augmentation (and joins) the items show, from 0."""
        if epoch != self.epoch:
            self.epoch, self._seconds = epoch, None
        if hasattr(self.samples, "set_epoch"):
            self.samples.set_epoch(epoch)

    def name(self, index: int) -> str:
        """File of an item where there is one, those of a joined item, else its number."""
        samples = getattr(self.samples, "dataset", self.samples)  # what was joined
        parts = self.samples.parts(index) if samples is not self.samples else [index]
        return " + ".join(_name(samples.utterances[part] if hasattr(samples, "utterances") else None, part) for part in parts)

    def __getitem__(self, index: int) -> tuple[Tensor, str] | Problem:
        worker = get_worker_info()
        if worker is not None:
            self.reading[worker.id] = index
        with _one_thread():
            return self._item(index)

    def _item(self, index: int) -> tuple[Tensor, str] | Problem:
        try:
            sample = self.samples[index]
        except BadAudio as error:
            return Problem(self.name(index), error.reason)
        needed = ctc_required_frames(self.encoder.encode(sample.transcript))
        if self.augmentation is not None:
            features = self._augmented(sample, self._rng(index))
            if self._output_frames(features) >= needed:
                return features, sample.transcript
        # Changed to be too short for its text, it is taken as it is.
        features = compute_spectrogram(sample.audio, sample.sample_rate, n_fft=self.n_fft)
        frames = self._output_frames(features)
        if frames < needed:
            return Problem(self.name(index), f"{sample.transcript!r} needs {needed} output frames, its audio gives {frames}")
        return features, sample.transcript

    def _augmented(self, sample: AudioSample, rng: np.random.Generator) -> Tensor:
        timing = self.augmentation.draw_timing(sample.seconds, rng)
        audio = self.augmentation.change_audio(sample.audio, sample.sample_rate, timing, rng)
        features = compute_spectrogram(audio, sample.sample_rate, n_fft=self.n_fft)
        return self.augmentation.change_features(features, timing.tempo, rng)

    def _output_frames(self, features: Tensor) -> int:
        return int(self._blocks(torch.tensor([features.shape[1]])))

    def collate(self, items: list) -> tuple[SpectrogramBatch | None, list[Problem]]:
        """Items of a minibatch -> the batch (None if nothing is left) and the problems among them."""
        problems = [item for item in items if isinstance(item, Problem)]
        good = [item for item in items if not isinstance(item, Problem)]
        batch = collate_features([f for f, _ in good], [text for _, text in good], self.encoder) if good else None
        return batch, problems


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """As in the worker processes of a DataLoader: a sum that is divided among threads is rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def encodable(items: Sequence, encoder: CharEncoder) -> tuple[list, list[Problem]]:
    """The items (with ``transcript``) whose text the alphabet can spell, and a problem for each other one."""
    good, problems = [], []
    for index, item in enumerate(items):
        try:
            if not encoder.encode(item.transcript):
                raise ValueError(f"nothing of its transcript {item.transcript!r} can be written in the alphabet")
            good.append(item)
        except ValueError as error:
            problems.append(Problem(_name(item, index), str(error)))
    return good, problems


def feasible(items: Sequence, encoder: CharEncoder, model: DeepSpeech2) -> tuple[list, list[Problem]]:
    """The items (with ``seconds`` and ``transcript``) that CTC can spell in their time, and the arithmetic for the others."""
    good, problems = [], []
    frames = [max(1, 1 + math.floor((item.seconds * 1000 - WINDOW_MS) / STRIDE_MS + 1e-6)) for item in items]
    output_lengths = model.output_lengths(torch.tensor(frames, dtype=torch.long)).tolist()
    for index, (item, outputs) in enumerate(zip(items, output_lengths, strict=True)):
        labels = encoder.encode(item.transcript)
        needed = ctc_required_frames(labels)
        if outputs >= needed:
            good.append(item)
        else:
            what = (
                f"{item.transcript!r}: {len(labels)} symbols + {needed - len(labels)} equal neighbours need {needed} "
                f"output frames, {item.seconds:.2f} s give {outputs}"
            )
            problems.append(Problem(_name(item, index), what))
    return good, problems


def readable(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Problem]]:
    """The utterances whose audio can be read to its end (it is read once for this), and a problem for each other one."""

    def problem(utterance: Utterance) -> Problem | None:
        try:
            read_audio(utterance.path, 16000)
        except BadAudio as error:
            return Problem(str(utterance.path), error.reason)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and resampling leave Python's lock to others
        problems = list(pool.map(problem, utterances))
    good = [utterance for utterance, bad in zip(utterances, problems, strict=True) if bad is None]
    return good, [bad for bad in problems if bad is not None]


def usable(utterances: Sequence[Utterance], encoder: CharEncoder) -> tuple[list[Utterance], list[Problem]]:
    """The utterances that the alphabet can spell and whose audio can be read, and a problem for each other one."""
    good, unspellable = encodable(utterances, encoder)
    good, unreadable = readable(good)
    return good, unspellable + unreadable


def stop_if_many(problems: Sequence[Problem], total: int, advice: str = "") -> None:
    """Raises ``CorpusError`` with the first five problems when they are more than 1 % of ``total``."""
    if len(problems) > 0.01 * total:
        first = "; ".join(str(problem) for problem in list(problems)[:5])
        raise CorpusError(f"{len(problems)} of {total} utterances are bad, more than 1 %: {first}{advice}")


def _name(item: object, index: int) -> str:
    return str(getattr(item, "path", f"utterance {index}"))


# ---------------------------------------------------------------------------------------------
# Optimiser, schedule, precision
# ---------------------------------------------------------------------------------------------


def make_optimizer(name: str, model: DeepSpeech2, lr: float, weight_decay: float = 1e-2) -> torch.optim.Optimizer:
    """'adamw', 'adam', or 'sgd' with Nesterov momentum 0.99 [paper, Section 6]."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr, momentum=0.99, nesterov=True)
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr, fused=True)
    if name != "adamw":
        raise ValueError(f"optimizer must be adamw, adam or sgd, not {name!r}")
    matrices = [p for p in model.parameters() if p.dim() > 1 and p.requires_grad]
    vectors = [p for p in model.parameters() if p.dim() <= 1 and p.requires_grad]  # biases, gamma, beta: no decay
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr, fused=True)


def learning_rate_factor(schedule: str, step: int, total: int, per_epoch: int) -> float:
    """Learning rate at a step as a share of the highest.

    'onecycle': up in the first 15 % of the steps, then down to 0 along a half cosine [ours]. 'anneal': divided by 1.2
    after each epoch [paper, Section 6]. 'constant': 1.
    """
    if schedule == "onecycle":
        rise = max(1, round(0.15 * total))
        if step < rise:
            return 0.05 + 0.95 * step / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))
    if schedule == "anneal":
        return 1.2 ** -(step // per_epoch)
    if schedule == "constant":
        return 1.0
    raise ValueError(f"schedule must be onecycle, anneal or constant, not {schedule!r}")


def choose_device(name: str) -> torch.device:
    """'auto', or a device by name; refuses one that this machine lacks and says what it has."""
    available = ["cpu"]
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    missing = device is None or device.type not in available
    if missing or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device {name!r} is not here; this machine has: {', '.join(available)}")
    return device


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bf16 is many times slower than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _cpu_flag("avx512_bf16", "amx_bf16")


def _cpu_flag(*names: str) -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="ignore")
    except OSError:
        return False
    return any(name in flags for name in names)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """'fp32', 'bf16', or 'auto': bf16 where the hardware multiplies it.

    Raises:
        ValueError: for bf16 on hardware without it, or another name.
    """
    has_bf16 = cpu_has_bf16() if device.type == "cpu" else device.type == "cuda" and torch.cuda.is_bf16_supported()
    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {name!r}")
    if name == "bf16" and not has_bf16:
        raise ValueError(f"precision bf16: this {device.type} does not multiply bf16 in hardware; use fp32 or auto")
    return torch.bfloat16 if name == "bf16" or (name == "auto" and has_bf16) else torch.float32


def keep_freed_memory() -> None:
    """Asks the C library (glibc) to keep freed memory for the next step instead of giving it back to the system.

    Each step frees and asks for the same large buffers; having the system clear them anew takes a quarter of the
    time of a step. Elsewhere than on Linux with glibc this does nothing.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # <malloc.h>
    mallopt(m_mmap_threshold, 1 << 30)
    mallopt(m_trim_threshold, (1 << 31) - 1)
    mallopt(m_top_pad, 1 << 26)


# ---------------------------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------------------------


@dataclass
class EpochReport:
    """What an epoch of training did: mean loss per utterance (nats), audio seconds heard per second of time, problems."""

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    audio_seconds: float
    padding_share: float
    problems: list[Problem]


def epoch_metrics(report: EpochReport, result: dict) -> dict:
    """A line of metrics.jsonl: what an epoch did, and what ``evaluate`` then found on dev."""
    return {
        "epoch": report.epoch, "loss": report.loss, "dev_loss": result["loss"], "dev_wer": result["wer"],
        "dev_cer": result["cer"], "dev_word_errors": result["words"].errors, "dev_words": result["words"].reference_length,
        "blank_share": result["blank_share"], "learning_rate": report.learning_rate, "seconds": report.seconds,
        "audio_seconds": report.audio_seconds, "padding_share": report.padding_share,
    }  # fmt: skip


class Trainer:
    """Trains a model epoch by epoch; its state can be saved at any step and taken up again.

    Args:
        model, data: what to train, on what.
        epochs: the whole length, for the schedule.
        batch_size: utterances a step.
        lr: highest learning rate.
        optimizer, schedule: see ``make_optimizer`` and ``learning_rate_factor``.
        sortagrad: order the first epoch by length (Section 3.3).
        precision: torch.float32 or torch.bfloat16 for the products; statistics and losses stay in float32.
        num_workers: processes that prepare features; 0 prepares them in this one.
    """

    def __init__(
        self, model: DeepSpeech2, data: TrainingSet, epochs: int, batch_size: int = 8, lr: float = 3e-4,
        optimizer: str = "adamw", schedule: str = "onecycle", sortagrad: bool = True, max_norm: float = 400.0,
        precision: torch.dtype = torch.float32, num_workers: int = 0,
    ) -> None:  # fmt: skip
        self.model, self.data, self.epochs, self.lr, self.schedule = model, data, epochs, lr, schedule
        self.max_norm, self.precision, self.num_workers = max_norm, precision, num_workers
        self.device = next(model.parameters()).device
        self.optimizer = make_optimizer(optimizer, model, lr)
        self.sampler = SortaGradBatchSampler(utterance_seconds(data.samples), batch_size, sortagrad, seed=data.seed)
        self.epoch = 0  # complete epochs
        self.batch = 0  # steps done in the epoch under way
        self.tally = self._nothing_yet()
        self.problems: dict[str, Problem] = {}
        keep_freed_memory()

    @staticmethod
    def _nothing_yet() -> dict:
        """What is counted over an epoch, also across interruptions."""
        return {"losses": [], "seconds": 0.0, "audio_seconds": 0.0, "frames": 0, "padding": 0}

    @property
    def step(self) -> int:
        """Steps done since the start."""
        return self.epoch * len(self.sampler) + self.batch

    def run_epoch(self, on_step: Callable[[float, int], None] | None = None) -> EpochReport:
        """Trains one epoch, or what is left of the one under way.

        Args:
            on_step: called after each step with its loss and its utterances.

        Raises:
            CorpusError: when more than 1 % of the utterances turn out to be bad, or a worker process dies.
        """
        self.data.set_epoch(self.epoch)  # joins change lengths
        self.sampler.seconds = np.asarray(self.data.seconds)
        self.sampler.set_epoch(self.epoch)
        tally, start, lr = self.tally, time.perf_counter(), self.lr
        with self._worker_deaths_named():
            for batch, problems in self._batches():
                self._note(problems)
                lr = self._set_learning_rate()
                if batch is not None:
                    with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
                        loss = train_step(self.model, batch.to(self.device), self.optimizer, self.max_norm)
                    tally["losses"].append(loss)
                    tally["audio_seconds"] += float(batch.feature_lengths.sum()) * STRIDE_MS / 1000
                    tally["frames"] += batch.features.shape[0] * batch.features.shape[3]
                    tally["padding"] += int((~sequence_mask(batch.feature_lengths, batch.features.shape[3])).sum())
                tally["seconds"], start = tally["seconds"] + time.perf_counter() - start, time.perf_counter()
                self.batch += 1
                if on_step and batch is not None:
                    on_step(loss, len(batch.texts))
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, self._nothing_yet()
        mean = float(np.mean(tally["losses"])) if tally["losses"] else math.nan
        share = tally["padding"] / max(1, tally["frames"])
        return EpochReport(
            self.epoch, mean, lr, tally["seconds"], tally["audio_seconds"], share, list(self.problems.values())
        )  # fmt: skip

    def try_longest_batch(self) -> None:
        """Forward and backward of silence as long as the longest minibatch: memory runs out now, not late in the first epoch.

        Weights, running averages and random numbers stay as they are.

        Raises:
            CorpusError: if there is not enough memory, with what to change.
        """
        longest, batch_size = max(self.data.seconds, default=0.0), min(self.sampler.batch_size, len(self.data))
        frames = max(1, round(1000 * longest / STRIDE_MS))
        was_training, averages = self.model.training, {name: value.clone() for name, value in self.model.named_buffers()}
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            silence = torch.zeros(batch_size, 1, self.model.n_freq, frames, device=self.device)
            autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)
            with torch.random.fork_rng(devices), autocast:
                log_probs, _ = self.model.train()(silence, torch.full((batch_size,), frames))  # cuDNN: no gradient in eval mode
            log_probs.sum().backward()
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise CorpusError(
                f"not enough memory for {batch_size} utterances of {longest:.1f} s, the longest minibatch: use a smaller "
                "--batch-size, or leave the longest clips out with --max-seconds"
            ) from error
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            self.model.load_state_dict(averages, strict=False)
            self.model.train(was_training)

    def _batches(self) -> Iterator[tuple[SpectrogramBatch | None, list[Problem]]]:
        remaining = list(self.sampler)[self.batch :]
        loader = DataLoader(
            self.data, batch_sampler=remaining, num_workers=self.num_workers, collate_fn=self.data.collate,
            generator=torch.Generator(),  # its own, so that starting an epoch draws nothing from dropout's
        )  # fmt: skip
        self.data.reading = torch.full((self.num_workers,), -1).share_memory_()
        return iter(loader)

    @contextlib.contextmanager
    def _worker_deaths_named(self) -> Iterator[None]:
        """A worker process that dies raises wherever this process happens to be; say what the workers were reading."""
        try:
            yield
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):  # not an exception within a worker, which brings its own traceback
                raise
            at = ", ".join(self.data.name(index) for index in self.data.reading.tolist() if index >= 0)
            raise CorpusError(
                f"a worker process died, out of memory or killed; the workers were at: {at}. "
                "Look at that audio alone, or try --num-workers 0"
            ) from error

    def _set_learning_rate(self) -> float:
        per_epoch = len(self.sampler)
        lr = self.lr * learning_rate_factor(self.schedule, self.step, self.epochs * per_epoch, per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _note(self, problems: list[Problem]) -> None:
        self.problems |= {problem.where: problem for problem in problems}
        stop_if_many(list(self.problems.values()), len(self.data))

    def state_dict(self) -> dict:
        """Everything beside the weights that a resumed run needs to go on as if it had never stopped."""
        return {
            "epoch": self.epoch, "batch": self.batch, "epochs": self.epochs, "lr": self.lr, "schedule": self.schedule,
            "batch_size": self.sampler.batch_size, "seed": self.data.seed, "utterances": len(self.data),
            "optimizer": self.optimizer.state_dict(), "torch_rng": torch.get_rng_state(), "tally": self.tally,
        }  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Takes up a saved state.

        Raises:
            CheckpointError: if the run was made with other data or settings; the message names them.
        """
        mine = self.state_dict()
        names = ("epochs", "lr", "schedule", "batch_size", "seed", "utterances")
        different = [f"{name} was {state.get(name)}, is {mine[name]}" for name in names if state.get(name) != mine[name]]
        if different:
            raise CheckpointError(
                f"can't resume with other settings: {'; '.join(different)}. Give the flags that the run was started with, or "
                "begin a new run from its weights with --checkpoint"
            )
        self.epoch, self.batch, self.tally = state["epoch"], state["batch"], state.get("tally", self._nothing_yet())
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"].cpu())
