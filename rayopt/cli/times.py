"""Times of workers as a person gives them on the command line."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, is_number
from rayopt.experiments.profiling.summary import known_times, what_times_are
from rayopt.latency import fixed
from rayopt.latency.durations_file import read_durations
from rayopt.latency.workers import Workers
from rayopt.theory.homogeneous import with_fixed_times

Array = NDArray[np.float64]

ALLOWED = "a number, a list such as 1,2.3,3.7, a formula of the worker i such as 'sqrt(i)', or @FILE or @FILE:COLUMN"


class FleetTimes(NamedTuple):
    """The times of workers as theory takes them.

    Attributes:
      known: arguments of :class:`~rayopt.theory.Setting`: the times, and what is known of them where they vary.
      of_size: the times of a fleet of any size up to theirs.
      meaning: what a time is, if they were measured.
    """

    known: dict[str, Any]
    of_size: Callable[[int], Array]
    meaning: str = ""


def times_of(text: str | None, profile: str | None, count: int | None) -> FleetTimes:
    """Returns the times that the options ``--times`` or ``--profile`` give.

    Args:
      text: as :func:`read_times` takes it, or None.
      profile: the path of a profile or of the trace of a run, or None.
      count: the number of workers, or None to take that of the file or list.

    Raises:
      InvalidInput: none of the two is given, or both; times that cannot be read, or another number of them.
    """
    if (text is None) == (profile is None):
        problem = "missing" if text is None else "cannot be combined with --profile"
        raise InvalidInput("--times", problem, f"one of --times and --profile; times are {ALLOWED}")
    if text is not None:
        workers, of_size = read_times(text, count)
        times = of_size(workers)
        return FleetTimes({"times": times, **with_fixed_times(times)}, of_size)
    assert profile is not None
    try:
        durations = read_durations(profile)
        known = known_times(durations)
    except InvalidInput as error:
        raise InvalidInput("--profile", error.problem, error.allowed) from None
    ascending = np.sort(known["times"])
    if count not in (None, len(ascending)):
        raise InvalidInput("--profile", f"{len(ascending)} workers for {count}", "no -n, or that of the file")
    return FleetTimes(known, lambda size: ascending[:size], what_times_are(durations))


def read_times(text: str, count: int | None) -> tuple[int, Callable[[int], Array]]:
    """Returns the number of workers, and the times of a fleet of any size up to it.

    A formula or a number makes a fleet of each size; of a list or of a file a smaller fleet is its fastest workers.

    Args:
      text: a number, a list, a formula of i, or ``@FILE`` for a file with a time in each line, ``@FILE:COLUMN`` for
        a column of a file with commas and a header.
      count: the number of workers, or None to take that of the list or file.

    Raises:
      InvalidInput: times that cannot be read, or another number of them.
    """
    values = _from_file(text[1:]) if text.startswith("@") else numbers_of(text)
    if values is None or (len(values) == 1 and count is not None):
        if count is None:
            raise InvalidInput("--workers", "missing", "-n N, the number of workers, with a formula or a number")
        compute = text if values is None else values[0]
        return count, lambda size: _checked(compute, size)
    if count not in (None, len(values)):
        raise InvalidInput("--times", f"{len(values)} times for {count} workers", "as many times as workers")
    ascending = np.sort(_checked(values, len(values)))
    return len(values), lambda size: ascending[:size]


def _checked(compute: str | float | list[float], count: int) -> Array:
    try:
        return Workers(count, compute=fixed(compute)).times(seed=0).least
    except InvalidInput as error:
        key = "--workers" if error.key == "count" else "--times"
        raise InvalidInput(key, error.problem, error.allowed) from None


def numbers_of(text: str) -> list[float] | None:
    """Returns the numbers of a list, or None if it is something else."""
    bare = text.strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    try:
        return [float(part) for part in bare.split(",")]
    except ValueError:
        return None


def _from_file(name: str) -> list[float]:
    path, _, column = name.partition(":")
    try:
        with Path(path).open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if row and not row[0].lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("--times", f"{path!r} cannot be read ({error})", ALLOWED) from None
    if not rows:
        raise InvalidInput("--times", f"{path!r} holds no times", "a time in each line")
    position = _position(path, rows, column)
    if column or not _is_number(rows[0][position]):
        rows = rows[1:]
    return [_time(path, line, row, position) for line, row in enumerate(rows, start=1)]


def _position(path: str, rows: list[list[str]], column: str) -> int:
    header = [cell.strip() for cell in rows[0]]
    if column:
        if column not in header:
            raise InvalidInput("--times", f"{path!r} has no column {column!r}", ", ".join(header))
        return header.index(column)
    if len(header) > 1:
        raise InvalidInput("--times", f"{path!r} has {len(header)} columns", f"one of them, as in @{path}:{header[0]}")
    return 0


def _time(path: str, line: int, row: list[str], position: int) -> float:
    if position >= len(row) or not _is_number(row[position]):
        raise InvalidInput("--times", f"{path!r} has no number in data row {line}", "a number of seconds in each row")
    return float(row[position])


def _is_number(cell: str) -> bool:
    return is_number(cell) and not math.isnan(float(cell))
