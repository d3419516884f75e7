"""Which utterances of a corpus can be used, and why the others can't: transcripts, audio, and the time that CTC needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from implementation import CharEncoder, DeepSpeech2, ctc_required_frames
from speech.audio import BadAudio
from speech.corpora import Corpus, CorpusError, Problem, Utterance
from speech.datasets import read_utterance
from speech.transcripts import is_known, normalise, spelt
from speech.utterances import listed


def check_problems(corpus: Corpus, limit: float = 0.01) -> None:
    """Refuses a corpus that is too broken to train on.

    Args:
        corpus: as ``read_corpus`` returns it.
        limit: largest share of bad lines that is accepted.

    Raises:
        CorpusError: if more than ``limit`` of the lines are bad, or no utterance is usable.
    """
    bad, good = len(corpus.problems), len(corpus.utterances)
    if good and bad <= limit * (good + bad):
        return
    share = f"{bad} of {good + bad} lines are bad ({bad / max(1, good + bad):.1%}; at most {limit:.1%} is accepted)"
    first = "\n".join([f"{corpus.root}: {share}{'' if good else ', and no utterance is usable'}.", *listed(corpus.problems)])
    raise CorpusError(first)


def encodable(items: Sequence, encoder: CharEncoder) -> tuple[list, list[Problem]]:
    """The items (dataclasses with ``transcript``) whose text the alphabet can spell, normalised; problems for the others."""
    good, problems = [], []
    for index, item in enumerate(items):
        text = normalise(item.transcript, encoder)
        try:
            if not (text and is_known(text, encoder)) and not spelt(text, encoder):
                raise ValueError(f"nothing of its transcript {text!r} can be written in the alphabet")
            good.append(item if text == item.transcript else replace(item, transcript=text))
        except ValueError as error:
            problems.append(Problem(item_name(item, index), str(error)))
    return good, problems


def feasible(items: Sequence, encoder: CharEncoder, model: DeepSpeech2) -> tuple[list, list[Problem]]:
    """The items (with ``seconds`` and ``transcript``) that CTC can spell in their time; problems with numbers for the others."""
    good, problems = [], []
    frames = [model.features.frames(item.seconds) for item in items]
    output_lengths = model.output_lengths(torch.tensor(frames, dtype=torch.long)).tolist()
    for index, (item, outputs) in enumerate(zip(items, output_lengths, strict=True)):
        if outputs >= 2 * len(item.transcript):  # a character gives at most one label, and a label needs at most one blank
            good.append(item)
            continue
        labels = encoder.encode(item.transcript)
        needed = ctc_required_frames(labels)
        if outputs >= needed:
            good.append(item)
        else:
            what = (
                f"{item.transcript!r}: {len(labels)} symbols + {needed - len(labels)} for equal neighbours need {needed} "
                f"output frames, but {item.seconds:.2f} s give {outputs}"
            )
            problems.append(Problem(item_name(item, index), what))
    return good, problems


def readable(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Problem]]:
    """The utterances whose audio can be read to its end (each is read once), and problems for the others."""

    def problem(utterance: Utterance) -> Problem | None:
        try:
            read_utterance(utterance, 16000)
        except BadAudio as error:
            return Problem(utterance.name, error.reason)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and resampling release Python's lock
        problems = list(pool.map(problem, utterances))
    good = [utterance for utterance, bad in zip(utterances, problems, strict=True) if bad is None]
    return good, [bad for bad in problems if bad is not None]


def usable(utterances: Sequence[Utterance], encoder: CharEncoder) -> tuple[list[Utterance], list[Problem]]:
    """The utterances that the alphabet can spell and whose audio can be read, and problems for the others."""
    good, unspellable = encodable(utterances, encoder)
    good, unreadable = readable(good)
    return good, unspellable + unreadable


def stop_if_many(problems: Sequence[Problem], total: int, advice: str = "") -> None:
    """Raises ``CorpusError`` with the first five problems if there are more problems than 1 % of ``total``."""
    if len(problems) > 0.01 * total:
        first = "; ".join(str(problem) for problem in list(problems)[:5])
        raise CorpusError(f"{len(problems)} of {total} utterances are bad, more than 1 %: {first}{advice}")


def drawn(items: Sequence, n: int | None, name: str, seed: int = 0) -> list:
    """Draws ``n`` items by the seed, keeps their order and prints a line; the first ``n`` of a sorted corpus would be alike.

    Args:
        items: what to draw from; all are taken if there are at most ``n``.
        n: how many; None: all.
        name: name of the set, for the printed line.
        seed: seed of the draw, which touches no other random numbers.
    """
    if n is None or n >= len(items):
        return list(items)
    chosen = sorted(np.random.default_rng(seed).choice(len(items), size=n, replace=False).tolist())
    print(f"{name}: uses {n} of {len(items)} utterances, drawn with seed {seed}")
    return [items[index] for index in chosen]


def item_name(item: object, index: int) -> str:
    """The file of an item if it has one, else its number."""
    return str(getattr(item, "path", f"utterance {index}"))
