"""Which workers Naive Optimal ASGD uses."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods


@pytest.mark.parametrize(
    ("formula", "n", "noise_ratio", "best"),
    [(lambda i: i, 6174, 1, 1), (lambda i: i, 6174, 100, 32), (np.sqrt, 10000, 1, 3), (np.sqrt, 10000, 1e4, 10000)],
)
def test_uses_as_many_workers_as_the_reference_numbers_say(prepared, formula, n, noise_ratio, best):
    times = formula(np.arange(1.0, n + 1))
    _, fleet = prepared(methods.NaiveOptimalASGD(0.1, noise_ratio=noise_ratio), n, times)
    assert fleet.assigned == [(list(range(best)), 0)]


def test_the_first_of_equal_workers_without_noise(prepared):
    _, fleet = prepared(methods.NaiveOptimalASGD(0.1, noise_ratio=0), 50, np.full(50, 0.3))
    assert fleet.assigned == [([0], 0)]


def test_times_in_any_order_and_infinite_ones(prepared):
    times = np.array([np.inf, 3.7, 1.0, np.inf, 2.3])
    _, fleet = prepared(methods.NaiveOptimalASGD(0.1, noise_ratio=2), 5, times)
    assert fleet.assigned == [([2, 4], 0)]


def test_a_given_number_of_workers(prepared):
    _, fleet = prepared(methods.NaiveOptimalASGD(0.1, workers_used=3), 4, np.array([4.0, 1.0, 1.0, 1.0]))
    assert fleet.assigned == [([1, 2, 3], 0)]


@pytest.mark.parametrize("arguments", [{"noise_ratio": 1.0}, {"workers_used": 2}])
def test_a_fleet_that_tells_no_times(prepared, arguments):
    class Silent(methods.NaiveOptimalASGD):
        def start(self, fleet):
            fleet.expected_times = None
            super().start(fleet)

    with pytest.raises(ro.InvalidInput) as caught:
        prepared(Silent(0.1, **arguments), 4)
    assert caught.value.key in arguments
