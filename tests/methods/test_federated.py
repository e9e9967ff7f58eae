"""FedAvg and FedBuff: rounds, samples of clients, weights of rows and of staleness."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival
from rayopt.core.tasks import LocalSGD
from rayopt.problems import LogisticRegression, Quadratic


class Hand:
    """A fleet that only counts; methods are fed by hand."""

    def __init__(self, n, shard_sizes=None):
        self.n, self.shard_sizes, self.assigned = n, shard_sizes, []
        self.random = np.random.Generator(np.random.Philox(5))

    def assign(self, workers, task):
        self.assigned.append((sorted(np.atleast_1d(workers).tolist()), task.version))


def started(method, n, shard_sizes=None):
    fleet = Hand(n, shard_sizes)
    method.prepare(np.zeros(1), n)
    method.start(fleet)
    return method, fleet


def receive(method, fleet, worker, value, version=0):
    method.receive(Arrival.with_value(worker, [value], version), fleet)


@pytest.mark.parametrize(("weighting", "moved"), [("rows", (30 * 1 + 10 * 5) / 40), ("equal", 3.0)])
def test_fedavg_weighs_clients(weighting, moved):
    method, fleet = started(methods.FedAvg(1.0, 1, weighting=weighting), 2, np.array([30, 10]))
    receive(method, fleet, 0, 1.0)
    receive(method, fleet, 1, 5.0)
    assert method.x.tolist() == [-moved]
    assert fleet.assigned == [([0, 1], 0), ([0, 1], 1)]


def test_fedavg_draws_new_clients_each_round(simulate):
    ran = simulate(methods.FedAvg(0.1, 2, fraction=0.25), Quadratic(5), "sqrt(i)", ro.Until(updates=40), n=12)
    rounds = np.array([event[1] for event in ran.events]).reshape(40, 3)
    assert all(len(set(row)) == 3 for row in rounds.tolist())
    assert len({tuple(sorted(row)) for row in rounds.tolist()}) > 10
    assert set(rounds.ravel().tolist()) == set(range(1, 13))


def test_fedavg_with_one_step_of_everyone_is_minibatch(simulate):
    problem, until = Quadratic(20, noise=0.1), ro.Until(updates=30)
    fedavg = simulate(methods.FedAvg(0.3, 1), problem, "sqrt(i)", until, n=8)
    # The samples of local steps have addresses of their own: the noise is another one.
    minibatch = simulate(methods.Minibatch(0.3), Quadratic(20, noise=0.0), "sqrt(i)", until, n=8)
    assert fedavg.events == minibatch.events
    exact = simulate(methods.FedAvg(0.3, 1), Quadratic(20, noise=0.0), "sqrt(i)", until, n=8)
    np.testing.assert_allclose(exact.method.x, minibatch.method.x, rtol=1e-10, atol=1e-12)


def test_fedavg_by_hand_on_data(simulate):
    problem = LogisticRegression.digits(batch=4, partition="split").split(3, 0)
    ran = simulate(methods.FedAvg(0.1, 2, weighting="equal"), problem, (1.0, 2.0, 3.0), ro.Until(updates=1))
    stream = ro.core.keys.Stream(0, "sample")
    x, replies = problem.start_point(), []
    for worker in range(3):
        task = LocalSGD(x, 0, 2, 0.1)
        replies.append(task.evaluate(problem, task.draw(problem, worker, stream.key(worker, 0))))
    np.testing.assert_allclose(ran.method.x, x - np.mean(replies, axis=0), rtol=1e-12, atol=1e-15)
    assert ran.update_times() == [6.0]


def test_fedavg_rows_are_those_of_the_shards():
    problem = LogisticRegression.digits(partition="split").split(5, 0)
    assert problem.shard_sizes.sum() == len(problem.y)
    assert LogisticRegression.digits().split(3, 0).shard_sizes is None


def test_fedbuff_discounts_stale_updates_and_steps_when_full():
    method, fleet = started(methods.FedBuff(1.0, buffer_size=2, server_step_size=0.5), 3)
    receive(method, fleet, 0, 4.0)
    assert method.updates == 0
    method.updates = 3
    receive(method, fleet, 1, 6.0, version=0)
    # 4 has delay 0, 6 has delay 3 and the weight (1 + 3)^(-1/2).
    assert method.x.tolist() == [-0.5 * (4.0 + 6.0 / 2) / 2]
    assert method.updates == 4


def test_fedbuff_of_one_step_and_buffer_one_is_asgd(simulate):
    problem, until = Quadratic(20, noise=0.0), ro.Until(updates=200)
    times = ro.latency.half_normal("i", "sqrt(i)")
    buffered = methods.FedBuff(0.04, buffer_size=1, server_step_size=0.5, staleness_power=0.0)
    fedbuff = simulate(buffered, problem, times, until, n=8)
    asgd = simulate(methods.ASGD(0.02), problem, times, until, n=8)
    assert fedbuff.events == asgd.events
    np.testing.assert_allclose(fedbuff.method.x, asgd.method.x, rtol=1e-9, atol=1e-12)


def test_fedbuff_keeps_its_concurrency(simulate):
    method = methods.FedBuff(0.05, buffer_size=3, concurrency=4)
    ran = simulate(method, Quadratic(5), "sqrt(i)", ro.Until(updates=100), n=10)
    assert ran.outcome.busy_seconds == pytest.approx(4 * ran.outcome.time, rel=1e-9)
    assert {event[1] for event in ran.events} == set(range(1, 11))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: methods.FedAvg(0.1, 0), "local_steps"),
        (lambda: methods.FedAvg(0.1, 1, fraction=0.0), "fraction"),
        (lambda: methods.FedAvg(0.1, 1, fraction=1.1), "fraction"),
        (lambda: methods.FedAvg(0.1, 1, weighting="size"), "weighting"),
        (lambda: methods.FedBuff(0.1, 0), "local_steps"),
        (lambda: methods.FedBuff(0.1, buffer_size=0), "buffer_size"),
        (lambda: methods.FedBuff(0.1, staleness_power=-1), "staleness_power"),
        (lambda: methods.FedBuff(0.1, concurrency=9).prepare(np.zeros(1), 8), "concurrency"),
    ],
)
def test_bad_parameters(make, key):
    with pytest.raises(ro.InvalidInput) as caught:
        make()
    assert caught.value.key == key
