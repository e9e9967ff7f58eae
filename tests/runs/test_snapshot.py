"""A run that goes on from a checkpoint is the run that was never interrupted, to the bit."""

from __future__ import annotations

import json
from collections import deque

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.fleets.base import Job
from rayopt.fleets.simulated import session as simulated
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs import snapshot
from rayopt.runs.record import Record
from rayopt.storage.checkpoint_files import read, write
from rayopt.storage.encoding import Encoded
from rayopt.testing import workers_for
from tests.methods.test_conformance import TABLE, fitting

UNTIL = ro.Until(time=60)


class Interrupted(Exception):
    """Thrown at a checkpoint, as a process that is killed there."""


class Watched:
    """Runs jobs in virtual time, and can kill one after so many arrivals."""

    def __init__(self, monkeypatch, problem, workers, until=UNTIL, every=1.0):
        self.monkeypatch = monkeypatch
        self.problem = problem
        self.workers = workers
        self.until = until
        self.record = Record(every=every).resolve(problem.metric_names, until)

    def run(self, method, start=None, kill_after=None):
        """Returns (outcome, x, rows of the trace, checkpoint)."""
        rows, kept = [], []
        with self.monkeypatch.context() as patch:
            if kill_after is not None:
                patch.setattr(simulated, "serve", asking_after(kill_after))

            def on_checkpoint(taken):
                kept.append(taken)
                raise Interrupted

            job = Job(method, 3, self.until, self.record, start=start)
            with ro.SimulatedFleet().open(self.problem, self.workers) as session:
                try:
                    outcome = session.run(job, lambda chunk: rows.append(chunk.copy()), lambda _: None, on_checkpoint)
                except Interrupted:
                    return None, None, rows, kept[0]
        return outcome, method.x, np.concatenate(rows), None


def asking_after(arrivals):
    """Returns the loop, which asks for a checkpoint after so many arrivals."""
    serve = simulated.serve

    def watched(method, fleet, recorder):
        wait, schedule = fleet.wait, getattr(fleet, "schedule", None)
        left = [arrivals]

        def count(taken):
            left[0] -= taken
            if left[0] == 0:
                recorder.ask_for_checkpoint()

        def counted(until):
            count(1)
            return wait(until)

        def counted_many(most, until, ahead=0):
            part = schedule(min(most, left[0]) if left[0] > 0 else most, until, ahead)
            if part is not None:
                count(len(part.times))
            return part

        fleet.wait = counted
        if schedule is not None:
            fleet.schedule = counted_many
        serve(method, fleet, recorder)

    return watched


def through_a_file(taken: Encoded, path) -> Encoded:
    write(path, taken)
    return read(path)


def same(first, second):
    (outcome, x, rows, _), (other_outcome, other_x, other_rows, _) = first, second
    assert x.tobytes() == other_x.tobytes()
    assert rows.tobytes() == other_rows.tobytes()
    assert json.dumps(outcome.rows) == json.dumps(other_outcome.rows)
    assert (outcome.counts, outcome.busy_seconds, outcome.time, outcome.ended_by) == (
        other_outcome.counts, other_outcome.busy_seconds, other_outcome.time, other_outcome.ended_by,
    )  # fmt: skip
    assert outcome.diverged_at == other_outcome.diverged_at


@pytest.mark.parametrize("kill_after", [1, 23])
@pytest.mark.parametrize("method", TABLE, ids=repr)
def test_resumed_is_uninterrupted(method, kill_after, monkeypatch, tmp_path):
    problem = fitting(method, Quadratic(20, noise=0.1))
    watched = Watched(monkeypatch, problem, workers_for(method, 8, ro.latency.half_normal("i", "sqrt(i)")))
    whole = watched.run(method.fresh())
    *_, taken = watched.run(method.fresh(), kill_after=kill_after)
    same(whole, watched.run(method.fresh(), start=through_a_file(taken, tmp_path / "checkpoint")))


@pytest.mark.parametrize(
    "method",
    [methods.Ringmaster([0.05, 0.1, 1e200], threshold=20, interrupt=True), methods.Rennala(0.3, batch_size=40),
     methods.FedBuff(0.1, local_steps=2, buffer_size=9, concurrency=50)],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize(
    "compute",
    [ro.latency.exponential("i"), "sqrt(i)", ro.latency.markov(times="sqrt(i)", slow=0.1, fast_mean=5, slow_mean=3)],
    ids=str,
)
def test_large_fleets_grids_and_powers(method, compute, monkeypatch, tmp_path):
    """More workers than the near future holds: durations that were put off, cohorts, slices."""
    watched = Watched(monkeypatch, Quadratic(20, noise=0.1), ro.Workers(100, compute), ro.Until(arrivals=900))
    whole = watched.run(method.fresh())
    # Of a method whose arrivals are taken in blocks, it is looked at few times.
    for kill_after in (3, 20 if isinstance(method, methods.Rennala) else 333):
        *_, taken = watched.run(method.fresh(), kill_after=kill_after)
        same(whole, watched.run(method.fresh(), start=through_a_file(taken, tmp_path / "checkpoint")))


def test_twice_interrupted(monkeypatch):
    watched = Watched(monkeypatch, LogisticRegression.digits(batch=2), ro.Workers(8, "sqrt(i)", upload=0.1))
    method = methods.Malenia(0.3, batch_size=20)
    whole = watched.run(method.fresh())
    *_, first = watched.run(method.fresh(), kill_after=50)
    *_, second = watched.run(method.fresh(), start=first, kill_after=40)
    same(whole, watched.run(method.fresh(), start=second))


class Own(methods.ASGD):
    """A user's method, with every kind of plain state."""

    name = "own"

    def start(self, fleet):
        self.seen = set()
        self.last = deque(maxlen=None)
        self.slots = {(worker, "slot"): np.float32(worker) for worker in range(fleet.n)}
        self.dice = fleet.random
        self.alias = self.slots
        fleet.wake(7.5)
        super().start(fleet)

    def receive(self, arrival, fleet):
        if arrival.worker is None:
            self.x = self.x * self.dice.uniform()
            return fleet.wake(7.5)
        self.seen.add(arrival.worker)
        self.last.append(arrival.task)
        if len(self.last) > 3:
            self.x = self.x + 1e-3 * (self.last.popleft().x - self.x)
        self.slots[arrival.worker, "slot"] += 1
        self.x = self.x * (1 - 1e-3 * self.alias[arrival.worker, "slot"] * fleet.random.uniform())
        return super().receive(arrival, fleet)


def test_a_users_method_with_plain_state(monkeypatch, tmp_path):
    watched = Watched(monkeypatch, Quadratic(20, noise=0.1), ro.Workers(8, "sqrt(i)"))
    whole = watched.run(Own(0.1))
    *_, taken = watched.run(Own(0.1), kill_after=60)
    same(whole, watched.run(Own(0.1), start=through_a_file(taken, tmp_path / "checkpoint")))


class Holding(methods.ASGD):
    """Holds what no checkpoint can keep."""

    name = "holding"

    def start(self, fleet):
        self.history = {"points": [object()]}
        super().start(fleet)


def test_what_cannot_be_kept_is_named_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, "serve", asking_after(60))
    record = ro.Record(checkpoint=1e9)
    with pytest.warns(UserWarning, match=r"without checkpoints: Holding\['history'\]\['points'\]\[0\]: is a object"):
        result = ro.run(
            Holding(0.1), Quadratic(20), ro.Workers(8, "sqrt(i)"), until=ro.Until(arrivals=500), record=record,
            out=tmp_path / "run",
        )  # fmt: skip
    assert result.table.arrivals[0] == 500


def test_a_checkpoint_shares_points_and_copies_what_changes():
    method = methods.Ringmaster(0.1, threshold=3)
    problem = Quadratic(4)
    fleet = SimulatedWorkers(problem, ro.Workers(5, "i").times(0), 0)
    method.prepare(problem.start_point(), 5)
    method.start(fleet)
    until = ro.Until(updates=5)
    recorder = ro.runs.recorder.Recorder(Record().resolve((), until), until, lambda *_: None, lambda rows: None)
    recorder.begin(method, fleet)
    taken = snapshot.take(method, fleet, recorder)
    assert sum(array is method.x for array in taken.arrays) == 1
    assert not any(np.shares_memory(array, method.started) for array in taken.arrays)
    assert not any(np.shares_memory(array, fleet._ends) for array in taken.arrays)
