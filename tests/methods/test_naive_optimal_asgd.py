"""The number of workers of Naive Optimal ASGD."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.methods.naive_optimal_asgd import best_count


@pytest.mark.parametrize(
    ("formula", "n", "noise_ratio", "best"),
    [
        ("i", 6174, 1, 1), ("i", 6174, 1e2, 32), ("i", 6174, 1e4, 1457), ("i", 6174, 1e6, 6174),
        ("sqrt(i)", 10000, 1, 3), ("sqrt(i)", 10000, 1e2, 115), ("sqrt(i)", 10000, 1e4, 10000),
    ],
)  # fmt: skip
def test_best_count_is_that_of_the_reference_numbers(formula, n, noise_ratio, best):
    i = np.arange(1, n + 1)
    assert best_count({"i": i, "sqrt(i)": np.sqrt(i)}[formula].astype(float), noise_ratio) == best


@pytest.mark.parametrize("seconds", [1.0, 0.3, 0.7])
def test_the_least_of_several_best_counts(seconds):
    assert best_count(np.full(50, seconds), 0.0) == 1


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
