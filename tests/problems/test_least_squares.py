"""Least squares: the formula, what is known of it, the bits, the shards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput
from rayopt.core.keys import Stream
from rayopt.problems import LeastSquares

ROWS, FEATURES = 50, 6


def small(**arguments) -> LeastSquares:
    return LeastSquares.synthetic(ROWS, FEATURES, noise=0.5, seed=1, **arguments)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(FEATURES)


@pytest.fixture
def grid() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((4, FEATURES))


def test_value_and_gradients_are_those_of_the_formula(x):
    problem = small()

    def formula(z: np.ndarray, rows: np.ndarray) -> float:
        return 0.5 * np.mean((problem.A[rows] @ z - problem.b[rows]) ** 2)

    everything = np.arange(ROWS)
    assert problem.value(x) == pytest.approx(formula(x, everything), rel=1e-13)
    np.testing.assert_allclose(problem.full_gradient(x), approx_fprime(x, formula, 1e-7, everything), atol=1e-6)
    for sample in (7, np.array([3, 3, 9])):
        expected = approx_fprime(x, formula, 1e-7, np.atleast_1d(sample))
        np.testing.assert_allclose(problem.gradient(x, sample), expected, atol=1e-6)


def test_by_hand():
    problem = LeastSquares([[1, 0], [0, 2]], [1, 4])
    x = np.array([3.0, 0.0])
    assert problem.value(x) == 0.5 * (4 + 16) / 2
    np.testing.assert_array_equal(problem.full_gradient(x), [1.0, -4.0])
    np.testing.assert_array_equal(problem.gradient(x, 1), [0.0, -8.0])
    assert problem.distance == pytest.approx(np.sqrt(5))
    assert problem.gap(x) == pytest.approx(5.0)
    assert problem.convex is True


def test_constants_of_the_paper_s_data():
    problem = LeastSquares.synthetic()
    assert problem.A.shape == (10_000, 400)
    assert problem.A.min() >= 0
    assert problem.A.max() <= 1 / 20
    # The mean direction dominates: d (1/2)^2/d, and a little of the variance 1/12.
    assert problem.smoothness == pytest.approx(0.25 + 1 / 12 / 400, rel=0.05)


def test_minimum_is_what_is_left_of_the_noise():
    problem = LeastSquares.synthetic(2000, 40)
    # N - d degrees of freedom are left of the noise 1e-5.
    assert problem.minimum == pytest.approx(0.5e-10 * (1 - 40 / 2000), rel=0.1)
    assert np.abs(problem.full_gradient(problem.minimizer())).max() < 1e-14


@pytest.mark.parametrize("partition", ["homogeneous", "split"])
def test_what_is_known_is_of_the_function_over_the_workers(partition, x, grid):
    problem = small(partition=partition).split(7, 0)
    solution = problem.minimizer()
    assert np.abs(problem.full_gradient(solution)).max() < 1e-13
    assert problem.minimum == pytest.approx(problem.value(solution))
    hessian = np.array([approx_fprime(x, lambda z, j=j: problem.full_gradient(z)[j]) for j in range(FEATURES)])
    assert problem.smoothness == pytest.approx(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], rel=1e-5)
    found = problem.metrics(grid)
    assert set(found) == set(problem.metric_names) == {"value", "grad_norm_sq", "gap"}
    np.testing.assert_allclose(found["gap"], found["value"] - problem.minimum, rtol=1e-9)
    assert problem.metrics(solution, ["gap"]) == {"gap": 0.0}


def test_least_norm_of_many_solutions():
    problem = LeastSquares([[1.0, 1.0]], [2.0])
    np.testing.assert_allclose(problem.minimizer(), [1.0, 1.0])


@pytest.mark.parametrize("batch", [1, 3, 1500])
def test_a_grid_member_has_the_bits_of_its_own_run(batch):
    problem = LeastSquares.synthetic(200, 30, batch=batch)
    points = np.random.default_rng(0).standard_normal((5, problem.dimension))
    samples = problem.draw_many(np.zeros(3, dtype=int), np.arange(3, dtype=np.uint64))
    together = [problem.gradient(points, sample) for sample in samples]
    summed = problem.gradient_sum(points, samples)
    for k, point in enumerate(points):
        for sample, rows in zip(samples, together, strict=True):
            assert problem.gradient(point, sample).tobytes() == rows[k].tobytes()
        assert problem.gradient_sum(point, samples).tobytes() == summed[k].tobytes()


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (4, 3)])
def test_sum_is_the_sum_of_gradients(batch, count, x, grid):
    problem = small(batch=batch)
    samples = problem.draw_many(np.zeros(6, dtype=int), np.arange(6, dtype=np.uint64), count)
    weights = np.linspace(-1, 2, 6)
    for points in (x, grid):
        expected = sum(w * problem.gradient(points, s) for w, s in zip(weights, samples, strict=True))
        found = problem.gradient_sum(points, samples, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("partition", ["homogeneous", "split"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_shard_has_the_bits_of_its_parent(partition, batch, x):
    problem = small(batch=batch, partition=partition).split(7, 3)
    problem.minimizer()
    stream = Stream(0, "sample")
    for worker in range(7):
        shard = pickle.loads(pickle.dumps(problem.shard(worker)))
        for key in (stream.key(worker, number) for number in range(5)):
            ours, theirs = problem.draw(worker, key), shard.draw(worker, key)
            assert problem.gradient(x, ours).tobytes() == shard.gradient(x, theirs).tobytes()
        assert np.abs(shard.full_gradient(shard.minimizer())).max() < 1e-13


class TestInput:
    @pytest.mark.parametrize(
        ("A", "b", "problem"),
        [
            (np.zeros((0, 3)), np.zeros(0), "empty"),
            (np.zeros(3), np.zeros(3), r"A: shape \(3,\)"),
            ([["a"]], [1], "expected real numbers"),
            ([[1.0], [np.inf]], [1, 2], "A: row 1 is NaN or infinite"),
            ([[1.0], [2.0]], [1, np.nan], "b: row 1 is NaN or infinite"),
            ([[1.0], [2.0]], [1, 2, 3], r"b: shape \(3,\); expected \(2,\)"),
        ],
    )
    def test_wrong_data(self, A, b, problem):
        with pytest.raises(DataError, match=problem):
            LeastSquares(A, b)

    def test_there_are_no_labels_to_divide_by(self):
        with pytest.raises(InvalidInput, match="partition: 'dirichlet' divides by label"):
            small(partition={"name": "dirichlet", "alpha": 0.1})
        assert small(partition="split").split(5, 0).skew is None

    def test_of_a_file(self):
        problem = LeastSquares.from_config({"rows": 20, "features": 3}, batch=2)
        assert problem.A.shape == (20, 3)
        config = problem.to_config()
        assert config.pop("name") == "least_squares"
        np.testing.assert_array_equal(LeastSquares.from_config(**config).b, problem.b)
        with pytest.raises(InvalidInput, match="did you mean 'features'"):
            LeastSquares.from_config({"feature": 3})
        with pytest.raises(InvalidInput, match=r"data\.noise: -1"):
            LeastSquares.from_config({"noise": -1})
        with pytest.raises(InvalidInput, match=r"^data: 'synthetics' is unknown"):
            LeastSquares.from_config("synthetics")
        with pytest.raises(InvalidInput, match=r"^batch: 0"):
            LeastSquares.from_config(batch=0)


def test_a_run_closes_the_gap():
    problem = LeastSquares.synthetic(300, 20, batch=8)
    until = ro.Until(updates=300)
    result = ro.run(ro.methods.ASGD(step_size=0.5), problem, ro.Workers(4, "i"), until=until)
    assert result.history.gap.iloc[-1] < 0.1 * result.history.gap.iloc[0]
