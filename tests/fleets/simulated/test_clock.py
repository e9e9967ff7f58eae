"""The event core: order, cancellation, limits, laziness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rayopt as ro
from rayopt.core.arrivals import Alarm
from rayopt.core.tasks import Gradient, Series, Trial
from rayopt.fleets.simulated.clock import FIRST_SLICE, SimulatedWorkers
from rayopt.latency import latency
from rayopt.latency.base import BoundRandom
from rayopt.problems import Free, Quadratic

X = np.zeros(2)


def fleet_of(times, problem=None, seed=0):
    n = len(times) if isinstance(times, list) else times[0]
    compute = times if isinstance(times, list) else times[1]
    return SimulatedWorkers(problem or Free(2), ro.Workers(n, compute).times(seed), seed)


def arrivals(fleet, until):
    found = []
    while (arrival := fleet.wait(until)) is not None:
        found.append((arrival.time, arrival.worker, arrival.number))
    return found


class NaiveFleet:
    """The same semantics, written as plainly as possible: a list of running tasks, searched every time."""

    def __init__(self, times):
        self.times, self.now = times, 0.0
        self.given, self.running = [0] * len(times), {}

    def assign(self, workers, version):
        for worker in workers:
            end = self.now + self.times[worker]
            self.running[worker] = (end, worker, self.given[worker], self.now, version)
            self.given[worker] += 1

    def cancel(self, workers):
        for worker in workers:
            self.running.pop(worker, None)

    def wait(self, until):
        alive = [task for task in self.running.values() if task[0] < math.inf]
        if not alive or min(alive)[0] > until:
            self.now = until
            return None
        first = min(alive)
        del self.running[first[1]]
        self.now = first[0]
        return first


TIMES = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, math.inf]), min_size=1, max_size=90)
COMMANDS = st.lists(
    st.tuples(st.sampled_from(["assign", "assign one", "everyone", "cancel", "wait"]), st.integers(0, 10**6)),
    max_size=40,
)


@given(times=TIMES, commands=COMMANDS)
@settings(max_examples=300)
def test_the_event_order_is_that_of_a_plain_list(times, commands):
    fleet, naive = fleet_of(times), NaiveFleet(times)
    version = 0
    for command, number in commands:
        chosen = np.flatnonzero(np.random.default_rng(number).random(len(times)) < 0.5)
        if command == "assign one":
            chosen = np.array([number % len(times)])
        elif command == "everyone":
            chosen = np.arange(len(times))
        if command == "cancel":
            fleet.cancel(chosen)
            naive.cancel(chosen.tolist())
        elif command != "wait":
            version += 1
            task = Gradient(X, version)
            fleet.assign(int(chosen[0]) if command == "assign one" else chosen, task)
            naive.assign(chosen.tolist(), version)
        else:
            for _ in range(number % 7):
                ours, theirs = fleet.wait(naive.now + 4.0), naive.wait(naive.now + 4.0)
                assert fleet.now == naive.now
                if ours is None or theirs is None:
                    assert ours is None
                    assert theirs is None
                    break
                assert (ours.time, ours.worker, ours.number, ours.assigned_at, ours.version) == theirs
    assert fleet.busy == len(naive.running)


class Steps(ro.latency.base.Latency):
    """Base plus 0, 1, 2, ... or infinity, so that durations differ, tie, and end never."""

    name = "steps"

    def bind(self, workers, stream):
        base = 0.5 + np.arange(workers) % 5
        return BoundRandom(
            self,
            workers,
            stream,
            base,
            np.ones(workers),
            lambda u, worker: np.where(u < 0.9, np.floor(8 * u), np.inf),
            1.0,
        )

    def to_config(self):
        return {"name": self.name}


COMPUTE = [
    Steps(),
    ro.latency.half_normal("0.1 + i / 100", 0.3),
    {"name": "infinite_bernoulli", "base": "1 + floor(i / 20)", "probability": 0.7},
    {"name": "outages", "times": "0.1 + i / 100", "period": 1, "length": 0.3, "phase": "i / 7"},
    {"name": "groups", "parts": [1.0, {"name": "exponential", "mean": 2.0}, {"name": "fixed", "times": "i"}]},
]


def command(rng, fleet, version):
    """Gives one random command; returns what arrived, if it was to wait."""
    kind = rng.choice(["some", "few", "each", "everyone", "series", "trials", "cancel", "wake", "wait", "wait", "wait"])
    n, events = fleet.n, []
    some = np.flatnonzero(rng.random(n) < 0.3)
    task = Gradient(X, version, count=int(rng.integers(1, 3)))
    if kind == "cancel":
        fleet.cancel(some)
    elif kind == "wake":
        fleet.wake(float(rng.integers(0, 3)))
    elif kind == "each":
        for worker in some[-20:].tolist():
            fleet.assign(worker, task)
    elif kind == "series":
        fleet.assign(some, Series(X, version, 2))
    elif kind == "trials":
        fleet.assign(some, Trial(X, version, time_limit=1.5))
    elif kind != "wait":
        fleet.assign({"some": some, "few": some[:5], "everyone": np.arange(n)}[kind], task)
    else:
        until = fleet.now + 0.5 * int(rng.integers(4))
        for _ in range(rng.integers(40)):
            if (arrival := fleet.wait(until)) is None:
                break
            events.append((arrival.time, arrival.worker, arrival.number, arrival.version, arrival.ok))
    return events


@pytest.mark.parametrize("upload", [0.0, ro.latency.exponential(0.5)], ids=["", "with links"])
@pytest.mark.parametrize("compute", COMPUTE, ids=lambda compute: latency(compute).name)
@pytest.mark.parametrize("n", [10, FIRST_SLICE, FIRST_SLICE + 1, 300])
def test_durations_that_are_put_off_change_nothing(n, compute, upload):
    """A fleet that draws late does what one does that draws every duration when its task is given."""
    times = ro.Workers(n, compute, upload=upload).times(5)
    late, eager = fleets = [SimulatedWorkers(Free(2), times, 5) for _ in range(2)]
    late.defer_draws(times.least)
    eager._bounds = None
    for version in range(300):
        states = []
        for fleet in fleets:
            events = command(np.random.default_rng([n, version]), fleet, version)
            cancelled = [[column.tolist() for column in columns] for columns in fleet.cancelled]
            fleet.cancelled.clear()
            # Only behind events: to know that a fleet is stuck can take all draws.
            stuck = fleet.is_stuck if events else None
            states.append((events, cancelled, fleet.now, fleet.busy, fleet.busy_seconds, stuck))
        assert states[0] == states[1]
    assert late.now > 30


def test_a_task_that_is_stopped_before_its_least_end_is_never_drawn():
    n, drawn = 1000, []
    times = ro.Workers(n, ro.latency.half_normal("i", 0.1)).times(0)
    durations = times.durations
    times.durations = lambda workers, *rest: drawn.append(len(workers)) or durations(workers, *rest)
    fleet = SimulatedWorkers(Free(2), times, 0)
    for version in range(50):
        fleet.assign(np.arange(n), Gradient(X, version))
        fleet.wait()
    assert sum(drawn) < 50 * 2 * FIRST_SLICE
    assert sum(len(workers) for workers, *_ in fleet.cancelled) == 49 * (n - 1)


def test_ties_go_by_worker_across_slices_of_a_cohort():
    n = 5 * FIRST_SLICE
    fleet = fleet_of((n, "1 + floor((i - 1) / 7) * 0"))
    fleet.assign(np.arange(n), Gradient(X, 0))
    assert [worker for _, worker, _ in arrivals(fleet, 2.0)] == list(range(n))


def test_a_cohort_in_any_order_is_delivered_by_time_then_worker():
    rng = np.random.default_rng(0)
    times = rng.integers(1, 30, 1000).astype(float).tolist()
    fleet = fleet_of(times)
    fleet.assign(rng.permutation(1000), Gradient(X, 0))
    got = [(time, worker) for time, worker, _ in arrivals(fleet, 100.0)]
    assert got == sorted((time, worker) for worker, time in enumerate(times))


def test_an_event_cancelled_by_an_earlier_one_of_the_same_time_does_not_happen():
    fleet = fleet_of([1.0, 1.0, 1.0])
    fleet.assign(np.arange(3), Gradient(X, 0))
    first = fleet.wait(5.0)
    fleet.cancel(np.array([1]))
    second = fleet.wait(5.0)
    assert (first.worker, second.worker) == (0, 2)
    assert fleet.wait(5.0) is None


def test_events_at_exactly_the_limit_happen():
    fleet = fleet_of([1.0, 2.0])
    fleet.assign(np.arange(2), Gradient(X, 0))
    assert arrivals(fleet, 1.0) == [(1.0, 0, 0)]
    assert fleet.now == 1.0


def test_task_numbers_count_cancelled_tasks_too():
    fleet = fleet_of([1.0])
    for _ in range(3):
        fleet.assign(0, Gradient(X, 0))
    assert fleet.wait(5.0).number == 2
    assert [int(workers[0]) for workers, *_ in fleet.cancelled] == [0, 0]


def test_assigning_or_cancelling_an_idle_worker_leaves_no_trace():
    fleet = fleet_of([1.0, 1.0])
    fleet.cancel(np.arange(2))
    fleet.assign(0, Gradient(X, 0))
    fleet.wait(5.0)
    fleet.assign(0, Gradient(X, 0))
    assert fleet.cancelled == []


def test_one_task_each():
    fleet = fleet_of([2.0, 1.0])
    fleet.assign(np.arange(2), [Gradient(X, 7), Gradient(X, 8)])
    assert [fleet.wait(5.0).version for _ in range(2)] == [8, 7]


def test_an_alarm_comes_behind_arrivals_of_the_same_time():
    fleet = fleet_of([1.0])
    fleet.wake(1.0)
    fleet.wake(0.5)
    fleet.assign(0, Gradient(X, 0))
    found = [fleet.wait(5.0) for _ in range(3)]
    assert [(type(arrival) is Alarm, arrival.time) for arrival in found] == [(True, 0.5), (False, 1.0), (True, 1.0)]
    assert found[0].worker is None


def test_an_alarm_survives_that_everyone_starts_anew():
    fleet = fleet_of([1.0, 1.0])
    fleet.wake(0.5)
    fleet.assign(np.arange(2), Gradient(X, 0))
    fleet.assign(np.arange(2), Gradient(X, 1))
    assert fleet.wait(5.0).worker is None


def test_communication_adds_to_the_time():
    workers = ro.Workers(2, compute=[1.0, 2.0], upload=0.25, download=0.5)
    fleet = SimulatedWorkers(Free(2), workers.times(0), 0)
    fleet.assign(np.arange(2), Gradient(X, 0))
    fleet.assign(1, Gradient(X, 0, count=3))
    assert arrivals(fleet, 10.0) == [(1.75, 0, 0), (6.75, 1, 1)]


def test_infinite_times_never_arrive_and_do_not_hang():
    fleet = fleet_of([1.0, math.inf])
    fleet.assign(np.arange(2), Gradient(X, 0))
    assert arrivals(fleet, 10.0) == [(1.0, 0, 0)]
    assert fleet.is_stuck
    with pytest.raises(ro.FleetStuck) as stuck:
        fleet.wait()
    assert (stuck.value.time, stuck.value.busy, stuck.value.idle) == (10.0, 1, 1)


def test_no_slice_holds_an_infinite_end():
    fleet = fleet_of([1.0] * 10 + [math.inf] * 190)
    fleet.assign(np.arange(200), Gradient(X, 0))
    assert [fleet.wait().worker for _ in range(10)] == list(range(10))
    with pytest.raises(ro.FleetStuck):
        fleet.wait()


def test_a_fleet_whose_durations_will_all_be_infinite_is_stuck_at_once():
    fleet = fleet_of((200, {"name": "infinite_bernoulli", "base": 1.0, "probability": 1e-9}))
    fleet.defer_draws(np.ones(200))
    fleet.assign(np.arange(200), Gradient(X, 0))
    assert fleet.is_stuck


def test_busy_seconds_count_finished_cancelled_and_running_tasks():
    fleet = fleet_of([1.0, 10.0, 10.0])
    fleet.assign(np.arange(3), Gradient(X, 0))
    fleet.wait(5.0)
    fleet.cancel(np.array([1]))
    assert fleet.wait(4.0) is None
    assert fleet.busy_seconds == 1.0 + 1.0 + 4.0


def test_durations_and_samples_do_not_depend_on_the_order_of_execution():
    problem, compute = Quadratic(5, noise=1.0), ro.latency.exponential(1.0)
    one, other = (fleet_of((4, compute), problem) for _ in range(2))
    x = problem.start_point()
    for fleet, order in ((one, [0, 1, 2, 3]), (other, [3, 1, 0, 2])):
        for worker in order:
            fleet.assign(worker, Gradient(x, 0))
    for _ in range(4):
        a, b = one.wait(100.0), other.wait(100.0)
        assert (a.time, a.worker) == (b.time, b.worker)
        assert a.value.tobytes() == b.value.tobytes()


# ---- what comes next ----


@pytest.mark.parametrize("n", [3, 40, 500])
@pytest.mark.parametrize("times", ["sqrt(i)", "random"])
def test_what_is_upcoming_is_what_comes(n, times):
    compute = ro.latency.half_normal(base="sqrt(i)", scale=1.0) if times == "random" else times
    fleet = SimulatedWorkers(Free(2), ro.Workers(n, compute).times(0), 0)
    fleet.assign(np.arange(n), Gradient(X, 0))
    met = 0
    for version in range(1, 300):
        expected = fleet.upcoming(2)
        assert len(expected) == 2
        arrival = fleet.wait()
        met += expected[0] == (arrival.task, arrival.worker, arrival.number)
        fleet.assign(arrival.worker, Gradient(X, version))
    # Durations that were put off may end later than they could.
    assert met == 299 if times == "sqrt(i)" or n <= FIRST_SLICE else met > 270


def test_upcoming_tasks_are_neither_cancelled_nor_given_up():
    fleet = fleet_of([1.0, 2.0, 3.0, math.inf, 4.0])
    fleet.assign(np.arange(5), Gradient(X, 0))
    assert fleet.wait().worker == 0
    fleet.cancel(1)
    fleet.assign(2, Trial(X, 1, time_limit=2.5))
    fleet.assign(0, Series(X, 1, count=2))
    assert [(worker, number) for _, worker, number in fleet.upcoming(5)] == [(0, 1), (4, 0)]
