"""Real Ray: local actors train, get equal shares, and leave a cancelled task."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
from ray_sessions import N, opened

import rayopt as ro
from rayopt import methods
from rayopt.core.errors import FleetStuck, NotBegun
from rayopt.fleets.ray.slip import Slip
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.storage.trace.rows import CANCELLED, OUTCOMES

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def digits(cluster):
    with opened(LogisticRegression.digits(batch=8), "0.004 * sqrt(i)") as fixture:
        yield fixture


@pytest.fixture(scope="module", params=[1, 2], ids=["direct", "packed"])
def equal(request, cluster):
    with opened(Quadratic(50, noise=0.01), 0.01, workers_per_actor=request.param) as fixture:
        yield fixture


@pytest.mark.parametrize(
    "method",
    [methods.ASGD(0.2), methods.Ringmaster(0.3, threshold=3), methods.Rennala(0.8, batch_size=4, interrupt=True)],
    ids=repr,
)
def test_trains_to_accuracy(digits, method):
    until = ro.Until(time=20, target=ro.Target("accuracy", 0.9))
    outcome, rows = digits.run(method, until, metrics=("accuracy",), every=0.2)
    assert max(row["accuracy"] for row in outcome.rows) >= 0.9
    assert outcome.ended_by == "target"
    assert outcome.counts.arrivals == np.count_nonzero(rows["outcome"] != CANCELLED)


class BusyASGD(methods.ASGD):
    """ASGD on a server that is busy for 5 ms per update, so that several replies are always ready."""

    name = "busy_asgd"

    def receive(self, arrival, fleet):
        time.sleep(0.005)
        super().receive(arrival, fleet)


def test_equal_workers_get_equal_shares(equal):
    _, rows = equal.run(BusyASGD(0.01), ro.Until(updates=200))
    shares = Counter(rows["worker"].tolist())
    assert max(shares.values()) - min(shares.values()) <= 4


def test_arrivals_are_in_order_and_take_their_time(equal):
    outcome, rows = equal.run(methods.ASGD(0.01), ro.Until(time=1.0))
    assert (np.diff(rows["time"]) >= 0).all()
    assert (rows["completed_at"] <= rows["time"]).all()
    assert (rows["completed_at"] - rows["assigned_at"] >= 0.01 - 1e-6).all()
    assert rows["updates"].tolist() == list(range(1, len(rows) + 1))
    assert 0 < outcome.slip["median"] < 0.05


def test_a_cancelled_task_never_arrives(equal):
    _, rows = equal.run(methods.Rennala(0.1, batch_size=2, interrupt=True), ro.Until(updates=60))
    assert (rows["outcome"] == CANCELLED).sum() >= 60
    delivered = rows[rows["outcome"] != CANCELLED]
    assert {OUTCOMES[code] for code in delivered["outcome"]} == {"used"}
    # Every (worker, assignment) ends once: it arrives or it is cancelled.
    ends = Counter(zip(rows["worker"].tolist(), rows["assigned_at"].tolist(), strict=True))
    assert set(ends.values()) == {1}


def test_values_are_those_of_virtual_time(equal, simulate):
    """The first batch of Minibatch is the same x in both clocks: samples are addressed, not consumed."""

    def first_gap(outcome):
        return outcome.rows[-1]["gap"]

    real, _ = equal.run(methods.Minibatch(0.5), ro.Until(updates=1), metrics=("gap",), seed=7)
    virtual = simulate(methods.Minibatch(0.5), equal.problem, 0.01, ro.Until(updates=1), seed=7, n=N)
    np.testing.assert_allclose(first_gap(real), virtual.outcome.rows[-1]["gap"], rtol=1e-12)


def test_a_step_size_grid_is_one_run(equal):
    outcome, _ = equal.run(methods.ASGD([0.1, 1e200]), ro.Until(updates=100), metrics=("gap",), every=0.05)
    first, last = outcome.rows[0], [row for row in outcome.rows if row["step_size"] == 0.1][-1]
    assert last["gap"] < first["gap"]
    assert list(outcome.diverged_at) == [1]


def test_stops_when_asked(equal):
    threading.Timer(0.5, equal.session.stop).start()
    started_at = time.monotonic()
    outcome, rows = equal.run(methods.ASGD(0.01), ro.Until(time=60))
    assert outcome.ended_by == "interrupted"
    assert time.monotonic() - started_at < 5
    assert len(rows) == outcome.counts.arrivals > 0


def test_alarms_in_real_time(equal):
    outcome, _ = equal.run(AlarmedASGD(0.01), ro.Until(time=0.6))
    assert outcome.updates > 0


class AlarmedASGD(methods.ASGD):
    """Is woken every 50 ms."""

    name = "alarmed_asgd"

    def start(self, fleet):
        self.alarms = 0
        fleet.wake(0.05)
        super().start(fleet)

    def receive(self, arrival, fleet):
        if arrival.worker is not None:
            return super().receive(arrival, fleet)
        self.alarms += 1
        # The alarm is a twentieth of a second old at most by a few milliseconds.
        if fleet.now > 0.06 * self.alarms + 0.1:
            raise AssertionError(f"alarm {self.alarms} at {fleet.now}")
        return fleet.wake(0.05)


def test_large_points_and_values_go_through_the_object_store(cluster):
    with opened(Quadratic(30_000, noise=0.0), "0.002 * i") as fixture:
        outcome, _ = fixture.run(methods.Ringmaster(0.5, threshold=2), ro.Until(updates=40), metrics=("gap",))
        assert outcome.counts.ignored > 0
        assert outcome.rows[-1]["gap"] < outcome.rows[0]["gap"]


class Slow(Quadratic):
    """A gradient that takes a second, in a hundred chunks."""

    def gradient(self, x, sample, checkpoint=None):
        for _ in range(100):
            time.sleep(0.01)
            checkpoint()
        return super().gradient(x, sample)


class Restless(methods.Method):
    """Gives every worker a new task every 100 ms, and counts in k how often."""

    name = "restless"

    def start(self, fleet):
        self.give(fleet)

    def give(self, fleet):
        fleet.assign(np.arange(fleet.n), self.point())
        fleet.wake(0.1)

    def receive(self, arrival, fleet):
        if arrival.worker is None:
            self.updates += 1
            if self.updates < 5:
                self.give(fleet)


def test_a_real_computation_stops_at_its_next_chunk(cluster):
    with opened(Slow(3), 0.001, n=2) as fixture:
        outcome, rows = fixture.run(Restless(1.0), ro.Until(time=3.0, arrivals=2))
        assert outcome.counts.cancelled == 2 * 4
        # Five tasks of a second each, one after the other, would need five seconds.
        assert outcome.ended_by == "arrivals"
        assert rows["version"][rows["outcome"] != CANCELLED].tolist() == [4, 4]


def test_a_stuck_fleet_says_so(equal):
    class Idle(methods.ASGD):
        name = "idle"

        def start(self, fleet):
            pass

    with pytest.raises(FleetStuck):
        equal.run(Idle(0.1), ro.Until(updates=1))


def test_an_infinite_worker_does_not_hang(cluster, per_actor):
    # Three workers in actors of two: the last actor holds one.
    with opened(Quadratic(3), [0.01, 0.01, np.inf], n=3, workers_per_actor=per_actor) as fixture:
        with pytest.raises(FleetStuck) as stuck:
            fixture.run(methods.Minibatch(0.1), ro.Until(updates=2))
        assert (stuck.value.busy, stuck.value.idle) == (1, 2)
        outcome, rows = fixture.run(methods.Minibatch(0.1), ro.Until(time=0.5))
        assert outcome.was_stuck
        assert sorted(rows["worker"].tolist()) == [0, 1]
        outcome, _ = fixture.run(methods.ASGD(0.1), ro.Until(updates=20))
        assert outcome.updates == 20


def test_every_worker_computes_on_its_own_shard(cluster, per_actor):
    problem = LogisticRegression.digits(partition={"name": "labels", "shards_per_worker": 1})
    method, until = methods.Minibatch(0.5), ro.Until(updates=1)
    with opened(problem, "0.01 * i", n=3, workers_per_actor=per_actor) as fixture:
        outcome, _ = fixture.run(method, until, metrics=("value",), seed=5)
    virtual = ro.run(method, problem, ro.Workers(3, "0.01 * i"), until=until, seed=5)
    np.testing.assert_allclose(outcome.rows[-1]["value"], virtual.history.value.iloc[-1], rtol=1e-12)
    homogeneous = ro.run(method, LogisticRegression.digits(), ro.Workers(3, "0.01 * i"), until=until, seed=5)
    assert outcome.rows[-1]["value"] != pytest.approx(homogeneous.history.value.iloc[-1])


def test_a_stop_before_the_workers_are_loaded_is_not_lost(cluster):
    with opened(Quadratic(3), 0.01, n=2) as fixture:
        fixture.session.stop()
        with pytest.raises(NotBegun):
            fixture.run(methods.ASGD(0.1), ro.Until(time=60))
        outcome, _ = fixture.run(methods.ASGD(0.1), ro.Until(updates=3))
        assert outcome.ended_by == "updates"


def test_a_run_whose_display_fails_leaves_nothing_to_the_next(cluster):
    def fail():
        raise ZeroDivisionError("by design")

    with opened(Quadratic(3), 0.01, n=2) as fixture:
        fixture.on_progress = fail
        with pytest.raises(ZeroDivisionError, match="by design"):
            fixture.run(methods.ASGD(0.1), ro.Until(time=60))
        fixture.on_progress = lambda: None
        outcome, rows = fixture.run(methods.ASGD(0.1), ro.Until(time=0.5))
        assert outcome.wall_seconds < 30
        assert len(rows) == outcome.counts.arrivals
        assert rows["number"].min() == 0


def test_the_whole_way(cluster, tmp_path):
    result = ro.run(
        [methods.ASGD(0.1), methods.Minibatch(0.5)],
        Quadratic(20, noise=0.01),
        ro.Workers(2, [0.005, 0.01]),
        until=ro.Until(time=1.0),
        fleet=ro.RayFleet(),
        seed=[0, 1],
        out=tmp_path / "run",
    )
    assert result.history.groupby(["label", "seed"]).ngroups == 4
    assert "completed_at" in result.trace.columns
    assert len(result.trace) == sum(run["arrivals"] for run in result.summary["runs"])
    assert all(run["slip"]["median"] > 0 for run in result.summary["runs"])
    assert result.history.gap.notna().all()


# ---- slip ----


def test_slip_quantiles():
    slip, late = Slip(), np.random.default_rng(0).lognormal(-6, 1, 20_000)
    for seconds in late:
        slip.add(seconds)
    summary = slip.summary()
    assert summary["median"] == pytest.approx(np.median(late), rel=0.03)
    assert summary["p99"] == pytest.approx(np.quantile(late, 0.99), rel=0.03)
    assert summary["largest"] == late.max()
    assert Slip().summary() == {}
