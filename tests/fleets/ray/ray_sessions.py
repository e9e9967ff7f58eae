"""Sessions on real Ray, and the processes behind them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import rayopt as ro
from benchmarks.soak import worker_processes
from rayopt.fleets.base import Job
from rayopt.fleets.ray.fleet import RaySession
from rayopt.methods import Method
from rayopt.outcome import Outcome, Progress
from rayopt.problems import Problem
from rayopt.record import Record
from rayopt.trace_rows import TRACE

N = 4


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
        seen = [entry.workforce for entry in self.progress if entry.workforce is not None]
        was_away = [position for position, workforce in enumerate(seen) if workforce.restarting]
        # Five reports later, a second, everyone has had something to do.
        if self.stop_when_back and was_away and len(seen) > was_away[-1] + 5:
            self.session.stop()


@contextlib.contextmanager
def opened(problem: Problem, times: Any, n: int = N, **arguments: Any) -> Iterator[Opened]:
    """Yields a session on the cluster that is connected."""
    with RaySession(ro.RayFleet(**arguments), problem, ro.Workers(n, times)) as session:
        yield Opened(session, problem)


def kill_one() -> bool:
    """Kills one worker process that is alive; returns whether there was one."""
    for process in worker_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            return True
    return False


@contextlib.contextmanager
def killing(every: float, times: float = float("inf"), kill: Callable[[], bool] = kill_one) -> Iterator[list[float]]:
    """Kills a worker process every so many seconds until the block ends; yields when each was killed."""
    killed: list[float] = []
    is_over = threading.Event()

    def go_on() -> None:
        while len(killed) < times and not is_over.wait(every):
            if kill():
                killed.append(time.monotonic())

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()
