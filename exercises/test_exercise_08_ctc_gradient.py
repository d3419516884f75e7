"""Check of exercise 8: the CTC gradient."""

from __future__ import annotations

import math
from itertools import groupby, pairwise, product

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F

from given import ctc_forward_variables, extend_target
from ladder import Ladder
from sizes import for_sizes

READY = "write out the recursion and the posterior yourself"
BY_HAND = "compute the gradient yourself, without autograd"
ladder = Ladder(
    "exercise_08_ctc_gradient",
    names=("ctc_backward_variables", "ctc_gradient"),
    forbidden={
        **dict.fromkeys(("ctc_loss", "CTCLoss", "_ctc_loss", "ctc_posteriors", "ctc_loss_by_recursion"), READY),
        **dict.fromkeys(("autograd", "backward", "requires_grad_", "requires_grad", "grad", "func", "forward_ad"), BY_HAND),
        **dict.fromkeys(("grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "jacobian", "hessian", "linearize"), BY_HAND),
    },
    operations=("ctc_loss", "autograd", "make_dual"),
)


def pair(seed: int, frames: int, vocab: int, texts: list[list[int]], lengths: list[int] | None = None, sharp: float = 1.0):
    """log_probs and the three other arguments."""
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(frames, len(texts), vocab, generator=generator, dtype=torch.float64) * sharp).log_softmax(-1)
    labels = torch.tensor([label for text in texts for label in text], dtype=torch.long)
    return log_probs, labels, torch.tensor(lengths or [frames] * len(texts)), torch.tensor([len(text) for text in texts])


def gradient_of_torch(log_probs: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Gradient of torch's loss at the inputs of the softmax."""
    logits = log_probs.clone().requires_grad_()
    loss = F.ctc_loss(logits.log_softmax(-1), *others, reduction="none", zero_infinity=False)
    return torch.autograd.grad(loss.sum(), logits)[0]


def all_paths(log_probs: torch.Tensor, text: list[int]) -> torch.Tensor:
    """The gradient of one utterance (T, V) by writing out every path."""
    frames, vocab = log_probs.shape
    posterior, total = torch.zeros_like(log_probs), 0.0
    for path in product(range(vocab), repeat=frames):
        if [label for label, _ in groupby(path) if label] == text:
            p = math.exp(sum(float(log_probs[t, label]) for t, label in enumerate(path)))
            total += p
            for t, label in enumerate(path):
                posterior[t, label] += p
    return log_probs.exp() - posterior / total


def all_endings(log_probs: torch.Tensor, text: list[int]) -> torch.Tensor:
    """log beta (T, S) of one utterance: from each state every path to the end, step by step, by what states may follow."""
    states = extend_target(text)
    frames, sums = len(log_probs), torch.zeros(len(log_probs), len(states), dtype=torch.float64)
    for t in range(frames):
        for s in range(len(states)):
            for path in product(range(3), repeat=frames - t - 1):  # how far each step goes
                place, p, allowed = s, float(log_probs[t, states[s]]), True
                for ahead, step in enumerate(path, start=t + 1):
                    before, place = place, place + step
                    if place >= len(states) or (step == 2 and (states[place] == 0 or states[place] == states[before])):
                        allowed = False
                        break
                    p += float(log_probs[ahead, states[place]])
                if allowed and place >= len(states) - 2:
                    sums[t, s] += math.exp(p)
    return sums.log()


@ladder.step("shape and dtype")
def shapes(answer, check):
    arguments = pair(0, 6, 4, [[1, 2, 3], [2], [3, 3]], [6, 5, 4])
    for dtype in (torch.float64, torch.float32):
        typed = (arguments[0].to(dtype), *arguments[1:])
        beta = check.call(answer.ctc_backward_variables, *typed)
        check.that("the type of the backward variables", isinstance(beta, torch.Tensor), type(beta).__name__, "tensor")
        check.equal("the shape of the backward variables, T' = 6, B = 3, the longest target 3", tuple(beta.shape), (6, 3, 7))
        check.equal("the dtype of the backward variables", str(beta.dtype), str(dtype))
        gradient = check.call(answer.ctc_gradient, *typed)
        check.close("the gradient, apart from its values", torch.as_tensor(gradient) * 0, torch.zeros(6, 3, 4, dtype=dtype))


@ladder.step("the worked example")
def worked_example(answer, check):
    log_probs, one = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]], dtype=torch.float64).log(), torch.tensor([1])
    got = check.call(answer.ctc_backward_variables, log_probs, one, torch.tensor([2]), one)
    wanted = torch.tensor([[0.24, 0.4, 0.36], [0.0, 0.4, 0.6]], dtype=torch.float64)
    check.close("beta, written as probabilities", got[:, 0].exp(), wanted)
    check.close("log beta", got[:, 0], wanted.log())
    got = check.call(answer.ctc_gradient, log_probs, one, torch.tensor([2]), one)
    check.close("the gradient", got[:, 0], torch.tensor([[0.225, -0.225], [0.225, -0.225]], dtype=torch.float64))


@ladder.step("beta: every path written out, and alpha times beta")
def oracle_beta(answer, check):
    for seed, text in enumerate([[1], [1, 2], [1, 1], [2, 1, 2], [1, 2, 2], []]):
        arguments = pair(seed, 5, 3, [text])
        got = check.call(answer.ctc_backward_variables, *arguments)
        check.close(f"log beta of target {text}", got[:, 0], all_endings(arguments[0][:, 0], text))
    log_probs, labels, lengths, counts = arguments = pair(7, 9, 5, [[1, 4, 4], [2, 1], [3, 3, 3, 1]], [9, 6, 8])
    beta = check.call(answer.ctc_backward_variables, *arguments)
    alpha = ctc_forward_variables(*arguments)
    for b, text in enumerate(labels.split(counts.tolist())):
        states, frames = extend_target(text.tolist()), int(lengths[b])
        both = alpha[:frames, b, : len(states)] + beta[:frames, b, : len(states)] - log_probs[:frames, b, states]
        wanted = -F.ctc_loss(log_probs[:, b : b + 1], text[None], lengths[b : b + 1], counts[b : b + 1], reduction="none")
        what = f"log of sum_s alpha beta / y of utterance {b}: log p(l | x) at every frame (Graves et al. 2006, Eq. 14)"
        check.close(what, torch.logsumexp(both, 1), wanted.expand(frames))
        check.close(
            f"log beta beyond the length of utterance {b}", beta[frames:, b], torch.full_like(beta[frames:, b], -math.inf)
        )
        check.close(
            f"log beta beyond the states of utterance {b}",
            beta[:, b, len(states) :],
            torch.full_like(beta[:, b, len(states) :], -math.inf),
        )


@ladder.step("the gradient of torch's CTC loss, in float64")
def oracle_torch(answer, check):
    for text in ([1], [1, 2], [1, 1], [3, 1, 3, 3]):
        arguments = pair(1, 8, 4, [text])
        check.close(f"gradient of target {text}", check.call(answer.ctc_gradient, *arguments), gradient_of_torch(*arguments))
    rng = np.random.default_rng(0)
    for seed in range(5):
        texts = [rng.integers(1, 5, int(n)).tolist() for n in rng.integers(1, 7, 4)]
        arguments = pair(seed, 18, 5, texts, rng.integers(14, 19, 4).tolist(), sharp=2.0)
        check.close("gradient of a batch", check.call(answer.ctc_gradient, *arguments), gradient_of_torch(*arguments))


@ladder.step("every path written out")
def oracle_paths(answer, check):
    for seed, text in enumerate([[1], [2, 1], [1, 1], [1, 2, 1], []]):
        arguments = pair(seed + 30, 5, 3, [text])
        got = check.call(answer.ctc_gradient, *arguments)
        check.close(f"gradient of target {text}", got[:, 0], all_paths(arguments[0][:, 0], text))


@ladder.step("properties: each frame sums to zero, neighbours and padding do not matter, a step against the gradient helps")
def properties(answer, check):
    log_probs, labels, lengths, counts = arguments = pair(40, 12, 6, [[1, 5, 5], [], [2, 3, 4, 2]], [12, 7, 9])
    got = check.call(answer.ctc_gradient, *arguments)
    check.close("the sum of the gradient in each frame", got.sum(2), torch.zeros(12, 3, dtype=torch.float64))
    check.close("the gradient beyond the lengths", torch.cat((got[7:, 1], got[9:, 2])), torch.zeros(8, 6, dtype=torch.float64))
    for b, text in enumerate(labels.split(counts.tolist())):
        alone = check.call(answer.ctc_gradient, log_probs[:, b : b + 1], text, lengths[b : b + 1], counts[b : b + 1])
        check.close(f"gradient of utterance {b} alone", alone[:, 0], got[:, b])
    other = log_probs.clone()
    other[7:, 1], other[9:, 2] = -3.0, -0.5
    check.close("gradient with other padding", check.call(answer.ctc_gradient, other, *arguments[1:]), got)
    before = F.ctc_loss(*arguments, reduction="none")
    after = F.ctc_loss((log_probs - 0.01 * got).log_softmax(-1), *arguments[1:], reduction="none")
    check.that(
        "that a small step against the gradient lowers each loss",
        bool((after < before).all()),
        after - before,
        "negative differences",
    )


@ladder.step("traps: no path, empty targets, one frame, impossible symbols, long utterances")
def traps(answer, check):
    for text, frames in (([1, 1], 2), ([1, 2], 1), ([1, 1, 1], 4)):
        check.raises(f"{text} in {frames} frames: no path", ValueError, answer.ctc_gradient, *pair(50, frames, 3, [text]))
    check.raises(
        "a batch in which one utterance has no path", ValueError, answer.ctc_gradient, *pair(51, 5, 3, [[1], [1, 1]], [5, 2])
    )
    for text, frames in (([], 4), ([], 1), ([2], 1), ([1, 1], 3), ([1, 2, 1], 3)):
        arguments = pair(52, frames, 3, [text])
        got = check.call(answer.ctc_gradient, *arguments)
        check.close(f"gradient of {text} in {frames} frames", got[:, 0], all_paths(arguments[0][:, 0], text))
    arguments = pair(53, 6, 3, [[], [1, 2]], [5, 6])
    got = check.call(answer.ctc_gradient, *arguments)
    check.close("gradient of an empty target in a batch", got[:5, 0], all_paths(arguments[0][:5, 0], []))
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.3, 0.0, 0.7], [0.2, 0.3, 0.5]], dtype=torch.float64).log()
    got = check.call(answer.ctc_gradient, log_probs[:, None], torch.tensor([1, 2]), torch.tensor([4]), torch.tensor([2]))
    check.close("gradient where some symbols have probability 0", got[:, 0], all_paths(log_probs, [1, 2]))
    numbers = torch.tensor([1, 2]), torch.tensor([4]), torch.tensor([2])
    got = check.call(answer.ctc_backward_variables, log_probs[:, None], *numbers)
    check.close("log beta where some symbols have probability 0", got[:, 0], all_endings(log_probs, [1, 2]))
    log_probs = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64).log()[:, None]
    check.raises(
        "an empty target where the blank has probability 0 in a frame: no path", ValueError, answer.ctc_gradient, log_probs,
        torch.tensor([], dtype=torch.long), torch.tensor([3]), torch.tensor([0]),
    )  # fmt: skip


@ladder.also
def more_traps(answer, check):
    log_probs, labels, lengths, counts = arguments = pair(56, 5, 3, [[1, 2], [2], []], [5, 1, 1])
    beta, got = check.call(answer.ctc_backward_variables, *arguments), check.call(answer.ctc_gradient, *arguments)
    for b, text in enumerate(labels.split(counts.tolist())):
        n, states = int(lengths[b]), 2 * len(text) + 1
        wanted = torch.full_like(beta[:, b], -math.inf)
        wanted[:n, :states] = all_endings(log_probs[:n, b], text.tolist())
        check.close(f"log beta of utterance {b} of a batch with lengths 5, 1, 1", beta[:, b], wanted)
        wanted = all_paths(log_probs[:n, b], text.tolist())
        check.close(f"gradient of utterance {b} of a batch with lengths 5, 1, 1", got[:n, b], wanted)
    arguments = pair(54, 300, 29, [np.random.default_rng(1).integers(1, 29, 25).tolist()])
    check.close("gradient of 300 frames", check.call(answer.ctc_gradient, *arguments), gradient_of_torch(*arguments))
    single = (arguments[0].float(), *arguments[1:])
    check.close(
        "gradient of 300 frames in float32",
        check.call(answer.ctc_gradient, *single),
        gradient_of_torch(*arguments).float(),
        (1e-2, 1e-3),
    )
    log_probs, *others = pair(55, 6, 6, [[1, 2]] * 6)
    turned = log_probs.transpose(0, 2).contiguous().transpose(0, 2)
    check.close(
        "gradient of a transposed tensor, T' = B = V = 6",
        check.call(answer.ctc_gradient, turned, *others),
        gradient_of_torch(turned, *others),
    )


@ladder.step("traps: confident networks, large alphabets, all digits, other kinds of numbers")
def numbers(answer, check):
    why = "did you subtract one number for all states before exp? Beside 1, exp(-300) is lost: subtract one for each state"
    for dtype, low in ((torch.float64, -300.0), (torch.float64, -2e4), (torch.float32, -50.0), (torch.float32, -110.0)):
        log_probs = torch.tensor([0.0, low], dtype=dtype).repeat(8, 1)[:, None].log_softmax(-1)
        arguments = log_probs, torch.tensor([1, 1, 1]), torch.tensor([8]), torch.tensor([3])
        where = f"of 111 in 8 frames, each blank with a probability of all but exp({low:g})"
        beta = check.call(answer.ctc_backward_variables, *arguments)
        wanted = torch.tensor(3 * low + math.log(10), dtype=dtype)  # 10 ways: C(5, 3)
        check.close(f"log beta of the first blank in the first frame {where}", beta[0, 0, 0], wanted, why=why)
        got = check.call(answer.ctc_gradient, *arguments)
        check.close(
            f"the gradient in the first frame {where}", got[0, 0], torch.tensor([0.5, -0.5], dtype=dtype), (1e-4, 1e-4), why
        )
    why = "did you compare labels with `is`? Equal numbers above 256 may be different objects; == compares their values"
    text = "6000 6000 in 2 frames, 6001 symbols: no path"
    check.raises(text, ValueError, answer.ctc_gradient, *pair(60, 2, 6001, [[6000, 6000]]))
    arguments = pair(60, 3, 6001, [[6000, 6000]])
    got = check.call(answer.ctc_gradient, *arguments)
    check.close("gradient of 6000 6000 in 3 frames, 6001 symbols", got, gradient_of_torch(*arguments), why=why)
    arguments = pair(61, 200, 6, [[1, 2, 2, 5, 3], [4]], [200, 170], sharp=3.0)
    got = check.call(answer.ctc_gradient, *arguments)
    check.close("gradient of 200 frames, to nine digits of float64", got, gradient_of_torch(*arguments), (1e-9, 1e-11))
    arguments = pair(62, 1050, 3, [[1, 2] * 65])
    check.close(
        "gradient of 130 labels in 1050 frames", check.call(answer.ctc_gradient, *arguments), gradient_of_torch(*arguments)
    )


@ladder.also
def kinds(answer, check):
    arguments = pair(63, 7, 4, [[1, 2], [], [3, 3, 1], [2]], [7, 2, 5, 1])
    small = (arguments[0], *(numbers.int() for numbers in arguments[1:]))
    wanted = gradient_of_torch(*arguments)
    check.close("gradient with labels and lengths in int32", check.call(answer.ctc_gradient, *small), wanted)
    check.close("gradient of the same batch again", check.call(answer.ctc_gradient, *arguments), wanted)
    empty = pair(64, 3, 3, [[], []], [3, 2])
    got = check.call(answer.ctc_gradient, *empty)
    for b, frames in enumerate((3, 2)):
        check.close("gradient where all targets are empty", got[:frames, b], all_paths(empty[0][:frames, b], []))
    never = torch.tensor([[0.5, 0.5, 0.0]] * 4, dtype=torch.float64).log()[:, None]
    for text in ([2], [1, 2]):
        numbers = torch.tensor(text), torch.tensor([4]), torch.tensor([len(text)])
        what = f"{text} where symbol 2 has probability 0 in every frame: no path"
        check.raises(what, ValueError, answer.ctc_gradient, never, *numbers)
        got = check.call(answer.ctc_backward_variables, never, *numbers)
        check.close(f"log beta of {text} there (no error)", got[:, 0], all_endings(never[:, 0], text))
    arguments = pair(66, 3, 3, [[1, 2, 1, 2]])
    got = check.call(answer.ctc_backward_variables, *arguments)
    check.close("log beta of 4 labels in 3 frames (no error)", got[:, 0], all_endings(arguments[0][:, 0], [1, 2, 1, 2]))
    arguments = pair(65, 4, 3, [[1, 1, 1], [2]], [4, 4])
    check.raises("a batch in which the first utterance has no path", ValueError, answer.ctc_gradient, *arguments)
    got = check.call(answer.ctc_backward_variables, *arguments)
    check.close("log beta of an utterance without any path (no error)", got[:, 0], all_endings(arguments[0][:, 0], [1, 1, 1]))


@ladder.also
def any_size(answer, check):
    @for_sizes(30, texts=st.lists(st.lists(st.integers(1, 3), max_size=5), min_size=1, max_size=3), spare=st.integers(-1, 3),
               longer=st.integers(0, 2), sharp=st.sampled_from([1.0, 30.0, 3000.0]))  # fmt: skip
    def edges(texts: list[list[int]], spare: int, longer: int, sharp: float) -> None:
        needed = [len(text) + sum(a == b for a, b in pairwise(text)) for text in texts]
        frames = [max(1, n + spare) for n in needed]
        arguments = pair(len(texts), max(frames) + longer, 4, texts, frames, sharp)
        what = f"{texts} in {frames} of {max(frames) + longer} frames"
        if any(n > t for n, t in zip(needed, frames, strict=True)):
            check.raises(f"{what}: no path", ValueError, answer.ctc_gradient, *arguments)
            return
        got = check.call(answer.ctc_gradient, *arguments)
        for b, (text, n) in enumerate(zip(texts, frames, strict=True)):  # each alone: torch needs a label in the batch
            one = (arguments[0][:n, b : b + 1], torch.tensor([text or [1]]), torch.tensor([n]), torch.tensor([len(text)]))
            wanted = torch.cat((gradient_of_torch(*one)[:, 0], torch.zeros(len(arguments[0]) - n, 4, dtype=torch.float64)))
            check.close(f"gradient of utterance {b} of {what}", got[:, b], wanted, (1e-7, 1e-9))


def test_exercise(climb):
    climb(ladder)
