"""Compressed messages: Shadowheart's events, supports of RandK, and what a compressor saves on Ray."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

import rayopt as ro
from benchmarks.large_gradients import TWO_HOSTS, over_the_link
from benchmarks.measure import Row, cpu_seconds, interleaved, run_once
from benchmarks.real_time import AT_ONCE
from rayopt.compression import RandK, TopK
from rayopt.core.keys import subkeys
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.fleet import RaySession
from rayopt.problems import Quadratic
from rayopt.runs.record import Record

MILLION = 1_000_000


def rows() -> Iterator[Row]:
    """Yields the rows of compressed messages."""
    yield shadowheart()
    yield supports()
    connect(None)
    try:
        yield on_ray()
    finally:
        ray.shutdown()
    yield over_a_network()


def shadowheart() -> Row:
    """Whole iterations with n = 1,000 workers, d = 7,850 and one float in a message, beside a bare heap."""
    problem, n = Quadratic(7850, noise=0.1), 1000
    h, tau = np.random.default_rng(0).uniform(0.1, 1, size=(2, n)).tolist()
    workers = ro.Workers(n, h, upload=ro.Link(per_float=tau))
    method = ro.methods.Shadowheart(0.1, RandK(1), noise_ratio=1000)
    counted = run_once(method.fresh(), problem, workers, ro.Until(updates=3), False).counts.arrivals

    def bare() -> None:
        heap = [(time, worker) for worker, time in enumerate(tau)]
        heapq.heapify(heap)
        for _ in range(counted):
            time, worker = heap[0]
            heapq.heapreplace(heap, (time + tau[worker], worker))

    measured, floor = interleaved(
        lambda: cpu_seconds(lambda: run_once(method.fresh(), problem, workers, ro.Until(updates=3), False)),
        lambda: cpu_seconds(bare),
    )
    rate = counted / measured
    return Row("virtual, Shadowheart, n = 1,000, d = 7,850, K = 1, whole iterations", f"{rate:,.0f} messages/s",
               "300,000", rate >= 300_000, f"bare heap {counted / floor:,.0f}")  # fmt: skip


def supports() -> Row:
    """RandK of a stack of 100 vectors, d = 100,000, K = 1,000, beside argpartition on the same keys."""
    d, k = 100_000, 1000
    x = np.random.default_rng(0).normal(size=(100, d))
    kind = RandK(k)

    def ours() -> None:
        for key in range(10):
            kind.compress(x, key)

    def floor() -> None:
        for key in range(10):
            kept = np.argpartition(subkeys(np.array([key], dtype=np.uint64), d)[0], k)[:k]
            found = np.zeros(x.shape)
            found[:, kept] = x[:, kept] * (d / k)

    measured, bare = interleaved(lambda: cpu_seconds(ours), lambda: cpu_seconds(floor))
    return Row("RandK of 100 vectors, d = 100,000, K = 1,000", f"{measured / bare:.2f} x", "at most 3 x",
               measured <= 3 * bare, f"argpartition {bare * 100:.1f} ms")  # fmt: skip


def on_ray(duration: float = 8.0) -> Row:
    """Eight workers with gradients of 8 MB: EF21 with TopK of 1 % beside Minibatch, in used replies and their bytes."""
    problem = Quadratic(MILLION, noise=0.1, noise_kind="iid")
    with RaySession(ro.RayFleet(), problem, ro.Workers(8, AT_ONCE)) as session:

        def used(method: ro.methods.Method) -> float:
            job: Any = Job(method, 0, ro.Until(time=duration), Record(every=duration, trace=False, metrics=["value"]))
            outcome = session.run(job, lambda rows: None, lambda progress: None)
            counts[type(method).__name__] = outcome.counts
            return outcome.counts.used / outcome.time

        counts: dict[str, Any] = {}
        used(ro.methods.Minibatch(0.1))
        compressed, plain = interleaved(
            lambda: used(ro.methods.EF21(0.1, TopK(MILLION // 100))), lambda: used(ro.methods.Minibatch(0.1))
        )
    share = (counts["EF21"].bits_up / counts["EF21"].arrivals) / (64 * MILLION)
    return Row(
        "Ray, 8 workers, 8 MB gradients, EF21 with TopK 1 %", f"{compressed / plain:.2f} x, {share:.2%} of bytes",
        "4 x, at most 1.5 %", compressed >= 4 * plain and share <= 0.015,
        f"Minibatch {plain:.0f} used/s, its gradients in shared memory",
    )  # fmt: skip


def over_a_network(rounds: int = 4) -> Row:
    """The same eight workers on another host, behind a link of 100 Mbit/s, and all that comes over it."""
    path = "Ray, 8 workers on another host, 8 MB gradients, EF21 with TopK 1 %"
    sys.path.append(str(TWO_HOSTS))
    from namespaces import NotAllowed, two_hosts

    try:
        with two_hosts(rate="100mbit") as (hosts, how):
            compressed, plain = (over_the_link(hosts, name, 8 * rounds, far=8) for name in ("top_k", "minibatch"))
    except NotAllowed as error:
        return Row(path, f"not measured: {error}", "network namespaces", False)
    ratio, share = plain["seconds"] / compressed["seconds"], compressed["bytes"] / plain["bytes"]
    return Row(path, f"{ratio:.2f} x, {share:.2%} of the bytes on the wire ({how})", "4 x, at most 1.5 %",
               ratio >= 4 and share <= 0.015, f"Minibatch {8 * rounds / plain['seconds']:.1f} used/s")  # fmt: skip
