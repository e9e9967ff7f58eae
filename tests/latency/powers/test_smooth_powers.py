"""Day and night, and drifts: integrals by quadrature, limits, and what is not allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.powers.root import increasing_root


def bind(family, n=1):
    return family.bind(n, Stream(0, "compute"))


def day_and_night(t):
    return (0.2 + 1.3 * (1 - math.cos(2 * math.pi * (t - 3) / 20)) / 2) / 2


def drift(t):
    return (1 + (0.25 - 1) * min(t / 30, 1)) / 2


def exponential_drift(t):
    return (0.25 + 0.75 * math.exp(-t / 30)) / 2


def faster(t):
    return (3 - 2 * math.exp(-t / 30)) / 2


SMOOTH = {
    "day_and_night": (lt.day_and_night(2, period=20, low=0.2, high=1.5, phase=3), day_and_night),
    "drift": (lt.drift(2, final=0.25, over=30), drift),
    "exponential_drift": (lt.exponential_drift(2, final=0.25, over=30), exponential_drift),
    "faster": (lt.exponential_drift(2, final=3, over=30), faster),
}


@pytest.mark.parametrize("name", SMOOTH)
class TestAgainstQuadrature:
    def test_work_done(self, name):
        family, power = SMOOTH[name]
        for time in (0.0, 0.5, 7.0, 29.0, 31.0, 95.0):
            area = quad(power, 0, time, points=[30] if time > 30 else None, epsabs=1e-12, limit=200)[0]
            assert bind(family).work_done(time)[0] == pytest.approx(area, rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize("start", [0.0, 3.0, 12.9, 28.0, 30.0, 77.0])
    @pytest.mark.parametrize("cost", [1e-6, 0.3, 1.0, 8.0, 40.0])
    def test_a_task_ends_when_the_area_is_its_cost(self, name, start, cost):
        family, power = SMOOTH[name]
        end = start + bind(family).duration(0, 0, start, cost)
        inner = [30] if start < 30 < end else None
        area = quad(power, start, end, points=inner, epsabs=1e-13, epsrel=1e-11, limit=400)[0]
        assert area == pytest.approx(cost, rel=1e-7)

    def test_the_mean_of_the_long_run(self, name):
        bound = bind(SMOOTH[name][0])
        assert 1e5 / bound.work_done(1e5)[0] == pytest.approx(bound.expected[0], rel=2e-3)


class TestEnds:
    def test_a_drift_to_0_by_hand(self):
        """The power 1 - t / 10 does 5 gradients; the k-th ends at 10 - 10 sqrt(1 - k / 5)."""
        bound = bind(lt.drift(1, final=0, over=10))
        for k in range(1, 5):
            assert bound.duration(0, 0, 0.0, k) == pytest.approx(10 - 10 * math.sqrt(1 - k / 5), rel=1e-12)
        assert bound.duration(0, 0, 0.0, 5.0) == pytest.approx(10.0)
        assert bound.duration(0, 0, 0.0, 5.001) == math.inf
        assert bound.duration(0, 0, 10.0) == bound.duration(0, 0, 11.0) == math.inf
        assert bound.expected.tolist() == [math.inf]

    def test_an_exponential_drift_to_0_by_hand(self):
        """The power exp(-t / 10) does 10 gradients; k of them end at -10 log(1 - k / 10)."""
        bound = bind(lt.exponential_drift(1, final=0, over=10))
        for k in (1, 5, 9):
            assert bound.duration(0, 0, 0.0, k) == pytest.approx(-10 * math.log(1 - k / 10), rel=1e-12)
        assert bound.duration(0, 0, 0.0, 10.0) == math.inf
        assert bound.duration(0, 0, 30.0) == math.inf
        assert bound.duration(0, 0, 1e6) == math.inf

    def test_nights_without_power(self):
        bound = bind(lt.day_and_night(1, period=10, low=0))
        assert bound.duration(0, 0, 0.0, 5.0) == pytest.approx(10.0, rel=1e-5)
        assert bound.duration(0, 0, 0.0, 2.5) == pytest.approx(5.0, rel=1e-12)
        assert bound.duration(0, 0, 1e6 + 5.0, 5e4) == pytest.approx(1e5, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: lt.day_and_night(0, 10, 0), "times"),
        (lambda: lt.day_and_night(1, 0, 0), "period"),
        (lambda: lt.day_and_night(1, 10, -0.1), "low"),
        (lambda: lt.day_and_night(1, 10, 0, high=0), "high"),
        (lambda: lt.day_and_night(1, 10, 0, high=math.inf), "high"),
        (lambda: bind(lt.day_and_night(1, 10, 2)), "low"),
        (lambda: lt.drift(1, final=-1, over=10), "final"),
        (lambda: lt.drift(1, final=1, over=0), "over"),
        (lambda: lt.exponential_drift(1, final=math.nan, over=10), "final"),
        (lambda: lt.exponential_drift(1, final=1, over=math.inf), "over"),
    ],
)
def test_parameters(make, key):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.key == key


def test_roots_do_not_depend_on_their_neighbours():
    targets = np.array([1e-9, 0.5, 7.0, 1e5])

    def function_of(chosen):
        return lambda x: (x**3 + x - chosen, 3 * x**2 + 1)

    together = increasing_root(function_of(targets), np.zeros(4), targets)
    np.testing.assert_allclose(together**3 + together, targets, rtol=1e-12)
    for position in range(4):
        own = targets[[position]]
        assert increasing_root(function_of(own), np.zeros(1), own)[0] == together[position]
