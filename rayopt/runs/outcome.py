"""The outcome of a run, and its progress before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rayopt.runs.faults import Faults, WorkerCounts
from rayopt.runs.fingerprints import Fingerprint

Row = dict[str, Any]

INTERRUPTED = "interrupted"
BY_CALLBACK = "callback"


@dataclass
class Counts:
    """How many arrivals had which outcome, and what travelled.

    Attributes:
      arrivals: messages that came, each of several of one task by itself.
      used: of them, those whose value was asked for.
      failed: of them, those without a value: the worker gave up.
      cancelled: tasks that were stopped.
      early: messages that were not the last of their task.
      compressed: messages that were compressed.
      compressed_bits: bits of those.
      bits_up: bits of all messages that came.
      bits_down: bits of all tasks that were given, with the point of each.
    """

    arrivals: int = 0
    used: int = 0
    failed: int = 0
    cancelled: int = 0
    early: int = 0
    compressed: int = 0
    compressed_bits: int = 0
    bits_up: int = 0
    bits_down: int = 0

    @property
    def ignored(self) -> int:
        return self.arrivals - self.used - self.failed


@dataclass
class Outcome:
    """What one run left behind, besides its trace.

    Attributes:
      rows: history rows, the members of a grid next to each other.
      counts: arrivals by outcome.
      updates: k at the end.
      time: fleet seconds at the end.
      diverged_at: by member, the first history time at which x was not finite.
      ended_by: "time", "updates", "arrivals", "target", "divergence" (of all, before the target), ``BY_CALLBACK``,
        ``INTERRUPTED``.
      ended_because: what the callback that ended it said, or "".
      was_stuck: whether the fleet stood still before the time limit.
      busy_seconds: worker-seconds of computation.
      wall_seconds: real seconds.
      slip: real time only: end-to-end lateness of arrivals in real seconds, {"median", "p99", "largest"}.
      fingerprints: hashes of x along the run.
      faults: real time only: what went wrong with workers and was made good.
      requested: values that other processes were to compute alone, in virtual time with parallel gradients.
      wasted: those of them that were not asked for.
      estimate: the method's estimate at the end, the shape of x, if the job asks for it.
      rounds: (time, updates, collected) of every update of a method without a server.
      bytes_received: real time only: bytes of gradients and messages that came into the server's process, those of late
        replies too; 0 elsewhere.
      edges: (from, to, messages, bits) of the edges of a network over which something has come.
      used_by: on a network, how many gradients of each node were used.
      thinned_to: fleet seconds between history rows at the end, if rows came too often; else 0.
    """

    rows: list[Row]
    counts: Counts
    updates: int
    time: float
    diverged_at: dict[int, float]
    ended_by: str
    was_stuck: bool
    busy_seconds: float
    wall_seconds: float
    slip: dict[str, float] = field(default_factory=dict)
    fingerprints: list[Fingerprint] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    requested: int = 0
    wasted: int = 0
    thinned_to: float = 0.0
    rounds: list[tuple[float, int, int]] = field(default_factory=list)
    estimate: Any = None
    ended_because: str = ""
    bytes_received: int = 0
    edges: list[tuple[int, int, int, int]] = field(default_factory=list)
    used_by: list[int] = field(default_factory=list)


@dataclass
class Progress:
    """Where a run stands, for a display."""

    time: float
    updates: int
    arrivals: int
    value: float
    wall_seconds: float = 0.0
    worker_counts: WorkerCounts | None = None
