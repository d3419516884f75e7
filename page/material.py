"""What the page offers to choose from: checkpoints, recorded utterances, language models."""

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

COMMANDS = Path("models/commands_en.pt")  # spoken English words; the first choice if it exists
UTTERANCES = 20  # how many utterances of a corpus are offered
NO_MODEL, OF_TRAINING = "none", "words of the training set"


def checkpoints(first: Path | None = None, folder: Path = Path()) -> list[Path]:
    """``first``, then the checkpoints of ``models/`` and ``runs/``, then the ONNX files beside them.

    Without ``first``, the model of spoken words comes first if it exists, else the newest run.

    Raises:
        CheckpointError: if there is no checkpoint; the message says how to make one.
    """
    runs = sorted((folder / "runs").glob("*/checkpoint.pt"), key=lambda path: -path.stat().st_mtime)
    trained = sorted((folder / "models").glob("*.pt"), key=lambda path: path.name != COMMANDS.name)
    exported = sorted([*(folder / "models").glob("*.onnx"), *(folder / "runs").glob("*/*.onnx")])
    found = [*trained, *runs, *exported] if (folder / COMMANDS).is_file() else [*runs, *trained, *exported]
    found = found if first is None else [first, *(path for path in found if path.resolve() != first.resolve())]
    if not found:
        raise CheckpointError(
            "there is no checkpoint in runs/ or models/ yet: in two minutes you can train one that writes while you speak: "
            "python train_minimal.py --forward-only --row-conv 4"
        )
    return found


@dataclass(frozen=True)
class Recorded:
    """A recorded utterance: its name in the list, what is said, and a function from a rate in Hz to its audio, (samples,)."""

    name: str
    reference: str
    audio: Callable[[int], Tensor]


@dataclass(frozen=True)
class Material:
    """Recorded utterances, and, for a language model, the training texts, which do not include them."""

    utterances: list[Recorded]
    texts: list[str]


def at_hand(folder: Path = Path(), count: int = 6) -> Material:
    """Recordings in ``models/``, and random words, always the same, by synthetic speakers that no training uses."""
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
    """Some utterances of a corpus's test set, else of dev, else of train; raises ``CorpusError`` if it can't be read."""
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
    """Names of language models to choose from: the given one, the run's, one of the training words, and none."""
    files = [path for path in (given, checkpoint.parent / "lm.arpa") if path is not None and path.is_file()]
    return [*dict.fromkeys(map(str, files)), OF_TRAINING, NO_MODEL]


def scorer_of(name: str, encoder: CharEncoder, texts: Sequence[str], lexicon: bool) -> BeamScorer | None:
    """The scorer for a name from ``language_models``; ``texts`` are the training texts.

    Raises:
        ValueError: for a file that is broken or does not fit the alphabet.
    """
    if name == NO_MODEL:
        return None
    if name != OF_TRAINING:
        return make_scorer(name, encoder, lexicon=lexicon)
    model = NGramModel.train(texts, order=1, unit="word" if is_spaced(encoder) else "character")
    return WordScorer(model, encoder, lexicon or None) if model.unit == "word" else CharacterScorer(model, encoder)
