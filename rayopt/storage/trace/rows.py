"""The rows of a trace while a run goes on: in one chunk of memory, handed on when it is full."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival
from rayopt.core.programs import MESSAGE_KINDS

OUTCOMES = ("used", "ignored", "cancelled", "failed")
USED, IGNORED, CANCELLED, FAILED = range(4)
EVENTS = ("received", "freed", "woken")
"""What else happens at a node of a network: their codes follow those of the outcomes."""
RECEIVED, FREED, WOKEN = range(4, 7)
KINDS = ("", *MESSAGE_KINDS, "other")
"""What messages hold."""

TRACE = np.dtype(
    [
        ("time", "f8"),
        ("worker", "i4"),
        ("number", "i8"),
        ("assigned_at", "f8"),
        ("version", "i8"),
        ("delay", "i8"),
        ("outcome", "i1"),
        ("updates", "i8"),
        ("component", "i4"),
        ("message", "i4"),
        ("bits", "i8"),
        ("completed_at", "f8"),
        ("checksum", "f8"),
        ("sender", "i4"),
        ("kind", "i1"),
    ]
)
ROW_GROUP = 65_536


class TraceBuffer:
    """Trace rows in one preallocated chunk, handed on when it is full.

    Args:
      flush: receives a structured array of dtype ``TRACE``; it must not be kept.
    """

    def __init__(self, flush: Callable[[NDArray[np.void]], None]) -> None:
        self._rows = np.zeros(ROW_GROUP, dtype=TRACE)
        self._bytes = self._rows.view(np.uint8).data
        self._pack = struct.Struct("=diqdqqbqiiqddib").pack_into
        self._size = TRACE.itemsize
        self._flush = flush
        self._next = 0

    def add(
        self, arrival: Arrival, updates_before: int, outcome: int, updates: int, checksum: float, bits: int
    ) -> None:
        """Adds the row of one arrival, whose message had so many bits."""
        task = arrival.task
        version = task.version
        self._pack(
            self._bytes, self._next * self._size, arrival.time, arrival.worker, arrival.number, arrival.assigned_at,
            version, updates_before - version, outcome, updates, task.component, arrival.message,
            bits, arrival.completed_at, checksum, -1, 0,
        )  # fmt: skip
        self._next += 1
        if self._next == ROW_GROUP:
            self.flush()

    def add_event(
        self, time: float, node: int, number: int, begun_at: float, event: int, updates: int, bits: int, sender: int,
        kind: str,
    ) -> None:  # fmt: skip
        """Adds the row of an event at a node of a network that is not an arrival.

        Args:
          time: seconds.
          node: where it happens.
          number: of the message on its edge.
          begun_at: when the message left, or the alarm was set.
          event: RECEIVED, FREED or WOKEN.
          updates: k after it.
          bits: of the message.
          sender: of the message; of an edge that has become free, where it leads; -1 for an alarm.
          kind: of the message, one of ``KINDS``.
        """
        self._pack(
            self._bytes, self._next * self._size, time, node, number, begun_at, -1, 0, event, updates, -1, 0, bits,
            math.nan, math.nan, sender, KINDS.index(kind) if kind in KINDS else KINDS.index("other"),
        )  # fmt: skip
        self._next += 1
        if self._next == ROW_GROUP:
            self.flush()

    def add_many(self, columns: dict[str, Any], count: int) -> None:
        """Adds ``count`` rows given as columns or as scalars."""
        done = 0
        columns = {"sender": -1, "kind": 0, **columns}
        while done < count:
            take = min(count - done, ROW_GROUP - self._next)
            rows = self._rows[self._next : self._next + take]
            for name, column in columns.items():
                rows[name] = column if np.ndim(column) == 0 else column[done : done + take]
            self._next += take
            done += take
            if self._next == ROW_GROUP:
                self.flush()

    @property
    def rows(self) -> NDArray[np.void]:
        """The rows that were not yet handed on; they change with the buffer."""
        return self._rows[: self._next]

    def refill(self, rows: NDArray[np.void]) -> None:
        """Takes the rows of another buffer that it had not yet handed on."""
        self._rows[: len(rows)] = rows
        self._next = len(rows)

    def flush(self) -> None:
        """Hands on what there is."""
        if self._next:
            self._flush(self._rows[: self._next])
            self._next = 0
