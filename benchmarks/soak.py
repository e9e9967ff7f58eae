"""A soak: workers of a real fleet are killed all the time, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

import rayopt as ro
from benchmarks.measure import Row
from rayopt.faults import Workforce
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.fleet import RaySession
from rayopt.outcome import Outcome, Progress
from rayopt.record import Record
from rayopt.trace_rows import TRACE

SECONDS = 600.0
WORKERS = 32
PER_ACTOR = 8
KILL_EVERY = 2.0


class Killer:
    """Kills a worker process of this process's own cluster every so many seconds, in turns, if any is at work.

    Args:
      every: real seconds.

    Attributes:
      kills: how many so far.
    """

    def __init__(self, every: float) -> None:
        self.kills = 0
        self._workforce: Workforce | None = None
        self._every = every
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def follow(self, progress: Progress) -> None:
        """Takes note of how many workers are up."""
        self._workforce = progress.workforce

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._is_over.wait(self._every):
            # A machine that is slower than the killer would otherwise never get anyone up again.
            if self._workforce is None or not self._workforce.up:
                continue
            # The oldest first: everyone is killed, not the one that has just come back again and again.
            for process in worker_processes()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    self.kills += 1


def worker_processes(actors: tuple[str, ...] = ("Worker", "PackedWorkers")) -> list[int]:
    """Returns the processes of actors of this process's own cluster, the oldest first."""
    import psutil  # Comes with Ray.

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith(tuple(f"ray::{actor}" for actor in actors)):
                found.append((process.create_time(), process.pid))
    return [pid for _, pid in sorted(found)]


def soak(seconds: float, kill_every: float = KILL_EVERY) -> tuple[Outcome, np.ndarray[Any, Any], int]:
    """Runs ASGD on packed workers that are killed; returns the outcome, the trace and the number of kills."""
    problem, until = ro.problems.LogisticRegression.digits(batch=8), ro.Until(time=seconds)
    record = Record(metrics=("value",), every=seconds / 10).resolve(problem.metric_names, until)
    chunks = [np.zeros(0, dtype=TRACE)]
    fleet = ro.RayFleet(workers_per_actor=PER_ACTOR)
    with RaySession(fleet, problem, ro.Workers(WORKERS, "0.05 * sqrt(i)")) as session:
        warm_up = Job(ro.methods.ASGD(0.01), 0, ro.Until(updates=1), record)
        session.run(warm_up, lambda rows: None, lambda progress: None)
        with Killer(kill_every) as killer:
            job = Job(ro.methods.ASGD(0.01), 0, until, record)
            outcome = session.run(job, lambda rows: chunks.append(rows), killer.follow)
    return outcome, np.concatenate(chunks), killer.kills


def losses(outcome: Outcome, rows: np.ndarray[Any, Any]) -> list[str]:
    """Returns what a lossless end would not have: tasks that are missing or double, updates without an arrival."""
    found = []
    for worker in range(WORKERS):
        numbers = rows["number"][rows["worker"] == worker]
        if not np.array_equal(numbers, np.arange(len(numbers))):
            found.append(f"tasks of worker {worker} are missing or double")
        if not len(numbers):
            found.append(f"worker {worker} did nothing")
    if not outcome.updates == outcome.counts.arrivals == outcome.counts.used == len(rows):
        found.append(f"{outcome.updates} updates of {outcome.counts.arrivals} arrivals, {len(rows)} rows")
    if any("value" not in row for row in outcome.rows):
        found.append("a history row without its loss")
    return found


def rows() -> Iterator[Row]:
    """Yields the row of the soak."""
    connect(None)
    try:
        outcome, trace, kills = soak(SECONDS)
    finally:
        ray.shutdown()
    wrong = losses(outcome, trace)
    first, last = outcome.rows[0]["value"], outcome.rows[-1]["value"]
    counts = f"{outcome.updates:,} updates, {kills} kills, {outcome.faults.restarts} restarts"
    yield Row(
        f"Soak: {SECONDS:g} s, {WORKERS} workers in {WORKERS // PER_ACTOR} actors, a kill every {KILL_EVERY:g} s",
        f"{counts}, loss {first:.4g} to {last:.4g}",
        "nothing lost", not wrong and last < first, "; ".join(wrong) or "no task missing or double",
    )  # fmt: skip
