"""The order of the minibatches: by length in the first epoch, similar lengths in random order afterwards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from implementation import AudioSample, SortaGradBatchSampler, sortagrad_sampler, utterance_seconds

durations = st.lists(st.floats(0.1, 20), max_size=60)


def dataset(*samples: int) -> list[AudioSample]:
    return [AudioSample(torch.zeros(n), 100, "a") for n in samples]


def random_seconds(count: int = 512) -> list[float]:
    return (1 + 14 * torch.rand(count)).tolist()


def batches(sampler: SortaGradBatchSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


# ---------------------------------------------------------------------------------------------
# sortagrad_sampler
# ---------------------------------------------------------------------------------------------


def test_the_first_epoch_is_sorted_by_length():
    assert sortagrad_sampler(dataset(30, 10, 20, 10), 0) == [1, 3, 2, 0]


def test_later_epochs_are_permutations_that_follow_torchs_seed():
    data = dataset(*range(1, 41))
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(sortagrad_sampler(data, 1))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(40)) != orders[0]


def test_later_epochs_differ():
    data = dataset(*range(1, 41))
    assert sortagrad_sampler(data, 1) != sortagrad_sampler(data, 2)


def test_seconds_that_the_dataset_knows_are_not_measured():
    class Known:
        seconds = (3.0, 1.0)

        def __getitem__(self, index):
            raise AssertionError("audio was read")

    assert utterance_seconds(Known()) == [3.0, 1.0]
    assert sortagrad_sampler(Known(), 0) == [1, 0]
    assert utterance_seconds(dataset(50, 200)) == [0.5, 2.0]


# ---------------------------------------------------------------------------------------------
# SortaGradBatchSampler
# ---------------------------------------------------------------------------------------------


@given(durations, st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_every_utterance_comes_once_an_epoch_in_minibatches_of_the_size(seconds, batch_size, epoch, sortagrad):
    sampler = SortaGradBatchSampler(seconds, batch_size, sortagrad)
    epoch_batches = batches(sampler, epoch)
    assert sorted(index for batch in epoch_batches for index in batch) == list(range(len(seconds)))
    assert len(sampler) == len(epoch_batches)
    assert sorted(map(len, epoch_batches), reverse=True)[:-1] == [batch_size] * (len(epoch_batches) - 1)


@given(durations, st.integers(1, 9))
def test_the_first_epochs_minibatches_come_in_the_order_of_their_longest(seconds, batch_size):
    longest = [max(seconds[i] for i in batch) for batch in batches(SortaGradBatchSampler(seconds, batch_size), 0)]
    assert longest == sorted(longest)


@given(durations, st.integers(1, 9))
def test_the_first_epoch_pads_least(seconds, batch_size):
    """Nothing in a minibatch is longer than anything in the next one."""
    epoch_batches = batches(SortaGradBatchSampler(seconds, batch_size), 0)
    for batch, following in pairwise(epoch_batches):
        assert max(seconds[i] for i in batch) <= min(seconds[i] for i in following)


def order_by_length(sampler: SortaGradBatchSampler, epoch: int) -> float:
    """Correlation of a minibatch's place with its longest utterance: near 1 when sorted, near 0 in random order."""
    longest = [max(sampler.seconds[i] for i in batch) for batch in batches(sampler, epoch)]
    return np.corrcoef(longest, range(len(longest)))[0, 1]


def test_later_epochs_are_in_random_order():
    sampler = SortaGradBatchSampler(random_seconds(), 4)
    assert order_by_length(sampler, 0) > 0.95
    assert all(abs(order_by_length(sampler, epoch)) < 0.4 for epoch in (1, 2, 3))


def test_without_sortagrad_the_first_epoch_is_in_random_order_too():
    assert abs(order_by_length(SortaGradBatchSampler(random_seconds(), 4, sortagrad=False), 0)) < 0.4


def test_later_epochs_have_other_minibatches():
    sampler = SortaGradBatchSampler(random_seconds(), 4)
    first, second = ({frozenset(batch) for batch in batches(sampler, epoch)} for epoch in (1, 2))
    assert len(first & second) < 0.2 * len(first)


def test_seed_and_epoch_fix_the_order_whatever_was_drawn_before():
    seconds = random_seconds()
    sampler, twin = SortaGradBatchSampler(seconds, 4, seed=3), SortaGradBatchSampler(seconds, 4, seed=3)
    for epoch in (0, 1, 2):
        batches(sampler, epoch)
    torch.rand(5)
    assert batches(sampler, 2) == batches(sampler, 2) == batches(twin, 2)
    assert batches(twin, 2) != batches(SortaGradBatchSampler(seconds, 4, seed=4), 2)


@pytest.mark.parametrize("sortagrad", [True, False])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_little_is_padded_in_any_epoch(sortagrad, epoch):
    """Random minibatches of these lengths, 1 to 15 seconds, would be padded to almost 1.8 times their speech."""
    seconds = random_seconds()
    epoch_batches = batches(SortaGradBatchSampler(seconds, 16, sortagrad), epoch)
    padded = sum(len(batch) * max(seconds[i] for i in batch) for batch in epoch_batches)
    assert padded < 1.2 * sum(seconds)


def test_a_data_loader_takes_it():
    data = dataset(30, 10, 20, 40, 50)
    sampler = SortaGradBatchSampler(utterance_seconds(data), 2)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=lambda samples: [len(sample.audio) for sample in samples])
    assert list(loader) == [[10, 20], [30, 40], [50]]
    assert len(loader) == 3
    sampler.set_epoch(1)
    assert sorted(n for batch in loader for n in batch) == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_empty_minibatches_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"at least 1, not {batch_size}"):
        SortaGradBatchSampler([1.0], batch_size)
