"""The workers of an experiment: how many, and how long things take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import Stream
from rayopt.core.memory import check_fits
from rayopt.core.tasks import Gradient
from rayopt.latency import BoundLatency, latency, zero
from rayopt.latency.bisection import last_float
from rayopt.latency.measured import Measured

Array = NDArray[np.float64]
BYTES_PER_WORKER = 200
"""Of the arrays that hold a worker's state and times, at the least."""


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
        object.__setattr__(self, "count", at_least("count", self.count, 1))
        check_fits("count", self.count, self.count * BYTES_PER_WORKER)
        for direction in ("compute", "upload", "download"):
            try:
                found = latency(getattr(self, direction))
                least = found.bind(self.count, Stream(0, direction)).least
            except InvalidInput as error:
                raise error.within(direction) from None
            if direction == "compute" and not isinstance(found, Measured) and not (least > 0).all():
                worker = int(np.argmin(least))
                raise InvalidInput("compute", f"0 for worker {worker}", "times above 0 (links alone may be free)")
            object.__setattr__(self, direction, found)
        self._check_links()

    @property
    def are_measured(self) -> bool:
        """Whether the workers run at full speed, so that their times are known only afterwards."""
        return isinstance(self.compute, Measured)

    def _check_links(self) -> None:
        for direction in ("upload", "download"):
            if self.are_measured and getattr(self, direction).name != "zero":
                raise InvalidInput(direction, "an emulated link beside compute: measured", "none: the way is real too")

    def times(self, seed: int) -> TaskTimes:
        """Returns the durations of this seed's tasks."""
        return TaskTimes(self, seed)


class TaskTimes:
    """How long each task takes: download, cost times one gradient, upload. A function of (seed, worker, number).

    Attributes:
      n: number of workers.
      fixed: seconds of a task of cost 1, shape (n,), if they never change; else None.
      expected: mean seconds of a task of cost 1, shape (n,); None if they are not known.
      least: what no task of cost 1 is below, shape (n,).
      depends_on_start: whether a task's seconds are known only when its start is.
      are_measured: whether they are known only when the task is over, in real time.
    """

    def __init__(self, workers: Workers, seed: int) -> None:
        self.n = workers.count
        self._compute: BoundLatency = workers.compute.bind(self.n, Stream(seed, "compute"))
        links = {
            direction: getattr(workers, direction).bind(self.n, Stream(seed, direction))
            for direction in ("download", "upload")
            if getattr(workers, direction).name != "zero"
        }
        self._links: list[BoundLatency] = list(links.values())
        self._download: BoundLatency | None = links.get("download")
        self._upload: BoundLatency | None = links.get("upload")
        parts = [self._compute, *self._links]
        self.are_measured = workers.are_measured
        self.expected: Array | None = None if self.are_measured else np.sum([part.expected for part in parts], axis=0)
        self.least: Array = np.sum([part.least for part in parts], axis=0)
        self.fixed: Array | None = None
        if all(part.fixed is not None for part in parts):
            self.fixed = np.sum([part.fixed for part in parts], axis=0)
        self.depends_on_start = any(part.depends_on_start for part in parts)

    def seconds(self, task: Gradient, worker: int, number: int, start: float) -> float:
        """Returns the seconds of a task of any kind, if the worker never gives up.

        In real time they are the least that it takes: 0 if they are measured.
        """
        if self.are_measured:
            return 0.0
        if task.draws == 1:
            return self.duration(worker, number, start, task.cost)
        seconds = 0.0
        for position in range(task.draws):
            seconds += self.duration(worker, number + position, start + seconds, task.cost)
        return seconds

    def duration(self, worker: int, number: int, start: float, cost: float) -> float:
        """Returns the seconds of one drawn duration."""
        if not self._links:
            return self._compute.duration(worker, number, start, cost)
        seconds = 0.0
        if self._download is not None:
            seconds = self._download.duration(worker, number, start)
        seconds += self._compute.duration(worker, number, start + seconds, cost)
        if self._upload is not None:
            seconds += self._upload.duration(worker, number, start + seconds)
        return seconds

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float) -> Array:
        """Returns :meth:`duration` of many tasks at once, the same bits; ``start`` is one for all or of shape (m,)."""
        if not self._links:
            return self._compute.durations(workers, numbers, start, cost)
        seconds = np.zeros(len(workers))
        if self._download is not None:
            seconds = self._download.durations(workers, numbers, start)
        seconds = seconds + self._compute.durations(workers, numbers, start + seconds, cost)
        if self._upload is not None:
            seconds = seconds + self._upload.durations(workers, numbers, start + seconds)
        return seconds

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probabilities that a task of cost 1 ends in time, shape (n,).

        Args:
          seconds: the time that each worker has, shape (n,); a task that takes just as long is in time.

        Returns:
          None if a link is random, or if the durations depend on the start or are not known.
        """
        if not self._has_law:
            return None
        if not self._links:
            return self._compute.probability_within(seconds)
        # Not seconds minus the links: rounding would miss a task that takes exactly as long.
        left = last_float(lambda compute: self._with_links(compute) <= seconds, self.n)
        return self._compute.probability_within(left)

    def quantile(self, probability: float) -> Array | None:
        """Returns the least seconds within which a task of cost 1 ends with this probability, shape (n,).

        Args:
          probability: from 0 to 1; 0.5 gives the medians.

        Returns:
          None if a link is random, or if the durations depend on the start or are not known.
        """
        return self._with_links(self._compute.quantile(probability)) if self._has_law else None

    @property
    def never_end(self) -> NDArray[np.bool_]:
        """Whether no task of a worker ever ends, as far as is known before any runs; shape (n,).

        A power that dies out later is not among these: its worker answers until then.
        """
        never = np.zeros(self.n, dtype=bool)
        if self.are_measured:
            return never
        everyone, numbers = np.arange(self.n), np.zeros(self.n, dtype=np.int64)
        for part in (self._compute, *self._links):
            if part.depends_on_start:
                never |= np.isinf(part.durations(everyone, numbers, 0.0))
            else:
                never |= part.probability_within(np.full(self.n, np.finfo(np.float64).max)) == 0
        return never

    @property
    def _has_law(self) -> bool:
        if self.depends_on_start or self.are_measured:
            return False
        return all(link.fixed is not None for link in self._links)

    def _with_links(self, compute: Array) -> Array:
        """Returns the seconds of whole tasks whose links are fixed, in the order in which a task adds them."""
        seconds = compute
        if self._download is not None and self._download.fixed is not None:
            seconds = self._download.fixed + seconds
        if self._upload is not None and self._upload.fixed is not None:
            seconds = seconds + self._upload.fixed
        return seconds
