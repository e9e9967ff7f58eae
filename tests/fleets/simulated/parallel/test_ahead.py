"""Virtual order, parallel gradients: the bits of one process, from several."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import ray
from threadpoolctl import ThreadpoolController, threadpool_info

import rayopt as ro
from benchmarks.kills import kill_one
from rayopt import methods
from rayopt.compression import QSGD, RandK, TopK
from rayopt.core.tasks import Gradient
from rayopt.fleets.base import Job
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.nodes import Node
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.fleets.simulated.parallel import calculators as module
from rayopt.fleets.simulated.parallel.ahead import AHEAD, KEPT, ParallelSession, ParallelValues
from rayopt.fleets.simulated.parallel.calculators import Calculators
from rayopt.fleets.simulated.session import SimulatedSession
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.problems import Free, LogisticRegression, Quadratic
from rayopt.runs.record import Record
from rayopt.storage.trace.rows import TRACE
from tests.acting import asgd_that
from tests.fleets.ray.ray_sessions import Slow

N = 6
WORKERS = ro.Workers(N, ro.latency.half_normal(base="sqrt(i)", scale=0.5))
pytestmark = pytest.mark.timeout(240)
ENDS_CLUSTER = True


@pytest.fixture(scope="module")
def calculators(cluster):
    pool = Calculators(2)
    yield pool
    pool.close()


def run(session, method, until, seed=0):
    """Returns the outcome, the trace and the last point."""
    record = Record(metrics=(), trace="all").resolve((), until)
    chunks = [np.zeros(0, dtype=TRACE)]
    job = Job(method.fresh(), seed, until, record)
    outcome = session.run(job, lambda rows: chunks.append(rows.copy()), lambda progress: None)
    return outcome, np.concatenate(chunks), job.method.x


def parallel(calculators, problem, workers=WORKERS):
    return ParallelSession(problem, workers, calculators, lambda: None)


DIGITS = LogisticRegression.digits(batch=4)
SPLIT = LogisticRegression.digits(batch=4, partition={"name": "labels", "shards_per_worker": 2})


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (methods.ASGD(0.1), DIGITS),
        (methods.ASGD([0.1, 0.2]), DIGITS),
        (methods.ASGD(0.1), Quadratic(20_000, noise=0.1)),
        (methods.Ringmaster(0.2, threshold=3), DIGITS),
        (methods.Ringmaster(0.2, threshold=3, interrupt=True), DIGITS),
        (methods.Rennala(0.5, batch_size=4), DIGITS),
        (methods.Malenia(0.5, batch_size=8), SPLIT),
        (methods.FedAvg(0.1, local_steps=3), SPLIT),
        (methods.FedBuff(0.1, local_steps=2, buffer_size=3), SPLIT),
        (methods.Ringleader(0.1), SPLIT),
        (methods.Ringleader(0.1), Quadratic(30)),
        (methods.Shadowheart(0.1, RandK(5), noise_ratio=2.0, max_messages=3), DIGITS),
        (methods.AdaptiveShadowheart(0.1, RandK(5), noise_ratio=2.0), DIGITS),
        (methods.EF21SGDM(0.1, TopK(5), momentum=0.3), SPLIT),
        (methods.Minibatch(0.1, compressor=QSGD(4)), DIGITS),
    ],
    ids=repr,
)
def test_the_bits_are_those_of_one_process(calculators, method, problem):
    until = ro.Until(time=12)
    here, rows, x = run(SimulatedSession(problem, WORKERS), method, until, seed=3)
    there, other_rows, other_x = run(parallel(calculators, problem), method, until, seed=3)
    assert here.updates == there.updates > 0
    # Cancelled tasks were completed at NaN, which equals nothing but its own bits.
    assert other_rows.tobytes() == rows.tobytes()
    np.testing.assert_array_equal(other_x, x)


def test_little_is_computed_in_vain(calculators):
    session = parallel(calculators, DIGITS)
    asgd, _, _ = run(session, methods.ASGD(0.1), ro.Until(time=20))
    assert asgd.counts.used == asgd.requested - asgd.wasted
    assert asgd.wasted == AHEAD * 2
    ringmaster, _, _ = run(session, methods.Ringmaster(0.1, threshold=2), ro.Until(time=20))
    assert ringmaster.counts.ignored > 10
    assert ringmaster.wasted < ringmaster.counts.ignored
    # What belongs to a batch is one product, made when the batch is full: here.
    rennala, _, _ = run(session, methods.Rennala(0.1, batch_size=4), ro.Until(time=20))
    assert rennala.requested == 0


def numpy_blas():
    """NumPy's library for products of matrices; SciPy brings another one."""
    return next(library for library in ThreadpoolController().lib_controllers if "numpy" in library.filepath)


class CountingThreads(Quadratic):
    """Its gradients say how many threads NumPy multiplies matrices with."""

    def gradient(self, x, sample, checkpoint=None):
        return np.full(x.shape, numpy_blas().num_threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_libraries_have_as_many_threads_as_here(calculators, threads):
    problem, library = CountingThreads(4), numpy_blas()
    before = library.num_threads
    try:
        library.set_num_threads(threads)
        calculators.load(problem, N, 0)
    finally:
        library.set_num_threads(before)
    there = calculators.collect(calculators.value(Gradient(problem.start_point(), 0), 0, 0))
    assert there.tolist() == [threads] * 4


# ---- faults ----


class Deadly(Quadratic):
    """Kills the process that computes its gradient, unless the file exists; makes the file first if it is to."""

    def __init__(self, path: Path, once: bool) -> None:
        super().__init__(5)
        self.path, self.once = path, once

    def gradient(self, x, sample, checkpoint=None):
        if not self.path.exists():
            if self.once:
                self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().gradient(x, sample, checkpoint)


def test_a_process_that_dies_is_started_again(cluster, tmp_path):
    problem = Deadly(tmp_path / "died", once=True)
    with ParallelSession(problem, WORKERS, Calculators(2), lambda: None) as session:
        outcome, rows, x = run(session, methods.ASGD(0.1), ro.Until(updates=20))
    assert problem.path.exists()
    # Two processes may have seen that the file is not there.
    assert 1 <= outcome.faults.restarts <= 2
    _, same_rows, same_x = run(SimulatedSession(problem, WORKERS), methods.ASGD(0.1), ro.Until(updates=20))
    assert rows.tobytes() == same_rows.tobytes()
    np.testing.assert_array_equal(x, same_x)


def test_killed_again_and_again_from_outside(cluster):
    """More often than one piece of work may kill its process: what counts is that work gets done in between."""
    problem, until, killed = Slow(5), ro.Until(updates=300), []
    kills = {updates: lambda: killed.append(kill_one(("Calculator",))) for updates in range(40, 280, 40)}
    with ParallelSession(problem, WORKERS, Calculators(2), lambda: None) as session:
        _, rows, x = run(session, asgd_that(kills), until)
    assert killed.count(True) > module.RETRIES
    _, same_rows, same_x = run(SimulatedSession(Quadratic(5), WORKERS), methods.ASGD(0.1), until)
    assert rows.tobytes() == same_rows.tobytes()
    np.testing.assert_array_equal(x, same_x)


def test_a_task_that_kills_every_process_is_an_error(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", 0)
    problem = Deadly(tmp_path / "never", once=False)
    with (
        ParallelSession(problem, WORKERS, Calculators(1), lambda: None) as session,
    ):
        with pytest.raises(WorkerLost, match="died 1 times over the same work"):
            run(session, methods.ASGD(0.1), ro.Until(updates=20))
        # What it had asked for is forgotten: the next run, of the same seed, does not die of it.
        problem.path.touch()
        _, rows, _ = run(session, methods.ASGD(0.1), ro.Until(updates=20))
    _, same_rows, _ = run(SimulatedSession(problem, WORKERS), methods.ASGD(0.1), ro.Until(updates=20))
    assert rows.tobytes() == same_rows.tobytes()


class Broken(Quadratic):
    """Fails where x has left the start."""

    def gradient(self, x, sample, checkpoint=None):
        if np.any(x != self.start_point()):
            raise ZeroDivisionError("by design")
        return super().gradient(x, sample, checkpoint)


def test_an_error_of_the_problem_is_raised_as_it_is(calculators):
    for session in (SimulatedSession(Broken(3), WORKERS), parallel(calculators, Broken(3))):
        with pytest.raises(ZeroDivisionError, match="by design"):
            run(session, methods.ASGD(0.1), ro.Until(updates=50))


def test_a_seed_that_could_not_be_loaded_leaves_nothing_behind(calculators, monkeypatch):
    session, until = parallel(calculators, DIGITS), ro.Until(updates=30)
    _, _, x = run(session, methods.ASGD(0.1), until, seed=0)
    with monkeypatch.context() as broken:
        broken.setattr(calculators, "collect", lambda answer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(session, methods.ASGD(0.1), until, seed=1)
    _, _, again = run(session, methods.ASGD(0.1), until, seed=0)
    np.testing.assert_array_equal(again, x)


class VerySlow(Quadratic):
    """Takes longer for a gradient, or to be loaded, than anyone waits who wants to stop."""

    def __init__(self, where: str) -> None:
        super().__init__(3, noise=0.1)
        self.where = where

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.where == "load":
            time.sleep(20)

    def gradient(self, x, sample, checkpoint=None):
        if np.any(x != self.start_point()):
            time.sleep(20)
        return super().gradient(x, sample, checkpoint)


def test_the_end_does_not_wait_for_a_slow_gradient(cluster):
    fleet = ro.SimulatedFleet(gradients="ray", processes=2)
    began = time.monotonic()
    signalled = asgd_that({1: lambda: os.kill(os.getpid(), signal.SIGTERM)})
    result = ro.run(signalled, VerySlow("gradient"), WORKERS, until=ro.Until(updates=50), fleet=fleet)
    assert time.monotonic() - began < 15
    (summary,) = result.summary["runs"]
    assert summary["ended_by"] == "interrupted"
    assert len(result.trace) == summary["arrivals"] > 0


def test_the_end_does_not_wait_for_a_slow_load(cluster):
    fleet = ro.SimulatedFleet(gradients="ray", processes=2)
    threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ro.run(methods.ASGD(0.1), VerySlow("load"), WORKERS, until=ro.Until(updates=50), fleet=fleet)
    assert time.monotonic() - began < 15


def test_ctrl_c_ends_the_run_and_keeps_the_record(cluster):
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))

    class Interrupted(methods.ASGD):
        name = "interrupted"

        def start(self, fleet):
            timer.start()
            super().start(fleet)

    fleet = ro.SimulatedFleet(gradients="ray", processes=2)
    result = ro.run(Interrupted(0.1), Slow(3), WORKERS, until=ro.Until(updates=100_000), fleet=fleet)
    (summary,) = result.summary["runs"]
    assert summary["ended_by"] == "interrupted"
    assert len(result.trace) == summary["arrivals"] > 0
    assert "that were not needed: Interrupted" in result.summary["notes"][0]
    assert ray.is_initialized()


# ---- what is requested, and when ----


class TaskExecutor:
    """Calculators in this process, which note what was requested."""

    actors = (None, None)

    def __init__(self, problem):
        self.values = ComputedValues(problem, N, 0)
        self.requested = []

    def value(self, task, worker, number):
        self.requested.append((worker, number))
        return lambda: self.values.value_of(task, worker, number)

    def collect(self, reference):
        return reference()


def executor_and_fleet(times, would_use=lambda task, later: True):
    fleet = SimulatedWorkers(Free(2), ro.Workers(N, times).times(0), 0)
    executor = TaskExecutor(Free(2))
    fleet.source = ParallelValues(Free(2), N, 0, executor, fleet.upcoming, would_use)
    return executor, fleet


def test_the_next_arrivals_are_requested_first():
    executor, fleet = executor_and_fleet("i")
    fleet.assign(np.arange(N), Gradient(np.zeros(2), 0))
    first = fleet.wait()
    assert executor.requested == []
    assert first.value is not None
    assert executor.requested == [(worker, 0) for worker in range(1 + 2 * AHEAD)]
    fleet.assign(0, Gradient(np.zeros(2), 1))
    # Worker 0 ends again at 2, behind worker 1 only by number.
    second = fleet.wait()
    assert second.worker == 0
    assert second.value is not None
    assert executor.requested[1 + 2 * AHEAD :] == [(0, 1)]


def test_what_would_be_ignored_is_not_requested():
    seen = []

    def would_use(task, later):
        seen.append(later)
        return later < 3

    executor, fleet = executor_and_fleet("i", would_use)
    fleet.assign(np.arange(N), Gradient(np.zeros(2), 0))
    assert fleet.wait().value is not None
    assert seen == [1, 2, 3, 3]
    assert executor.requested == [(0, 0), (1, 0), (2, 0)]


def test_what_nobody_asks_for_is_forgotten():
    executor, fleet = executor_and_fleet("i")
    fleet.assign(np.arange(N), Gradient(np.zeros(2), 0))
    values = fleet.source
    for version in range(1, 40):
        # Two new tasks for everyone for each value that is asked for: what was requested ahead never arrives.
        assert fleet.wait().value is not None
        fleet.assign(np.arange(N), Gradient(np.zeros(2), version))
        fleet.assign(np.arange(N), Gradient(np.zeros(2), version))
    assert values.requested == len(executor.requested)
    assert values.taken == 39
    assert values.wasted > 100
    assert len(values._answers) <= KEPT * 2 * AHEAD


@pytest.mark.parametrize(
    ("cpus", "count", "expected"),
    [([4, 2], 6, "aaaabb"), ([4, 2], 3, "aab"), ([1, 1], 2, "ab"), ([0, 2], 3, "bbb"), ([0], 2, "aa")],
)
def test_nodes_get_processes_as_they_have_cpus(cpus, count, expected):
    nodes = [
        Node(name, "", False, {}, {"CPU": float(has)} if has else {}) for name, has in zip("ab", cpus, strict=False)
    ]
    assert "".join(module.distribute(count, nodes)) == expected


# ---- the fleet's arguments ----


class Counting(Quadratic):
    """Its gradient has the number of threads of BLAS in every coordinate."""

    def gradient(self, x, sample, checkpoint=None):
        threads = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return np.full(x.shape, float(threads))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_products(calculators, threads):
    here = SimulatedSession(Counting(3), WORKERS, threads)
    there = ParallelSession(Counting(3), WORKERS, calculators, lambda: None, threads)
    before = threadpool_info()
    for session in (here, there):
        _, _, x = run(session, methods.ASGD(1.0), ro.Until(updates=4))
        assert np.allclose(Counting(3).start_point() - x, 4 * threads)
    assert threadpool_info() == before


def test_the_fleet_in_a_file():
    fleet = ro.SimulatedFleet(gradients="ray", processes=2)
    assert fleet.to_config() == {"name": "simulated", "gradients": "ray", "processes": 2}
    assert repr(fleet) == "SimulatedFleet(gradients='ray', processes=2)"
    assert ro.SimulatedFleet().to_config() == {"name": "simulated"}
    assert ro.SimulatedFleet(blas_threads=2).to_config() == {"name": "simulated", "blas_threads": 2}


@pytest.mark.parametrize(
    ("arguments", "key", "text"),
    [
        ({"gradients": "rey"}, "gradients", "did you mean 'ray'"),
        ({"gradients": "ray", "processes": 0}, "processes", "at least 1"),
        ({"processes": 2}, "processes", "gradients: ray"),
        ({"address": "auto"}, "address", "gradients: ray"),
        ({"gradients": "ray", "address": 5}, "address", "is not an address"),
        ({"blas_threads": 0}, "blas_threads", "at least 1"),
    ],
)
def test_bad_arguments(arguments, key, text):
    with pytest.raises(ro.InvalidInput, match=text) as caught:
        ro.SimulatedFleet(**arguments)
    assert caught.value.key == key
