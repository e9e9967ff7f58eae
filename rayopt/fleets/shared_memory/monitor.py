"""One run as the driver sees it: it looks at the memory when a row is due, and ends the run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from rayopt.fleets.base import Job, OnProgress
from rayopt.fleets.ray.failures import WorkerLost, check
from rayopt.fleets.shared_memory.segment import Segment
from rayopt.fleets.shared_memory.worker import START_EVERY, Assignment, Stint
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import OnEvent
from rayopt.runs.outcome import Outcome
from rayopt.runs.recorder import Recorder

Array = NDArray[np.float64]

LOOK_EVERY = 0.1
STOP_TIMEOUT = 10.0
KEPT_BYTES = 2**28


class RunMonitor:
    """Runs one job on actors that are loaded: starts them, writes history rows, stops them.

    Args:
      job: a run of Hogwild, its method prepared.
      problem: split over the workers.
      segment: x at the start point, no worker running.
      workers: how many update it.
      on_progress: as for ``rayopt.fleets.base.Session.run``.
      stop_reason: why someone asked for the end of the run, or "".
      on_event: as for ``rayopt.fleets.base.Session.run``.
    """

    def __init__(
        self,
        job: Job,
        problem: Problem,
        segment: Segment,
        workers: int,
        on_progress: OnProgress,
        stop_reason: Callable[[], str],
        on_event: OnEvent,
    ) -> None:
        self._job = job
        self._segment = segment
        self._on_progress = on_progress
        self._stop_reason = stop_reason
        self._snapshots = Snapshots(problem, job)
        # A million updates a second have no rows of a trace.
        record = dataclasses.replace(job.record, trace=False)
        self._recorder = Recorder(
            record, job.until, self._snapshots, lambda rows: None, watched=job.watched, on_event=on_event
        )
        self._fleet = Clock(workers)

    def run(self, actors: Sequence[Any], assignment: Assignment) -> Outcome:
        """Runs the job to its end.

        Args:
          actors: the workers that update x.
          assignment: the same for each.

        Raises:
          WorkerLost: a worker's process died, or did not end.
          WorkerFailed: a worker raised an error.
        """
        until, recorder = self._job.until, self._recorder
        recorder.begin(self._job.method, self._fleet)
        self._running = {actor.run.remote(assignment): f"worker {worker}" for worker, actor in enumerate(actors)}
        self._stints: list[Stint] = []
        try:
            self._start()
            while not recorder.finished:
                self._step()
        finally:
            self._finish()
        ended_at = max(stint.ended_at for stint in self._stints) - self._started_at
        self._look(max(recorder.rows[-1]["time"], min(ended_at, until.time)))
        recorder.end()
        self._snapshots.evaluate(recorder)
        self._fleet.busy_seconds = sum(stint.core_seconds for stint in self._stints)
        return recorder.outcome(ended_at)

    def _start(self) -> None:
        """Lets the workers begin when all are there; a call that came first would have x to itself for a while."""
        while self._segment.ready < len(self._running) and not self._stop_reason():
            self._collect(START_EVERY)
        self._started_at = time.monotonic()
        self._segment.start()

    def _step(self) -> None:
        """Waits for the next thing to do, at most a tenth of a second, and does it."""
        recorder, until = self._recorder, self._job.until
        if reason := self._stop_reason():
            recorder.stop(reason)
        elif not self._running:
            recorder.stop("updates" if until.updates <= until.arrivals else "arrivals")
        elif self._clock() >= recorder.due:
            if recorder.due >= until.time:
                # Who is in the middle of a chunk ends it: the last row is of what x is after that.
                self._finish()
            self._look(recorder.due)
            recorder.row()
        else:
            self._collect(min(recorder.due - self._clock(), LOOK_EVERY))
            self._count(min(self._clock(), recorder.due))
        self._on_progress(recorder.progress())

    def _clock(self) -> float:
        return time.monotonic() - self._started_at

    def _look(self, now: float) -> None:
        """Takes a copy of x, each component as it is at that instant, and counts the updates."""
        self._job.method.x = self._segment.x.copy()
        self._count(now)

    def _count(self, now: float) -> None:
        counts = self._recorder.counts
        self._job.method.updates = counts.arrivals = counts.used = int(self._segment.counts().sum())
        self._fleet.now, self._fleet.busy_seconds = now, self._fleet.n * now

    def _collect(self, timeout: float) -> None:
        """Waits for the end of all workers that run, and takes what they report."""
        ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=max(timeout, 0.0))
        for reference in ended:
            check(self._running.pop(reference), reference)
            self._stints.append(ray.get(reference))

    def _finish(self) -> None:
        """Stops the workers and waits until they have.

        Raises:
          WorkerLost: a worker's process died, or did not end.
        """
        self._segment.stop()
        if self._running:
            self._collect(STOP_TIMEOUT)
        if self._running:
            raise WorkerLost(f"{', '.join(self._running.values())} did not end within {STOP_TIMEOUT:g} s")


class Clock:
    """What the recorder asks of a fleet: the time, and how many are busy."""

    def __init__(self, workers: int) -> None:
        self.n = self.busy = workers
        self.now = 0.0
        self.busy_seconds = 0.0
        self.cancelled: list[tuple[Any, Any, Any, Any]] = []
        self.is_stuck = False


class Snapshots:
    """Copies of x at history times. They are evaluated after the run, which leaves the cores to the workers.

    A run with a target or a callback needs its metrics at once, and one with more copies than fit into 256 MB cannot
    wait.
    """

    def __init__(self, problem: Problem, job: Job) -> None:
        self._problem = problem
        self._metrics = job.record.metrics or ()
        self._at_once = job.until.target is not None or job.watched.rows
        self._kept: list[tuple[int, Array]] = []

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        self._kept.append((point, x))
        if self._at_once or len(self._kept) * x.nbytes > KEPT_BYTES:
            self.evaluate(recorder)

    def evaluate(self, recorder: Recorder) -> None:
        """Hands the metrics of all copies that are kept to the recorder."""
        kept, self._kept = self._kept, []
        with np.errstate(over="ignore", invalid="ignore"):
            for point, x in kept:
                recorder.evaluated(point, self._problem.metrics(x, self._metrics))
