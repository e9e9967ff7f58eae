"""Runs jobs in virtual time, in one process, one after the other."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rayopt.fleets.base import Job, OnCheckpoint, OnProgress, OnTrace, forget
from rayopt.fleets.contended import PLAIN, ClockOptions, ContendedWorkers
from rayopt.fleets.evaluation import Evaluation
from rayopt.fleets.network import NetworkClock
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import OnEvent, disregard
from rayopt.runs.loop import serve
from rayopt.runs.outcome import INTERRUPTED, Outcome
from rayopt.runs.recorder import Recorder
from rayopt.runs.snapshot import asking_for_checkpoints, offer, restore

Array = NDArray[np.float64]


class SimulatedSession:
    """Runs jobs one after the other in virtual time (see ``rayopt.fleets.base.Session``)."""

    def __init__(
        self, problem: Problem, workers: Workers, blas_threads: int = 1, options: ClockOptions = PLAIN
    ) -> None:
        self._options = options
        self._problem = problem
        self._workers = workers
        self._blas_threads = blas_threads
        self._recorder: Recorder | None = None
        self._stop_reason = ""

    def __enter__(self) -> SimulatedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(
        self,
        job: Job,
        on_trace: OnTrace,
        on_progress: OnProgress,
        on_checkpoint: OnCheckpoint = forget,
        on_event: OnEvent = disregard,
    ) -> Outcome:
        """Runs one job to its end.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
        """
        try:
            with threadpool_limits(self._blas_threads):
                return self._run(job, on_trace, on_progress, on_checkpoint, on_event)
        finally:
            # Not at the begin: a wish that came just before it counts.
            self._stop_reason = ""

    def _run(
        self, job: Job, on_trace: OnTrace, on_progress: OnProgress, on_checkpoint: OnCheckpoint, on_event: OnEvent
    ) -> Outcome:
        problem = self._problem.split(self._workers.count, job.seed)
        fleet = self._make_fleet(problem, job)
        job.method.use_problem(problem)
        job.method.use_network(self._workers)
        job.method.prepare(problem.start_point(), fleet.n)
        recorder = self._recorder = Recorder(
            job.record, job.until, Evaluation(problem, job.record.metrics or (), job.method), on_trace,
            lambda recorder: on_progress(recorder.progress()), watched=job.watched, on_event=on_event,
        )  # fmt: skip
        recorder.on_checkpoint = lambda: offer(job.method, fleet, recorder, on_checkpoint)
        if job.start is not None:
            restore(job.start, job.method, fleet, recorder)
        if self._stop_reason:
            recorder.stop(self._stop_reason)
        with asking_for_checkpoints(recorder, job.checkpoints):
            self._serve(job.method, fleet, recorder)
        outcome = recorder.outcome(recorder.wall_seconds)
        outcome.estimate = job.method.evaluated_point if job.keep_estimate else None
        outcome.requested, outcome.wasted = fleet.source.requested, fleet.source.wasted
        outcome.rounds = list(getattr(job.method, "rounds", ()))
        if isinstance(fleet, NetworkClock):
            outcome.edges = fleet.flows()
        return outcome

    def _serve(self, method: Method, fleet: Any, recorder: Recorder) -> None:
        serve(method, fleet, recorder)

    def _make_fleet(self, problem: Problem, job: Job) -> Any:
        if isinstance(self._workers, Network):
            source = ComputedValues(problem, self._workers.count, job.seed)
            return NetworkClock(self._workers, problem.dimension, job.seed, source, problem.shard_sizes,
                                problem.float_bits)  # fmt: skip
        times = self._workers.times(job.seed, problem.dimension, problem.float_bits)
        if self._options == PLAIN:
            return SimulatedWorkers(problem, times, job.seed)
        source = ComputedValues(problem, times.n, job.seed)
        return ContendedWorkers(times, job.seed, source, problem.shard_sizes, *self._options)

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job at its next arrival."""
        self._stop_reason = self._stop_reason or reason
        if self._recorder is not None:
            self._recorder.stop(reason)
