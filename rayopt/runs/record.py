"""What to record of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rayopt.core.errors import InvalidInput, one_of, positive
from rayopt.runs.until import Until

MOST_ROWS = 1_000_000
CHECKPOINT_EVERY = 60.0


WORST = "worst_value"
NODE_METRICS = ("consensus_distance", WORST)
"""Of methods whose nodes have points of their own: (1/n) sum_i ||x_i - mean x||^2, and the largest f(x_i)."""


@dataclass(frozen=True)
class Record:
    """What to record of a run.

    Args:
      every: fleet seconds between history rows; by default a fiftieth of the time limit, or rows at the
        start and the end alone if there is no time limit.
      metrics: names among the problem's metrics; all of them by default.
      trace: "all" (a row per arrival and per cancellation), "arrivals", or False.
      checkpoint: real seconds between two checkpoints of an experiment with a run folder, from which
        ``rayopt resume`` goes on, or False for none.
    """

    every: float | None = None
    metrics: Sequence[str] | None = None
    trace: str | bool = "all"
    checkpoint: float | bool = CHECKPOINT_EVERY

    def __post_init__(self) -> None:
        if self.every is not None:
            object.__setattr__(self, "every", positive("every", self.every))
        if self.trace is True:
            object.__setattr__(self, "trace", "all")
        one_of("trace", self.trace, ("all", "arrivals", False))
        if self.checkpoint is not False:
            object.__setattr__(self, "checkpoint", positive("checkpoint", self.checkpoint, "false for none"))

    def interval(self, until: Until) -> float:
        """Returns the fleet seconds between history rows, infinity for none between start and end.

        Raises:
          InvalidInput: a target is to be looked at, but never would be.
        """
        if self.every is not None:
            return self.every
        if until.time != math.inf:
            return until.time / 50
        if until.target is not None:
            raise InvalidInput("record.every", "missing, and the target is looked at whenever a row is written",
                               "fleet seconds between history rows")  # fmt: skip
        return math.inf

    def resolve(self, metric_names: Sequence[str], until: Until, on_network: bool = False) -> Record:
        """Returns this record with its metrics and its interval spelled out.

        Raises:
          InvalidInput: a metric that the problem does not have, or a target that is not recorded.
        """
        if on_network:
            metric_names = (*metric_names, *NODE_METRICS)
        # The worst node costs an evaluation of every node's point: for those who ask.
        own = [name for name in metric_names if name != WORST]
        metrics = tuple(own if self.metrics is None else self.metrics)
        for position, name in enumerate(metrics):
            one_of("record.metrics", name, metric_names)
            if name in metrics[:position]:
                raise InvalidInput("record.metrics", f"{name!r} stands twice", "each metric once")
        if until.target is not None:
            one_of("until.target.metric", until.target.metric, metrics)
        every = self.interval(until)
        if until.time / every > MOST_ROWS and every < math.inf and until.time < math.inf:
            raise InvalidInput("record.every", f"{every:g} is more than {MOST_ROWS:,} rows until {until.time:g}",
                               "longer intervals")  # fmt: skip
        return replace(self, every=every if every < math.inf else None, metrics=metrics)
