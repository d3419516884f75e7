"""The loop over epochs, with a state that can be saved and resumed at any step."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import math
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from implementation import (
    CharEncoder,
    DeepSpeech2,
    Features,
    SortaGradBatchSampler,
    SpectrogramBatch,
    is_spaced,
    leading_errors,
    sequence_mask,
    shared_batch,
    train_step,
    utterance_seconds,
)
from speech.corpora import CorpusError, Problem
from speech.preflight import stop_if_many
from training.batches import BudgetBatchSampler, largest_batch
from training.data import TrainingSet
from training.machine import choose_precision, give_back_freed_memory, keep_few_kernels, keep_freed_memory
from training.optimisation import make_optimizer, make_scheduler
from training.parallel import agreed, count, in_parallel, rank, seed_step, shares, summed
from training.settings import TrainingSettings, differences, refuse_to_resume
from training.stopping import workers_survive

MOST_SKIPPED_IN_A_ROW = 20  # steps without a finite loss and gradient; more mean that the training has diverged [ours]
MOST_NAMED = 20  # utterances of such a step
GIVE_BACK_EVERY = 50  # steps; requesting the memory again costs part of one step's time [ours]


@dataclass
class EpochReport:
    """Results of a training epoch: mean loss per utterance (nats), seconds of time and of audio, problems and skipped steps."""

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    audio_seconds: float
    padding_share: float
    problems: list[Problem]
    skipped_steps: int = 0


def error_rates(result: dict, encoder: CharEncoder | None = None) -> dict:
    """The rates from ``evaluate`` as saved in files, with the counts of the leading rate; no WER in languages without spaces."""
    encoder = encoder or CharEncoder()
    unit = "word" if is_spaced(encoder) else "character"
    errors = leading_errors(result, encoder)
    rates = {"wer": result["wer"], "cer": result["cer"]} if is_spaced(encoder) else {"cer": result["cer"]}
    return rates | {f"{unit}_errors": errors.errors, f"{unit}s": errors.reference_length}


def epoch_metrics(report: EpochReport, result: dict, encoder: CharEncoder | None = None) -> dict:
    """A line of metrics.jsonl: an epoch's report, and the result of ``evaluate`` on dev; the default encoder is English."""
    return {
        "epoch": report.epoch, "loss": report.loss, "dev_loss": result["loss"],
        **{f"dev_{name}": value for name, value in error_rates(result, encoder).items()},
        "blank_share": result["blank_share"], "learning_rate": report.learning_rate, "seconds": report.seconds,
        "audio_seconds": report.audio_seconds, "padding_share": report.padding_share, "skipped_steps": report.skipped_steps,
    }  # fmt: skip


def metrics_line(metrics: dict) -> str:
    """The line as it is written; nan (if no dev utterance fits its frames) becomes null, as JSON requires."""
    return json.dumps({name: value if math.isfinite(value) else None for name, value in metrics.items()}) + "\n"


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics.jsonl, none if there is no file; null is read as nan.

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
        raise ValueError(f"{path} has a line that does not describe an epoch: remove it")
    return found


@dataclass
class Tally:
    """Counts for an epoch, kept across interruptions: the losses of the steps, seconds of time and of audio, and frames."""

    losses: list[float] = field(default_factory=list)
    utterances: list[int] = field(default_factory=list)  # of each step
    seconds: float = 0.0
    audio_seconds: float = 0.0
    frames: int = 0
    padding: int = 0
    learning_rate: float = 0.0  # of the last step
    skipped: list[str] = field(default_factory=list)  # a sentence for each step that was skipped

    def add(self, loss: float, batch: SpectrogramBatch, features: Features, shared: bool = False) -> None:
        """Counts a step; if the minibatch is shared, all processes' shares of it."""
        speech, frames = int(batch.feature_lengths.sum()), batch.features.shape[0] * batch.features.shape[3]
        padding = int((~sequence_mask(batch.feature_lengths, batch.features.shape[3])).sum())
        utterances = len(batch.texts)
        if shared:
            speech, frames, padding, utterances = summed(speech, frames, padding, utterances)
        self.losses.append(loss)
        self.utterances.append(utterances)
        self.audio_seconds += speech * features.hop / features.sample_rate
        self.frames += frames
        self.padding += padding

    @property
    def loss(self) -> float:
        """Mean loss over the utterances; nan if there were none."""
        return float(np.average(self.losses, weights=self.utterances)) if self.losses else math.nan


class RemainingBatches(Sampler[list[int]]):
    """The current epoch's minibatches after the first ``done``, so that one ``DataLoader`` serves all epochs.

    If several processes train, it gives this process's share of each minibatch.
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


def _sampler(data: TrainingSet, settings: TrainingSettings) -> SortaGradBatchSampler:
    seconds, order = utterance_seconds(data.samples), {"sortagrad": settings.sortagrad, "seed": data.seed}
    if settings.batch_seconds:
        return BudgetBatchSampler(seconds, settings.batch_seconds, **order)
    return SortaGradBatchSampler(seconds, settings.batch_size, **order)


def _close(trainer: weakref.ref[Trainer]) -> None:
    if there := trainer():
        there.close()


class Trainer:
    """Trains a model epoch by epoch; its state can be saved and resumed at any step.

    Args:
        model, data: the model, and what it is trained on; the order of the utterances follows the seed of ``data``.
        settings: how to train; ``device``, ``threads``, ``seed`` and ``checkpoint`` are used where model and data are made.
    """

    def __init__(self, model: DeepSpeech2, data: TrainingSet, settings: TrainingSettings) -> None:
        self.model, self.data, self.settings = model, data, settings
        self._parallel = in_parallel(model)  # the same weights
        self.device = next(model.parameters()).device
        self.precision = choose_precision(settings.precision, self.device)  # of matrix products
        self.optimizer = make_optimizer(settings.optimizer, model, settings.lr)
        self.sampler = _sampler(data, settings)
        self.epoch = 0  # complete epochs
        self.batch = 0  # steps done in the current epoch
        self.step = 0  # steps done since the start
        self.within_step = False  # whether weights, schedule and counts may be at odds
        self.skipped_in_a_row = 0  # steps, up to now
        self._per_epoch = len(self.sampler)  # by the original lengths; augmented ones may give a few more or fewer
        self.start_epoch()
        self.scheduler = self._scheduler()
        self.tally = Tally()
        self.problems: dict[str, Problem] = {}
        self._remaining = RemainingBatches(self.sampler)
        if settings.num_workers:
            data.share_with(settings.num_workers)
            atexit.register(_close, weakref.ref(self))
        self._loader = DataLoader(
            data, batch_sampler=self._remaining, num_workers=settings.num_workers, collate_fn=data.collate,
            persistent_workers=settings.num_workers > 0,  # so that what they cached is kept
            worker_init_fn=workers_survive,
            generator=torch.Generator(),  # its own, so that starting an epoch draws nothing from dropout's
        )  # fmt: skip
        keep_freed_memory()
        keep_few_kernels()

    def close(self) -> None:
        """Ends the worker processes; also called at the program's end, which would wait for them because they ignore signals."""
        self._loader = None

    @property
    def epochs(self) -> int:
        """How many epochs there will be in all."""
        return self.settings.epochs

    def start_epoch(self) -> int:
        """Sets data and order to the current epoch (augmentation and joins change the lengths); returns its number of steps."""
        self.data.set_epoch(self.epoch)
        self.sampler.seconds = np.asarray(self.data.seconds)
        self.sampler.set_epoch(self.epoch)
        self._steps = len(self.sampler)
        return self._steps

    def _scheduler(self) -> torch.optim.lr_scheduler.LambdaLR:
        total, settings = self.settings.epochs * self._per_epoch, self.settings
        place = weakref.WeakMethod(self._place)  # a schedule that held the trainer would hold its worker processes too
        return make_scheduler(
            self.optimizer, settings.schedule, settings.lr, total, self._per_epoch, self.step, settings.warmup,
            lambda step: place()(step),
        )  # fmt: skip

    def _place(self, step: int) -> float:
        """Where a step of the current epoch stands in the schedule, in which all epochs have the same number of steps.

        Epochs may differ in their number of steps, and later numbers are unknown, so each epoch gets the same share of it.
        """
        done = step - (self.step - self.batch)  # in this epoch
        return self.epoch * self._per_epoch + done * self._per_epoch / max(1, self._steps)

    def run_epoch(self, on_step: Callable[[float, int], None] | None = None) -> EpochReport:
        """Trains one epoch, or the rest of the current one.

        Args:
            on_step: called after each step with its loss (nan: skipped, see ``Tally.skipped``) and its number of utterances.

        Raises:
            CorpusError: if more than 1 % of the utterances turn out to be bad, or a worker process dies.
            FloatingPointError: if 20 steps in a row are skipped because loss or gradient is not finite.
        """
        tally, start = self.tally, time.perf_counter()
        with self._worker_deaths_named():
            for batch, problems in self._batches():
                batch, problems, shared = agreed(batch, problems, self.data.encoder)
                self._note(problems)
                self.within_step = True
                tally.learning_rate = self.scheduler.get_last_lr()[0]
                loss = None if batch is None else self._train_step(batch, shared)
                self._advance_schedule(stepped=loss is not None and math.isfinite(loss))
                tally.seconds, start = tally.seconds + time.perf_counter() - start, time.perf_counter()
                self.batch, self.step = self.batch + 1, self.step + 1
                self.within_step = False
                if self.step % GIVE_BACK_EVERY == 0:
                    give_back_freed_memory()
                if on_step and batch is not None:
                    on_step(loss, len(batch.texts))
                self._stop_if_diverged()
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
        give_back_freed_memory()
        share = tally.padding / max(1, tally.frames)
        problems = list(self.problems.values())
        counted = (tally.learning_rate, tally.seconds, tally.audio_seconds, share, problems, len(tally.skipped))
        return EpochReport(self.epoch, tally.loss, *counted)

    def _batches(self) -> Iterator[tuple[SpectrogramBatch | None, list[Problem]]]:
        self.start_epoch()
        self._remaining.done = self.batch
        self.data.reading.fill_(-1)
        return iter(self._loader)

    def _train_step(self, batch: SpectrogramBatch, shared: bool) -> float:
        """Takes a step and returns its loss; nan if loss or gradient is not finite: then it is skipped, and nothing changes.

        Loss and gradient are those of all processes together, so all of them skip the same step.
        """
        seed_step(self.data.seed, self.step, shared)
        try:
            with self._autocast(), shared_batch() if shared else contextlib.nullcontext():
                loss = train_step(self._parallel, batch.to(self.device), self.optimizer)
        except FloatingPointError as error:
            self._note_skipped(str(error).split(" for [")[0])
            return math.nan
        self.skipped_in_a_row = 0
        self.tally.add(loss, batch, self.data.features, shared)
        return loss

    def _note_skipped(self, reason: str) -> None:
        """Names the utterances of the whole minibatch, including the other processes' shares."""
        utterances = list(self.sampler)[self.batch]
        names = ", ".join(self.data.name(index) for index in utterances[:MOST_NAMED])
        more = f" and {len(utterances) - MOST_NAMED} more" if len(utterances) > MOST_NAMED else ""
        self.tally.skipped.append(f"step {self.step + 1} skipped, {reason}: {names}{more}")
        self.skipped_in_a_row += 1

    def _stop_if_diverged(self) -> None:
        if self.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{self.skipped_in_a_row} steps in a row had a loss or gradient that is not finite: {self.tally.skipped[-1]}; "
                "the training diverged: lower the learning rate"
            )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)

    def _advance_schedule(self, stepped: bool) -> None:
        """Also counts minibatches whose clips were all left out; torch would warn that the optimiser took no step."""
        if stepped:
            self.scheduler.step()
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.scheduler.step()

    def try_longest_batch(self) -> None:
        """Runs both passes over silence the size of the longest minibatch, so that memory runs out now, not late in the epoch.

        Weights, running averages and random numbers stay as they are.

        Raises:
            CorpusError: if there is not enough memory; the message says what to change.
        """
        batch_size, longest = largest_batch(self.sampler)
        batch_size = -(-batch_size // count())  # in each process
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
            flag = "--batch-seconds" if self.settings.batch_seconds else "--batch-size"
            raise CorpusError(
                f"not enough memory for {batch_size} utterances of {longest:.1f} s, the longest minibatch: use a smaller {flag}, "
                "or leave out the longest clips with --max-seconds"
            ) from error
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            self.model.load_state_dict(averages, strict=False)
            self.model.train(was_training)

    @contextlib.contextmanager
    def _worker_deaths_named(self) -> Iterator[None]:
        """Adds what the workers were reading to the error if a worker process dies, which can happen at any point here."""
        try:
            yield
        except (RuntimeError, ConnectionError, EOFError) as error:
            broken = isinstance(error, ConnectionError | EOFError)  # it died while its minibatch was on the way
            if not broken and "DataLoader worker (pid" not in str(error):  # an exception inside a worker has its own traceback
                raise
            with contextlib.suppress(RuntimeError):  # the system reports it a moment later, and that raises too
                time.sleep(1.0 if broken else 0.0)
            at = ", ".join(self.data.name(index) for index in self.data.reading.tolist() if index >= 0)
            raise CorpusError(
                f"a worker process ran out of memory or was killed; the workers were reading: {at}. "
                "Check that audio by itself, or try --num-workers 0"
            ) from error

    def _note(self, problems: list[Problem]) -> None:
        self.problems |= {problem.where: problem for problem in problems}
        stop_if_many(list(self.problems.values()), len(self.data))

    def _settings(self) -> dict:
        """Settings that must stay the same when a run is resumed."""
        names = ("epochs", "lr", "schedule", "batch_size", "batch_seconds")
        return {name: getattr(self.settings, name) for name in names} | {"seed": self.data.seed, "utterances": len(self.data)}

    def state_dict(self) -> dict:
        """Everything besides the weights that a resumed run needs to continue as if it had never stopped."""
        on_cuda = self.device.type == "cuda"
        return self._settings() | {
            "epoch": self.epoch, "batch": self.batch, "step": self.step, "skipped_in_a_row": self.skipped_in_a_row,
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state(self.device) if on_cuda else None,
            "tally": dataclasses.asdict(self.tally), "problems": [dataclasses.asdict(p) for p in self.problems.values()],
        }  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Loads a saved state, even from an older version that saved less.

        Raises:
            CheckpointError: if the run was made with other data or settings; the message names them.
        """
        refuse_to_resume("other settings", differences(state, self._settings()))
        self.epoch, self.batch, self.tally = state["epoch"], state["batch"], Tally(**state.get("tally", {}))
        self.skipped_in_a_row = state.get("skipped_in_a_row", 0)
        self.start_epoch()
        self.step = state.get("step", self.epoch * self._per_epoch + self.batch)
        tally = self.tally
        tally.utterances += [self.settings.batch_size] * (len(tally.losses) - len(tally.utterances))  # older versions saved none
        self.problems = {problem["where"]: Problem(**problem) for problem in state.get("problems", ())}
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler = self._scheduler()
        torch.set_rng_state(state["torch_rng"].cpu())
        if self.device.type == "cuda" and state.get("cuda_rng") is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)
