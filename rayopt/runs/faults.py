"""Failures of workers in real time from which a run recovered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class WorkerCounts(NamedTuple):
    """How many workers can compute just now.

    Attributes:
      up: they have a process and their shard.
      restarting: their process died, another one is being made.
      down: they have had no process for longer than the fleet's grace time.
    """

    up: int
    restarting: int = 0
    down: int = 0


@dataclass
class Faults:
    """What a run counted.

    Attributes:
      restarts: processes of workers that died and came back; their tasks were given again.
      rejected: by worker, the tasks that raised an error or whose value was not finite or of another shape.
      late: messages of tasks that were over: delivered twice, cancelled meanwhile, or given again to another process.
      recomputed: values that were lost with their node and computed again where the server is.
      missing: workers without a process at the end.
      slow: values that could not be fetched in time, though no loss was reported, and were computed again there.
      unmeasured: history rows without metrics, because those of earlier rows were not ready.
      unmeasurable: history rows without metrics, because the process that computes them died over them again and again.
      server_restarts: how often the server died and the run went on from its last checkpoint.
    """

    restarts: int = 0
    rejected: dict[int, int] = field(default_factory=dict)
    late: int = 0
    recomputed: int = 0
    missing: list[int] = field(default_factory=list)
    slow: int = 0
    unmeasured: int = 0
    unmeasurable: int = 0
    server_restarts: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything that a reader of the results should know."""
        return any((self.restarts, self.rejected, self.recomputed, self.missing, self.slow, self.unmeasured,
                    self.unmeasurable))  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Returns what ``summary.json`` holds."""
        rejected = {str(worker): count for worker, count in sorted(self.rejected.items())}
        return {"restarts": self.restarts, "rejected": rejected, "late": self.late, "recomputed": self.recomputed,
                "missing": self.missing, "slow": self.slow, "unmeasured": self.unmeasured,
                "unmeasurable": self.unmeasurable, "server_restarts": self.server_restarts}  # fmt: skip
