"""One recorded run, executed again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from rayopt.experiments.replay.fleet import Event, ReplayedWorkers, ReplayMismatch
from rayopt.methods.base import Method
from rayopt.runs.fingerprints import Fingerprint, fingerprint
from rayopt.storage.trace.reader import TraceReader


@dataclass(frozen=True)
class Difference:
    """Where a replay first differs from what was recorded.

    Attributes:
      arrival: how many had been received, that of the difference included.
      update: k after it.
      worker: the worker that arrived; None at the start and at an alarm.
      what: what differs, in words.
      size: how far the sum of x is off; NaN if that is not known.
    """

    arrival: int
    update: int
    worker: int | None
    what: str
    size: float = math.nan

    def __str__(self) -> str:
        who = "at the start" if self.worker is None else f"with arrival {self.arrival:,}, of worker {self.worker}"
        size = "" if math.isnan(self.size) else f", by {self.size:.3g}"
        return f"{who}, update {self.update:,}: {self.what}{size}"


class Differs(Exception):
    """Ends a replay at its first difference."""

    def __init__(self, difference: Difference) -> None:
        self.difference = difference
        super().__init__(str(difference))


class Rerun:
    """A run that is executed again, to its end or to the first difference.

    Attributes:
      arrivals: how many were received.
      checked: how many hashes were met.
    """

    def __init__(self, hashes: Sequence[Fingerprint]) -> None:
        self.arrivals = 0
        self.checked = 0
        self._alarms = 0
        self._hashes = deque(hashes)
        self._worker: int | None = None

    @property
    def updates(self) -> int:
        """k so far."""
        raise NotImplementedError

    def run(self) -> Difference | None:
        """Runs to the end of the trace, or to the first difference, which is returned."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._run()
        except Differs as found:
            return found.difference
        return None

    def _run(self) -> None:
        raise NotImplementedError

    def _differs(self, what: str, size: float = math.nan) -> Differs:
        return Differs(Difference(self.arrivals, self.updates, self._worker, what, size))


class ReplayRun(Rerun):
    """A method that receives again what it received.

    Args:
      method: prepared.
      fleet: delivers.
      events: the trace.
      hashes: of x, in order.
      has_cancellations: whether the trace has a row for each.
    """

    def __init__(
        self,
        method: Method,
        fleet: ReplayedWorkers,
        events: Iterable[Event],
        hashes: Sequence[Fingerprint],
        has_cancellations: bool,
    ) -> None:
        super().__init__(hashes)
        self._method = method
        self._fleet = fleet
        self._events = events
        self._has_cancellations = has_cancellations

    @property
    def updates(self) -> int:
        return self._method.updates

    def _run(self) -> None:
        rows = iter(_grouped(self._events))
        _, cancelled = next(rows)
        self._method.start(self._fleet)
        for event, after in rows:
            self._check_hashes()
            self._ring(event.time, before_arrival=True)
            self._ring_until_given(event)
            # What alarms have cancelled stands before the arrival too.
            self._compare_cancellations(cancelled)
            self._worker = event.worker
            self._receive(event)
            cancelled = after
        self._check_hashes()
        self._compare_cancellations(cancelled)
        if self._hashes:
            total = self._hashes[-1].arrivals
            raise self._differs(f"the trace ends after {self.arrivals:,} arrivals, and x was hashed after {total:,}")

    def _receive(self, event: Event) -> None:
        self.arrivals += 1
        try:
            arrival = self._fleet.deliver(event)
        except ReplayMismatch as error:
            raise self._differs(str(error)) from None
        self._method.now = arrival.time
        self._method.receive(arrival, self._fleet)
        outcome = "used" if arrival.used else "ignored" if arrival.ok else "failed"
        if outcome != event.outcome:
            raise self._differs(f"the arrival is {outcome}, and was {event.outcome}")
        updates = self._method.updates
        if updates != event.updates:
            raise self._differs(f"k is {updates:,} after it, and was {event.updates:,}")
        if not math.isnan(event.checksum):
            found = float(np.add.reduce(self._method.x, axis=None))
            if found != event.checksum:
                raise self._differs("the sum of x is another one", abs(found - event.checksum))

    def _check_hashes(self) -> None:
        """Compares x with the hashes that were taken after as many arrivals."""
        while self._hashes and self._hashes[0].arrivals <= self.arrivals:
            wanted = self._hashes.popleft()
            self._ring(wanted.time, most=wanted.alarms)
            if self._alarms != wanted.alarms:
                raise self._differs(f"at {wanted.time:g} s it has had {self._alarms} alarms, and had {wanted.alarms}")
            if fingerprint(self._method.x) != wanted.sha256:
                raise self._differs(f"the hash of x at {wanted.time:g} s is another one")
            self.checked += 1

    def _ring(self, until: float, before_arrival: bool = False, most: float = math.inf) -> None:
        """Gives the method its alarms up to a time, until it has had ``most``."""
        while self._alarms < most and (alarm := self._fleet.alarm(until, before_arrival)) is not None:
            self._alarms += 1
            self._method.now = alarm.time
            self._method.receive(alarm, self._fleet)

    def _ring_until_given(self, event: Event) -> None:
        """Gives the method alarms of the time of an arrival one by one until the worker has the task that arrives.

        An alarm comes behind the arrivals of its time, but not behind those of tasks that it has brought about.
        """
        had = -1
        while had < self._alarms and not self._fleet.has(event):
            had = self._alarms
            self._ring(event.time, most=had + 1)

    def _compare_cancellations(self, recorded: list[Event]) -> None:
        found = list(self._fleet.cancelled)
        self._fleet.cancelled.clear()
        if not self._has_cancellations:
            return
        wanted = [(event.worker, event.number, event.version) for event in recorded]
        if wanted != found:
            position = next((i for i, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), None)
            if position is None:
                raise self._differs(f"it cancels {len(found)} tasks, and {len(wanted)} were cancelled")
            tasks = [f"task {number} of worker {worker}" for worker, number, _ in (found[position], wanted[position])]
            raise self._differs(f"it cancels {tasks[0]}, and {tasks[1]} was cancelled")


def events_of(trace: TraceReader, run: int) -> Iterator[Event]:
    """Yields the rows of one run as events."""
    there = [name for name in Event._fields if name in trace.columns]
    # Traces of older versions do not say which message it was: every task had one.
    absent: dict[str, Any] = {"message": 0, "sender": -1, "kind": ""}
    for frame in trace.frames(there, run):
        columns: list[Any] = [
            frame[name].tolist() if name in there else repeat(absent.get(name, math.nan)) for name in Event._fields
        ]
        for row in zip(*columns, strict=False):
            yield Event(*row)


def _grouped(events: Iterable[Event]) -> Iterator[tuple[Any, list[Event]]]:
    """Yields each arrival with the cancellations that follow it, first None with those of the start."""
    arrival, cancelled = None, []
    for event in events:
        if event.outcome == "cancelled":
            cancelled.append(event)
        else:
            yield arrival, cancelled
            arrival, cancelled = event, []
    yield arrival, cancelled
