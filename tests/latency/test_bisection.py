"""Bisection over integers and floats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayopt.latency.bisection import count_while, first_float, last_float


@pytest.mark.parametrize("stop", [1, 2, 7, 100, 2**52])
def test_every_count_is_found(stop):
    counts = np.array([0, 1, stop // 2, stop - 1, stop])
    assert count_while(lambda integers: integers < counts, len(counts), stop).tolist() == counts.tolist()


def test_a_search_that_is_over_does_not_leave_the_range():
    table = np.array([[1, 2, 3], [1, 9, 9]])
    rows = np.arange(2)
    assert count_while(lambda integers: table[rows, integers] <= 3, 2, 3).tolist() == [3, 1]


BOUNDS = np.array([0.0, 5e-324, 1.0, 1e300, math.inf])


def test_the_first_float_that_does_not_fail():
    assert first_float(lambda numbers: numbers < BOUNDS, len(BOUNDS)).tolist() == BOUNDS.tolist()
    assert first_float(lambda numbers: numbers < math.inf, 2).tolist() == [math.inf, math.inf]


def test_the_last_float_that_holds():
    assert last_float(lambda numbers: numbers <= BOUNDS, len(BOUNDS)).tolist() == BOUNDS.tolist()
    assert last_float(lambda numbers: numbers < 1.0, 1).tolist() == [math.nextafter(1.0, 0.0)]
    assert last_float(lambda numbers: numbers < 0.0, 1).tolist() == [-1.0]
