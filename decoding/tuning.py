"""The beam search's language-model weights alpha and beta, chosen on dev (Section 3.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from decoding.scorers import CharacterScorer, WordScorer
from implementation import (
    PAPER_PRUNING,
    BeamScorer,
    CharEncoder,
    DeepSpeech2,
    ErrorCounts,
    count_errors,
    evaluation_batches,
    measure_of,
    prefix_beam_search,
)

ALPHAS = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0)
BETAS = (0.0, 1.0, 2.0, 3.0, 4.0)


@dataclass
class Output:
    """The network's output for one utterance: ``log_probs`` (T', V), and the reference text."""

    log_probs: np.ndarray
    reference: str


def network_outputs(model: DeepSpeech2, dataset: Sequence, encoder: CharEncoder) -> Iterator[Output]:
    """The model's output for each utterance, from the shortest to the longest, with one minibatch in memory at a time.

    Outputs are float32, as the network gives them: with 6,792 symbols every 40 ms, an hour of speech takes 2.4 GB.
    """
    for _, batch, log_probs, lengths in evaluation_batches(model, dataset, encoder):
        frames = log_probs.cpu().transpose(0, 1).numpy()  # (B, T', V)
        for text, rows, length in zip(batch.texts, frames, lengths.tolist(), strict=True):
            yield Output(rows[:length], encoder.reference(text))


@dataclass
class Tuning:
    """Errors on dev (``count_errors``) for each pair of weights: ``errors`` (alphas, betas), out of ``words`` in the references.

    In languages without spaces, ``words`` counts characters.
    """

    alphas: Sequence[float]
    betas: Sequence[float]
    errors: np.ndarray
    words: int

    @property
    def best(self) -> tuple[float, float]:
        """The alpha and beta with the fewest errors; of several such pairs the middle one, farthest from the edges."""
        pairs = np.argwhere(self.errors == self.errors.min())
        middle = pairs[np.abs(pairs - pairs.mean(0)).sum(1).argmin()]
        return float(self.alphas[middle[0]]), float(self.betas[middle[1]])


def found_text(
    output: Output, encoder: CharEncoder, beam_width: int, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0
) -> str:
    """The best text of the beam search, pruned as in Section 7.3; empty if no hypothesis fits the lexicon."""
    found = prefix_beam_search(output.log_probs, beam_width, scorer, alpha, beta, **PAPER_PRUNING)
    return encoder.decode(found[0].labels) if found else ""


def count_search_errors(
    outputs: Iterable[Output], encoder: CharEncoder, beam_width: int, scorer: BeamScorer | None = None,
    alpha: float = 0.0, beta: float = 0.0,
) -> ErrorCounts:  # fmt: skip
    """Errors of the beam search (``count_errors``); reads each output once."""
    texts = [(output.reference, found_text(output, encoder, beam_width, scorer, alpha, beta)) for output in outputs]
    return count_errors([reference for reference, _ in texts], [found for _, found in texts], encoder)


def tune(
    dev: Sequence[Output], encoder: CharEncoder, scorer: BeamScorer, beam_width: int,
    alphas: Sequence[float] = ALPHAS, betas: Sequence[float] = BETAS, on_pair: Callable[[], object] = lambda: None,
) -> Tuning:  # fmt: skip
    """Errors on dev over the grid of alpha and beta (Section 3.8: tuned on a held-out development set)."""
    errors = np.zeros((len(alphas), len(betas)), dtype=int)
    for i, alpha in enumerate(alphas):
        for j, beta in enumerate(betas):
            counts = count_search_errors(dev, encoder, beam_width, scorer, alpha, beta)
            errors[i, j] = counts.errors
            on_pair()
    return Tuning(alphas, betas, errors, counts.reference_length)


def compare(
    name: str, outputs: Iterable[Output], encoder: CharEncoder, beam: int, scorer: WordScorer | CharacterScorer, weights: tuple
) -> dict:
    """Prints and returns the error rates on one set: with greedy decoding, beam search, and beam search with a language model.

    If the references hold words that the language model lacks, it also prints how many.
    """
    references, texts = [], {"greedy": [], f"beam {beam}": [], f"beam {beam} + language model": []}
    for output in outputs:  # once, so that no output need be kept
        references.append(output.reference)
        greedy = encoder.ctc_decode(output.log_probs.argmax(1))
        searched = (found_text(output, encoder, beam, *model) for model in ((), (scorer, *weights)))
        for found, text in zip(texts.values(), (greedy, *searched), strict=True):
            found.append(text)
    measure = measure_of(encoder)
    spoken, unknown = (sum(len(part(text)) for text in references) for part in (scorer.model.tokens, scorer.unknown_words))
    if unknown:
        print(f"{name:<12} {unknown} of its {spoken} {scorer.model.unit}s are not in the language model ({unknown / spoken:.1%})")
    rates = {kind: count_errors(references, found, encoder) for kind, found in texts.items()}
    for kind, counts in rates.items():
        print(f"{name:<12} {kind:<28} {measure} {counts}")
    rate, unit = measure.lower(), "word" if measure == "WER" else "character"
    return {kind: {rate: c.rate, f"{unit}_errors": c.errors, f"{unit}s": c.reference_length} for kind, c in rates.items()}
