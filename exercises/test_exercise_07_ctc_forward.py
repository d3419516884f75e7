"""Check of exercise 7: the CTC forward recursion."""

from __future__ import annotations

import math
from itertools import groupby, pairwise, product

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F

from ladder import Ladder
from sizes import for_sizes

READY = "write the recursion yourself"
ladder = Ladder(
    "exercise_07_ctc_forward",
    names=("extend_target", "ctc_forward_variables", "ctc_loss_by_recursion"),
    forbidden=dict.fromkeys(("ctc_loss", "CTCLoss", "_ctc_loss", "ctc_posteriors", "ctc_gradient"), READY),
    operations=("ctc_loss",),
)  # fmt: skip


def pair(seed: int, frames: int, vocab: int, texts: list[list[int]], lengths: list[int] | None = None, sharp: float = 1.0):
    """log_probs and the three other arguments."""
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(frames, len(texts), vocab, generator=generator, dtype=torch.float64) * sharp).log_softmax(-1)
    labels = torch.tensor([label for text in texts for label in text], dtype=torch.long)
    return log_probs, labels, torch.tensor(lengths or [frames] * len(texts)), torch.tensor([len(text) for text in texts])


def all_beginnings(log_probs: torch.Tensor, text: list[int]) -> torch.Tensor:
    """log alpha (T, S) of one utterance by writing out every path of every length."""
    frames, vocab = log_probs.shape
    rows = []
    for t in range(1, frames + 1):
        sums = [0.0] * (2 * len(text) + 1)
        for path in product(range(vocab), repeat=t):
            spelt = [label for label, _ in groupby(path) if label]
            if spelt == text[: len(spelt)]:  # in the state after, or on, its last label
                state = 2 * len(spelt) - (path[-1] != 0)
                sums[state] += math.exp(sum(float(log_probs[place, label]) for place, label in enumerate(path)))
        rows.append([math.log(p) if p > 0 else -math.inf for p in sums])
    return torch.tensor(rows, dtype=torch.float64)


def agree_with_torch(check, answer, what: str, arguments: tuple) -> None:
    wanted = F.ctc_loss(*arguments, reduction="none", zero_infinity=False)
    check.close(what, check.call(answer.ctc_loss_by_recursion, *arguments), wanted)


@ladder.step("shape and dtype")
def shapes(answer, check):
    extended = check.call(answer.extend_target, [2, 1])
    check.that("the type of extend_target's result", isinstance(extended, list), type(extended).__name__, "list")
    check.equal("the number of states of two labels", len(extended), 5)
    arguments = pair(0, 6, 4, [[1, 2, 3], [2], [3, 3]], [6, 5, 4])
    for dtype in (torch.float64, torch.float32):
        typed = (arguments[0].to(dtype), *arguments[1:])
        alpha = check.call(answer.ctc_forward_variables, *typed)
        check.that("the type of the forward variables", isinstance(alpha, torch.Tensor), type(alpha).__name__, "tensor")
        check.equal("the shape of the forward variables, T' = 6, B = 3, the longest target 3", tuple(alpha.shape), (6, 3, 7))
        check.equal("the dtype of the forward variables", str(alpha.dtype), str(dtype))
        loss = check.call(answer.ctc_loss_by_recursion, *typed)
        check.close("the losses, apart from their values", torch.as_tensor(loss) * 0, torch.zeros(3, dtype=dtype))


@ladder.step("the worked example")
def worked_example(answer, check):
    check.equal("the extended target", check.call(answer.extend_target, [3, 1]), [0, 3, 0, 1, 0])
    log_probs, one = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]], dtype=torch.float64).log(), torch.tensor([1])
    got = check.call(answer.ctc_forward_variables, log_probs, one, torch.tensor([2]), one)
    wanted = torch.tensor([[0.6, 0.4, 0.0], [0.36, 0.4, 0.24]], dtype=torch.float64)
    check.close("alpha, written as probabilities", got[:, 0].exp(), wanted)
    check.close("log alpha", got[:, 0], wanted.log())
    got = check.call(answer.ctc_loss_by_recursion, log_probs, one, torch.tensor([2]), one)
    check.close("the loss", got, -torch.tensor([0.64], dtype=torch.float64).log())


@ladder.step("every path written out")
def oracle_paths(answer, check):
    for text in ([], [1], [4, 2, 4], [1, 1, 2]):
        got = check.call(answer.extend_target, text)
        check.equal("the extended target", got, [0, *[part for label in text for part in (label, 0)]])
    for seed, text in enumerate([[1], [1, 2], [1, 1], [2, 1, 2], [1, 2, 2], []]):
        arguments = pair(seed, 5, 3, [text])
        got = check.call(answer.ctc_forward_variables, *arguments)
        check.close(f"log alpha of target {text}", got[:, 0], all_beginnings(arguments[0][:, 0], text))


@ladder.step("torch's CTC loss in float64 on random batches")
def oracle_torch(answer, check):
    for text in ([1, 2], [1, 1], [3, 1, 3, 3], [2]):
        agree_with_torch(check, answer, f"loss of target {text}", pair(1, 9, 4, [text]))
    rng = np.random.default_rng(0)
    for seed in range(6):
        texts = [rng.integers(1, 5, int(n)).tolist() for n in rng.integers(1, 7, 4)]
        lengths = rng.integers(14, 21, 4).tolist()
        agree_with_torch(check, answer, "losses of a batch", pair(seed, 20, 5, texts, lengths, sharp=2.0))


@ladder.step("a property: the probabilities of all texts sum to one")
def sums_to_one(answer, check):
    for frames in (1, 2, 3, 4):
        texts = [list(text) for n in range(frames + 1) for text in product((1, 2), repeat=n)]
        log_probs, labels, lengths, counts = pair(frames, frames, 3, texts)
        log_probs = log_probs[:, :1].expand(-1, len(texts), -1)
        losses = check.call(answer.ctc_loss_by_recursion, log_probs, labels, lengths, counts)
        check.number(
            f"the sum over all texts of exp(-loss), {frames} frames, symbols blank, 1, 2", float((-losses).exp().sum()), 1.0, 1e-6
        )
    arguments = pair(9, 8, 4, [[1, 2, 1], [3], [2, 2]], [8, 5, 6])
    alpha = check.call(answer.ctc_forward_variables, *arguments)
    other = arguments[0].clone()
    other[5:, 1], other[6:, 2] = -7.0, -0.1
    changed = check.call(answer.ctc_forward_variables, other, *arguments[1:])
    for b, (frames, states) in enumerate([(8, 7), (5, 3), (6, 5)]):
        alone = check.call(answer.ctc_forward_variables, *pair_of(arguments, b))
        check.close(f"log alpha of utterance {b} alone", alone[:frames, 0, :states], alpha[:frames, b, :states])
        check.close(f"log alpha of utterance {b} with other padding", changed[:frames, b, :states], alpha[:frames, b, :states])
    loss = check.call(answer.ctc_loss_by_recursion, *arguments)
    check.close("the losses with other padding", check.call(answer.ctc_loss_by_recursion, other, *arguments[1:]), loss)


def pair_of(arguments: tuple, b: int) -> tuple:
    """The arguments of one utterance of a batch."""
    log_probs, labels, lengths, counts = arguments
    return log_probs[:, b : b + 1], labels.split(counts.tolist())[b], lengths[b : b + 1], counts[b : b + 1]


@ladder.step("traps: empty targets, too few frames, long utterances, impossible symbols")
def traps(answer, check):
    log_probs, labels, lengths, counts = pair(20, 5, 3, [[], [1, 2], []], [5, 4, 1])
    wanted = [
        -log_probs[:, 0, 0].sum(),
        F.ctc_loss(log_probs[:4, 1], labels, lengths[1], counts[1], reduction="none"),
        -log_probs[0, 2, 0],
    ]
    got = check.call(answer.ctc_loss_by_recursion, log_probs, labels, lengths, counts)
    check.close("losses of an empty target, of [1, 2], of an empty target in one frame", got, torch.stack(wanted))
    got = check.call(answer.ctc_loss_by_recursion, log_probs[:, :1], labels[:0], lengths[:1], counts[:1])
    check.close("loss of an empty target alone", got, wanted[0][None])
    log_probs, labels, lengths, counts = pair(21, 3, 3, [[1, 1], [1, 2, 1, 2], [1, 2, 1], [1, 1, 2], [2]], [2, 3, 3, 3, 1])
    got = check.call(answer.ctc_loss_by_recursion, log_probs, labels, lengths, counts)
    wanted = torch.tensor(
        [math.inf, math.inf, -log_probs[[0, 1, 2], 2, [1, 2, 1]].sum(), math.inf, -log_probs[0, 4, 2]], dtype=torch.float64
    )
    check.close("losses of 11 in 2 frames, 1212 in 3, 121 in 3, 112 in 3, 2 in 1", got, wanted)
    arguments = pair(22, 400, 29, [np.random.default_rng(1).integers(1, 29, 30).tolist()])
    agree_with_torch(check, answer, "loss of 400 frames", arguments)
    single = (arguments[0].float(), *arguments[1:])
    got = check.call(answer.ctc_loss_by_recursion, *single)
    check.close("loss of 400 frames in float32", got, F.ctc_loss(*arguments, reduction="none").float(), (1e-4, 1e-3))
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.3, 0.0, 0.7]], dtype=torch.float64).log()[:, None]
    got = check.call(answer.ctc_forward_variables, log_probs, torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([2]))
    check.close("log alpha where some symbols have probability 0", got[:, 0], all_beginnings(log_probs[:, 0], [1, 2]))
    turned = pair(23, 6, 6, [[1, 2]] * 6)
    log_probs = turned[0].transpose(0, 2).contiguous().transpose(0, 2)
    agree_with_torch(check, answer, "losses of a transposed tensor, T' = B = V = 6", (log_probs, *turned[1:]))
    grown = turned[0].clone().requires_grad_()
    got = check.call(answer.ctc_loss_by_recursion, grown, *turned[1:])
    check.close("losses of log_probs with requires_grad", got, F.ctc_loss(*turned, reduction="none"))


def peaky(dtype: torch.dtype, low: float) -> tuple:
    """Eight frames of a network that is sure of the blank, and a text of three equal labels that needs five."""
    log_probs = torch.tensor([0.0, low], dtype=dtype).repeat(8, 1)[:, None].log_softmax(-1)
    return log_probs, torch.tensor([1, 1, 1]), torch.tensor([8]), torch.tensor([3])


@ladder.step("traps: sure networks, large alphabets, all digits, many frames")
def numbers(answer, check):
    why = "did you subtract one number for all states before exp? Beside 1, exp(-300) is lost: subtract one for each state"
    for dtype, low in ((torch.float64, -300.0), (torch.float64, -1e6), (torch.float32, -50.0), (torch.float32, -110.0)):
        arguments = peaky(dtype, low)
        got = check.call(answer.ctc_loss_by_recursion, *arguments)
        wanted = F.ctc_loss(*(arguments[0].double(), *arguments[1:]), reduction="none").to(dtype)
        check.close(f"loss of 111 in 8 frames, each blank with a probability of all but exp({low:g})", got, wanted, why=why)
    alpha = check.call(answer.ctc_forward_variables, *peaky(torch.float64, -300.0))
    wanted = torch.tensor(math.log(10) - 900, dtype=torch.float64)  # 10 ways to place the three labels with blanks between
    check.close("the last log alpha of the last blank there", alpha[7, 0, 6], wanted, why=why)
    check.close("the first log alpha there", alpha[0, 0], torch.tensor([0.0, -300.0] + 5 * [-math.inf], dtype=torch.float64))
    why = "did you compare labels with `is`? Equal numbers above 256 may be different objects; == compares their values"
    for frames in (2, 3, 5):
        arguments = pair(60, frames, 6001, [[6000, 6000]])
        got = check.call(answer.ctc_loss_by_recursion, *arguments)
        wanted = F.ctc_loss(*arguments, reduction="none", zero_infinity=False)
        check.close(f"loss of 6000 6000 in {frames} frames, 6001 symbols", got, wanted, why=why)
    arguments = pair(61, 200, 6, [[1, 2, 2, 5, 3], [4]], [200, 170], sharp=3.0)
    got = check.call(answer.ctc_loss_by_recursion, *arguments)
    check.close("losses of 200 frames, to ten digits of float64", got, F.ctc_loss(*arguments, reduction="none"), (1e-11, 0.0))
    arguments = pair(62, 1050, 3, [[1, 2] * 65])
    agree_with_torch(check, answer, "loss of 130 labels in 1050 frames", arguments)


@ladder.step("traps: impossible texts, other kinds of numbers, batches of all sorts")
def kinds(answer, check):
    for text, wanted in (((2, 2), [0, 2, 0, 2, 0]), ((), [0]), (range(1, 4), [0, 1, 0, 2, 0, 3, 0]), ([300], [0, 300, 0])):
        got = check.call(answer.extend_target, text)
        check.equal("the extended target", got, wanted)
        check.that("its type", isinstance(got, list), type(got).__name__, "list")
        check.equal("the types in it", sorted({type(state).__name__ for state in got}), ["int"])
    never = torch.tensor([[0.5, 0.5, 0.0]] * 4, dtype=torch.float64).log()[:, None]
    for text in ([2], [1, 2], [2, 2]):
        numbers = torch.tensor(text), torch.tensor([4]), torch.tensor([len(text)])
        got = check.call(answer.ctc_loss_by_recursion, never, *numbers)
        check.close(
            f"loss of {text} where symbol 2 has probability 0 in every frame", got, torch.tensor([math.inf], dtype=torch.float64)
        )
        alpha = check.call(answer.ctc_forward_variables, never, *numbers)
        check.close(f"log alpha of {text} there", alpha[:, 0], all_beginnings(never[:, 0], text))
    no_blank = torch.tensor([[0.0, 1.0]] * 3, dtype=torch.float64).log()[:, None]
    got = check.call(
        answer.ctc_loss_by_recursion, no_blank, torch.tensor([], dtype=torch.long), torch.tensor([3]), torch.tensor([0])
    )
    check.close("loss of an empty target where the blank has probability 0", got, torch.tensor([math.inf], dtype=torch.float64))
    got = check.call(answer.ctc_loss_by_recursion, no_blank, torch.tensor([1]), torch.tensor([3]), torch.tensor([1]))
    check.close("loss of [1] where its probability is 1", got, torch.zeros(1, dtype=torch.float64))


@ladder.also
def batches(answer, check):
    arguments = pair(70, 7, 4, [[1, 2], [], [3, 3, 1], [2]], [7, 2, 5, 1])
    wanted = F.ctc_loss(*arguments, reduction="none", zero_infinity=False)
    small = (arguments[0], *(numbers.int() for numbers in arguments[1:]))
    check.close("losses with labels and lengths in int32", check.call(answer.ctc_loss_by_recursion, *small), wanted)
    alpha = check.call(answer.ctc_forward_variables, *arguments)
    for b, text in enumerate(arguments[1].split(arguments[3].tolist())):
        one, frames, states = arguments[0][:, b], int(arguments[2][b]), 2 * len(text) + 1
        what = f"log alpha of utterance {b} of a batch with lengths 7, 2, 5, 1"
        check.close(what, alpha[:frames, b, :states], all_beginnings(one[:frames], text.tolist()))
    grown = arguments[0].clone().requires_grad_()
    got = check.call(answer.ctc_forward_variables, grown, *arguments[1:])
    check.close("log alpha of log_probs with requires_grad, of utterance 0", got[:, 0, :5], alpha[:, 0, :5])
    long = np.random.default_rng(3).integers(1, 4, 40).tolist()
    got = check.call(answer.ctc_loss_by_recursion, *pair(72, 41, 4, [[1, 1, *long], long], [41, 39]))
    check.close("losses of 42 labels in 41 frames, 40 in 39", got, torch.tensor([math.inf, math.inf], dtype=torch.float64))
    empty = pair(71, 3, 3, [[], []], [3, 2])
    got = check.call(answer.ctc_loss_by_recursion, *empty)
    check.close("losses where all targets are empty", got, torch.stack((-empty[0][:, 0, 0].sum(), -empty[0][:2, 1, 0].sum())))
    got = check.call(answer.ctc_forward_variables, *empty)
    check.equal("the shape of log alpha there, S = 1", tuple(got.shape), (3, 2, 1))
    check.close("losses of the first batch again", check.call(answer.ctc_loss_by_recursion, *arguments), wanted)


@ladder.also
def any_size(answer, check):
    uniform = torch.full((2000, 1, 29), -math.log(29), dtype=torch.float64)
    arguments = uniform, torch.tensor([8, 5, 12, 12, 15]), torch.tensor([2000]), torch.tensor([5])
    why = "no finite number is small enough for log 0: 2000 frames alone cost more than 6000 nats; log 0 is -inf"
    wanted, got = F.ctc_loss(*arguments, reduction="none"), check.call(answer.ctc_loss_by_recursion, *arguments)
    check.close("loss of 2000 frames in which 29 symbols are equally likely", got, wanted, why=why)
    arguments = pair(73, 6, 4, [[1, 2, 2], [3]], sharp=1e5)
    alpha = check.call(answer.ctc_forward_variables, *arguments)
    for b, text in enumerate(([1, 2, 2], [3])):
        what = f"which log alpha of utterance {b} are -inf, where log_probs are around -100000"
        got = alpha[:, b, : 2 * len(text) + 1].isinf()
        check.close(what, got, all_beginnings(arguments[0][:, b] * 0, text).isinf(), why=why)

    @for_sizes(30, texts=st.lists(st.lists(st.integers(1, 3), max_size=5), min_size=1, max_size=3), spare=st.integers(-1, 3),
               longer=st.integers(0, 2), sharp=st.sampled_from([1.0, 30.0, 3000.0]))  # fmt: skip
    def edges(texts: list[list[int]], spare: int, longer: int, sharp: float) -> None:
        frames = [max(1, len(text) + sum(a == b for a, b in pairwise(text)) + spare) for text in texts]  # just enough, or not
        log_probs, *others = pair(len(texts), max(frames) + longer, 4, texts, frames, sharp)
        wanted = F.ctc_loss(log_probs, *others, reduction="none", zero_infinity=False)
        if not others[0].numel():  # torch needs a label
            wanted = torch.stack([-log_probs[:n, b, 0].sum() for b, n in enumerate(frames)])
        got = check.call(answer.ctc_loss_by_recursion, log_probs, *others)
        check.close(f"losses of {texts} in {frames} of {len(log_probs)} frames", got, wanted, (1e-9, 1e-9))


def test_exercise(climb):
    climb(ladder)
