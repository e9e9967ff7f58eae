"""The slow state that comes and goes: its law, and that it is a function of its address."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.powers import markov
from rayopt.latency.powers.markov import Chain


def chain(n, slow=0.0, fast_mean=30.0, slow_mean=10.0, seed=0):
    return Chain(np.full(n, slow), np.full(n, fast_mean), np.full(n, slow_mean), Stream(seed, "compute"))


def is_slow(trend, workers, time):
    gained = trend.integral(workers, np.full(len(workers), time + 1e-6))
    return gained - trend.integral(workers, np.full(len(workers), time)) < 0.5e-6


class TestLaw:
    def test_the_share_of_slow_workers_is_that_of_the_long_run_from_the_start(self):
        n = 4000
        trend = chain(n)
        for time in (0.0, 5.0, 200.0):
            count = int(is_slow(trend, np.arange(n), time).sum())
            assert stats.binomtest(count, n, 0.25).pvalue > 1e-3

    def test_the_share_of_time_of_one_worker(self):
        trend = chain(20, slow=0.25)
        share = trend.integral(np.arange(20), np.full(20, 50_000.0)) / 50_000.0
        assert trend.mean[0] == 0.75 + 0.25 * 0.25
        # Renewal theory: the variance of the slow time is 2 a^2 b^2 t / (a + b)^3 with the means a and b.
        deviation = 0.75 * math.sqrt(2 * 30**2 * 10**2 / 40**3 / 50_000)
        assert (abs(share - trend.mean[0]) < 5 * deviation).all()

    def test_the_state_persists(self):
        """The correlation of the state over a time t is exp(-t (1 / fast_mean + 1 / slow_mean))."""
        n = 20_000
        trend = chain(n)
        first = is_slow(trend, np.arange(n), 40.0)
        for later in (1.0, 5.0, 15.0):
            found = np.corrcoef(first, is_slow(trend, np.arange(n), 40.0 + later))[0, 1]
            assert found == pytest.approx(math.exp(-later * (1 / 30 + 1 / 10)), abs=0.03)

    def test_seeds_and_workers_differ(self):
        times = np.full(50, 100.0)
        paths = [tuple(chain(50, seed=seed).integral(np.arange(50), times).tolist()) for seed in (0, 1)]
        assert paths[0] != paths[1]
        assert len(set(paths[0])) > 40


class TestAddress:
    def test_paths_do_not_depend_on_who_else_asks_and_when(self):
        everyone = chain(30, slow=0.1)
        starts = np.linspace(0, 3000, 30)
        expected = everyone.seconds(np.arange(30), starts, np.full(30, 20.0))
        alone = chain(30, slow=0.1)
        for worker in reversed(range(30)):
            found = alone.seconds(np.array([worker]), starts[[worker]], np.array([20.0]))
            assert found.tobytes() == expected[[worker]].tobytes()

    def test_one_worker_of_many_draws_one_path(self):
        trend = chain(10**6)
        trend.seconds(np.array([999_999]), np.array([500.0]), np.array([3.0]))
        assert trend._table.ends.shape[1] == 1

    def test_the_same_worker_twice_in_one_question(self):
        trend = chain(5)
        twice = trend.seconds(np.array([3, 3]), np.array([1.0, 1.0]), np.array([9.0, 9.0]))
        assert twice[0] == twice[1]


def test_a_long_task_spans_switches():
    bound = lt.markov(1, slow=0, fast_mean=2, slow_mean=2).bind(200, Stream(0, "compute"))
    durations = bound.durations(np.arange(200), np.zeros(200, dtype=np.int64), 0.0, 100.0)
    assert durations.mean() == pytest.approx(200, rel=0.05)
    assert bound.expected[0] == 2.0
    assert bound.least[0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"slow": -0.1}, "slow"),
        ({"slow": 1.1}, "slow"),
        ({"fast_mean": 0}, "fast_mean"),
        ({"slow_mean": math.inf}, "slow_mean"),
        ({"times": 0}, "times"),
    ],
)
def test_parameters(arguments, key):
    with pytest.raises(InvalidInput) as caught:
        lt.markov(**{"times": 1, "slow": 0.1, "fast_mean": 5, "slow_mean": 5, **arguments})
    assert caught.value.key == key


def test_a_gradient_that_meets_too_many_switches():
    with pytest.raises(InvalidInput, match=r"times: 1e\+06 for worker 1; allowed: at most 10,000 times fast_mean"):
        lt.markov([1, 1e6], slow=0.1, fast_mean=5, slow_mean=5).bind(2, Stream(0, "compute"))


def test_a_path_that_no_memory_holds(monkeypatch):
    monkeypatch.setattr(markov, "_LARGEST_TABLE", 2**12)
    bound = lt.markov(1, slow=0.1, fast_mean=1e-3, slow_mean=1e-3).bind(1, Stream(0, "compute"))
    with pytest.raises(InvalidInput, match=r"markov: 1 workers switch more than 4,096 times"):
        bound.work_done(1e300)
