"""Times on one distribution of data: reference numbers and what must hold between methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_settings import unit_setting

from rayopt.theory import CONSTANTS, MissingConstant, Setting, heterogeneous, homogeneous
from rayopt.theory.homogeneous import with_fixed_times

I = np.arange(1, 6175)  # noqa: E741
SQRT = np.sqrt(np.arange(1, 10001))
TIMES = st.lists(st.one_of(st.floats(1e-2, 1e2), st.just(math.inf)), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("times", "ratio", "hero", "minibatch", "asgd", "optimal", "workers"),
    [
        (I, 1.0, 2, 6175, 663.6, 2, 1),
        (I, 1e2, 101, 6274, 674.2, 32.52, 32),
        (I, 1e4, 10001, 16174, 1738.1, 1457.3, 1457),
        (I, 1e6, 1000001, 1006174, 108128, 108128, 6174),
        (SQRT, 1.0, 2, 100.0, 50.37, 1.751, 3),
        (SQRT, 1e2, 101, 101, 50.87, 10.73, 115),
        (SQRT, 1e4, 10001, 200, 100.7, 100.7, 10000),
    ],
)
def test_reference_numbers(times, ratio, hero, minibatch, asgd, optimal, workers):
    setting = unit_setting(times, ratio)
    near = {"rel": 6e-4}
    assert homogeneous.hero(setting) == pytest.approx(hero, **near)
    assert homogeneous.minibatch(setting) == pytest.approx(minibatch, **near)
    assert homogeneous.asgd(setting) == pytest.approx(asgd, **near)
    assert homogeneous.lower_bound(setting) == pytest.approx(optimal, **near)
    assert homogeneous.optimal(setting).workers == workers


def test_the_constants_of_f_enter_as_in_the_formula():
    # a = L Delta / eps = 2 * 3 / 0.5 = 12, b = sigma^2 a / eps = 12 * 4 / 0.5 = 96.
    setting = Setting([1.0, 3.0], 0.5, smoothness=2.0, initial_gap=3.0, noise_variance=4.0)
    assert homogeneous.hero(setting) == 12 + 96
    assert homogeneous.minibatch(setting) == 3 * (12 + 48)
    assert homogeneous.m_sync(setting) == 12 + 96
    assert homogeneous.asgd(setting) == pytest.approx(1.5 * (12 + 48))
    assert homogeneous.rennala(setting, CONSTANTS["Rennala"].value) == pytest.approx(96 * 90)


def test_mindflayer_that_never_fails_is_rennala():
    setting = unit_setting(I, 100.0, **with_fixed_times(I))
    assert homogeneous.mindflayer(setting) == pytest.approx(homogeneous.rennala(setting))


def test_mindflayer_by_hand():
    # Sorted by tau + t: c = (1, 2), p = (0.5, 1); S = 3: T_1 = 3.5 / 0.5 = 7, T_2 = (3 + 1.5) / (0.5 + 0.5) = 4.5.
    setting = unit_setting([9.0, 9.0], 3.0, trial_times=[2.0, 1.0], success_probabilities=[1.0, 0.5])
    assert homogeneous.mindflayer(setting) == 4.5


@given(TIMES, st.floats(0, 1e4))
def test_nobody_beats_the_lower_bound(times, ratio):
    setting = Setting(times, 1.0, smoothness=1.0, initial_gap=1.0, noise_variance=ratio, **with_fixed_times(times))
    bound = homogeneous.lower_bound(setting)
    for name, seconds in homogeneous.METHODS.items():
        assert seconds(setting) >= bound * (1 - 1e-12), name
    assert heterogeneous.lower_bound(setting) >= bound * (1 - 1e-12)


@given(TIMES, st.floats(0, 1e4), st.randoms())
def test_the_order_of_the_workers_does_not_matter(times, ratio, random):
    def at(some):
        setting = Setting(some, 1.0, smoothness=1.0, initial_gap=1.0, noise_variance=ratio, **with_fixed_times(some))
        return [seconds(setting) for seconds in homogeneous.METHODS.values()]

    assert at(random.sample(times, len(times))) == pytest.approx(at(times), rel=1e-12)


def test_nothing_to_do_takes_no_time():
    setting = unit_setting([1.0, math.inf], 0.0, initial_gap=0.0, **with_fixed_times([1.0, math.inf]))
    assert {seconds(setting) for seconds in homogeneous.METHODS.values()} == {0.0}


@pytest.mark.parametrize("missing", ["noise_variance", "initial_gap", "smoothness"])
def test_an_unknown_constant_is_named(missing):
    for seconds in homogeneous.METHODS.values():
        with pytest.raises(MissingConstant, match=missing):
            seconds(unit_setting([1.0], 1.0, **{missing: None}))
