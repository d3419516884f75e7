"""Check of exercise 11: SortaGrad minibatches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, permutations

import hypothesis.strategies as st
import numpy as np
import torch

from ladder import Ladder
from sizes import for_sizes
from watching import settings_and_chance

ladder = Ladder(
    "exercise_11_sortagrad",
    names=("SortaGradBatchSampler",),
    forbidden=dict.fromkeys(("sortagrad_sampler", "BatchSampler"), "write the order of the minibatches"),
    functions=(torch.utils.data.BatchSampler,),
)


def batches_of(check, sampler, epoch: int | None = None) -> list:
    """The minibatches of an epoch."""
    if epoch is not None:
        sampler.set_epoch(epoch)
    settings = f"sortagrad {sampler.sortagrad}, jitter {sampler.jitter}, batch_size {sampler.batch_size}"
    name = f"minibatches of epoch {sampler.epoch}, {settings}, {len(sampler.seconds)} utterances: iter"
    return check.call(iter, sampler, name=name)


def each_epoch(check, sampler, epochs: range) -> Iterator[list[list[int]]]:
    """The minibatches of many epochs, without a look at what else each call does."""
    check.given = f"epochs {epochs[0]} to {epochs[-1]} of {check.describe(sampler)}"
    for epoch in epochs:
        sampler.set_epoch(epoch)
        yield [list(batch) for batch in sampler]


def lengths(count: int, seed: int = 0) -> list[float]:
    """Lengths far apart, 10 % each, in disorder."""
    return np.random.default_rng(seed).permutation(1.1 ** np.arange(count)).tolist()


def neighbours() -> list[float]:
    """60 lengths in disorder, each with one that is longer by 2 %."""
    return (0.01 * 1.02 ** np.random.default_rng(6).permutation(60)).tolist()


def each_once(check, batches: list, count: int, what: str) -> None:
    check.equal(f"{what}: all utterances, each once", sorted(i for batch in batches for i in batch), list(range(count)))


@ladder.step("shape and dtype")
def shapes(answer, check):
    sampler = answer.SortaGradBatchSampler(lengths(10), 4)
    for epoch in (0, 1):
        batches = batches_of(check, sampler, epoch)
        check.that(
            "the minibatches",
            isinstance(batches, list) and len(batches) > 0,
            type(batches).__name__,
            "minibatches one after the other",
        )
        for batch in batches:
            check.that("the type of a minibatch", isinstance(batch, list), type(batch).__name__, "list")
            check.equal("the types in a minibatch", sorted({type(i).__name__ for i in batch}), ["int"])
    check.equal("the number of minibatches, 10 utterances by 4", check.call(len, sampler), 3)
    check.equal("the number of minibatches, 8 utterances by 4", check.call(len, answer.SortaGradBatchSampler(lengths(8), 4)), 2)


@ladder.step("the worked example")
def worked_example(answer, check):
    sampler = answer.SortaGradBatchSampler([5, 1, 9, 3, 7], batch_size=2)
    check.equal("the minibatches of epoch 0", batches_of(check, sampler), [[1, 3], [0, 4], [2]])
    check.equal("the number of minibatches", check.call(len, sampler), 3)
    got = sorted(sorted(batch) for batch in batches_of(check, sampler, 1))
    check.equal("the minibatches of epoch 1, sorted", got, [[0, 4], [1, 3], [2]])


@ladder.step("epoch 0 against sorting")
def first_epoch(answer, check):
    for count, size in ((12, 4), (13, 4), (7, 1), (5, 8), (6, 6), (30, 7)):
        seconds = lengths(count, count)
        sampler = answer.SortaGradBatchSampler(seconds, size)
        order = sorted(range(count), key=seconds.__getitem__)
        wanted = [order[start : start + size] for start in range(0, count, size)]
        got = batches_of(check, sampler, 0)
        check.equal("minibatches, each in any order", [sorted(batch) for batch in got], [sorted(batch) for batch in wanted])
        check.equal(
            "minibatches of epoch 0 after a later epoch", [batches_of(check, sampler, 3), batches_of(check, sampler, 0)][1], got
        )
        check.equal("the number of minibatches", check.call(len, sampler), len(wanted))
    near = (1 + 0.001 * np.random.default_rng(1).permutation(40)).tolist()
    got = batches_of(check, answer.SortaGradBatchSampler(near, 5), 0)
    check.equal(
        "minibatches of lengths within 4 %",
        [sorted(b) for b in got],
        [sorted(np.argsort(near)[i : i + 5].tolist()) for i in range(0, 40, 5)],
    )


@ladder.step("later epochs: the same minibatches in random order if no lengths are similar")
def later_epochs(answer, check):
    for sortagrad, epochs in ((True, (1, 2, 3, 7)), (False, (0, 1, 2, 5))):
        seconds = lengths(42, 5)
        sampler = answer.SortaGradBatchSampler(seconds, 4, sortagrad=sortagrad)
        order = sorted(range(42), key=seconds.__getitem__)
        wanted = sorted(sorted(order[start : start + 4]) for start in range(0, 42, 4))
        seen = []
        for epoch in epochs:
            got = batches_of(check, sampler, epoch)
            check.equal(
                "minibatches, all sorted (lengths differ by 10 %, jitter 3 %)", sorted(sorted(batch) for batch in got), wanted
            )
            longest = [max(seconds[i] for i in batch) for batch in got]
            check.that("that the order is random", longest != sorted(longest), "from short to long", "a random order")
            check.that(
                "that the order is random", longest != sorted(longest, reverse=True), "from long to short", "a random order"
            )
            seen.append(got)
        for one, other in pairwise(seen):
            check.that("that two epochs differ", one != other, "the same order twice", "another order each epoch")
    sampler, small = answer.SortaGradBatchSampler(lengths(41, 6), 4), set()
    for epoch in range(1, 61):
        got = batches_of(check, sampler, epoch)
        longest = [max(sampler.seconds[i] for i in batch) for batch in got]
        what = "that the order is random in every later epoch"
        check.that(what, longest != sorted(longest), "from short to long", "a random order")
        small.add([len(batch) for batch in got].index(1))
    what = "the places of the smaller minibatch in 60 later epochs (it is shuffled with the others)"
    check.that(what, len(small) > 3, sorted(small), "many places")


def plain_order(seconds: list[float]) -> list[list[int]]:
    """Minibatches of five by length alone, all sorted."""
    return sorted(sorted(np.argsort(seconds)[i : i + 5].tolist()) for i in range(0, len(seconds), 5))


@ladder.step("a property: the jitter mixes neighbours, and only neighbours")
def jitter(answer, check):
    seconds = neighbours()
    sampler = answer.SortaGradBatchSampler(seconds, 5, jitter=0.1)
    groups = []
    for epoch in (1, 2, 3):
        got = batches_of(check, sampler, epoch)
        each_once(check, got, 60, f"epoch {epoch}")
        check.equal("the sizes of the minibatches", sorted(map(len, got)), [5] * 12)
        for batch in got:
            spread = max(seconds[i] for i in batch) / min(seconds[i] for i in batch)
            check.that(
                "longest by shortest of a minibatch (2 % between neighbours, jitter 10 %)", spread < 1.6, spread, "below 1.6"
            )
        groups.append(sorted(sorted(batch) for batch in got))
    check.that(
        "that different utterances stand together in different epochs",
        groups[0] != groups[1] != groups[2],
        "the same minibatches",
        "others",
    )
    check.that(
        "that the lengths are changed at random",
        plain_order(seconds) not in groups,
        "minibatches of the plain order",
        "neighbours that changed places",
    )


@ladder.also
def jitter_by_settings(answer, check):
    seconds, plain = neighbours(), plain_order(neighbours())
    got = batches_of(check, answer.SortaGradBatchSampler(seconds, 5, jitter=0.0), 1)
    check.equal("minibatches, all sorted, with jitter 0", sorted(sorted(batch) for batch in got), plain)
    sampler = answer.SortaGradBatchSampler(seconds, 5, jitter=0.1)
    check.that(
        "that epoch 1 gives the same minibatches each time it is asked for",
        batches_of(check, sampler, 1) == batches_of(check, sampler, 1),
        "others the second time",
        "the same",
        "seed and epoch alone must fix the order: draw from np.random.default_rng((seed, epoch)), and change nothing in self",
    )
    small, large = ([scale * value for value in seconds] for scale in (0.001, 1000.0))
    wanted = batches_of(check, answer.SortaGradBatchSampler(large, 5, jitter=0.1), 1)
    check.equal(
        "minibatches of the same lengths in another unit",
        batches_of(check, answer.SortaGradBatchSampler(small, 5, jitter=0.1), 1),
        wanted,
    )
    near = answer.SortaGradBatchSampler(seconds, 5, sortagrad=False, jitter=0.1)
    got = sorted(sorted(batch) for batch in batches_of(check, near, 0))
    what = "that there is jitter in epoch 0 too, if sortagrad is False"
    check.that(what, got != plain, "minibatches of the plain order", "neighbours that changed places")


@ladder.also
def spread_of_jitter(answer, check):
    # Four lengths of a kind, 40 times over, cut into twos: the shortest stands with the one that the jitter puts next to it.
    for share, ratio, others in ((0.1, 1 + 1e-9, 1), (0.1, 1.05, 1), (0.1, 1.15, 1), (0.1, 1.25, 1), (0.9, 4.0, 1),
                                 (0.03, 1.02, 1), (0.9, 3.0, 2)):  # fmt: skip
        four = (0.01, 1.0, ratio, 100.0) if others == 1 else (0.01, 1.0, 1.0, ratio)
        sampler = answer.SortaGradBatchSampler(
            [scale * value for scale in 1e6 ** np.arange(40) for value in four], 2, jitter=share
        )
        batches = [sorted(batch) for epoch in each_epoch(check, sampler, range(1, 151)) for batch in epoch]
        first = sum(one % 4 == 0 and other == one + 1 + others for one, other in batches) / 6000
        factors = 1 + share * np.linspace(-1, 1, 4001)
        chance = (np.clip((1 + share - ratio * factors) / (2 * share), 0, 1) ** others).mean()  # that all others are above it
        shorter = "a shorter one" if others == 1 else "two shorter ones"
        what = f"how often a length comes before {shorter} (it is {ratio:.10g} times as long; jitter {share}, factors uniform)"
        wanted = f"{chance:.3f}, give or take {0.03 * (chance > 0):.2f}"
        check.that(what, abs(first - chance) <= 0.03 * (chance > 0), first, wanted)
    seconds = neighbours()
    sampler = answer.SortaGradBatchSampler(seconds, 5, jitter=0.1)
    shaken, place = 0, np.argsort(np.argsort(seconds))
    for epoch in range(1, 9):
        for batch in batches_of(check, sampler, epoch):
            shaken = max(shaken, int(np.ptp(place[batch])))
    check.that(
        "how far apart two of a minibatch may stand in the plain order",
        shaken >= 7,
        shaken,
        "at least 7 (jitter 10 % reaches 10 neighbours)",
    )


@ladder.also
def own_factors(answer, check):
    """Of equal lengths the factor alone decides which half an utterance comes to; two that share one are never apart."""
    sampler, together = answer.SortaGradBatchSampler([2.0] * 120, 60, sortagrad=False, jitter=0.1), np.zeros((120, 120))
    for first, _ in each_epoch(check, sampler, range(500)):
        half = np.isin(np.arange(120), first)
        together += half == half[:, None]
    np.fill_diagonal(together, 250)
    one, other = np.unravel_index(np.abs(together - 250).argmax(), together.shape)
    why = "each utterance gets a random factor of its own"
    what = f"in how many of 500 epochs utterances {one} and {other} are together (120 equal lengths in two halves)"
    check.that(what, abs(together[one, other] - 250) < 75, int(together[one, other]), "about half of them", why)


@ladder.step("seeds: the same again, whatever was drawn before, and nothing else changes")
def seeds(answer, check):
    seconds = lengths(40, 7)
    for sortagrad, epoch in ((True, 2), (False, 0), (True, 0)):
        make = lambda seed: answer.SortaGradBatchSampler(seconds, 3, sortagrad=sortagrad, seed=seed)  # noqa: B023, E731
        first = batches_of(check, make(5), epoch)
        np.random.seed(77), torch.manual_seed(77)
        numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
        check.equal("the minibatches of another sampler with the same seed", batches_of(check, make(5), epoch), first)
        untouched = bool((np.random.get_state()[1] == numpy_before).all()) and bool((torch.get_rng_state() == torch_before).all())
        check.that("the global random states of NumPy and torch", untouched, "changed", "as they were")
        sampler = make(5)
        batches_of(check, sampler, 9)
        check.equal("the minibatches after another epoch", batches_of(check, sampler, epoch), first)
        check.equal("the minibatches a second time", batches_of(check, sampler), first)
        if epoch or not sortagrad:
            check.that(
                "that another seed gives another order",
                batches_of(check, make(6), epoch) != first,
                "the same order",
                "another one",
            )
    sampler = answer.SortaGradBatchSampler(seconds, 3, sortagrad=False)
    check.that(
        "that epoch 1 differs from epoch 0",
        batches_of(check, sampler, 0) != batches_of(check, sampler, 1),
        "the same order",
        "another one",
    )


@ladder.step("traps: ties, one utterance, none, tensors")
def traps(answer, check):
    for epoch in (0, 1):
        got = batches_of(check, answer.SortaGradBatchSampler([2.0] * 10, 4), epoch)
        each_once(check, got, 10, "ten equal lengths")
        check.equal("the sizes of the minibatches of ten equal lengths", sorted(map(len, got)), [2, 4, 4])
        check.equal("the minibatches of one utterance", batches_of(check, answer.SortaGradBatchSampler([3.5], 4), epoch), [[0]])
        empty = answer.SortaGradBatchSampler([], 4)
        check.equal("the minibatches of no utterance", batches_of(check, empty, epoch), [])
        check.equal("their number", check.call(len, empty), 0)
        got = batches_of(check, answer.SortaGradBatchSampler(torch.tensor([3.0, 1.0, 2.0]), 1), epoch)
        check.equal("the minibatches of a tensor of lengths, sorted", sorted(got), [[0], [1], [2]])
    got = [len(batch) for batch in batches_of(check, answer.SortaGradBatchSampler(lengths(11), 4), 0)]
    check.equal("the sizes of the minibatches in epoch 0", got, [4, 4, 3])
    seconds = lengths(9)
    kept = list(seconds)
    sampler = answer.SortaGradBatchSampler(seconds, 2)
    before = sampler.seconds.copy()
    for epoch in (0, 1, 2):
        batches_of(check, sampler, epoch)
    check.equal("the lengths that were given, afterwards", seconds, kept)
    check.equal("the lengths that the sampler keeps, afterwards", sampler.seconds.tolist(), before.tolist())
    loader = torch.utils.data.DataLoader(list(range(9)), batch_sampler=sampler, collate_fn=list)
    each_once(check, check.call(lambda: list(loader), name="list(DataLoader)"), 9, "through a DataLoader")
    for size in (0, -3):
        check.raises(
            "a batch_size below 1", ValueError, answer.SortaGradBatchSampler, seconds, size, name="SortaGradBatchSampler"
        )


@ladder.step("traps: how random the order is, lengths nearly equal, seeds and epochs, several iterators")
def more_traps(answer, check):
    orders(answer, check)
    near_and_seeds(answer, check)
    all_pairs(answer, check)
    fair(answer, check)
    outside(answer, check)


def orders(answer, check) -> None:
    """All orders of the minibatches come up."""
    seconds = lengths(48, 8)
    sampler = answer.SortaGradBatchSampler(seconds, 8)
    rank = {i: place for place, i in enumerate(sorted(range(48), key=seconds.__getitem__))}
    seen_orders = [[rank[batch[0]] // 8 for batch in batches_of(check, sampler, epoch)] for epoch in range(1, 121)]
    for place, name in ((0, "first"), (-1, "last"), (2, "third")):
        seen = sorted({order[place] for order in seen_orders})
        check.equal(f"which of 6 minibatches (by length) come {name} in 120 later epochs", seen, [0, 1, 2, 3, 4, 5])
    following = sum(later == before + 1 for order in seen_orders for before, later in pairwise(order)) / 120
    what = "how many of 6 minibatches are followed by the next longer one, on average over 120 later epochs"
    check.that(what, 0.4 < following < 1.6, following, "about 5 / 6")
    sampler, many = answer.SortaGradBatchSampler(lengths(3000, 11), 1), np.argsort(lengths(3000, 11)).tolist()
    order = [many.index(batch[0]) for batches in each_epoch(check, sampler, range(1, 2)) for batch in batches]
    following = sum(later == before + 1 for before, later in pairwise(order))
    check.that("how many of 3000 minibatches are followed by the next longer one", following < 20, following, "about one")


def near_and_seeds(answer, check) -> None:
    """Lengths that are nearly equal, or 0; pairs of seed and epoch."""
    seconds = lengths(48, 8)
    for scale in (1e-9, 1e-3, 1.0, 1e9):
        near = (1000.0 + 1e-9 * np.random.default_rng(2).permutation(30)) * scale
        got = batches_of(check, answer.SortaGradBatchSampler(near, 4), 0)
        wanted = [sorted(np.argsort(near)[i : i + 4].tolist()) for i in range(0, 30, 4)]
        check.equal(
            f"minibatches of lengths that differ in the twelfth digit, around {1000 * scale:g}", list(map(sorted, got)), wanted
        )
    zero = answer.SortaGradBatchSampler([0.0, 2.0, 0.0, 1.0], 2)
    for epoch in (0, 4):
        check.equal("minibatches where some lengths are 0", sorted(map(sorted, batches_of(check, zero, epoch))), [[0, 2], [1, 3]])
    make = lambda seed: answer.SortaGradBatchSampler(seconds, 3, seed=seed)  # noqa: E731
    why = "each pair of seed and epoch needs an order of its own: np.random.default_rng((seed, epoch)) uses both"
    for (one, first), (other, second) in (
        ((5, 2), (6, 1)),
        ((0, 1), (0, 2)),
        ((2, 3), (3, 2)),
        ((1, 1), (2, 1)),
        ((1, 12), (11, 2)),
        *(((0, factor + 1), (1, 1)) for factor in (10, 100, 1000, 10_000)),
        *(((factor + 1, 1), (1, 2)) for factor in (10, 100, 1000, 10_000)),
        *(((3, 1), (3, 2**bits + 1)) for bits in (8, 16)),
        *(((3, 1), (2**bits + 3, 1)) for bits in (8, 16)),
    ):
        differ = batches_of(check, make(one), first) != batches_of(check, make(other), second)
        check.that(
            f"that seed {one} in epoch {first} is not seed {other} in epoch {second}",
            differ,
            "the same order",
            "another one",
            why,
        )
    large = batches_of(check, make(2**32 - 1), 10**6)
    each_once(check, large, 48, "seed 2^32 - 1, epoch 10^6")
    check.equal("the same seed and epoch again", batches_of(check, make(2**32 - 1), 10**6), large)


def all_pairs(answer, check) -> None:
    """64 seeds in 200 epochs: all orders of the minibatches differ, and so do the minibatches."""
    seconds = (5.0 ** np.arange(14)[:, None] * (1 + 0.001 * np.arange(6))).flatten()  # six that are alike, 14 times
    orders, mixtures, of = {}, {}, np.zeros(84, dtype=np.uint8)
    for seed in range(64):
        sampler = answer.SortaGradBatchSampler(seconds, 3, sortagrad=False, seed=seed)
        for epoch, batches in enumerate(each_epoch(check, sampler, range(200))):
            members = np.array(batches)
            of[members] = members.min(1, keepdims=True)  # the first utterance of each one's minibatch
            for seen, key, name in ((orders, (members[:, 0] // 6).tobytes(), "order"), (mixtures, of.tobytes(), "minibatches")):
                other = seen.setdefault(key, (seed, epoch))
                if other != (seed, epoch):
                    what = f"that seed {seed} in epoch {epoch} is not seed {other[0]} in epoch {other[1]}"
                    why = "each pair of seed and epoch needs its own order and jitter, at least among 64 seeds and 200 epochs"
                    check.that(what, False, f"the same {name}", f"another {name}", why)


def fair(answer, check) -> None:
    """Every order of four minibatches is as likely as every other."""
    sampler, counts = answer.SortaGradBatchSampler(lengths(4, 10), 1, sortagrad=False), Counter()
    for batches in each_epoch(check, sampler, range(4800)):
        counts[tuple(batch[0] for batch in batches)] += 1
    why = "every order must be equally likely; rng.shuffle and rng.permutation make sure of that"
    apart = sum((counts[order] - 200) ** 2 / 200 for order in permutations(range(4)))
    got = f"{min(counts.values())} to {max(counts.values())} times"
    check.that(
        "how often each of the 24 orders of four minibatches comes in 4800 epochs", apart < 90, got, "about 200 times", why
    )


def outside(answer, check) -> None:
    """What is done with sampler and minibatches outside changes nothing; lengths may come in any sequence."""
    seconds = lengths(20, 9)
    for epoch in (0, 3):
        sampler = answer.SortaGradBatchSampler(seconds, 6)
        first = [list(batch) for batch in batches_of(check, sampler, epoch)]
        for batch in batches_of(check, sampler, epoch):
            batch.clear()
        check.equal("the minibatches after the caller emptied the earlier ones", batches_of(check, sampler, epoch), first)
        before = settings_and_chance()
        one, other = iter(sampler), iter(sampler)
        mixed = [next(iterator) for _ in range(4) for iterator in (one, other)]
        check.equal("the minibatches of two iterators in turn", mixed, [batch for batch in first for _ in range(2)])
        next(iter(sampler))
        what = "the global random states of Python, NumPy and torch after an iteration that was stopped early"
        check.that(what, settings_and_chance() == before, "changed", "as they were")
        check.equal("the minibatches after an iteration that was stopped early", batches_of(check, sampler, epoch), first)
        check.equal("the number of minibatches, 20 utterances by 6", check.call(len, sampler), 4)
    for given in (tuple(seconds), np.array(seconds), [int(10 * value) for value in seconds]):
        sampler = answer.SortaGradBatchSampler(given, 6)
        plain = [list(batch) for batch in batches_of(check, sampler, 0)]
        wanted = [sorted(np.argsort(given, kind="stable")[i : i + 6].tolist()) for i in range(0, 20, 6)]
        what = f"minibatches of epoch 0, lengths as a {type(given).__name__}"
        check.equal(what, [sorted(batch) for batch in plain], wanted) if len(set(given)) == 20 else None
        each_once(check, batches_of(check, sampler, 1), 20, f"lengths as a {type(given).__name__}")
        kinds = {type(i).__name__ for epoch in (0, 1) for batch in batches_of(check, sampler, epoch) for i in batch}
        check.equal("the types in the minibatches", sorted(kinds), ["int"])


@ladder.also
def any_size(answer, check):
    @for_sizes(30, count=st.integers(0, 25), size=st.integers(1, 9), epoch=st.integers(0, 3), sortagrad=st.booleans())
    def epochs(count: int, size: int, epoch: int, sortagrad: bool) -> None:
        seconds = lengths(count, count)
        sampler = answer.SortaGradBatchSampler(seconds, size, sortagrad=sortagrad, seed=count)
        order = sorted(range(count), key=seconds.__getitem__)
        wanted = [sorted(order[start : start + size]) for start in range(0, count, size)]
        got = [sorted(batch) for batch in batches_of(check, sampler, epoch)]
        if sortagrad and epoch == 0:
            check.equal("minibatches, each in any order", got, wanted)
        check.equal("minibatches, all sorted (lengths differ by 10 %, jitter 3 %)", sorted(got), sorted(wanted))
        check.equal("the number of minibatches", check.call(len, sampler), len(wanted))


def test_exercise(climb):
    climb(ladder)
