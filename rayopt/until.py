"""When a run ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rayopt.errors import InvalidInput, at_least, positive


@dataclass(frozen=True)
class Target:
    """A metric that reaches a level: from below for accuracy, from above for all others.

    Args:
      metric: a name among the problem's metrics.
      reaches: the level.
    """

    metric: str
    reaches: float

    def is_met(self, value: float) -> bool:
        """Whether a value of the metric meets the target (NaN never does)."""
        return bool(value >= self.reaches if self.metric == "accuracy" else value <= self.reaches)


@dataclass(frozen=True)
class Until:
    """The first of these limits ends a run.

    Args:
      time: fleet seconds; events at exactly this time still happen.
      updates: number of updates k.
      arrivals: number of arrivals.
      target: a metric and its level, looked at whenever a history row is written; a step-size
        grid goes on until all its members have met it or have diverged.

    Raises:
      InvalidInput: no limit at all, or one that is not positive.
    """

    time: float = math.inf
    updates: float = math.inf
    arrivals: float = math.inf
    target: Target | None = None

    def __post_init__(self) -> None:
        if self.time != math.inf:
            object.__setattr__(self, "time", positive("time", self.time))
        for key in ("updates", "arrivals"):
            if getattr(self, key) != math.inf:
                object.__setattr__(self, key, at_least(key, getattr(self, key), 1))
        if isinstance(self.target, dict):
            object.__setattr__(self, "target", Target(**self.target))
        if self.target is None and min(self.time, self.updates, self.arrivals) == math.inf:
            raise InvalidInput("until", "no limit is given", "at least one of time, updates, arrivals, target")
