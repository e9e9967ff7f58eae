"""Real time on Ray: throughput beside a bare loop, fairness, slip, packed workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

import rayopt as ro
from benchmarks.measure import Row, interleaved, run_once
from rayopt.core.arrivals import Arrival
from rayopt.core.tasks import Gradient
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.fleet import RaySession
from rayopt.fleets.ray.messages import Order
from rayopt.methods.base import Fleet
from rayopt.problems import LogisticRegression
from rayopt.runs.outcome import Outcome
from rayopt.runs.record import Record

AT_ONCE = "1e-9 * i"


class BusyASGD(ro.methods.ASGD):
    """ASGD on a server that is busy for 2 ms per update."""

    name = "busy_asgd"

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        done = time.perf_counter() + 0.002
        while time.perf_counter() < done:
            pass
        super().receive(arrival, fleet)


@ray.remote(num_cpus=0)
class BareServer:
    """A server with nothing but a drained ``ray.wait`` and the update."""

    def run(self, workers: list[Any], x: Any, seconds: float) -> float:
        """Returns arrivals per second."""
        count, numbers = 0, [0] * len(workers)

        def ask(worker: int) -> Any:
            numbers[worker] += 1
            order = Order(worker, 10**12 + count, numbers[worker], Gradient(x, count), 0.0, time.monotonic())
            return workers[worker].compute.remote(order)

        pending = {ask(worker): worker for worker in range(len(workers))}
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            references = list(pending)
            ray.wait(references, num_returns=1, fetch_local=False)
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
            for reference, reply in zip(ready, ray.get(ready), strict=True):
                x = x - 1e-4 * reply.value
                count += 1
                worker = pending.pop(reference)
                pending[ask(worker)] = worker
        elapsed = time.monotonic() - start
        ray.get(list(pending))
        return count / elapsed


def rows() -> Iterator[Row]:
    """Yields the rows of real time."""
    problem = LogisticRegression.mnist()
    # The benchmark's own actors and method are importable by every process of this cluster.
    connect(None)
    try:
        yield throughput(problem)
        yield fairness(problem)
        yield slip(problem)
        yield packed(problem)
    finally:
        ray.shutdown()


def throughput(problem: LogisticRegression, seconds: float = 5.0) -> Row:
    """Eight actors without emulated latency, beside a bare loop over the same actors."""
    workers, until = ro.Workers(8, AT_ONCE), ro.Until(time=seconds)
    record = Record(metrics=(), trace="all").resolve(problem.metric_names, until)
    with RaySession(ro.RayFleet(), problem, workers) as session:
        bare = BareServer.remote()

        def ours() -> float:
            outcome = session.run(
                Job(ro.methods.ASGD(1e-4), 0, until, record), lambda rows: None, lambda progress: None
            )
            return outcome.counts.arrivals / outcome.time

        def floor() -> float:
            return ray.get(bare.run.remote(session.actors, problem.start_point(), seconds))

        ours()
        measured, floor_rate = interleaved(ours, floor)
        ray.kill(bare)
    share = measured / floor_rate
    return Row("Ray, 8 actors, d = 7,850, no emulated latency", f"{share:.0%} ({measured:,.0f} arrivals/s)",
               "at least 85% of the floor", share >= 0.85, f"bare drained ray.wait {floor_rate:,.0f}")  # fmt: skip


def fairness(problem: LogisticRegression) -> Row:
    """Shares of eight equal workers while the server is busy."""
    arrivals: Counter[int] = Counter()
    run_once(
        BusyASGD(1e-4), problem, ro.Workers(8, "0.001"), ro.Until(updates=1600), "all", ro.RayFleet(),
        on_trace=lambda rows: arrivals.update(rows["worker"].tolist()),
    )  # fmt: skip
    counts = np.array([arrivals[worker] for worker in range(8)])
    spread = float(np.abs(counts / counts.mean() - 1).max())
    return Row("Ray, shares of 8 equal workers, server busy 2 ms per update",
               f"{counts.min()} to {counts.max()} ({spread:.1%})", "within 2% of the mean", spread <= 0.02,
               f"equal {counts.mean():.0f}")  # fmt: skip


def slip(problem: LogisticRegression) -> Row:
    """End-to-end slip of eight workers with emulated times."""
    outcome = run_once(
        ro.methods.ASGD(1e-4), problem, ro.Workers(8, "0.02 * sqrt(i)"), ro.Until(time=10), "all", ro.RayFleet()
    )
    median, p99 = outcome.slip["median"] * 1e3, outcome.slip["p99"] * 1e3
    return Row("Ray, 8 workers, times 20 ms * sqrt(i)", f"slip {median:.2f} ms median, {p99:.2f} ms p99",
               "median at most 3 ms", median <= 3, "0 ms")  # fmt: skip


def packed(problem: LogisticRegression) -> Row:
    """A thousand workers in two actors, whose first replies come all at once; beside times that are spread."""

    def run(times: str) -> Outcome:
        return run_once(
            ro.methods.ASGD(1e-4), problem, ro.Workers(1000, times), ro.Until(time=15), "all",
            ro.RayFleet(workers_per_actor=500),
        )  # fmt: skip

    equal, spread = run("0.5"), run("0.4 + 0.2 * i / n")
    rate, p99 = equal.counts.arrivals / equal.time, equal.slip["p99"] * 1e3
    return Row("Ray, 1,000 workers packed in 2 actors, d = 7,850, times 0.5 s",
               f"{rate:,.0f} arrivals/s, slip {p99:.0f} ms p99", "at least 1,800, p99 at most 80 ms",
               rate >= 1800 and p99 <= 80,
               f"possible 2,000; times of 0.4 to 0.6 s: {spread.slip['p99'] * 1e3:.0f} ms")  # fmt: skip
