"""Rescaled ASGD: values by hand, and the bias that it removes."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods


def test_values(simulate, centres):
    # tau_A = 2, so the steps are 0.25 and 0.75: 0.25 * 4, 0.25 * 3, 0.25 * 2.25, then 0.75 * 8 at x^0.
    ran = simulate(methods.RescaledASGD(0.5), centres(4.0, 8.0), (1.0, 3.0), ro.Until(time=3))
    assert ran.method.x.tolist() == [1.0 + 0.75 + 0.5625 + 6.0]


@pytest.mark.parametrize(("make", "limit"), [(methods.RescaledASGD, 6.0), (methods.ASGD, 5.0)])
def test_the_fast_worker_has_no_more_weight_than_the_slow_one(simulate, centres, make, limit):
    ran = simulate(make(0.002), centres(4.0, 8.0), (1.0, 3.0), ro.Until(time=6000))
    assert ran.method.x == pytest.approx(limit, abs=0.02)


def test_an_infinite_expected_time_is_skipped_and_refused_by_force():
    arguments = methods.RescaledASGD(0.1), ro.problems.Quadratic(4), ro.Workers(2, [1.0, np.inf])
    with pytest.raises(ro.RayoptError, match="that of worker 1 is infinite"):
        ro.run(*arguments, until=ro.Until(time=5))
    with pytest.raises(ro.InvalidInput, match="worker 1 is inf") as caught:
        ro.run(*arguments, until=ro.Until(time=5), force=True)
    assert caught.value.key == "workers.compute"


def test_a_fleet_that_tells_no_times(prepared):
    class Silent(methods.RescaledASGD):
        def start(self, fleet):
            fleet.expected_times = None
            super().start(fleet)

    with pytest.raises(ro.InvalidInput):
        prepared(Silent(0.1), 2)
