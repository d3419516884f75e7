"""The CTC recursion written out: against torch's compiled loss, every path written out, and itself backwards."""

from __future__ import annotations

import math
from itertools import groupby, pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import implementation
from implementation import (
    AlignedText,
    CharEncoder,
    character_times,
    ctc_backward_variables,
    ctc_forward_variables,
    ctc_gradient,
    ctc_loss,
    ctc_loss_by_recursion,
    ctc_posteriors,
    ctc_required_frames,
    extend_target,
    forced_alignment,
    word_times,
)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Merge repeats, then drop blanks."""
    return tuple(label for label, _ in groupby(path) if label)


def random_case(seed: int, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (T, B, V) and targets in which repeats, empty texts, exact fits and impossible pairs all are common."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, size: int = 1) -> torch.Tensor:
        return torch.randint(low, high + 1, (size,), generator=generator)

    vocab, frames = int(draw(2, 5)), int(draw(1, 12))
    target_lengths, output_lengths = draw(0, 6, batch), draw(1, frames, batch)
    logits = 3 * torch.randn(frames, batch, vocab, generator=generator, dtype=torch.float64)
    return logits, draw(1, vocab - 1, int(target_lengths.sum())), output_lengths, target_lengths


def feasible_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same, with the impossible pairs' texts emptied."""
    logits, targets, output_lengths, target_lengths = random_case(seed)
    rows = [row.tolist() for row in targets.split(target_lengths.tolist())]
    rows = [row if ctc_required_frames(row) <= frames else [] for row, frames in zip(rows, output_lengths.tolist(), strict=True)]
    targets = torch.tensor([label for row in rows for label in row], dtype=torch.long)
    return logits, targets, output_lengths, torch.tensor([len(row) for row in rows])


def test_value_and_gradient_equal_torchs_in_two_thousand_cases():
    impossible = exact_fits = 0
    for seed in range(200):
        logits, *rest = random_case(seed, batch=10)
        logits.requires_grad_()
        expected, ours = (loss(logits.log_softmax(-1), *rest) for loss in (ctc_loss, ctc_loss_by_recursion))
        finite = expected.isfinite()
        assert ours.isfinite().equal(finite)
        impossible += int((~finite).sum())
        needed = [ctc_required_frames(row.tolist()) for row in rest[0].split(rest[2].tolist())]
        exact_fits += sum(need == frames > 1 for need, frames in zip(needed, rest[1].tolist(), strict=True))
        if finite.any():
            torch.testing.assert_close(ours[finite], expected[finite], rtol=1e-10, atol=1e-13)
            gradients = [torch.autograd.grad(loss[finite].sum(), logits, retain_graph=True)[0] for loss in (expected, ours)]
            torch.testing.assert_close(gradients[1][:, finite], gradients[0][:, finite], rtol=1e-10, atol=1e-12)
            assert not gradients[1][:, ~finite].any()  # torch's is nan there
    assert impossible > 100 and exact_fits > 100  # the cases were worth their name


def test_an_impossible_pair_costs_infinity_and_spoils_no_gradient():
    logits = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    arguments = torch.tensor([1, 1, 2, 3]), torch.tensor([3, 3]), torch.tensor([3, 1])
    loss = ctc_loss_by_recursion(logits.log_softmax(-1), *arguments)
    assert loss.isinf().tolist() == [True, False]
    (gradient,) = torch.autograd.grad(loss[1], logits)
    assert gradient.isfinite().all() and gradient[:, 0].abs().sum() == 0 and gradient[:, 1].abs().sum() > 0
    with pytest.raises(ValueError, match="too few frames"):
        ctc_posteriors(logits.log_softmax(-1), *arguments)


def test_the_extended_target_has_blanks_all_around():
    assert extend_target([8, 5, 12, 12, 15]) == [0, 8, 0, 5, 0, 12, 0, 12, 0, 15, 0]
    assert extend_target([]) == [0]


def state_paths(extended: list[int], frames: int) -> list[tuple[int, ...]]:
    """All walks through the states: stay, one on, or two on into a label that differs from the one before."""

    def allowed(a: int, b: int) -> bool:
        return b - a in (0, 1) or (b - a == 2 and extended[b] != 0 and extended[b] != extended[a])

    paths = product(range(len(extended)), repeat=frames)
    return [path for path in paths if all(allowed(a, b) for a, b in pairwise(path))]


@given(st.integers(1, 4), st.lists(st.integers(1, 2), max_size=2), st.integers(0, 10**6))
def test_alpha_is_the_sum_over_all_beginnings_and_beta_over_all_endings(frames, target, seed):
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(frames, 1, 3, generator=generator, dtype=torch.float64).log_softmax(-1)
    arguments = log_probs, torch.tensor(target, dtype=torch.long), torch.tensor([frames]), torch.tensor([len(target)])
    extended = extend_target(target)
    alpha, beta = torch.zeros(2, frames, len(extended), dtype=torch.float64)
    for t in range(frames):
        for s in range(len(extended)):
            alpha[t, s] = sum(
                math.exp(sum(log_probs[i, 0, extended[state]] for i, state in enumerate(path)))
                for path in state_paths(extended, t + 1) if path[0] <= 1 and path[-1] == s
            )  # fmt: skip
            beta[t, s] = sum(
                math.exp(sum(log_probs[t + i, 0, extended[state]] for i, state in enumerate(path)))
                for path in state_paths(extended, frames - t) if path[0] == s and path[-1] >= len(extended) - 2
            )  # fmt: skip
    torch.testing.assert_close(ctc_forward_variables(*arguments)[:, 0].exp(), alpha)
    torch.testing.assert_close(ctc_backward_variables(*arguments)[:, 0].exp(), beta)


@given(st.integers(0, 10**6))
def test_every_frame_tells_the_same_probability_of_the_text(seed):
    """Graves et al. 2006, Eq. 14: sum over s of alpha beta / y, at any frame."""
    logits, *arguments = feasible_case(seed)
    log_probs = logits.log_softmax(-1)
    alpha, beta = ctc_forward_variables(log_probs, *arguments), ctc_backward_variables(log_probs, *arguments)
    losses = ctc_loss(log_probs, *arguments)
    for b, row in enumerate(arguments[0].split(arguments[2].tolist())):
        extended = extend_target(row.tolist())
        for t in range(int(arguments[1][b])):
            both = alpha[t, b, : len(extended)] + beta[t, b, : len(extended)] - log_probs[t, b, extended]
            torch.testing.assert_close(torch.logsumexp(both, 0), -losses[b])


@given(st.integers(0, 10**6))
def test_the_gradient_by_hand_is_autograds_of_torchs_loss(seed):
    logits, *arguments = feasible_case(seed)
    logits.requires_grad_()
    (expected,) = torch.autograd.grad(ctc_loss(logits.log_softmax(-1), *arguments).sum(), logits)
    torch.testing.assert_close(ctc_gradient(logits.detach().log_softmax(-1), *arguments), expected, rtol=1e-10, atol=1e-12)


@given(st.integers(0, 10**6))
def test_posteriors_sum_to_one_within_and_to_nothing_beyond_the_utterance(seed):
    logits, *arguments = feasible_case(seed)
    sums = ctc_posteriors(logits.log_softmax(-1), *arguments).sum(-1)
    inside = torch.arange(len(logits))[:, None] < arguments[1]
    torch.testing.assert_close(sums, inside.double())


@pytest.mark.parametrize("impossible", [(), (0, 1), (1, 0), (2, 1)])
def test_posteriors_are_the_share_of_the_paths_that_say_a_symbol(impossible):
    logits, target = torch.randn(4, 3, dtype=torch.float64), (1, 1)
    if impossible:
        logits[impossible] = -math.inf
    log_probs = logits.log_softmax(-1)
    paths = [path for path in product(range(3), repeat=4) if collapse(path) == target]
    weights = torch.stack([sum(log_probs[t, label] for t, label in enumerate(path)) for path in paths]).softmax(0)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for path, weight in zip(paths, weights, strict=True):
        expected[range(4), path] += weight
    found = ctc_posteriors(log_probs[:, None], torch.tensor(target), torch.tensor([4]), torch.tensor([2]))
    torch.testing.assert_close(found[:, 0], expected)


@given(st.integers(1, 6), st.lists(st.integers(1, 2), max_size=4), st.integers(0, 10**6))
def test_forced_alignment_is_the_likeliest_of_all_paths(frames, target, seed):
    if ctc_required_frames(target) > frames:
        with pytest.raises(ValueError, match=f"need {ctc_required_frames(target)} output frames .* but got {frames}"):
            forced_alignment(torch.zeros(frames, 3), target)
        return
    log_probs = torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).log_softmax(-1)
    path = [extend_target(target)[state] for state in forced_alignment(log_probs, target)]
    assert collapse(tuple(path)) == tuple(target)
    best = max(
        sum(log_probs[t, label] for t, label in enumerate(other))
        for other in product(range(3), repeat=frames)
        if collapse(other) == tuple(target)
    )
    torch.testing.assert_close(sum(log_probs[t, label] for t, label in enumerate(path)), best)


def test_posteriors_of_a_long_utterance_sum_to_one_in_float32():
    frames, target = 1500, torch.randint(1, 29, (300,))
    log_probs = torch.randn(frames, 1, 29).log_softmax(-1)
    sums = ctc_posteriors(log_probs, target, torch.tensor([frames]), torch.tensor([len(target)])).sum(-1)
    torch.testing.assert_close(sums, torch.ones(frames, 1), atol=1e-5, rtol=0)


def test_a_target_of_probability_0_has_no_alignment():
    log_probs = torch.randn(6, 4).log_softmax(-1)
    log_probs[:, 2] = -math.inf
    with pytest.raises(ValueError, match="every path that spells the target has probability 0"):
        forced_alignment(log_probs, [1, 2])
    assert forced_alignment(log_probs, [1, 3])


def test_characters_and_words_get_their_seconds():
    encoder = CharEncoder()
    labels = [0 if char == "_" else encoder.encode(char)[0] for char in "_hh_i  yo_u_"]
    log_probs = (9.0 * torch.eye(encoder.vocab_size)[labels]).log_softmax(-1)
    characters = character_times(log_probs, "hi you", encoder, 0.5)
    assert characters == [
        AlignedText("h", 0.5, 1.5), AlignedText("i", 2.0, 2.5), AlignedText(" ", 2.5, 3.5),
        AlignedText("y", 3.5, 4.0), AlignedText("o", 4.0, 4.5), AlignedText("u", 5.0, 5.5),
    ]  # fmt: skip
    assert word_times(characters) == [AlignedText("hi", 0.5, 2.5), AlignedText("you", 3.5, 5.5)]


def test_words_are_divided_by_their_spaces_where_letters_come_early():
    units = [AlignedText(*unit) for unit in (("a", 0.1, 0.2), ("b", 0.2, 0.3), (" ", 0.6, 0.7), ("c", 0.9, 1.0), (" ", 1.4, 1.5))]
    assert word_times(units) == [AlignedText("ab", 0.1, 0.6), AlignedText("c", 0.7, 1.4)]
    spaces_first = [AlignedText(" ", 0.0, 0.1), AlignedText(" ", 0.2, 0.3), AlignedText("a", 0.4, 0.5)]
    assert word_times(spaces_first) == [AlignedText("a", 0.3, 0.5)]


def test_a_double_letter_is_two_characters_in_time():
    encoder = CharEncoder("l")
    log_probs = torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.1, 0.9]]).log()
    assert character_times(log_probs, "ll", encoder, 1.0) == [AlignedText("l", 0.0, 1.0), AlignedText("l", 2.0, 3.0)]


@pytest.mark.parametrize("frames", [1, 2, 7, 50, 101])
def test_a_long_alignment_in_pieces_is_the_one_in_one_piece(frames, monkeypatch):
    log_probs = torch.randn(frames, 5, dtype=torch.float64).log_softmax(-1)
    target = torch.randint(1, 5, (frames // 3,)).tolist()
    at_once, real, pieces = forced_alignment(log_probs, target), implementation._viterbi, []
    monkeypatch.setattr(implementation, "_ALIGNED_AT_ONCE", 0)
    monkeypatch.setattr(implementation, "_viterbi", lambda best, rows, y: (pieces.append(len(rows)), real(best, rows, y))[1])
    assert forced_alignment(log_probs, target) == at_once
    assert max(pieces) <= math.isqrt(frames) + 1  # so much is kept at once, of the whole and of a piece
