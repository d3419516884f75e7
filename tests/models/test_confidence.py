"""Confidence: the same numbers as another optimiser's, and on average as many right words as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from implementation import CharEncoder, forced_alignment
from models.confidence import PRIOR, Calibration, best_path, calibrate, calibrate_on, letter_confidences

ENCODER = CharEncoder()


def words(n: int, slope: float, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors, and whether the words are right, whose odds follow this slope and offset."""
    rng = np.random.default_rng(seed)
    c = rng.beta(4, 1, n).clip(0.001, 0.999)
    return c, rng.random(n) < 1 / (1 + np.exp(-slope * np.log(c / (1 - c)) - offset))


def cost(weights: np.ndarray, c: np.ndarray, right: np.ndarray) -> float:
    """Minus the log of likelihood and prior, by their definitions."""
    p = 1 / (1 + np.exp(-weights[0] * np.log(c / (1 - c)) - weights[1]))
    prior = sum((w - mean) ** 2 / (2 * deviation**2) for w, (mean, deviation) in zip(weights, PRIOR, strict=True))
    return prior - np.where(right, np.log(p), np.log1p(-p)).sum()


@pytest.mark.parametrize(("n", "slope", "offset"), [(300, 1.0, -0.5), (1000, 0.4, 2.0), (40, 2.0, -2.0), (5, 1.0, 0.0)])
def test_slope_and_offset_are_those_of_another_optimiser(n, slope, offset):
    c, right = words(n, slope, offset)
    found = calibrate(c.tolist(), right.tolist())
    expected = scipy.optimize.minimize(
        cost, (1.0, 0.0), (c, right), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}
    )
    assert (found.slope, found.offset) == pytest.approx(expected.x, abs=1e-4)


def test_of_many_words_the_true_odds_are_found_and_as_many_are_right_as_promised():
    c, right = words(20000, 0.6, -0.8)
    found = calibrate(c.tolist(), right.tolist())
    assert (found.slope, found.offset) == pytest.approx((0.6, -0.8), abs=0.06)
    promised = np.array([found([value]) for value in c])
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 1.0)):
        some = (promised >= low) & (promised < high)
        assert promised[some].mean() == pytest.approx(right[some].mean(), abs=0.03)


@pytest.mark.parametrize("right", [True, False])
def test_words_that_are_all_right_or_all_wrong_leave_the_doubt_in_the_doubtful(right):
    c = words(300, 1.0, 0.0)[0].tolist()
    found = calibrate(c, [right] * 300)
    assert 0 < found.slope < 2 and (found.offset > 0) == right
    assert found([0.2]) < found([0.9]) and (found([0.9]) > 0.9) == right


def test_without_words_it_is_the_posterior_and_the_surer_are_never_the_less_right():
    assert calibrate([], []) == Calibration(1.0, 0.0) and Calibration()([0.7]) == 0.7
    assert Calibration()([]) is None and Calibration()([None]) is None and Calibration()([0.5, None, 0.7]) == 0.6
    c = np.linspace(0.05, 0.95, 500)
    assert calibrate(c.tolist(), (c < 0.5).tolist()).slope == 0.0


def rows_of(path: str, posterior: float) -> torch.Tensor:
    """(T', V) in which each frame has one symbol ("_" the blank) with this posterior."""
    labels = [0 if symbol == "_" else ENCODER.encode(symbol)[0] for symbol in path]
    p = torch.full((len(labels), ENCODER.vocab_size), (1 - posterior) / (ENCODER.vocab_size - 1), dtype=torch.float64)
    p[range(len(labels)), labels] = posterior
    return p.log()


def test_right_and_wrong_words_of_dev_are_those_of_the_alignment():
    """Sure where it is right, unsure where it is wrong: slope above 1, between them the doubt."""
    sure, unsure = rows_of("a_b_ _", 0.97), rows_of("c_d", 0.6)
    outputs = [(torch.cat((sure, unsure)), "ab cc")] * 100 + [(sure, "ab")] * 50
    found = calibrate_on(outputs, ENCODER)
    expected = calibrate([0.97, 0.6] * 100 + [0.97] * 50, [True, False] * 100 + [True] * 50)
    assert (found.slope, found.offset) == pytest.approx((expected.slope, expected.offset))
    assert found([0.97]) > 0.9 and found([0.6]) < 0.1
    assert found.unusual == pytest.approx((found([0.97]) + found([0.6])) / 2, abs=1e-3)  # that of two texts in three


def test_a_text_is_unusual_where_hardly_any_of_dev_was_as_unsure():
    posteriors = np.linspace(0.1, 0.8, 200).tolist()
    found = calibrate_on([(rows_of("a_b", posterior), "ab") for posterior in posteriors], ENCODER)
    of_dev = [found([posterior]) for posterior in posteriors]
    assert 2 <= sum(confidence < found.unusual for confidence in of_dev) <= 5
    assert calibrate_on([(rows_of("a_b", 0.3), "b a")] * 9, ENCODER).unusual == 0.5


def test_the_best_path_is_the_alignment_of_what_it_spells():
    rows = torch.randn(80, ENCODER.vocab_size, dtype=torch.float64).mul(4).log_softmax(1)
    labels, states = best_path(rows, 0)
    assert states == forced_alignment(rows, labels)
    by_hand = [
        max(math.exp(rows[t, label]) for t, state in enumerate(states) if state == 2 * i + 1) for i, label in enumerate(labels)
    ]
    assert letter_confidences(rows, labels, states) == pytest.approx(by_hand) == letter_confidences(rows, labels)
