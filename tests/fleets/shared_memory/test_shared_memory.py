"""Real processes on one x: no update is lost, runs repeat and end, and no memory stays behind."""

from __future__ import annotations

import importlib.util
import threading
import time
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest
import ray

import rayopt as ro
from rayopt import methods
from rayopt.core.keys import Stream
from rayopt.fleets.base import Job
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.shared_memory.fleet import SharedMemorySession
from rayopt.fleets.shared_memory.monitor import Snapshots
from rayopt.problems import Quadratic, SparseLogisticRegression
from rayopt.runs.record import Record

pytest.importorskip("numba", reason="Hogwild's loops need Numba")
pytestmark = pytest.mark.timeout(240)
ENDS_CLUSTER = True

FAR = 2.0**40
WORKERS = ro.Workers(2, 1.0)
ACCESSES = ("free", "locked", "serial")


class Counting(SparseLogisticRegression):
    """So far out that every slope is 1: the first row adds exactly 1 to x_0, the second takes 1 from x_1."""

    def __init__(self):
        super().__init__(np.eye(2), [1, 0])

    def start_point(self):
        return np.array([-FAR, FAR])


class Opened:
    """A session on one problem, and a way to run a job on it."""

    def __init__(self, problem):
        self.problem = problem
        self.session = SharedMemorySession(problem, WORKERS)

    def run(self, method, until, seed=0, metrics=(), every=None):
        record = Record(metrics=metrics, every=every).resolve(self.problem.metric_names, until)
        return self.session.run(Job(method, seed, until, record), lambda rows: None, lambda progress: None)


@pytest.fixture(scope="module")
def sparse(cluster):
    opened = Opened(SparseLogisticRegression.synthetic(rows=2000, features=500, nonzeros_per_row=5, l2=1e-4))
    yield opened
    opened.session.__exit__(None, None, None)


@pytest.fixture(scope="module")
def counting(cluster):
    opened = Opened(Counting())
    yield opened
    opened.session.__exit__(None, None, None)


def exists(name):
    try:
        SharedMemory(name).close()
    except FileNotFoundError:
        return False
    return True


# ---- what is computed ----


@pytest.mark.parametrize("access", ACCESSES)
def test_no_update_is_lost(counting, access):
    # On a busy machine the second process needs a while before it takes part.
    method, updates = methods.Hogwild(1.0, access), 500_000 if access == "serial" else 5_000_000
    outcome = counting.run(method, ro.Until(updates=updates), seed=3)
    counts = counting.session._segment.counts()
    assert outcome.updates == outcome.counts.arrivals == counts.sum() == updates
    assert (counts > 0).all() == (access != "serial")
    added, taken = method.x[0] + FAR, FAR - method.x[1]
    assert added + taken == updates
    # Which row an update draws is a function of (seed, worker, number).
    stream = Stream(3, "sample")
    drawn = [counting.problem.draw_many(np.full(c, w), stream.keys_of(w, 0, int(c))) for w, c in enumerate(counts) if c]
    assert added == np.count_nonzero(np.concatenate(drawn) == 0)


def test_serial_is_asgd_of_one_worker(sparse, simulate):
    method, until = methods.Hogwild(0.5, "serial"), ro.Until(updates=3000)
    sparse.run(method, until, seed=5)
    virtual = simulate(methods.Hogwild(0.5), sparse.problem, 1.0, until, seed=5, n=1)
    np.testing.assert_allclose(method.x, virtual.method.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("given", [
    ro.schedules.backoff(0.5, over=500), [ro.schedules.warmup(over=100) * ro.schedules.cosine(0.5, over=2000)],
])  # fmt: skip
def test_a_schedule_counts_updates_as_asgd_of_one_worker_does(sparse, simulate, given):
    method, until = methods.Hogwild(given, "serial"), ro.Until(updates=6000)
    sparse.run(method, until, seed=5)
    virtual = simulate(methods.Hogwild(given), sparse.problem, 1.0, until, seed=5, n=1)
    found, expected = np.atleast_2d(method.x), np.atleast_2d(virtual.method.x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_schedule_counts_the_updates_of_all_workers(counting):
    # What updates behind the first 100,000 add is lost in rounding.
    method = methods.Hogwild(ro.schedules.step(1.0, every=100_000, factor=1e-9))
    assert counting.run(method, ro.Until(updates=5_000_000)).updates == 5_000_000
    assert (method.x[0] + FAR) + (FAR - method.x[1]) == 100_000


def test_a_schedule_by_time(counting):
    method = methods.Hogwild(ro.schedules.step(1.0, every=0.3, factor=1e-9, by="time"), "serial")
    outcome = counting.run(method, ro.Until(time=1.5))
    assert 0 < (method.x[0] + FAR) + (FAR - method.x[1]) < 0.9 * outcome.updates


def test_serial_repeats_to_the_bit(sparse):
    until, found = ro.Until(updates=50_001), set()
    for seed in (7, 7, 8):
        method = methods.Hogwild(0.5, "serial")
        assert sparse.run(method, until, seed).updates == 50_001
        found.add(method.x.tobytes())
    assert len(found) == 2


@pytest.mark.parametrize("access", ACCESSES)
def test_loss_falls(sparse, access):
    outcome = sparse.run(methods.Hogwild(0.2, access), ro.Until(updates=100_000), metrics=("value",))
    assert outcome.rows[0]["value"] == pytest.approx(np.log(2))
    assert outcome.rows[-1]["value"] < 0.75 * np.log(2)
    assert outcome.ended_by == "updates"
    assert 0 < outcome.time == outcome.wall_seconds
    assert outcome.busy_seconds < 2.001 * outcome.wall_seconds


# ---- when rows are written and a run ends ----


def test_rows_until_a_time(sparse):
    outcome = sparse.run(methods.Hogwild(0.1), ro.Until(time=0.4), metrics=("value",), every=0.1)
    assert [row["time"] for row in outcome.rows] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert outcome.ended_by == "time"
    assert outcome.time == 0.4
    updates = [row["updates"] for row in outcome.rows]
    assert updates == sorted(set(updates))
    assert updates[-1] == outcome.updates
    assert all(np.isfinite(row["value"]) for row in outcome.rows)


def test_a_target_ends_a_run(sparse):
    until = ro.Until(time=30, target=ro.Target("value", 0.6))
    outcome = sparse.run(methods.Hogwild(0.2), until, metrics=("value",), every=0.02)
    assert outcome.ended_by == "target"
    assert outcome.time < 30
    assert outcome.rows[-1]["updates"] == outcome.updates


def test_a_stop_ends_a_run(sparse):
    threading.Timer(0.3, sparse.session.stop).start()
    started_at = time.monotonic()
    outcome = sparse.run(methods.Hogwild(0.1), ro.Until(time=60))
    assert outcome.ended_by == "interrupted"
    assert time.monotonic() - started_at < 20


def test_copies_wait_for_the_end_unless_there_is_a_target():
    class Told:
        def __init__(self):
            self.points = []

        def evaluated(self, point, metrics):
            self.points.append(point)

    problem = SparseLogisticRegression.synthetic(rows=20, features=10, nonzeros_per_row=2)
    for until, at_once in ((ro.Until(time=1), []), (ro.Until(time=1, target=ro.Target("value", 0.1)), [0, 1])):
        job = Job(methods.Hogwild(0.1), 0, until, Record().resolve(problem.metric_names, until))
        told, snapshots = Told(), Snapshots(problem, job)
        for point in range(2):
            snapshots(told, point, np.zeros(10))
        assert told.points == at_once
        snapshots.evaluate(told)
        assert told.points == [0, 1]


# ---- what is left behind ----


def test_nobody_can_find_the_memory_once_all_have_it(sparse):
    sparse.run(methods.Hogwild(0.1), ro.Until(updates=10))
    assert not exists(sparse.session._segment.name)


def test_a_start_that_fails_leaves_no_memory(cluster, monkeypatch):
    opened, names = Opened(Counting()), []

    def fail(name, arguments):
        names.append(arguments[0][-1])
        assert exists(names[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(opened.session, "_call", fail)
    with pytest.raises(KeyboardInterrupt):
        opened.run(methods.Hogwild(1.0), ro.Until(updates=10))
    assert not exists(names[0])
    assert opened.session._segment is None
    assert not opened.session._actors


def test_a_dead_worker_is_an_error_and_the_session_goes_on(counting):
    method, session = methods.Hogwild(1.0, "locked"), counting.session
    counting.run(method, ro.Until(updates=10))
    threading.Timer(0.3, lambda: ray.kill(session._actors[1])).start()
    with pytest.raises(WorkerLost, match="worker 1"):
        counting.run(method, ro.Until(time=60))
    assert session._segment is None
    assert counting.run(method, ro.Until(updates=10)).updates == 10


# ---- experiments ----


def experiment(chosen, problem=None, fleet=None, **arguments):
    problem = problem or SparseLogisticRegression.synthetic(rows=200, features=50, nonzeros_per_row=3)
    return ro.Experiment(chosen, problem, WORKERS, ro.Until(updates=1000), fleet or ro.SharedMemoryFleet(), **arguments)


def test_the_whole_way(cluster, tmp_path):
    chosen = [methods.Hogwild([0.1, 0.2], access) for access in ACCESSES] + [methods.ASGD(0.1)]
    result = experiment(chosen, seeds=[0, 1]).run(tmp_path / "run")
    assert len(result.table) == 6
    assert (result.table.updates == 1000).all()
    assert not (tmp_path / "run" / "trace.parquet").exists()
    assert result.trace.empty
    rates, manner = result.summary["notes"]
    assert rates.count("x serial") == 3
    assert "no trace" in manner
    assert [problem.partition(":")[0] for problem in result.summary["problems"]] == ["ASGD (seeds 0, 1)"]


@pytest.mark.parametrize(
    ("method", "problem", "reason"),
    [
        (methods.ASGD(0.1), None, "only Hogwild runs"),
        (methods.Hogwild(0.1, clip_norm=1.0), None, "without a server: not with clip_norm"),
        (methods.Hogwild(0.1), Quadratic(5), "not on quadratic"),
        (
            methods.Hogwild(0.1),
            SparseLogisticRegression.synthetic(rows=20, features=10, nonzeros_per_row=2, batch=3),
            "batch 3",
        ),
    ],
)
def test_what_does_not_run_here_is_skipped_even_by_force(method, problem, reason):
    for force in (False, True):
        (run,) = experiment([method], problem, force=force).runs()
        assert run.problem.startswith("skipped")
        assert reason in run.problem


@pytest.mark.parametrize("fleet", [ro.SimulatedFleet(), ro.RayFleet()], ids=repr)
@pytest.mark.parametrize("access", ["locked", "serial"])
def test_other_fleets_skip_what_needs_shared_memory(fleet, access):
    chosen = [methods.Hogwild(0.1, access), methods.Hogwild(0.1)]
    needs, free = experiment(chosen, fleet=fleet, force=True).runs()
    assert "shared_memory" in needs.problem
    assert free.problem == ""


def test_a_grid_is_one_run_for_each_step_size():
    assert [run.method.step_size for run in experiment([methods.Hogwild([0.1, 0.2])]).runs()] == [0.1, 0.2]


def test_without_numba(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ro.InvalidInput, match=r'pip install "rayopt\[hogwild\]"'):
        ro.SharedMemoryFleet()


@pytest.mark.parametrize("address", [5, "ray://127.0.0.1:10001"])
def test_bad_addresses(address):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.SharedMemoryFleet(address)
    assert caught.value.key == "address"
