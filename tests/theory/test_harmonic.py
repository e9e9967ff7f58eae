"""Harmonic means of the fastest workers, and how many workers are best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt.theory import Best, best_harmonic, best_slowest, harmonic_means

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)
WORK = st.floats(0, 1e4)


def by_definition(times, fixed, shared):
    """The minimum over m, written as the formula is."""
    times = sorted(times)
    values = [m / sum(1 / time for time in times[:m]) * (fixed + shared / m) for m in range(1, len(times) + 1)]
    return min(values)


def test_harmonic_means_by_hand():
    assert harmonic_means([3.7, 1.0, 2.3]) == pytest.approx([1, 2 / (1 + 1 / 2.3), 3 / (1 + 1 / 2.3 + 1 / 3.7)])


def test_an_infinite_worker_dilutes_the_mean_and_nothing_else():
    assert harmonic_means([math.inf, 2.0]).tolist() == [2.0, 4.0]
    assert harmonic_means([math.inf]).tolist() == [math.inf]


@given(TIMES, WORK, WORK)
def test_best_is_the_minimum_by_definition(times, fixed, shared):
    assert best_harmonic(times, fixed, shared).seconds == pytest.approx(by_definition(times, fixed, shared))


@given(TIMES, WORK, WORK, st.randoms())
def test_the_order_of_the_workers_does_not_matter(times, fixed, shared, random):
    shuffled = random.sample(times, len(times))
    assert best_harmonic(shuffled, fixed, shared) == best_harmonic(times, fixed, shared)
    assert best_slowest(shuffled, fixed, shared) == best_slowest(times, fixed, shared)


@given(TIMES, WORK, WORK)
def test_an_infinite_worker_changes_nothing(times, fixed, shared):
    assert best_harmonic([math.inf, *times], fixed, shared) == best_harmonic(times, fixed, shared)
    assert best_slowest([math.inf, *times], fixed, shared) == best_slowest(times, fixed, shared)


@given(TIMES, st.floats(0, 1e4))
def test_waiting_for_each_other_costs_at_most_a_logarithm(times, ratio):
    harmonic, slowest = best_harmonic(times, 1.0, ratio).seconds, best_slowest(times, 1.0, ratio).seconds
    assert harmonic <= slowest * (1 + 1e-12)
    assert slowest <= (1 + math.log(len(times))) * harmonic * (1 + 1e-12)


def test_the_smallest_of_several_best_numbers():
    # tau_i = i and ratio 1: one worker needs 2 seconds, two need (2 + 1) / 1.5 = 2.
    assert best_harmonic([1.0, 2.0], 1.0, 1.0) == Best(1, 2.0)
    assert best_harmonic([1.0] * 10, 0.0, 1.0).workers == 10
    # Equal up to rounding: every m is best.
    assert [best_harmonic([seconds] * 50, 1.0, 0.0).workers for seconds in (1.0, 0.3, 0.7)] == [1, 1, 1]


def test_no_work_takes_no_time_and_no_worker_takes_for_ever():
    assert best_harmonic([math.inf], 0.0, 0.0) == Best(1, 0.0)
    assert best_harmonic([math.inf, math.inf], 1.0, 1.0).seconds == math.inf
    assert best_slowest([math.inf], 1.0, 1.0).seconds == math.inf


def test_a_million_workers():
    times = np.sqrt(np.arange(1, 10**6 + 1))[::-1]
    found = best_harmonic(times, 1.0, 1e9)
    assert found.workers == 10**6
    assert found.seconds == pytest.approx((1e6 + 1e9) / np.sum(1 / times))


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([], "at least one worker"),
        ([1.0, math.nan], "nan for worker 1"),
        ([0.0], "0 for worker 0"),
        ([-1.0], "-1 for worker 0"),
        ([[1.0]], r"shape \(1, 1\)"),
    ],
)
def test_bad_times(times, text):
    for function in (harmonic_means, lambda bad: best_harmonic(bad, 1, 1), lambda bad: best_slowest(bad, 1, 1)):
        with pytest.raises(ValueError, match=text):
            function(times)


@pytest.mark.parametrize("work", [-1.0, math.nan, math.inf, True, "1"])
def test_bad_work(work):
    with pytest.raises(ValueError, match="shared"):
        best_harmonic([1.0], 1.0, work)
