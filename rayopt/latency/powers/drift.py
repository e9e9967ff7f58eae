"""Workers that become slower or faster in the course of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency
from rayopt.latency.family import Family
from rayopt.latency.powers.base import PAPER, BoundPower, Trend, Workers
from rayopt.latency.powers.root import increasing_root
from rayopt.latency.values import ValuesLike


@dataclass(frozen=True, repr=False)
class Drift(Family):
    """A power that changes in a straight line from 1 to its final value, and stays there.

    .. math:: v_i(t) = \\frac{1}{\\text{times}_i} \\Bigl(1 + (\\text{final}_i - 1) \\min(t / \\text{over}_i, 1)\\Bigr)

    With ``final`` = 0 the worker comes to a stand: a task that cannot be finished before never ends.

    Args:
      times: seconds of a gradient at time 0, above 0; infinite for a worker that never answers.
      final: the power at the end in units of that at time 0, at least 0; below 1 the worker becomes slower.
      over: seconds that the change takes, above 0.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> bound = Drift(times=2, final=0.5, over=100).bind(1, Stream(0, "compute"))
      >>> round(bound.duration(0, 0, start=0.0), 2), bound.duration(0, 9, start=100.0)
      (2.01, 4.0)

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929.
    """

    name: ClassVar[str] = "drift"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: drift, times: sqrt(i), final: 1 / i, over: 500}"
    positive: ClassVar[frozenset[str]] = frozenset({"times", "over"})
    finite: ClassVar[frozenset[str]] = frozenset({"final", "over"})

    times: ValuesLike
    final: ValuesLike
    over: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        times, final, over = self.resolve(workers, stream)
        return BoundPower(self, workers, stream, times, Ramp(final, over))


@dataclass(frozen=True, repr=False)
class ExponentialDrift(Family):
    """A power that approaches its final value exponentially, from 1.

    .. math:: v_i(t) = \\frac{1}{\\text{times}_i}
              \\Bigl(\\text{final}_i + (1 - \\text{final}_i) e^{-t / \\text{over}_i}\\Bigr)

    With ``final`` = 0 all that the worker will ever compute is over / times gradients.

    Args:
      times: seconds of a gradient at time 0, above 0; infinite for a worker that never answers.
      final: the power that is approached in units of that at time 0, at least 0.
      over: seconds in which the distance from it shrinks by the factor e, above 0.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> bound = ExponentialDrift(times=2, final=0, over=10).bind(1, Stream(0, "compute"))
      >>> round(bound.duration(0, 0, start=0.0), 3), bound.duration(0, 9, start=20.0)
      (2.231, inf)

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929.
    """

    name: ClassVar[str] = "exponential_drift"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: exponential_drift, times: sqrt(i), final: 2, over: 500}"
    positive: ClassVar[frozenset[str]] = frozenset({"times", "over"})
    finite: ClassVar[frozenset[str]] = frozenset({"final", "over"})

    times: ValuesLike
    final: ValuesLike
    over: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        times, final, over = self.resolve(workers, stream)
        return BoundPower(self, workers, stream, times, Approach(final, over))


class Ramp(Trend):
    """Relative powers that go in a straight line from 1 to a final value.

    Args:
      final: shape (workers,).
      over: seconds, shape (workers,).
    """

    __slots__ = ("_over",)

    def __init__(self, final: Array, over: Array) -> None:
        self.peak = np.maximum(final, 1.0)
        self.mean = final
        self._over = over

    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,)."""
        final, over = self.mean[workers], self._over[workers]
        ramp = np.minimum(times, over)
        return ramp + 0.5 * (final - 1.0) * ramp * (ramp / over) + final * (times - ramp)

    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need; maybe infinite."""
        final, over = self.mean[workers], self._over[workers]
        passed = np.minimum(starts, over)
        slope = (final - 1.0) / over
        power = 1.0 + slope * passed
        left = over - passed
        gain = left * 0.5 * (power + final)
        # The root of power * s + slope * s^2 / 2 = need, in the form that loses no digits.
        root = np.sqrt(np.maximum(power * power + 2.0 * slope * need, 0.0))
        within = np.divide(2.0 * need, power + root, out=np.full(len(need), np.inf), where=power + root > 0)
        beyond = left + np.divide(need - gain, final, out=np.full(len(need), np.inf), where=final > 0)
        return np.where(need <= gain, within, beyond)


class Approach(Trend):
    """Relative powers that approach a final value exponentially, from 1.

    Args:
      final: shape (workers,).
      over: seconds, shape (workers,).
    """

    __slots__ = ("_over",)

    def __init__(self, final: Array, over: Array) -> None:
        self.peak = np.maximum(final, 1.0)
        self.mean = final
        self._over = over

    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,)."""
        final, over = self.mean[workers], self._over[workers]
        return final * times - (1.0 - final) * over * np.expm1(-times / over)

    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need; maybe infinite."""
        final, over = self.mean[workers], self._over[workers]
        distance = (1.0 - final) * np.exp(-starts / over)
        # What the vanishing part will still bring; without a final power there is nothing else.
        share = np.divide(need, distance * over, out=np.full(len(need), np.inf), where=(final == 0) & (distance > 0))
        fading = np.full(len(need), np.inf)
        np.multiply(-over, np.log1p(-share, out=np.zeros(len(need)), where=share < 1), out=fading, where=share < 1)

        def excess(seconds: Array) -> tuple[Array, Array]:
            rest = np.expm1(-seconds / over)
            return final * seconds - distance * over * rest - need, final + distance * (1.0 + rest)

        now, least = final + distance, np.minimum(final, final + distance)
        low = need / np.maximum(np.maximum(now, final), np.finfo(np.float64).tiny)
        high = np.divide(need, least, out=low.copy(), where=final > 0)
        return np.where(final > 0, increasing_root(excess, low, high), fading)
