"""How sure a model is of its text: for each word, the probability that it is right, calibrated on dev."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from implementation import CharEncoder, count_errors, forced_alignment, is_spaced

LARGEST_ALIGNMENT = 10**10  # frames times states; an alignment of this size takes a minute or two
NEAREST = 1e-4  # a mean of posteriors counts as no nearer to 0 or 1 than this
# The prior of slope and offset, a mean and deviation for each [ours]: a model with one error in 300 words says little about
# how its doubts and its errors are related.
PRIOR = ((1.0, 0.5), (0.0, 2.0))
HALF, RARE = 0.5, 0.02  # share of the words; share of the utterances


@dataclass(frozen=True)
class Calibration:
    """The probability that a word is right: ``1 / (1 + exp(-slope logit(c) - offset))``.

    Here c is the mean of its letters' posteriors. With the defaults, before any calibration, the probability is c itself.

    Attributes:
        unusual: a text with a lower confidence (``mean_confidence``) counts as unlike dev: at most 2 % of dev's utterances have
            a lower one, or more of the text's words are expected to be wrong than right [ours].
    """

    slope: float = 1.0
    offset: float = 0.0
    unusual: float = HALF

    def __call__(self, letters: Sequence[float | None]) -> float | None:
        """The probability, computed from the posteriors of the word's letters; None if they are unknown."""
        known = [letter for letter in letters if letter is not None]
        if not known:
            return None
        return round(1 / (1 + math.exp(-self.slope * _logit(sum(known) / len(known)) - self.offset)), 3)


def calibrate(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """The likeliest slope (at least 0) and offset, given the words' confidences and whether each word is right.

    This is a logistic regression (Platt 1999, with logit(c) instead of a margin) with ``PRIOR``, solved by Newton's method.
    """
    design = np.array([(_logit(confidence), 1.0) for confidence in confidences]).reshape(-1, 2)
    mean, deviation = np.array(PRIOR).T
    weights, target, precision = mean.copy(), np.array(right, dtype=float), deviation**-2.0
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (p - target) + precision * (weights - mean)
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + np.diag(precision), gradient)
        weights = weights - step / max(1.0, np.abs(step).max())  # a full step can overshoot
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(max(0.0, float(weights[0])), float(weights[1]))


def calibrate_on(outputs: Iterable[tuple[Tensor, str]], encoder: CharEncoder) -> Calibration:
    """The calibration on greedily decoded words; ``outputs``: each utterance's (T', V) log-probabilities and reference."""
    texts, right = [], []
    for rows, reference in outputs:
        labels, states = best_path(rows, encoder.blank_idx)
        texts.append(word_letters(letter_confidences(rows, labels, states), labels, encoder))
        pairs = count_errors([reference], [encoder.decode(labels)], encoder).alignment[0]
        right += [heard == said for said, heard in pairs if heard is not None]
    found = calibrate([sum(letters) / len(letters) for words in texts for letters in words], right)
    of_texts = [mean_confidence(list(map(found, words))) for words in texts if words]
    return replace(found, unusual=max(HALF, float(np.quantile(of_texts, RARE)))) if of_texts else found


def _logit(p: float) -> float:
    p = min(max(p, NEAREST), 1 - NEAREST)
    return math.log(p / (1 - p))


def best_path(rows: Tensor, blank: int) -> tuple[list[int], list[int]]:
    """Greedy decoding: the labels, and each frame's state, numbered as in ``forced_alignment``: 2 i + 1 is label i."""
    labels, states, last = [], [], blank
    for label in rows.argmax(1).tolist():
        if label not in (blank, last):
            labels.append(label)
        states.append(2 * len(labels) - (label != blank))
        last = label
    return labels, states


def letter_confidences(rows: Tensor, labels: Sequence[int], states: Sequence[int] | None = None) -> list[float | None]:
    """For each label, the largest posterior among the frames aligned to it: how clearly it was heard at its clearest.

    Args:
        rows: (T', V) log-probabilities of one utterance.
        labels: the decoded labels.
        states: the frames' states, numbered as in ``forced_alignment``; None: they are computed.

    Returns:
        numbers from 0 to 1; all None for a text so long that its alignment would take minutes.
    """
    if states is None and labels:
        if len(rows) * (2 * len(labels) + 1) > LARGEST_ALIGNMENT:
            return [None] * len(labels)
        try:
            states = forced_alignment(rows, labels)
        except ValueError:  # all its paths are too unlikely for the arithmetic
            return [0.0] * len(labels)
    best = [0.0] * len(labels)
    for frame, state in enumerate(states or ()):
        if state % 2:
            label = state // 2
            best[label] = max(best[label], math.exp(rows[frame, labels[label]]))
    return best


def word_letters(letters: Sequence[float | None], labels: Sequence[int], encoder: CharEncoder) -> list[list[float | None]]:
    """The letters' confidences, word by word; in languages without spaces (``is_spaced``) each character is a word."""
    words: list[list] = [[]]
    if not is_spaced(encoder):
        texts = zip(letters, (encoder.decode([label]) for label in labels), strict=True)
        return [[confidence] for confidence, text in texts for char in text if not char.isspace()]
    for confidence, label in zip(letters, labels, strict=True):
        if encoder.decode([label]).isspace():
            words.append([])
        else:
            words[-1].append(confidence)
    return [word for word in words if word]


def mean_confidence(confidences: Sequence[float | None]) -> float | None:
    """The share of a text's words expected to be right; None if nothing is known."""
    known = [confidence for confidence in confidences if confidence is not None]
    return round(sum(known) / len(known), 3) if known else None
