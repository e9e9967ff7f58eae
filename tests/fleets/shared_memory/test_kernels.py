"""The compiled loops against the problem's own gradients, and their lock."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="Hogwild's loops need Numba")

from rayopt.fleets.shared_memory.kernels import FREE, HELD, UPDATES, rows_of, slope, take_tickets
from rayopt.fleets.shared_memory.segment import FIRST_COUNTER, LOCK, STOP, TICKET, Segment
from rayopt.problems import SparseLogisticRegression


@pytest.fixture
def segment():
    with Segment(1, 30) as made:
        yield made


def updated(access, segment, problem, x, order, step_size=1.0):
    rows = rows_of(problem)
    segment.reset(x)
    order = np.asarray(order, dtype=np.intp)
    step_sizes, near = np.full(len(order), step_size), np.zeros(rows.longest)
    UPDATES[access](segment.x, segment.words, FIRST_COUNTER, rows, order, step_sizes, near)
    return segment.x.copy()


@pytest.mark.parametrize("access", UPDATES)
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_an_update_is_a_gradient_of_the_problem(access, l2, segment):
    problem = SparseLogisticRegression.synthetic(rows=40, features=30, nonzeros_per_row=4, l2=l2)
    x = np.random.default_rng(0).normal(size=30)
    for row in range(40):
        moved = updated(access, segment, problem, x, [row], step_size=0.5)
        np.testing.assert_allclose(moved, x - 0.5 * problem.gradient(x, row), rtol=0, atol=1e-15)
        assert np.flatnonzero(moved != x).tolist() == problem.X[[row]].indices.tolist()


@pytest.mark.parametrize("access", UPDATES)
def test_many_updates_are_many_gradients(access, segment):
    problem = SparseLogisticRegression.synthetic(rows=40, features=30, nonzeros_per_row=4, l2=0.001)
    order = np.random.default_rng(1).integers(40, size=500)
    x = problem.start_point()
    for row in order:
        x = x - 0.3 * problem.gradient(x, int(row))
    np.testing.assert_allclose(updated(access, segment, problem, problem.start_point(), order, 0.3), x, atol=1e-12)
    assert segment.counts().tolist() == [500]
    assert segment.words[LOCK] == FREE


@pytest.mark.parametrize("access", UPDATES)
def test_every_update_has_a_step_size_of_its_own(access, segment):
    problem = SparseLogisticRegression.synthetic(rows=40, features=30, nonzeros_per_row=4)
    order, step_sizes = np.array([3, 3, 7]), np.array([0.5, 0.25, 0.125])
    x = problem.start_point()
    for row, step_size in zip(order, step_sizes, strict=True):
        x = x - step_size * problem.gradient(x, int(row))
    found = updated(access, segment, problem, problem.start_point(), order, step_sizes)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-15)


def test_the_three_are_the_same_to_the_bit_alone(segment):
    problem = SparseLogisticRegression.synthetic(rows=40, features=30, nonzeros_per_row=4, l2=0.001)
    order = np.random.default_rng(2).integers(40, size=500)
    found = {updated(access, segment, problem, np.zeros(30), order, 0.3).tobytes() for access in UPDATES}
    assert len(found) == 1


def test_rows_without_nonzeros_change_nothing(segment):
    X = np.zeros((2, 30))
    X[0, 3] = 1.0
    problem = SparseLogisticRegression(X, [0, 1])
    assert updated("free", segment, problem, np.ones(30), [1]).tolist() == [1.0] * 30


@pytest.mark.parametrize("product", [-1e4, -30.0, -1e-9, 0.0, 2.5, 1e4])
@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_slope(label, product):
    with np.errstate(over="ignore"):
        expected = -label / (1 + np.exp(label * product))
    assert slope(label, product) == pytest.approx(expected, rel=1e-14, abs=0)


def test_a_lock_that_is_never_given_back_does_not_hang(segment):
    problem = SparseLogisticRegression.synthetic(rows=40, features=30, nonzeros_per_row=4)
    rows = rows_of(problem)
    segment.reset(np.zeros(30))
    segment.words[LOCK] = HELD
    segment.stop()
    step_sizes, near = np.full(5, 0.1), np.zeros(rows.longest)
    UPDATES["locked"](segment.x, segment.words, FIRST_COUNTER, rows, np.arange(5), step_sizes, near)
    assert segment.counts().tolist() == [0]
    assert not segment.x.any()


def test_tickets_add_up_to_the_limit(segment):
    words = segment.words
    assert [take_tickets(words, 4, 10) for _ in range(4)] == [(0, 4), (4, 4), (8, 2), (12, 0)]
    words[TICKET] = 0
    words[STOP] = 1
    assert take_tickets(words, 4, 10) == (0, 0)
