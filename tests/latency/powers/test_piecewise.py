"""Powers that are constant in stretches: by hand, and against a plain search."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.powers.pieces import Pieces


def bind(family, n=1):
    return family.bind(n, Stream(0, "compute"))


class TestByHand:
    bound = bind(lt.power([0, 4, 6, 10], [1, 0, 0.5, 2], times=2))

    @pytest.mark.parametrize(
        ("start", "cost", "duration"),
        [
            (0.0, 1, 2.0),
            (0.0, 2, 4.0),  # at 4, not after the outage
            (0.0, 2.25, 7.0),
            (3.0, 1, 5.0),
            (4.0, 1, 6.0),
            (5.0, 1, 5.0),
            (6.0, 1, 4.0),
            (6.0, 2, 5.0),
            (10.0, 1, 1.0),
            (1e6, 3, 3.0),
        ],
    )
    def test_durations(self, start, cost, duration):
        assert self.bound.duration(0, 0, start, cost) == duration

    @pytest.mark.parametrize(("time", "done"), [(0, 0), (2, 1), (4, 2), (5, 2), (6, 2), (8, 2.5), (10, 3), (11, 4)])
    def test_work_done(self, time, done):
        assert self.bound.work_done(time).tolist() == [done]

    def test_expected_is_that_of_the_long_run_and_least_that_of_the_peak(self):
        assert self.bound.expected.tolist() == [1.0]
        assert self.bound.least.tolist() == [1.0]
        again = bind(lt.power([0, 5], [1, 0], period=10, times=3))
        assert again.expected.tolist() == [6.0]
        assert again.least.tolist() == [3.0]

    def test_many_rounds(self):
        bound = bind(lt.power([0, 3, 5], [1, 0, 2], period=6))
        assert bound.duration(0, 0, 0.0, 5.0) == 6.0
        assert bound.duration(0, 0, 0.0, 500.0) == 600.0
        assert bound.duration(0, 0, 0.0, 503.0) == 603.0
        assert bound.duration(0, 0, 0.0, 504.0) == 605.5
        assert bound.duration(0, 0, 64.0, 2.0) == 2.0
        assert bound.work_done(605.5).tolist() == [504.0]

    def test_workers_of_their_own(self):
        bound = bind(lt.power([0, 2], ["i", [0, 1, 4]]), n=3)
        assert bound.durations(np.arange(3), np.arange(3), 0.0, 8.0).tolist() == [math.inf, 6.0, 2.5]
        assert bound.expected.tolist() == [math.inf, 1.0, 0.25]


def plain_end(begins, powers, period, start, need):
    """When the integral has grown by ``need``, in exact arithmetic, one stretch after the other."""
    begins, powers, now, need = [*map(Fraction, begins)], [*map(Fraction, powers)], Fraction(start), Fraction(need)
    period = Fraction(period)
    while True:
        position = now % period
        piece = max(j for j, begin in enumerate(begins) if begin <= position)
        end = begins[piece + 1] if piece + 1 < len(begins) else period
        gain = powers[piece] * (end - position)
        if gain >= need:
            return float(now + need / powers[piece])
        need -= gain
        now += end - position


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    powers=st.lists(st.sampled_from([0, 0.5, 1, 2, 4]), min_size=5, max_size=5),
    start=st.integers(0, 160).map(lambda quarters: quarters / 4),
    need=st.integers(1, 200).map(lambda quarters: quarters / 4),
)
@settings(max_examples=300)
def test_the_end_is_that_of_a_plain_search(lengths, powers, start, need):
    """Numbers that float64 holds exactly: the end must be exact, too."""
    period, powers = float(sum(lengths)), powers[: len(lengths)]
    if not any(powers):
        return
    begins = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    trend = Pieces(begins[:, None], np.array(powers)[:, None], 1, np.array([period]))
    seconds = trend.seconds(np.array([0]), np.array([start]), np.array([need]))
    assert start + seconds[0] == pytest.approx(plain_end(begins, powers, period, start, need), rel=1e-12)


class TestInvalid:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"powers": [1, -1]}, r"powers\[1\]: -1; allowed: finite numbers of at least 0"),
            ({"powers": [1, math.inf]}, r"powers\[1\]: inf"),
            ({"powers": [1, math.nan]}, r"powers\[1\]: nan"),
            ({"powers": [1]}, "powers: 1 for 2 stretches"),
            ({"powers": 1}, "powers: 1 is not a list"),
            ({"powers": "1"}, "powers: '1' is not a list"),
            ({"starts": [0, 0]}, r"starts\[1\]: 0 after 0"),
            ({"starts": [1, 2]}, r"starts\[0\]: 1; allowed: an increasing list"),
            ({"starts": [0, math.inf]}, r"starts\[1\]: inf is not a finite number"),
            ({"starts": [0, True]}, r"starts\[1\]: True"),
            ({"starts": []}, r"starts: \[\] is not a list of numbers"),
            ({"period": 5}, "period: 5; allowed: none, or a number above the last start, 5"),
            ({"period": -1}, "period: -1 is not a positive number"),
            ({"times": 0}, "times: 0"),
        ],
    )
    def test_parameters(self, arguments, message):
        with pytest.raises(InvalidInput, match=message):
            lt.power(**{"starts": [0, 5], "powers": [1, 2], **arguments})

    def test_a_formula_that_is_negative_for_some_worker(self):
        with pytest.raises(InvalidInput, match=r"powers\[1\]: -1 for worker 2"):
            bind(lt.power([0, 5], [1, "2 - i"]), n=3)
        with pytest.raises(InvalidInput, match=r"powers\[0\]: 2 values for 3 workers"):
            bind(lt.power([0], [[1, 2]]), n=3)
