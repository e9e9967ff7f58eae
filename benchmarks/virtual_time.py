"""Virtual time: the event core, methods on real oracles, step-size grids."""

from __future__ import annotations

import heapq
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rayopt as ro
from benchmarks.measure import REPEATS, Row, interleaved, run_once, seconds
from rayopt.core.keys import Stream
from rayopt.problems import Free, LogisticRegression, Quadratic
from rayopt.problems.base import Problem
from rayopt.storage.trace.writer import TraceWriter

MANY_WORKERS = """
import resource
import rayopt as ro
from benchmarks.measure import run_once
from rayopt.problems import Free
outcome = run_once(ro.methods.ASGD(0.1), Free(10), ro.Workers({n}, "sqrt(i)"), ro.Until(arrivals={arrivals}), "all")
print({arrivals} / outcome.wall_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def rows() -> Iterator[Row]:
    """Yields the rows of virtual time."""
    yield event_core()
    yield many_workers()
    mnist = {batch: LogisticRegression.mnist(batch=batch) for batch in (1, 32)}
    yield replayed(mnist[1], arrivals=50_000, least=0.80)
    yield replayed(mnist[32], arrivals=30_000, least=0.88)
    yield rennala(interrupt=True, updates=800, least=1_500)
    yield rennala(interrupt=False, updates=150, least=80)
    quadratic = Quadratic(dimension=1729)
    yield grid(
        "ASGD, quadratic d = 1,729, n = 100", ro.methods.ASGD, {}, quadratic, 100, ro.Until(arrivals=10_000), 5.0
    )
    batch = {"batch_size": 617}
    yield grid("Rennala B = 617, quadratic", ro.methods.Rennala, batch, quadratic, 1000, ro.Until(updates=100), 1.5)
    yield grid("Rennala B = 617, MNIST", ro.methods.Rennala, batch, mnist[1], 1000, ro.Until(updates=40), 3.0)


def event_core() -> Row:
    """ASGD on a free oracle with the trace written to its file, beside a bare heap loop."""
    arrivals, n = 400_000, 1000

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            trace = TraceWriter(Path(folder))
            outcome = run_once(
                ro.methods.ASGD(0.1), Free(), ro.Workers(n, "sqrt(i)"), ro.Until(arrivals=arrivals), "all",
                on_trace=lambda chunk: trace.write(chunk, "asgd", "ASGD", 0),
            )  # fmt: skip
            trace.close(Path(folder) / "trace.parquet")
        return arrivals / outcome.wall_seconds

    def floor() -> float:
        times = np.sqrt(np.arange(1, n + 1)).tolist()
        heap = sorted((time, worker, 0) for worker, time in enumerate(times))

        def loop() -> None:
            for _ in range(arrivals):
                time, worker, number = heap[0]
                heapq.heapreplace(heap, (time + times[worker], worker, number + 1))

        return arrivals / seconds(loop)

    measured, bare = interleaved(ours, floor)
    return Row("virtual, free oracle, n = 1,000, ASGD, trace to the file", f"{measured:,.0f} arrivals/s",
               "at least 400,000", measured >= 400_000, f"bare heap {bare:,.0f}")  # fmt: skip


def many_workers() -> Row:
    """ASGD of a million workers on a free oracle, in a process of its own for its memory, beside one at n = 1,000."""
    arrivals = 2_000_000

    def run(n: int) -> list[float]:
        program = [sys.executable, "-c", MANY_WORKERS.format(n=n, arrivals=arrivals)]
        return [float(word) for word in subprocess.check_output(program, text=True).split()]

    runs = [run(1_000_000) + run(1_000)[:1] for _ in range(REPEATS)]
    rate, peak, few = (statistics.median(column) for column in zip(*runs, strict=True))
    is_met = rate >= 200_000 and peak <= 800e6
    return Row("virtual, free oracle, n = 1,000,000, d = 10, ASGD", f"{rate:,.0f} arrivals/s, {peak / 1e6:,.0f} MB",
               "at least 200,000, at most 800 MB", is_met, f"n = 1,000: {few:,.0f}")  # fmt: skip


def replayed(problem: LogisticRegression, arrivals: int, least: float) -> Row:
    """ASGD on MNIST beside a loop that evaluates the same points on the same samples and does nothing else."""
    n, step_size = 1000, 1e-4
    workers, until = ro.Workers(n, "sqrt(i)"), ro.Until(arrivals=arrivals)
    chunks: list[Any] = []
    run_once(
        ro.methods.ASGD(step_size), problem, workers, until, "all", on_trace=lambda rows: chunks.append(rows.copy())
    )
    order = np.concatenate([chunk["worker"] for chunk in chunks]).tolist()
    stream, given = Stream(0, "sample"), [0] * n
    sequence = []
    for worker in order:
        sequence.append((worker, problem.draw(worker, stream.key(worker, given[worker]))))
        given[worker] += 1

    def ours() -> float:
        return arrivals / run_once(ro.methods.ASGD(step_size), problem, workers, until).wall_seconds

    def floor() -> float:
        def loop() -> None:
            x = problem.start_point()
            points = [x] * n
            for worker, sample in sequence:
                x = x - step_size * problem.gradient(points[worker], sample)
                points[worker] = x

        return arrivals / seconds(loop)

    measured, bare = interleaved(ours, floor)
    share = measured / bare
    return Row(f"virtual ASGD, MNIST d = 7,850, n = 1,000, batch {problem.batch}",
               f"{share:.0%} ({measured:,.0f} gradients/s)", f"at least {least:.0%} of the floor", share >= least,
               f"bare replay {bare:,.0f}")  # fmt: skip


def rennala(interrupt: bool, updates: int, least: float) -> Row:
    """Rennala at the size of the Ringmaster paper, beside its gradients alone."""
    problem = Quadratic(dimension=1729, noise_kind="shared")
    workers, until = ro.Workers(6174, "1 + sqrt(i)"), ro.Until(updates=updates)

    def ours() -> float:
        method = ro.methods.Rennala(0.5, batch_size=617, interrupt=interrupt)
        return updates / run_once(method, problem, workers, until, "arrivals").wall_seconds

    def floor() -> float:
        def loop() -> None:
            x, stream = problem.start_point(), Stream(0, "sample")
            for update in range(updates):
                keys = stream.keys(np.arange(617), np.full(617, update))
                x = x - 0.5 / 617 * problem.gradient_sum(x, problem.draw_many(np.arange(617), keys))

        return updates / seconds(loop)

    measured, bare = interleaved(ours, floor)
    kind = "with" if interrupt else "without"
    return Row(f"virtual Rennala, n = 6,174, B = 617, d = 1,729, {kind} interrupt", f"{measured:,.0f} steps/s",
               f"at least {least:,.0f}", measured >= least, f"its gradients alone {bare:,.0f}")  # fmt: skip


def grid(
    title: str, kind: type[ro.methods.Method], arguments: dict[str, Any], problem: Problem, n: int,
    until: ro.Until, most: float,
) -> Row:  # fmt: skip
    """A grid of ten step sizes in one run, beside one member."""
    steps = [1e-3 * 1.1**power for power in range(10)]
    workers = ro.Workers(n, "sqrt(i)")

    def wall(step_size: Any) -> float:
        return run_once(kind(step_size=step_size, **arguments), problem, workers, until).wall_seconds

    whole, single = interleaved(lambda: wall(steps), lambda: wall(steps[0]))
    ratio = whole / single
    return Row(f"grid of 10 step sizes in one run, {title}", f"{ratio:.2f} x", f"at most {most:g} x one member",
               ratio <= most, f"one member {single:.2f} s")  # fmt: skip
