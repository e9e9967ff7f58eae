"""The worst-case quadratic and its three noises."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import NormalVectors, Stream
from rayopt.problems import LogisticRegression, Quadratic

KINDS = ["shared", "iid", "progress"]


def dense(d: int) -> tuple[np.ndarray, np.ndarray]:
    """A and b of the formula."""
    A = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    b = np.zeros(d)
    b[0] = -1 / 4
    return A, b


@pytest.fixture
def points() -> np.ndarray:
    """Five points of 40 coordinates, one of them zero, one sparse, one infinite."""
    x = np.random.default_rng(0).standard_normal((5, 40))
    x[1] = 0
    x[2, 7:] = 0
    x[4, 3] = np.inf
    return x


@pytest.mark.parametrize("d", [2, 3, 1729])
def test_formulas(d):
    A, b = dense(d)
    problem = Quadratic(d, noise=0.0)
    x = np.random.default_rng(1).standard_normal(d)
    np.testing.assert_allclose(problem.full_gradient(x), A @ x - b, rtol=0, atol=1e-14)
    assert problem.value(x) == pytest.approx(x @ A @ x / 2 - b @ x, rel=1e-12)
    best = np.linalg.solve(A, b)
    np.testing.assert_allclose(problem.minimizer(), best, atol=1e-9)
    assert problem.minimum == pytest.approx(best @ A @ best / 2 - b @ best, rel=1e-9)
    assert problem.smoothness == pytest.approx(np.linalg.eigvalsh(A)[-1], rel=1e-12)


def test_text():
    assert repr(Quadratic(5, noise=0.1)).startswith("Quadratic(dimension=5, noise=0.1, ")
    split = LogisticRegression.digits(batch=4, partition={"name": "dirichlet", "alpha": 0.5})
    assert repr(split).startswith("LogisticRegression(data='digits', partition=Dirichlet(alpha=0.5), batch=4, ")


def test_start_of_the_published_figure():
    problem = Quadratic()
    x = problem.start_point()
    assert x[0] == math.sqrt(1729)
    found = problem.metrics(x)
    assert found["gap"] == pytest.approx(442.77, abs=0.01)
    assert found["grad_norm_sq"] == pytest.approx(551, abs=1)
    assert found["value"] == pytest.approx(found["gap"] + problem.minimum)


def test_gradient_is_the_derivative_of_the_value():
    problem = Quadratic(12)
    x = np.random.default_rng(2).standard_normal(12)
    np.testing.assert_allclose(problem.full_gradient(x), approx_fprime(x, problem.value), atol=1e-6)


def test_gap_near_the_minimum_is_not_lost_in_rounding():
    problem = Quadratic(100)
    assert problem.gap(problem.minimizer()) == 0
    assert 0 < problem.gap(problem.minimizer() + 1e-12) < 1e-23


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 200])
def test_one_draw_has_the_bits_of_many(kind, count):
    problem = Quadratic(6, noise_kind=kind, probability=0.3)
    stream = Stream(0, "sample")
    workers, numbers = np.arange(9), np.arange(9) + 5
    keys = stream.keys(workers, numbers)
    many = problem.draw_many(workers, keys, count)
    assert len(many) == 9
    for worker, number, sample in zip(workers, numbers, many, strict=True):
        one = problem.draw(int(worker), stream.key(int(worker), int(number)), count)
        np.testing.assert_array_equal(one, sample)
        x = np.ones(6)
        assert problem.gradient(x, one).tobytes() == problem.gradient(x, sample).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_sum_is_the_sum_of_gradients(kind, count, weighted, points):
    problem = Quadratic(40, noise=0.5, noise_kind=kind, probability=0.4)
    samples = problem.draw_many(np.zeros(8, dtype=int), np.arange(8, dtype=np.uint64), count)
    weights = np.linspace(-1, 2, 8) if weighted else None
    for x in (points[0], points[2], points[:4]):
        terms = [problem.gradient(x, sample) for sample in samples]
        expected = sum(w * g for w, g in zip(np.ones(8) if weights is None else weights, terms, strict=True))
        np.testing.assert_allclose(
            problem.gradient_sum(x, samples, weights), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max()
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_grid_member_has_the_bits_of_its_own_run(kind, count, points):
    problem = Quadratic(40, noise_kind=kind, probability=0.5)
    keys = np.arange(20, 24, dtype=np.uint64)
    samples = problem.draw_many(np.arange(4), keys, count)
    with np.errstate(invalid="ignore"):
        for sample in samples:
            together = problem.gradient(points, sample)
            for x, row in zip(points, together, strict=True):
                assert problem.gradient(x, sample).tobytes() == row.tobytes()
        together = problem.gradient_sum(points, samples)
        for x, row in zip(points, together, strict=True):
            assert problem.gradient_sum(x, samples).tobytes() == row.tobytes()
    assert np.isfinite(together[:4]).all()
    assert not np.isfinite(together[4]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_new_memory_and_leave_x_alone(kind, points):
    problem = Quadratic(40, noise_kind=kind)
    for x in (points[0], points[:4]):
        before = x.copy()
        sample = problem.draw(0, 99)
        first, second = problem.gradient(x, sample), problem.gradient(x, sample)
        assert not np.shares_memory(first, second)
        assert not np.shares_memory(first, x)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ["shared", "iid"])
@pytest.mark.parametrize("count", [1, 4])
def test_additive_noise_is_unbiased_with_the_stated_variance(kind, count):
    d, m = 30, 4000
    problem = Quadratic(d, noise=0.2, noise_kind=kind)
    workers = np.zeros(m, dtype=int)
    samples = problem.draw_many(workers, Stream(1, "sample").keys(workers, np.arange(m)), count)
    x = problem.start_point()
    noise = np.array([problem.gradient(x, sample) for sample in samples]) - problem.full_gradient(x)
    assert problem.noise_variance == pytest.approx(d * 0.04)
    assert np.abs(noise.mean(axis=0)).max() < 4.5 * 0.2 / math.sqrt(m * count)
    spread = np.square(noise).sum(axis=1).mean() * count
    assert spread == pytest.approx(problem.noise_variance, rel=0.12 if kind == "shared" else 0.02)
    assert stats.kstest(noise[:, 3] * math.sqrt(count) / 0.2, "norm").pvalue > 1e-3
    equal_coordinates = np.ptp(noise, axis=1).max() < 1e-12
    assert equal_coordinates == (kind == "shared")


def test_iid_noise_is_the_vector_of_its_key():
    problem = Quadratic(50, noise=0.3, noise_kind="iid")
    x = problem.start_point()
    expected = problem.full_gradient(x) + 0.3 * NormalVectors().draw(77, 50)
    np.testing.assert_array_equal(problem.gradient(x, problem.draw(5, 77)), expected)


class TestProgress:
    def test_known_coordinates_are_exact_and_the_next_one_is_all_or_nothing(self, points):
        problem = Quadratic(40, noise_kind="progress", probability=0.25)
        assert problem.noise_variance is None
        x = points[2]
        exact = problem.full_gradient(x)
        assert exact[7] != 0
        seen = set()
        for key in Stream(0, "sample").keys(np.zeros(50, dtype=int), np.arange(50)):
            g = problem.gradient(x, problem.draw(0, int(key)))
            np.testing.assert_array_equal(g[:7], exact[:7])
            assert not g[8:].any()
            seen.add(g[7] / exact[7])
        assert seen == {0.0, 4.0}

    def test_without_progress_all_coordinates_are_noisy(self):
        problem = Quadratic(5, noise_kind="progress", probability=0.5)
        x = np.zeros(5)
        assert not problem.gradient(x, 0.0).any()
        np.testing.assert_array_equal(problem.gradient(x, 2.0), 2 * problem.full_gradient(x))

    def test_unbiased(self):
        problem = Quadratic(5, noise_kind="progress", probability=0.1)
        workers = np.zeros(20_000, dtype=int)
        samples = problem.draw_many(workers, Stream(2, "sample").keys(workers, np.arange(20_000)))
        assert set(np.unique(samples)) == {0.0, 10.0}
        assert samples.mean() == pytest.approx(1.0, abs=4 * 3 / math.sqrt(20_000))


@pytest.mark.parametrize("kind", KINDS)
def test_travels(kind):
    problem = Quadratic(30, noise_kind=kind, probability=0.5)
    other = pickle.loads(pickle.dumps(problem.split(4, 0).shard(2)))
    x = problem.start_point()
    assert other.gradient(x, other.draw(2, 5)).tobytes() == problem.gradient(x, problem.draw(2, 5)).tobytes()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"dimension": 1}, "dimension"),
        ({"dimension": 2.5}, "dimension"),
        ({"noise": -0.1}, "noise"),
        ({"noise": math.nan}, "noise"),
        ({"noise_kind": "share"}, "noise_kind: 'share' is unknown .did you mean 'shared'"),
        ({"probability": 0.0}, "probability"),
        ({"probability": 1.5}, "probability"),
    ],
)
def test_wrong_arguments(arguments, key):
    with pytest.raises(InvalidInput, match=key):
        Quadratic(**arguments)


def test_distance_of_the_start_by_hand():
    # x0 = (sqrt 3, 0, 0) and x* = (-3/4, -1/2, -1/4).
    problem = Quadratic(dimension=3)
    assert problem.distance == pytest.approx(np.sqrt((np.sqrt(3) + 0.75) ** 2 + 0.25 + 0.0625))
    assert problem.convex is True
