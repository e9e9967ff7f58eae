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


class TestLaw:
    """What is known of whole tasks before they are drawn."""

    workers = ro.Workers(3, ro.latency.uniform("i", "i + 1"), upload=0.5, download=[0.1, 0.2, 0.3])

    def test_links_that_are_fixed_are_added(self):
        times = self.workers.times(0)
        np.testing.assert_allclose(times.least, [1.6, 2.7, 3.8])
        np.testing.assert_allclose(times.quantile(0.5), [2.1, 3.2, 4.3])
        np.testing.assert_allclose(times.probability_within(np.array([1.85, 3.2, 9.0])), [0.25, 0.5, 1.0])

    def test_no_task_is_below_the_least(self):
        times = self.workers.times(0)
        for number in range(200):
            assert (times.durations(np.arange(3), np.full(3, number), 0.0, 1) >= times.least).all()

    def test_a_task_that_takes_just_as_long_is_in_time(self):
        for upload in (0.1, 0.2, 0.3, 1e9):
            times = ro.Workers(3, [0.1, 0.7, 1e-3], upload=upload).times(0)
            assert times.probability_within(times.fixed).tolist() == [1.0, 1.0, 1.0]
            assert times.probability_within(np.nextafter(times.fixed, 0.0)).tolist() == [0.0, 0.0, 0.0]

    def test_time_shorter_than_the_links(self):
        assert self.workers.times(0).probability_within(np.array([0.5, 0.6, 0.0])).tolist() == [0.0, 0.0, 0.0]

    def test_random_links_have_no_law_here(self):
        times = ro.Workers(2, 1.0, upload=ro.latency.exponential(1)).times(0)
        assert times.probability_within(np.ones(2)) is None
        assert times.quantile(0.5) is None
        assert (times.least >= 1.0).all()
