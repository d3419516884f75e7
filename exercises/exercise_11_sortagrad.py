"""Exercise 11: SortaGrad minibatches.

Why it matters. At the beginning of training a long utterance is nearly impossible to learn from, and its gradient may be
huge. In the first epoch only, SortaGrad shows the network the short utterances first. Table 2 shows how much that helps, above
all without batch norm. If you sort in every epoch, the network always sees the utterances in the same order.

Paper. arXiv Section 3.3 and Table 2. Beyond the paper, this library puts utterances of similar
lengths into each minibatch, and in later epochs changes the lengths a little at random (jitter).
Effort. 25 minutes, difficulty 1 of 3.
You may use. Plain Python, NumPy, torch. Do not use the library's SortaGradBatchSampler.
Check it. python exercises/exercise_11_sortagrad.py

What if. Draw each minibatch of the later epochs from all utterances, whatever their lengths. With lengths of 1 to 16 s and
minibatches of 8, what share of the frames is padding? And what share is it if the lengths in a minibatch are similar?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


class SortaGradBatchSampler(torch.utils.data.Sampler[list[int]]):
    """Minibatches of utterance numbers by the rule of Section 3.3, for ``DataLoader(batch_sampler=...)``.

    In epoch 0 the utterances are sorted by length, the shortest first, and cut into minibatches. They come in that order:
    no utterance is longer than any utterance of the next minibatch.

    In later epochs (and in epoch 0 too, if ``sortagrad`` is False) each minibatch holds utterances of similar lengths, but the
    minibatches come in random order. Multiply each length by a random factor of its own, uniform between 1 - jitter and
    1 + jitter. Sort the utterances by these new lengths and cut them into minibatches. Then shuffle the minibatches: every order
    is equally likely. (The jitter lets neighbours change places. So the minibatches differ from epoch to epoch, but there is
    still little padding.)

    In every epoch each utterance comes exactly once. All minibatches have ``batch_size`` utterances, except the one that is cut
    last. It holds the longest utterances, as many as are left. Within a minibatch any order will do.

    Example, to do by hand first: lengths 5, 1, 9, 3, 7 and minibatches of 2. The sorted lengths are 1, 3, 5, 7, 9. These are
    utterances 1, 3, 0, 4, 2.

    >>> sampler = SortaGradBatchSampler([5, 1, 9, 3, 7], batch_size=2)
    >>> list(sampler)
    [[1, 3], [0, 4], [2]]
    >>> len(sampler)
    3
    >>> sampler.set_epoch(1)
    >>> sorted(list(sampler))  # the order changes; the minibatches stay, since no two lengths are within 3 %
    [[0, 4], [1, 3], [2]]

    Args:
        seconds: length of each utterance, in any unit.
        batch_size: utterances per minibatch; one minibatch may be smaller.
        sortagrad: False gives minibatches in random order from the first epoch on.
        jitter: how far a length may change for the sorting, as a fraction.
        seed: seed and epoch together fix the order. The same pair always gives the same minibatches, whatever random numbers
            were drawn before. Your code leaves the global random state of Python, NumPy and torch unchanged. Another pair gives
            another order: seed 5 in epoch 2 differs from seed 6 in epoch 1. (np.random.default_rng((seed, epoch)) does all
            this.)

    Raises:
        ValueError: if batch_size is below 1. (Given below.)
    """

    def __init__(
        self, seconds: Sequence[float], batch_size: int, sortagrad: bool = True, jitter: float = 0.03, seed: int = 0
    ) -> None:
        """Given, nothing to write here."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.batch_size, self.sortagrad, self.jitter, self.seed, self.epoch = batch_size, sortagrad, jitter, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Given: sets the epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of minibatches."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[list[int]]:
        """The minibatches of epoch ``self.epoch``, each a list of int."""
        raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
