"""One training run in its folder: epochs, evaluation on dev, checkpoints, metrics; taken up again where it was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from implementation import CharEncoder, evaluate
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, load_checkpoint, save_checkpoint
from speech.corpora import CorpusError, Problem
from training.loop import EpochReport, Trainer, epoch_metrics
from training.settings import OutputSettings, differences, refuse_to_resume

RUN_FILES = ("checkpoint.pt", "last.pt", "metrics.jsonl", "results.json", "left_out.txt", "decoder.json", "lm.arpa")


def choose_folder(output: OutputSettings) -> Path:
    """Where the run goes; a run that stands there is refused unless it is to be replaced or resumed. Nothing is written yet."""
    if output.resume:
        if Path(output.resume).is_file():
            raise CheckpointError(f"--resume {output.resume} is a file: give the folder of the run, {Path(output.resume).parent}")
        if not (Path(output.resume) / "last.pt").is_file():
            raise CheckpointError(f"--resume {output.resume}: no last.pt there, so no run to take up")
        return Path(output.resume)
    if output.folder is None:
        number = 1
        while Path("runs", f"{number:03d}").exists():
            number += 1
        return Path("runs", f"{number:03d}")
    folder = Path(output.folder)
    if any((folder / name).exists() for name in RUN_FILES) and not output.overwrite:
        raise ValueError(f"{folder} holds a run already: choose another --output-dir, --resume {folder}, or --overwrite")
    lm = output.language_model and output.language_model.file
    if lm and Path(lm).resolve() in [(folder / name).resolve() for name in RUN_FILES]:
        raise ValueError(f"--overwrite would delete {lm}, which --lm wants to read: copy it to another folder first")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder} is a file: choose another folder")
    return folder


def open_folder(folder: Path, output: OutputSettings, left_out: Sequence[Problem]) -> Path:
    """Makes the folder of a run that is ready to start, and clears it of the run that is to be replaced.

    Returns:
        the folder; the next free number where another run, begun meanwhile, has taken this one.
    """
    numbered = output.folder is None and not output.resume
    try:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=not numbered)
                break
            except FileExistsError:
                if not numbered:
                    raise
                folder = folder.with_name(f"{int(folder.name) + 1:03d}")
    except OSError as error:
        raise ValueError(f"{folder}: this folder can't be made ({error.strerror}): choose another --output-dir") from None
    if not output.resume:
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
    if left_out:
        (folder / "left_out.txt").write_text("".join(f"{problem}\n" for problem in left_out), encoding="utf-8")
    return folder


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
        if interrupted:  # worker processes get Ctrl-C too; one that is just starting is gone then
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Parts:
    """What a run is made of.

    Attributes:
        trainer, config, encoder: what is trained, and how it is saved.
        evaluation: sets by name, 'dev' first.
        texts: transcripts of the training utterances, before they are joined.
        left_out: what can't be used of the speech.
        settings: what else a resumed run must have as it was, by the names of the flags.
    """

    trainer: Trainer
    config: ModelConfig
    encoder: CharEncoder
    evaluation: dict[str, Sequence]
    texts: Sequence[str] = ()
    left_out: list[Problem] = field(default_factory=list)
    settings: dict = field(default_factory=dict)


class Run:
    """One training run in its folder: epochs, evaluation on dev, checkpoints, metrics.

    Args:
        parts: what it is made of.
        folder: where all of it goes.
        command: started it, as the pictures say.
    """

    def __init__(self, parts: Parts, folder: Path, command: str) -> None:
        self.parts, self.trainer, self.folder = parts, parts.trainer, folder
        self.caption = f"measured here: {command}"  # of the pictures
        self.best_wer, self.history = float("inf"), []
        self.report: EpochReport | None = None  # of an epoch that is trained and not yet evaluated

    @property
    def metrics_file(self) -> Path:
        """A line for each epoch."""
        return self.folder / "metrics.jsonl"

    def resume(self) -> None:
        """Takes up the state in last.pt; raises ``CheckpointError`` if it was made with other settings."""
        checkpoint = load_checkpoint(self.folder / "last.pt", self.trainer.device)
        self._refuse_another(checkpoint)
        state = checkpoint.training
        self.trainer.load_state_dict(state["trainer"])
        self.trainer.model.load_state_dict(checkpoint.model.state_dict())
        self.best_wer, self.report = state["best_wer"], None
        if report := state.get("report"):
            self.report = EpochReport(**report | {"problems": [Problem(**problem) for problem in report["problems"]]})
        self.history = self._read_history()
        print(f"resumed after {self.trainer.epoch} epochs and {self.trainer.batch} steps")

    def _refuse_another(self, checkpoint: Checkpoint) -> None:
        """Raises ``CheckpointError`` where the checkpoint's run had another model or other settings, or there is no run in it."""
        was, now = (
            config.flat() | {"outputs": encoder.vocab_size}
            for config, encoder in ((checkpoint.config, checkpoint.encoder), (self.parts.config, self.parts.encoder))
        )
        refuse_to_resume("another model", differences(was, now) or self._other_outputs(checkpoint.encoder))
        if "trainer" not in checkpoint.training:
            raise CheckpointError(f"{self.folder / 'last.pt'} holds weights alone, no run to take up: use it with --checkpoint")
        settings = self.parts.settings
        refuse_to_resume("other settings", differences(checkpoint.training.get("settings", settings), settings))

    def _other_outputs(self, encoder: CharEncoder) -> list[str]:
        """In what the outputs of an encoder with as many differ from the run's."""
        units = sorted(set(encoder.alphabet) ^ set(self.parts.encoder.alphabet))
        if units:
            return [f"the outputs differ in {', '.join(map(repr, units[:30]))}"]
        return [] if encoder.alphabet == self.parts.encoder.alphabet else ["the outputs' order differs"]

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
            state |= {"trainer": self.trainer.state_dict(), "settings": self.parts.settings, "report": report}
        save_checkpoint(self.folder / name, self.trainer.model, self.parts.config, self.parts.encoder, state)

    def save_stopped(self) -> None:
        """Writes the state after Ctrl-C, as last.pt, and as checkpoint.pt where no epoch was evaluated yet."""
        self.save("last.pt")
        if not (self.folder / "checkpoint.pt").exists():
            self.save("checkpoint.pt")

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
        result = evaluate(trainer.model, self.parts.evaluation["dev"], self.parts.encoder)
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
