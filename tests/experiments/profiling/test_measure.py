"""Profiles of real Ray workers."""

from __future__ import annotations

import numpy as np
import pytest
import ray

import rayopt as ro
from benchmarks.kills import kill_one
from rayopt.core.errors import InvalidInput, ServerLost
from rayopt.experiments.profiling.measure import Plan, profile
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.failures import WorkerFailed, WorkerLost
from rayopt.problems import Quadratic

pytestmark = pytest.mark.timeout(240)
QUICK = Plan(repetitions=12, warm_up=1, transfers=3, payloads=[1000, 200_000], at_most=30.0)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    connect(None)
    yield
    ray.shutdown()


def test_emulated_times_are_found_again():
    told = []
    durations = profile(
        Quadratic(50), ro.Workers(3, [0.01, 0.02, 0.03]), plan=QUICK, on_progress=lambda *state: told.append(state)
    )
    compute = durations.of("compute")
    for worker, seconds in compute.items():
        assert len(seconds) == 12
        # Never early; on a busy machine now and then late.
        assert seconds.min() >= 0.01 * (worker + 1) - 1e-6
        assert np.median(seconds) == pytest.approx(0.01 * (worker + 1), rel=0.5)
    assert durations.sizes("upload") == durations.sizes("download") == [400, 1000, 200_000]
    for kind in ("upload", "download"):
        for size in durations.sizes(kind):
            assert {worker: len(own) for worker, own in durations.of(kind, size).items()} == {0: 3, 1: 3, 2: 3}
            assert all((own >= 0).all() and own.max() < 5 for own in durations.of(kind, size).values())
    assert told[0] == ("transfers", 0, 3)
    assert told[-1] == ("gradients", 36, 36)
    assert durations.header["payload"] == "400"
    assert durations.header["units"] == "seconds, bytes"
    assert durations.header["workers"] == "3, compute emulated, fixed(times=[0.01, 0.02, 0.03])"
    assert "processor of workers 0 to 2" in durations.header


def test_full_speed_and_fleet_seconds():
    durations = profile(Quadratic(50), ro.Workers(2, "measured"), plan=QUICK)
    assert all(0 < np.median(seconds) < 0.1 for seconds in durations.of("compute").values())
    assert "at full speed" in durations.header["workers"]
    slow = profile(Quadratic(5), ro.Workers(1, 2.0), ro.RayFleet(time_scale=0.02), QUICK)
    assert np.median(slow.of("compute")[0]) == pytest.approx(2.0, rel=0.5)


def test_emulated_links_are_left_out():
    durations = profile(Quadratic(5), ro.Workers(1, 0.001, upload=0.5), plan=QUICK)
    assert np.median(durations.of("compute")[0]) < 0.25


class Broken(Quadratic):
    """Fails on every gradient."""

    def gradient(self, x, sample, checkpoint=None):
        raise ZeroDivisionError("by design")


def test_a_gradient_that_fails():
    with pytest.raises(WorkerFailed, match=r"(?s)worker 0 raised an error.*by design"):
        profile(Broken(3), ro.Workers(1, "measured"), plan=QUICK)


@pytest.mark.parametrize(
    ("done", "actor", "lost", "whose"),
    [
        (0, "Worker", WorkerLost, "worker 0"),
        (1, "Worker", WorkerLost, "worker 0"),
        (0, "Server", ServerLost, "the server"),
    ],
    ids=["before its transfers", "after its transfers", "the server"],
)
def test_a_process_that_dies(done, actor, lost, whose):
    killed = []

    def kill(*state):
        if state == ("transfers", done, 1):
            killed.append(kill_one((actor,)))

    with pytest.raises(lost, match=f"^the process of {whose} died"):
        profile(Quadratic(3), ro.Workers(1, 0.05), plan=QUICK, on_progress=kill)
    assert killed == [True]


def test_a_worker_that_never_ends():
    plan = Plan(repetitions=5, transfers=1, payloads=[], at_most=1.0)
    with pytest.raises(InvalidInput, match=r"at_most: worker 1 finished no gradient in 1 s"):
        profile(Quadratic(3), ro.Workers(2, [0.001, np.inf]), plan=plan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repetitions": 0}, "repetitions: 0 is not an integer of at least 1"),
        ({"warm_up": 0}, "warm_up: 0"),
        ({"transfers": True}, "transfers: True"),
        ({"payloads": [0]}, "payloads: 0"),
        ({"at_most": 0}, "at_most: 0 is not a positive number"),
    ],
)
def test_bad_plans(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Plan(**arguments)


@pytest.mark.parametrize(
    ("fleet", "message"),
    [
        (ro.RayFleet(workers_per_actor=2), r"fleet\.workers_per_actor: 2 workers share a process"),
        (ro.SimulatedFleet(), "fleet: 'simulated' is unknown; allowed: ray"),
    ],
)
def test_fleets_that_cannot_be_measured(fleet, message):
    with pytest.raises(InvalidInput, match=message):
        profile(Quadratic(3), ro.Workers(2, "measured"), fleet)
