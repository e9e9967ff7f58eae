"""Metrics of history rows, on an actor of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from rayopt.fleets.ray.messages import Load
from rayopt.fleets.ray.supervision import DEATHS, Supervision
from rayopt.fleets.ray.transport import LOOK_UP
from rayopt.runs.recorder import Recorder

Array = NDArray[np.float64]

IN_FLIGHT = 16
"""The most points in flight to the evaluator or queued there; each holds its memory."""
RETRIES = DEATHS - 1
"""So often metrics are computed anew when their process died."""
STOP_SECONDS = 2.0
"""Real seconds that a run which is to stop waits for the metrics of its last rows."""


class Evaluations:
    """Metrics of history rows, computed elsewhere so that recording never delays an arrival.

    Where metrics take longer than the time between two rows, the newest row waits for a place and the others go
    without: else a long run would hold ever more points, and wait for all of them at its end.

    Args:
      evaluator: an :class:`Evaluator` actor.
      load: the problem with all its data.
      metrics: the names.
      supervision: counts the rows that go without.
    """

    def __init__(self, evaluator: Any, load: Load, metrics: Sequence[str], supervision: Supervision) -> None:
        self._evaluator = evaluator
        self._load = load
        self._metrics = tuple(metrics)
        self._supervision = supervision
        self._pending: dict[Any, list[int]] = {}
        self._last: tuple[Array | None, Any] = (None, None)
        self._waiting: tuple[Array, list[int]] | None = None
        self._looked_at = 0.0

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        if x is self._last[0]:
            self._pending.setdefault(self._last[1], []).append(point)
        elif self._waiting is not None and x is self._waiting[0]:
            self._waiting[1].append(point)
        elif len(self._pending) < IN_FLIGHT:
            self._ask(x, [point])
        else:
            if self._waiting is not None:
                self._leave_out(recorder, self._waiting[1])
            self._waiting = (x, [point])

    def collect(self, recorder: Recorder) -> None:
        """Hands finished metrics to the recorder; looks at most every tenth of a second."""
        if self._pending and time.monotonic() >= self._looked_at + LOOK_UP:
            self._collect(recorder, timeout=0)

    def finish(self, recorder: Recorder, is_stopping: Callable[[], bool]) -> None:
        """Waits for all metrics; not for long once the run is to stop: its last rows then have none."""
        stopping_since = math.inf
        while (self._pending or self._waiting) and time.monotonic() < stopping_since + STOP_SECONDS:
            if is_stopping():
                stopping_since = min(stopping_since, time.monotonic())
            self._collect(recorder, timeout=LOOK_UP)

    def _collect(self, recorder: Recorder, timeout: float) -> None:
        ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=timeout)
        for reference in ready:
            points = self._pending.pop(reference)
            try:
                metrics = ray.get(reference)
            except ray.exceptions.RayActorError as error:
                self._supervision.unmeasurable(len(points), str(error))
                metrics = self._unknown()
            for point in points:
                recorder.evaluated(point, metrics)
        if self._waiting is not None and len(self._pending) < IN_FLIGHT:
            self._ask(*self._waiting)
            self._waiting = None
        self._looked_at = time.monotonic()

    def _ask(self, x: Array, points: list[int]) -> None:
        self._last = (x, self._evaluator.metrics.remote(self._load, x, self._metrics))
        self._pending.setdefault(self._last[1], []).extend(points)

    def _leave_out(self, recorder: Recorder, points: Sequence[int]) -> None:
        """Completes rows that nobody had time for."""
        self._supervision.faults.unmeasured += len(points)
        for point in points:
            recorder.evaluated(point, self._unknown())

    def _unknown(self) -> dict[str, Any]:
        """Returns metrics of a point that has none, one for each member of a grid."""
        x, _ = self._last
        assert x is not None
        return dict.fromkeys(self._metrics, np.full(x.shape[:-1], math.nan))


class Evaluator:
    """The actor that computes metrics on snapshots of x; a process that is new fetches the problem again."""

    def __init__(self) -> None:
        self._loaded: Any = None

    def load(self, load: Load) -> None:
        """Fetches the problem with all its data."""
        if self._loaded != load.profiles:
            self._problem = load.fetch()[0].shard
            self._loaded = load.profiles

    def metrics(self, load: Load, x: Array, names: Sequence[str]) -> dict[str, Any]:
        """Returns {name: float or shape (G,)}."""
        self.load(load)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._problem.metrics(x, names)
