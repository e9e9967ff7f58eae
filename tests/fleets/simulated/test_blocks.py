"""Arrivals that are taken together: the run of one after the other, to the bit, whatever the times are."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.fleets.base import Job
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.fleets.simulated.schedule import planned
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs import loop
from rayopt.runs.snapshot import Schedule

WORKERS = {
    "fixed": ro.Workers(50, "sqrt(i)"),
    "equal": ro.Workers(40, 1.0),
    "far apart": ro.Workers(60, "i ** 2"),
    "random": ro.Workers(60, ro.latency.half_normal("i", "sqrt(i)")),
    "wide": ro.Workers(300, ro.latency.half_normal(base="1 + i / 50", scale=2.0)),
    "varying": ro.Workers(40, ro.latency.half_normal("i", "sqrt(i)"), upload=ro.latency.half_normal("0.1", "0.2")),
    "powers": ro.Workers(30, ro.latency.DayAndNight(times="1 + i / 30", period=7.0, low=0.5, high=1.5)),
    "one quick": ro.Workers(20, ro.latency.fixed([1e-4, *range(1, 20)])),
    "links": ro.Workers(30, "sqrt(i)", upload=ro.Link(per_message=0.1, per_float=0.01)),
}
CHOSEN = [
    methods.Rennala(0.1, batch_size=37),
    methods.Rennala([0.1, 0.2], batch_size=200),
    methods.Rennala(0.1, batch_size=60, interrupt=True),
    methods.AcceleratedRennala(0.05, batch_size=90),
    methods.NonsmoothRennala(0.1, batch_size=25),
    methods.ASGD(0.02),
    methods.ASGD([0.01, 0.02]),
    methods.ASGD(ro.schedules.cosine(0.02, over=30, by="time"), server=ro.server.Momentum(0.5), averaging="uniform"),
    methods.DelayAdaptiveASGD(0.02),
    methods.Ringmaster(0.02, threshold=20),
    methods.Ringmaster(0.02, threshold=20, interrupt=True),
    methods.Picky(0.02, distance_limit=0.3),
    methods.RescaledASGD(0.02),
    methods.NaiveOptimalASGD(0.02, noise_ratio=5),
]


def one_by_one(patch: Any) -> None:
    """Lets every arrival be looked at by itself."""
    patch.setattr(loop, "_blocks_of", lambda method, fleet: None)


def run(together: bool, method: methods.Method, workers: ro.Workers, monkeypatch: Any, **changes: Any) -> ro.Result:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LEAST_BLOCK", 2)
        if not together:
            one_by_one(patch)
        return _run(method, workers, **changes)


def _run(method: methods.Method, workers: ro.Workers, **changes: Any) -> ro.Result:
    arguments = {"until": ro.Until(time=60, arrivals=20_000), "record": ro.Record(every=3.0), **changes}
    return ro.run(method.fresh(), Quadratic(dimension=20, noise=0.1), workers, **arguments)


@pytest.mark.parametrize("method", CHOSEN, ids=repr)
@pytest.mark.parametrize("times", WORKERS)
def test_the_trace_and_the_history_are_those_of_single_arrivals(times, method, monkeypatch):
    if times == "powers" and isinstance(method, methods.RescaledASGD | methods.NaiveOptimalASGD):
        times = "varying"
    together, alone = (run(whether, method, WORKERS[times], monkeypatch) for whether in (True, False))
    assert len(together.trace) > 10
    assert together.trace.equals(alone.trace)
    assert together.history.equals(alone.history)
    assert together.table.equals(alone.table)


@pytest.mark.parametrize("until", [{"arrivals": 777}, {"updates": 5}, {"updates": 211}, {"time": 33.3}], ids=str)
@pytest.mark.parametrize("method", [CHOSEN[1], methods.ASGD(0.02), methods.Ringmaster(0.02, threshold=9)], ids=repr)
def test_every_limit_ends_it_at_the_same_arrival(method, until, monkeypatch):
    together, alone = (
        run(whether, method, WORKERS["random"], monkeypatch, until=ro.Until(**until), record=ro.Record(every=7.0))
        for whether in (True, False)
    )
    assert together.trace.equals(alone.trace)
    assert together.history.equals(alone.history)


@pytest.mark.parametrize("method", [methods.Rennala(0.1, batch_size=100), methods.Ringmaster(0.02, 30)], ids=repr)
def test_a_checkpoint_between_two_blocks(method, monkeypatch):
    monkeypatch.setattr(loop, "LEAST_BLOCK", 2)
    problem, workers = LogisticRegression.digits(batch=2), WORKERS["random"]
    until = ro.Until(updates=400 if isinstance(method, methods.Rennala) else 20_000)
    record, kept = ro.Record(trace=False, metrics=()).resolve(problem.metric_names, until), []

    def ends(start: Any = None, checkpoints: Any = None) -> tuple[float, bytes, float]:
        own = method.fresh()
        with ro.SimulatedFleet().open(problem, workers) as session:
            outcome = session.run(Job(own, 0, until, record, start=start, checkpoints=checkpoints),
                                  lambda rows: None, lambda progress: None, kept.append)  # fmt: skip
        return outcome.time, own.x.tobytes(), outcome.busy_seconds

    whole = ends(checkpoints=Schedule(0.02, 0.02))
    assert len(kept) > 3
    for snapshot in kept[:: max(len(kept) // 5, 1)]:
        assert ends(start=snapshot) == whole


def test_most_arrivals_are_taken_together(monkeypatch):
    """A method that collects hundreds looks at a handful of arrivals by themselves."""
    seen = []
    receive = methods.Rennala.receive
    with monkeypatch.context() as patch:
        patch.setattr(methods.Rennala, "receive", lambda self, *given: (seen.append(1), receive(self, *given))[1])
        result = _run(methods.Rennala(0.1, batch_size=300), WORKERS["wide"])
    assert len(seen) < 0.15 * len(result.trace)
    assert np.isfinite(result.table.value).all()


def test_all_arrivals_of_an_asynchronous_method_are(monkeypatch):
    monkeypatch.setattr(SimulatedWorkers, "wait", lambda self, until: setattr(self, "now", until))
    result = _run(methods.ASGD(0.02), WORKERS["random"], until=ro.Until(time=60))
    monkeypatch.undo()
    assert result.trace.equals(_run(methods.ASGD(0.02), WORKERS["random"], until=ro.Until(time=60)).trace)


@pytest.mark.parametrize("kind", [methods.ASGD, methods.Rennala])
def test_a_method_that_receives_otherwise_than_its_base_is_asked_about_each(kind):
    class Counting(kind):
        seen = 0

        def receive(self, arrival, fleet):
            self.seen += 1
            super().receive(arrival, fleet)

    arguments = {} if kind is methods.ASGD else {"batch_size": 100}
    method = Counting(0.01, **arguments)
    problem = Quadratic(dimension=5, noise=0.1)
    method.prepare(problem.start_point(), 50)
    fleet = SimulatedWorkers(problem, WORKERS["fixed"].times(0, 5), 0)
    assert loop._blocks_of(method, fleet) is None
    assert loop._blocks_of(kind(0.01, **arguments), fleet) is not None


def test_a_fleet_that_was_given_nothing_is_stuck():
    class Idle(methods.ASGD):
        def start(self, fleet):
            pass

    with pytest.raises(ro.FleetStuck):
        _run(Idle(0.1), WORKERS["fixed"], until=ro.Until(updates=3))


def test_a_wish_to_end_is_looked_at_between_slow_gradients():
    class Slow(Quadratic):
        asked = 0

        def gradient(self, x, sample, checkpoint=None):
            time.sleep(0.002)
            self.asked += 1
            if self.asked == 200:
                session.stop()
            return super().gradient(x, sample, checkpoint)

    problem = Slow(dimension=5, noise=0.1)
    record = ro.Record(metrics=()).resolve(problem.metric_names, ro.Until(arrivals=5_000))
    with ro.SimulatedFleet().open(problem, WORKERS["fixed"]) as session:
        outcome = session.run(Job(methods.ASGD(0.01), 0, ro.Until(arrivals=5_000), record),
                              lambda rows: None, lambda progress: None)  # fmt: skip
    assert outcome.ended_by == "interrupted"
    assert outcome.counts.arrivals < 300


def test_a_plan_is_cut_where_one_worker_would_fill_it():
    """One worker is a million times as quick as the others, and nothing is known of their times."""
    times = np.array([1e-6, 1.0, 1.0, 1.0])

    def seconds(workers: Any, numbers: Any, starts: Any) -> Any:
        return times[workers]

    first = times.copy(), np.zeros(4), np.zeros(4, dtype=int), np.ones(4, dtype=int)
    found = planned(np.arange(4), 1.0, first, seconds, 1, most=10)
    assert 10 * 32 - 64 < len(found.times) < 10 * 32 + 128
    assert set(found.workers) == {0}
    np.testing.assert_allclose(found.next_ends - found.times, 1e-6)


def test_the_gradients_of_a_block_are_those_of_arrivals():
    from rayopt.core.arrivals import ArrivalBlock, GradientSum
    from rayopt.core.tasks import Gradient
    from rayopt.fleets.simulated.values import ComputedValues

    problem = LogisticRegression.digits(batch=2, partition="split").split(6, 0)
    source, task = ComputedValues(problem, 6, 0), Gradient(problem.start_point(), 0)
    columns = [np.arange(9.0), np.arange(9) % 6, np.arange(9) // 6, np.zeros(9), np.zeros(9, dtype=int)]
    block = ArrivalBlock(*columns)
    one_by_one, mixed = GradientSum(), GradientSum()
    arrivals = block.arrivals(task, source)
    for arrival in arrivals:
        one_by_one.add(arrival)
    mixed.add(arrivals[0])
    mixed.add_block(ArrivalBlock(*(column[1:5] for column in columns)), task, source)
    mixed.add(arrivals[5])
    mixed.add_block(ArrivalBlock(*(column[6:] for column in columns)), task, source)
    assert mixed.count == one_by_one.count == 9
    assert mixed.sum().tobytes() == one_by_one.sum().tobytes()
    assert [arrival.worker for arrival in mixed.parts[0]] == [arrival.worker for arrival in arrivals]
    by_worker = np.linspace(0.5, 1, 6)
    np.testing.assert_allclose(mixed.sum(by_worker), one_by_one.sum(by_worker), rtol=1e-12)
