"""A trace that outlives a full disk: rows wait in memory until they can be written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.trace_file import TraceFile

MOST_BYTES = 2**26
"""Rows up to this size wait in memory; while the disk is full, more are dropped and counted."""
RETRY_EVERY = 1.0
"""Real seconds between two attempts to write what waits."""


class PatientTrace:
    """Writes trace rows as a :class:`rayopt.trace_file.TraceFile` does; training goes on where that fails.

    The rows of the part that is being written are kept, for a part is readable only when it is complete: after an
    error they are written again, into a new one.

    Args:
      file: what writes.
      clock: real seconds.
    """

    def __init__(self, file: TraceFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._waiting: list[tuple[Any, ...]] = []
        self._bytes = 0
        self._dropped = 0
        self._retry_at: float | None = None

    @property
    def real_time(self) -> bool:
        """Whether the rows have the columns of real time."""
        return self._file.real_time

    def write(self, rows: NDArray[np.void], method: str, label: str, seed: int, run: int = 0) -> None:
        """Appends a chunk; see :meth:`rayopt.trace_file.TraceFile.write`."""
        if self._retry_at is not None and self._bytes + rows.nbytes > MOST_BYTES:
            self._dropped += len(rows)
        else:
            self._waiting.append((rows.copy(), method, label, seed, run))
            self._bytes += rows.nbytes
        if self._retry_at is not None:
            self.cut()
            return
        try:
            self._file.write(*self._waiting[-1])
        except OSError as error:
            self._fail(error)
        if self._bytes > MOST_BYTES:
            self.cut()

    def cut(self) -> list[str]:
        """Completes the part that is being written, if that can be; returns the names of all complete parts."""
        if self._retry_at is not None and self._clock() < self._retry_at:
            return self._file.parts
        try:
            return self._cut()
        except OSError as error:
            self._fail(error)
            return self._file.parts

    def rewind(self, parts: Sequence[str]) -> None:
        """Forgets everything but these parts."""
        self._forget_waiting()
        self._file.rewind(parts)

    def close(self, path: Path) -> None:
        """Makes one file of all rows; tells of those that are missing.

        Raises:
          OSError: it cannot be written.
        """
        self._cut()
        lost = self._file.close(path)
        if lost:
            warnings.warn(f"{lost} parts of the trace went away with their folder", UserWarning, stacklevel=2)
        if self._dropped:
            warnings.warn(
                f"{self._dropped:,} rows of the trace were dropped while it could not be written",
                UserWarning, stacklevel=2,
            )  # fmt: skip

    def move_to(self, folder: Path) -> None:
        """Writes into another folder from now on; complete parts stay where they are until the end."""
        self._file.move_to(folder)
        self._retry_at = self._clock() if self._retry_at is None else self._retry_at

    def _cut(self) -> list[str]:
        if self._retry_at is not None:
            for chunk in self._waiting:
                self._file.write(*chunk)
        parts = self._file.cut()
        self._retry_at = None
        self._forget_waiting()
        return parts

    def _fail(self, error: OSError) -> None:
        """Says once that the trace cannot be written, and drops the part that is not complete."""
        self._file.drop()
        if self._retry_at is None:
            warnings.warn(
                f"the trace cannot be written ({error}): training goes on, rows up to {MOST_BYTES / 2**20:.0f} MB wait "
                "in memory until it can be",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        self._retry_at = self._clock() + RETRY_EVERY

    def _forget_waiting(self) -> None:
        self._waiting, self._bytes = [], 0
