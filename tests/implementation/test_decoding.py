"""Best path and prefix beam search against every path written out."""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import implementation
from implementation import BeamSearch, CharEncoder, beam_search_decode, greedy_decode, plain_definitions, prefix_beam_search

ENGLISH = CharEncoder()
decoders = pytest.mark.parametrize("decode", [greedy_decode, beam_search_decode])


def random_log_probs(frames: int, vocab: int, seed: int) -> np.ndarray:
    """Peaked like a network's, so that the beam has something to tell apart."""
    logits = 2 * np.random.default_rng(seed).normal(size=(frames, vocab))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def text_probabilities(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probability of each text: the sum over all paths that collapse to it."""
    texts = defaultdict(float)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        texts[tuple(label for label, _ in groupby(path) if label)] += np.exp(log_probs[range(len(path)), path].sum())
    return texts


def spoken(path: str, encoder: CharEncoder = ENGLISH) -> torch.Tensor:
    """(T, 1, V) log-probabilities that clearly say a path; ``_`` is the blank."""
    labels = [0 if char == "_" else encoder.encode(char)[0] for char in path]
    return (9.0 * torch.eye(encoder.vocab_size)[labels]).log_softmax(-1)[:, None]


frames, vocabs, seeds = st.integers(1, 6), st.integers(2, 4), st.integers(0, 10**6)


@given(frames, vocabs, seeds)
def test_an_unlimited_beam_finds_every_texts_exact_probability(frames, vocab, seed):
    log_probs = random_log_probs(frames, vocab, seed)
    found = {found.labels: np.exp(found.score) for found in prefix_beam_search(log_probs, 10**6)}
    assert found == pytest.approx(text_probabilities(log_probs))
    assert sum(found.values()) == pytest.approx(1)


@given(frames, vocabs, seeds)
def test_an_unlimited_beam_puts_the_likeliest_text_first(frames, vocab, seed):
    log_probs = random_log_probs(frames, vocab, seed)
    texts, ranked = text_probabilities(log_probs), prefix_beam_search(log_probs, 10**6)
    assert texts[ranked[0].labels] == pytest.approx(max(texts.values()))
    assert [found.score for found in ranked] == sorted((found.score for found in ranked), reverse=True)


@given(frames, vocabs, seeds, st.integers(1, 5))
def test_a_narrow_beam_never_claims_more_than_the_truth(frames, vocab, seed, width):
    log_probs = random_log_probs(frames, vocab, seed)
    texts, ranked = text_probabilities(log_probs), prefix_beam_search(log_probs, width)
    assert len(ranked) <= width
    assert all(np.exp(found.score) <= texts[found.labels] * (1 + 1e-9) for found in ranked)


def test_impossible_symbols_are_no_trouble():
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    best = prefix_beam_search(log_probs, 10)[0]
    assert best.labels == (1,) and best.score == pytest.approx(0.0)


def test_two_frames_where_best_path_says_nothing_and_the_sum_says_a():
    """0.6 x 0.6 = 0.36 for two blanks; 0.64 for a_, _a and aa together."""
    encoder = CharEncoder("a")
    log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()[:, None]
    assert greedy_decode(log_probs, encoder) == [""]
    assert beam_search_decode(log_probs, encoder) == ["a"]
    ranked = prefix_beam_search(log_probs[:, 0].double().numpy(), 10)
    assert {found.labels: np.exp(found.score) for found in ranked} == pytest.approx({(1,): 0.64, (): 0.36})


@given(st.integers(1, 12), seeds)
def test_best_path_is_the_likeliest_symbol_of_each_frame_collapsed(frames, seed):
    encoder = CharEncoder("ab")
    log_probs = random_log_probs(frames, 3, seed)
    path = "".join("_ab"[label] for label in log_probs.argmax(-1))
    expected = "".join(char for char, _ in groupby(path)).replace("_", "")
    assert greedy_decode(torch.from_numpy(log_probs)[:, None], encoder) == [expected]


@decoders
def test_a_blank_between_keeps_the_double_letter(decode):
    assert decode(spoken("hh_eell_l__oo"), ENGLISH) == ["hello"]


@decoders
def test_without_a_blank_between_the_double_letter_is_one(decode):
    assert decode(spoken("hh_eelll__oo"), ENGLISH) == ["helo"]


@decoders
def test_spaces_and_apostrophes_come_out(decode):
    assert decode(spoken("it's _so"), ENGLISH) == ["it's so"]


@decoders
def test_frames_beyond_the_length_are_not_heard(decode):
    log_probs = torch.cat([spoken("a_bcd"), spoken("ab_cd"), spoken("abcde")], dim=1)
    assert decode(log_probs, ENGLISH, lengths=torch.tensor([3, 1, 5])) == ["ab", "a", "abcde"]
    assert decode(log_probs, ENGLISH) == ["abcd", "abcd", "abcde"]


@decoders
def test_no_frames_give_no_text(decode):
    assert decode(spoken("ab"), ENGLISH, lengths=torch.tensor([0])) == [""]


def test_beam_search_takes_the_width_it_is_given():
    """With one prefix kept the blank wins the first frame and 'a' the second, and what 'a' began with is lost."""
    log_probs = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.2, 0.4]]).log()[:, None]
    encoder = CharEncoder("ab")
    texts = text_probabilities(log_probs[:, 0].double().numpy())
    assert beam_search_decode(log_probs, encoder, beam_width=9) == ["a"]
    assert max(texts, key=texts.get) == (1,)
    assert beam_search_decode(log_probs, encoder, beam_width=1) != ["a"]


@decoders
@pytest.mark.parametrize("shape", [(4, 1, 28), (4, 29)])
def test_another_vocabulary_is_refused(decode, shape):
    with pytest.raises(ValueError, match=r"V = 29, not .* share one alphabet"):
        decode(torch.zeros(shape), ENGLISH)


@pytest.mark.parametrize("width", [0, -1])
def test_a_beam_without_width_is_refused(width):
    with pytest.raises(ValueError, match=f"at least 1, not {width}"):
        beam_search_decode(spoken("a"), ENGLISH, beam_width=width)


class LetterModel:
    """A small language model over the labels: random log-probabilities by the last label, label 2 ends a word."""

    def __init__(self, vocab: int, seed: int, forbidden: tuple[int, int] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.table, self.end = np.log(rng.dirichlet(np.ones(vocab), vocab)), np.log(rng.uniform(0.1, 1, vocab))
        if forbidden:
            self.table[forbidden] = -np.inf

    def start(self) -> int:
        return 0

    def scores(self, state: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.table[state][labels], (labels == 2).astype(float)

    def advance(self, _state: int, label: int) -> int:
        return label

    def finish(self, state: int) -> tuple[float, int]:
        return float(self.end[state]), 1

    def total(self, text: tuple[int, ...]) -> tuple[float, int]:
        """Log-probability and words of a whole text."""
        log_lm = sum(self.table[a, b] for a, b in zip((0, *text), text, strict=False))
        return log_lm + self.end[text[-1] if text else 0], 1 + text.count(2)


@pytest.mark.parametrize("forbidden", [None, (1, 2)])
@given(frames, st.integers(3, 4), seeds, st.floats(0, 3), st.floats(-3, 3))
def test_with_a_language_model_an_unlimited_beam_finds_the_exact_q_of_every_text(forbidden, frames, vocab, seed, alpha, beta):
    log_probs, model = random_log_probs(frames, vocab, seed), LetterModel(vocab, seed, forbidden)
    found = {h.labels: h for h in prefix_beam_search(log_probs, 10**6, model, alpha, beta)}
    expected = {}
    for text, probability in text_probabilities(log_probs).items():
        log_lm, words = model.total(text)
        if log_lm > -np.inf:
            expected[text] = np.log(probability) + alpha * log_lm + beta * words
    assert {labels: h.score for labels, h in found.items()} == pytest.approx(expected)
    assert all(h.score == pytest.approx(h.log_ctc + alpha * h.log_lm + beta * h.words) for h in found.values())
    assert prefix_beam_search(log_probs, 10**6, model, alpha, beta)[0].labels == max(expected, key=expected.get)


@given(st.integers(1, 12), seeds, st.integers(1, 20))
def test_without_weight_the_language_model_changes_nothing(frames, seed, width):
    log_probs = random_log_probs(frames, 4, seed)
    plain, weightless = prefix_beam_search(log_probs, width), prefix_beam_search(log_probs, width, LetterModel(4, seed))
    assert [(h.labels, h.score) for h in plain] == [(h.labels, h.score) for h in weightless]


def test_pruning_keeps_the_fewest_symbols_that_reach_the_cutoff():
    """Of 0.5, 0.3, 0.15, 0.05 the first three reach 0.9, so label 3 never begins a text; two are left by max_labels."""
    log_probs = np.log(np.tile([0.3, 0.5, 0.15, 0.05], (3, 1)))
    used = {label for h in prefix_beam_search(log_probs, 100, cutoff=0.9) for label in h.labels}
    assert used == {1, 2}
    assert {label for h in prefix_beam_search(log_probs, 100, max_labels=2) for label in h.labels} == {1}
    assert {label for h in prefix_beam_search(log_probs, 100) for label in h.labels} == {1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -0.1}, "alpha, .* at least 0, not -0.1"),
        ({"alpha": float("nan")}, "at least 0, not nan"),
        ({"alpha": float("inf")}, "finite and at least 0, not inf"),
        ({"beta": float("nan")}, "beta, .* finite, not nan"),
        ({"beta": float("-inf")}, "beta, .* finite, not -inf"),
        ({"cutoff": 0.0}, r"cutoff must lie in \(0, 1\]"),
        ({"max_labels": 0}, "max_labels must be at least 1"),
        ({"beam_width": 0}, "beam_width must be at least 1, not 0"),
    ],
)
def test_wrong_search_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        prefix_beam_search(random_log_probs(3, 3, 0), **arguments)


class OnlyWords:
    """A scorer that lets through texts of these words, spelt in labels without a space, and scores nothing else."""

    def __init__(self, words: list[tuple[int, ...]], vocab: int) -> None:
        self.words, self.vocab, self.asked = words, vocab, 0

    def start(self) -> tuple[int, ...]:
        return ()

    def scores(self, state: tuple[int, ...], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked += len(labels)
        begun = [any(word[: len(state) + 1] == (*state, label) for word in self.words) for label in labels.tolist()]
        return np.where(begun, 0.0, -np.inf), np.zeros(len(labels))

    def advance(self, state: tuple[int, ...], label: int) -> tuple[int, ...]:
        return (*state, label)

    def finish(self, state: tuple[int, ...]) -> tuple[float, int]:
        return (0.0 if not state or state in self.words else -np.inf), 0


def test_a_narrow_beam_that_ends_within_words_is_searched_again_wider():
    words, found = [(1, 2, 3), (2, 3, 1), (3, 1, 2)], 0
    for seed in range(40):
        log_probs = random_log_probs(8, 4, seed)
        best = prefix_beam_search(log_probs, 1000, OnlyWords(words, 4))
        narrow = prefix_beam_search(log_probs, 1, OnlyWords(words, 4))
        assert len(narrow) == 1 and narrow[0].labels in [hypothesis.labels for hypothesis in best]
        found += narrow[0].labels == best[0].labels
    assert found > 20


def test_where_the_lexicon_can_spell_nothing_nothing_is_found():
    sure = np.log(np.full((4, 4), 1e-300))
    sure[:, 3] = 0.0
    sure[sure < 0] = -np.inf
    assert prefix_beam_search(sure, 5, OnlyWords([(1, 2)], 4)) == []
    assert prefix_beam_search(sure, 5, OnlyWords([(3,)], 4))[0].labels == (3,)


def test_scores_are_kept_for_the_prefixes_of_the_beam_alone(monkeypatch):
    held = []

    class Watched(implementation._Prefixes):
        def scores(self, *arguments):
            answers = super().scores(*arguments)
            held.append(len(self.answers))
            return answers

    monkeypatch.setattr(implementation, "_Prefixes", Watched)
    every = [word for n in range(1, 6) for word in product((1, 2, 3), repeat=n)]
    prefix_beam_search(random_log_probs(30, 4, 0), 6, OnlyWords(every, 4))
    assert len(held) == 30 and max(held) <= 6


def test_rows_that_are_no_probabilities_are_refused_by_their_frame():
    log_probs = random_log_probs(4, 3, 0)
    log_probs[2] += 0.5
    with pytest.raises(ValueError, match=r"frame 2 of log_probs sums to a probability of 1\.649, not 1"):
        prefix_beam_search(log_probs)
    with pytest.raises(ValueError, match=r"of one utterance, not \(3,\)"):
        prefix_beam_search(np.zeros(3))


@pytest.mark.parametrize("model", [None, "letters", "forbidden", "lexicon"])
@given(st.integers(1, 7), seeds, st.integers(1, 12), st.floats(0, 3), st.floats(-3, 3), st.sampled_from([(1.0, None), (0.7, 2)]))
def test_the_quick_search_is_the_search_by_definition(model, frames, seed, width, alpha, beta, pruning):
    made = {
        None: lambda: None, "letters": lambda: LetterModel(4, seed), "forbidden": lambda: LetterModel(4, seed, (1, 2)),
        "lexicon": lambda: OnlyWords([(1, 2), (3,), (2, 2, 1)], 4),
    }  # fmt: skip
    results = []
    for plain in (True, False):
        with plain_definitions() if plain else nullcontext():
            results.append(prefix_beam_search(random_log_probs(frames, 4, seed), width, made[model](), alpha, beta, *pruning))
    by_definition, quick = results
    assert [h.labels for h in quick] == [h.labels for h in by_definition]
    for one, other in zip(quick, by_definition, strict=True):
        assert (one.score, one.log_ctc, one.log_lm) == pytest.approx((other.score, other.log_ctc, other.log_lm), abs=1e-9)
        assert one.words == other.words


@pytest.mark.parametrize("model", [None, "letters", "lexicon"])
@pytest.mark.parametrize("seed", range(12))
def test_a_carried_search_that_forgets_what_is_settled_is_the_search_of_the_whole(model, seed):
    log_probs, rng = np.repeat(random_log_probs(60, 4, seed), 2, axis=0) * 1.0, np.random.default_rng(seed)
    log_probs = log_probs * 3 - np.log(np.exp(log_probs * 3).sum(1, keepdims=True))  # surer, so that something settles
    make = {
        None: lambda: None, "letters": lambda: LetterModel(4, seed),
        "lexicon": lambda: OnlyWords([word for n in range(1, 6) for word in product((1, 2, 3), repeat=n)], 4),
    }  # fmt: skip
    width, alpha, beta = 5 + seed % 4, 0.5, 0.3
    if model == "lexicon":
        log_probs = log_probs[:10]
    search, settled, ends = BeamSearch(width, make[model](), alpha, beta, 0.99, 3), (), []
    while sum(ends) < len(log_probs):
        ends.append(int(rng.integers(0, 9)))
        search.push(log_probs[sum(ends[:-1]) : sum(ends)])
        whole = prefix_beam_search(log_probs[: sum(ends)], width, make[model](), alpha, beta, 0.99, 3)
        if rng.random() < 0.7:
            settled += search.settle()
            assert all(hypothesis.labels[: len(settled)] == settled for hypothesis in whole)
            assert search.settle() == ()
        found = search.hypotheses()
        assert [settled + hypothesis.labels for hypothesis in found] == [hypothesis.labels for hypothesis in whole]
        for one, other in zip(found, whole, strict=True):
            assert (one.score, one.log_ctc, one.log_lm, one.words) == (other.score, other.log_ctc, other.log_lm, other.words)
        assert model or settled + search.leading() == whole[0].labels
    assert len(search.prefixes.parent) < 200 and (settled or model == "lexicon")


def test_what_a_carried_search_keeps_does_not_grow():
    log_probs = random_log_probs(400, 4, 0) * 4
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
    search, whole, kept = BeamSearch(8, LetterModel(4, 0), 0.5), BeamSearch(8, LetterModel(4, 0), 0.5), []
    for start in range(0, 400, 10):
        for each in (search, whole):
            each.push(log_probs[start : start + 10])
        search.settle()
        held = search.prefixes
        kept.append(max(len(held.parent), len(held.children), len(held.answers), len(held.state), len(held.label)))
    assert 4 * max(kept) < len(whole.prefixes.parent)


def test_only_labels_that_may_extend_a_prefix_are_asked_of_the_language_model():
    """With a cutoff the sure symbol of each frame alone: of 100 labels hardly any."""
    log_probs = np.log(np.full((20, 100), 1e-6))
    for t in range(20):
        log_probs[t, t % 7] = np.log(1 - 99e-6)
    model = OnlyWords([tuple(range(1, 7)) * 3], 100)
    prefix_beam_search(log_probs, 8, model, cutoff=0.99)
    assert 0 < model.asked < 400
