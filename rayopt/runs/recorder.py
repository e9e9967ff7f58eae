"""The recorder of a run: history rows, a trace of arrivals, counts, and when it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, ArrivalBlock
from rayopt.core.errors import FleetStuck
from rayopt.core.programs import Delivery, EdgeFreed, kind_of
from rayopt.core.tasks import Gradient, float_bits_of, message_bits
from rayopt.runs.callbacks import UNWATCHED, NewArrival, NewRows, OnEvent, Watched, disregard
from rayopt.runs.fingerprints import Fingerprint, Fingerprints
from rayopt.runs.outcome import INTERRUPTED, Counts, Outcome, Progress, Row
from rayopt.runs.record import MOST_ROWS, Record
from rayopt.runs.until import Until
from rayopt.storage.encoding import Plain
from rayopt.storage.trace.rows import (
    CANCELLED,
    FAILED,
    FREED,
    IGNORED,
    OUTCOMES,
    RECEIVED,
    ROW_GROUP,
    TRACE,
    USED,
    WOKEN,
    TraceBuffer,
)

if TYPE_CHECKING:
    from rayopt.methods.base import Method

Array = NDArray[np.float64]

CHECK_EVERY = 1024
IDLE_ROWS = 1_000
"""Rows in a row without an arrival between them, after which the interval doubles."""


class RecordedFleet(Protocol):
    """What the record needs of a fleet.

    Attributes:
      n: number of workers.
      now: fleet seconds since the start.
      cancelled: (workers, numbers, assigned_at, versions) of what was cancelled since the list was last cleared.
    """

    n: int
    now: float
    cancelled: list[tuple[Any, ...]]

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
class Recorder:
    """Decides when history rows are due and when a run ends, and keeps its record.

    Args:
      record: after :meth:`Record.resolve`.
      until: the limits.
      evaluate: given a row and a point, computes the metrics and calls ``evaluated(row, metrics)``, now or later.
      flush_trace: receives chunks of the trace.
      real_time: whether the trace is to hold a sum of x after each arrival: a replay finds by it where x differs.
      on_progress: called with the recorder now and then.
      on_checkpoint: called between two events, after a checkpoint was requested.
      watched: what of the run ``on_event`` receives.
      on_event: receives new rows and arrivals.
    """

    record: Record
    until: Until
    evaluate: Callable[[Recorder, int, Array], None]
    flush_trace: Callable[[NDArray[np.void]], None]
    on_progress: Callable[[Recorder], None] | None = None
    on_checkpoint: Callable[[], None] | None = None
    real_time: bool = False
    watched: Watched = UNWATCHED
    on_event: OnEvent = disregard

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
        self._used_by = state["used_by"]
        self._checksum = state["checksum"]
        self._every, self._start_row, self._start_time, self._idle_rows, self._arrivals_at_row = state["interval"]
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
            "used_by": self._used_by,
            "checksum": self._checksum,
            "interval": [self._every, self._start_row, self._start_time, self._idle_rows, self._arrivals_at_row],
        }

    def ask_for_checkpoint(self) -> None:
        """Makes ``on_checkpoint`` be called after the next event; may be called from another thread."""
        self._checkpoint_is_due = True
        # Written after the flag: a checkup that has just looked at it is followed by another.
        self._checkup: float = -1

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
        # A gradient of a node is sent nowhere by itself.
        self._float_bits = float_bits_of(method.x.dtype)
        self._dense_bits = 0 if method.decentralized else self._float_bits * method.x.shape[-1]
        self._size_is_of: Any = None
        self._size = 0
        self._met = np.zeros(len(self._members), dtype=bool)
        self._every = self.record.every or math.inf
        # Rows are due at start_time + every * (their number - start_row), so that no sum of intervals rounds.
        self._start_row, self._start_time = 0, 0.0
        self._idle_rows, self._arrivals_at_row = 0, 0
        self._buffer = TraceBuffer(self.flush_trace) if self.record.trace else None
        # On a network, by node; elsewhere the trace tells.
        self._used_by = [0] * fleet.n if method.decentralized else []
        self._records_events = method.decentralized and self.record.trace == "all"
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
            bits = self._dense_bits
            if type(arrival.task) is not Gradient and (compressor := arrival.task.compressor) is not None:
                bits = self._compressed(arrival, compressor)
            if arrival.used:
                counts.used += 1
                outcome = USED
                if self._used_by:
                    self._used_by[arrival.worker] += 1
            elif arrival.ok:
                outcome = IGNORED
            else:
                counts.failed += 1
                outcome, bits = FAILED, 0
            if self._buffer is not None:
                if self.real_time and updates != self._updates:
                    self._checksum = float(np.add.reduce(self._method.x, axis=None))
                self._buffer.add(arrival, self._updates, outcome, updates, self._checksum, bits)
        else:
            self._alarms += 1
            if self._records_events:
                self._event(arrival, updates)
        if self._cancelled:
            self._cancellations(arrival.time, updates)
        if updates != self._updates:
            self._updates = updates
            self._last_update = counts.arrivals - counts.early
        if updates >= self._last or counts.arrivals >= self._checkup:
            self._check(updates)

    def _event(self, event: Any, updates: int) -> None:
        """Writes the row of what has happened at a node of a network."""
        assert self._buffer is not None
        begun_at = event.assigned_at
        if type(event) is Delivery:
            self._buffer.add_event(event.time, event.node, event.message_number, begun_at, RECEIVED, updates,
                                   self._float_bits * event.floats, event.sender, event.payload[0])  # fmt: skip
        elif type(event) is EdgeFreed:
            kind = kind_of(event.flow)
            self._buffer.add_event(event.time, event.node, -1, begun_at, FREED, updates, 0, event.neighbour, kind)
        else:
            self._buffer.add_event(event.time, event.node, -1, begun_at, WOKEN, updates, 0, -1, "")

    @property
    def room(self) -> int:
        """How many arrivals may come before something else must be looked at, at least 1."""
        return max(int(min(self._checkup - self.counts.arrivals, CHECK_EVERY)), 1)

    @property
    def updates_left(self) -> float:
        """How many updates may come before the run ends, at least 1."""
        return max(self._last - self._updates, 1)

    def block(self, block: ArrivalBlock, used: NDArray[np.bool_], before: Any, after: Any) -> None:
        """Records arrivals of uncompressed gradients after the method has received them.

        Args:
          block: the arrivals.
          used: whether the method has asked for their values, shape (m,).
          before: number of updates when each came, one for all or of shape (m,).
          after: number of updates after each.
        """
        counts, size = self.counts, len(block.times)
        if np.ndim(after):
            updated = np.flatnonzero(after != before)
            if updated.size:
                self._last_update = counts.arrivals - counts.early + int(updated[-1]) + 1
        updates = self._updates = self._method.updates
        counts.arrivals += size
        counts.used += int(np.count_nonzero(used))
        if self._buffer is not None:
            columns = {
                "time": block.times, "worker": block.workers, "number": block.numbers,
                "assigned_at": block.assigned_at, "version": block.versions, "delay": before - block.versions,
                "outcome": np.where(used, USED, IGNORED), "updates": after, "component": -1, "message": 0,
                "bits": self._dense_bits, "completed_at": block.times, "checksum": self._checksum,
            }  # fmt: skip
            self._buffer.add_many(columns, size)
        if updates >= self._last or counts.arrivals >= self._checkup:
            self._check(updates)

    def watched_arrival(self, arrival: Arrival) -> None:
        """Records an arrival and tells of it."""
        before = self._updates
        self.arrival(arrival)
        if arrival.worker is None:
            return
        outcome, bits = FAILED, 0
        if arrival.ok:
            outcome = USED if arrival.used else IGNORED
            compressor = arrival.task.compressor
            bits = self._dense_bits if compressor is None else self._bits_of(compressor)
        version = arrival.task.version
        self.on_event(NewArrival(arrival.time, arrival.worker, arrival.number, arrival.assigned_at, version,
                                 before - version, OUTCOMES[outcome], self._updates, bits))  # fmt: skip

    def _compressed(self, arrival: Arrival, compressor: Any) -> int:
        """Counts a message that was compressed, and returns its bits."""
        if compressor is not self._size_is_of:
            self._size_is_of, self._size = compressor, self._bits_of(compressor)
        bits, counts = self._size, self.counts
        counts.compressed += 1
        counts.compressed_bits += bits
        if not arrival.is_last:
            counts.early += 1
        return bits

    def _bits_of(self, compressor: Any) -> int:
        return message_bits(compressor, self._method.x.shape[-1], self._float_bits)

    def _count_bits(self) -> None:
        """Brings the bits of the counts up to date."""
        counts, down = self.counts, self._method.downlink
        if self._method.decentralized:
            counts.bits_up, counts.bits_down = self._fleet.bits_sent, 0  # type: ignore[attr-defined]
            return
        counts.bits_up = (
            counts.arrivals - counts.failed - counts.compressed
        ) * self._dense_bits + counts.compressed_bits
        tasks = counts.arrivals - counts.early + counts.cancelled + self._fleet.busy
        counts.bits_down = tasks * (self._dense_bits if down is None else self._bits_of(down))

    def _check(self, updates: int) -> None:
        """Looks at what need not be looked at after every arrival."""
        arrivals = self.counts.arrivals
        if updates >= self.until.updates:
            self._finish("updates")
        if arrivals >= self.until.arrivals:
            self._finish("arrivals")
        # Messages of one task before its last are no arrivals in vain.
        if self._since_update >= self._patience:
            raise FleetStuck(self._fleet.now, self._fleet.busy, self._fleet.n - self._fleet.busy)
        self._plan_checkup()
        if self.on_progress is not None:
            self.on_progress(self)
        self._settle_checkpoint()

    def _plan_checkup(self) -> None:
        arrivals = self.counts.arrivals
        left = max(self._patience - self._since_update, 1)
        self._checkup = min(arrivals + CHECK_EVERY, self.until.arrivals, arrivals + left)

    @property
    def _since_update(self) -> int:
        """Tasks that have ended since the last update."""
        return self.counts.arrivals - self.counts.early - self._last_update

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
        self._count_bits()
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
            thinned_to=self._every if self._start_row else 0.0,
            used_by=list(self._used_by),
        )

    def stop(self, reason: str = INTERRUPTED) -> None:
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
        x = self._unevaluated.pop(point, None)
        first = point * len(self._members)
        for member in range(len(self._members)):
            row = self.rows[first + member]
            for name, values in metrics.items():
                row[name] = float(np.ravel(values)[member])
            target = self.until.target
            if target is not None and target.is_met(row[target.metric]):
                self._met[member] = True
        self._settle()
        if self.watched.rows:
            rows = [dict(row) for row in self.rows[first : first + len(self._members)]]
            self.on_event(NewRows(rows, x if self.watched.points else None))

    def _write_row(self, now: float, must_hash: bool = False) -> None:
        self._hash(must_hash)
        x = self._method.evaluated_point
        finite = np.isfinite(x).all(axis=-1).reshape(-1)
        self._count_bits()
        busy_seconds = self._fleet.busy_seconds
        for member, step_size in enumerate(self._members):
            if not finite[member]:
                self.diverged_at.setdefault(member, now)
            self.rows.append(
                {
                    "step_size": step_size,
                    "time": now,
                    "updates": self._method.updates,
                    "arrivals": self.counts.arrivals,
                    "bits_up": self.counts.bits_up,
                    "bits_down": self.counts.bits_down,
                    "used": self.counts.used,
                    "worker_seconds": busy_seconds,
                }
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
        self._thin(upcoming)
        self.due = min(self._start_time + (upcoming - self._start_row) * self._every, self.until.time)

    def _thin(self, upcoming: int) -> None:
        """Doubles the interval when rows follow each other without an arrival, or there are too many of them.

        Rows much finer than the events of a fleet would fill the memory with one unchanged x.
        """
        arrivals = self.counts.arrivals
        self._idle_rows = self._idle_rows + 1 if arrivals == self._arrivals_at_row else 0
        self._arrivals_at_row = arrivals
        if self._idle_rows >= IDLE_ROWS or upcoming - self._start_row >= MOST_ROWS:
            self._start_row, self._start_time = upcoming - 1, self.rows[-1]["time"]
            self._every *= 2
            self._idle_rows = 0

    def _finish(self, reason: str) -> None:
        if not self.finished:
            self.ended_by = reason
            self.finished = True

    def _cancellations(self, now: float, updates: int) -> None:
        for workers, numbers, assigned_at, versions, *components in self._cancelled:
            self.counts.cancelled += len(workers)
            if self.record.trace == "all":
                assert self._buffer is not None
                columns = {"time": now, "worker": workers, "number": numbers, "assigned_at": assigned_at,
                           "version": versions, "delay": updates - versions, "outcome": CANCELLED,
                           "updates": updates, "component": components[0] if components else -1,
                           "message": 0, "bits": 0,
                           "completed_at": math.nan, "checksum": math.nan}  # fmt: skip
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
