"""The ReLU network: the formula, the bits, the full batch with one scalar of noise."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.problems import MLP
from rayopt.problems.data import mnist

ROWS, FEATURES, CLASSES = 50, 4, 3


def arrays(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = random.integers(0, CLASSES, rows)
    y[:CLASSES] = range(CLASSES)
    return random.integers(0, 256, (rows, FEATURES)).astype(np.uint8), y


def small(rows: int = ROWS, **arguments) -> MLP:
    return MLP(*arrays(rows), **{"hidden": [6, 5], "scale": 1 / 255, "mean": 0.4, "std": 0.3, **arguments})


def formula(problem: MLP, x: np.ndarray, rows: np.ndarray) -> float:
    """The mean loss of some rows, written out."""
    h = (problem.X[rows] * problem.scale - problem.mean) / problem.std
    sizes = [FEATURES, *problem.hidden, CLASSES]
    start = 0
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        W = x[start : start + (inputs + 1) * outputs].reshape(inputs + 1, outputs)
        start += W.size
        h = h @ W[:-1] + W[-1]
        if layer < len(sizes) - 2:
            h = np.where(h > 0, h, 0)
    return -log_softmax(h, axis=1)[np.arange(len(rows)), problem.y[rows]].mean()


@pytest.fixture
def x() -> np.ndarray:
    return 0.7 * np.random.default_rng(1).standard_normal(small().dimension)


@pytest.fixture
def grid() -> np.ndarray:
    return 0.7 * np.random.default_rng(2).standard_normal((4, small().dimension))


def test_dimension():
    assert MLP.from_config({"path": mnist.SUBSET}).dimension == 101_770
    assert small(hidden=7).dimension == 5 * 7 + 8 * 3
    assert small().dimension == 5 * 6 + 7 * 5 + 6 * 3


@pytest.mark.parametrize("hidden", [5, [6, 5], [3, 4, 5]])
def test_value_and_gradients_are_those_of_the_formula(hidden):
    problem = small(hidden=hidden)
    x = 0.7 * np.random.default_rng(1).standard_normal(problem.dimension)
    everything = np.arange(ROWS)
    assert problem.value(x) == pytest.approx(formula(problem, x, everything), rel=1e-12)
    derivative = approx_fprime(x, lambda z: formula(problem, z, everything))
    np.testing.assert_allclose(problem.full_gradient(x), derivative, atol=1e-6)
    for rows in (np.array([7]), np.array([3, 3, 9]), np.arange(20)):
        sample = rows if len(rows) > 1 else 7
        derivative = approx_fprime(x, lambda z, rows=rows: formula(problem, z, rows))
        np.testing.assert_allclose(problem.gradient(x, sample), derivative, atol=1e-6)


def test_the_mean_of_the_rows_is_the_full_gradient(x):
    problem = small(1500)
    np.testing.assert_allclose(problem.gradient(x, np.arange(1500)), problem.full_gradient(x), atol=1e-13)


class TestStart:
    def test_is_a_function_of_its_seed(self):
        first = MLP.digits(hidden=64)
        np.testing.assert_array_equal(first.start_point(), MLP.digits(hidden=64).start_point())
        assert not np.array_equal(first.start_point(), MLP.digits(hidden=64, initial_seed=1).start_point())

    def test_is_of_he(self):
        problem = MLP.digits(hidden=[200, 300])
        for (W, w), inputs in zip(problem._parameters(problem.start_point()), (64, 200, 300), strict=True):
            assert W.std() == pytest.approx(np.sqrt(2 / inputs), rel=0.05)
            assert not w.any()


class TestBits:
    @pytest.mark.parametrize("batch", [1, 2, 4, 7, 32, 1500])
    def test_a_grid_member_has_the_bits_of_its_own_run(self, batch):
        problem = MLP.digits(batch=batch, hidden=[32, 16])
        points = 0.2 * np.random.default_rng(0).standard_normal((5, problem.dimension))
        samples = problem.draw_many(np.zeros(3, dtype=int), np.arange(3, dtype=np.uint64))
        together = [problem.gradient(points, sample) for sample in samples]
        summed, full = problem.gradient_sum(points, samples), problem.full_gradient(points)
        for k, point in enumerate(points):
            for sample, rows in zip(samples, together, strict=True):
                assert problem.gradient(point, sample).tobytes() == rows[k].tobytes()
            assert problem.gradient_sum(point, samples).tobytes() == summed[k].tobytes()
            assert problem.full_gradient(point).tobytes() == full[k].tobytes()

    def test_mnist_grid_member_has_the_bits_of_its_own_run(self, digits):
        problem = MLP(digits.images, digits.labels, scale=1 / 255, mean=0.1307, std=0.3081)
        points = 0.05 * np.random.default_rng(0).standard_normal((3, problem.dimension))
        for sample in (17, np.arange(4), np.arange(32), np.arange(1500)):
            together = problem.gradient(points, sample)
            for point, row in zip(points, together, strict=True):
                assert problem.gradient(point, sample).tobytes() == row.tobytes()

    @pytest.mark.parametrize(("batch", "count"), [(1, 1), (4, 1), (4, 3)])
    def test_sum_is_the_sum_of_gradients(self, batch, count, x, grid):
        problem = small(batch=batch)
        samples = problem.draw_many(np.zeros(6, dtype=int), np.arange(6, dtype=np.uint64), count)
        weights = np.linspace(-1, 2, 6)
        for points in (x, grid):
            expected = sum(w * problem.gradient(points, s) for w, s in zip(weights, samples, strict=True))
            found = problem.gradient_sum(points, samples, weights)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())

    @pytest.mark.parametrize("partition", ["homogeneous", "split", {"name": "dirichlet", "alpha": 0.2}])
    def test_a_shard_has_the_bits_of_its_parent(self, partition, x):
        problem = small(batch=4, replacement=False, partition=partition).split(4, 3)
        stream = Stream(0, "sample")
        for worker in range(4):
            shard = pickle.loads(pickle.dumps(problem.shard(worker)))
            for key in (stream.key(worker, number) for number in range(5)):
                ours, theirs = problem.draw(worker, key), shard.draw(worker, key)
                assert problem.gradient(x, ours).tobytes() == shard.gradient(x, theirs).tobytes()

    def test_data_and_points_are_left_alone(self, x):
        X, y = np.random.default_rng(0).standard_normal((ROWS, FEATURES)), arrays()[1]
        problem = MLP(X, y, hidden=[6, 5], mean=0.4, std=0.3)
        before, point = X.copy(), x.copy()
        first, second = problem.gradient(x, 3), problem.gradient(x, np.array([3, 4]))
        problem.metrics(x)
        np.testing.assert_array_equal(X, before)
        np.testing.assert_array_equal(x, point)
        assert not np.shares_memory(first, second)


def test_the_split_function_is_the_mean_over_workers(x, grid):
    problem = small(partition="split").split(7, 0)
    shards = [problem.shard(worker) for worker in range(7)]
    for points in (x, grid):
        mean = np.mean([shard.value(points) for shard in shards], axis=0)
        np.testing.assert_allclose(problem.value(points), mean, rtol=1e-13)
        mean = np.mean([shard.full_gradient(points) for shard in shards], axis=0)
        np.testing.assert_allclose(problem.full_gradient(points), mean, rtol=1e-11, atol=1e-14)


def test_metrics(x, grid):
    problem = MLP(*arrays(), *arrays(20), hidden=[6, 5], scale=1 / 255)
    one = problem.metrics(x)
    assert set(one) == {"value", "grad_norm_sq", "accuracy"}
    assert one["grad_norm_sq"] == pytest.approx(np.square(problem.full_gradient(x)).sum())
    many = problem.metrics(grid)
    for k, point in enumerate(grid):
        for name, value in problem.metrics(point).items():
            assert many[name][k] == pytest.approx(value, rel=1e-12)
    assert problem.convex is False


def test_a_diverged_member_is_nan_and_leaves_the_others_alone(grid):
    problem = small(1500)
    bad = grid.copy()
    bad[1] = np.nan
    found, expected = problem.metrics(bad), problem.metrics(grid)
    for name in expected:
        assert np.isnan(found[name][1])
        np.testing.assert_allclose(np.delete(found[name], 1), np.delete(expected[name], 1), rtol=1e-12)


def test_a_long_gradient_can_be_ended(x):
    for problem in (small(5000, batch=3000), small(3000, full_batch=True)):
        calls = []
        problem.gradient(x, problem.draw(0, 1), lambda calls=calls: calls.append(1))
        assert len(calls) == 2


class TestFullBatch:
    def test_one_scalar_is_added_to_all_coordinates(self, x):
        problem = small(full_batch=True, noise=0.5)
        z = problem.draw(3, 12345)
        difference = problem.gradient(x, z) - problem.full_gradient(x)
        np.testing.assert_allclose(difference, z, rtol=1e-12)
        assert problem.noise_variance == problem.dimension * 0.25
        assert not problem.exact
        exact = small(full_batch=True)
        assert exact.exact
        np.testing.assert_array_equal(exact.gradient(x, exact.draw(0, 1)), exact.full_gradient(x))

    def test_scalars_are_normal(self):
        problem = small(full_batch=True, noise=0.5)
        keys = Stream(0, "sample").keys(np.zeros(4000, dtype=int), np.arange(4000))
        z = problem.draw_many(np.zeros(4000, dtype=int), keys)
        assert z.mean() == pytest.approx(0, abs=4 * 0.5 / np.sqrt(4000))
        assert z.std() == pytest.approx(0.5, rel=0.05)
        assert problem.draw(0, int(keys[7])) == z[7]
        assert problem.draw_many(np.zeros(4000, dtype=int), keys, 4).std() == pytest.approx(0.25, rel=0.05)

    def test_sum_is_one_pass(self, x, grid):
        problem = small(full_batch=True, noise=0.5)
        samples, weights = np.array([0.1, -0.3, 0.2]), np.array([1.0, 2.0, 0.5])
        for points in (x, grid):
            expected = sum(w * problem.gradient(points, s) for w, s in zip(weights, samples, strict=True))
            np.testing.assert_allclose(problem.gradient_sum(points, samples, weights), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"full_batch": True, "partition": "split"}, "full_batch"),
            ({"full_batch": True, "batch": 4}, "batch"),
            ({"noise": 1.0}, "noise"),
            ({"full_batch": 1}, "full_batch"),
            ({"full_batch": True, "noise": -1.0}, "noise"),
        ],
    )
    def test_what_does_not_go_together(self, changes, key):
        with pytest.raises(InvalidInput, match=f"^{key}: "):
            small(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 0},
        {"hidden": []},
        {"hidden": [4, 0]},
        {"hidden": True},
        {"hidden": "32"},
        {"hidden": 2.0},
        {"std": 0.0},
        {"mean": np.nan},
        {"initial_seed": -1},
        {"batch": 51, "replacement": False},
    ],
)
def test_wrong_arguments(changes):
    with pytest.raises(InvalidInput, match=next(iter(changes))):
        small(**changes)


def test_config_goes_both_ways():
    problem = MLP.from_config("digits", hidden=[8], batch=2, rows=60, replacement=False, mean=0.1)
    config = problem.to_config()
    assert config.pop("name") == "mlp"
    assert MLP.from_config(**config).to_config() == problem.to_config()


def test_it_learns():
    problem = MLP.digits(hidden=32, batch=16)
    until = ro.Until(updates=600)
    result = ro.run(
        ro.methods.ASGD(step_size=0.1), problem, ro.Workers(4, "i"), until=until, record=ro.Record(every=50)
    )
    assert result.history.accuracy.iloc[-1] > 0.9
