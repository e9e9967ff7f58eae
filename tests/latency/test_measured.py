"""Measured durations are unknown beforehand: who needs them says so, and what is emulated does not mix with them."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import latency as lt
from rayopt.core.errors import InvalidInput, UnknownConstant
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient
from rayopt.problems import Quadratic
from rayopt.problems.constants import setting_of
from rayopt.runs.compatibility import incompatibility

MEASURED = ro.Workers(2, "measured")


def test_nothing_is_known():
    times = MEASURED.times(0)
    assert MEASURED.are_measured
    assert times.are_measured
    assert times.expected is None
    assert times.quantile(0.5) is None
    assert times.probability_within(np.ones(2)) is None
    assert times.seconds(Gradient(np.zeros(1), 0), 0, 0, 0.0) == 0.0


def test_durations_are_refused():
    bound = lt.measured().bind(2, Stream(0, "compute"))
    for ask in (
        lambda: bound.duration(0, 0, 0.0),
        lambda: bound.durations(np.array([0]), np.array([0]), 0.0),
        lambda: bound.probability_within(np.ones(2)),
        lambda: bound.quantile(0.5),
        lambda: bound.work_done(1.0),
    ):
        with pytest.raises(InvalidInput, match="measured"):
            ask()


def test_virtual_time_has_nothing_to_measure():
    with pytest.raises(InvalidInput, match=r"workers\.compute: measured.*allowed: the fleet ray; or `rayopt profile"):
        ro.run(ro.methods.ASGD(0.1), Quadratic(2), MEASURED, until=ro.Until(time=1))


def test_real_time_has():
    for fleet in (ro.RayFleet(), ro.SharedMemoryFleet()):
        fleet.check_workers(MEASURED)


def test_real_seconds_are_not_scaled():
    with pytest.raises(InvalidInput, match=r"fleet\.time_scale: 0\.1 beside compute: measured; allowed: 1"):
        ro.run(ro.methods.ASGD(0.1), Quadratic(2), MEASURED, until=ro.Until(time=1), fleet=ro.RayFleet(time_scale=0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ro.Workers(2, 1.0, upload="measured"), r"upload\.name: measured"),
        (lambda: ro.Workers(2, "measured", upload=1.0), "upload: an emulated link beside compute: measured"),
        (lambda: ro.Workers(2, "measured", download=lt.fixed("i")), "download: an emulated link"),
        (lambda: lt.groups([lt.measured(), lt.fixed(1)]), r"parts\[0\]: measured"),
        (lambda: lt.mixture([lt.fixed(1), lt.measured()]), r"parts\[1\]: measured"),
        (lambda: lt.permuted(lt.measured()), "of: measured"),
        (lambda: lt.latency({"name": "measured", "times": 1}), "times: unknown parameter"),
    ],
)
def test_it_stands_alone(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_who_needs_mean_times_is_skipped():
    assert "mean times that are known" in incompatibility(ro.methods.RescaledASGD(0.1), Quadratic(2), MEASURED.times(0))
    for method in (ro.methods.ASGD(0.1), ro.methods.Malenia(0.1, 2)):
        assert incompatibility(method, Quadratic(2), MEASURED.times(0)) == ""


def test_theory_needs_times():
    with pytest.raises(UnknownConstant, match=r"workers\.compute: measured times are not known.*`rayopt profile FILE`"):
        setting_of(Quadratic(2), MEASURED, 0.1)
