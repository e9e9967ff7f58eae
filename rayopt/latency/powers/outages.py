"""Workers that stand still again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import BoundLatency
from rayopt.latency.family import Family
from rayopt.latency.powers.base import PAPER, BoundPower
from rayopt.latency.powers.pieces import Pieces
from rayopt.latency.values import ValuesLike


@dataclass(frozen=True, repr=False)
class Outages(Family):
    """Periodic outages: a worker stands still for some time in every period and goes on where it stopped.

    .. math:: v_i(t) = 0 \\text{ if } (t - \\text{phase}_i) \\bmod \\text{period}_i < \\text{length}_i,
              \\text{ else } 1 / \\text{times}_i

    Args:
      times: seconds of a gradient without outages, above 0; infinite for a worker that never answers.
      period: seconds from the start of one outage to the start of the next, above 0.
      length: seconds of an outage, from 0 to ``period``.
      phase: fleet seconds at which an outage starts; others start before and after it.

    Example:
      An outage from 4 to 6, in every 10 seconds.

      >>> from rayopt.core.keys import Stream
      >>> Outages(times=3, period=10, length=2, phase=4).bind(1, Stream(0, "compute")).duration(0, 0, start=3.0)
      5.0

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929.
    """

    name: ClassVar[str] = "outages"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: outages, times: sqrt(i), period: 100, length: 20, phase: 7 * i}"
    positive: ClassVar[frozenset[str]] = frozenset({"times", "period"})
    finite: ClassVar[frozenset[str]] = frozenset({"period", "length", "phase"})

    times: ValuesLike
    period: ValuesLike
    length: ValuesLike
    phase: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        times, period, length, phase = self.resolve(workers, stream)
        if (length > period).any():
            worst = int(np.argmax(length > period))
            raise InvalidInput(
                "length", f"{length[worst]:g} for worker {worst}", f"at most its period, {period[worst]:g}"
            )
        begins = np.vstack([np.zeros(workers), length])
        trend = Pieces(begins, np.array([[0.0], [1.0]]), workers, period, phase)
        return BoundPower(self, workers, stream, times, trend)
