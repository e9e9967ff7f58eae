"""Files of recorded durations: the CSV that ``rayopt profile`` writes, and the trace of a run.

The CSV is plain text: comment lines ``# key: value``, of which ``# units: seconds`` must be there, then a header
and a row for each thing that was timed::

    # units: seconds, bytes
    worker,kind,bytes,number,seconds
    0,compute,0,0,0.0101
    0,upload,62800,0,0.0009

``kind`` is compute, upload or download; ``bytes`` what was sent, 0 for compute; ``number`` counts the rows of one
worker, kind and size.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.latency.base import Array, read_only

COLUMNS = ("worker", "kind", "bytes", "number", "seconds")
KINDS = ("compute", "upload", "download")
UNITS = "seconds, bytes"
ALLOWED = "a CSV that `rayopt profile` wrote, or the trace.parquet of a run folder"
_OF_A_RUN = ["worker", "time", "assigned_at", "outcome"]


@dataclass(frozen=True, eq=False)
class Durations:
    """Recorded durations, by kind and bytes and then by worker.

    Args:
      path: the file.
      seconds: {(kind, bytes): {worker: durations in their order, shape (m,)}}; no array is empty.
      header: what the comment lines say, by key.
    """

    path: str
    seconds: Mapping[tuple[str, int], Mapping[int, Array]]
    header: Mapping[str, str] = field(default_factory=dict)

    def sizes(self, kind: str) -> list[int]:
        """Returns the payloads in bytes of which durations of this kind were recorded, ascending."""
        return sorted(size for known, size in self.seconds if known == kind)

    def of(self, kind: str, size: int | None = None) -> Mapping[int, Array]:
        """Returns the durations of each worker.

        Args:
          kind: compute, upload or download.
          size: the bytes that were sent; None if only one size was recorded.

        Raises:
          InvalidInput: there are none, or of several sizes none is chosen.
        """
        sizes = self.sizes(kind)
        if not sizes:
            raise InvalidInput("path", f"{self.path!r} has no durations of the kind {kind}", f"rows of the kind {kind}")
        if size is None and len(sizes) > 1:
            raise InvalidInput("bytes", f"missing, and {self.path!r} has {len(sizes)} sizes", _listed(sizes))
        if size is not None and size not in sizes:
            raise InvalidInput("bytes", f"{self.path!r} has no {kind} of {size} bytes", _listed(sizes))
        return self.seconds[kind, sizes[0] if size is None else size]


def read_durations(path: str, label: str | None = None, seed: int | None = None) -> Durations:
    """Returns the recorded durations of a file.

    Args:
      path: a CSV, or a ``.parquet``: the trace of a run, whose durations are those of its arrivals.
      label: of a trace: which method's; None for all.
      seed: of a trace: which seed's; None for all.

    Raises:
      InvalidInput: it cannot be read, has no header, other units or no rows, or a row is not what it must be;
        the text has the line.
    """
    if Path(path).suffix == ".parquet":
        return _read_run(path, {"label": label, "seed": seed})
    for key, value in (("label", label), ("seed", seed)):
        if value is not None:
            raise InvalidInput(key, f"{path!r} is not the trace of a run, which alone tells it", "nothing")
    try:
        # csv wants the line ends as they are.
        with Path(path).open(newline="", encoding="utf-8") as lines:
            return _Reader(path).read(lines)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InvalidInput("path", f"{path!r} cannot be read ({reason})", ALLOWED) from None


class _Reader:
    """Reads the lines of one CSV, and knows at which line it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._line = 0
        self._rows: dict[tuple[str, int], dict[int, dict[int, float]]] = {}

    def read(self, lines: Iterable[str]) -> Durations:
        header: dict[str, str] = {}
        positions: dict[str, int] | None = None
        for self._line, text in enumerate(lines, start=1):
            if text.startswith("#"):
                key, _, value = text[1:].partition(":")
                header[key.strip()] = value.strip()
            elif text.strip():
                cells = self._cells(text)
                if positions is None:
                    positions = self._positions(cells)
                    self._check_units(header)
                else:
                    self._add(cells, positions)
        if not self._rows:
            problem = "is empty" if positions is None else "has no rows below its header"
            raise InvalidInput("path", f"{self._path!r} {problem}", ALLOWED)
        return Durations(self._path, self._by_worker(), header)

    def _cells(self, text: str) -> list[str]:
        try:
            return [cell.strip() for cell in next(csv.reader([text]))]
        except csv.Error as error:
            raise self._error(str(error), "cells with commas between them") from None

    def _positions(self, cells: list[str]) -> dict[str, int]:
        missing = [name for name in COLUMNS if name not in cells]
        if missing:
            raise self._error(f"the header has no column {missing[0]!r}", f"the columns {', '.join(COLUMNS)}")
        return {name: cells.index(name) for name in COLUMNS}

    def _check_units(self, header: Mapping[str, str]) -> None:
        units = header.get("units")
        if units is None:
            raise self._error("no line above the header tells the units", f"a line '# units: {UNITS}'")
        if units.partition(",")[0].strip() != "seconds":
            raise self._error(f"the units are {units!r}", f"a line '# units: {UNITS}'")

    def _add(self, cells: list[str], positions: Mapping[str, int]) -> None:
        if len(cells) <= max(positions.values()):
            raise self._error(f"{len(cells)} cells", f"the columns {', '.join(COLUMNS)}")
        row = {name: cells[position] for name, position in positions.items()}
        kind = row["kind"]
        if kind not in KINDS:
            raise self._error(f"the kind {kind!r} is unknown", ", ".join(KINDS))
        worker, size, number = (self._integer(name, row[name]) for name in ("worker", "bytes", "number"))
        seconds = self._seconds(row["seconds"], may_be_zero=kind != "compute")
        found = self._rows.setdefault((kind, size), {}).setdefault(worker, {})
        if number in found:
            raise self._error(f"number {number} of worker {worker} stands twice", "each number once")
        found[number] = seconds

    def _integer(self, name: str, text: str) -> int:
        # int() would take 1_000, +1 and digits of other scripts too.
        if not (text.isascii() and text.isdigit()):
            raise self._error(f"{name} {text!r} is not an integer of at least 0", "an integer of at least 0")
        return int(text)

    def _seconds(self, text: str, may_be_zero: bool) -> float:
        allowed = f"a finite number {'of at least 0' if may_be_zero else 'above 0'}"
        try:
            seconds = float(text)
        except ValueError:
            raise self._error(f"seconds {text!r} is not a number", allowed) from None
        if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not may_be_zero):
            raise self._error(f"seconds {text}", allowed)
        return seconds

    def _by_worker(self) -> dict[tuple[str, int], dict[int, Array]]:
        return {
            key: {
                worker: read_only(np.array([numbered[number] for number in sorted(numbered)]))
                for worker, numbered in sorted(workers.items())
            }
            for key, workers in self._rows.items()
        }

    def _error(self, problem: str, allowed: str) -> InvalidInput:
        return InvalidInput("path", f"{self._path!r}, line {self._line}: {problem}", allowed)


def _read_run(path: str, chosen: Mapping[str, Any]) -> Durations:
    """Returns the durations of the arrivals of all runs in a trace, from assignment to completion.

    A task that was cancelled or given up has no duration. In virtual time a task is complete when it arrives.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = {key: value for key, value in chosen.items() if value is not None}
            _check_columns(path, names, [*_OF_A_RUN, *wanted])
            optional = [name for name in ("completed_at",) if name in names]
            table = file.read([*_OF_A_RUN, *optional, *wanted])
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput("path", f"{path!r} cannot be read ({_first_line(error)})", ALLOWED) from None
    for key, value in wanted.items():
        there = table.column(key).cast(pa.string())
        table = table.filter(pc.equal(there, str(value)))
        if not table.num_rows:
            known = ", ".join(pc.unique(there).to_pylist())
            raise InvalidInput(key, f"{value!r} is not in {path!r}", known)
    outcomes = table.column("outcome").cast(pa.string()).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.isin(outcomes, ("used", "ignored")))
    if not rows.size:
        raise InvalidInput("path", f"{path!r} has no arrivals", "the trace of a run in which tasks arrived")
    ended_at = table.column("completed_at" if "completed_at" in names else "time").to_numpy()[rows]
    seconds = ended_at - table.column("assigned_at").to_numpy()[rows]
    workers = table.column("worker").to_numpy()[rows]
    takes_time = np.isfinite(seconds) & (seconds > 0)
    if not takes_time.all():
        row = int(rows[np.argmin(takes_time)])
        raise InvalidInput("path", f"{path!r}, row {row}: a task that took no time", "arrivals after assigned_at")
    found = {int(worker): read_only(seconds[workers == worker]) for worker in np.unique(workers)}
    return Durations(path, {("compute", 0): found})


def _check_columns(path: str, names: list[str], wanted: list[str]) -> None:
    for name in wanted:
        if name not in names:
            raise InvalidInput("path", f"{path!r} has no column {name!r}", ALLOWED)


def _first_line(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).partition("\n")[0]


def _listed(sizes: list[int]) -> str:
    return ", ".join(str(size) for size in sizes)
