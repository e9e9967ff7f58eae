"""Sessions on real Ray, and the processes behind them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import rayopt as ro
from rayopt.fleets.base import Job
from rayopt.fleets.ray.fleet import RaySession
from rayopt.methods import Method
from rayopt.problems import Problem, Quadratic
from rayopt.runs.outcome import Outcome, Progress
from rayopt.runs.record import Record
from rayopt.storage.trace.rows import TRACE

N = 4


class Slow(Quadratic):
    """Takes a while for a gradient."""

    def gradient(self, x, sample, checkpoint=None):
        time.sleep(0.01)
        return super().gradient(x, sample, checkpoint)


class Opened:
    """A session on one problem, and a way to run a job on it."""

    def __init__(self, session: RaySession, problem: Problem) -> None:
        self.session = session
        self.problem = problem
        self.progress: list[Progress] = []
        self.stop_when_back = False
        self.on_progress: Callable[[], Any] = lambda: None

    def run(
        self, method: Method, until: ro.Until, seed: int = 0, metrics: tuple[str, ...] = (), every: float | None = None
    ) -> tuple[Outcome, np.ndarray]:
        record = Record(metrics=metrics, trace="all", every=every).resolve(self.problem.metric_names, until)
        chunks = [np.zeros(0, dtype=TRACE)]
        self.progress.clear()
        outcome = self.session.run(Job(method, seed, until, record), lambda rows: chunks.append(rows), self._follow)
        return outcome, np.concatenate(chunks)

    def _follow(self, progress: Progress) -> None:
        self.progress.append(progress)
        self.on_progress()
        seen = [entry.worker_counts for entry in self.progress if entry.worker_counts is not None]
        was_away = [position for position, worker_counts in enumerate(seen) if worker_counts.restarting]
        # Five reports later, a second, everyone has had something to do.
        if self.stop_when_back and was_away and len(seen) > was_away[-1] + 5:
            self.session.stop()


@contextlib.contextmanager
def opened(problem: Problem, times: Any, n: int = N, **arguments: Any) -> Iterator[Opened]:
    """Yields a session on the cluster that is connected."""
    with RaySession(ro.RayFleet(**arguments), problem, ro.Workers(n, times)) as session:
        yield Opened(session, problem)
