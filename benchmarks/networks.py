"""Methods without a server: events of a large network, a curve at the size of the paper's experiment, memory."""

from __future__ import annotations

import heapq
import subprocess
import sys
from collections.abc import Iterator

import rayopt as ro
from benchmarks.measure import Row, cpu_seconds, interleaved
from rayopt.problems import Free

SECONDS, HEAP_EVENTS = 60, 300_000
MEMORY = """
import resource
import rayopt as ro
network = ro.Network("torus:32x32", 1.0, edges=0.1)
ro.run(ro.methods.Fragile(0.1, 500), ro.problems.Quadratic(7850, noise=0.01), network, until=ro.Until(time=40),
       record=ro.Record(trace=False, metrics=["value"]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


def heap_events_per_second() -> float:
    """Returns how many events a heap of as many nodes gives in a second, with nothing else."""
    heap = [(1.0 + node * 1e-6, node) for node in range(1024)]

    def turn() -> None:
        for _ in range(HEAP_EVENTS):
            time, node = heap[0]
            heapq.heapreplace(heap, (time + 1.0, node))

    return HEAP_EVENTS / cpu_seconds(turn)


def rows() -> Iterator[Row]:
    """Yields the rows of methods without a server."""
    torus = ro.Network(ro.graphs.torus(32, 32), 1.0, edges=0.1)
    quiet = ro.Record(trace=False)

    def events_per_second() -> float:
        found: list[ro.Result] = []
        until, method = ro.Until(time=SECONDS), ro.methods.Fragile(0.1, 500)
        seconds = cpu_seconds(lambda: found.append(ro.run(method, Free(2), torus, until=until, record=quiet)))
        row = found[0].table.iloc[0]
        # A gradient is an event, and a message two: it comes, and its edge is free.
        return (row.arrivals + 2 * row.bits_up / 128) / seconds

    events, heap = interleaved(events_per_second, heap_events_per_second)
    yield Row("network Fragile, 1,024 nodes, torus, free oracle", f"{events:,.0f} events/s", "20,000", events >= 20_000,
              f"bare heap {heap:,.0f}")  # fmt: skip
    mesh = ro.Network(ro.graphs.mesh(10, 10), 1.0, edges=1.0)
    problem = ro.problems.Quadratic(1000, noise=0.0, noise_kind="progress", probability=0.001)
    fragile = ro.methods.Fragile(1.0, 120, pivot="centre")
    seconds = cpu_seconds(
        lambda: ro.run(fragile, problem, mesh, until=ro.Until(time=20_000), record=ro.Record(every=500, trace=False))
    )
    yield Row("network Fragile, 10 x 10 mesh, d = 1,000, 20,000 s", f"{seconds:.1f} s", "60 s", seconds <= 60,
              "2,222 updates of 120 gradients")  # fmt: skip
    told = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    memory = float(told.stdout)
    yield Row("network memory, 1,024 nodes, d = 7,850", f"{memory:.2f} GB", "2 GB", memory <= 2, "of the whole process")
