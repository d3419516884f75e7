"""What the page lets its reader choose: checkpoints, recorded utterances, language models."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from decoding.ngrams import NGramModel
from decoding.scorers import CharacterScorer, WordScorer, make_scorer
from implementation import SYNTHETIC_WORDS, VALIDATION_SPEAKERS, BeamScorer, CharEncoder, generate_synthetic_audio, is_spaced
from models.checkpoints import CheckpointError
from speech.audio import read_audio
from speech.corpora import read_corpus
from speech.datasets import read_utterance
from speech.preflight import check_problems, drawn

COMMANDS = Path("models/commands_en.pt")  # spoken English words; the first choice where it is there
UTTERANCES = 20  # of a corpus that are offered
NO_MODEL, OF_TRAINING = "none", "words of the training"


def checkpoints(first: Path | None = None, folder: Path = Path()) -> list[Path]:
    """``first`` and the checkpoints of ``models/`` and ``runs/``; without it that of spoken words leads, else the newest run's.

    Raises:
        CheckpointError: if there is none; the message says what makes one.
    """
    runs = sorted((folder / "runs").glob("*/checkpoint.pt"), key=lambda path: -path.stat().st_mtime)
    trained = sorted((folder / "models").glob("*.pt"), key=lambda path: path.name != COMMANDS.name)
    found = [*trained, *runs] if (folder / COMMANDS).is_file() else [*runs, *trained]
    found = found if first is None else [first, *(path for path in found if path.resolve() != first.resolve())]
    if not found:
        raise CheckpointError(
            "there is no checkpoint in runs/ or models/ yet: train one that writes while you speak, in two minutes, with "
            "python train_minimal.py --forward-only --row-conv 4"
        )
    return found


@dataclass(frozen=True)
class Recorded:
    """An utterance that is there already: its name in the list, what is said, and its audio at a rate in Hz, (samples,)."""

    name: str
    reference: str
    audio: Callable[[int], Tensor]


@dataclass(frozen=True)
class Material:
    """Recorded utterances, and the texts of the training that they were kept out of, for a language model."""

    utterances: list[Recorded]
    texts: list[str]


def at_hand(folder: Path = Path(), count: int = 6) -> Material:
    """Recordings in ``models/``, and random words of the embedded voice, by speakers that no training hears: always the same."""
    rng = random.Random(0)
    texts = ["hello little moon"] + [" ".join(rng.choices(SYNTHETIC_WORDS, k=rng.randint(2, 4))) for _ in range(count - 1)]
    spoken = [_spoken(text, speaker) for text, speaker in zip(texts, VALIDATION_SPEAKERS, strict=False)]
    files = sorted((folder / COMMANDS.parent).glob("*.wav"))
    recordings = [Recorded(path.name, "", lambda rate, path=path: read_audio(path, rate)) for path in files]
    return Material([*recordings, *spoken], list(SYNTHETIC_WORDS))


def _spoken(text: str, speaker: int) -> Recorded:
    def audio(rate: int) -> Tensor:
        state = np.random.get_state()
        with torch.random.fork_rng():
            torch.manual_seed(speaker)
            np.random.seed(speaker)
            try:
                return generate_synthetic_audio(text, rate, speaker, snr_db=30.0)
            finally:
                np.random.set_state(state)

    return Recorded(f"{text} (synthetic voice {speaker})", text, audio)


def of_corpus(path: Path) -> Material:
    """Some of a corpus' test utterances, else of dev, else of those to train on; ``CorpusError`` where it can't be read."""
    corpus = read_corpus(path)
    check_problems(corpus)
    names = next(names for purpose in ("test", "dev", "train") if (names := corpus.splits_for(purpose)))
    utterances = drawn([u for name in names for u in corpus.split(name)], UTTERANCES, names[0])
    recorded = [
        Recorded(f"{u.transcript} ({u.speaker or u.path.stem}, {n})", u.transcript, lambda rate, u=u: read_utterance(u, rate))
        for n, u in enumerate(utterances, start=1)
    ]
    return Material(
        recorded, [u.transcript.lower() for u in corpus.utterances if u.split in (corpus.splits_for("train") or names)]
    )


def language_models(checkpoint: Path, given: Path | None = None) -> list[str]:
    """Names of language models to choose from, the one to begin with first: the one given, that of the run, that of the words."""
    files = [path for path in (given, checkpoint.parent / "lm.arpa") if path is not None and path.is_file()]
    return [*dict.fromkeys(map(str, files)), OF_TRAINING, NO_MODEL]


def scorer_of(name: str, encoder: CharEncoder, texts: Sequence[str], lexicon: bool) -> BeamScorer | None:
    """The scorer of a name that ``language_models`` gave; ``texts`` are those of the training.

    Raises:
        ValueError: for a file that is broken, or does not fit the alphabet.
    """
    if name == NO_MODEL:
        return None
    if name != OF_TRAINING:
        return make_scorer(name, encoder, lexicon=lexicon)
    model = NGramModel.train(texts, order=1, unit="word" if is_spaced(encoder) else "character")
    return WordScorer(model, encoder, lexicon or None) if model.unit == "word" else CharacterScorer(model, encoder)
