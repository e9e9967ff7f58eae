"""The power as it is written down: a number for each stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput, at_least, finite, positive
from rayopt.core.keys import Stream
from rayopt.latency.base import BoundLatency, Latency
from rayopt.latency.powers.base import PAPER, BoundPower
from rayopt.latency.powers.pieces import Pieces
from rayopt.latency.values import Limits, ValuesLike, describe, parse, resolve, to_config

_FINITE = Limits(finite=True)
_POSITIVE = Limits(positive=True)


@dataclass(frozen=True, repr=False)
class Power(Latency):
    """A power over time that is constant in stretches; a task ends when its integral reaches the task's cost.

    .. math:: v_i(t) = \\text{powers}_j / \\text{times}_i
              \\quad \\text{for } \\text{starts}_j \\le t < \\text{starts}_{j+1}

    gradients per second. An interrupted task loses its progress. A worker whose power stays 0 never ends its
    task: the fleet is stuck, or the run lasts to its time limit.

    Args:
      starts: seconds at which each stretch starts, increasing; the first is 0.
      powers: for each stretch a number, a list with one for each worker, or a formula of the worker i; at least
        0 and finite.
      period: seconds after which everything starts again, above the last of ``starts``; None: the last stretch
        has no end.
      times: seconds of a gradient at power 1, above 0; infinite for a worker that never answers.

    Raises:
      InvalidInput: a negative power, starts that do not increase, another number of powers than of starts.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> stands_still = Power(starts=[0, 4, 6], powers=[1, 0, 1], times=3)
      >>> stands_still.bind(1, Stream(0, "compute")).duration(worker=0, number=1, start=3.0)
      5.0

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929.
    """

    name: ClassVar[str] = "power"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: power, starts: [0, 60, 80], powers: [1, 0, 0.5], period: 100, times: sqrt(i)}"

    starts: Sequence[float]
    powers: Sequence[ValuesLike]
    period: float | None = None
    times: ValuesLike = 1.0

    def __post_init__(self) -> None:
        starts = _check_starts(self.starts)
        if isinstance(self.powers, str) or not isinstance(self.powers, Sequence | np.ndarray):
            raise InvalidInput("powers", f"{self.powers!r} is not a list", "a list with a power for each of starts")
        if len(self.powers) != len(starts):
            raise InvalidInput(
                "powers", f"{len(self.powers)} for {len(starts)} stretches", "a list with a power for each of starts"
            )
        powers = tuple(parse(f"powers[{position}]", raw, _FINITE) for position, raw in enumerate(self.powers))
        if self.period is not None and positive("period", self.period) <= starts[-1]:
            raise InvalidInput("period", f"{self.period!r}", f"none, or a number above the last start, {starts[-1]:g}")
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "powers", powers)
        object.__setattr__(self, "period", None if self.period is None else float(self.period))
        object.__setattr__(self, "times", parse("times", self.times, _POSITIVE))

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        at_least("workers", workers, 1)
        powers: Sequence[Any] = self.powers
        rows = [
            resolve(f"powers[{position}]", values, workers, stream.seed, _FINITE)
            for position, values in enumerate(powers)
        ]
        period = None if self.period is None else np.full(workers, self.period)
        times: Any = self.times
        return BoundPower(
            self,
            workers,
            stream,
            resolve("times", times, workers, stream.seed, _POSITIVE),
            Pieces(np.array(self.starts)[:, None], np.array(rows), workers, period),
        )

    def to_config(self) -> dict[str, Any]:
        """Returns the name and the parameters."""
        return {
            "name": self.name,
            "starts": list(self.starts),
            "powers": [to_config(power) for power in self.powers],
            "period": self.period,
            "times": to_config(self.times),
        }

    def __repr__(self) -> str:
        powers = ", ".join(describe(power) for power in self.powers)
        return (
            f"power(starts={describe(self.starts)}, powers=[{powers}], period={self.period}, "
            f"times={describe(self.times)})"
        )


def _check_starts(raw: Any) -> tuple[float, ...]:
    allowed = "an increasing list of finite numbers, the first of them 0"
    if isinstance(raw, str) or not isinstance(raw, Sequence | np.ndarray) or len(raw) == 0:
        raise InvalidInput("starts", f"{raw!r} is not a list of numbers", allowed)
    starts = tuple(finite(f"starts[{position}]", start) for position, start in enumerate(raw))
    if starts[0] != 0:
        raise InvalidInput("starts[0]", f"{starts[0]:g}", allowed)
    for position in range(1, len(starts)):
        if starts[position] <= starts[position - 1]:
            raise InvalidInput(f"starts[{position}]", f"{starts[position]:g} after {starts[position - 1]:g}", allowed)
    return starts
