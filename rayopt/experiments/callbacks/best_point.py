"""Keeps the best point of each run on disk."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.file_names import absolute, file_name
from rayopt.runs.callbacks import Array, Callback, FollowedRun
from rayopt.runs.outcome import Outcome, Row
from rayopt.runs.until import larger_is_better
from rayopt.storage.files import write_complete
from rayopt.storage.run_folder import BEST

SECONDS_BETWEEN_FILES = 1.0


class BestPoint(Callback):
    """Writes the point with the best metric of each run, ``best/METHOD-seed-S.npz`` in the run folder.

    The file holds ``x``, shape (d,), and ``step_size``, ``time`` (fleet seconds), ``updates`` and ``value`` (of the
    metric) of its row; ``numpy.load`` reads it. It is replaced at most once a second, and is complete at any moment.

    Args:
      metric: by which a point is best: largest for accuracy, smallest for all others.
      folder: where the files go; by default ``best`` in the run folder.

    Raises:
      InvalidInput: no folder is given and the run has none, or the metric is not recorded.
    """

    name: ClassVar[str] = "best_point"
    wants_points = True

    def __init__(self, metric: str = "value", folder: str | None = None) -> None:
        self.metric = metric
        self.folder = None if folder is None else absolute(folder)
        self._names: dict[str, str] = {}

    def on_start(self, run: FollowedRun) -> None:
        """Chooses the file of the run."""
        if self.folder is None and run.folder is None:
            raise InvalidInput("folder", "missing, and the run has no folder", "a folder; or out=... for the run")
        parent = Path(self.folder) if self.folder is not None else Path(run.folder or "") / BEST
        words = f"{run.label}-seed-{run.seed}"
        name = self._names.setdefault(words, file_name(words, self._names.values()))
        self._path = parent / f"{name}.npz"
        self._best = math.inf
        self._found: dict[str, Any] = {}
        self._next = 0.0
        if run.resumed and self._path.exists():
            with np.load(self._path, allow_pickle=False) as kept:
                self._best = self._score(float(kept["value"]))

    def on_row(self, run: FollowedRun, row: Row, x: Array | None) -> None:
        """Keeps the point if it is better than all before."""
        if self.metric not in row:
            raise InvalidInput("metric", f"{self.metric!r} is not recorded", "a metric of record.metrics")
        score = self._score(row[self.metric])
        if not score < self._best or x is None:
            return
        self._best = score
        self._found = {"x": x, **{name: row[name] for name in ("step_size", "time", "updates")},
                       "value": row[self.metric]}  # fmt: skip
        if time.monotonic() >= self._next:
            self._write()

    def on_end(self, run: FollowedRun, outcome: Outcome | None) -> None:
        """Writes the best point if it is not on disk yet."""
        self._write()

    def _score(self, value: float) -> float:
        return -value if larger_is_better(self.metric) else value

    def _write(self) -> None:
        if not self._found:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)

        def write(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, **self._found)

        write_complete(self._path, write)
        self._found = {}
        self._next = time.monotonic() + SECONDS_BETWEEN_FILES
