"""Workers that others use by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency
from rayopt.latency.family import Family
from rayopt.latency.powers.base import PAPER, BoundPower, Trend, Workers
from rayopt.latency.powers.root import increasing_root
from rayopt.latency.values import ValuesLike


@dataclass(frozen=True, repr=False)
class DayAndNight(Family):
    """A power that swings between low and high, as a sinus, once in every period.

    .. math:: v_i(t) = \\frac{1}{\\text{times}_i} \\Bigl(\\text{low}_i + (\\text{high}_i - \\text{low}_i)
              \\frac{1 - \\cos(2 \\pi (t - \\text{phase}_i) / \\text{period}_i)}{2}\\Bigr)

    Args:
      times: seconds of a gradient at power 1, above 0; infinite for a worker that never answers.
      period: seconds from one low to the next, above 0.
      low: the least power, at least 0.
      high: the largest power, above 0 and at least ``low``.
      phase: fleet seconds of a low; others come before and after it.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> bound = DayAndNight(times=2, period=24, low=0, high=1).bind(1, Stream(0, "compute"))
      >>> [round(bound.duration(0, number=0, start=start), 2) for start in (0.0, 11.0, 20.0)]
      [7.52, 2.01, 11.0]

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929: powers that depend on the time of day.
    """

    name: ClassVar[str] = "day_and_night"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: day_and_night, times: sqrt(i), period: 100, low: 0.2, phase: 10 * i}"
    positive: ClassVar[frozenset[str]] = frozenset({"times", "period", "high"})
    finite: ClassVar[frozenset[str]] = frozenset({"period", "low", "high", "phase"})

    times: ValuesLike
    period: ValuesLike
    low: ValuesLike
    high: ValuesLike = 1.0
    phase: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        times, period, low, high, phase = self.resolve(workers, stream)
        if (low > high).any():
            worst = int(np.argmax(low > high))
            raise InvalidInput("low", f"{low[worst]:g} for worker {worst}", f"at most its high, {high[worst]:g}")
        return BoundPower(self, workers, stream, times, Sinus(period, low, high, phase))


class Sinus(Trend):
    """Relative powers that swing as a sinus.

    Args:
      period: seconds, shape (workers,).
      low: the least power, shape (workers,).
      high: the largest power, shape (workers,).
      phase: seconds of a low, shape (workers,).
    """

    __slots__ = ("_depth", "_period", "_phase")

    def __init__(self, period: Array, low: Array, high: Array, phase: Array) -> None:
        self.peak = high
        self.mean = 0.5 * low + 0.5 * high
        self._period = period
        self._phase = phase
        # The swing of the integral about its mean slope.
        self._depth = (0.5 * high - 0.5 * low) * period / (2 * np.pi)

    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,)."""
        start = np.mod(-self._phase[workers], self._period[workers])
        rounds, rest = np.divmod(times, self._period[workers])
        return rounds * self._period[workers] * self.mean[workers] + self._gain(workers, start, rest)[0]

    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need."""
        period, mean = self._period[workers], self.mean[workers]
        position = np.mod(starts - self._phase[workers], period)
        rounds, rest = np.divmod(need, mean * period)

        def excess(seconds: Array) -> tuple[Array, Array]:
            gain, power = self._gain(workers, position, seconds)
            return gain - rest, power

        # From the least and the largest gain that any start can bring in so many seconds.
        slack = 2 * self._depth[workers]
        low = np.maximum((rest - slack) / mean, rest / self.peak[workers])
        high = np.minimum((rest + slack) / mean, period)
        return rounds * period + increasing_root(excess, np.minimum(low, high), high)

    def _gain(self, workers: Workers, position: Array, seconds: Array) -> tuple[Array, Array]:
        """Returns the growth of the integral over some seconds from a position in the period, and the last power."""
        rate, depth, mean = 2 * np.pi / self._period[workers], self._depth[workers], self.mean[workers]
        # sin(a + b) - sin(a) without loss of digits for small b.
        swing = 2 * np.cos(rate * (position + 0.5 * seconds)) * np.sin(0.5 * rate * seconds)
        return mean * seconds - depth * swing, mean - depth * rate * np.cos(rate * (position + seconds))
