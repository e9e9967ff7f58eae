"""The actor of many workers, called as an object of this process, and on Ray."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle
from ray_sessions import opened

import rayopt as ro
from rayopt import methods
from rayopt.core.tasks import Gradient, Trial
from rayopt.fleets.ray import worker as worker_module
from rayopt.fleets.ray.batches import OrderBatch
from rayopt.fleets.ray.messages import Load, Order, Profile
from rayopt.fleets.ray.worker import PackedWorkers
from rayopt.problems import Quadratic

# Actors cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.timeout(240)

N = 4
PATIENCE = 30.0


WARM_UP, POINT = 0.0, 1.0


class Watched(Quadratic):
    """Tells of every gradient that begins, and lets it end when the test says so."""

    def __init__(self):
        super().__init__(2)
        self.begun = queue.SimpleQueue()
        self.may_end = {WARM_UP: threading.Semaphore(1), POINT: threading.Semaphore(0)}

    def start_point(self):
        return np.full(2, WARM_UP)

    def gradient(self, x, sample, checkpoint=None):
        self.begun.put(x[0])
        self.may_end[x[0]].acquire(timeout=PATIENCE)
        return super().gradient(x, sample, checkpoint)


class Desktop:
    """A packed actor of which the test is the server: (worker, stamp) of what came, and how many came together."""

    def __init__(self, problem, seconds=1e-6):
        self.actor = PackedWorkers()
        self.problem = problem
        self.profiles = [Profile(problem, ro.Workers(N, seconds).times(0), 0, 1.0)]
        self.replies = queue.SimpleQueue()
        self.batches = []
        self.deliver = self

    def remote(self, batch):
        if batch.workers:
            self.batches.append(len(batch.workers))
        for reply in batch.unpack():
            self.replies.put((reply.worker, reply.stamp))

    def load(self):
        self.actor.load(Load(self.profiles, range(N), [0] * N, "here", self))

    def assign(self, *stamps, workers=range(N)):
        """Gives each worker an order."""
        task = Gradient(np.full(2, POINT), 0)
        now = time.monotonic()
        orders = [Order(worker, stamp, 0, task, 0.0, now) for worker, stamp in zip(workers, stamps, strict=True)]
        self.actor.assign(OrderBatch.of(orders))

    def cancel(self, *stamps, workers):
        """Ends orders, as the transport does."""
        orders = [Order(worker, stamp, -1, None, 0.0, 0.0) for worker, stamp in zip(workers, stamps, strict=True)]
        self.actor.assign(OrderBatch.of(orders))

    def begun(self):
        return self.problem.begun.get(timeout=PATIENCE)

    def reply(self):
        return self.replies.get(timeout=PATIENCE)


@pytest.fixture
def at_home(monkeypatch):
    """Nothing is in the object store, and the node is the server's."""
    monkeypatch.setattr(worker_module.ray, "get", lambda content: content)
    monkeypatch.setattr(worker_module, "clock_of", lambda node: "")


@pytest.fixture
def watched(at_home):
    desktop = Desktop(Watched())
    desktop.load()
    assert desktop.begun() == WARM_UP
    yield desktop
    for gate in desktop.problem.may_end.values():
        gate.release(100)


def test_what_is_computed_when_the_actor_is_loaded_again_is_dropped_and_the_next_orders_are_served(watched):
    may_end = watched.problem.may_end
    watched.assign(1, 2, 3, 4)
    assert watched.begun() == POINT
    loading = threading.Thread(target=watched.load)
    loading.start()
    assert watched.begun() == WARM_UP
    # The actor is being loaded, and the other thread comes to the next worker.
    may_end[POINT].release()
    assert watched.begun() == POINT
    may_end[WARM_UP].release()
    loading.join()
    may_end[POINT].release(100)
    watched.assign(11, 12, 13, 14)
    first = watched.reply()
    # What was done before may have been sent before.
    first = watched.reply() if first == (0, 1) else first
    assert [first, *(watched.reply() for _ in range(N - 1))] == [(worker, 11 + worker) for worker in range(N)]
    assert watched.replies.empty()


def test_what_is_cancelled_is_neither_computed_nor_delivered(watched):
    watched.assign(1, 2, 3, 4)
    assert watched.begun() == POINT
    watched.cancel(2, 3, workers=[1, 2])
    watched.problem.may_end[POINT].release(100)
    assert [watched.reply() for _ in range(2)] == [(0, 1), (3, 4)]
    # Nor is it computed, if it has not begun.
    assert watched.begun() == POINT
    assert watched.problem.begun.empty()
    watched.assign(11, 12, workers=[0, 1])
    assert [watched.reply() for _ in range(2)] == [(0, 11), (1, 12)]


def test_a_slow_gradient_is_delivered_before_the_next_is_done(watched, monkeypatch):
    monkeypatch.setattr(worker_module, "PUSH_EVERY", 0.0)
    watched.assign(1, 2, 3, 4)
    assert watched.begun() == POINT
    for worker in range(N - 1):
        watched.problem.may_end[POINT].release()
        assert watched.reply() == (worker, 1 + worker)
        assert watched.begun() == POINT


def test_quick_gradients_are_delivered_together(watched, monkeypatch):
    monkeypatch.setattr(worker_module, "PUSH_EVERY", PATIENCE)
    watched.assign(1, 2, 3, 4)
    watched.problem.may_end[POINT].release(N)
    assert [watched.reply() for _ in range(N)] == [(worker, 1 + worker) for worker in range(N)]
    assert watched.batches == [N]


def test_points_of_superseded_orders_are_let_go(at_home):
    desktop = Desktop(Quadratic(2), seconds=1e6)
    desktop.load()
    points = []
    for stamp in range(0, 5000, N):
        task = Gradient(Point(2), 0)
        points.append(weakref.ref(task.x))
        orders = [Order(worker, stamp + worker, 0, task, 0.0, time.monotonic()) for worker in range(N)]
        desktop.actor.assign(OrderBatch.of(orders))
    assert sum(point() is not None for point in points) <= worker_module.SUPERSEDED


def test_tasks_beyond_the_longest_wait(at_home, monkeypatch):
    ended = queue.SimpleQueue()
    monkeypatch.setattr(os, "_exit", ended.put)
    monkeypatch.setattr(worker_module, "PUSH_EVERY", 0.0)
    desktop = Desktop(Quadratic(2), seconds=1e12)
    desktop.load()
    desktop.assign(1, 2, 3, workers=[1, 2, 3])
    for stamp in range(10, 40):
        quick = Trial(np.zeros(2), 0, time_limit=1e-6)
        desktop.actor.assign(OrderBatch.of([Order(0, stamp, 0, quick, 0.0, time.monotonic())]))
        assert desktop.reply() == (0, stamp)
    assert ended.empty()


def test_one_worker_whose_task_is_beyond_the_longest_wait(at_home):
    desktop = Desktop(Quadratic(2), seconds=1e12)
    worker = worker_module.Worker()
    worker.load(Load(desktop.profiles, [0], [0], "here"))
    found = queue.SimpleQueue()
    order = Order(0, 1, 0, Gradient(np.zeros(2), 0), 0.0, time.monotonic())
    computing = threading.Thread(target=lambda: found.put(worker.compute(order)))
    computing.start()
    computing.join(0.05)
    worker.cancel(1)
    assert found.get(timeout=PATIENCE) is None


class Point(np.ndarray):
    """An array that can be watched."""


class Slow(Quadratic):
    """A gradient takes 20 ms."""

    def gradient(self, x, sample, checkpoint=None):
        time.sleep(0.02)
        return super().gradient(x, sample, checkpoint)


def test_an_actor_whose_thread_breaks_ends_its_process(at_home, monkeypatch, capfd):
    ended = queue.SimpleQueue()
    monkeypatch.setattr(os, "_exit", ended.put)
    desktop = Desktop(Quadratic(2))
    desktop.load()
    monkeypatch.setattr(desktop, "remote", lambda batch: 1 / 0)
    desktop.assign(1, 2, 3, 4)
    assert ended.get(timeout=PATIENCE) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


class Breaks(PackedWorkers):
    """A packed actor whose first process cannot send what it has finished."""

    marker = Path()

    def _push(self, finished):
        if not self.marker.exists():
            self.marker.touch()
            raise RuntimeError("broke")
        super()._push(finished)


def test_an_actor_whose_thread_breaks_is_restarted(cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(Breaks, "marker", tmp_path / "broke")
    monkeypatch.setattr(worker_module, "PackedWorkers", Breaks)
    with opened(Quadratic(5), 0.01, n=2, workers_per_actor=2) as fixture:
        outcome, _ = fixture.run(methods.Minibatch(0.1), ro.Until(updates=3, time=60))
    assert (outcome.updates, outcome.faults.restarts) == (3, 1)


def test_every_seed_has_arrivals_where_gradients_are_slow(cluster):
    with opened(Slow(5), 0.1, n=60, workers_per_actor=30) as fixture:
        arrivals = [
            fixture.run(methods.ASGD(0.05), ro.Until(time=2), seed=seed)[0].counts.arrivals for seed in range(3)
        ]
    assert min(arrivals) > 30
