"""Finite sums: components, blocks with a remainder, differences, and the nonconvex quadratics."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt.problems import MLP, LeastSquares, LogisticRegression, NonconvexQuadratics, SparseLogisticRegression


def problems(block):
    rows = np.random.default_rng(0).normal(size=(23, 4))
    labels = np.arange(23) % 3
    return [
        LogisticRegression(rows, labels, l2=0.1, block=block),
        SparseLogisticRegression(rows, labels > 0, l2=0.1, block=block),
        LeastSquares(rows, rows @ np.ones(4) + 1, block=block),
        MLP(rows, labels, hidden=[5, 3], block=block),
    ]


def some_points(problem):
    return problem.start_point() + np.random.default_rng(1).normal(size=(2, problem.dimension))


@pytest.mark.parametrize("block", [1, 2, 5, 23])
def test_the_mean_of_all_components_is_the_gradient(block):
    for problem in problems(block):
        x = some_points(problem)
        m = problem.components
        assert m == -(-23 // block)
        mean = problem.component_gradient(x, np.arange(m)) / m
        np.testing.assert_allclose(mean, problem.full_gradient(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", [1, 4])
def test_weights_and_repeated_indices(block):
    for problem in problems(block):
        x = some_points(problem)[0]
        single = [problem.component_gradient(x, [j]) for j in range(problem.components)]
        together = problem.component_gradient(x, [0, 2, 2], np.array([1.0, 0.5, 3.0]))
        np.testing.assert_allclose(together, single[0] + 3.5 * single[2], rtol=1e-12, atol=1e-12)
        y = x + 1
        difference = problem.component_difference(x, y, [0, 2])
        expected = sum(problem.component_gradient(x, [j]) - problem.component_gradient(y, [j]) for j in (0, 2))
        np.testing.assert_allclose(difference, expected, rtol=1e-12, atol=1e-12)


def test_a_difference_at_a_grid_is_that_at_each_point():
    for problem in problems(3):
        x = some_points(problem)
        y = x[::-1].copy()
        together = problem.component_difference(x, y, [1, 1, 4], np.array([1.0, 2.0, -1.0]))
        for row, (at_x, at_y) in zip(together, zip(x, y, strict=True), strict=True):
            alone = problem.component_difference(at_x, at_y, [1, 1, 4], np.array([1.0, 2.0, -1.0]))
            assert row.tobytes() == alone.tobytes()


def test_a_difference_reads_its_rows_once(monkeypatch):
    passes = []
    for problem in problems(3):
        real = type(problem)._sum_of_rows
        monkeypatch.setattr(type(problem), "_sum_of_rows", lambda *given, real=real: passes.append(1) or real(*given))
        problem.component_difference(problem.start_point(), problem.start_point() + 1, [0, 2])
    assert len(passes) == len(problems(3))


def test_pytorch_modules():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rows = np.random.default_rng(0).normal(size=(23, 4))
    problem = ro.problems.TorchProblem(lambda: torch.nn.Linear(4, 3), rows, np.arange(23) % 3, block=5, dtype="float64")
    x = problem.start_point()
    assert problem.components == 5
    mean = problem.component_gradient(x, np.arange(5)) / 5
    np.testing.assert_allclose(mean, problem.full_gradient(x), rtol=1e-12, atol=1e-12)
    parts = problem.component_gradient(x, [4]) - problem.component_gradient(x + 1, [4])
    np.testing.assert_allclose(problem.component_difference(x, x + 1, [4]), parts, rtol=1e-12, atol=1e-12)


def test_a_block_is_kept_by_a_workload():
    assert MLP.from_config("digits", hidden=3, block=7).to_config()["block"] == 7
    assert "block" not in MLP.from_config("digits", hidden=3).to_config()


def test_split_data_are_no_finite_sum_of_everybody():
    assert LogisticRegression.digits(partition="split").split(4, 0).components is None


def test_an_infinite_stream_is_none():
    assert ro.problems.Quadratic(5).components is None
    with pytest.raises(NotImplementedError, match="not a finite sum"):
        ro.problems.Quadratic(5).component_gradient(np.zeros(5), [0])


def test_a_block_larger_than_the_data():
    with pytest.raises(ro.InvalidInput, match="block: 24 of 23 rows"):
        problems(24)


class TestNonconvexQuadratics:
    problem = NonconvexQuadratics(components=40, dimension=12, spread=2.0, seed=3)

    def dense(self):
        """The matrices and vectors of the components, from the definition."""
        d, T = 12, 2 * np.eye(12) - np.eye(12, k=1) - np.eye(12, k=-1)
        A = [scale * T + self.problem._shift * np.eye(d) for scale in self.problem._scales]
        return A, [np.r_[linear, np.zeros(d - 1)] for linear in self.problem._linear]

    def test_components(self):
        A, b = self.dense()
        x = np.random.default_rng(0).normal(size=12)
        for j in range(40):
            np.testing.assert_allclose(self.problem.component_gradient(x, [j]), A[j] @ x - b[j], rtol=1e-12, atol=1e-12)
        value = np.mean([x @ A[j] @ x / 2 - b[j] @ x for j in range(40)])
        assert self.problem.value(x) == pytest.approx(value)
        np.testing.assert_allclose(self.problem.full_gradient(x), np.mean(A, 0) @ x - np.mean(b, 0), atol=1e-12)

    def test_constants_are_those_of_the_matrices(self):
        A, _ = self.dense()
        mean = np.mean(A, axis=0)
        square = np.mean([matrix @ matrix for matrix in A], axis=0)
        assert self.problem.smoothness == pytest.approx(np.linalg.norm(mean, 2))
        assert self.problem.mean_smoothness == pytest.approx(np.sqrt(np.linalg.norm(square, 2)))
        assert self.problem.hessian_variance == pytest.approx(np.sqrt(np.linalg.norm(square - mean @ mean, 2)))
        assert np.linalg.eigvalsh(mean).min() == pytest.approx(1e-6, rel=1e-3)
        assert min(np.linalg.eigvalsh(matrix).min() for matrix in A) < 0

    def test_the_minimum(self):
        gradient = self.problem.full_gradient(self.problem.minimizer)
        assert np.abs(gradient).max() < 1e-9
        assert self.problem.metrics(self.problem.minimizer, ["gap"])["gap"] == 0

    def test_a_component_for_each_worker(self):
        split = NonconvexQuadratics(components=3, dimension=5, split=True)
        result = ro.run(ro.methods.Minibatch(0.1), split, ro.Workers(3, "i"), until=ro.Until(updates=5))
        x = split.start_point()
        for _ in range(5):
            x = x - 0.1 * split.full_gradient(x)
        assert result.history.value.iloc[-1] == pytest.approx(split.value(x))
        with pytest.raises(ro.InvalidInput, match="3 components for 4 workers"):
            ro.run(ro.methods.Minibatch(0.1), split, ro.Workers(4, "i"), until=ro.Until(updates=5))

    def test_a_workload_names_it(self, workload_file):
        from rayopt.experiments.config import load_workload

        path = workload_file(problem={"name": "nonconvex_quadratics", "components": 7, "dimension": 4})
        assert load_workload(path).build().problem.components == 7
