"""A soak: workers of a real fleet are killed all the time, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

import rayopt as ro
from benchmarks.kills import kill_one, killing
from benchmarks.measure import Row
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.fleet import RaySession
from rayopt.runs.faults import WorkerCounts
from rayopt.runs.outcome import Outcome
from rayopt.runs.record import Record
from rayopt.storage.trace.rows import TRACE

SECONDS = 600.0
WORKERS = 32
PER_ACTOR = 8
KILL_EVERY = 2.0


def soak(seconds: float, kill_every: float = KILL_EVERY) -> tuple[Outcome, np.ndarray[Any, Any], int]:
    """Runs ASGD on packed workers that are killed; returns the outcome, the trace and the number of kills."""
    problem, until = ro.problems.LogisticRegression.digits(batch=8), ro.Until(time=seconds)
    record = Record(metrics=("value",), every=seconds / 10).resolve(problem.metric_names, until)
    chunks = [np.zeros(0, dtype=TRACE)]
    fleet = ro.RayFleet(workers_per_actor=PER_ACTOR)
    with RaySession(fleet, problem, ro.Workers(WORKERS, "0.05 * sqrt(i)")) as session:
        warm_up = Job(ro.methods.ASGD(0.01), 0, ro.Until(updates=1), record)
        session.run(warm_up, lambda rows: None, lambda progress: None)
        seen: list[WorkerCounts | None] = [None]

        def kill() -> bool:
            # A machine that is slower than the kills would otherwise never get anyone up again.
            return seen[-1] is not None and seen[-1].up > 0 and kill_one()

        with killing(kill_every, kill=kill) as killed:
            job = Job(ro.methods.ASGD(0.01), 0, until, record)
            outcome = session.run(
                job, lambda rows: chunks.append(rows), lambda progress: seen.append(progress.worker_counts)
            )
    return outcome, np.concatenate(chunks), len(killed)


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
