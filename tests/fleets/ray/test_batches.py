"""Batches: what comes out is what went in, small arrays travel as one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rayopt.core.tasks import Gradient, LocalSGD, Trial
from rayopt.fleets.ray.batches import STACKED_BYTES, OrderBatch, ReplyBatch, together
from rayopt.fleets.ray.messages import Order, Reply

X = np.linspace(0.0, 1.0, 7)


def travelled(batch):
    return list(pickle.loads(pickle.dumps(batch)).unpack())


def test_orders():
    shared, other = Gradient(X, 3), Gradient(X + 1, 4, count=2)
    tasks = [shared, other, None, shared, Trial(X, 5, time_limit=0.5), LocalSGD(2 * X, 6, 3, 0.1)]
    orders = [Order(worker, 10 + worker, worker % 2, task, 0.5 * worker, 7.0) for worker, task in enumerate(tasks)]
    found = travelled(OrderBatch.of(orders))
    assert [order._replace(task=None) for order in found] == [order._replace(task=None) for order in orders]
    for before, after in zip(tasks, (order.task for order in found), strict=True):
        assert type(after) is type(before)
        if before is not None:
            np.testing.assert_array_equal(after.x, before.x)
            assert (after.version, after.count, after.cost) == (before.version, before.count, before.cost)
            assert after.time_limit == before.time_limit
    assert found[5].task.step_size == 0.1
    assert shared.x is X


def test_each_task_and_point_travels_once():
    tasks = [Gradient(X, 0), Gradient(X, 1), Gradient(X + 1, 2)]
    batch = OrderBatch.of([Order(worker, worker, 0, tasks[worker % 3], 0.0, 0.0) for worker in range(9)])
    assert batch.tasks == [(0, 1), (1, 1), (2, 1)]
    assert batch.points == [0, 0, 1]
    assert np.shape(batch.arrays) == (2, 7)


def test_orders_that_only_cancel():
    orders = [Order(worker, worker, -1, None, 0.0, 0.0) for worker in range(2)]
    assert travelled(OrderBatch.of(orders)) == orders


def test_replies():
    replies = [Reply(0, 5, 1.5, X), Reply(1, 6, 1.6, None, in_time=False), Reply(2, 7, 1.7, X + 1),
               Reply(3, 8, 1.8, None, error="raised an error")]  # fmt: skip
    found = travelled(ReplyBatch.of(replies))
    assert [reply._replace(value=None) for reply in found] == [reply._replace(value=None) for reply in replies]
    np.testing.assert_array_equal(found[2].value, X + 1)
    assert found[1].value is None
    assert travelled(ReplyBatch.of([])) == []


def test_replies_of_an_actor_have_its_clock():
    replies = [Reply(worker, worker, 1.5, None, clock="node") for worker in range(2)]
    assert travelled(ReplyBatch.of(replies)) == replies


@pytest.mark.parametrize(
    "arrays",
    [
        [X],
        [X, X[:3]],
        [X, X.astype(np.float32)],
        [np.zeros(STACKED_BYTES // 8), np.zeros(STACKED_BYTES // 8)],
        [],
    ],
    ids=["one", "shapes", "types", "large", "none"],
)
def test_what_does_not_fit_together_stays_apart(arrays):
    assert together(arrays) is arrays


def test_small_arrays_are_rows_of_one():
    rows = together([X, X + 1])
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows, [X, X + 1])
