"""What a latency is, and what the fleets call.

A latency is configured without the number of workers and bound to it later:
``latency.bind(workers, stream)`` gives the durations of one run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core import errors, keys
from rayopt.core.errors import InvalidInput
from rayopt.latency.bisection import count_while, first_float

Array = NDArray[np.float64]


class Latency(ABC):
    """How long the tasks, or the messages, of any number of workers take.

    Attributes:
      name: what a workload file calls it.
      paper: where it is used; empty if nowhere in particular.
      example: how a workload file may write it, on one line.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    example: ClassVar[str] = ""

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
    """The durations of one run, in seconds: a function of worker, task number, start and cost.

    Attributes:
      fixed: the durations, shape (workers,), if they depend on neither number nor start; else None.
      expected: mean durations in seconds, shape (workers,); may be infinite, NaN if they are not known.
      least: what no duration is below, shape (workers,): the shortest that can be drawn.
      depends_on_start: whether a duration is known only when its start is.
    """

    __slots__ = ("_latency", "_stream", "_workers", "depends_on_start", "expected", "fixed", "least")

    fixed: Array | None
    expected: Array
    least: Array

    def __init__(self, latency: Latency, workers: int, stream: keys.Stream) -> None:
        self._latency = latency
        self._workers = workers
        self._stream = stream
        self.depends_on_start = False

    @abstractmethod
    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task; infinite if it never ends.

        Args:
          worker: from 0; a Python int, as its key has more bits than a NumPy integer.
          number: how many tasks the worker was given before; a Python int.
          start: fleet seconds at which the task starts.
          cost: of the task in units of one stochastic gradient, above 0.
        """

    @abstractmethod
    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns :meth:`duration` of every pair, bit for bit; shape (m,).

        Args:
          workers: shape (m,).
          numbers: shape (m,).
          start: fleet seconds at which they start, one for all or shape (m,).
          cost: of each of them.
        """

    @abstractmethod
    def probability_within(self, seconds: Array) -> Array:
        """Returns the probabilities that a task of cost 1 ends in time, shape (workers,).

        Args:
          seconds: the time that each worker has, shape (workers,); a duration that is equal is in time.

        Raises:
          InvalidInput: the durations depend on the start, so that they have no law of their own.
        """

    def quantile(self, probability: float) -> Array:
        """Returns the least seconds within which a task of cost 1 ends with this probability, shape (workers,).

        Args:
          probability: from 0, which gives ``least``, to 1; 0.5 gives the medians.

        Raises:
          InvalidInput: not a probability, or durations that depend on the start.
        """
        wanted = errors.probability("probability", probability)
        found = first_float(lambda seconds: self.probability_within(seconds) < wanted, self._workers)
        return np.maximum(found, self.least)

    def work_done(self, time: float) -> Array:
        """Returns the gradients, with fractions, that an undisturbed worker computes from 0 to ``time``.

        It is the integral of the worker's power, the V_i of the universal computation model; shape (workers,).

        Args:
          time: fleet seconds, at least 0.

        Raises:
          InvalidInput: durations that are drawn anew for every task, which are no power.
        """
        raise InvalidInput(
            self._latency.name, "draws every duration anew, which is not a power v_i(t)", "fixed, or a power over time"
        )

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
        self.fixed = self.expected = self.least = read_only(times)
        self._times = self.fixed.data

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        return cost * self._times[worker]

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        return cost * self.fixed[workers]

    def probability_within(self, seconds: Array) -> Array:
        """Returns 1 for every worker that ends in time and 0 for the others."""
        return np.where(self.fixed <= seconds, 1.0, 0.0)

    def quantile(self, probability: float) -> Array:
        """Returns the durations themselves."""
        errors.probability("probability", probability)
        return self.fixed

    def work_done(self, time: float) -> Array:
        """Returns time / duration, shape (workers,)."""
        free = np.full(self._workers, np.inf if time > 0 else 0.0)
        return np.divide(time, self.fixed, out=free, where=self.fixed > 0)


class BoundRandom(BoundLatency):
    """Durations base + scale * Q(U), drawn for every task; U is uniform and Q inverts a distribution function.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: gives the key of every (worker, task number).
      base: seconds, shape (workers,).
      scale: seconds, shape (workers,).
      quantile: Q as a function of (u, worker), both scalar or both of shape (m,), monotone in u. It must be made
        of NumPy and SciPy functions only, for which one value has the same bits alone and in an array.
      mean: of Q(U), a number or shape (workers,).

    Raises:
      InvalidInput: a duration can be 0 or NaN.
    """

    __slots__ = ("_base", "_base_view", "_quantile", "_rises", "_scale", "_scale_view")

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
        self.expected = read_only(base + scale * mean)
        self._base = base
        self._scale = scale
        self._base_view = base.data
        self._scale_view = scale.data
        self._quantile = quantile
        # Q is monotone: what holds at the smallest and the largest U holds for every draw.
        extremes = [self._at(np.full(workers, position)) for position in (0, keys.UNIFORMS - 1)]
        self._rises = extremes[0] < extremes[1]
        self.least = read_only(np.minimum(*extremes))
        self._check_extremes(extremes)

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        u = keys.uniform(self._stream.key(worker, number))
        return cost * (self._base_view[worker] + self._scale_view[worker] * float(self._quantile(u, worker)))

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        return cost * self._of_uniforms(keys.uniforms(self._stream.keys(workers, numbers)), workers)

    def probability_within(self, seconds: Array) -> Array:
        """Returns the share of all possible draws that end in time, a multiple of 2**-52.

        It is exact where Q is monotone to the last bit; an inverse that is found by iteration (gamma) is not.
        """
        count = count_while(lambda ranks: self._of_rank(ranks) <= seconds, self._workers, keys.UNIFORMS)
        return count / keys.UNIFORMS

    def quantile(self, probability: float) -> Array:
        """Returns the least of all possible draws that at least this share of them does not exceed."""
        rank = math.ceil(errors.probability("probability", probability) * keys.UNIFORMS) - 1
        return self._of_rank(np.full(self._workers, max(rank, 0)))

    def _of_rank(self, ranks: NDArray[np.int64]) -> Array:
        """Returns the possible draw of each worker that has ``ranks`` shorter ones, shape (workers,)."""
        return self._at(np.where(self._rises, ranks, keys.UNIFORMS - 1 - ranks))

    def _at(self, positions: NDArray[np.int64]) -> Array:
        return self._of_uniforms(keys.ordered_uniforms(positions), np.arange(self._workers))

    def _of_uniforms(self, u: Array, workers: NDArray[np.integer]) -> Array:
        return self._base[workers] + self._scale[workers] * self._quantile(u, workers)

    def _check_extremes(self, extremes: list[Array]) -> None:
        for extreme in extremes:
            if not (extreme > 0).all():
                worst = int(np.argmin(extreme > 0))
                raise InvalidInput(
                    self._latency.name,
                    f"a duration of worker {worst} can be {extreme[worst]:g}",
                    "positive durations: a base above 0, or less spread",
                )


def read_only(array: Array) -> Array:
    """Returns the array, which nobody can write to any more."""
    array.setflags(write=False)
    return array
