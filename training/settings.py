"""What a run is told, beside the model's own settings (``models.checkpoints.ModelConfig``). Defaults stand here, nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.checkpoints import CheckpointError

# What train_minimal.py takes in place of the defaults where no flag says otherwise [ours, chosen on dev].
SYNTHETIC_STRIDES, RECORDING_STRIDES = (2, 2, 1), (3, 1, 1)  # in time, of as many convolutions as there are; Table 4: 2,1,1
RECORDING_EPOCHS, RECORDING_LR = 16, 2e-3
DS1_HIDDEN, DS1_DROPOUT, DS1_LR = 512, 0.05, 1e-3  # of --model ds1; Deep Speech 1: 2048 units, dropout 0.05 to 0.1
LOG_MEL_WINDOW_MS = 25.0  # as ``compute_log_mel``


@dataclass(frozen=True)
class SpeechSettings:
    """Which speech there is to train and test on, and how it is written.

    Attributes:
        data: a corpus, see ``speech.corpora``; None: the embedded synthetic voice.
        train, test: names of splits to train and to test on; none: all whose names begin so.
        dev: split that weights are chosen on; None: the only one, 'dev'.
        join: each training example joins 1 to so many utterances of one speaker.
        n_train: utterances to train on; None: 400 synthetic ones, or all of ``data``.
        n_val: utterances to validate on; None: 100 synthetic ones, or all of ``data`` up to 500.
        max_seconds: longer training recordings are left out; None: none.
        unknown: characters outside the alphabet: 'error' or 'drop'.
        augment: whether training speech is changed anew each epoch (arXiv 5.2 adds noise).
        masks: what that hides of recordings: 'words': little, for short words; 'sentences': more; 'none': nothing; see
            ``speech.augmentation``.
        bigrams: whether outputs are pairs of letters too (arXiv 3.6).
        sample_rate: in Hz; the model's features get it. None: 16000, of recordings their own up to 8000 (up to 16000 from 256
            Fourier points on), so that bins are 62.5 Hz apart [ours].
        alphabet: 'english', 'mandarin', 'corpus' or a file, see ``speech.alphabets.choose_encoder``.
        transcript_column: column of a manifest that holds the transcripts; None: the one that is called so.
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
    """How a model is trained; the defaults are ours and those for the embedded voice.

    Attributes:
        epochs: passes over the speech, which the schedule spans [paper, Section 6: 20].
        batch_size: utterances a step, of all processes together [paper, Section 6: 512].
        lr: highest learning rate [paper, Section 6, with SGD: 1e-4 to 6e-4]; None: ``default_lr``.
        optimizer: 'adamw', 'adam' or 'sgd', see ``make_optimizer``.
        schedule: 'onecycle', 'anneal', 'noam' or 'constant', see ``learning_rate_factor``.
        warmup: steps of 'noam' in which the rate rises; at most a third of all.
        sortagrad: whether the first epoch is ordered by length [paper, Section 3.3].
        precision: of products: 'fp32', 'bf16', or 'auto': bf16 where in hardware. Statistics and losses stay in float32.
        device: 'cpu', 'cuda', 'mps', or 'auto'.
        num_workers: processes that prepare features; 0: this one does.
        threads: of the CPU; None: torch's choice.
        seed: of weights, order, synthetic speech and augmentation.
        checkpoint: file whose model and weights are trained on; None: a new model.
        batch_seconds: in place of ``batch_size`` as many utterances a step as so many seconds hold, padding included.
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
        file: in the ARPA format; 'train': one is made of the training transcripts.
        unit: 'word' or 'character'; None: as the file tells; of 'train': words, or characters where no space parts words.
        lexicon: whether only words of the model are allowed.
        unknown_penalty: nats by letter of a word that the model does not know; None: log(letters of the alphabet) [ours].
        beam: width of the search; None: 50 [ours; paper, Section 6: 500], where no space parts words 200 [paper, Section 6].
        tune_beam: width while alpha and beta are chosen on dev [ours].
    """

    file: str | Path
    unit: str | None = None
    lexicon: bool = False
    beam: int | None = None
    tune_beam: int = 16
    unknown_penalty: float | None = None


@dataclass(frozen=True)
class OutputSettings:
    """Where a run goes, and what is made of it once it is trained.

    Attributes:
        folder: of a new run; None: the next free runs/NNN.
        overwrite: whether the run that stands in ``folder`` may be replaced.
        resume: folder of an interrupted run that is to be taken up; True: the newest under runs/ that is not finished.
        language_model: decodes dev and the test sets once more; None: none does.
        jitter: whether the trained model is evaluated as ``models.jitter`` has it.
        save_minutes: from one last.pt to the next within an epoch [ours]; 0: one after each step.
    """

    folder: str | Path | None = None
    overwrite: bool = False
    resume: str | Path | bool | None = None
    language_model: LanguageModelSettings | None = None
    jitter: bool = False
    save_minutes: float = 10.0


def default_lr(model: str, recorded: bool) -> float:
    """The highest learning rate for a model ('ds2', 'ds1') and speech that is recorded, or else the embedded voice [ours]."""
    return DS1_LR if model == "ds1" else RECORDING_LR if recorded else TrainingSettings.lr


def differences(was: Mapping, now: Mapping) -> list[str]:
    """'lr was 0.001, is 0.002' for each setting of ``now`` that was otherwise."""
    return [f"{name} was {was.get(name)}, is {value}" for name, value in now.items() if was.get(name) != value]


def refuse_to_resume(what: str, different: Sequence[str]) -> None:
    """Raises ``CheckpointError`` if anything is different, which ``what`` sums up: 'another model'."""
    if different:
        raise CheckpointError(
            f"can't resume with {what}: {'; '.join(different)}. Give the flags that the run was started with, or "
            "begin a new run from its weights with --checkpoint"
        )
