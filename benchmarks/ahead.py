"""Virtual order, parallel gradients: two processes beside the run in one, and beside a bare loop over the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from threadpoolctl import threadpool_limits

import rayopt as ro
from benchmarks.measure import Row, cpu_seconds, interleaved, seconds
from rayopt.core.tasks import Gradient
from rayopt.fleets.base import Job, Session
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.simulated.parallel.ahead import ParallelSession
from rayopt.fleets.simulated.parallel.calculators import Calculators
from rayopt.problems import Quadratic
from rayopt.runs.record import Record

BUSY = 0.02
UPDATES = 100


class Busy(Quadratic):
    """A gradient that takes 20 ms of processor time, spent on matrix products."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension, noise=0.01)
        self.factor = np.full((100, 100), 0.01)
        self.products = 1_000
        # The best of several: the first ones pay for what is new.
        cost = min(cpu_seconds(self.multiply) for _ in range(5)) / self.products
        self.products = round(BUSY / cost)

    def multiply(self) -> None:
        product = self.factor
        for _ in range(self.products):
            product = product @ self.factor

    def gradient(self, x: Any, sample: Any, checkpoint: Any = None) -> Any:
        self.multiply()
        return super().gradient(x, sample, checkpoint)


def rows() -> Iterator[Row]:
    """Yields a row for two workers, of whose gradients one is in work at each actor, and one for more of them."""
    # The calculators take it over: two threads for each of two processes would wait for each other.
    threadpool_limits(1)
    yield asgd(2)
    yield asgd(8)


def asgd(count: int) -> Row:
    """ASGD, whose gradients are at points of their own; with more workers an actor need not wait for the next."""
    problem, workers, until = Busy(1_000), ro.Workers(count, "1"), ro.Until(updates=UPDATES)
    record = Record(metrics=(), trace=False).resolve(problem.metric_names, until)

    def run(session: Session) -> None:
        job = Job(ro.methods.ASGD(1e-3), 0, until, record)
        session.run(job, lambda rows: None, lambda progress: None)

    connect(None)
    calculators = Calculators(2)
    try:
        with (
            ro.SimulatedFleet().open(problem, workers) as alone,
            ParallelSession(problem, workers, calculators, ray.shutdown) as parallel,
        ):
            run(parallel)
            one, two, bare = interleaved(
                lambda: seconds(lambda: run(alone)),
                lambda: seconds(lambda: run(parallel)),
                lambda: seconds(lambda: bare_loop(calculators, problem.start_point())),
            )
    finally:
        ray.shutdown()
    return Row(f"virtual ASGD, {count} workers, gradients of 20 ms on 2 Ray actors, d = 1,000", f"{one / two:.2f} x",
              "at least 1.7 x", one / two >= 1.7,
              f"bare loop over the actors {one / bare:.2f} x; alone {one / UPDATES * 1e3:.1f} ms")  # fmt: skip


def bare_loop(calculators: Calculators, x: Any) -> None:
    """Has as many gradients computed by the same actors in turn, with nothing between them but the update."""

    def ask(number: int) -> Any:
        return calculators.value(Gradient(x, number), number % 2, number)

    pending = [ask(0), ask(1)]
    for number in range(UPDATES):
        x = x - 1e-3 * calculators.collect(pending[number % 2])
        pending[number % 2] = ask(number + 2)
    for last in pending:
        calculators.collect(last)
