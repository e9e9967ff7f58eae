"""Recursions over the powers of workers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt import Until, methods
from rayopt.core.keys import Stream
from rayopt.latency import latency
from rayopt.problems import Free
from rayopt.theory.universal import (
    PiecewiseConstant,
    fixed_powers,
    heterogeneous_rounds,
    homogeneous_lower_bound,
    homogeneous_rounds,
)

THREE = (1.0, 2.3, 3.7)
TIMES = st.lists(st.floats(0.05, 20.0), min_size=1, max_size=6)


def first_time(times, enough):
    """The first moment at which the counts floor(t / tau_i) are enough, by walking over all ends of tasks."""
    ends = sorted({count * time for time in times for count in range(1, 500)})
    for end in ends:
        if enough([math.floor(end / time + 1e-9) for time in times]):
            return end
    raise AssertionError


@given(TIMES, st.integers(1, 40))
def test_fixed_powers_repeat_one_round(times, gradients):
    once = first_time(times, lambda counts: sum(counts) >= gradients)
    assert homogeneous_rounds(fixed_powers(times), gradients, 3) == pytest.approx([0, once, 2 * once, 3 * once])


@given(TIMES, st.floats(1.0, 4.0))
def test_fixed_powers_repeat_one_round_of_every_worker(times, threshold):
    def enough(counts):
        return min(counts) > 0 and len(counts) / sum(1 / count for count in counts) >= threshold * (1 - 1e-12)

    once = first_time(times, enough)
    found = heterogeneous_rounds(fixed_powers(times), threshold, 3)
    assert found == pytest.approx([0, once, 2 * once, 3 * once])


def test_constant_pieces_equal_fixed_powers():
    same = PiecewiseConstant([0.0, 0.7, 5.0], [[1 / time for time in THREE]] * 3)
    expected = homogeneous_rounds(fixed_powers(THREE), 4, 20)
    assert homogeneous_rounds(same, 4, 20) == pytest.approx(expected, rel=1e-13)


def test_a_common_trend_is_a_change_of_clock():
    # v_i(t) = 2 t / tau_i: what fixed workers do by time s is done by sqrt(s).
    rates = 1 / np.array(THREE)
    found = homogeneous_rounds(lambda time: time**2 * rates, 4, 1)[1]
    assert found == pytest.approx(math.sqrt(homogeneous_rounds(fixed_powers(THREE), 4, 1)[1]))


def test_an_outage_by_hand():
    # One worker of one gradient a second that stands still from 2 to 10.
    outage = PiecewiseConstant([0.0, 2.0, 10.0], [[1.0], [0.0], [1.0]])
    assert homogeneous_rounds(outage, 2, 2) == pytest.approx([0, 2, 12])
    # A round of three is interrupted by it.
    assert homogeneous_rounds(outage, 3, 1) == pytest.approx([0, 11])
    # A gradient that ends as the outage begins is not lost to rounding: 0.1 has no exact float.
    brief = PiecewiseConstant([0.0, 0.3, 10.0], [[10.0], [0.0], [10.0]])
    assert homogeneous_rounds(brief, 1, 3) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_worker_that_dies_is_missed_where_everyone_is_needed():
    dies = PiecewiseConstant([0.0, 1.0], [[1.0, 5.0], [0.0, 5.0]])
    assert heterogeneous_rounds(dies, 1.0, 3).tolist()[2:] == [math.inf, math.inf]
    assert np.isfinite(homogeneous_rounds(dies, 3, 3)).all()
    nobody = PiecewiseConstant([0.0, 1.5], [[1.0], [0.0]])
    assert homogeneous_rounds(nobody, 2, 2).tolist() == [0.0, math.inf, math.inf]


def test_simulated_runs_keep_to_the_recursions(simulate):
    interrupting = simulate(methods.Rennala(0.1, 4, interrupt=True), Free(2), THREE, Until(time=40)).update_times()
    rounds = homogeneous_rounds(fixed_powers(THREE), 4, len(interrupting))
    assert interrupting == pytest.approx(rounds[1:])
    malenia = simulate(methods.Malenia(0.1, 4, interrupt=True), Free(2), THREE, Until(time=40)).update_times()
    assert malenia == pytest.approx(heterogeneous_rounds(fixed_powers(THREE), 4 / 3, len(malenia))[1:])
    ringmaster = simulate(methods.Ringmaster(0.1, 4), Free(2), THREE, Until(time=200)).update_times()
    rounds = homogeneous_rounds(fixed_powers(THREE), 4, len(ringmaster) // 4, fraction=0.25)
    assert all(ringmaster[4 * k - 1] <= rounds[k] for k in range(1, len(rounds)))


@pytest.mark.parametrize(
    "compute",
    [
        {"name": "outages", "times": "i", "period": 10, "length": 3, "phase": "2 * i"},
        {"name": "power", "starts": [0, 6, 8], "powers": [1, 0, 0.5], "period": 10, "times": "sqrt(i)"},
        {"name": "day_and_night", "times": "sqrt(i)", "period": 20, "low": 0.2, "phase": "3 * i"},
    ],
    ids=lambda compute: compute["name"],
)
def test_simulated_runs_with_changing_powers_keep_to_the_recursions(simulate, compute):
    powers = latency(compute).bind(4, Stream(0, "compute")).work_done
    rennala = simulate(methods.Rennala(0.1, 5, interrupt=True), Free(2), compute, Until(time=60), n=4).update_times()
    assert len(rennala) > 5
    assert rennala == pytest.approx(homogeneous_rounds(powers, 5, len(rennala))[1:])
    malenia = simulate(methods.Malenia(0.1, 6, interrupt=True), Free(2), compute, Until(time=60), n=4).update_times()
    assert len(malenia) > 3
    assert malenia == pytest.approx(heterogeneous_rounds(powers, 6 / 4, len(malenia))[1:])


def test_lower_bound():
    assert homogeneous_lower_bound(fixed_powers([1.0]), noise_ratio=2.5, iterations=4.9) == pytest.approx(0.5 * 4 * 3)
    assert homogeneous_lower_bound(fixed_powers([1.0]), noise_ratio=0.0, iterations=0.5) == 0.0


@pytest.mark.parametrize(
    ("starts", "powers", "text"),
    [
        ([], [], "starts"),
        ([1.0], [[1.0]], "starts"),
        ([0.0, 0.0], [[1.0], [1.0]], "starts"),
        ([0.0], [1.0], "powers: shape"),
        ([0.0, 1.0], [[1.0]], "powers: shape"),
        ([0.0], [[-1.0]], "at least 0"),
        ([0.0], [[math.nan]], "at least 0"),
    ],
)
def test_bad_pieces(starts, powers, text):
    with pytest.raises(ValueError, match=text):
        PiecewiseConstant(starts, powers)


@pytest.mark.parametrize(("gradients", "rounds", "fraction"), [(0, 1, 1.0), (1, -1, 1.0), (1, 1, 0.0), (1, 1.5, 1.0)])
def test_bad_rounds(gradients, rounds, fraction):
    with pytest.raises(ValueError, match="expected"):
        homogeneous_rounds(fixed_powers([1.0]), gradients, rounds, fraction)
