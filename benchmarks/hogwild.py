"""Hogwild in shared memory: two workers on one x, beside two that share nothing and beside one alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import ray

import rayopt as ro
from benchmarks.measure import Row, interleaved
from rayopt.core.keys import Stream
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.shared_memory.fleet import SharedMemorySession
from rayopt.fleets.shared_memory.kernels import Update, free_updates, rows_of, serial_updates
from rayopt.fleets.shared_memory.segment import FIRST_COUNTER, LINE
from rayopt.problems import SparseLogisticRegression
from rayopt.runs.record import Record

STEP_SIZE = 1.0
WORKERS = 2


def rows() -> Iterator[Row]:
    """Yields the rows of shared memory."""
    connect(None)
    try:
        yield shared(SparseLogisticRegression.synthetic(rows=100_000, features=20_000, nonzeros_per_row=20))
    finally:
        ray.shutdown()


def shared(problem: SparseLogisticRegression, seconds: float = 1.0) -> Row:
    """Two workers without locks; the floor is two threads of the same loop with an x each."""
    until = ro.Until(time=seconds)
    record = Record(metrics=(), trace=False).resolve(problem.metric_names, until)
    with SharedMemorySession(problem, ro.Workers(WORKERS, 1.0)) as session:

        def rate(access: str) -> float:
            job = Job(ro.methods.Hogwild(STEP_SIZE, access), 0, until, record)
            outcome = session.run(job, lambda rows: None, lambda progress: None)
            return outcome.updates / outcome.wall_seconds

        for access in ("free", "serial"):
            rate(access)
        for warm in (serial_updates, free_updates):
            bare(problem, 1, warm, on_one_x=False)
        measured, serial, floor, atomic, contended = interleaved(
            lambda: rate("free"),
            lambda: rate("serial"),
            lambda: bare(problem, 1_000_000, serial_updates, on_one_x=False),
            lambda: bare(problem, 1_000_000, free_updates, on_one_x=False),
            lambda: bare(problem, 1_000_000, free_updates, on_one_x=True),
        )
    share = measured / floor
    return Row(
        "Hogwild, 2 processes on one x, d = 20,000, 20 nonzeros per row",
        f"{share:.0%} ({measured:,.0f} updates/s, {measured / serial:.2f} x serial)",
        "at least 75% of the floor",
        share >= 0.75,
        f"2 loops that share nothing {floor:,.0f}, with atomic adds {atomic / floor:.0%}, "
        f"on one x too {contended / floor:.0%}",
    )


def bare(problem: SparseLogisticRegression, updates: int, loop: Update, on_one_x: bool) -> float:
    """Returns the updates per second of a compiled loop in threads, on one x or on an x each."""
    data = rows_of(problem)
    words = np.zeros(FIRST_COUNTER + LINE * WORKERS, dtype=np.int64)
    stream, points = Stream(0, "sample"), [np.zeros(problem.dimension) for _ in range(WORKERS)]
    threads = []
    for worker in range(WORKERS):
        order = problem.draw_many(np.full(updates, worker), stream.keys_of(worker, 0, updates))
        x, near = points[0 if on_one_x else worker], np.zeros(data.longest)
        step_sizes = np.full(updates, STEP_SIZE)
        arguments = (x, words, FIRST_COUNTER + LINE * worker, data, order, step_sizes, near)
        threads.append(threading.Thread(target=loop, args=arguments))
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return WORKERS * updates / (time.perf_counter() - started_at)
