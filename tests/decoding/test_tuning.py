"""Tuning the language model's weights on a grid."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from decoding.ngrams import NGramModel
from decoding.scorers import WordScorer
from decoding.tuning import Output, Tuning, compare, count_search_errors, tune
from implementation import CharEncoder

ENCODER = CharEncoder()

SENTENCES = ["the cat sat", "the cat ran", "a cat sat", "the dog ran"]


def heard(text: str, doubtful: int, other: str) -> Output:
    """Clear log-probabilities of a text, but at one place ``other`` is a little likelier than the right letter."""
    probabilities = np.full((len(text), ENCODER.vocab_size), 1e-4)
    labels = ENCODER.encode(text)
    probabilities[range(len(text)), labels] = 1.0
    probabilities[doubtful, labels[doubtful]], probabilities[doubtful, ENCODER.encode(other)[0]] = 0.4, 0.6
    return Output(np.log(probabilities / probabilities.sum(1, keepdims=True)), text)


@pytest.fixture(scope="module")
def scorer():
    return WordScorer(NGramModel.train(SENTENCES, order=2), ENCODER)


def test_the_language_model_mends_what_the_ear_got_wrong(scorer):
    dev = [heard("the cat sat", 5, "o"), heard("the dog ran", 4, "b")]
    assert count_search_errors(dev, ENCODER, 20).errors == 2  # cot, bog
    assert count_search_errors(dev, ENCODER, 20, scorer, alpha=1.0).errors == 0


def test_the_grid_holds_the_errors_of_each_pair_and_the_best_is_in_it(scorer):
    dev = [heard("the cat sat", 5, "o"), heard("a cat sat", 3, "u")]
    tuning = tune(dev, ENCODER, scorer, 20, alphas=(0.0, 1.0), betas=(0.0, 1.0, 2.0))
    expected = [[count_search_errors(dev, ENCODER, 20, scorer, a, b).errors for b in (0.0, 1.0, 2.0)] for a in (0.0, 1.0)]
    assert tuning.errors.tolist() == expected and tuning.words == 6
    assert expected[0][0] == 2 and expected[1][0] == 0 and tuning.best[0] == 1.0


def test_of_equal_pairs_the_middle_one_is_taken():
    errors = np.array([[9, 9, 9], [3, 3, 3], [9, 9, 9]])
    assert Tuning((0.0, 1.0, 2.0), (-1.0, 0.0, 1.0), errors, 100).best == (1.0, 0.0)


def test_sets_are_compared_without_keeping_what_the_network_said(scorer):
    given = []

    def outputs():
        for text, doubtful in (("the cat sat", 5), ("the dog ran", 4), ("a cat sat", 3)):
            assert sum(array() is not None for array in given) <= 1  # the one that the caller still holds
            output = heard(text, doubtful, "u")
            given.append(weakref.ref(output.log_probs))
            yield output

    rates = compare("test", outputs(), ENCODER, 20, scorer, (1.0, 0.0))
    assert [counts["word_errors"] for counts in rates.values()] == [3, 3, 0] and list(rates)[1] == "beam 20"
