"""One training run in its folder: epochs, evaluation on dev, checkpoints, metrics; taken up again where it was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from implementation import CharEncoder, evaluate
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint, save_checkpoint
from speech.corpora import CorpusError, Problem
from training.loop import EpochReport, Trainer, epoch_metrics


@contextlib.contextmanager
def interrupts_noted() -> Iterator[list]:
    """Ctrl-C only fills the list, for the loop to end where nothing is half done; a second one ends it at once."""
    interrupted = []

    def note(_signal: int, _frame: object) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(True)
        os.write(2, b"\nstopping after this step, or after the evaluation under way; Ctrl-C again stops at once\n")

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield interrupted  # somebody else's handler stays
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    except CorpusError:
        if interrupted:  # worker processes get Ctrl-C too, and are gone then
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Run:
    """One training run in its folder: epochs, evaluation on dev, checkpoints, metrics."""

    def __init__(
        self, trainer: Trainer, config: ModelConfig, encoder: CharEncoder, dev: Sequence, folder: Path, command: str,
        settings: dict | None = None,
    ) -> None:  # fmt: skip
        self.trainer, self.config, self.encoder, self.dev, self.folder = trainer, config, encoder, dev, folder
        self.caption = f"measured here: {command}"  # of the pictures
        self.best_wer, self.history, self.settings = float("inf"), [], settings or {}
        self.report: EpochReport | None = None  # of an epoch that is trained and not yet evaluated
        self.metrics_file = folder / "metrics.jsonl"

    def resume(self) -> None:
        """Takes up the state in last.pt; raises ``CheckpointError`` if its model was made with other settings."""
        checkpoint = load_checkpoint(self.folder / "last.pt", self.trainer.device)
        was, now = (
            dataclasses.asdict(config) | {"outputs": encoder.vocab_size}
            for config, encoder in ((checkpoint.config, checkpoint.encoder), (self.config, self.encoder))
        )
        different = [f"{name} was {was[name]}, is {now[name]}" for name in now if was[name] != now[name]]
        if not different and checkpoint.encoder.alphabet != self.encoder.alphabet:
            units = sorted(set(checkpoint.encoder.alphabet) ^ set(self.encoder.alphabet))
            different = [f"the outputs differ in {', '.join(map(repr, units[:30]))}" if units else "the outputs' order differs"]
        if different:
            what = "; ".join(different)
            raise CheckpointError(f"can't resume with another model: {what}. Give the flags that the run was started with")
        state = checkpoint.training
        if "trainer" not in state:
            raise CheckpointError(f"{self.folder / 'last.pt'} holds weights alone, no run to take up: use it with --checkpoint")
        was = state.get("settings", self.settings)
        different = [f"{name} was {was.get(name)}, is {now}" for name, now in self.settings.items() if was.get(name) != now]
        if different:
            what = "; ".join(different)
            raise CheckpointError(f"can't resume with other settings: {what}. Give the flags that the run was started with")
        self.trainer.model.load_state_dict(checkpoint.model.state_dict())
        self.trainer.load_state_dict(state["trainer"])
        self.best_wer, self.report = state["best_wer"], None
        if report := state.get("report"):
            self.report = EpochReport(**report | {"problems": [Problem(**problem) for problem in report["problems"]]})
        self.history = self._read_history()
        print(f"resumed after {self.trainer.epoch} epochs and {self.trainer.batch} steps")

    def _read_history(self) -> list[dict]:
        """The lines of metrics.jsonl up to the epoch that is resumed at."""
        lines = self.metrics_file.read_text(encoding="utf-8").splitlines() if self.metrics_file.exists() else []
        try:
            history = [json.loads(line) for line in lines]
        except ValueError:
            raise CheckpointError(f"{self.metrics_file} has a broken line: take it out, then resume") from None
        evaluated = self.trainer.epoch - (self.report is not None)
        return [line for line in history if line["epoch"] <= evaluated]

    def save(self, name: str) -> None:
        """Writes a checkpoint and how well it did on dev (inf: it was not tried); last.pt also holds what a resumed run needs."""
        state = {"best_wer": self.best_wer, "epoch": self.trainer.epoch, "epochs": self.trainer.epochs}
        if name == "last.pt":
            report = dataclasses.asdict(self.report) if self.report else None
            state |= {"trainer": self.trainer.state_dict(), "settings": self.settings, "report": report}
        save_checkpoint(self.folder / name, self.trainer.model, self.config, self.encoder, state)

    def train(self) -> None:
        """Trains all epochs that are left; raises ``KeyboardInterrupt`` after Ctrl-C, in a state that can be saved."""
        with interrupts_noted() as interrupted:
            while self.trainer.epoch < self.trainer.epochs or self.report:
                self.epoch(interrupted)
                if interrupted:
                    raise KeyboardInterrupt

    def epoch(self, interrupted: Sequence = ()) -> None:
        """Trains an epoch, evaluates on dev, keeps the weights if they are the best there (arXiv Section 6)."""
        trainer = self.trainer
        title = f"epoch {trainer.epoch + 1}"
        with tqdm(total=len(trainer.sampler), initial=trainer.batch, desc=title, unit="step", leave=False, disable=None) as bar:

            def on_step(loss: float, _utterances: int) -> None:
                bar.update()
                bar.set_postfix(loss=f"{loss:.1f}")
                if interrupted:
                    raise KeyboardInterrupt

            if self.report is None:  # else Ctrl-C came while the epoch was evaluated
                self.report = trainer.run_epoch(on_step)
        report = self.report
        result = evaluate(trainer.model, self.dev, self.encoder)
        self.history.append(epoch_metrics(report, result))
        self.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in self.history), encoding="utf-8")
        self.report = None
        if result["wer"] <= self.best_wer:
            self.best_wer = result["wer"]
            self.save("checkpoint.pt")
        self.save("last.pt")
        print(self._line(report, result), flush=True)
        for problem in report.problems:
            print(f"  left out: {problem}")

    def _line(self, report: EpochReport, result: dict) -> str:
        words, characters = (
            f"{100 * c.rate:6.2f} % ({c.errors}/{c.reference_length})" for c in (result["words"], result["characters"])
        )
        return (
            f"epoch {report.epoch:3d}/{self.trainer.epochs}  loss {report.loss:6.2f}  dev: loss {result['loss']:6.2f}  "
            f"WER {words}  CER {characters}  blank {100 * result['blank_share']:.0f} %  "
            f"{report.audio_seconds / report.seconds:.0f} s audio/s  {report.seconds:.0f} s"
        )
