"""Solution of exercise 11: SortaGrad minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


class SortaGradBatchSampler(torch.utils.data.Sampler[list[int]]):
    """Short utterances first in epoch 0, minibatches of like lengths in random order afterwards."""

    def __init__(
        self, seconds: Sequence[float], batch_size: int, sortagrad: bool = True, jitter: float = 0.03, seed: int = 0
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.batch_size, self.sortagrad, self.jitter, self.seed, self.epoch = batch_size, sortagrad, jitter, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.seconds) // self.batch_size)  # rounded up: the last one may be smaller

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))  # its own: nothing else moves it, it moves nothing else
        sorted_epoch = self.sortagrad and self.epoch == 0
        lengths = self.seconds
        if not sorted_epoch:
            lengths = lengths * rng.uniform(1 - self.jitter, 1 + self.jitter, len(lengths))
        order = np.argsort(lengths, kind="stable").tolist()
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        if not sorted_epoch:
            rng.shuffle(batches)  # the minibatches, not the utterances
        return iter(batches)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
