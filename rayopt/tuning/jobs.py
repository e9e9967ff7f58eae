"""Jobs: one run for each combination of parameters and each tuning seed, spread over processes."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

from rayopt.description import plain
from rayopt.errors import RayoptError
from rayopt.experiment import Experiment, Run, stop_on_interrupt
from rayopt.fleets.base import Job, Session
from rayopt.recording import OUTCOMES
from rayopt.tuning.grid import Combination

SECONDS_TO_STOP = 5.0
SECONDS_BETWEEN_LOOKS = 1.0
INTERRUPTED = "interrupted"

Found = dict[str, Any]
"""What came of a job: ``rows``, one for each step size; ``problem``, why there are none; ``wall_seconds``."""


@dataclass(frozen=True)
class TuningJob:
    """One combination of parameters on one seed, with the whole grid of step sizes.

    Attributes:
      run: what is to run.
      label: of its grid.
      combination: the values of the parameters that are tried.
      config: everything that the result depends on.
    """

    run: Run
    label: str
    combination: Combination
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """A hash of the configuration: jobs that are equal have one name, whenever they run."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:20]


def jobs_of(experiment: Experiment, combinations: Mapping[str, tuple[str, Combination]]) -> list[TuningJob]:
    """Returns the jobs of an experiment, those that are skipped included.

    Args:
      experiment: of all combinations on the tuning seeds.
      combinations: by the label that the experiment gives them, the label of the grid and the combination.
    """
    told = experiment.to_config()
    # Data that were given as arrays have no name, and a folder may hold other files tomorrow.
    value = float(experiment.problem.value(experiment.problem.start_point()))
    common = {key: told[key] for key in ("problem", "workers", "until", "record")}
    return [
        TuningJob(
            run,
            *combinations[run.label],
            {**common, "value_at_start": f"{value:.6g}", "seed": run.seed,
             "method": plain({"name": run.method.name, **run.method.parameters})},
        )
        for run in experiment.runs()
    ]  # fmt: skip


def run_jobs(
    experiment: Experiment, jobs: Sequence[TuningJob], processes: int
) -> Iterator[tuple[TuningJob, Found | Exception]]:
    """Runs jobs and yields each with what came of it, as soon as it is known.

    Ctrl-C ends the jobs that run at their next arrival; those, and the ones that have not begun, are not yielded.

    Args:
      experiment: the problem, workers, fleet and limits of every job.
      jobs: in the order in which they begin.
      processes: how many run at the same time; with one they run in this process. Each has one BLAS thread.

    Yields:
      The job and what came of it: an error that rayopt does not raise on purpose is yielded as it is.

    Raises:
      RayoptError: a process died.
    """
    if processes == 1 or len(jobs) < 2:
        yield from _one_by_one(experiment, jobs)
    else:
        yield from _spread(experiment, jobs, min(processes, len(jobs)))


def _one_by_one(
    experiment: Experiment, jobs: Sequence[TuningJob]
) -> Iterator[tuple[TuningJob, Found | Exception]]:  # fmt: skip
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1),
        experiment.fleet.open(experiment.problem, experiment.workers) as session,
        stop_on_interrupt(session) as interrupted,
    ):
        for job in jobs:
            try:
                found: Found | Exception = measure(experiment, session, job.run)
            except Exception as error:
                found = error
            if interrupted.is_set():
                return
            yield job, found


def _spread(
    experiment: Experiment, jobs: Sequence[TuningJob], processes: int
) -> Iterator[tuple[TuningJob, Found | Exception]]:
    # A forked process would inherit the threads' locks of BLAS and of the progress display.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, context, _Process.open, (experiment, stop))
    try:
        with stop_on_interrupt(_AllProcesses(stop)):
            futures = {pool.submit(_Process.measure, job.run): job for job in jobs}
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    if stop.is_set():
                        return
                    raise RayoptError("a process of the tuning died (was memory short? try fewer processes)") from None
                if isinstance(error, Exception):
                    yield futures[future], error
                elif (found := future.result())["problem"] != INTERRUPTED:
                    yield futures[future], found
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _AllProcesses:
    """What Ctrl-C stops when jobs are spread over processes."""

    event: Event

    def stop(self) -> None:
        """Ends all running jobs at their next arrival."""
        self.event.set()


class _Process:
    """What one process of the pool keeps between its jobs."""

    experiment: Experiment
    session: Session
    stop: Event

    @classmethod
    def open(cls, experiment: Experiment, stop: Event) -> None:
        """Prepares a new process; the data of the problem travel here once."""
        import signal

        from threadpoolctl import threadpool_limits

        # A terminal sends Ctrl-C to every process of the group; the event is what counts.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threadpool_limits(1)
        cls.experiment, cls.stop = experiment, stop
        cls.session = experiment.fleet.open(experiment.problem, experiment.workers)
        threading.Thread(target=cls.watch, daemon=True).start()

    @classmethod
    def watch(cls) -> None:
        """Stops the running job on Ctrl-C, and ends the process if that takes long or if its parent is gone."""
        parent = multiprocessing.parent_process()
        while not cls.stop.wait(SECONDS_BETWEEN_LOOKS):
            if parent is not None and not parent.is_alive():
                os._exit(1)
        cls.session.stop()
        threading.Event().wait(SECONDS_TO_STOP)
        os._exit(1)

    @classmethod
    def measure(cls, run: Run) -> Found:
        """Runs one job."""
        if cls.stop.is_set():
            return {"problem": INTERRUPTED}
        return measure(cls.experiment, cls.session, run)


def measure(experiment: Experiment, session: Session, run: Run) -> Found:
    """Runs one job and returns what came of it: numbers that are not finite are None.

    A row holds ``step_size``, the last value of each metric, ``time_to_target`` and ``diverged_at`` (fleet
    seconds), and of the whole run ``time, updates, arrivals``, the outcomes and ``worker_seconds``.
    """
    from rayopt.report.summary import trials

    job = Job(run.method, run.seed, experiment.until, experiment.record)
    try:
        outcome = session.run(job, lambda rows: None, lambda progress: None)
    except RayoptError as error:
        return {"problem": str(error), "rows": [], "wall_seconds": None}
    if outcome.ended_by == INTERRUPTED:
        return {"problem": INTERRUPTED}
    target = experiment.until.target
    whole = {"time": outcome.time, "updates": outcome.updates, "arrivals": outcome.counts.arrivals,
             **{name: getattr(outcome.counts, name) for name in OUTCOMES},
             "worker_seconds": _finite(outcome.busy_seconds)}  # fmt: skip
    run.outcome = outcome
    rows = [
        {
            "step_size": trial.step_size,
            **{metric: _finite(trial.last(metric)) for metric in experiment.record.metrics or ()},
            "time_to_target": None if target is None else _finite(trial.time_to(target)),
            "diverged_at": trial.diverged_at,
            **whole,
        }
        for trial in trials(run)
    ]
    run.outcome = None
    return {"problem": "", "rows": rows, "wall_seconds": outcome.wall_seconds}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
