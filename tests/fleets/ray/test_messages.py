"""Messages that come twice, late or broken: each task is used at most once."""

from __future__ import annotations

import math
import sys
from concurrent.futures import Future
from dataclasses import asdict
from threading import Timer

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray_sessions import opened

import rayopt as ro
from rayopt import methods
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient
from rayopt.fleets.ray import worker as worker_module
from rayopt.fleets.ray import workers as workers_module
from rayopt.fleets.ray.batches import ReplyBatch
from rayopt.fleets.ray.failures import WorkerFailed
from rayopt.fleets.ray.messages import Profile, Reply
from rayopt.fleets.ray.supervision import FailurePolicy, Supervision
from rayopt.fleets.ray.worker import PackedWorkers
from rayopt.fleets.ray.workers import RayWorkers
from rayopt.problems import Quadratic

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.timeout(240)


class Post:
    """A transport of which the test is the other end."""

    def __init__(self):
        self.orders = []
        self.replies = []

    def send(self, order):
        self.orders.append(order)

    def cancel(self, worker, stamp):
        pass

    def receive(self, timeout):
        found, self.replies = self.replies, []
        return found

    def returned(self, actor):
        pass

    def bring(self, *orders, **content):
        self.replies += [Reply(order.worker, order.stamp, 0.0, np.ones(2), **content) for order in orders]


@pytest.fixture
def fleet_and_post():
    post, stamps = Post(), iter(range(1000))
    supervision = Supervision(["actor 0", "actor 1"], FailurePolicy({}, 60.0, ""))
    times = ro.Workers(2, 0.0001).times(0)
    return RayWorkers(post, times, None, 0, 1.0, supervision, lambda: next(stamps), lambda: None), post, supervision


def arrivals(fleet):
    """Everything that is delivered now."""
    return list(iter(lambda: fleet.wait(fleet._clock()), None))


def test_a_message_that_comes_twice_is_one_arrival(fleet_and_post):
    fleet, post, supervision = fleet_and_post
    fleet.assign(0, Gradient(np.zeros(2), 0))
    post.bring(post.orders[0], post.orders[0])
    fleet._receive(math.inf, 0.0)
    post.bring(post.orders[0])
    fleet._receive(math.inf, 0.0)
    assert [arrival.worker for arrival in arrivals(fleet)] == [0]
    assert supervision.faults.late == 2


def test_a_message_of_a_task_that_is_over_is_none(fleet_and_post):
    fleet, post, supervision = fleet_and_post
    fleet.assign(0, Gradient(np.zeros(2), 0))
    fleet.assign(0, Gradient(np.zeros(2), 1))
    fleet.assign(1, Gradient(np.zeros(2), 1))
    fleet.cancel(1)
    post.bring(post.orders[0], post.orders[2], post.orders[1])
    fleet._receive(math.inf, 0.0)
    assert [(arrival.worker, arrival.version) for arrival in arrivals(fleet)] == [(0, 1)]
    assert supervision.faults.late == 2


def test_an_error_gives_the_task_again_once_and_counts_once(fleet_and_post):
    fleet, post, supervision = fleet_and_post
    fleet.assign(0, Gradient(np.zeros(2), 0))
    post.bring(post.orders[0], post.orders[0], error="broke")
    fleet._receive(math.inf, 0.0)
    first, again = post.orders
    assert (again.worker, again.number, again.task) == (first.worker, first.number, first.task)
    assert again.stamp > first.stamp
    assert supervision.faults.rejected == {0: 1}
    # What the first attempt might still say is late.
    post.bring(first)
    post.bring(again)
    fleet._receive(math.inf, 0.0)
    assert [(arrival.worker, arrival.number) for arrival in arrivals(fleet)] == [(0, 0)]


def test_three_errors_in_a_row_are_not_three_errors(fleet_and_post):
    fleet, post, supervision = fleet_and_post
    for _ in range(4):
        fleet.assign(0, Gradient(np.zeros(2), 0))
        for _ in range(2):
            post.bring(post.orders[-1], error="broke")
            fleet._receive(math.inf, 0.0)
        post.bring(post.orders[-1])
        fleet._receive(math.inf, 0.0)
        assert len(arrivals(fleet)) == 1
    assert supervision.faults.rejected == {0: 8}
    fleet.assign(0, Gradient(np.zeros(2), 0))
    for _ in range(2):
        post.bring(post.orders[-1], error="broke")
        fleet._receive(math.inf, 0.0)
    post.bring(post.orders[-1], error="broke")
    with pytest.raises(WorkerFailed, match="worker 0 failed 3 times in a row; the last time it broke"):
        fleet._receive(math.inf, 0.0)


class Twice(PackedWorkers):
    """A packed actor that says everything twice."""

    def load(self, load):
        super().load(load)
        server = load.server

        class Doubling:
            class deliver:  # noqa: N801
                @staticmethod
                def remote(replies):
                    server.deliver.remote(replies)
                    server.deliver.remote(replies)

        self._server = Doubling


def test_an_actor_that_says_everything_twice(cluster, monkeypatch, simulate):
    monkeypatch.setattr(worker_module, "PackedWorkers", Twice)
    problem, until = Quadratic(20, noise=0.1), ro.Until(updates=20)
    with opened(problem, 0.01, workers_per_actor=2) as fixture:
        outcome, rows = fixture.run(methods.Minibatch(0.5), until, metrics=("gap",))
    assert outcome.counts.arrivals == outcome.counts.used == len(rows) == 80
    assert outcome.faults.late >= 40
    virtual = simulate(methods.Minibatch(0.5), problem, 0.01, until, n=4)
    np.testing.assert_allclose(outcome.rows[-1]["gap"], virtual.outcome.rows[-1]["gap"], rtol=1e-12)


def test_what_an_earlier_run_asked_for_is_late_in_the_next(cluster):
    with opened(Quadratic(20), 0.01, workers_per_actor=2) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=50))
        replies = [Reply(worker, stamp, 0.0, np.full(20, 1e300)) for worker in range(4) for stamp in range(1, 50)]
        running = fixture.session._server.deliver.options(concurrency_group="inbox")
        fixture.on_progress = lambda: running.remote(ReplyBatch.of(replies))
        outcome, rows = fixture.run(methods.ASGD(0.1), ro.Until(time=2), metrics=("gap",))
    assert outcome.faults.late >= len(replies)
    assert outcome.counts.arrivals == len(rows)
    assert outcome.rows[-1]["gap"] < outcome.rows[0]["gap"]


class Reference:
    """A reference to a value on another node, which comes, or fails, or does neither."""

    def __init__(self, value=None, error=None):
        self._future = Future()
        if value is not None:
            self._future.set_result(value)
        if error is not None:
            self._future.set_exception(error)

    def future(self):
        return self._future


@pytest.mark.parametrize(
    ("reference", "counted"),
    [
        (Reference(error=ray.exceptions.ObjectLostError("0" * 56, "", "")), {"recomputed": 1}),
        (Reference(error=ray.exceptions.OwnerDiedError("0" * 56, "", "")), {"recomputed": 1}),
        (Reference(), {"slow": 1}),
    ],
    ids=["lost", "owner lost", "slow"],
)
def test_a_value_that_does_not_come_is_computed_again(fleet_and_post, monkeypatch, reference, counted):
    """The same task has the same value wherever it is computed, and a slow link is not called a lost node."""
    fleet, _, supervision = fleet_and_post
    problem = Quadratic(2, noise=1.0)
    profile = Profile(problem, ro.Workers(2, 0.0001).times(0), 5, 1.0)
    monkeypatch.setattr(supervision, "profile", lambda worker: profile)
    monkeypatch.setattr(workers_module, "FETCH_TIMEOUT", 0.2)
    task = Gradient(np.ones(2), 0)
    arrival = workers_module.ReceivedArrival(1, 1.0, 0.0, task, 3, fleet)
    arrival.reference = reference
    expected = task.evaluate(problem, task.draw(problem, 1, Stream(5, "sample").key(1, 3)))
    np.testing.assert_array_equal(arrival.value, expected)
    faults = asdict(supervision.faults)
    assert {key: faults[key] for key in ("recomputed", "slow") if faults[key]} == counted


def test_a_value_that_comes_late_is_waited_for_unless_the_run_is_to_stop(fleet_and_post, monkeypatch):
    fleet, _, _ = fleet_and_post
    reference = Reference()
    timer = Timer(0.3, reference.future().set_result, [np.ones(2)])
    timer.start()
    np.testing.assert_array_equal(fleet._fetch(reference), np.ones(2))
    fleet.stopping = True
    with pytest.raises(TimeoutError):
        fleet._fetch(Reference())
