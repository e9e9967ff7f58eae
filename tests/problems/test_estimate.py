"""Estimates of the noise and the smoothness, against what is known."""

from __future__ import annotations

import numpy as np
import pytest

from rayopt.core.errors import InvalidInput
from rayopt.problems import (
    MLP,
    Estimate,
    Free,
    LeastSquares,
    LogisticRegression,
    NonconvexQuadratics,
    Quadratic,
    estimate,
)


def test_half_width_is_of_95_percent():
    assert Estimate(10.0, 1.0).half_width == pytest.approx(1.96, abs=1e-3)
    assert str(Estimate(10.0, 0.0)) == "10"
    assert str(Estimate(10.0, 1.0)) == "10 ± 2"


def test_what_is_known_is_exact():
    problem = Quadratic(dimension=30, noise=0.1)
    assert problem.estimate_noise_variance() == Estimate(30 * 0.1**2, 0.0)
    assert problem.estimate_smoothness() == Estimate(problem.smoothness, 0.0)
    assert LeastSquares.synthetic(100, 5).estimate_smoothness().error == 0.0
    assert LogisticRegression.digits(rows=50).estimate_smoothness().error == 0.0
    assert Free().estimate_noise_variance() == Estimate(0.0, 0.0)


class TestNoise:
    @pytest.mark.parametrize("kind", ["shared", "iid"])
    def test_of_additive_noise(self, kind):
        problem = Quadratic(dimension=30, noise=0.1, noise_kind=kind)
        problem.noise_variance = None
        found = problem.estimate_noise_variance(tasks=4000)
        assert 0 < found.error < 0.1 * found.value
        assert found.value == pytest.approx(30 * 0.01, abs=4 * found.error)

    def test_of_rows_is_their_variance(self):
        problem = LeastSquares.synthetic(60, 5, noise=0.3)
        x = np.full(5, 0.7)
        full = problem.full_gradient(x)
        expected = np.mean([np.square(problem.gradient(x, row) - full).sum() for row in range(60)])
        found = problem.estimate_noise_variance(x, tasks=4000)
        assert found.value == pytest.approx(expected, abs=4 * found.error)
        batched = LeastSquares.synthetic(60, 5, noise=0.3, batch=4).estimate_noise_variance(x, tasks=4000)
        assert batched.value == pytest.approx(expected / 4, abs=4 * batched.error)

    def test_of_workers_is_the_mean_over_them(self):
        problem = LeastSquares.synthetic(60, 5, noise=0.3, partition="split").split(7, 0)
        x = np.full(5, 0.7)
        variances = []
        for shard in (problem.shard(worker) for worker in range(7)):
            full = shard.full_gradient(x)
            rows = range(shard.row_count)
            variances.append(np.mean([np.square(shard.gradient(x, row) - full).sum() for row in rows]))
        found = problem.estimate_noise_variance(x, tasks=4000)
        assert found.value == pytest.approx(np.mean(variances), abs=4 * found.error)

    def test_is_a_function_of_the_seed(self):
        problem = MLP.digits(hidden=4, rows=50)
        first = problem.estimate_noise_variance(tasks=20)
        assert problem.estimate_noise_variance(tasks=20) == first
        assert problem.estimate_noise_variance(tasks=20, seed=1) != first

    def test_before_split_there_are_no_workers(self):
        with pytest.raises(InvalidInput, match="split"):
            LeastSquares.synthetic(60, 5, partition="split").estimate_noise_variance()


class TestSmoothness:
    def test_of_a_quadratic_is_its_largest_eigenvalue(self):
        problem = Quadratic(dimension=20)
        exact, problem.smoothness = problem.smoothness, None
        found = problem.estimate_smoothness(iterations=400)
        assert found.value == pytest.approx(exact, rel=1e-6)
        assert found.error < 1e-6
        rough = problem.estimate_smoothness(iterations=5)
        assert rough.value < exact
        assert rough.error > found.error

    def test_of_a_network_is_below_that_of_its_hessian(self):
        problem = MLP.digits(hidden=3, rows=40)
        x = problem.start_point()
        step = 1e-5
        units = step * np.eye(problem.dimension)
        hessian = np.array([problem.full_gradient(x + unit) - problem.full_gradient(x - unit) for unit in units])
        largest = np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)).max() / (2 * step)
        found = problem.estimate_smoothness(iterations=40)
        assert 0.9 * largest < found.value < 1.001 * largest

    def test_of_a_constant_is_zero(self):
        assert Free(dimension=3).estimate_smoothness() == Estimate(0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"tasks": 1}, "tasks"),
        ({"tasks": 2.5}, "tasks"),
        ({"seed": -1}, "seed"),
        ({"x": np.zeros((2, 5))}, "x"),
        ({"x": np.full(5, np.nan)}, "x"),
    ],
)
def test_wrong_arguments_of_the_noise(arguments, key):
    with pytest.raises(InvalidInput, match=f"^{key}: "):
        LeastSquares.synthetic(60, 5).estimate_noise_variance(**arguments)


@pytest.mark.parametrize("key", ["starts", "iterations"])
def test_wrong_arguments_of_the_smoothness(key):
    with pytest.raises(InvalidInput, match=f"^{key}: 0"):
        MLP.digits(hidden=3, rows=40).estimate_smoothness(**{key: 0})


class TestComponents:
    def untold(self, components=12):
        problem = NonconvexQuadratics(components=components, dimension=6, spread=1.0, seed=2)
        known = problem.mean_smoothness, problem.hessian_variance
        problem.mean_smoothness = problem.hessian_variance = None
        return problem, known

    def test_all_components_give_what_is_known(self):
        problem, (mean, variance) = self.untold()
        found = problem.estimate_mean_smoothness(iterations=200)
        assert found.value == pytest.approx(mean, rel=1e-4)
        found = problem.estimate_hessian_variance(iterations=200)
        assert found.value == pytest.approx(variance, rel=1e-4)
        assert problem.estimate_hessian_variance(seed=5) == problem.estimate_hessian_variance(seed=5)

    def test_a_sample_is_near_within_its_error(self):
        problem, (mean, variance) = self.untold(components=400)
        found = problem.estimate_mean_smoothness(starts=8, iterations=60, sample=50)
        assert 0 < found.error < 0.2 * found.value
        assert found.value == pytest.approx(mean, abs=4 * found.error)
        found = problem.estimate_hessian_variance(starts=8, iterations=60, sample=50)
        assert found.value == pytest.approx(variance, abs=4 * found.error)

    def test_l_plus_lies_between_l_and_the_root_of_the_sum_of_squares(self):
        problem = LogisticRegression.digits(rows=40)
        mean, variance = problem.estimate_mean_smoothness(), problem.estimate_hessian_variance()
        smoothness = estimate.smoothness(problem, None, 3, 50, 0)
        assert smoothness.value <= mean.value * 1.01
        assert mean.value <= np.hypot(smoothness.value, variance.value) * 1.01

    def test_what_is_known_or_no_finite_sum(self):
        problem = NonconvexQuadratics(components=5, dimension=4)
        assert problem.estimate_mean_smoothness() == Estimate(problem.mean_smoothness, 0.0)
        with pytest.raises(InvalidInput, match="problem: it is not a finite sum"):
            Quadratic(5).estimate_hessian_variance()
        with pytest.raises(InvalidInput, match="sample: 1"):
            LogisticRegression.digits(rows=9).estimate_hessian_variance(sample=1)
