"""Workers and the durations of their tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro


@pytest.mark.parametrize("compute", [0, [1.0, 0.0], ro.latency.zero(), ro.latency.permuted(ro.latency.zero()), "i - 1"])
def test_computing_takes_time(compute):
    with pytest.raises(ro.InvalidInput, match=r"0 for worker [01]; allowed: times above 0") as caught:
        ro.Workers(2, compute)
    assert caught.value.key == "compute"


@pytest.mark.parametrize("link", [0, [0, 0.5], 0.25, "i / 4"])
def test_links_may_be_free(link):
    assert ro.Workers(2, 1.0, upload=link).times(0).fixed.tolist() >= [1.0, 1.0]


def test_durations_add_up():
    workers = ro.Workers(3, ro.latency.exponential("i"), upload=0.5, download=ro.latency.uniform(0.1, 0.2))
    times = workers.times(4)
    everyone, numbers = np.arange(3), np.array([5, 6, 7])
    together = times.durations(everyone, numbers, 0.0, 2.0)
    alone = [times.duration(worker, number, 0.0, 2.0) for worker, number in zip(range(3), (5, 6, 7), strict=True)]
    assert together.tolist() == alone
    assert times.fixed is None
    np.testing.assert_allclose(times.expected, [1 + 0.65, 2 + 0.65, 3 + 0.65])
    assert workers.times(5).duration(0, 5, 0.0, 1.0) != times.duration(0, 5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"count": 0, "compute": 1.0}, "count"),
        ({"count": 3, "compute": [1.0, 2.0]}, "compute.times"),
        ({"count": 3, "compute": "sqrt(j)"}, "compute.times"),
        ({"count": 3, "compute": 1.0, "upload": -1}, "upload.times"),
        ({"count": 3, "compute": math.nan}, "compute.times"),
    ],
)
def test_bad_workers(arguments, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.Workers(**arguments)
    assert caught.value.key == key
