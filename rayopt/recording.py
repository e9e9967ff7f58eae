"""What a run leaves behind: history rows, a trace of arrivals, counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.arrival import Arrival
from rayopt.checkpoint.encoding import Plain
from rayopt.errors import FleetStuck, InvalidInput, one_of, positive
from rayopt.faults import Faults, Workforce
from rayopt.fingerprints import Fingerprint, Fingerprints
from rayopt.trace_rows import CANCELLED, FAILED, IGNORED, OUTCOMES, ROW_GROUP, TRACE, USED, TraceBuffer
from rayopt.until import Until

if TYPE_CHECKING:
    from rayopt.methods.base import Method

Array = NDArray[np.float64]
Row = dict[str, Any]

CHECK_EVERY = 1024
MOST_ROWS = 1_000_000
CHECKPOINT_EVERY = 60.0


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

    def resolve(self, metric_names: Sequence[str], until: Until) -> Record:
        """Returns this record with its metrics and its interval spelled out.

        Raises:
          InvalidInput: a metric that the problem does not have, or a target that is not recorded.
        """
        metrics = tuple(metric_names if self.metrics is None else self.metrics)
        for name in metrics:
            one_of("record.metrics", name, metric_names)
        if until.target is not None:
            one_of("until.target.metric", until.target.metric, metrics)
        every = self.interval(until)
        if until.time / every > MOST_ROWS and every < math.inf and until.time < math.inf:
            raise InvalidInput("record.every", f"{every:g} is more than {MOST_ROWS:,} rows until {until.time:g}",
                               "longer intervals")  # fmt: skip
        return replace(self, every=every if every < math.inf else None, metrics=metrics)


class RecordedFleet(Protocol):
    """What the record needs of a fleet.

    Attributes:
      n: number of workers.
      now: fleet seconds since the start.
      cancelled: (workers, numbers, assigned_at, versions) of what was cancelled since the list was last cleared.
    """

    n: int
    now: float
    cancelled: list[tuple[Any, Any, Any, Any]]

    @property
    def busy(self) -> int:
        """Number of workers that have a task."""

    @property
    def busy_seconds(self) -> float:
        """Worker-seconds of all tasks, those that still run up to now."""

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""


@dataclass
class Counts:
    """How many arrivals had which outcome."""

    arrivals: int = 0
    used: int = 0
    failed: int = 0
    cancelled: int = 0

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
      ended_by: "time", "updates", "arrivals", "target", "divergence" (of all, before the target), "interrupted".
      was_stuck: whether the fleet stood still before the time limit.
      busy_seconds: worker-seconds of computation.
      wall_seconds: real seconds.
      slip: real time only: end-to-end lateness of arrivals in real seconds, {"median", "p99", "largest"}.
      fingerprints: hashes of x along the run.
      faults: real time only: what went wrong with workers and was made good.
      requested: values that other processes were to compute alone, in virtual time with parallel gradients.
      wasted: those of them that were not asked for.
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


@dataclass
class Progress:
    """Where a run stands, for a display."""

    time: float
    updates: int
    arrivals: int
    value: float
    wall_seconds: float = 0.0
    workforce: Workforce | None = None


@dataclass
class Recorder:
    """Decides when history rows are due and when a run ends, and keeps its record.

    Args:
      record: after :meth:`Record.resolve`.
      until: the limits.
      evaluate: given a row and a point, computes the metrics and calls ``evaluated(row, metrics)``, now or later.
      flush_trace: receives chunks of the trace.
      real_time: whether the trace is to hold a sum of x after each arrival: a replay finds by it where x differs.
      on_progress: called with the recorder now and then.
      on_checkpoint: called between two events, after somebody has asked for a checkpoint.
    """

    record: Record
    until: Until
    evaluate: Callable[[Recorder, int, Array], None]
    flush_trace: Callable[[NDArray[np.void]], None]
    on_progress: Callable[[Recorder], None] | None = None
    on_checkpoint: Callable[[], None] | None = None
    real_time: bool = False

    rows: list[Row] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    diverged_at: dict[int, float] = field(default_factory=dict)
    due: float = 0.0
    finished: bool = False
    ended_by: str = ""
    was_stuck: bool = False
    _checkpoint_is_due: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether the run has started."""
        return bool(self.rows)

    def begin(self, method: Method, fleet: RecordedFleet) -> None:
        """Writes the row of time 0."""
        self._open(method, fleet)
        self._write_row(0.0, must_hash=True)
        self._schedule()

    def resume(self, method: Method, fleet: RecordedFleet, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned, in place of :meth:`begin`."""
        self._open(method, fleet)
        self.rows = state["rows"]
        self.counts = Counts(**state["counts"])
        self.diverged_at = state["diverged_at"]
        self.was_stuck = state["was_stuck"]
        self._updates = state["updates"]
        self._last_update = state["last_update"]
        self._points = state["points"]
        self._met = state["met"]
        self._fingerprints = Fingerprints([Fingerprint(*found) for found in state["fingerprints"]], state["stride"])
        self._alarms = state["alarms"]
        self._checksum = state["checksum"]
        self._started_at -= state["wall_seconds"]
        if self._buffer is not None:
            self._buffer.refill(state["trace"])
        self._plan_checkup()
        self._schedule()
        for point, x in state["unevaluated"].items():
            self._evaluate(point, x)

    def state(self) -> dict[str, Any]:
        """Returns the record up to now, without the rows of the trace that were handed on."""
        self._hash(must=True)
        return {
            "rows": Plain([dict(row) for row in self.rows]),
            "counts": asdict(self.counts),
            "diverged_at": self.diverged_at,
            "was_stuck": self.was_stuck,
            "updates": self._updates,
            "last_update": self._last_update,
            "points": self._points,
            "met": self._met,
            "wall_seconds": self.wall_seconds,
            "trace": None if self._buffer is None else self._buffer.rows,
            "unevaluated": self._unevaluated,
            "fingerprints": Plain(list(self._fingerprints.taken)),
            "stride": self._fingerprints.stride,
            "alarms": self._alarms,
            "checksum": self._checksum,
        }

    def ask_for_checkpoint(self) -> None:
        """Makes ``on_checkpoint`` be called after the next event; may be called from another thread."""
        self._checkpoint_is_due = True
        # Written after the flag: a checkup that has just looked at it is followed by another.
        self._checkup = -1

    def _open(self, method: Method, fleet: RecordedFleet) -> None:
        self._method = method
        self._fleet = fleet
        self._updates = 0
        self._last = self.until.updates
        self._last_update = 0
        self._cancelled = fleet.cancelled
        self._points = 0
        self._unevaluated: dict[int, Array] = {}
        self._fingerprints = Fingerprints()
        self._alarms = 0
        self._checksum = math.nan
        self._members = method.members()
        self._met = np.zeros(len(self._members), dtype=bool)
        self._every = self.record.every or math.inf
        self._buffer = TraceBuffer(self.flush_trace) if self.record.trace else None
        self._patience = 1000 * fleet.n if min(self.until.time, self.until.arrivals) == math.inf else math.inf
        self._started_at = time.monotonic()
        self._plan_checkup()

    @property
    def wall_seconds(self) -> float:
        """Real seconds since the run began, those after an interruption without those before the last checkpoint."""
        return time.monotonic() - self._started_at

    def started(self) -> None:
        """Records what the method cancelled in its ``start``."""
        self._cancellations(0.0, self._method.updates)

    def arrival(self, arrival: Arrival) -> None:
        """Records an arrival after the method has received it."""
        updates = self._method.updates
        counts = self.counts
        if arrival.worker is not None:
            counts.arrivals += 1
            if arrival.used:
                counts.used += 1
                outcome = USED
            elif arrival.ok:
                outcome = IGNORED
            else:
                counts.failed += 1
                outcome = FAILED
            if self._buffer is not None:
                if self.real_time and updates != self._updates:
                    self._checksum = float(np.add.reduce(self._method.x, axis=None))
                self._buffer.add(arrival, self._updates, outcome, updates, self._checksum)
        else:
            self._alarms += 1
        if self._cancelled:
            self._cancellations(arrival.time, updates)
        if updates != self._updates:
            self._updates = updates
            self._last_update = counts.arrivals
        if updates >= self._last or counts.arrivals >= self._checkup:
            self._check(updates)

    def _check(self, updates: int) -> None:
        """Looks at what need not be looked at after every arrival."""
        arrivals = self.counts.arrivals
        if updates >= self.until.updates:
            self._finish("updates")
        if arrivals >= self.until.arrivals:
            self._finish("arrivals")
        if arrivals - self._last_update >= self._patience:
            raise FleetStuck(self._fleet.now, self._fleet.busy, self._fleet.n - self._fleet.busy)
        self._plan_checkup()
        if self.on_progress is not None:
            self.on_progress(self)
        self._settle_checkpoint()

    def _plan_checkup(self) -> None:
        arrivals = self.counts.arrivals
        self._checkup = min(arrivals + CHECK_EVERY, self.until.arrivals, self._last_update + self._patience)

    def _settle_checkpoint(self) -> None:
        if self._checkpoint_is_due and not self.finished:
            self._checkpoint_is_due = False
            if self.on_checkpoint is not None:
                self.on_checkpoint()

    def row(self) -> None:
        """Writes the history row that is due: the clock stands at its time."""
        now = self._fleet.now
        self._write_row(now)
        if self._fleet.is_stuck:
            self.was_stuck = True
            if self.until.time == math.inf:
                raise FleetStuck(now, self._fleet.busy, self._fleet.n - self._fleet.busy)
        if now >= self.until.time:
            self._finish("time")
        self._schedule()
        if self.on_progress is not None:
            self.on_progress(self)
        self._settle_checkpoint()

    def end(self) -> None:
        """Writes the last row and hands on the rest of the trace."""
        if self.rows[-1]["time"] != self._fleet.now:
            self._write_row(self._fleet.now)
        self._hash(must=True)
        if self._buffer is not None:
            self._buffer.flush()

    def outcome(self, wall_seconds: float, slip: dict[str, float] | None = None) -> Outcome:
        """Returns what the run left behind."""
        return Outcome(
            rows=self.rows,
            counts=self.counts,
            updates=self._method.updates,
            time=self._fleet.now,
            diverged_at=self.diverged_at,
            ended_by=self.ended_by,
            was_stuck=self.was_stuck,
            busy_seconds=self._fleet.busy_seconds,
            wall_seconds=wall_seconds,
            slip=slip or {},
            fingerprints=self._fingerprints.taken,
        )

    def stop(self, reason: str = "interrupted") -> None:
        """Ends the run at the next arrival; may be called from another thread or a signal handler."""
        self._finish(reason)

    def progress(self) -> Progress:
        """Returns where the run stands."""
        values = [row.get("value", math.nan) for row in self.rows[-len(self._members) :]]
        return Progress(
            self._fleet.now,
            self._method.updates,
            self.counts.arrivals,
            float(np.nanmin(values)) if not np.all(np.isnan(values)) else math.nan,
            self.wall_seconds,
        )

    def evaluated(self, point: int, metrics: Row) -> None:
        """Completes the rows of one point; each metric is a float or has shape (G,)."""
        self._unevaluated.pop(point, None)
        first = point * len(self._members)
        for member in range(len(self._members)):
            row = self.rows[first + member]
            for name, values in metrics.items():
                row[name] = float(np.ravel(values)[member])
            target = self.until.target
            if target is not None and target.is_met(row[target.metric]):
                self._met[member] = True
        self._settle()

    def _write_row(self, now: float, must_hash: bool = False) -> None:
        self._hash(must_hash)
        x = self._method.estimate
        finite = np.isfinite(x).all(axis=-1).reshape(-1)
        for member, step_size in enumerate(self._members):
            if not finite[member]:
                self.diverged_at.setdefault(member, now)
            self.rows.append(
                {"step_size": step_size, "time": now, "updates": self._method.updates, "arrivals": self.counts.arrivals}
            )
        self._points += 1
        self._evaluate(self._points - 1, x)

    def _hash(self, must: bool = False) -> None:
        method, arrivals = self._method, self.counts.arrivals
        self._fingerprints.offer(method.x, self._fleet.now, method.updates, arrivals, self._alarms, must)

    def _evaluate(self, point: int, x: Array) -> None:
        self._unevaluated[point] = x
        self.evaluate(self, point, x)

    def _settle(self) -> None:
        """Ends the run when every member has met the target or never will."""
        settled = self._met.copy()
        settled[list(self.diverged_at)] = True
        if settled.all() and self.until.target is not None:
            self._finish("target" if self._met.any() else "divergence")

    def _schedule(self) -> None:
        upcoming = len(self.rows) // len(self._members)
        self.due = min(upcoming * self._every, self.until.time)

    def _finish(self, reason: str) -> None:
        if not self.finished:
            self.ended_by = reason
            self.finished = True

    def _cancellations(self, now: float, updates: int) -> None:
        for workers, numbers, assigned_at, versions in self._cancelled:
            self.counts.cancelled += len(workers)
            if self.record.trace == "all":
                assert self._buffer is not None
                columns = {"time": now, "worker": workers, "number": numbers, "assigned_at": assigned_at,
                           "version": versions, "delay": updates - versions, "outcome": CANCELLED,
                           "updates": updates, "completed_at": math.nan, "checksum": math.nan}  # fmt: skip
                self._buffer.add_many(columns, len(workers))
        self._cancelled.clear()


__all__ = [
    "CANCELLED",
    "FAILED",
    "IGNORED",
    "OUTCOMES",
    "ROW_GROUP",
    "TRACE",
    "USED",
    "Counts",
    "Outcome",
    "Progress",
    "Record",
    "RecordedFleet",
    "Recorder",
    "Row",
    "TraceBuffer",
]
