"""One training run in its folder: epochs, evaluation on dev, checkpoints and metrics; it resumes where it was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from implementation import CharEncoder, evaluate, leading_errors, measure_of
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, load_checkpoint, not_finite, save_checkpoint, unwrapped
from models.writing import write_whole
from speech.corpora import Problem
from training.folder import OpenFolder
from training.loop import EpochReport, Trainer, epoch_metrics, metrics_line, read_metrics
from training.parallel import highest, is_first
from training.settings import OutputSettings, differences, refuse_to_resume
from training.stopping import Interrupts, Stopped, interrupts_noted


@dataclass
class Parts:
    """What a run is made of.

    Attributes:
        trainer, config, encoder: the trainer, and what a checkpoint needs besides the weights.
        evaluation: evaluation sets by name, 'dev' first.
        texts: transcripts of the training utterances, before they are joined.
        left_out: utterances that can't be used.
        settings: other settings that must stay the same when the run is resumed, by the names of their flags.
    """

    trainer: Trainer
    config: ModelConfig
    encoder: CharEncoder
    evaluation: dict[str, Sequence]
    texts: Sequence[str] = ()
    left_out: list[Problem] = field(default_factory=list)
    settings: dict = field(default_factory=dict)


class Run:
    """One training run in its folder: epochs, evaluation on dev, checkpoints and metrics.

    Args:
        parts: what the run is made of.
        folder: where its files go; an ``OpenFolder`` stays locked until ``close`` or the end of the process.
        command: the command that started the run, shown in its pictures.
        save_minutes: minutes between two saves of last.pt within an epoch.

    ``with run: ...`` closes it at the end.
    """

    def __init__(
        self, parts: Parts, folder: Path | OpenFolder, command: str, save_minutes: float = OutputSettings.save_minutes
    ) -> None:
        self.opened = folder if isinstance(folder, OpenFolder) else None
        self.parts, self.trainer, self.folder = parts, parts.trainer, self.opened.path if self.opened else Path(folder)
        self.caption = f"measured here: {command}"  # of the pictures
        self.measure = measure_of(parts.encoder)  # by which the best weights are chosen: WER, or CER in languages without spaces
        self.best, self.history = float("inf"), []
        self.save_minutes, self._saved = save_minutes, time.monotonic()  # when last.pt was written
        self.report: EpochReport | None = None  # of an epoch that is trained but not yet evaluated

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the run's worker processes, and lets other runs into the folder."""
        self.trainer.close()
        if self.opened:
            self.opened.close()

    @property
    def metrics_file(self) -> Path:
        """The file with one line per epoch."""
        return self.folder / "metrics.jsonl"

    def resume(self) -> None:
        """Loads the state in last.pt; raises ``CheckpointError`` if it can't be read or was made with other settings."""
        last = self.folder / "last.pt"
        checkpoint = load_checkpoint(last, self.trainer.device)
        try:
            self._take_over(checkpoint)
        except CheckpointError:
            raise
        except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{last}: the training state in it can't be read ({error!r:.200})"
            raise CheckpointError(f"{reason}; start a new run from its weights with --checkpoint {last}") from error
        self.history = self._read_history()
        print(f"{self.folder}: resumed after {self.trainer.epoch} epochs and {self.trainer.batch} steps")

    def _take_over(self, checkpoint: Checkpoint) -> None:
        """Continues with the weights and the training state of a checkpoint."""
        self._refuse_another(checkpoint)
        state = checkpoint.training
        self.trainer.load_state_dict(state["trainer"])
        unwrapped(self.trainer.model).load_state_dict(checkpoint.model.state_dict())
        self.best, self.report = state[f"best_{self.measure.lower()}"], None
        if report := state.get("report"):
            self.report = EpochReport(**report | {"problems": [Problem(**problem) for problem in report["problems"]]})

    def _refuse_another(self, checkpoint: Checkpoint) -> None:
        """Raises ``CheckpointError`` if the checkpoint's run had another model or other settings, or if it holds only weights."""
        if checkpoint.encoder.alphabet != self.parts.encoder.alphabet:
            refuse_to_resume("another alphabet", self._other_outputs(checkpoint.encoder))
        was, now = (
            config.flat() | {"outputs": encoder.vocab_size}
            for config, encoder in ((checkpoint.config, checkpoint.encoder), (self.parts.config, self.parts.encoder))
        )
        refuse_to_resume("another model", differences(was, now))
        if "trainer" not in checkpoint.training:
            raise CheckpointError(f"{self.folder / 'last.pt'} holds only weights, no run to resume: use it with --checkpoint")
        settings = self.parts.settings
        was = {"masks": "words"} | checkpoint.training.get("settings", settings)  # older runs used "words" without saving it
        refuse_to_resume("other settings", differences(was, settings))

    def _other_outputs(self, encoder: CharEncoder) -> list[str]:
        """How the outputs of another encoder differ from the run's."""
        units = sorted(set(encoder.alphabet) ^ set(self.parts.encoder.alphabet))
        if not units:
            return ["the outputs' order differs"]
        sizes = f"there were {encoder.vocab_size} outputs, now there are {self.parts.encoder.vocab_size}; "
        more = f" and {len(units) - 30} others" if len(units) > 30 else ""
        return [f"{sizes}the outputs differ in {', '.join(map(repr, units[:30]))}{more}"]

    def _read_history(self) -> list[dict]:
        """The lines of metrics.jsonl up to the epoch at which the run resumes."""
        try:
            history = read_metrics(self.metrics_file)
        except ValueError:
            raise CheckpointError(f"{self.metrics_file} has a broken line: remove it, then resume") from None
        evaluated = self.trainer.epoch - (self.report is not None)
        return [line for line in history if line["epoch"] <= evaluated]

    def save(self, name: str) -> None:
        """Writes a checkpoint and its error rate on dev (inf: not measured yet); last.pt also holds what a resumed run needs.

        If several processes train together, only the first one writes.

        Raises:
            FloatingPointError: if weights are not finite; the old file stays.
            OSError: if it can't be written; the old file stays.
        """
        if not is_first():
            return
        self._refuse_broken_weights()
        state = {f"best_{self.measure.lower()}": self.best, "epoch": self.trainer.epoch, "epochs": self.trainer.epochs}
        if name == "last.pt":
            report = dataclasses.asdict(self.report) if self.report else None
            state |= {"trainer": self.trainer.state_dict(), "settings": self.parts.settings, "report": report}
        with self._saved_before_is_named():
            save_checkpoint(self.folder / name, self.trainer.model, self.parts.config, self.parts.encoder, state)
        if name == "last.pt":
            self._saved = time.monotonic()

    def _save_if_due(self) -> None:
        """Writes last.pt in the middle of an epoch, but not while steps are skipped, so that it stays the last good one."""
        if time.monotonic() - self._saved >= 60 * self.save_minutes and not self.trainer.skipped_in_a_row:
            self.save("last.pt")

    def _refuse_broken_weights(self) -> None:
        if broken := not_finite(unwrapped(self.trainer.model).state_dict()):
            raise FloatingPointError(f"the weights hold nan or infinity ({broken}); lower the learning rate")

    @contextlib.contextmanager
    def _saved_before_is_named(self) -> Iterator[None]:
        """Adds to a write error which checkpoint is intact and how to resume from it."""
        try:
            yield
        except OSError as error:
            last = self.folder / "last.pt"
            if not last.exists():
                raise
            raise OSError(f"{error}. {last} is intact; once this is fixed, continue with --resume {self.folder}") from error

    def _last_good(self) -> str:
        last, best = (self.folder / name for name in ("last.pt", "checkpoint.pt"))
        if not last.exists():
            return "no checkpoint was saved before"
        also = f"; the best weights on dev are in {best}" if best.exists() else ""
        return f"the last good checkpoint is {last}: start a new run from it with --checkpoint{also}"

    def save_stopped(self) -> str:
        """Writes the state after Ctrl-C to last.pt, and to checkpoint.pt if no epoch has been evaluated yet.

        Returns:
            a message: what was saved, if anything, and how to continue.
        """
        with self:
            if self.trainer.step == 0 or (self.trainer.within_step and not (self.folder / "last.pt").exists()):
                if self.opened:
                    self.opened.give_up()
                return "stopped before the first step was done; nothing was saved"
            if not self.trainer.within_step:
                self.save("last.pt")
                if not (self.folder / "checkpoint.pt").exists():
                    self.save("checkpoint.pt")
        again = f"run the same command with --resume {self.folder}, without --output-dir or --overwrite"
        return f"stopped; the state is in {self.folder}. To continue, {again}"

    def train(self) -> None:
        """Trains the remaining epochs; saves before the first step, every ``save_minutes``, and after each epoch.

        Raises:
            KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP, for ``save_stopped``.
            FloatingPointError: if the training diverges; the message names the last good checkpoint.
        """
        try:
            with interrupts_noted() as interrupted:
                if self.trainer.step == 0:
                    self.save("last.pt")  # from now on a killed process can be resumed
                while self.trainer.epoch < self.trainer.epochs or self.report:
                    self.epoch(interrupted)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; {self._last_good()}") from error

    def epoch(self, interrupted: Interrupts | None = None) -> None:
        """Trains for one epoch, evaluates on dev, and keeps the weights if they are the best so far on dev (arXiv Section 6).

        If several processes train together, the first one evaluates. If one is asked to stop, all of them stop.
        """
        trainer, interrupted = self.trainer, Interrupts() if interrupted is None else interrupted
        title = f"epoch {trainer.epoch + 1}"
        shown = {"desc": title, "unit": "step", "leave": False, "disable": None if is_first() else True}
        with tqdm(total=trainer.start_epoch(), initial=trainer.batch, **shown) as bar:

            def on_step(loss: float, _utterances: int) -> None:
                if math.isnan(loss):
                    bar.write(trainer.tally.skipped[-1])
                _stop_if_asked(interrupted)
                bar.update()
                bar.set_postfix(loss=f"{loss:.1f}")
                self._save_if_due()

            if self.report is None:  # otherwise Ctrl-C came while the epoch was being evaluated
                self.report = trainer.run_epoch(on_step)
        try:
            if is_first():
                self._evaluate(interrupted)
        finally:
            _stop_if_asked(interrupted)  # also after an evaluation that was cut short: the other processes wait here
        self.report = None

    def _evaluate(self, interrupted: Interrupts) -> None:
        """Ends an epoch: evaluates on dev, writes the metrics, and saves the weights."""
        trainer, report = self.trainer, self.report
        with interrupted.ending_at_once():
            result = evaluate(trainer.model, self.parts.evaluation["dev"], self.parts.encoder)
        self.history.append(epoch_metrics(report, result, self.parts.encoder))
        with self._saved_before_is_named():
            write_whole(self.metrics_file, "".join(map(metrics_line, self.history)))
        rate = leading_errors(result, self.parts.encoder).rate
        if rate <= self.best:
            self.best = rate
            self.save("checkpoint.pt")
        self.report = None  # only now: a run stopped earlier evaluates once more and saves the weights
        self.save("last.pt")
        print(self._line(report, result), flush=True)
        for problem in report.problems:
            print(f"  left out: {problem}")

    def _line(self, report: EpochReport, result: dict) -> str:
        counts = {"WER": result["words"], "CER": result["characters"]}
        counts = counts if self.measure == "WER" else {"CER": result["characters"]}
        rates = (f"{kind} {100 * c.rate:6.2f} % ({c.errors}/{c.reference_length})  " for kind, c in counts.items())
        skipped = f"  {report.skipped_steps} steps skipped" if report.skipped_steps else ""
        return (
            f"epoch {report.epoch:3d}/{self.trainer.epochs}  loss {report.loss:6.2f}  dev: loss {result['loss']:6.2f}  "
            f"{''.join(rates)}blank {100 * result['blank_share']:.0f} %  "
            f"{report.audio_seconds / report.seconds:.0f} s audio/s  {report.seconds:.0f} s{skipped}"
        )


def _stop_if_asked(interrupted: Interrupts) -> None:
    """Raises ``Stopped`` at the same step in all processes that train together, once one of them is asked to stop."""
    if number := highest(interrupted[0] if interrupted else 0):
        raise Stopped(number)
