"""The workers of an experiment: how many, and how long things take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.errors import InvalidInput, at_least
from rayopt.keys import Stream
from rayopt.latency import latency, zero
from rayopt.tasks import Gradient

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Workers:
    """n workers with their latencies.

    Args:
      count: n.
      compute: seconds per stochastic gradient: a latency, a number, a list of n numbers or a formula in
        i (from 1) and n.
      upload: seconds to send a result to the server.
      download: seconds to send a task to the worker.

    Raises:
      InvalidInput: a latency that does not fit n workers.
    """

    count: int
    compute: Any
    upload: Any = field(default_factory=zero)
    download: Any = field(default_factory=zero)

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        for direction in ("compute", "upload", "download"):
            try:
                found = latency(getattr(self, direction))
                expected = found.bind(self.count, Stream(0, direction)).expected
            except InvalidInput as error:
                raise error.within(direction) from None
            if direction == "compute" and not (expected > 0).all():
                worker = int(np.argmin(expected))
                raise InvalidInput("compute", f"0 for worker {worker}", "times above 0 (links alone may be free)")
            object.__setattr__(self, direction, found)

    def times(self, seed: int) -> TaskTimes:
        """Returns the durations of this seed's tasks."""
        return TaskTimes(self, seed)


class TaskTimes:
    """How long each task takes: download, cost times one gradient, upload. A function of (seed, worker, number).

    Attributes:
      n: number of workers.
      fixed: seconds of a task of cost 1, shape (n,), if they never change; else None.
      expected: mean seconds of a task of cost 1, shape (n,).
    """

    def __init__(self, workers: Workers, seed: int) -> None:
        self.n = workers.count
        self._compute = workers.compute.bind(self.n, Stream(seed, "compute"))
        self._communication = [
            getattr(workers, direction).bind(self.n, Stream(seed, direction))
            for direction in ("download", "upload")
            if getattr(workers, direction).name != "zero"
        ]
        parts = [self._compute, *self._communication]
        self.expected: Array = np.sum([part.expected for part in parts], axis=0)
        self.fixed: Array | None = None
        if all(part.fixed is not None for part in parts):
            self.fixed = np.sum([part.fixed for part in parts], axis=0)

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a task of cost 1 takes at most ``seconds``, both of shape (n,)."""
        return None if self.fixed is None else (self.fixed <= seconds).astype(np.float64)

    def seconds(self, task: Gradient, worker: int, number: int, start: float) -> float:
        """Returns the seconds of a task of any kind, if the worker never gives up."""
        if task.draws == 1:
            return self.duration(worker, number, start, task.cost)
        seconds = 0.0
        for position in range(task.draws):
            seconds += self.duration(worker, number + position, start + seconds, task.cost)
        return seconds

    def duration(self, worker: int, number: int, start: float, cost: float) -> float:
        """Returns the seconds of one drawn duration."""
        seconds = cost * self._compute.duration(worker, number, start)
        for part in self._communication:
            seconds += part.duration(worker, number, start)
        return seconds

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: float, cost: float) -> Array:
        """Returns :meth:`duration` of many tasks at once, the same bits, shape (m,)."""
        seconds = cost * self._compute.durations(workers, numbers, start)
        for part in self._communication:
            seconds += part.durations(workers, numbers, start)
        return seconds
