"""When a run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rayopt.core.errors import InvalidInput, at_least, finite, positive

PROGRESS_METRICS = ("gap", "value", "grad_norm_sq", "accuracy")
"""Where no metric is named, runs are compared and stopped by the first of these that is recorded."""


def larger_is_better(metric: str) -> bool:
    """Whether a metric is to grow: accuracy alone is."""
    return metric == "accuracy"


@dataclass(frozen=True)
class Target:
    """A metric that reaches a level: from below for accuracy, from above for all others.

    Args:
      metric: a name among the problem's metrics.
      reaches: the level, a finite number.

    Raises:
      InvalidInput: one of them is of the wrong kind.
    """

    metric: str
    reaches: float

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str):
            raise InvalidInput("target.metric", f"{self.metric!r} is not a name", "a metric of the problem")
        object.__setattr__(self, "reaches", finite("target.reaches", self.reaches))

    @property
    def bound(self) -> str:
        """The direction in words."""
        return "at least" if larger_is_better(self.metric) else "at most"

    def is_met(self, value: float) -> bool:
        """Whether a value of the metric meets the target (NaN never does)."""
        return bool(value >= self.reaches if larger_is_better(self.metric) else value <= self.reaches)


@dataclass(frozen=True)
class Until:
    """The first of these limits ends a run; infinity, or None, is no limit.

    Args:
      time: fleet seconds; events at exactly this time still happen.
      updates: number of updates k.
      arrivals: number of arrivals.
      target: a metric and its level, or a mapping with these two; looked at whenever a history row is
        written; a step-size grid goes on until all its members have met it or have diverged.

    Raises:
      InvalidInput: no limit at all, or one that is not positive.
    """

    time: float = math.inf
    updates: float = math.inf
    arrivals: float = math.inf
    target: Target | None = None

    def __post_init__(self) -> None:
        for key in ("time", "updates", "arrivals"):
            if getattr(self, key) is None:
                object.__setattr__(self, key, math.inf)
        if self.time != math.inf:
            object.__setattr__(self, "time", positive("time", self.time))
        for key in ("updates", "arrivals"):
            if getattr(self, key) != math.inf:
                object.__setattr__(self, key, at_least(key, getattr(self, key), 1))
        object.__setattr__(self, "target", _target(self.target))
        if self.target is None and min(self.time, self.updates, self.arrivals) == math.inf:
            raise InvalidInput("until", "no limit is given", "at least one of time, updates, arrivals, target")


def _target(given: Target | Mapping[str, Any] | None) -> Target | None:
    if given is None or isinstance(given, Target):
        return given
    keys = [field.name for field in fields(Target)]
    if not isinstance(given, Mapping) or set(given) != set(keys):
        raise InvalidInput("target", f"{given!r} is not a target", f"a Target, or a mapping with {' and '.join(keys)}")
    return Target(**given)
