"""Settings of a run, besides the model's own (``models.checkpoints.ModelConfig``). All defaults are here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.checkpoints import CheckpointError

# What train_minimal.py uses instead of the defaults unless a flag says otherwise [ours, chosen on dev].
SYNTHETIC_STRIDES, RECORDING_STRIDES = (2, 2, 1), (3, 1, 1)  # in time, one per convolution; Table 4: 2,1,1
RECORDING_EPOCHS, RECORDING_LR = 16, 2e-3
DS1_HIDDEN, DS1_DROPOUT, DS1_LR = 512, 0.05, 1e-3  # of --model ds1; Deep Speech 1: 2048 units, dropout 0.05 to 0.1
LOG_MEL_WINDOW_MS = 25.0  # as in ``compute_log_mel``


@dataclass(frozen=True)
class SpeechSettings:
    """The speech to train and test on, and how its transcripts are written.

    Attributes:
        data: a corpus, see ``speech.corpora``; None: the built-in synthetic voice.
        train, test: names of splits to train and to test on; none: all whose names begin with 'train' or 'test'.
        dev: split to choose the best weights on; None: the only dev split, or the one named 'dev'.
        join: each training example joins between 1 and this many utterances of one speaker.
        n_train: number of utterances to train on; None: 400 synthetic ones, or all of ``data``.
        n_val: number of utterances to validate on; None: 100 synthetic ones, or all of ``data`` up to 500.
        max_seconds: longer training recordings are left out; None: no limit.
        unknown: what to do with characters outside the alphabet: 'error' or 'drop'.
        augment: whether training speech is changed in a new way each epoch (arXiv 5.2 adds noise).
        masks: how much of each recording augmentation hides: 'words': a little; 'sentences': more; 'none': nothing; see
            ``speech.augmentation``.
        bigrams: whether pairs of letters are outputs too (arXiv 3.6).
        sample_rate: in Hz; the features use it too. None: 16000; for recordings their own rate up to 8000 (up to 16000 with 256
            or more Fourier points), so that bins are 62.5 Hz apart [ours].
        alphabet: 'english', 'mandarin', 'corpus' or a file, see ``speech.alphabets.choose_encoder``.
        transcript_column: column of a manifest that holds the transcripts; None: it is found by its name.
    """

    data: str | Path | None = None
    train: tuple[str, ...] = ()
    dev: str | None = None
    test: tuple[str, ...] = ()
    join: int = 1
    n_train: int | None = None
    n_val: int | None = None
    max_seconds: float | None = None
    unknown: str = "error"
    augment: bool = True
    masks: str = "words"
    bigrams: bool = False
    sample_rate: int | None = None
    alphabet: str | Path = "english"
    transcript_column: str | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained; the defaults are ours, for the synthetic voice.

    Attributes:
        epochs: passes over the speech; the schedule spans them all [paper, Section 6: 20].
        batch_size: utterances per step, over all processes together [paper, Section 6: 512].
        lr: highest learning rate [paper, Section 6, with SGD: 1e-4 to 6e-4]; None: ``default_lr``.
        optimizer: 'adamw', 'adam' or 'sgd', see ``make_optimizer``.
        schedule: 'onecycle', 'anneal', 'noam' or 'constant', see ``learning_rate_factor``.
        warmup: with 'noam': number of steps in which the rate rises, at most a third of all.
        sortagrad: whether the first epoch is sorted by length [paper, Section 3.3].
        precision: of matrix products: 'fp32', 'bf16', or 'auto': bf16 if the hardware has it. Statistics and losses stay float32.
        device: 'cpu', 'cuda', 'mps', or 'auto'.
        num_workers: processes that prepare features; 0: the training process does it.
        threads: number of CPU threads; None: torch's choice.
        seed: for weights, order, synthetic speech and augmentation.
        checkpoint: file with the model and weights to start from; None: a new model.
        batch_seconds: instead of ``batch_size``: seconds per step, padding included; it takes as many utterances as fit.
    """

    epochs: int = 9
    batch_size: int = 8
    lr: float | None = 3e-3
    optimizer: str = "adamw"
    schedule: str = "onecycle"
    warmup: int = 10_000
    sortagrad: bool = True
    precision: str = "auto"
    device: str = "auto"
    num_workers: int = 0
    threads: int | None = None
    seed: int = 0
    checkpoint: str | Path | None = None
    batch_seconds: float | None = None


@dataclass(frozen=True)
class LanguageModelSettings:
    """The language model to decode with (Section 3.8), and how wide the search is.

    Attributes:
        file: an ARPA file or KenLM binary; 'train': a new model is trained on the training transcripts.
        unit: 'word' or 'character'; None: what the file says; with 'train': words, or characters in languages without spaces.
        lexicon: whether the search writes only words that the model knows.
        unknown_penalty: nats for each letter of a word that the model does not know; None: log(size of the alphabet) [ours].
        beam: width of the search; None: 50 [ours; paper, Section 6: 500], or 200 in languages without spaces [paper, Section 6].
        tune_beam: width of the search while alpha and beta are chosen on dev [ours].
    """

    file: str | Path
    unit: str | None = None
    lexicon: bool = False
    beam: int | None = None
    tune_beam: int = 16
    unknown_penalty: float | None = None


@dataclass(frozen=True)
class OutputSettings:
    """Where the files of a run go, and how it is evaluated once it is trained.

    Attributes:
        folder: folder of a new run; None: the next free runs/NNN.
        overwrite: whether a run that is already in ``folder`` may be replaced.
        resume: folder of an interrupted run to continue; True: the newest unfinished run under runs/.
        language_model: model with which dev and the test sets are decoded once more; None: they are not.
        jitter: whether the trained model is evaluated as in ``models.jitter``.
        save_minutes: minutes between two saves of last.pt within an epoch [ours]; 0: it is saved after each step.
    """

    folder: str | Path | None = None
    overwrite: bool = False
    resume: str | Path | bool | None = None
    language_model: LanguageModelSettings | None = None
    jitter: bool = False
    save_minutes: float = 10.0


def default_lr(model: str, recorded: bool) -> float:
    """The highest learning rate for a model ('ds2', 'ds1') on recorded or synthetic speech [ours]."""
    return DS1_LR if model == "ds1" else RECORDING_LR if recorded else TrainingSettings.lr


def differences(was: Mapping, now: Mapping) -> list[str]:
    """'lr was 0.001, is 0.002' for each setting of ``now`` that differs."""
    return [f"{name} was {was.get(name)}, is {value}" for name, value in now.items() if was.get(name) != value]


def refuse_to_resume(what: str, different: Sequence[str]) -> None:
    """Raises ``CheckpointError`` if anything differs; ``what`` sums it up, such as 'another model'."""
    if different:
        raise CheckpointError(
            f"can't resume with {what}: {'; '.join(different)}. Give the flags that the run was started with, or "
            "start a new run from its weights with --checkpoint"
        )
