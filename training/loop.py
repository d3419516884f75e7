"""The loop over epochs: state that can be saved at any step and taken up again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from implementation import (
    DeepSpeech2,
    Features,
    SortaGradBatchSampler,
    SpectrogramBatch,
    sequence_mask,
    shared_batch,
    train_step,
    utterance_seconds,
)
from speech.corpora import CorpusError, Problem
from speech.preflight import stop_if_many
from training.data import TrainingSet
from training.machine import choose_precision, give_back_freed_memory, keep_freed_memory
from training.optimisation import make_optimizer, make_scheduler
from training.parallel import agreed, count, in_parallel, rank, seed_step, shares, summed
from training.settings import TrainingSettings, differences, refuse_to_resume
from training.stopping import workers_survive


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


def metrics_line(metrics: dict) -> str:
    """The line as it is written; what is not a number (dev has no utterance that fits its frames) is null, as JSON wants it."""
    return json.dumps({name: value if math.isfinite(value) else None for name, value in metrics.items()}) + "\n"


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics.jsonl, none where there is no file; null is read as nan.

    Raises:
        ValueError: if a line is broken.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        found = [{name: math.nan if value is None else value for name, value in json.loads(line).items()} for line in lines]
        broken = not all(isinstance(line["epoch"], int) for line in found)
    except (ValueError, AttributeError, KeyError, RecursionError):
        broken = True
    if broken:
        raise ValueError(f"{path} has a line that is no epoch's: take it out")
    return found


@dataclass
class Tally:
    """What is counted over an epoch, also across interruptions: losses of the steps, seconds of time and of audio, frames."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    audio_seconds: float = 0.0
    frames: int = 0
    padding: int = 0
    learning_rate: float = 0.0  # of the last step

    def add(self, loss: float, batch: SpectrogramBatch, features: Features, shared: bool = False) -> None:
        """Counts a step, of a shared minibatch with the shares of all processes."""
        speech, frames = int(batch.feature_lengths.sum()), batch.features.shape[0] * batch.features.shape[3]
        padding = int((~sequence_mask(batch.feature_lengths, batch.features.shape[3])).sum())
        if shared:
            speech, frames, padding = summed(speech, frames, padding)
        self.losses.append(loss)
        self.audio_seconds += speech * features.hop / features.sample_rate
        self.frames += frames
        self.padding += padding


class RemainingBatches(Sampler[list[int]]):
    """Minibatches of the epoch under way that come after the first ``done``; for one ``DataLoader`` over all epochs.

    Where several processes train, this one's shares of them.
    """

    def __init__(self, sampler: SortaGradBatchSampler) -> None:
        self.sampler, self.done = sampler, 0

    def __len__(self) -> int:
        return len(self.sampler) - self.done

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self.sampler)[self.done :]
        if count() == 1:
            return iter(batches)
        return (shares(batch, self.sampler.seconds, count())[rank()] for batch in batches)


class Trainer:
    """Trains a model epoch by epoch; its state can be saved at any step and taken up again.

    Args:
        model, data: what to train, on what; the order of the utterances follows the seed of ``data``.
        settings: how; ``device``, ``threads``, ``seed`` and ``checkpoint`` are for those who make model and data.
    """

    def __init__(self, model: DeepSpeech2, data: TrainingSet, settings: TrainingSettings) -> None:
        self.model, self.data, self.settings = model, data, settings
        self._parallel = in_parallel(model)  # the same weights
        self.device = next(model.parameters()).device
        self.precision = choose_precision(settings.precision, self.device)  # of the products
        self.optimizer = make_optimizer(settings.optimizer, model, settings.lr)
        self.sampler = SortaGradBatchSampler(
            utterance_seconds(data.samples), settings.batch_size, settings.sortagrad, seed=data.seed
        )
        self.epoch = 0  # complete epochs
        self.batch = 0  # steps done in the epoch under way
        self.within_step = False  # whether weights, schedule and counts may be at odds
        self.scheduler = self._scheduler()
        self.tally = Tally()
        self.problems: dict[str, Problem] = {}
        self._remaining = RemainingBatches(self.sampler)
        if settings.num_workers:
            data.share_with(settings.num_workers)
        self._loader = DataLoader(
            data, batch_sampler=self._remaining, num_workers=settings.num_workers, collate_fn=data.collate,
            persistent_workers=settings.num_workers > 0,  # what they cached is kept
            worker_init_fn=workers_survive,
            generator=torch.Generator(),  # its own, so that starting an epoch draws nothing from dropout's
        )  # fmt: skip
        keep_freed_memory()

    @property
    def epochs(self) -> int:
        """How many there will be in all."""
        return self.settings.epochs

    @property
    def step(self) -> int:
        """Steps done since the start."""
        return self.epoch * len(self.sampler) + self.batch

    def _scheduler(self) -> torch.optim.lr_scheduler.LambdaLR:
        per_epoch, settings = len(self.sampler), self.settings
        return make_scheduler(
            self.optimizer, settings.schedule, settings.lr, settings.epochs * per_epoch, per_epoch, self.step, settings.warmup
        )  # fmt: skip

    def run_epoch(self, on_step: Callable[[float, int], None] | None = None) -> EpochReport:
        """Trains one epoch, or what is left of the one under way.

        Args:
            on_step: called after each step with its loss and its utterances.

        Raises:
            CorpusError: when more than 1 % of the utterances turn out to be bad, or a worker process dies.
            FloatingPointError: when features, loss or gradient are not finite.
        """
        tally, start = self.tally, time.perf_counter()
        with self._worker_deaths_named():
            for batch, problems in self._batches():
                batch, problems, shared = agreed(batch, problems, self.data.encoder)
                self._note(problems)
                self.within_step = True
                tally.learning_rate = self.scheduler.get_last_lr()[0]
                loss = None if batch is None else self._train_step(batch, shared)
                self._advance_schedule(stepped=batch is not None)
                tally.seconds, start = tally.seconds + time.perf_counter() - start, time.perf_counter()
                self.batch += 1
                self.within_step = False
                if on_step and batch is not None:
                    on_step(loss, len(batch.texts))
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
        give_back_freed_memory()
        mean = float(np.mean(tally.losses)) if tally.losses else math.nan
        share = tally.padding / max(1, tally.frames)
        problems = list(self.problems.values())
        return EpochReport(self.epoch, mean, tally.learning_rate, tally.seconds, tally.audio_seconds, share, problems)

    def _batches(self) -> Iterator[tuple[SpectrogramBatch | None, list[Problem]]]:
        self.data.set_epoch(self.epoch)  # joins change lengths
        self.sampler.seconds = np.asarray(self.data.seconds)
        self.sampler.set_epoch(self.epoch)
        self._remaining.done = self.batch
        self.data.reading.fill_(-1)
        return iter(self._loader)

    def _train_step(self, batch: SpectrogramBatch, shared: bool) -> float:
        seed_step(self.data.seed, self.step, shared)
        with self._autocast(), shared_batch() if shared else contextlib.nullcontext():
            loss = train_step(self._parallel, batch.to(self.device), self.optimizer)
        self.tally.add(loss, batch, self.data.features, shared)
        return loss

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)

    def _advance_schedule(self, stepped: bool) -> None:
        """A minibatch of which every clip was left out counts too; torch would warn that the optimiser made no step."""
        if stepped:
            self.scheduler.step()
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.scheduler.step()

    def try_longest_batch(self) -> None:
        """Forward and backward of silence as long as the longest minibatch: memory runs out now, not late in the first epoch.

        Weights, running averages and random numbers stay as they are.

        Raises:
            CorpusError: if there is not enough memory, with what to change.
        """
        longest, batch_size = max(self.data.seconds, default=0.0), min(self.sampler.batch_size, len(self.data))
        batch_size = -(-batch_size // count())  # of each process
        frames = max(1, round(longest / self.data.features.seconds_per_frame))
        was_training, averages = self.model.training, {name: value.clone() for name, value in self.model.named_buffers()}
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            silence = torch.zeros(batch_size, 1, self.model.n_freq, frames, device=self.device)
            with torch.random.fork_rng(devices), self._autocast():
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

    @contextlib.contextmanager
    def _worker_deaths_named(self) -> Iterator[None]:
        """A worker process that dies raises wherever this process happens to be; say what the workers were reading."""
        try:
            yield
        except (RuntimeError, ConnectionError, EOFError) as error:
            broken = isinstance(error, ConnectionError | EOFError)  # it died while its minibatch was on the way
            if not broken and "DataLoader worker (pid" not in str(error):  # an exception within a worker has its own traceback
                raise
            with contextlib.suppress(RuntimeError):  # the system's word of it comes a moment later, and raises, too
                time.sleep(1.0 if broken else 0.0)
            at = ", ".join(self.data.name(index) for index in self.data.reading.tolist() if index >= 0)
            raise CorpusError(
                f"a worker process died, out of memory or killed; the workers were at: {at}. "
                "Look at that audio alone, or try --num-workers 0"
            ) from error

    def _note(self, problems: list[Problem]) -> None:
        self.problems |= {problem.where: problem for problem in problems}
        stop_if_many(list(self.problems.values()), len(self.data))

    def _settings(self) -> dict:
        """What a resumed run must have as it was."""
        names = ("epochs", "lr", "schedule", "batch_size")
        return {name: getattr(self.settings, name) for name in names} | {"seed": self.data.seed, "utterances": len(self.data)}

    def state_dict(self) -> dict:
        """Everything beside the weights that a resumed run needs to go on as if it had never stopped."""
        on_cuda = self.device.type == "cuda"
        return self._settings() | {
            "epoch": self.epoch, "batch": self.batch, "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state(self.device) if on_cuda else None,
            "tally": dataclasses.asdict(self.tally), "problems": [dataclasses.asdict(p) for p in self.problems.values()],
        }  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Takes up a saved state, also of a version that kept less of it.

        Raises:
            CheckpointError: if the run was made with other data or settings; the message names them.
        """
        refuse_to_resume("other settings", differences(state, self._settings()))
        self.epoch, self.batch, self.tally = state["epoch"], state["batch"], Tally(**state.get("tally", {}))
        self.problems = {problem["where"]: Problem(**problem) for problem in state.get("problems", ())}
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler = self._scheduler()
        torch.set_rng_state(state["torch_rng"].cpu())
        if self.device.type == "cuda" and state.get("cuda_rng") is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)
