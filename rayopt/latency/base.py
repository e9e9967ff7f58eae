"""What a latency is, and what the fleets call.

A latency is configured without the number of workers and bound to it later:
``latency.bind(workers, stream)`` gives the durations of one run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt import keys
from rayopt.errors import InvalidInput

Array = NDArray[np.float64]


class Latency(ABC):
    """How long the tasks, or the messages, of any number of workers take.

    Attributes:
      name: what a workload file calls it.
      paper: where it is used; empty if nowhere in particular.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""

    @abstractmethod
    def bind(self, workers: int, stream: keys.Stream) -> BoundLatency:
        """Returns the durations of ``workers`` workers in one run.

        Args:
          workers: how many there are, numbered from 0.
          stream: addresses the random draws; its seed orders what is permuted.

        Raises:
          InvalidInput: a list of another length, a duration that is not positive, NaN.
        """

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Returns the mapping from which :func:`rayopt.latency.latency` makes an equal object."""


class BoundLatency(ABC):
    """The durations of one run, in seconds: a function of worker, task number and start.

    Attributes:
      fixed: the durations, shape (workers,), if they depend on neither number nor start; else None.
      expected: mean durations in seconds, shape (workers,); may be infinite.
    """

    __slots__ = ("_latency", "_stream", "_workers", "expected", "fixed")

    fixed: Array | None
    expected: Array

    def __init__(self, latency: Latency, workers: int, stream: keys.Stream) -> None:
        self._latency = latency
        self._workers = workers
        self._stream = stream

    @abstractmethod
    def duration(self, worker: int, number: int, start: float) -> float:
        """Returns the seconds of one task; infinite if it never ends.

        Args:
          worker: from 0; a Python int, as its key has more bits than a NumPy integer.
          number: how many tasks the worker was given before; a Python int.
          start: fleet seconds at which the task starts.
        """

    @abstractmethod
    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: float) -> Array:
        """Returns :meth:`duration` of every pair, bit for bit; shape (m,).

        Args:
          workers: shape (m,).
          numbers: shape (m,).
          start: fleet seconds at which all of them start.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        return self._latency.bind, (self._workers, self._stream)


class BoundFixed(BoundLatency):
    """Durations that are the same for every task of a worker.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to.
      times: seconds, shape (workers,).
    """

    __slots__ = ("_times",)

    fixed: Array

    def __init__(self, latency: Latency, workers: int, stream: keys.Stream, times: Array) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = self.expected = _read_only(times)
        self._times = self.fixed.data

    def duration(self, worker: int, number: int, start: float) -> float:
        """Returns the seconds of one task."""
        return self._times[worker]

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: float) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        return self.fixed[workers]


class BoundRandom(BoundLatency):
    """Durations base + scale * Q(U), drawn for every task; U is uniform and Q inverts a distribution function.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: gives the key of every (worker, task number).
      base: seconds, shape (workers,).
      scale: seconds, shape (workers,).
      quantile: Q as a function of (u, worker), both scalar or both of shape (m,). It must be made of NumPy
        and SciPy functions only, for which one value has the same bits alone and in an array.
      mean: of Q(U), a number or shape (workers,).

    Raises:
      InvalidInput: a duration can be 0 or NaN.
    """

    __slots__ = ("_base", "_base_view", "_quantile", "_scale", "_scale_view")

    def __init__(
        self,
        latency: Latency,
        workers: int,
        stream: keys.Stream,
        base: Array,
        scale: Array,
        quantile: Callable[[Any, Any], Any],
        mean: float | Array,
    ) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        self.expected = _read_only(base + scale * mean)
        self._base = base
        self._scale = scale
        self._base_view = base.data
        self._scale_view = scale.data
        self._quantile = quantile
        self._check_extremes()

    def duration(self, worker: int, number: int, start: float) -> float:
        """Returns the seconds of one task."""
        u = keys.uniform(self._stream.key(worker, number))
        return self._base_view[worker] + self._scale_view[worker] * float(self._quantile(u, worker))

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: float) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        u = keys.uniforms(self._stream.keys(workers, numbers))
        return self._base[workers] + self._scale[workers] * self._quantile(u, workers)

    def _check_extremes(self) -> None:
        """Q is monotone: what holds at the smallest and the largest U holds for every draw."""
        everyone = np.arange(self._workers)
        for key in (0, keys.MASK):
            extreme = self._base + self._scale * self._quantile(np.full(self._workers, keys.uniform(key)), everyone)
            if not (extreme > 0).all():
                worst = int(np.argmin(extreme > 0))
                raise InvalidInput(
                    self._latency.name,
                    f"a duration of worker {worst} can be {extreme[worst]:g}",
                    "positive durations: a base above 0, or less spread",
                )


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array
