"""Finite sums: the routines of Freya PAGE at the size of the paper's MNIST experiment, in processor seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

import rayopt as ro
from benchmarks.measure import Row, cpu_seconds, interleaved, run_once
from rayopt.problems import LogisticRegression, NonconvexQuadratics

N = 10_000
DIFFERENCES = 40


def rows() -> Iterator[Row]:
    """Yields the rows of finite sums."""
    problem = LogisticRegression.mnist(batch=1)
    workers = ro.Workers(N, "sqrt(i)")
    m = problem.components
    assert m is not None
    everything, start = np.arange(m), problem.start_point()
    full = ro.methods.FreyaPAGE(0.1, probability=1.0)
    measured, products = interleaved(
        lambda: cpu_seconds(lambda: run_once(full.fresh(), problem, workers, ro.Until(updates=1), False)),
        lambda: cpu_seconds(lambda: problem.component_gradient(start, everything)),
    )
    least = m / 60_000
    yield Row(
        f"virtual ComputeGradient, MNIST m = {m:,}, n = 10,000, sqrt(i)", f"{measured:.2f} s",
        f"{least:.2g} s (1 s at m = 60,000), at most half not the products",
        measured <= least and measured - products <= least / 2, f"products {products:.2f} s",
    )  # fmt: skip
    # A quadratic's differences cost next to nothing: what is left is the routine.
    quadratic = NonconvexQuadratics(components=60_000, dimension=10)
    size = math.ceil(math.sqrt(60_000))
    page = ro.methods.FreyaPAGE(0.1, batch_size=size, probability=1e-12)
    first = ro.Until(updates=1)

    def batches(problem: ro.problems.Problem) -> float:
        long = cpu_seconds(lambda: run_once(page.fresh(), problem, workers, ro.Until(updates=1 + DIFFERENCES), False))
        return (long - cpu_seconds(lambda: run_once(page.fresh(), problem, workers, first, False))) / DIFFERENCES

    on_digits, alone = interleaved(lambda: batches(problem), lambda: batches(quadratic))
    yield Row(
        f"virtual ComputeBatchDifference, MNIST, S = {size}, n = 10,000, sqrt(i)", f"{on_digits * 1e3:.1f} ms", "20 ms",
        on_digits <= 0.02, f"without the products {alone * 1e3:.1f} ms",
    )  # fmt: skip
