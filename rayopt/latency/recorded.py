"""Durations that were recorded: replayed in their order, or drawn from again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import fspath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core import errors, keys
from rayopt.core.errors import InvalidInput, at_least, one_of
from rayopt.core.file_names import absolute
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency, Latency, read_only
from rayopt.latency.durations_file import KINDS, Durations, read_durations

ORDERS = ("cyclic", "resampled")
ASSIGNMENTS = ("own", "cyclic")


@dataclass(frozen=True, repr=False)
class Recorded(Latency):
    """Durations from a file: what ``rayopt profile`` measured, or the trace of a run.

    A recorded duration is one of cost 1; a task of cost c takes c times as long. As ``compute`` it replays the
    rows of that kind, as ``upload`` and ``download`` theirs. Of the trace of a run it takes the seconds from
    assignment to completion of all arrivals, in their order, as durations of ``compute``. The file is read once;
    it travels to other machines with the workers.

    Args:
      path: a CSV of ``rayopt profile``, or the ``trace.parquet`` of a run folder; kept as an absolute path.
      order: "cyclic": task k of a worker takes its recorded duration k, from the first again after the last;
        "resampled": every task draws one of them, addressed by (seed, worker, task number).
      assign: "own": worker i takes the durations of the recorded worker i; "cyclic": the recorded workers are
        given out in turn, and those who share one start at different places in it.
      bytes: which of the recorded sizes, of ``upload`` and ``download``; None if there is only one.
      label: of the trace of a run folder: which method's tasks; None for those of all.
      seed: of the trace of a run folder: which seed's tasks; None for those of all.

    Raises:
      InvalidInput: an argument that is not allowed; when it is bound: a file that cannot be read, with the line,
        or that has fewer workers.
    """

    name: ClassVar[str] = "trace"
    example: ClassVar[str] = "{name: trace, path: profile.csv, order: cyclic}"

    path: str
    order: str = "cyclic"
    assign: str = "own"
    bytes: int | None = None
    label: str | None = None
    seed: int | None = None
    _durations: list[Durations] = field(default_factory=list, init=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "path", absolute(fspath(self.path)))
        except (TypeError, ValueError, RuntimeError):
            raise InvalidInput("path", f"{self.path!r} is not a path", "the path of a file") from None
        one_of("order", self.order, ORDERS)
        one_of("assign", self.assign, ASSIGNMENTS)
        if self.bytes is not None:
            at_least("bytes", self.bytes, 0)
        if self.seed is not None:
            at_least("seed", self.seed, 0)

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        at_least("workers", workers, 1)
        kind = stream.purpose.partition("/")[0]
        found = self.durations().of(kind if kind in KINDS else "compute", self.bytes)
        if self.assign == "own":
            self._check_workers(found, workers)
        return BoundRecorded(self, workers, stream, list(found.values()), self.order == "resampled")

    def durations(self) -> Durations:
        """Returns what the file holds; it is read when it is asked for first."""
        if not self._durations:
            self._durations.append(read_durations(self.path, self.label, self.seed))
        return self._durations[0]

    def to_config(self) -> dict[str, Any]:
        """Returns the name and the arguments."""
        chosen = {"bytes": self.bytes, "label": self.label, "seed": self.seed}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        return {"name": self.name, "path": self.path, "order": self.order, "assign": self.assign, **chosen}

    def _check_workers(self, found: Mapping[int, Array], workers: int) -> None:
        for worker in range(workers):
            if worker not in found:
                raise InvalidInput(
                    "path", f"{self.path!r} has no durations of worker {worker}, but of {len(found)} others",
                    f"a file with all {workers} workers, or assign: cyclic",
                )  # fmt: skip

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_config().items() if key != "name")
        return f"{self.name}({arguments})"


class BoundRecorded(BoundLatency):
    """Durations out of a list for each worker; their law is that of the list, each entry equally likely.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: addresses what is drawn again.
      recorded: durations in seconds, an array for each recorded worker, given out to the workers in turn.
      resampled: whether to draw from the list, rather than to go through it.
    """

    __slots__ = ("_counts", "_firsts", "_resampled", "_seconds", "_shifts", "_sorted")

    def __init__(self, latency: Latency, workers: int, stream: Stream, recorded: list[Array], resampled: bool) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        everyone = np.arange(workers)
        whose, copy = everyone % len(recorded), everyone // len(recorded)
        counts = np.array([len(own) for own in recorded])
        self._seconds = np.concatenate(recorded)
        self._sorted = [np.sort(own) for own in recorded]
        self._counts = counts[whose]
        self._firsts = (np.cumsum(counts) - counts)[whose]
        # Workers with the same list would otherwise be slow at the same tasks.
        self._shifts = copy * self._counts // (workers // len(recorded) + 1)
        self._resampled = resampled
        self.expected = read_only(np.array([own.mean() for own in recorded])[whose])
        self.least = read_only(np.array([own[0] for own in self._sorted])[whose])

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        count = int(self._counts[worker])
        if self._resampled:
            position = keys.below(self._stream.key(worker, number), count)
        else:
            position = (number + int(self._shifts[worker])) % count
        return cost * float(self._seconds[self._firsts[worker] + position])

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        counts = self._counts[workers]
        if self._resampled:
            positions = keys.all_below(self._stream.keys(workers, numbers), counts)
        else:
            positions = (numbers + self._shifts[workers]) % counts
        return cost * self._seconds[self._firsts[workers] + positions]

    def probability_within(self, seconds: Array) -> Array:
        """Returns the shares of the recorded durations that end in time, shape (workers,)."""
        asked = np.broadcast_to(seconds, self._workers)
        return np.array([np.mean(self._own(worker) <= limit) for worker, limit in enumerate(asked)])

    def quantile(self, probability: float) -> Array:
        """Returns the least recorded durations that at least this share does not exceed, shape (workers,)."""
        wanted = errors.probability("probability", probability)
        ranks = [max(math.ceil(wanted * count) - 1, 0) for count in self._counts.tolist()]
        return np.array([self._own(worker)[rank] for worker, rank in enumerate(ranks)])

    def _own(self, worker: int) -> Array:
        return self._sorted[worker % len(self._sorted)]
