"""Simultaneous arrivals in any order: the same x, for the methods whose papers allow any order.

Allowed it is where all that arrives at one time is summed at one point before anything depends on it: then only
rounding tells the orders apart. Four workers with times (1, 1, 2, 2) and batches that a moment with several arrivals
completes; the workers are reset at an update, since otherwise the order decides who is given the new point.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.compression import RandK, TopK
from rayopt.compression.draws import Draws
from rayopt.core.arrivals import Arrival, sum_one_by_one
from rayopt.core.keys import Stream
from rayopt.problems import Quadratic

TIMES = (1.0, 1.0, 2.0, 2.0)

ANY_ORDER = [
    methods.Minibatch(0.3),
    methods.MSync(0.3, batch_size=4),
    methods.MSync(0.3, batch_size=2, wait_for="fastest"),
    methods.Rennala(0.3, batch_size=6, interrupt=True),
    methods.AcceleratedRennala(0.1, batch_size=6, interrupt=True),
    methods.NonsmoothRennala(0.3, batch_size=6, interrupt=True),
    methods.Malenia(0.3, batch_size=5, interrupt=True),
    methods.MindFlayer(0.3, trials=[2, 2, 1, 1], time_limit=5.0, probability=1.0),
    methods.Vecna(0.3, trials=[2, 2, 1, 1], time_limit=5.0, probability=1.0),
    methods.ATA(0.3, batch_size=6, alpha=0.1),
    methods.ATAEmpirical(0.3, batch_size=6, eta=0.1),
    methods.GTA(0.3, batch_size=6),
    methods.UTA(0.3, batch_size=6),
    methods.OFTA(0.3, batch_size=6),
    methods.FedAvg(0.2, local_steps=2, fraction=0.75),
    methods.QSGD(0.2, RandK(3)),
    methods.DCGD(0.2, RandK(3)),
    methods.DIANA(0.2, RandK(3)),
    methods.MARINA(0.2, RandK(3)),
    methods.PermKMARINA(0.2),
    methods.EF21(0.2, TopK(3)),
    methods.EF21SGDM(0.2, TopK(3), momentum=0.3),
]

ONE_AFTER_THE_OTHER = {
    methods.Hero: "one worker: nothing is simultaneous",
    methods.ASGD: "every arrival is an update, and the worker is given the point after it",
    methods.DelayAdaptiveASGD: "as ASGD, and the delay decides on the step",
    methods.NaiveOptimalASGD: "as ASGD",
    methods.Hogwild: "as ASGD",
    methods.Picky: "as ASGD, and the distance decides what is discarded",
    methods.RescaledASGD: "as ASGD",
    methods.Ringmaster: "as ASGD, and the delay decides what is ignored",
    methods.Ringleader: "the last to fill the table makes the first update; then every arrival is one",
    methods.IA2SGD: "every arrival is an update",
    methods.FedBuff: "at every arrival the next client is drawn, and given the point of that moment",
    methods.FreyaPAGE: "which index a worker is given depends on those that have come",
    methods.FreyaSGD: "a batch is full before all that arrives at one time has come",
    methods.PAGE: "one worker: nothing is simultaneous",
    methods.HeroGD: "one worker: nothing is simultaneous",
    methods.HeroPAGE: "one worker: nothing is simultaneous",
    methods.SovietGD: "shares are dealt at random at every update, at one point: only rounding tells orders apart",
    methods.SovietPAGE: "as Soviet GD",
    methods.Shadowheart: "numbers of messages are fixed: only rounding tells orders apart, as BatchQSGD's",
    methods.BidirectionalShadowheart: "as Shadowheart",
    methods.AdaptiveShadowheart: "as Shadowheart: what comes at the end of a budget counts before the alarm",
    methods.BatchQSGD: "as Shadowheart",
    methods.SGDone: "one worker: nothing is simultaneous",
    methods.Fragile: "no server: events of one moment go by node, kind and order of sending; S may be full before all",
    methods.NonsmoothFragile: "as Fragile",
    methods.AcceleratedFragile: "as Fragile",
    methods.Amelie: "as Fragile: the pivot's condition may hold before all of one moment has come",
    methods.AcceleratedAmelie: "as Amelie",
    methods.DecentralizedMinibatch: "no server: one gradient of everyone, only rounding tells orders apart",
    methods.GossipSGD: "no server: a node waits for all its neighbours, only rounding tells orders apart",
    methods.GradientTracking: "as GossipSGD",
    methods.RelaySGD: "as GossipSGD",
    methods.AsynchronousGossip: "no server: a step and a message of one moment do not commute",
}


class OrderedFleet:
    """A fleet with fixed times that delivers what arrives at one time in an order of its own.

    A sample is addressed by worker, version and place among the worker's tasks of that version: a task that is given
    and cancelled in one moment, as the order has it, then shifts no later sample.

    Args:
      problem: the oracle.
      times: seconds per gradient, shape (n,).
      order: ranks the workers; those of one time arrive by rank.
    """

    def __init__(self, problem, times, order):
        self.n = len(times)
        self.now = 0.0
        self.random = np.random.default_rng(0)
        self.expected_times = np.array(times)
        self.shard_sizes = None
        self._problem = problem
        self._rank = {worker: rank for rank, worker in enumerate(order)}
        self._samples = Stream(0, "sample")
        self._draws = Draws(0)
        self._given = Counter()
        self._running = {}

    def assign(self, workers, task):
        workers = np.atleast_1d(workers).tolist()
        for worker, own in zip(workers, task if isinstance(task, list) else [task] * len(workers), strict=True):
            number = 1000 * own.version + self._given[worker, own.version]
            self._given[worker, own.version] += 1
            ends = self.now + own.cost * own.draws * self.expected_times[worker]
            self._running[worker] = Arrival(worker, ends, self.now, own, number, self)

    def wait(self):
        arrival = min(self._running.values(), key=lambda arrival: (arrival.time, self._rank[arrival.worker]))
        del self._running[arrival.worker]
        self.now = arrival.time
        return arrival

    def value(self, arrival):
        key = self._samples.key(arrival.worker, arrival.number)
        task, worker = arrival.task, arrival.worker
        value = task.evaluate(self._problem, task.draw(self._problem, worker, key))
        return value if task.compressor is None else self._draws.compress(value, task, worker, arrival.number, 0)

    def weighted_sum(self, arrivals, weights):
        return sum_one_by_one(arrivals, weights)


NOISY = Quadratic(10, noise=0.5, noise_kind="iid")


def run(method, order, problem=NOISY, updates=6):
    method, fleet = method.fresh(), OrderedFleet(problem, TIMES, order)
    method.prepare(problem.start_point(), fleet.n)
    method.start(fleet)
    while method.updates < updates:
        method.receive(fleet.wait(), fleet)
    return method.estimate


def test_every_method_says_whether_the_order_matters():
    assert {type(method) for method in ANY_ORDER} | set(ONE_AFTER_THE_OTHER) == set(methods.METHODS.values())
    assert not {type(method) for method in ANY_ORDER} & set(ONE_AFTER_THE_OTHER)


@pytest.mark.parametrize("method", ANY_ORDER, ids=repr)
def test_any_order_of_simultaneous_arrivals_gives_the_same_x(method):
    expected = run(method, range(4))
    for order in itertools.permutations(range(4)):
        assert run(method, order) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_order_matters_where_every_arrival_is_an_update():
    first, last = (run(methods.ASGD(0.3), order, updates=8) for order in [(0, 1, 2, 3), (3, 2, 1, 0)])
    assert math.dist(first, last) > 1e-3


def test_the_fleet_of_this_test_is_the_virtual_clock_in_order_of_workers(simulate):
    problem = Quadratic(10, noise=0.0)
    ran = simulate(methods.Ringleader(0.1), problem, TIMES, ro.Until(updates=20))
    assert run(methods.Ringleader(0.1), range(4), problem, updates=20) == pytest.approx(ran.method.x, rel=1e-12)
