"""The CTC loss against the sum over every path, for alphabets small enough to write them all out."""

from __future__ import annotations

import math
from itertools import groupby, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from implementation import ctc_loss, ctc_required_frames


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Merge repeats, then drop blanks."""
    return tuple(label for label, _ in groupby(path) if label)


def path_sum(log_probs: torch.Tensor, target: list[int]) -> torch.Tensor:
    """-log of the summed probability of all paths of (T, V) that collapse to the target."""
    frames, vocab = log_probs.shape
    paths = [path for path in product(range(vocab), repeat=frames) if collapse(path) == tuple(target)]
    scores = [sum(log_probs[t, label] for t, label in enumerate(path)) for path in paths]
    return -torch.logsumexp(torch.stack(scores), 0) if scores else torch.tensor(math.inf, dtype=torch.float64)


def loss_of(log_probs: torch.Tensor, target: list[int]) -> torch.Tensor:
    """ctc_loss of one utterance, (T, V)."""
    lengths = torch.tensor([len(log_probs)]), torch.tensor([len(target)])
    return ctc_loss(log_probs[:, None], torch.tensor(target, dtype=torch.long), *lengths)[0]


def random_logits(frames: int, vocab: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, vocab, generator=generator, dtype=torch.float64).requires_grad_()


@given(st.integers(1, 5), st.lists(st.integers(1, 2), max_size=4), st.integers(0, 10**6))
def test_the_loss_is_the_sum_over_all_paths(frames, target, seed):
    log_probs = random_logits(frames, 3, seed).log_softmax(-1)
    torch.testing.assert_close(loss_of(log_probs, target), path_sum(log_probs, target))


@pytest.mark.parametrize("target", [[1, 1], [1, 2, 1], [2], []])
def test_the_gradient_is_that_of_the_sum_over_all_paths(target):
    logits = random_logits(5, 3)
    gradients = [torch.autograd.grad(loss(logits.log_softmax(-1), target), logits) for loss in (loss_of, path_sum)]
    torch.testing.assert_close(*gradients)


def test_a_batch_equals_torchs_loss_of_padded_targets():
    log_probs = torch.randn(9, 3, 6, dtype=torch.float64).log_softmax(-1)
    padded, frames, labels = torch.tensor([[1, 1, 5], [2, 0, 0], [3, 4, 0]]), torch.tensor([9, 4, 6]), torch.tensor([3, 1, 2])
    expected = F.ctc_loss(log_probs, padded, frames, labels, reduction="none")
    torch.testing.assert_close(ctc_loss(log_probs, torch.tensor([1, 1, 5, 2, 3, 4]), frames, labels), expected)


def test_frames_beyond_the_length_do_not_count():
    log_probs = random_logits(6, 3).log_softmax(-1)
    loss = ctc_loss(log_probs[:, None], torch.tensor([1, 2]), torch.tensor([4]), torch.tensor([2]))[0]
    torch.testing.assert_close(loss, path_sum(log_probs[:4], [1, 2]))


def test_empty_texts_cost_the_blanks():
    log_probs = torch.randn(4, 2, 3).log_softmax(-1)
    loss = ctc_loss(log_probs, torch.tensor([], dtype=torch.long), torch.tensor([4, 2]), torch.tensor([0, 0]))
    torch.testing.assert_close(loss, torch.stack([-log_probs[:4, 0, 0].sum(), -log_probs[:2, 1, 0].sum()]))


def test_an_impossible_pair_costs_infinity_and_its_neighbour_does_not():
    log_probs = torch.randn(3, 2, 4).log_softmax(-1)
    loss = ctc_loss(log_probs, torch.tensor([1, 1, 2, 3]), torch.tensor([3, 3]), torch.tensor([3, 1]))
    assert loss.isinf().tolist() == [True, False]


@given(st.lists(st.integers(1, 3), max_size=4))
def test_required_frames_is_the_length_of_the_shortest_path(target):
    shortest = next(
        frames for frames in range(9) if any(collapse(path) == tuple(target) for path in product(range(4), repeat=frames))
    )
    assert ctc_required_frames(target) == shortest


def test_hello_needs_six_frames():
    assert ctc_required_frames("hello") == 6


GOOD = {"targets": [1, 2, 3], "output_lengths": [5, 4], "target_lengths": [2, 1]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"output_lengths": [5]}, r"B = 2, but there are \(1,\) output_lengths"),
        ({"target_lengths": [3]}, r"\(1,\) target_lengths"),
        ({"output_lengths": [6, 4]}, r"1\.\.5 .* \[6, 4\]"),
        ({"output_lengths": [5, 0]}, r"1\.\.5 .* \[5, 0\]"),
        ({"target_lengths": [2, 2]}, r"4 labels, not \(3,\)"),
        ({"targets": [[1, 2, 3]]}, r"1-D with 3 labels, not \(1, 3\)"),
        ({"targets": [1, 4, 3]}, r"1\.\.3 .* V = 4"),
        ({"targets": [1, 0, 3]}, r"1\.\.3 \(0 is the blank"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong, message):
    log_probs, arguments = torch.randn(5, 2, 4).log_softmax(-1), GOOD | wrong
    with pytest.raises(ValueError, match=message):
        ctc_loss(log_probs, **{name: torch.tensor(value) for name, value in arguments.items()})
