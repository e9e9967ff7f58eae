"""Periodic outages by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream


def bind(family, n=1):
    return family.bind(n, Stream(0, "compute"))


@pytest.mark.parametrize(
    ("start", "cost", "duration"),
    [
        (0.0, 1, 5.0),  # in the outage from -1 to 2
        (1.5, 1, 3.5),
        (2.0, 1, 3.0),
        (6.0, 1, 3.0),  # done when the outage begins
        (6.5, 1, 6.0),
        (9.0, 1, 6.0),
        (2.0, 7 / 3, 7.0),
        (2.0, 70 / 3, 97.0),
        (1002.0, 1, 3.0),
    ],
)
def test_durations(start, cost, duration):
    bound = bind(lt.outages(times=3, period=10, length=3, phase=9))
    assert bound.duration(0, 0, start, cost) == pytest.approx(duration, rel=1e-14)


def test_work_done_expected_and_least():
    bound = bind(lt.outages(times=2, period=10, length=[4, 0, 10], phase=[6, 3, 1]), n=3)
    assert bound.work_done(6.0).tolist() == [3.0, 3.0, 0.0]
    assert bound.work_done(10.0).tolist() == [3.0, 5.0, 0.0]
    assert bound.work_done(25.0).tolist() == [8.5, 12.5, 0.0]
    np.testing.assert_allclose(bound.expected, [2 / 0.6, 2.0, math.inf])
    assert bound.least.tolist() == [2.0, 2.0, 2.0]


def test_an_outage_without_end():
    bound = bind(lt.outages(times=2, period=10, length=10))
    assert bound.duration(0, 0, 3.0) == math.inf


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"times": 0}, "times"),
        ({"period": 0}, "period"),
        ({"period": math.inf}, "period"),
        ({"length": -1}, "length"),
        ({"phase": -1}, "phase"),
    ],
)
def test_parameters(arguments, key):
    with pytest.raises(InvalidInput) as caught:
        lt.outages(**{"times": 1, "period": 10, "length": 2, **arguments})
    assert caught.value.key == key


def test_an_outage_longer_than_its_period():
    with pytest.raises(InvalidInput, match="length: 4 for worker 3; allowed: at most its period, 3"):
        bind(lt.outages(1, period=3, length="i"), n=6)
