"""Minibatches by a budget of seconds: what is in them, how long they are, and trainings with them."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from implementation import SortaGradBatchSampler
from trainers import make_trainer, weights
from training import parallel
from training.batches import BudgetBatchSampler, largest_batch
from training.optimisation import learning_rate_factor

lengths = st.lists(st.floats(0.1, 30), max_size=40)


def padded(seconds, batch):
    return len(batch) * max(seconds[i] for i in batch)


def in_epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


@given(lengths, st.floats(0.05, 100), st.integers(0, 3), st.booleans())
def test_each_utterance_comes_once_an_epoch_and_only_one_alone_is_over_the_budget(seconds, budget, epoch, sortagrad):
    sampler = BudgetBatchSampler(seconds, budget, sortagrad)
    batches = in_epoch(sampler, epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(seconds))) and len(sampler) == len(batches)
    assert all(len(batch) == 1 or padded(seconds, batch) <= budget for batch in batches)
    if batches:
        count, longest = largest_batch(sampler)
        assert count * longest * (1 + 1e-9) >= max(padded(seconds, batch) for batch in batches)
        assert count <= len(seconds) and (count == 1 or count * longest <= budget * (1 + 1e-9))


@given(lengths, st.floats(0.05, 100))
def test_the_first_epoch_is_by_length_and_no_minibatch_could_take_the_next_utterance_too(seconds, budget):
    batches = in_epoch(BudgetBatchSampler(seconds, budget), 0)
    assert [seconds[i] for batch in batches for i in batch] == sorted(seconds)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * seconds[following[0]] > budget


def test_the_order_is_sortagrads_as_long_as_all_last_as_long():
    """With equal lengths a budget is a number of utterances: then the same utterances stand together."""
    seconds = [2.0] * 37
    ours, theirs = BudgetBatchSampler(seconds, 10.0, seed=4), SortaGradBatchSampler(seconds, 5, seed=4)
    assert in_epoch(ours, 0) == in_epoch(theirs, 0)
    assert sorted(in_epoch(ours, 2)) == sorted(in_epoch(theirs, 2))


def test_the_longest_counts_where_lengths_are_shaken_too():
    seconds = np.random.default_rng(0).uniform(1.0, 1.03, 300)
    sampler = BudgetBatchSampler(seconds, 10.1)
    assert max(padded(seconds, batch) for epoch in (1, 2) for batch in in_epoch(sampler, epoch)) <= 10.1


def test_seed_and_epoch_alone_fix_the_minibatches_and_later_epochs_are_shuffled_in_buckets():
    seconds = np.random.default_rng(0).uniform(1, 15, 300).tolist()
    first, again, other = (BudgetBatchSampler(seconds, 60, seed=seed) for seed in (1, 1, 2))
    in_epoch(again, 5)  # whatever was asked for before does not matter
    assert in_epoch(first, 3) == in_epoch(again, 3) != in_epoch(other, 3)
    assert in_epoch(first, 3) != in_epoch(first, 4)
    batches = in_epoch(first, 3)
    longest = [max(seconds[i] for i in batch) for batch in batches]
    half = len(longest) // 2
    assert abs(np.mean(longest[:half]) - np.mean(longest[half:])) < 3  # from short to long it would be 7
    speech, room = sum(seconds), sum(padded(seconds, batch) for batch in batches)
    assert speech / room > 0.9  # similar lengths come together


@pytest.mark.parametrize("budget", [0, -1.0, math.nan, math.inf])
def test_a_budget_that_is_no_number_of_seconds_is_refused(budget):
    with pytest.raises(ValueError, match="a number of seconds above 0"):
        BudgetBatchSampler([1.0], budget)


def test_processes_share_a_minibatch_without_repeats_or_losses(monkeypatch):
    seconds = np.random.default_rng(0).uniform(1, 15, 50)
    sampler, heard = BudgetBatchSampler(seconds, 40), []
    monkeypatch.setattr("training.loop.count", lambda: 2)
    from training.loop import RemainingBatches

    for rank in range(2):
        monkeypatch.setattr("training.loop.rank", lambda rank=rank: rank)
        heard.append(list(RemainingBatches(sampler)))
    for joined, first, second in zip(sampler, *heard, strict=True):
        assert sorted(joined) == sorted(first + second)
        assert abs(len(first) - len(second)) <= 1 or abs(sum(seconds[first]) - sum(seconds[second])) <= max(seconds[joined])
    assert parallel.count() == 1


# ---------------------------------------------------------------------------------------------
# Trainings
# ---------------------------------------------------------------------------------------------


def rates_of(trainer, epochs):
    """The learning rate of each step, by epoch."""
    found = []
    for _ in range(epochs):
        found.append([])
        trainer.run_epoch(lambda _loss, _utterances: found[-1].append(trainer.tally.learning_rate))
    return found


@pytest.mark.parametrize("schedule", ["onecycle", "anneal", "noam", "constant"])
def test_the_schedule_spans_the_epochs_though_they_differ_in_their_steps(schedule):
    trainer = make_trainer(epochs=4, batch_seconds=2.2, schedule=schedule)
    rates, nominal = rates_of(trainer, 4), trainer._per_epoch
    steps = [len(epoch) for epoch in rates]
    assert len(set(steps)) > 1, steps  # augmentation changes the lengths
    for epoch, found in enumerate(rates):
        places = [epoch * nominal + i * nominal / len(found) for i in range(len(found))]
        assert found == pytest.approx([1e-2 * learning_rate_factor(schedule, place, 4 * nominal, nominal) for place in places])
    assert trainer.step == sum(steps)
    if schedule == "onecycle":
        assert trainer.scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-12)


def test_a_number_of_utterances_gives_the_rates_it_always_gave():
    rates = [rate for epoch in rates_of(make_trainer(epochs=3), 3) for rate in epoch]
    assert rates == [1e-2 * learning_rate_factor("onecycle", step, 12, 4) for step in range(12)]


@pytest.mark.parametrize(("epoch", "batch"), [(0, 2), (1, 1), (4, 1)])
def test_a_run_stopped_anywhere_ends_as_the_whole_one(epoch, batch):
    whole = make_trainer(epochs=5, batch_seconds=2.2)
    for _ in range(5):
        whole.run_epoch()
    part = make_trainer(epochs=5, batch_seconds=2.2)

    def interrupt(_loss, _utterances):
        if (part.epoch, part.batch) == (epoch, batch):
            raise KeyboardInterrupt

    try:
        while (part.epoch, part.batch) != (epoch, batch):
            part.run_epoch(interrupt)
    except KeyboardInterrupt:
        pass
    assert epoch < 4 or part.step != epoch * part._per_epoch + batch  # the epochs before differed in their steps
    saved = copy.deepcopy((part.model.state_dict(), part.state_dict()))
    resumed = make_trainer(epochs=5, batch_seconds=2.2)
    resumed.model.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert (resumed.epoch, resumed.batch, resumed.step) == (epoch, batch, part.step)
    while resumed.epoch < 5:
        resumed.run_epoch()
    assert torch.equal(weights(whole), weights(resumed)) and resumed.step == whole.step


def test_another_budget_is_no_resumed_run():
    state = make_trainer(batch_seconds=3.0).state_dict()
    with pytest.raises(Exception, match=r"batch_seconds was 3\.0, is 4\.0"):
        make_trainer(batch_seconds=4.0).load_state_dict(state)


def test_the_loss_of_an_epoch_is_the_mean_over_its_utterances():
    trainer, steps = make_trainer(epochs=1, batch_seconds=2.2), []
    report = trainer.run_epoch(lambda loss, utterances: steps.append((loss, utterances)))
    assert sum(utterances for _, utterances in steps) == 7 and len({utterances for _, utterances in steps}) > 1
    assert report.loss == pytest.approx(sum(loss * utterances for loss, utterances in steps) / 7)
