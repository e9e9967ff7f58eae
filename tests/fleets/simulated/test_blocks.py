"""Arrivals that are taken together: the run of one after the other, to the bit, whatever the times are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.fleets.base import Job
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs import loop
from rayopt.runs.snapshot import Schedule

WORKERS = {
    "fixed": ro.Workers(50, "sqrt(i)"),
    "equal": ro.Workers(40, 1.0),
    "far apart": ro.Workers(60, "i ** 2"),
    "random": ro.Workers(60, ro.latency.half_normal("i", "sqrt(i)")),
    "wide": ro.Workers(300, ro.latency.half_normal(base="1 + i / 50", scale=2.0)),
    "links": ro.Workers(30, "sqrt(i)", upload=ro.Link(per_message=0.1, per_float=0.01)),
}
CHOSEN = [
    methods.Rennala(0.1, batch_size=37),
    methods.Rennala([0.1, 0.2], batch_size=200),
    methods.Rennala(0.1, batch_size=60, interrupt=True),
    methods.AcceleratedRennala(0.05, batch_size=90),
    methods.NonsmoothRennala(0.1, batch_size=25),
]


def run(least: int, method: methods.Method, workers: ro.Workers, monkeypatch: Any, **changes: Any) -> ro.Result:
    monkeypatch.setattr(loop, "LEAST_BLOCK", least)
    arguments = {"until": ro.Until(time=60), "record": ro.Record(every=3.0), **changes}
    return ro.run(method.fresh(), Quadratic(dimension=20, noise=0.1), workers, **arguments)


@pytest.mark.parametrize("method", CHOSEN, ids=repr)
@pytest.mark.parametrize("times", WORKERS)
def test_the_trace_and_the_history_are_those_of_single_arrivals(times, method, monkeypatch):
    together, alone = (run(least, method, WORKERS[times], monkeypatch) for least in (2, 10**9))
    assert together.trace.equals(alone.trace)
    assert together.history.equals(alone.history)
    assert together.table.equals(alone.table)


@pytest.mark.parametrize("until", [{"arrivals": 777}, {"updates": 5}, {"time": 33.3}], ids=str)
def test_every_limit_ends_it_at_the_same_arrival(until, monkeypatch):
    together, alone = (
        run(least, CHOSEN[1], WORKERS["random"], monkeypatch, until=ro.Until(**until), record=ro.Record(every=7.0))
        for least in (2, 10**9)
    )
    assert together.trace.equals(alone.trace)
    assert together.history.equals(alone.history)


def test_a_checkpoint_between_two_blocks(monkeypatch):
    monkeypatch.setattr(loop, "LEAST_BLOCK", 2)
    problem, workers, until = LogisticRegression.digits(batch=2), WORKERS["random"], ro.Until(updates=400)
    record, kept = ro.Record(trace=False, metrics=()).resolve(problem.metric_names, until), []

    def ends(start: Any = None, checkpoints: Any = None) -> tuple[float, bytes, float]:
        method = methods.Rennala(0.1, batch_size=100)
        with ro.SimulatedFleet().open(problem, workers) as session:
            outcome = session.run(Job(method, 0, until, record, start=start, checkpoints=checkpoints),
                                  lambda rows: None, lambda progress: None, kept.append)  # fmt: skip
        return outcome.time, method.x.tobytes(), outcome.busy_seconds

    whole = ends(checkpoints=Schedule(0.02, 0.02))
    assert len(kept) > 3
    for snapshot in kept[:: max(len(kept) // 5, 1)]:
        assert ends(start=snapshot) == whole


def test_most_arrivals_are_taken_together(monkeypatch):
    """A method that collects hundreds looks at a handful of arrivals by themselves."""
    seen = []
    receive = methods.Rennala.receive
    monkeypatch.setattr(methods.Rennala, "receive", lambda self, *given: (seen.append(1), receive(self, *given))[1])
    result = run(16, methods.Rennala(0.1, batch_size=300), WORKERS["wide"], monkeypatch)
    assert len(seen) < 0.15 * len(result.trace)
    assert np.isfinite(result.table.value).all()


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
