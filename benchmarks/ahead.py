"""Virtual order, parallel gradients: two processes beside the run in one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import ray

import rayopt as ro
from benchmarks.measure import Row, interleaved, seconds
from rayopt.fleets.base import Job, Session
from rayopt.fleets.ray.connection import connect
from rayopt.problems import Quadratic
from rayopt.recording import Record

BUSY = 0.02


class Busy(Quadratic):
    """A gradient that takes 20 ms of processor time."""

    def gradient(self, x: Any, sample: Any, checkpoint: Any = None) -> Any:
        done = time.thread_time() + BUSY
        gradient = super().gradient(x, sample, checkpoint)
        while time.thread_time() < done:
            pass
        return gradient


def rows() -> Iterator[Row]:
    """Yields the row of ASGD, whose gradients are at points of their own."""
    problem, workers, until = Busy(7_850, noise=0.01), ro.Workers(2, [1.0, 1.1]), ro.Until(updates=100)
    record = Record(metrics=(), trace=False).resolve(problem.metric_names, until)

    def run(session: Session) -> float:
        job = Job(ro.methods.ASGD(1e-3), 0, until, record)
        return seconds(lambda: session.run(job, lambda rows: None, lambda progress: None))

    connect(None)
    try:
        with (
            ro.SimulatedFleet().open(problem, workers) as alone,
            ro.SimulatedFleet(gradients="ray", processes=2).open(problem, workers) as parallel,
        ):
            run(parallel)
            one, two = interleaved(lambda: run(alone), lambda: run(parallel))
    finally:
        ray.shutdown()
    yield Row("virtual ASGD, 2 workers, gradients of 20 ms on 2 Ray actors, d = 7,850", f"{one / two:.2f} x",
              "at least 1.7 x", one / two >= 1.7, f"1 x: {one / until.updates * 1e3:.1f} ms a gradient")  # fmt: skip
