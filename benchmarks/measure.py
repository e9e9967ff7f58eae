"""What a benchmark reports, and how it is repeated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rayopt as ro
from rayopt.fleets.base import FleetKind, Job
from rayopt.problems import Problem
from rayopt.runs.outcome import Outcome
from rayopt.runs.record import Record

REPEATS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      path: what was measured, with its sizes.
      measured: the number that the requirement is about.
      required: the requirement in words.
      met: whether it is met.
      floor: the same work without rayopt, in the same unit, or what else it is compared with.
    """

    path: str
    measured: str
    required: str
    met: bool
    floor: str = ""


def interleaved(*measurements: Callable[[], float]) -> tuple[float, ...]:
    """Returns the medians of measurements taken in turns, so that all see the same noise."""
    rounds = [[measure() for measure in measurements] for _ in range(REPEATS)]
    return tuple(statistics.median(found) for found in zip(*rounds, strict=True))


def seconds(work: Callable[[], Any]) -> float:
    """Returns the wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Returns the processor seconds of one call in one thread, in which other programs count for little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def run_once(
    method: ro.methods.Method,
    problem: Problem,
    workers: ro.Workers,
    until: ro.Until,
    trace: str | bool = False,
    fleet: FleetKind | None = None,
    on_trace: Callable[[Any], None] = lambda rows: None,
) -> Outcome:
    """Returns the outcome of one run; no metrics are evaluated while it runs."""
    record = Record(metrics=(), trace=trace).resolve(problem.metric_names, until)
    with (fleet or ro.SimulatedFleet()).open(problem, workers) as session:
        return session.run(Job(method, 0, until, record), on_trace, lambda progress: None)
