"""Check of exercise 9: prefix beam search with a language model."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby, product

import hypothesis.strategies as st
import numpy as np
import torch
from implementation import Hypothesis
from implementation import prefix_beam_search as library_search

from ladder import Ladder
from sizes import for_sizes

READY = "write the search yourself"
ladder = Ladder(
    "exercise_09_beam_search",
    names=("prefix_beam_search",),
    forbidden=dict.fromkeys(("beam_search_decode", "search_faster", "_search_step", "_Prefixes", "ctc_decoder"), READY)
    | {"BeamSearchDecoderCTC": READY},
)


def log_probs_of(seed: int, frames: int, vocab: int) -> np.ndarray:
    """Peaked like a network's."""
    logits = 2 * np.random.default_rng(seed).normal(size=(frames, vocab))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class TableScorer:
    """A language model by chance: for each text so far a row of log-probabilities and words. Its state is the text."""

    def __init__(self, seed: int, vocab: int, forbids: bool = False) -> None:
        self.seed, self.vocab, self.forbids = seed, vocab, forbids

    def start(self) -> tuple:
        return ()

    def scores(self, state: tuple, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(labels, np.ndarray) or labels.ndim != 1:
            raise TypeError(f"scores(state, labels) takes an array of labels, such as np.array([3, 1]), not {labels!r}")
        log_lm, words = self.row(state)
        return log_lm[labels.astype(int)], words[labels.astype(int)]

    def row(self, state: tuple) -> tuple[np.ndarray, np.ndarray]:
        """What every label adds, (V,) each."""
        rng = np.random.Generator(np.random.PCG64(hash((self.seed, state)) % 2**63))
        log_lm = -rng.exponential(2.0, self.vocab)
        if self.forbids:
            log_lm[rng.random(self.vocab) < 0.3] = -np.inf
        return log_lm, rng.integers(0, 2, self.vocab)

    def advance(self, state: tuple, label: int) -> tuple:
        return (*state, int(label))

    def finish(self, state: tuple) -> tuple[float, int]:
        rng = np.random.Generator(np.random.PCG64(hash((self.seed, 99, state)) % 2**63))
        return float(-rng.exponential(1.0)), int(rng.integers(0, 2))

    def of_text(self, text: tuple) -> tuple[float, int]:
        """log_lm and words of a whole text."""
        log_lm, words = self.finish(text)
        for place, label in enumerate(text):
            added, counted = self.row(text[:place])
            log_lm, words = log_lm + added[label], words + int(counted[label])
        return log_lm, words


def every_text(
    log_probs: np.ndarray, scorer: TableScorer | None = None, alpha: float = 0.0, beta: float = 0.0
) -> list[Hypothesis]:
    """All texts by writing out every path, best first."""
    texts = defaultdict(float)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        texts[tuple(label for label, _ in groupby(path) if label)] += math.exp(
            sum(log_probs[t, label] for t, label in enumerate(path))
        )
    found = []
    for text, p in texts.items():
        log_lm, words = scorer.of_text(text) if scorer else (0.0, 0)
        if p > 0 and log_lm > -math.inf:
            found.append(Hypothesis(text, math.log(p) + alpha * log_lm + beta * words, math.log(p), float(log_lm), words))
    return sorted(found, key=lambda one: -one.score)


def agree(check, what: str, got: list, wanted: list[Hypothesis]) -> None:
    """The same hypotheses in the same order."""
    check.that(f"{what}: the type of the result", isinstance(got, list), type(got).__name__, "list")
    for one in got:
        check.that(f"{what}: the type of each result", isinstance(one, Hypothesis), type(one).__name__, "Hypothesis")
    check.equal(f"{what}: labels, best first", [tuple(one.labels) for one in got], [one.labels for one in wanted])
    for one, other in zip(got, wanted, strict=True):
        check.that(f"{what}: the type of labels", isinstance(one.labels, tuple), type(one.labels).__name__, "tuple")
        kinds = sorted({type(label).__name__ for label in one.labels})
        check.equal(f"{what}: the types in labels", kinds, ["int"] if one.labels else [])
        for name in ("log_ctc", "log_lm", "score"):
            check.number(f"{what}: {name} of {other.labels}", getattr(one, name), getattr(other, name), 1e-7)
        check.equal(f"{what}: words of {other.labels}", one.words, other.words)


@ladder.step("shape and dtype")
def shapes(answer, check):
    got = check.call(answer.prefix_beam_search, log_probs_of(0, 4, 3), 5)
    check.that("the type of the result", isinstance(got, list), type(got).__name__, "list")
    check.equal("how many hypotheses beam_width 5 gives", len(got), 5)
    best = got[0]
    check.that("the type of a hypothesis", isinstance(best, Hypothesis), type(best).__name__, "Hypothesis")
    check.that("the type of its labels", isinstance(best.labels, tuple), type(best.labels).__name__, "tuple")
    check.equal(
        "how many hypotheses come without a beam_width",
        len(check.call(answer.prefix_beam_search, log_probs_of(0, 6, 4))),
        10,
    )


@ladder.step("the worked example")
def worked_example(answer, check):
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    got = check.call(answer.prefix_beam_search, log_probs)
    wanted = [Hypothesis((1,), math.log(0.64), math.log(0.64)), Hypothesis((), math.log(0.36), math.log(0.36))]
    agree(check, "p(blank) = 0.6, p(a) = 0.4, two frames", got, wanted)
    got = check.call(answer.prefix_beam_search, np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]))
    agree(check, "p(a) = 0.9, 0.2, 0.7: a double letter", got, every_text(np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])))


@ladder.step("every path written out")
def oracle(answer, check):
    for seed, (frames, vocab) in enumerate([(1, 2), (1, 4), (2, 3), (3, 3), (4, 2), (5, 3), (3, 4)]):
        log_probs = log_probs_of(seed, frames, vocab)
        got = check.call(answer.prefix_beam_search, log_probs, 2000)
        agree(check, f"a beam wide enough for all texts, {frames} frames, {vocab} symbols", got, every_text(log_probs))


@ladder.step("every path written out, with a language model")
def oracle_language(answer, check):
    for seed, (alpha, beta) in enumerate([(1.0, 0.0), (0.0, 1.5), (0.7, 2.0), (2.0, -1.0), (0.0, 0.0)]):
        for forbids in (False, True):
            log_probs, scorer = log_probs_of(seed, 4, 3), TableScorer(seed, 3, forbids)
            got = check.call(answer.prefix_beam_search, log_probs, 2000, scorer, alpha, beta)
            what = f"alpha {alpha}, beta {beta}" + (", some texts forbidden" if forbids else "")
            agree(check, what, got, every_text(log_probs, scorer, alpha, beta))


@ladder.step("properties: a narrow beam keeps the best prefixes, up to its width")
def narrow(answer, check):
    log_probs = np.log(
        [[0.6, 0.4, 0.0], [0.41, 0.2, 0.39]], where=np.array([[True, True, False], [True] * 3]), out=np.full((2, 3), -np.inf)
    )
    got = check.call(answer.prefix_beam_search, log_probs, 1)
    check.equal("labels with beam_width 1, where a wide beam finds (1,)", [tuple(one.labels) for one in got], [()])
    for seed in range(4):
        for width in (1, 2, 5):
            log_probs = log_probs_of(seed, 7, 5)
            agree(
                check,
                f"beam_width {width}",
                check.call(answer.prefix_beam_search, log_probs, width),
                library_search(log_probs, width),
            )
            scorer = TableScorer(seed, 5, seed % 2 == 0)
            got = check.call(answer.prefix_beam_search, log_probs, width, scorer, 0.8, 0.6)
            agree(check, f"beam_width {width} with a language model", got, library_search(log_probs, width, scorer, 0.8, 0.6))


@ladder.step("cutoff and max_labels")
def pruning(answer, check):
    for seed in range(2):
        log_probs, scorer = log_probs_of(seed, 6, 6), TableScorer(seed, 6)
        for settings in (
            {"cutoff": 0.9},
            {"max_labels": 2},
            {"cutoff": 0.7, "max_labels": 3},
            {"cutoff": 0.01},
            {"max_labels": 1},
            {"cutoff": 0.99, "max_labels": 1},
            {"cutoff": 0.999, "max_labels": 3},
        ):
            got = check.call(answer.prefix_beam_search, log_probs, 8, **settings)
            agree(check, f"{settings}", got, library_search(log_probs, 8, **settings))
            got = check.call(answer.prefix_beam_search, log_probs, beam_width=8, scorer=scorer, alpha=0.5, beta=1.0, **settings)
            agree(check, f"{settings} with a language model", got, library_search(log_probs, 8, scorer, 0.5, 1.0, **settings))


@ladder.step("traps: double letters, certain and impossible symbols, long and empty utterances")
def traps(answer, check):
    for path, text in (
        ([1, 1, 2, 3, 3, 0, 3, 4], (1, 2, 3, 3, 4)),
        ([3, 3, 3], (3,)),
        ([0, 0], ()),
        ([1, 0, 1, 0, 0, 1, 1], (1, 1, 1)),
    ):
        log_probs = np.log(np.where(np.arange(5) == np.array(path)[:, None], 0.96, 0.01))
        got = check.call(answer.prefix_beam_search, log_probs, 20)
        check.equal(f"the best text of a clear path {path}", tuple(got[0].labels), text)
    with np.errstate(divide="ignore"):
        certain = np.log([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    agree(check, "probabilities 0 and 1", check.call(answer.prefix_beam_search, certain, 10), every_text(certain))
    agree(check, "no frame at all", check.call(answer.prefix_beam_search, np.zeros((0, 4)), 3), [Hypothesis((), 0.0, 0.0)])
    scorer = TableScorer(3, 4)
    log_lm, words = scorer.finish(())
    got = check.call(answer.prefix_beam_search, np.zeros((0, 4)), 3, scorer, 2.0, 1.0)
    agree(check, "no frame at all, with a language model", got, [Hypothesis((), 2 * log_lm + words, 0.0, log_lm, words)])


@ladder.also
def more_traps(answer, check):
    class ManyWords(TableScorer):
        def row(self, state):
            log_lm, words = super().row(state)
            return log_lm, 3 * words

        def finish(self, state):
            log_lm, words = super().finish(state)
            return log_lm, 2 * words

    log_probs, scorer = log_probs_of(11, 4, 3), ManyWords(11, 3)
    got = check.call(answer.prefix_beam_search, log_probs, 2000, scorer, 0.5, 1.0)
    agree(check, "labels that add 0 or 3 words, ends that add 0 or 2", got, every_text(log_probs, scorer, 0.5, 1.0))
    got = check.call(answer.prefix_beam_search, np.log([[0.2, 0.4 - 1e-10, 0.4 + 1e-10]]), 5)
    check.equal("labels, best first, where scores differ by 5e-10 only", [tuple(one.labels) for one in got], [(2,), (1,), ()])
    log_probs = log_probs_of(5, 500, 4)
    got = check.call(answer.prefix_beam_search, log_probs, 2)
    agree(check, "500 frames", got, library_search(log_probs, 2))

    class ForbidsAll(TableScorer):
        def row(self, state):
            return np.full(self.vocab, -np.inf), np.zeros(self.vocab, dtype=int)

        def finish(self, state):
            return -math.inf, 0

    got = check.call(answer.prefix_beam_search, log_probs_of(6, 3, 3), 5, ForbidsAll(0, 3), 0.0, 0.0)
    check.equal("what is left where the language model forbids everything", got, [])
    log_probs = log_probs_of(7, 5, 3)
    turned = np.asfortranarray(log_probs)[::-1][::-1]
    agree(
        check,
        "an array in another layout, after other calls",
        check.call(answer.prefix_beam_search, turned, 2000),
        every_text(log_probs),
    )
    single = log_probs_of(8, 4, 3).astype(np.float32)
    got = check.call(answer.prefix_beam_search, single, 2000)
    check.equal("the best text of float32 input", tuple(got[0].labels), every_text(single.astype(np.float64))[0].labels)


class OneState(TableScorer):
    """A model of single labels: its state is always 0, and the same question gets the same two arrays each time."""

    def __init__(self, seed: int, vocab: int) -> None:
        super().__init__(seed, vocab)
        self.given: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

    def start(self) -> int:
        return 0

    def row(self, state: int):
        return super().row(())

    def scores(self, state: int, labels: np.ndarray):
        return self.given.setdefault(tuple(np.atleast_1d(labels).tolist()), super().scores(state, labels))

    def advance(self, state: int, label: int) -> int:
        return 0


class Severe(TableScorer):
    """Every label is thirty times as unlikely, in logarithms."""

    def row(self, state: tuple) -> tuple[np.ndarray, np.ndarray]:
        log_lm, words = super().row(state)
        return 30 * log_lm, words


class ForbidsEnds(TableScorer):
    """Some texts may not end where they are."""

    def finish(self, state: tuple) -> tuple[float, int]:
        log_lm, words = super().finish(state)
        return (-math.inf if log_lm < -1.0 else log_lm), words


@ladder.step("traps: language models of other kinds, large alphabets")
def models(answer, check):
    log_probs = log_probs_of(20, 4, 3)
    scorer = OneState(4, 3)
    for what in ("a model whose state is always 0", "the same again: its arrays are as they were"):
        got = check.call(answer.prefix_beam_search, log_probs, 6, scorer, 0.8, 0.5)
        agree(check, what, got, library_search(log_probs, 6, OneState(4, 3), 0.8, 0.5))
    for labels, given in scorer.given.items():
        for part, before in zip(given, scorer.row(0), strict=True):
            before = before[list(labels)]
            check.that("the arrays of the language model afterwards", bool((part == before).all()), part, before)
    for seed in (21, 22, 23):
        log_probs, scorer = log_probs_of(seed, 4, 3), ForbidsEnds(seed, 3)
        for alpha in (0.0, 0.9):
            got = check.call(answer.prefix_beam_search, log_probs, 2000, scorer, alpha, 0.3)
            agree(
                check,
                f"a model that forbids some texts at their end, alpha {alpha}",
                got,
                every_text(log_probs, scorer, alpha, 0.3),
            )
            got = check.call(answer.prefix_beam_search, log_probs, 3, scorer, alpha, 0.3)
            what = f"a model that forbids some texts at their end, alpha {alpha}, beam_width 3"
            agree(check, what, got, library_search(log_probs, 3, scorer, alpha, 0.3))
    log_probs, scorer = log_probs_of(24, 5, 4), TableScorer(24, 4, True)
    for alpha, beta in ((100.0, 0.0), (0.5, 20.0), (0.5, -20.0)):
        got = check.call(answer.prefix_beam_search, log_probs, 4, scorer, alpha, beta)
        agree(check, f"alpha {alpha}, beta {beta}, beam_width 4", got, library_search(log_probs, 4, scorer, alpha, beta))


@ladder.also
def alphabets(answer, check):
    path = [300, 300, 0, 300, 299]
    chances = np.where(np.arange(301) == np.array(path)[:, None], 900.0, np.random.default_rng(5).random((5, 301)))
    log_probs = np.log(chances / chances.sum(1, keepdims=True))
    got = check.call(answer.prefix_beam_search, log_probs, 3)
    why = "did you compare labels with `is`? Equal numbers above 256 may be different objects; == compares their values"
    check.equal("the best text of the path 300 300 - 300 299, 301 symbols", tuple(got[0].labels), (300, 300, 299), why)
    agree(check, "the path 300 300 - 300 299, 301 symbols", got, library_search(log_probs, 3))
    log_probs = np.log(np.where(np.arange(6001) == 20 * np.array(path)[:, None], 0.9, 0.1 / 6000))  # as many as Mandarin has
    got = check.call(answer.prefix_beam_search, log_probs, 3, cutoff=0.8)
    check.equal("the best text of the path 6000 6000 - 6000 5980, 6001 symbols", tuple(got[0].labels), (6000, 6000, 5980))
    log_probs, scorer = log_probs_of(25, 7, 29), TableScorer(25, 29)
    for settings in ({}, {"cutoff": 0.99, "max_labels": 10}):
        got = check.call(answer.prefix_beam_search, log_probs, 10, scorer, 0.4, 0.8, **settings)
        agree(check, f"29 symbols, 7 frames, {settings}", got, library_search(log_probs, 10, scorer, 0.4, 0.8, **settings))
    log_probs = np.log(np.exp(15 * log_probs_of(27, 3, 3)) / np.exp(15 * log_probs_of(27, 3, 3)).sum(1, keepdims=True))
    got = check.call(answer.prefix_beam_search, log_probs, 2000)
    agree(check, "a confident network: some symbols have probabilities below 1e-6", got, every_text(log_probs))
    log_probs, scorer = log_probs_of(28, 4, 3), Severe(28, 3)
    got = check.call(answer.prefix_beam_search, log_probs, 2000, scorer, 0.7, 0.5)
    agree(check, "a model with log-probabilities around -60", got, every_text(log_probs, scorer, 0.7, 0.5))
    log_probs = log_probs_of(26, 1, 5)
    agree(
        check,
        "one frame, and no language model after a search with one",
        check.call(answer.prefix_beam_search, log_probs, 3),
        library_search(log_probs, 3),
    )


@ladder.also
def ranges(answer, check):
    log_probs = torch.from_numpy(log_probs_of(31, 600, 10) / 4).log_softmax(-1).numpy()
    agree(
        check,
        "600 frames of a network that is not sure",
        check.call(answer.prefix_beam_search, log_probs, 2),
        library_search(log_probs, 2),
    )
    letters = [1, 2] * 600
    log_probs = np.log(np.where(np.arange(3) == np.array(letters)[:, None], 0.96, 0.02))
    got = check.call(answer.prefix_beam_search, log_probs, 2)
    check.equal("the best text of 1200 frames, each with another letter", list(got[0].labels), letters)
    unlikely = np.array([[0.0, -2e4, -3e4], [-1e3, 0.0, -5e4], [0.0, -1e5, -2e3]])
    got = check.call(answer.prefix_beam_search, unlikely, 50)
    agree(check, "a network so confident that the other symbols have exp(-20000)", got, library_search(unlikely, 50))
    for sure in (0.9995, 1 - 1e-7):
        frame = np.log([sure, 0.6 * (1 - sure), 0.4 * (1 - sure)])
        log_probs = np.stack([*log_probs_of(32, 2, 3), frame, frame, *log_probs_of(33, 1, 3)])
        got = check.call(answer.prefix_beam_search, log_probs, 2000)
        agree(check, f"frames in which the blank has the probability {sure:.10g}", got, every_text(log_probs))
    log_probs = log_probs_of(34, 9, 2)
    agree(check, "9 frames, one letter", check.call(answer.prefix_beam_search, log_probs, 20), every_text(log_probs))
    log_probs = log_probs_of(35, 3, 29)
    agree(check, "beam_width 1200", check.call(answer.prefix_beam_search, log_probs, 1200), library_search(log_probs, 1200))


@ladder.also
def any_size(answer, check):
    @for_sizes(frames=st.integers(0, 6), vocab=st.integers(2, 5), width=st.integers(1, 12), cutoff=st.sampled_from([1.0, 0.9]),
               alpha=st.sampled_from([None, 0.0, 1.5]), beta=st.integers(-2, 2))  # fmt: skip
    def sizes(frames: int, vocab: int, width: int, cutoff: float, alpha: float | None, beta: float) -> None:
        log_probs, scorer = log_probs_of(frames + 40, frames, vocab), None if alpha is None else TableScorer(vocab, vocab, True)
        settings = (width, scorer, alpha or 0.0, float(beta), cutoff)
        what = f"{frames} frames, {vocab} symbols, beam_width {width}, alpha {alpha}, beta {beta}, cutoff {cutoff}"
        agree(check, what, check.call(answer.prefix_beam_search, log_probs, *settings), library_search(log_probs, *settings))


def test_exercise(climb):
    climb(ladder)
