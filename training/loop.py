"""The loop over epochs: state that can be saved at any step and taken up again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from implementation import DeepSpeech2, SortaGradBatchSampler, SpectrogramBatch, sequence_mask, train_step, utterance_seconds
from models.checkpoints import CheckpointError
from speech.corpora import CorpusError, Problem
from speech.preflight import stop_if_many
from training.data import TrainingSet
from training.machine import keep_freed_memory
from training.optimisation import learning_rate_factor, make_optimizer

STRIDE_MS = 10.0


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
