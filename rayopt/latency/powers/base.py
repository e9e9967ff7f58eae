"""The universal computation model: a task ends when the integral of its worker's power reaches its cost.

Powers are relative: worker i computes ``relative power / times[i]`` gradients per second, so that a task of
cost c needs the integral of the relative power over its run to be c * times[i].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency, Latency, read_only

PAPER = "universal model, arXiv 2408.04929"
Workers = NDArray[np.integer]


class Trend(ABC):
    """The relative powers of all workers over time. All methods work element by element.

    Attributes:
      peak: the largest relative power at any time, shape (workers,).
      mean: the relative power in the long run, shape (workers,).
    """

    __slots__ = ("mean", "peak")

    peak: Array
    mean: Array

    @abstractmethod
    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,).

        Args:
          workers: shape (m,).
          times: fleet seconds, at least 0 and finite, shape (m,).
        """

    @abstractmethod
    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need; maybe infinite.

        Args:
          workers: shape (m,).
          starts: fleet seconds, at least 0 and finite, shape (m,).
          need: seconds at relative power 1, above 0 and finite, shape (m,).
        """


class BoundPower(BoundLatency):
    """Durations that follow from a power over time; the task number has no part in them.

    .. math:: \\text{duration} = \\min\\{s : \\int_{t}^{t + s} v_i \\ge c\\}, \\qquad v_i = r_i / \\tau_i

    with t ``start``, c ``cost``, r the trend and tau ``times``. ``expected`` is the mean in the long run,
    times / mean power; it is infinite for a worker that comes to a stand.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to.
      times: seconds of a gradient at relative power 1, shape (workers,).
      trend: the relative powers.
    """

    __slots__ = ("_times", "_trend")

    def __init__(self, latency: Latency, workers: int, stream: Stream, times: Array, trend: Trend) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        self.depends_on_start = True
        self.expected = read_only(_ratio(times, trend.mean))
        self.least = read_only(_ratio(times, trend.peak))
        self._times = times
        self._trend = trend

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task; infinite if the power never suffices from its start on."""
        return float(self.durations(np.array([worker]), np.array([number]), start, cost)[0])

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        need = cost * self._times[workers]
        seconds = np.full(len(workers), np.inf)
        starts = np.broadcast_to(np.asarray(start, dtype=np.float64), seconds.shape)
        alive = np.flatnonzero(np.isfinite(need) & np.isfinite(starts))
        seconds[alive] = self._trend.seconds(workers[alive], starts[alive], need[alive])
        # Rounding must not bring a task below what is promised.
        return np.maximum(seconds, cost * self.least[workers])

    def probability_within(self, seconds: Array) -> Array:
        """Raises InvalidInput: how long a task takes depends on when it starts."""
        raise InvalidInput(
            self._latency.name,
            "its durations depend on the start of the task and have no law of their own",
            "a fixed latency, or one that draws every duration",
        )

    def work_done(self, time: float) -> Array:
        """Returns V_i(time), the gradients that each worker computes from 0 to ``time``, shape (workers,)."""
        done = np.zeros(self._workers)
        alive = np.flatnonzero(np.isfinite(self._times))
        done[alive] = self._trend.integral(alive, np.full(len(alive), float(time))) / self._times[alive]
        return done


def _ratio(times: Array, power: Array) -> Array:
    return np.divide(times, power, out=np.full(len(times), np.inf), where=(power > 0) & np.isfinite(times))
