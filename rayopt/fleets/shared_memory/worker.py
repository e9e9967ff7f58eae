"""The worker actor: it finds the shared memory and updates x in it until it is stopped."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.keys import Stream
from rayopt.fleets.shared_memory.segment import FIRST_COUNTER, LINE, Segment
from rayopt.methods.schedules import Schedule
from rayopt.problems import SparseLogisticRegression

NONZEROS_PER_CHUNK = 100_000
"""So many components are updated between two looks at the stop flag, about a millisecond's worth."""
LARGEST_CHUNK = 4096
NO_LIMIT = 2**62
START_EVERY = 1e-4
"""Real seconds between two looks at the start flag."""


class Assignment(NamedTuple):
    """What a worker does in one run.

    Attributes:
      access: "free", "locked" or "serial".
      step_size: gamma, or a schedule of it.
      seed: addresses the samples.
      limit: how many updates all workers make together; infinity for no limit.
    """

    access: str
    step_size: float | Schedule
    seed: int
    limit: float


class Stint(NamedTuple):
    """How long a worker worked.

    Attributes:
      ended_at: on the machine's monotonic clock, real seconds.
      core_seconds: how long it had a core: less than the time that passed where others use the machine too.
    """

    ended_at: float
    core_seconds: float


class MemoryWorker:
    """One process that updates x. Constructor arguments are few: data come by :meth:`load`.

    Args:
      worker: its number.
    """

    def __init__(self, worker: int) -> None:
        self._worker = worker

    def attach(self, workers: int, dimension: int, name: str) -> None:
        """Finds the shared memory."""
        self._segment = Segment(workers, dimension, name)

    def load(self, shard: SparseLogisticRegression) -> None:
        """Takes the data."""
        from rayopt.fleets.shared_memory.kernels import rows_of

        self._shard = shard
        self._rows = rows_of(shard)
        self._near = np.zeros(self._rows.longest)
        each = max(len(self._rows.values) / len(self._rows.labels), 1.0)
        self._chunk = max(1, min(LARGEST_CHUNK, int(NONZEROS_PER_CHUNK / each)))

    def warm_up(self, access: str) -> None:
        """Compiles the loop, so that the clock of a run does not count it."""
        self._update(access, np.zeros(0, dtype=np.intp), np.zeros(0))

    def run(self, assignment: Assignment) -> Stint:
        """Waits for the others, then updates x until the limit is reached or the stop flag is set."""
        from rayopt.fleets.shared_memory.kernels import take_tickets

        self._segment.wait_at_start(self._worker)
        while not self._segment.may_start:
            time.sleep(START_EVERY)
        started_at = time.thread_time()
        stream = Stream(assignment.seed, "sample")
        limit = NO_LIMIT if assignment.limit == math.inf else int(assignment.limit)
        workers = np.full(self._chunk, self._worker)
        step_size, number, began_at = assignment.step_size, 0, time.monotonic()
        step_sizes = np.zeros(0) if isinstance(step_size, Schedule) else np.full(self._chunk, step_size)
        while True:
            first, count = take_tickets(self._segment.words, self._chunk, limit)
            if not count:
                break
            if isinstance(step_size, Schedule):
                step_sizes = step_size.many(np.arange(first, first + count), time.monotonic() - began_at)
            keys = stream.keys_of(self._worker, number, count)
            self._update(assignment.access, self._shard.draw_many(workers[:count], keys), step_sizes)
            number += count
        return Stint(time.monotonic(), time.thread_time() - started_at)

    def _update(self, access: str, order: NDArray[np.integer], step_sizes: NDArray[np.float64]) -> None:
        from rayopt.fleets.shared_memory.kernels import UPDATES

        counter = FIRST_COUNTER + LINE * self._worker
        update = UPDATES[access]
        segment = self._segment
        update(segment.x, segment.words, counter, self._rows, order, step_sizes, self._near)
