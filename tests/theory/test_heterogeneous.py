"""Times for workers with different data."""

from __future__ import annotations

import math

import pytest
from unit_settings import unit_setting

from rayopt.theory import MissingConstant, heterogeneous, homogeneous
from rayopt.theory.homogeneous import with_fixed_times

TIMES = [4.0, 1.0, 4.0]  # tau_n = 4, tau_A = 3, H_n = 2


def test_by_hand():
    setting = unit_setting(TIMES, 6.0, largest_smoothness=2.0, heterogeneity=10.0, heterogeneity_growth=5.0)
    assert heterogeneous.minibatch(setting) == 4 * (1 + 2)
    assert heterogeneous.ia2sgd(setting) == 2 * 4 * (1 + 2)
    assert heterogeneous.malenia(setting) == heterogeneous.lower_bound(setting) == 4 + 3 * 2
    assert heterogeneous.ringleader(setting) == 2 * (4 + 3 * 2)
    # 6 * 3 / 3 + 2 * sqrt(16) * (4 / 2) * 3 + 2 * 5 * (4 / 2) * 4 + 4
    assert heterogeneous.rescaled_asgd(setting) == 6 + 48 + 80 + 4
    assert heterogeneous.malenia(setting, constant=96) == 960


def test_ringleader_with_equal_functions_has_the_smoothness_of_f():
    assert heterogeneous.ringleader(unit_setting(TIMES, 6.0)) == 10


def test_vecna_that_never_fails_is_malenia():
    setting = unit_setting(TIMES, 6.0, **with_fixed_times(TIMES))
    assert heterogeneous.vecna(setting) == pytest.approx(heterogeneous.malenia(setting))
    # Each attempt succeeds half the time: 4 + 6 * 2 for the noise, + 6 * 0.5 / 3 for the failures.
    setting = unit_setting(TIMES, 6.0, trial_times=TIMES, success_probabilities=[0.5] * 3)
    assert heterogeneous.vecna(setting) == pytest.approx(4 + 12 + 1)


def test_one_infinite_worker_is_one_too_many():
    times = [1.0, math.inf]
    setting = unit_setting(
        times, 1.0, largest_smoothness=1.0, heterogeneity=1.0, heterogeneity_growth=1.0, **with_fixed_times(times)
    )
    assert {seconds(setting) for seconds in heterogeneous.METHODS.values()} == {math.inf}
    assert heterogeneous.lower_bound(setting) == math.inf
    assert homogeneous.lower_bound(setting) == 2.0


def test_equal_times_need_no_less_for_different_data():
    setting = unit_setting([2.0] * 5, 10.0)
    assert heterogeneous.lower_bound(setting) == pytest.approx(homogeneous.asgd(setting))


def test_what_is_missing_is_named():
    with pytest.raises(MissingConstant, match="largest_smoothness"):
        heterogeneous.ia2sgd(unit_setting(TIMES, 1.0))
    with pytest.raises(MissingConstant, match="heterogeneity"):
        heterogeneous.rescaled_asgd(unit_setting(TIMES, 1.0, largest_smoothness=1.0))
