"""Multinomial logistic regression: the formula, the bits, the shards."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax

from rayopt.core.errors import DataError, InvalidInput
from rayopt.core.keys import Stream
from rayopt.problems import LogisticRegression
from rayopt.problems.data import mnist

ROWS, FEATURES, CLASSES = 50, 4, 3
DIMENSION = (FEATURES + 1) * CLASSES


def arrays(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.integers(0, 256, (rows, FEATURES)).astype(np.uint8)
    y = random.integers(0, CLASSES, rows)
    y[:CLASSES] = range(CLASSES)
    return X, y


def small(rows: int = ROWS, **arguments) -> LogisticRegression:
    return LogisticRegression(*arrays(rows), scale=1 / 255, **arguments)


def formula(problem: LogisticRegression, x: np.ndarray, rows: np.ndarray) -> float:
    """The loss of some rows, written out."""
    A = np.column_stack([problem.X[rows] * problem.scale, np.ones(len(rows))])
    logarithms = log_softmax(A @ x.reshape(-1, problem.classes), axis=1)
    return -logarithms[np.arange(len(rows)), problem.y[rows]].mean() + problem.l2 / 2 * x @ x


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(DIMENSION)


@pytest.fixture
def grid() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((4, DIMENSION))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_value_and_gradients_are_those_of_the_formula(l2, x):
    problem = small(l2=l2)
    everything = np.arange(ROWS)
    assert problem.dimension == DIMENSION
    assert problem.value(x) == pytest.approx(formula(problem, x, everything), rel=1e-13)
    derivative = approx_fprime(x, lambda z: formula(problem, z, everything))
    np.testing.assert_allclose(problem.full_gradient(x), derivative, atol=1e-6)
    for rows in (np.array([7]), np.array([3, 3, 9])):
        sample = rows if len(rows) > 1 else 7
        derivative = approx_fprime(x, lambda z, rows=rows: formula(problem, z, rows))
        np.testing.assert_allclose(problem.gradient(x, sample), derivative, atol=1e-6)


def test_start():
    problem = small()
    found = problem.metrics(problem.start_point())
    assert found["value"] == pytest.approx(math.log(CLASSES))
    assert set(found) == {"value", "grad_norm_sq", "accuracy"}


def test_metrics(x, grid):
    problem = small(1500, l2=0.1)
    one = problem.metrics(x)
    g = problem.full_gradient(x)
    assert one["grad_norm_sq"] == pytest.approx(g @ g)
    assert isinstance(one["value"], float)
    assert isinstance(one["accuracy"], float)
    many = problem.metrics(grid)
    for k, point in enumerate(grid):
        for name, value in problem.metrics(point).items():
            assert many[name][k] == pytest.approx(value, rel=1e-12)
    assert list(problem.metrics(x, ["accuracy"])) == ["accuracy"]


def test_a_diverged_member_is_nan_and_leaves_the_others_alone(grid):
    problem = small(1500)
    bad = grid.copy()
    bad[1] = np.nan
    found, expected = problem.metrics(bad), problem.metrics(grid)
    for name in expected:
        assert np.isnan(found[name][1])
        np.testing.assert_allclose(np.delete(found[name], 1), np.delete(expected[name], 1), rtol=1e-12)


def test_accuracy_is_on_the_test_data(x):
    X, y = arrays()
    X_test, _ = arrays(20, seed=5)
    logits = (X_test / 255) @ x.reshape(-1, CLASSES)[:-1] + x.reshape(-1, CLASSES)[-1]
    answers = logits.argmax(axis=1)
    answers[:5] = (answers[:5] + 1) % CLASSES
    assert LogisticRegression(X, y, X_test, answers, scale=1 / 255).metrics(x)["accuracy"] == 0.75


class TestSamples:
    @pytest.mark.parametrize("partition", ["homogeneous", "split", {"name": "labels", "shards_per_worker": 2}])
    @pytest.mark.parametrize(("batch", "count"), [(1, 1), (1, 3), (4, 1), (4, 3)])
    def test_one_draw_has_the_bits_of_many(self, partition, batch, count):
        problem = small(batch=batch, partition=partition).split(6, 0)
        stream = Stream(0, "sample")
        workers, numbers = np.array([0, 5, 2, 2]), np.array([0, 1, 7, 8])
        many = problem.draw_many(workers, stream.keys(workers, numbers), count)
        for worker, number, sample in zip(workers.tolist(), numbers.tolist(), many, strict=True):
            one = problem.draw(worker, stream.key(worker, number), count)
            np.testing.assert_array_equal(one, sample)
            assert np.size(one) == batch * count

    @pytest.mark.parametrize("partition", ["homogeneous", "split", {"name": "dirichlet", "alpha": 0.2}])
    @pytest.mark.parametrize("batch", [1, 5])
    def test_a_shard_has_the_bits_of_its_parent(self, partition, batch, x):
        X, y = arrays()
        problem = LogisticRegression(X, y, X[:9], y[:9], l2=0.1, batch=batch, partition=partition).split(4, 3)
        stream = Stream(0, "sample")
        for worker in range(4):
            shard = pickle.loads(pickle.dumps(problem.shard(worker)))
            assert shard.X_test is None
            for key in (stream.key(worker, number) for number in range(5)):
                ours, theirs = problem.draw(worker, key), shard.draw(worker, key)
                np.testing.assert_array_equal(problem.X[ours], shard.X[theirs])
                assert problem.gradient(x, ours).tobytes() == shard.gradient(x, theirs).tobytes()

    def test_a_shard_holds_its_rows_alone(self):
        problem = small(partition="split").split(7, 0)
        assert not problem.homogeneous
        sizes = [len(problem.shard(worker).y) for worker in range(7)]
        assert sum(sizes) == ROWS

    def test_homogeneous_workers_share_one_object(self):
        problem = small().split(7, 0)
        assert problem.homogeneous
        assert problem.shard(0) is problem.shard(6)
        assert problem.shard(0).X is problem.X

    def test_workers_see_their_own_rows_uniformly(self):
        problem = small(partition="split").split(5, 0)
        drawn = problem.draw_many(np.full(4000, 2), Stream(0, "sample").keys(np.full(4000, 2), np.arange(4000)))
        counts = np.bincount(drawn, minlength=ROWS)
        assert np.flatnonzero(counts).tolist() == sorted(problem._shards.rows(2).tolist())
        assert counts.max() < 500

    def test_before_split_there_are_no_shards(self):
        with pytest.raises(InvalidInput, match="split"):
            small(partition="split").draw(0, 1)


class TestGradients:
    @pytest.mark.parametrize(("batch", "count"), [(1, 1), (4, 1), (4, 3), (1500, 1)])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_sum_is_the_sum_of_gradients(self, batch, count, weighted, x, grid):
        problem = small(batch=batch, l2=0.2)
        samples = problem.draw_many(np.zeros(6, dtype=int), np.arange(6, dtype=np.uint64), count)
        weights = np.linspace(-1, 2, 6) if weighted else None
        for points in (x, grid):
            terms = [problem.gradient(points, sample) for sample in samples]
            expected = sum(w * g for w, g in zip(np.ones(6) if weights is None else weights, terms, strict=True))
            found = problem.gradient_sum(points, samples, weights)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())

    @pytest.mark.parametrize("batch", [1, 2, 5, 32, 1500])
    def test_a_grid_member_has_the_bits_of_its_own_run(self, batch):
        problem = LogisticRegression.digits(batch=batch, l2=0.1)
        points = np.random.default_rng(0).standard_normal((7, problem.dimension))
        samples = problem.draw_many(np.zeros(3, dtype=int), np.arange(3, dtype=np.uint64))
        together = [problem.gradient(points, sample) for sample in samples]
        summed = problem.gradient_sum(points, samples)
        for k, point in enumerate(points):
            for sample, rows in zip(samples, together, strict=True):
                assert problem.gradient(point, sample).tobytes() == rows[k].tobytes()
            assert problem.gradient_sum(point, samples).tobytes() == summed[k].tobytes()

    def test_mnist_grid_member_has_the_bits_of_its_own_run(self, digits):
        problem = LogisticRegression(digits.images, digits.labels, scale=1 / 255)
        points = np.random.default_rng(0).standard_normal((10, problem.dimension))
        for sample in (17, np.arange(32), np.arange(1500)):
            together = problem.gradient(points, sample)
            for point, row in zip(points, together, strict=True):
                assert problem.gradient(point, sample).tobytes() == row.tobytes()

    @pytest.mark.parametrize("batch", [1, 4])
    def test_unbiased(self, batch, x):
        problem = small(batch=batch)
        m = 20_000
        workers = np.zeros(m, dtype=int)
        samples = problem.draw_many(workers, Stream(4, "sample").keys(workers, np.arange(m)))
        mean = problem.gradient_sum(x, samples) / m
        full = problem.full_gradient(x)
        each = np.array([problem.gradient(x, row) for row in range(ROWS)])
        variance = np.square(each - full).sum(axis=1).mean()
        assert np.square(mean - full).sum() < 4 * variance / (m * batch)

    @pytest.mark.parametrize("partition", ["split", {"name": "labels", "shards_per_worker": 3}])
    def test_the_split_function_is_the_mean_over_workers(self, partition, x, grid):
        whole = small(l2=0.1, partition=partition)
        problem = whole.split(7, 0)
        shards = [problem.shard(worker) for worker in range(7)]
        assert len({len(shard.y) for shard in shards}) > 1
        for points in (x, grid):
            np.testing.assert_allclose(
                problem.value(points), np.mean([shard.value(points) for shard in shards], axis=0), rtol=1e-13
            )
            np.testing.assert_allclose(
                problem.full_gradient(points),
                np.mean([shard.full_gradient(points) for shard in shards], axis=0),
                rtol=1e-11,
                atol=1e-14,
            )
        assert problem.value(x) != whole.value(x)

    def test_gradients_are_new_memory_and_leave_x_alone(self, x, grid):
        problem = small(l2=0.1)
        for points in (x, grid):
            before = points.copy()
            for sample in (3, np.array([3, 4])):
                first, second = problem.gradient(points, sample), problem.gradient(points, sample)
                assert not np.shares_memory(first, second)
                assert not np.shares_memory(first, points)
            first, second = problem.full_gradient(points), problem.full_gradient(points)
            assert not np.shares_memory(first, second)
            np.testing.assert_array_equal(points, before)

    def test_a_long_gradient_can_be_ended(self, x):
        problem = small(5000, batch=3000)
        calls = []
        problem.gradient(x, problem.draw(0, 1), lambda: calls.append(1))
        assert len(calls) == 2

        def end() -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            problem.gradient(x, problem.draw(0, 1), end)


def hessian(problem: LogisticRegression, x: np.ndarray) -> np.ndarray:
    return np.array([approx_fprime(x, lambda z, j=j: problem.full_gradient(z)[j]) for j in range(problem.dimension)])


@pytest.mark.parametrize("partition", ["homogeneous", "split"])
def test_smoothness_bounds_the_curvature(partition):
    problem = small(l2=0.1, partition=partition).split(7, 0)
    largest = np.linalg.eigvalsh(hessian(problem, problem.start_point()))[-1]
    # At x = 0 and two classes the bound is reached; with three p = 1/3, a factor of 2/3.
    assert 0.6 * problem.smoothness < largest <= problem.smoothness + 1e-6


def test_smoothness_counts_the_bias():
    ones = LogisticRegression(np.zeros((4, 1)), [0, 1, 0, 1])
    assert ones.smoothness == pytest.approx(0.5)


class TestSolve:
    def test_against_scikit_learn(self):
        from sklearn.linear_model import LogisticRegression as Reference

        problem = LogisticRegression.digits(l2=0.01)
        assert problem.minimum is None
        A = np.column_stack([problem.X * problem.scale, np.ones(len(problem.y))])
        reference = Reference(C=1 / (0.01 * len(A)), fit_intercept=False, tol=1e-8, max_iter=10_000).fit(A, problem.y)
        x = reference.coef_.T.ravel()
        assert problem.solve() == pytest.approx(problem.value(x), abs=1e-9)
        found = problem.metrics(x)
        assert found["gap"] == pytest.approx(0, abs=1e-9)
        assert problem.metric_names == ("value", "grad_norm_sq", "gap", "accuracy")
        assert found["accuracy"] == pytest.approx(
            reference.score(
                np.column_stack([problem.X_test * problem.scale, np.ones(len(problem.y_test))]), problem.y_test
            )
        )

    def test_without_regularisation(self):
        problem = small()
        problem.solve()
        random = np.random.default_rng(0)
        assert all(problem.metrics(random.standard_normal(DIMENSION))["gap"] > 0 for _ in range(20))

    def test_a_minimum_that_was_not_reached_is_announced(self):
        with pytest.warns(UserWarning, match="above the tolerance"):
            small().solve(iterations=2)

    def test_uneven_shards_have_another_minimum(self):
        problem = small(l2=0.1, partition="split")
        problem.solve()
        assert problem.split(5, 0).minimum == problem.minimum
        with pytest.raises(InvalidInput, match=r"^problem.solve: 50 rows over 7 workers are unequal shards:"):
            problem.split(7, 0)

    def test_on_request_of_a_file(self):
        assert "gap" in LogisticRegression.from_config("digits", l2=0.1, solve=True).metric_names
        assert "gap" not in LogisticRegression.from_config("digits", l2=0.1).metric_names
        with pytest.raises(InvalidInput, match="solve: 1 is not a boolean"):
            LogisticRegression.from_config("digits", solve=1)


class TestSkew:
    def test_of_homogeneous_data_is_zero(self):
        assert small().skew == small().split(5, 0).skew == 0.0

    def test_grows_with_the_skew_of_the_labels(self):
        kinds = [{"name": "dirichlet", "alpha": 100.0}, {"name": "dirichlet", "alpha": 0.1}]
        even, skewed = (small(300, partition=kind).split(5, 0).skew for kind in kinds)
        assert 0 < even < skewed < 1

    def test_needs_the_workers(self):
        with pytest.raises(InvalidInput, match="split"):
            _ = small(partition="split").skew


class TestData:
    def test_bytes_stay_bytes(self):
        X, y = arrays()
        assert LogisticRegression(X, y).X is X
        assert LogisticRegression.digits().X.dtype == np.uint8

    def test_digits(self):
        problem = LogisticRegression.digits()
        assert problem.dimension == 650
        assert (len(problem.y), len(problem.y_test)) == (1437, 360)
        np.testing.assert_array_equal(LogisticRegression.digits().X, problem.X)
        assert not np.array_equal(LogisticRegression.digits(seed=1).X, problem.X)

    def test_mnist(self):
        problem = LogisticRegression.from_config({"path": mnist.SUBSET}, batch=2)
        assert problem.dimension == 7850
        assert problem.batch == 2
        assert "12,000 training" in problem.source
        x = problem.start_point()
        for key in range(60):
            x = x - 0.5 * problem.gradient(x, problem.draw(0, key, 32))
        assert problem.metrics(x, ["accuracy"])["accuracy"] > 0.8

    def test_from_config(self):
        assert LogisticRegression.from_config("digits", l2=0.1).l2 == 0.1
        with pytest.raises(InvalidInput, match="did you mean 'mnist'"):
            LogisticRegression.from_config("minst")
        with pytest.raises(InvalidInput, match="data"):
            LogisticRegression.from_config({"folder": "x"})

    def test_says_which_data_were_really_used(self, monkeypatch):
        assert LogisticRegression.from_config("mnist_subset").data == "mnist_subset"
        monkeypatch.setenv("RAYOPT_DATA", str(mnist.SUBSET))
        assert LogisticRegression.mnist().data == {"path": str(mnist.SUBSET)}

    def test_from_arrays(self):
        X, y = arrays()
        assert LogisticRegression.from_arrays(X, y, classes=5).dimension == (FEATURES + 1) * 5

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"X": np.zeros((0, 4)), "y": np.zeros(0, int)}, "X: shape .0, 4. is empty"),
            ({"X": np.zeros(5)}, "expected real numbers of shape"),
            ({"X": np.full((ROWS, 4), "a")}, "expected real numbers"),
            ({"y": np.zeros(3, int)}, r"y: shape \(3,\); expected \(50,\)"),
            ({"X": np.where(np.arange(ROWS)[:, None] == 7, np.nan, np.ones((ROWS, 4)))}, "X: row 7 is NaN or infinite"),
            ({"X": np.full((ROWS, 4), np.inf)}, "X: row 0 is NaN or infinite"),
            ({"y": np.full(ROWS, 0.5)}, "not integers"),
            ({"y": np.full(ROWS, np.nan)}, "not integers"),
            ({"y": np.full(ROWS, -1)}, "all labels are -1; expected at least two classes"),
            ({"classes": 2}, "label 2 at row .*; expected one of 0, 1"),
            ({"y": np.zeros(ROWS, int)}, "at least two classes"),
            ({"X_test": np.zeros((3, 4))}, "give both or neither"),
            ({"X_test": np.zeros((3, 5)), "y_test": [0, 1, 2]}, "X_test has 5 features; expected 4"),
            ({"X_test": np.zeros((3, 4)), "y_test": [0, 1, 3]}, "y_test: label 3 at row 2"),
        ],
    )
    def test_wrong_data(self, changes, problem):
        X, y = arrays()
        with pytest.raises(DataError, match=problem):
            LogisticRegression(**{"X": X, "y": y, **changes})

    @pytest.mark.parametrize(
        "changes",
        [{"batch": 0}, {"batch": 1.5}, {"l2": -1.0}, {"scale": 0.0}, {"classes": 1}, {"partition": "splitt"}],
    )
    def test_wrong_arguments(self, changes):
        with pytest.raises(InvalidInput, match=next(iter(changes))):
            LogisticRegression(*arrays(), **changes)
