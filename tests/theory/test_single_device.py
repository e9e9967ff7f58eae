"""One device with random times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rayopt.theory.single_device import Quantiles, best_allotted, mindflayer_seconds, rennala_seconds, truncated_mean

LOG_NORMAL = stats.lognorm(2.5)


@pytest.mark.parametrize(
    ("allotted", "seconds"), [(1.0, 3.283), (1.005, 3.282), (1000.0, 17.655), (0.005, 59.006), (math.inf, 23.760)]
)
def test_single_device_reference_numbers(allotted, seconds):
    assert mindflayer_seconds(allotted, 1.0, LOG_NORMAL) == pytest.approx(seconds, abs=5e-4)


@pytest.mark.parametrize("limit", [1e-3, 0.3, 1.0, 40.0, 1e6])
def test_truncated_mean_of_the_log_normal(limit):
    s = 2.5
    exact = math.exp(s**2 / 2) * stats.norm.cdf(math.log(limit) / s - s) + limit * stats.norm.sf(math.log(limit) / s)
    assert truncated_mean(limit, LOG_NORMAL) == pytest.approx(exact, rel=1e-8)


def test_exponential_times_have_no_memory():
    # Giving up gains nothing and loses tau: the best is to wait.
    law = stats.expon(scale=2.0)
    assert mindflayer_seconds(1.5, 0.0, law) == pytest.approx(rennala_seconds(0.0, law))
    assert mindflayer_seconds(1.5, 1.0, law) > rennala_seconds(1.0, law)


def test_the_best_allotted_time_of_the_log_normal():
    best = best_allotted(1.0, LOG_NORMAL)
    least = mindflayer_seconds(best, 1.0, LOG_NORMAL)
    assert all(least <= mindflayer_seconds(t, 1.0, LOG_NORMAL) for t in np.geomspace(0.01, 1000, 60))


def test_measured_delays():
    # Half of the tasks never end: waiting takes for ever, giving up after 1 second costs (1 + 0.5) / 0.5.
    measured = Quantiles([0.0, math.inf])
    assert rennala_seconds(1.0, measured) == math.inf
    assert mindflayer_seconds(1.0, 1.0, measured) == pytest.approx(3.0)
    assert mindflayer_seconds(0.0, 1.0, measured) == pytest.approx(2.0)
    assert mindflayer_seconds(0.5, 1.0, Quantiles([2.0])) == math.inf
    with pytest.raises(ValueError, match="at least one number"):
        Quantiles([])
