"""Values in virtual time: computed late, in one product, or never."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt.core.arrivals import GradientSum
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient, LocalSGD
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.problems import Free, LogisticRegression, Quadratic


def fleet_of(times, problem=None):
    n = len(times) if isinstance(times, list) else times[0]
    compute = times if isinstance(times, list) else times[1]
    return SimulatedWorkers(problem or Free(2), ro.Workers(n, compute).times(0), 0)


class Counting(Quadratic):
    """Counts the gradients that were computed."""

    computed = 0

    def gradient(self, x, sample, checkpoint=None):
        type(self).computed += 1
        return super().gradient(x, sample, checkpoint)


def test_an_ignored_gradient_is_never_computed(simulate):
    Counting.computed = 0
    ran = simulate(ro.methods.Ringmaster(0.1, threshold=2), Counting(4), until=ro.Until(time=20))
    assert Counting.computed == ran.outcome.counts.used < ran.outcome.counts.arrivals


@pytest.mark.parametrize(
    "problem",
    [Quadratic(9, noise=0.5), Quadratic(9, noise=0.5, noise_kind="iid"),
     Quadratic(9, noise_kind="progress", probability=0.3), LogisticRegression.digits(batch=3)],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("grid", [False, True])
def test_lazy_sums_equal_eager_ones(problem, grid):
    problem = problem.split(6, 0)
    fleet = fleet_of((6, "sqrt(i)"), problem)
    points = [problem.start_point() + shift for shift in (0.0, 0.1)]
    if grid:
        points = [np.stack([x, 2 * x, x + 1]) for x in points]
    lazy, eager, samples = GradientSum(), 0.0, Stream(0, "sample")
    weights = np.linspace(0.5, 2.0, 6)
    for worker in range(6):
        fleet.assign(worker, Gradient(points[worker % 2], worker % 2))
    for _ in range(6):
        arrival = fleet.wait(100.0)
        lazy.add(arrival, 3.0)
        assert arrival.used
        sample = arrival.task.draw(problem, arrival.worker, samples.key(arrival.worker, arrival.number))
        eager = eager + 3.0 * weights[arrival.worker] * arrival.task.evaluate(problem, sample)
    total = lazy.sum(worker_weights=weights)
    assert np.abs(total - eager).max() <= 1e-12 * np.abs(eager).max()
    assert lazy.count == 6


def test_merged_sums_and_means():
    problem = Quadratic(4, noise=0.5)
    fleet = fleet_of([1.0, 2.0], problem)
    fleet.assign(np.arange(2), Gradient(problem.start_point(), 0))
    first, second = GradientSum(), GradientSum()
    a, b = fleet.wait(5.0), fleet.wait(5.0)
    first.add(a)
    second.add(b)
    first.merge(second)
    np.testing.assert_allclose(first.mean(), (a.value + b.value) / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="no gradients"):
        GradientSum().sum()


@pytest.mark.parametrize("steps", [1, 2])
def test_local_steps_have_one_value_alone_and_in_a_sum(steps):
    problem = LogisticRegression.digits(batch=3).split(1, 0)
    fleet = fleet_of([1.0], problem)
    fleet.assign(0, LocalSGD(problem.start_point(), 0, steps, 0.1))
    arrival, total = fleet.wait(5.0), GradientSum()
    total.add(arrival)
    np.testing.assert_allclose(arrival.value, total.sum(), rtol=1e-12)
