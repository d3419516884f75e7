"""Training that someone watches in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tqdm import tqdm

from pictures.widgets import watched
from training.loop import EpochReport, Trainer


def watched_epochs(trainer: Trainer, name: str = "", losses: list[float] | None = None) -> Iterator[EpochReport]:
    """Trains epoch by epoch and yields a report of each; if someone is watching, a progress bar counts the steps.

    Args:
        name: text at the beginning of the bar.
        losses: a list that gets the loss of each step.
    """
    while trainer.epoch < trainer.epochs:
        label = f"{name} epoch {trainer.epoch + 1}/{trainer.epochs}".strip()
        with tqdm(total=trainer.start_epoch(), desc=label, file=sys.stdout, leave=False, disable=not watched()) as bar:

            def note(loss: float, _utterances: int, bar: tqdm = bar) -> None:
                bar.update()
                bar.set_postfix_str(f"loss {loss:.1f}")
                if losses is not None:
                    losses.append(loss)

            report = trainer.run_epoch(note)
        yield report
