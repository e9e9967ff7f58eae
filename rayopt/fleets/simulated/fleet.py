"""Virtual time as a fleet: a session runs jobs in one process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rayopt.core.errors import InvalidInput, at_least, one_of
from rayopt.fleets.base import Finished, FleetKind, Job, OnCheckpoint, OnProgress, OnTrace, forget
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.loop import serve
from rayopt.runs.outcome import Outcome
from rayopt.runs.recorder import Recorder
from rayopt.runs.snapshot import asking_for_checkpoints, offer, restore

Array = NDArray[np.float64]


class SimulatedFleet(FleetKind):
    """Virtual time: a discrete-event simulation, exact and reproducible to the bit.

    Args:
      gradients: "here": computed in this process, when a method asks for them; "ray": computed ahead of that, in
        parallel, on Ray actors. The results are the same to the bit on machines of one type. It is worth it where a
        gradient takes milliseconds and the method asks for single ones (ASGD, Ringmaster) or for local steps (FedAvg);
        a batch at one point (Rennala, Minibatch) stays one product in this process.
      processes: how many actors, with "ray"; by default as many as the cluster has CPUs.
      address: with "ray", "auto" or "host:port" of a cluster that runs; by default as in :class:`RayFleet`.
      blas_threads: threads that products of matrices may use in each process. With 1, the bits do not depend on the
        number of cores; more are seldom faster here, as most products are small.

    Raises:
      InvalidInput: an argument that is not allowed.
    """

    name: ClassVar[str] = "simulated"

    def __init__(
        self,
        gradients: str = "here",
        processes: int | None = None,
        address: str | None = None,
        blas_threads: int = 1,
    ) -> None:
        self.gradients = one_of("gradients", gradients, ("here", "ray"))
        for key, value in (("processes", processes), ("address", address)):
            if value is not None and self.gradients != "ray":
                raise InvalidInput(key, f"{value!r}, and gradients are computed here", "gradients: ray with it")
        self.processes = None if processes is None else at_least("processes", processes, 1)
        if address is not None and not isinstance(address, str):
            raise InvalidInput("address", f"{address!r} is not an address", "auto, or host:port of a Ray cluster")
        self.address = address
        self.blas_threads = at_least("blas_threads", blas_threads, 1)

    def open(self, problem: Problem, workers: Workers) -> SimulatedSession:
        """Returns a session, to be used in a ``with`` statement.

        Raises:
          InvalidInput: no cluster answers at the address.
        """
        if self.gradients == "ray":
            from rayopt.fleets.simulated.parallel.ahead import open_session

            return open_session(problem, workers, self.processes, self.address, self.blas_threads)
        return SimulatedSession(problem, workers, self.blas_threads)

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        defaults = {"gradients": "here", "processes": None, "address": None, "blas_threads": 1}
        given = {key: getattr(self, key) for key in defaults}
        return {"name": self.name} | {key: value for key, value in given.items() if value != defaults[key]}

    def notes(self, runs: Sequence[Finished]) -> list[str]:
        """Returns how many gradients were computed ahead, and how many of them for nothing."""
        if self.gradients == "here":
            return []
        counted: dict[str, tuple[int, int]] = {}
        for run in runs:
            if run.outcome is not None and run.outcome.requested:
                requested, wasted = counted.get(run.label, (0, 0))
                counted[run.label] = (requested + run.outcome.requested, wasted + run.outcome.wasted)
        told = [f"{label} {wasted:,} of {requested:,}" for label, (requested, wasted) in counted.items()]
        return [f"Gradients computed on Ray that were not needed: {', '.join(told)}."] if told else []

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_config().items() if key != "name")
        return f"SimulatedFleet({arguments})"


class SimulatedSession:
    """Runs jobs one after the other in virtual time (see ``rayopt.fleets.base.Session``)."""

    def __init__(self, problem: Problem, workers: Workers, blas_threads: int = 1) -> None:
        self._problem = problem
        self._workers = workers
        self._blas_threads = blas_threads
        self._recorder: Recorder | None = None
        self._stop_is_wanted = False

    def __enter__(self) -> SimulatedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(
        self, job: Job, on_trace: OnTrace, on_progress: OnProgress, on_checkpoint: OnCheckpoint = forget
    ) -> Outcome:
        """Runs one job to its end.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
        """
        try:
            with threadpool_limits(self._blas_threads):
                return self._run(job, on_trace, on_progress, on_checkpoint)
        finally:
            # Not at the begin: a wish that came just before it counts.
            self._stop_is_wanted = False

    def _run(self, job: Job, on_trace: OnTrace, on_progress: OnProgress, on_checkpoint: OnCheckpoint) -> Outcome:
        problem = self._problem.split(self._workers.count, job.seed)
        fleet = self._make_fleet(problem, job)
        job.method.prepare(problem.start_point(), fleet.n)
        recorder = self._recorder = Recorder(
            job.record, job.until, Evaluation(problem, job.record.metrics or ()), on_trace,
            lambda recorder: on_progress(recorder.progress()),
        )  # fmt: skip
        recorder.on_checkpoint = lambda: offer(job.method, fleet, recorder, on_checkpoint)
        if job.start is not None:
            restore(job.start, job.method, fleet, recorder)
        if self._stop_is_wanted:
            recorder.stop()
        with asking_for_checkpoints(recorder, job.checkpoints):
            self._serve(job.method, fleet, recorder)
        return recorder.outcome(recorder.wall_seconds)

    def _serve(self, method: Method, fleet: SimulatedWorkers, recorder: Recorder) -> None:
        serve(method, fleet, recorder)

    def _make_fleet(self, problem: Problem, job: Job) -> SimulatedWorkers:
        return SimulatedWorkers(problem, self._workers.times(job.seed), job.seed)

    def stop(self) -> None:
        """Ends the running job at its next arrival."""
        self._stop_is_wanted = True
        if self._recorder is not None:
            self._recorder.stop()


class Evaluation:
    """Computes the metrics of a history row at once, and those of an unchanged point only once."""

    def __init__(self, problem: Problem, metrics: Sequence[str]) -> None:
        self._problem = problem
        self._metrics = metrics
        self._point: Array | None = None
        self._found: dict[str, Any] = {}

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        if x is not self._point:
            self._point = x
            self._found = self._problem.metrics(x, self._metrics)
        recorder.evaluated(point, self._found)
