"""A trace writer that survives a full disk: rows wait in memory until they can be written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.storage.trace.writer import TraceWriter

MOST_BYTES = 2**26
"""Rows up to this size wait in memory; while the disk is full, more are dropped and counted."""
RETRY_EVERY = 1.0
"""Real seconds between two attempts to write what waits."""


class TraceExtent(NamedTuple):
    """How far a trace is on disk.

    Attributes:
      parts: the names of its complete parts.
      dropped: the number of rows that are missing in them.
    """

    parts: list[str]
    dropped: int = 0


class BufferedTraceWriter:
    """Writes trace rows as a :class:`rayopt.storage.trace.writer.TraceWriter` does; training goes on where that fails.

    The rows of the part that is being written are kept, for a part is readable only when it is complete: after an
    error they are written again, into a new one.

    Args:
      file: what writes.
      clock: real seconds.
      dropped: rows that an earlier process has dropped.
    """

    def __init__(self, file: TraceWriter, clock: Callable[[], float] = time.monotonic, dropped: int = 0) -> None:
        self._file = file
        self._clock = clock
        self._waiting: list[tuple[Any, ...]] = []
        self._bytes = 0
        self._dropped = dropped
        self._retry_at: float | None = None

    @property
    def real_time(self) -> bool:
        """Whether the rows have the columns of real time."""
        return self._file.real_time

    @property
    def paths(self) -> list[Path]:
        """Where the complete parts are."""
        return self._file.paths

    def write(self, rows: NDArray[np.void], method: str, label: str, seed: int, run: int = 0) -> None:
        """Appends a chunk; see :meth:`rayopt.storage.trace.writer.TraceWriter.write`."""
        if self._retry_at is not None and self._bytes + rows.nbytes > MOST_BYTES:
            self._dropped += len(rows)
        else:
            self._waiting.append((rows.copy(), method, label, seed, run))
            self._bytes += rows.nbytes
        if self._retry_at is not None:
            if self._clock() >= self._retry_at:
                self.cut()
            return
        try:
            self._file.write(*self._waiting[-1])
        except OSError as error:
            self._fail(error)
        if self._bytes > MOST_BYTES:
            self.cut()

    @property
    def extent(self) -> TraceExtent:
        """What there is now; rows that wait are missing."""
        return TraceExtent(self._file.parts, self._dropped + sum(len(chunk[0]) for chunk in self._waiting))

    def cut(self) -> TraceExtent | None:
        """Completes the part that is being written; returns what there is then, or None while rows must wait."""
        try:
            self._cut()
        except OSError as error:
            self._fail(error)
            return None
        return self.extent

    def rewind(self, extent: TraceExtent) -> None:
        """Forgets everything that came later."""
        self._forget_lost()
        self._file.rewind([name for name in extent.parts if name in self._file.parts])
        self._forget_waiting()
        self._retry_at = None
        self._dropped = extent.dropped

    def close(self, path: Path, about: str = "") -> None:
        """Makes one file of all rows, and of a text about them; tells of rows that are missing.

        Raises:
          OSError: it cannot be written.
        """
        self._file.about = about
        self._cut()
        self._file.close(path)
        if self._dropped:
            warnings.warn(
                f"{self._dropped:,} rows of the trace were dropped while it could not be written",
                UserWarning, stacklevel=2,
            )  # fmt: skip

    def make_room(self) -> None:
        """Removes the part that is not complete; its rows wait in memory."""
        self._file.drop()
        self._retry_at = self._clock() if self._retry_at is None else self._retry_at

    def move_to(self, folder: Path) -> None:
        """Writes into another folder from now on; complete parts stay where they are until the end."""
        self.make_room()
        self._file.move_to(folder)

    def move_back(self, folder: Path) -> None:
        """Writes into a folder from now on, and brings complete parts there as far as that is possible."""
        self.move_to(folder)
        self._file.gather()

    def _cut(self) -> None:
        if self._retry_at is not None:
            for chunk in self._waiting:
                self._file.write(*chunk)
        self._file.cut()
        self._retry_at = None
        self._forget_waiting()
        self._forget_lost()

    def _forget_lost(self) -> None:
        """Tells of parts that are not there any more: nothing may count on them."""
        if lost := self._file.forget_lost():
            warnings.warn(f"{lost} parts of the trace went away with their folder", UserWarning, stacklevel=3)

    def _fail(self, error: OSError) -> None:
        """Says once that the trace cannot be written, and drops the part that is not complete."""
        self._file.drop()
        if self._retry_at is None:
            warnings.warn(
                f"the trace cannot be written ({error}): training goes on, rows up to {MOST_BYTES / 2**20:.0f} MB wait "
                "in memory until it can be, and the next checkpoint with them",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        self._retry_at = self._clock() + RETRY_EVERY

    def _forget_waiting(self) -> None:
        self._waiting, self._bytes = [], 0
