"""What holds for every power over time."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rayopt as ro
from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient, Series, Trial
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.problems import Free

N = 5
POWERS = {
    "power": lt.power([0, 4, 6, 7.5], [1, 0, "1 / i", [2, 0, 1, 1, 3]], times="sqrt(i)"),
    "power again and again": lt.power([0, 4, 6], ["i", 0, 0.5], period=9, times=2),
    "outages": lt.outages("sqrt(i)", period="8 + i", length="i / 2", phase="3 * i"),
    "day_and_night": lt.day_and_night("sqrt(i)", period=20, low=[0, 0.1, 0.5, 1, 2], high=2, phase="3 * i"),
    "drift": lt.drift("sqrt(i)", final="i / 3", over="10 * i"),
    "exponential_drift": lt.exponential_drift("sqrt(i)", final="i / 3", over="10 * i"),
    "markov": lt.markov("sqrt(i)", slow=[0, 0.1, 0.2, 0.5, 1], fast_mean=10, slow_mean=5),
    "permuted": lt.permuted(lt.outages("i", period=10, length=3), seed=1),
    "groups": lt.groups([lt.fixed("i"), lt.outages("i", period=10, length=3)]),
}
CONSTANT = {
    "power": lt.power([0], [1], times="sqrt(i)"),
    "power in pieces": lt.power([0, 1, 2.5], [1, 1, 1], period=7, times="sqrt(i)"),
    "outages": lt.outages("sqrt(i)", period=3, length=0, phase="i"),
    "day_and_night": lt.day_and_night("sqrt(i)", period=20, low=1),
    "drift": lt.drift("sqrt(i)", final=1, over=10),
    "exponential_drift": lt.exponential_drift("sqrt(i)", final=1, over=10),
    "markov": lt.markov("sqrt(i)", slow=1, fast_mean=10, slow_mean=5),
}
EVERYONE = np.arange(N)
STARTS = st.floats(0, 1e4)
COSTS = st.floats(1e-3, 50)


def stream(seed=0):
    return Stream(seed, "compute")


def close(first, second, scale):
    return first == second or abs(first - second) <= 1e-9 * max(scale, 1.0)


@pytest.mark.parametrize("name", POWERS)
class TestContract:
    def test_one_has_the_bits_of_many(self, name):
        many, one = POWERS[name].bind(N, stream()), POWERS[name].bind(N, stream())
        workers, numbers = np.tile(EVERYONE, 40), np.arange(40 * N)
        starts = np.random.default_rng(0).uniform(0, 200, 40 * N)
        alone = [
            one.duration(worker, number, start, 2.5)
            for worker, number, start in zip(workers.tolist(), numbers.tolist(), starts.tolist(), strict=True)
        ]
        assert many.durations(workers, numbers, starts, 2.5).tobytes() == np.array(alone).tobytes()
        same_start = many.durations(EVERYONE, EVERYONE, 7.25)
        assert same_start.tolist() == [one.duration(worker, 0, 7.25) for worker in range(N)]
        assert type(one.duration(0, 0, 0.0)) is float

    def test_the_order_of_the_questions_does_not_matter(self, name):
        forward, backward = POWERS[name].bind(N, stream(3)), POWERS[name].bind(N, stream(3))
        asked = [(worker, start) for start in (0.0, 3.0, 55.5, 1000.0) for worker in range(N)]
        found = {pair: forward.duration(pair[0], 0, pair[1]) for pair in asked}
        assert {pair: backward.duration(pair[0], 0, pair[1]) for pair in reversed(asked)} == found

    def test_what_it_says_of_itself(self, name):
        bound = POWERS[name].bind(N, stream())
        assert bound.fixed is None
        assert bound.depends_on_start
        assert bound.expected.shape == bound.least.shape == (N,)
        assert (bound.least <= bound.expected).all()

    def test_config_round_trip(self, name):
        family = POWERS[name]
        copy = lt.latency(yaml.safe_load(yaml.safe_dump(family.to_config())))
        assert copy == family
        assert hash(copy) == hash(family)
        assert repr(copy) == repr(family)

    def test_pickle(self, name):
        bound = POWERS[name].bind(N, stream(2))
        bound.durations(EVERYONE, EVERYONE, 500.0)
        copy = pickle.loads(pickle.dumps(bound))
        assert copy.durations(EVERYONE, EVERYONE, 3.0).tolist() == bound.durations(EVERYONE, EVERYONE, 3.0).tolist()

    @given(worker=st.integers(0, N - 1), start=STARTS, first=COSTS, second=COSTS)
    # Ends where an outage begins, but for a rounding error.
    @example(worker=3, start=4.4, first=4.4, second=4.4)
    @settings(max_examples=60)
    def test_work_done_one_after_the_other(self, name, worker, start, first, second):
        bound = POWERS[name].bind(N, stream())
        one = bound.duration(worker, 0, start, first)
        both = bound.duration(worker, 0, start, first + second)
        assert both >= one >= first * bound.least[worker]
        if one < math.inf:
            two = one + bound.duration(worker, 0, start + one, second)
            done = bound.work_done(start + one)[worker] - bound.work_done(start)[worker]
            assert done == pytest.approx(first, rel=1e-6, abs=1e-6)
            if both < math.inf and not standing_still(bound, worker, start + both):
                assert close(two, both, start + both)


def standing_still(bound, worker, time):
    """Whether the power is so small before or after a time that rounding of the work done moves the end of a task."""
    before, at, after = (bound.work_done(max(time + step, 0.0))[worker] for step in (-1e-4, 0.0, 1e-4))
    return min(at - before, after - at) < 1e-6


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_power_is_a_fixed_duration(name):
    bound, fixed = CONSTANT[name].bind(N, stream()), lt.fixed("sqrt(i)").bind(N, stream())
    for start in (0.0, 1.0, 33.3, 1e4):
        for cost in (0.5, 1.0, 20.0):
            durations = bound.durations(EVERYONE, EVERYONE, start, cost)
            np.testing.assert_allclose(durations, cost * fixed.fixed, rtol=1e-9)
    np.testing.assert_allclose(bound.expected, fixed.fixed, rtol=1e-15)
    np.testing.assert_allclose(bound.work_done(12.0), fixed.work_done(12.0), rtol=1e-12)


def test_one_stretch_has_the_bits_of_fixed(simulate):
    def run(compute):
        return simulate(ro.methods.ASGD(step_size=0.1), times=compute, n=7, until=ro.Until(time=40)).events

    assert run(lt.power([0], [1], times="sqrt(i)")) == run(lt.fixed("sqrt(i)"))


@pytest.mark.parametrize("name", [name for name in POWERS if name != "groups"])
def test_there_is_no_law_without_a_start(name):
    with pytest.raises(InvalidInput, match="depend on the start"):
        POWERS[name].bind(N, stream()).probability_within(np.ones(N))
    times = ro.Workers(N, POWERS[name]).times(0)
    assert times.depends_on_start
    assert times.probability_within(np.ones(N)) is None
    assert times.quantile(0.5) is None


def test_dead_workers():
    for family in (
        lt.power([0], [1], times=[1, math.inf]),
        lt.outages([1, math.inf], period=2, length=1),
        lt.day_and_night([1, math.inf], period=2, low=0),
        lt.drift([1, math.inf], final=1, over=1),
        lt.exponential_drift([1, math.inf], final=1, over=1),
        lt.markov([1, math.inf], slow=0, fast_mean=1, slow_mean=1),
    ):
        bound = family.bind(2, stream())
        assert bound.durations(np.arange(2), np.arange(2), 0.0)[1] == math.inf
        assert bound.expected[1] == bound.least[1] == math.inf
        assert bound.work_done(5.0)[1] == 0.0


def test_theory_takes_the_work_done():
    """Together worker 1 (1 s, standing still from 4 to 6) and worker 2 (3 s) finish 4 gradients at 3, 4 more at 8."""
    from rayopt.theory.universal import homogeneous_rounds

    bound = lt.groups([lt.outages(1, period=10, length=2, phase=4), lt.fixed(3)]).bind(2, stream())
    np.testing.assert_allclose(homogeneous_rounds(bound.work_done, 4, 2), [0.0, 3.0, 8.0])


class TestWorkers:
    def test_computing_starts_after_the_download(self):
        workers = ro.Workers(1, lt.outages(2, period=10, length=4, phase=6), download=5.0, upload=1.0)
        times = workers.times(0)
        assert times.duration(0, 0, 0.0, 1.0) == 5 + 1 + 4 + 1 + 1
        assert times.durations(np.array([0]), np.array([0]), 0.0, 1.0).tolist() == [12.0]
        assert times.duration(0, 0, 7.0, 1.0) == 5 + 2 + 1
        assert times.least.tolist() == [8.0]

    def test_links_may_have_outages_too(self):
        times = ro.Workers(1, 2.0, upload=lt.outages(1, period=10, length=4, phase=2)).times(0)
        assert times.duration(0, 0, 0.0, 1.0) == 2 + 4 + 1


class TestVirtualTime:
    def test_arrivals_by_hand(self, simulate):
        """Worker 1 stands still from 4 to 6, worker 2 from 5 to 7, in every 10 seconds."""
        compute = lt.outages([1, 3], period=10, length=2, phase=[4, 5])
        ran = simulate(ro.methods.ASGD(step_size=0.1), times=compute, n=2, until=ro.Until(time=15))
        assert [(time, worker) for time, worker, *_ in ran.events] == [
            (1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (7, 1), (8, 1), (8, 2), (9, 1), (10, 1), (11, 1), (11, 2),
            (12, 1), (13, 1), (14, 1), (14, 2),
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["outages", "markov", "drift"])
    def test_durations_that_are_put_off_know_their_start(self, name):
        """So many workers that durations are drawn late, half of them stopped again and again."""
        n = 300
        families = {
            "outages": lt.outages("sqrt(i)", period=9, length=2, phase="i"),
            "markov": lt.markov("sqrt(i)", slow=0.1, fast_mean=10, slow_mean=5),
            "drift": lt.drift("sqrt(i)", final=0.5, over=30),
        }
        found = []
        for puts_off in (True, False):
            fleet = SimulatedWorkers(Free(2), ro.Workers(n, families[name]).times(0), 0)
            if not puts_off:
                fleet._bounds = fleet._least = None
            events = []
            for version in range(30):
                chosen = np.flatnonzero(np.random.default_rng(version).random(n) < 0.5)
                fleet.assign(chosen, Gradient(np.zeros(2), version))
                while (arrival := fleet.wait(9.0 * version)) is not None:
                    events.append((arrival.time, arrival.worker, arrival.number))
                    fleet.assign(arrival.worker, arrival.task)
            found.append(events)
        assert len(found[0]) > 250
        assert found[0] == found[1]

    def test_a_time_limit_on_a_task_counts_the_outage(self):
        times = ro.Workers(1, lt.outages(1, period=10, length=2, phase=4)).times(0)
        fleet = SimulatedWorkers(Free(2), times, 0)
        x = np.zeros(2)
        for start, ok, end in ((0.0, True, 1.0), (3.5, False, 5.0)):
            fleet.wake(start - fleet.now)
            fleet.wait()
            fleet.assign(0, Trial(x, 0, 1.5))
            arrival = fleet.wait()
            assert (arrival.ok, arrival.time) == (ok, end)

    def test_gradients_one_after_the_other(self):
        times = ro.Workers(1, lt.outages(1, period=10, length=2, phase=4)).times(0)
        assert times.seconds(Series(np.zeros(2), 0, 3), 0, 0, 2.5) == 5.0

    @pytest.mark.parametrize(
        "compute",
        [
            lt.power([0, 10], [1, 0], times="i"),
            lt.drift("i", final=0, over=21),
            lt.exponential_drift("i", final=0, over=10.5),
            lt.outages("i", period=1, length=1),
        ],
    )
    def test_a_power_that_ends_is_a_stuck_fleet(self, simulate, compute):
        method = ro.methods.ASGD(step_size=0.1)
        with pytest.raises(ro.FleetStuck) as caught:
            simulate(method, times=compute, n=3, until=ro.Until(updates=1000))
        assert caught.value.busy == 3
        assert caught.value.time < 40.0
        ran = simulate(ro.methods.ASGD(step_size=0.1), times=compute, n=3, until=ro.Until(time=500))
        assert ran.outcome.was_stuck
        assert ran.outcome.ended_by == "time"
        # No worker computes more than what its power allows.
        capacity = np.floor(compute.bind(3, stream()).work_done(500.0) + 1e-9)
        assert [sum(event[1] == worker for event in ran.events) for worker in (1, 2, 3)] == capacity.tolist()


def test_real_time_waits_for_the_outage():
    """A worker knows from the start of its task in fleet seconds when it is due."""
    from rayopt.fleets.ray.messages import Order, Profile
    from rayopt.fleets.ray.worker import TaskExecutor

    executor = TaskExecutor()
    times = ro.Workers(1, lt.outages(1, period=10, length=2, phase=4)).times(0)
    executor.load(Profile(Free(2), times, 0, time_scale=0.5), shares_clock=True, warm_up=False)
    task = Gradient(np.zeros(2), 0)
    for assigned_at, seconds in ((0.0, 1.0), (3.5, 3.0), (5.0, 2.0)):
        order = Order(0, 1, 0, task, assigned_at, sent_at=100.0)
        assert executor.due_at(order) == (100.0 + 0.5 * seconds, True)
