"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest

from implementation import CharEncoder
from trainers import SMALL
from training.optimisation import learning_rate_factor, make_optimizer, make_scheduler


def test_anneal_divides_by_1_2_after_each_epoch():
    factors = [learning_rate_factor("anneal", step, 30, 10) for step in (0, 9, 10, 25)]
    assert factors == pytest.approx([1, 1, 1 / 1.2, 1 / 1.44])


def test_onecycle_rises_and_falls():
    factors = [learning_rate_factor("onecycle", step, 100, 10) for step in range(101)]
    assert max(factors) == factors[15] == 1.0 and factors[100] == pytest.approx(0)
    assert all(a < b for a, b in pairwise(factors[:16]))
    assert all(a > b for a, b in pairwise(factors[15:]))


@pytest.mark.parametrize(("warmup", "total", "rise"), [(10, 100, 10), (10_000, 100, 33), (1, 2, 1), (5, 1, 1)])
def test_noam_rises_in_a_line_and_falls_with_the_root_of_the_steps(warmup, total, rise):
    """Vaswani et al. 2017, Eq. 3, divided by its highest value: min(s^-0.5, s w^-1.5) w^0.5 for step s from 1."""
    factors = [learning_rate_factor("noam", step, total, 10, warmup) for step in range(total)]
    expected = [min(s**-0.5, s * rise**-1.5) * rise**0.5 for s in range(1, total + 1)]
    assert factors == pytest.approx(expected) and max(factors) == pytest.approx(1.0 if rise <= total else factors[-1])


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="schedule must be"):
        learning_rate_factor("cosine", 0, 1, 1)
    with pytest.raises(ValueError, match="optimizer must be"):
        make_optimizer("lion", SMALL.build(CharEncoder()), 1e-3)


def test_sgd_is_the_papers():
    sgd = make_optimizer("sgd", SMALL.build(CharEncoder()), 1e-3)
    assert sgd.defaults["momentum"] == 0.99 and sgd.defaults["nesterov"]


@pytest.mark.parametrize("schedule", ["onecycle", "anneal", "noam", "constant"])
@pytest.mark.parametrize("start", [0, 1, 7, 10])
def test_the_scheduler_gives_each_step_its_rate_wherever_it_begins(schedule, start):
    optimizer = make_optimizer("adamw", SMALL.build(CharEncoder()), 2e-3)
    for group in optimizer.param_groups:
        group["lr"] = 0.123  # as a saved optimiser may say
    scheduler = make_scheduler(optimizer, schedule, 2e-3, total=20, per_epoch=5, step=start)
    for step in range(start, 20):
        assert [group["lr"] for group in optimizer.param_groups] == [2e-3 * learning_rate_factor(schedule, step, 20, 5)] * 2
        optimizer.step()
        scheduler.step()
