"""Ringleader ASGD: values by hand, and what the paper's analysis rests on, for any times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival
from rayopt.fleets.base import Job
from rayopt.problems import Free
from rayopt.runs.record import Record

TIMES = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=7)


def test_values_of_two_rounds(simulate, centres):
    # Gradients at x^0 are (-1, -2, -6), mean -3; then -0.4 at x^2, -1.1 at x^3, -5.7 at x^1, mean -2.4.
    ran = simulate(methods.Ringleader(0.1), centres(1.0, 2.0, 6.0), until=ro.Until(updates=6))
    assert ran.method.x == pytest.approx(3 * 0.3 + 3 * 0.24, rel=1e-12)


def test_values_of_the_third_round(simulate, centres):
    # Worker 1 at x^5 = 1.38, worker 2 at x^6 = 1.62, worker 3 at x^4 = 1.14: mean (0.38 - 0.38 - 4.86) / 3.
    ran = simulate(methods.Ringleader(0.1), centres(1.0, 2.0, 6.0), until=ro.Until(updates=8))
    assert ran.method.x == pytest.approx(1.62 + 2 * 0.162, rel=1e-12)


def test_counts_weigh_gradients_within_a_slot_and_slots_weigh_the_same(prepared):
    method, fleet = prepared(methods.Ringleader(1.0), 2)
    script = [
        (0, 1.0, 0, 0.0), (0, 3.0, 0, 0.0),
        (1, 10.0, 0, -6.0),  # ((1 + 3) / 2 + 10) / 2
        (1, 4.0, 1, -6.0),  # kept
        (0, 5.0, 0, -12.5),  # ((1 + 3 + 5) / 3 + 10) / 2, the round ends
        (1, 8.0, 1, -12.5),
        (0, 0.0, 2, -15.5),  # (0 + (4 + 8) / 2) / 2
        (1, 9.0, 1, -19.0),  # (0 + (4 + 8 + 9) / 3) / 2
    ]  # fmt: skip
    for worker, value, version, x in script:
        method.receive(Arrival.with_value(worker, [value], version=version), fleet)
        assert method.x.tolist() == [x]
    assert fleet.assigned == [
        ([0, 1], 0),
        ([0], 0),
        ([0], 0),
        ([1], 1),
        ([1], 1),
        ([0], 2),
        ([1], 1),
        ([0], 3),
        ([1], 4),
    ]


def test_a_table_that_the_transition_fills_is_used_at_the_next_arrival(prepared):
    # No schedule leads there, since the last of a round has nothing kept; the rule holds all the same.
    method, fleet = prepared(methods.Ringleader(1.0), 2)
    for worker, value in [(0, 1.0), (1, 1.0)]:
        method.receive(Arrival.with_value(worker, [value]), fleet)
    for slot in method.next_table:
        slot.add(Arrival.with_value(0, [2.0]))
    method.receive(Arrival.with_value(0, [1.0]), fleet)
    assert method.x.tolist() == [-2.0]
    method.receive(Arrival.with_value(1, [8.0]), fleet)
    assert method.x.tolist() == [-2.0 - (2.0 + 5.0) / 2]


class Counted(Free):
    """Counts the gradients that were computed."""

    exact = False
    computed = 0

    def gradient(self, x, sample, checkpoint=None):
        self.computed += 1
        return np.zeros(x.shape)

    def gradient_sum(self, x, samples, weights=None):
        self.computed += len(samples)
        return np.zeros(x.shape)


class Watched(methods.Ringleader):
    """Notes who updates, and the versions in the slots, of which their delays at every update."""

    def prepare(self, start_point, workers):
        super().prepare(start_point, workers)
        self.updaters: list[int] = []
        self.update_times: list[float] = [0.0]
        self.delays: list[int] = []
        self.slots: list[set[int]] = []

    def open_second_phase(self, first):
        super().open_second_phase(first)
        self.versions = [{arrival.version for arrival in slot._arrivals} for slot in self.table]
        self.slots += self.versions

    def update(self, arrival, fleet):
        self.versions[arrival.worker] |= {arrival.version}
        self.delays += [self.updates - version for versions in self.versions for version in versions]
        self.updaters.append(arrival.worker)
        self.update_times.append(arrival.time)
        super().update(arrival, fleet)


@settings(max_examples=60)
@given(times=TIMES, seed=st.integers(0, 1000), random=st.booleans())
def test_what_the_analysis_rests_on_holds_for_any_times(times, seed, random):
    n = len(times)
    compute = ro.latency.half_normal(base=times, scale=2.0) if random else times
    problem, until, method = Counted(), ro.Until(updates=6 * n, arrivals=5000), Watched(0.1)
    with ro.SimulatedFleet().open(problem, ro.Workers(n, compute=compute)) as session:
        record = Record(metrics=["value"], trace=False).resolve(problem.metric_names, until)
        counts = session.run(Job(method, seed, until, record), lambda rows: None, lambda progress: None).counts
    rounds = [method.updaters[start : start + n] for start in range(0, len(method.updaters) - n + 1, n)]
    assert all(sorted(updaters) == list(range(n)) for updaters in rounds)
    assert all(len(versions) == 1 for versions in method.slots)
    assert max(method.delays, default=0) <= 2 * n - 2
    if not random:
        rounds_end = method.update_times[::n]
        assert np.diff(rounds_end).max(initial=0.0) <= 2 * max(times) * (1 + 1e-9)
    assert (counts.used, counts.cancelled) == (counts.arrivals, 0)
    waiting = method.next_table if method.pending else method.table
    assert problem.computed == counts.arrivals - sum(slot.count for slot in waiting)
