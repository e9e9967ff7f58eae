"""Picky SGD, step by step: two workers, times 1 and 2.5, f(x) = (x - 10)^2 / 2, x_0 = 0."""

from __future__ import annotations

import math

import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival


def picky(simulate, centres, limit):
    return simulate(methods.Picky(0.5, limit), centres(10.0, 10.0), (1.0, 2.5), ro.Until(time=5))


def test_discards_what_was_computed_far_away(simulate, centres):
    ran = picky(simulate, centres, 6.0)
    assert ran.events == [
        (1.0, 1, 0, "used", 1),  # x = 5
        (2.0, 1, 0, "used", 2),  # x = 7.5
        (2.5, 2, 2, "ignored", 3),  # at 0; t goes on, x does not
        (3.0, 1, 1, "used", 4),  # at x_2 = x_3 = 7.5: x = 8.75
        (4.0, 1, 0, "used", 5),  # x = 9.375
        (5.0, 1, 0, "used", 6),  # x = 9.6875
        (5.0, 2, 3, "used", 7),  # at 7.5, 2.1875 away: x = 10.9375
    ]
    assert ran.method.x.tolist() == [10.9375]


@pytest.mark.parametrize(("limit", "outcome", "x"), [(2.1875, "used", 10.9375), (2.18, "ignored", 9.6875)])
def test_applies_a_gradient_at_exactly_the_limit(simulate, centres, limit, outcome, x):
    ran = picky(simulate, centres, limit)
    assert ran.events[-1] == (5.0, 2, 3, outcome, 7)
    assert ran.method.x.tolist() == [x]


def test_a_distance_that_is_not_a_number_is_not_close(prepared):
    method, fleet = prepared(methods.Picky(0.5, 1.0), 1)
    method.x = method.x + math.nan
    arrival = Arrival.with_value(0, [1.0])
    method.receive(arrival, fleet)
    assert not arrival.used
    assert method.updates == 1


def test_the_members_of_a_grid_run_one_by_one():
    result = ro.run(
        methods.Picky([0.5, 0.25], distance_limit=1.0),
        ro.problems.Quadratic(dimension=10),
        ro.Workers(3, compute=[1.0, 2.3, 3.7]),
        until=ro.Until(time=6),
    )
    last = result.history.groupby("step_size").last()
    assert last.index.tolist() == [0.25, 0.5]
    assert last.updates.tolist() == [9, 9]
