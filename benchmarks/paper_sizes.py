"""Virtual time at the sizes of the papers: thousands of workers restarted per update, long runs of short tasks.

All in processor seconds, as these runs are one thread each.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import rayopt as ro
from benchmarks.measure import Row, cpu_seconds, interleaved, run_once
from rayopt.core.keys import Stream
from rayopt.fleets.base import Job
from rayopt.methods import Method
from rayopt.problems import Free, Quadratic
from rayopt.runs.outcome import Outcome
from rayopt.runs.record import Record

N = 6174
LATENCIES = {
    "times i + |N(0, i)|": ro.latency.half_normal(base="i", scale="sqrt(i)"),
    "permuted 1 + sqrt(i) + |N(0, i)|": ro.latency.half_normal(
        base=ro.latency.permuted("1 + sqrt(i - 1)"), scale="sqrt(i)"
    ),
}


def rows() -> Iterator[Row]:
    """Yields the rows of the papers' sizes."""
    for times, compute in LATENCIES.items():
        workers = ro.Workers(N, compute)
        yield restarts(f"Ringmaster R = 617 with stops, {times}", ro.methods.Ringmaster(1e-3, 617, interrupt=True),
                       workers, updates=10_000, batch=1, least=8000)  # fmt: skip
        yield restarts(f"Ringmaster R = 6 with stops, {times}", ro.methods.Ringmaster(0.2, 6, interrupt=True),
                       workers, updates=3000, batch=1, least=4000)  # fmt: skip
        yield restarts(f"Rennala B = 6 with stops, {times}", ro.methods.Rennala(1.0, 6, interrupt=True),
                       workers, updates=1500, batch=6, least=1500)  # fmt: skip
    yield figure(workers, time=3000.0, most=20.0)
    yield allocation(updates=10_000, most=128e-6)


def restarts(title: str, method: Method, workers: ro.Workers, updates: int, batch: int, least: float) -> Row:
    """A method that restarts many workers per update, beside its gradients and steps alone."""
    problem = Quadratic(dimension=1729, noise_kind="shared")

    def ours() -> float:
        until = ro.Until(updates=updates)
        return updates / cpu_seconds(lambda: run_once(method.fresh(), problem, workers, until, "arrivals"))

    measured, bare = interleaved(ours, lambda: updates / cpu_seconds(gradients(problem, updates, batch)))
    return Row(f"virtual {title}, n = 6,174, d = 1,729", f"{measured:,.0f} updates/s", f"at least {least:,.0f}",
               measured >= least, f"its gradients alone {bare:,.0f}")  # fmt: skip


def gradients(problem: Quadratic, updates: int, batch: int) -> Callable[[], None]:
    """Returns a loop that makes so many steps on ``batch`` samples each, and does nothing else."""

    def loop() -> None:
        x, stream = problem.start_point(), Stream(0, "sample")
        for update in range(updates):
            if batch == 1:
                gradient = problem.gradient(x, problem.draw(0, stream.key(0, update)))
            else:
                keys = stream.keys_of(0, batch * update, batch)
                gradient = problem.gradient_sum(x, problem.draw_many(np.zeros(batch, dtype=int), keys))
            x = x - 1e-3 * gradient

    return loop


def figure(workers: ro.Workers, time: float, most: float) -> Row:
    """The four curves of the Ringmaster paper's figure, beside the gradients of the longest one alone."""
    problem, until = Quadratic(dimension=1729, noise_kind="shared"), ro.Until(time=time)
    methods = [
        ro.methods.Ringmaster(0.25, 6, interrupt=True), ro.methods.Ringmaster(0.2, 6, interrupt=True),
        ro.methods.Rennala(1.0, 6, interrupt=True), ro.methods.DelayAdaptiveASGD(0.00032),
    ]  # fmt: skip
    record = Record(every=20, metrics=["grad_norm_sq"], trace="arrivals").resolve(problem.metric_names, until)

    def curve(method: Method) -> Outcome:
        with ro.SimulatedFleet().open(problem, workers) as session:
            return session.run(Job(method.fresh(), 0, until, record), lambda rows: None, lambda progress: None)

    updates = curve(methods[-1]).updates
    measured, bare = interleaved(
        lambda: cpu_seconds(lambda: [curve(method) for method in methods]),
        lambda: cpu_seconds(gradients(problem, updates, 1)),
    )
    return Row("virtual, figure of the Ringmaster paper, four curves to t = 3,000, n = 6,174, d = 1,729",
               f"{measured:.1f} s", f"at most {most:g} s", measured <= most,
               f"gradients of the longest alone {bare:.1f} s")  # fmt: skip


def allocation(updates: int, most: float) -> Row:
    """The five methods of the ATA paper's main setting without gradients, beside a bare heap of as many events."""
    batch, n = 23, 51
    largest_mean, code = 58.0 * n, 4 * math.e
    workers = ro.Workers(n, ro.latency.exponential(mean="29 * i", base="29 * i"))
    methods: list[Any] = [
        ro.methods.GTA(0.1, batch), ro.methods.UTA(0.1, batch), ro.methods.OFTA(0.1, batch),
        ro.methods.ATA(0.1, batch, alpha=2 * largest_mean, confidence=code),
        ro.methods.ATAEmpirical(0.1, batch, eta=2.0, confidence=code),
    ]  # fmt: skip

    def ours() -> float:
        def runs() -> None:
            for method in methods:
                run_once(method.fresh(), Free(), workers, ro.Until(updates=updates))

        return cpu_seconds(runs) / (updates * len(methods))

    def floor() -> float:
        heap = [(29.0 * worker, worker) for worker in range(1, n + 1)]

        def loop() -> None:
            for _ in range(batch * updates):
                time, worker = heap[0]
                heapq.heapreplace(heap, (time + 29.0 * worker, worker))

        return cpu_seconds(loop) / updates

    measured, bare = interleaved(ours, floor)
    return Row("virtual, ATA's main setting without gradients, five methods, n = 51, B = 23",
               f"{measured * 1e6:.0f} us an iteration", f"at most {most * 1e6:.0f} us: 750,000 of each in 8 minutes",
               measured <= most, f"bare heap of {batch} events {bare * 1e6:.0f} us")  # fmt: skip
