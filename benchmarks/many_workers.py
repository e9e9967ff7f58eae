"""Ten thousand workers packed in four actors, with Ray's own limit of inline messages and with a raised one."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator

import ray

import rayopt as ro
from benchmarks.measure import REPEATS, Row
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.problems import Quadratic
from rayopt.runs.record import Record

WORKERS = 10_000
ACTORS = 4


def rows() -> Iterator[Row]:
    """Yields both rows, each on a cluster of its own."""
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield _row("Ray's limit of inline messages", 6_000)
    connect(None)
    yield _row("the raised limit", 8_000)


def _row(limit: str, least: float) -> Row:
    try:
        rate, median = packed()
    finally:
        ray.shutdown()
    return Row(f"Ray, 10,000 workers packed in 4 actors, d = 1,000, times 1 s, {limit}",
               f"{rate:,.0f} arrivals/s, slip {median * 1e3:.0f} ms median", f"at least {least:,.0f}", rate >= least,
               "possible 10,000")  # fmt: skip


def packed(seconds: float = 15.0) -> tuple[float, float]:
    """Returns arrivals per second and median slip in seconds, each the median of the runs."""
    problem, until = Quadratic(1_000, noise=0.01), ro.Until(time=seconds)
    record = Record(metrics=(), trace="all").resolve(problem.metric_names, until)
    fleet = ro.RayFleet(workers_per_actor=WORKERS // ACTORS)
    with fleet.open(problem, ro.Workers(WORKERS, "1")) as session:
        job = Job(ro.methods.ASGD(1e-4), 0, until, record)
        outcomes = [session.run(job, lambda rows: None, lambda progress: None) for _ in range(REPEATS)]
    rates = [outcome.counts.arrivals / outcome.time for outcome in outcomes]
    return statistics.median(rates), statistics.median(outcome.slip["median"] for outcome in outcomes)
