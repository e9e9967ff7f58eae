"""Jobs spread over processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from threadpoolctl import threadpool_limits

from rayopt.core.errors import RayoptError
from rayopt.experiments.experiment import Experiment, Run
from rayopt.experiments.tuning.jobs import INTERRUPTED, Found, TuningJob, measure
from rayopt.fleets.base import Session
from rayopt.runs.signals import stop_on_interrupt

SECONDS_TO_STOP = 5.0


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
    ending, line = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _Process.open, (experiment, ending))
    try:
        with stop_on_interrupt(_AllProcesses(line)):
            futures = {pool.submit(_Process.measure, job.run): job for job in jobs}
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    if line.closed:
                        return
                    raise RayoptError("a process of the tuning died (was memory short? try fewer processes)") from None
                if isinstance(error, Exception):
                    yield futures[future], error
                elif (found := future.result())["problem"] != INTERRUPTED:
                    yield futures[future], found
    finally:
        line.close()
        pool.shutdown(cancel_futures=True)
        ending.close()


@dataclass(frozen=True)
class _AllProcesses:
    """What Ctrl-C stops when jobs are spread over processes.

    The processes see the end of a pipe whose other end is here, also if this process is gone. An event would
    wait for ever for the answer of a process that died.
    """

    line: Connection

    def stop(self) -> None:
        """Ends all running jobs at their next arrival."""
        self.line.close()


class _Process:
    """What one process of the pool keeps between its jobs."""

    experiment: Experiment
    session: Session
    ending: Connection

    @classmethod
    def open(cls, experiment: Experiment, ending: Connection) -> None:
        """Prepares a new process; the data of the problem travel here once."""
        # A terminal sends Ctrl-C to every process of the group; the pipe is what counts.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threadpool_limits(1)
        cls.experiment, cls.ending = experiment, ending
        cls.session = experiment.fleet.open(experiment.problem, experiment.workers)
        threading.Thread(target=cls.watch, daemon=True).start()

    @classmethod
    def watch(cls) -> None:
        """Stops the running job when the pipe ends, and ends the process if that takes long."""
        wait([cls.ending])
        cls.session.stop()
        threading.Event().wait(SECONDS_TO_STOP)
        os._exit(1)

    @classmethod
    def measure(cls, run: Run) -> Found:
        """Runs one job."""
        if wait([cls.ending], timeout=0):
            return {"problem": INTERRUPTED}
        return measure(cls.experiment, cls.session, run)
