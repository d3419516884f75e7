"""Minibatches limited by a budget of seconds instead of a number of utterances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from implementation import SortaGradBatchSampler


class BudgetBatchSampler(SortaGradBatchSampler):
    """Minibatches of as many utterances of similar lengths as fit into a budget of seconds, padding included.

    ``number of utterances x seconds of the longest <= budget``: this bounds the memory and time of a step, whatever the
    lengths are. The order is that of ``SortaGradBatchSampler``: by length in the first epoch, then minibatches of similar lengths
    in random order, each utterance once per epoch. An utterance longer than the budget is a minibatch of its own. The number
    of minibatches depends on the lengths, so it may differ from epoch to epoch.

    >>> list(BudgetBatchSampler([5, 1, 9, 3, 7, 20], budget=14))
    [[1, 3], [0, 4], [2], [5]]

    Args:
        seconds, sortagrad, jitter, seed: as in ``SortaGradBatchSampler``.
        budget: seconds per minibatch, padding included.

    Raises:
        ValueError: if the budget is not a positive number.
    """

    def __init__(
        self, seconds: Sequence[float], budget: float, sortagrad: bool = True, jitter: float = 0.03, seed: int = 0
    ) -> None:  # fmt: skip
        if not 0 < budget < math.inf:
            raise ValueError(f"a minibatch needs a number of seconds above 0, not {budget}")
        super().__init__(seconds, max(1, len(seconds)), sortagrad, jitter, seed)  # its single minibatch gives the order
        self.budget = budget

    def __len__(self) -> int:
        return len(self._cut())

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._cut()
        if self.epoch or not self.sortagrad:
            np.random.default_rng((self.seed, self.epoch, 1)).shuffle(batches)
        return iter(batches)

    def _cut(self) -> list[list[int]]:
        """The minibatches, ordered from short to long utterances."""
        batches: list[list[int]] = []
        longest = 0.0  # seconds of the longest utterance in the minibatch being filled
        for index in next(super().__iter__(), []):
            longest = max(longest, self.seconds[index])
            if not batches or (len(batches[-1]) + 1) * longest > self.budget:
                batches.append([])
                longest = self.seconds[index]
            batches[-1].append(index)
        return batches


def largest_batch(sampler: SortaGradBatchSampler) -> tuple[int, float]:
    """The largest number of utterances that a minibatch of any epoch may have, and the seconds of each, padding included."""
    utterances, longest = len(sampler.seconds), float(max(sampler.seconds, default=0.0))
    if not isinstance(sampler, BudgetBatchSampler) or not longest:
        return min(sampler.batch_size, utterances), longest
    count = min(utterances, max(1, int(sampler.budget // longest)))
    return count, max(longest, min(sampler.budget, utterances * longest) / count)
