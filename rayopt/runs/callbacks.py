"""Callbacks: what a run tells those that follow it, on every clock, and how they end it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.runs.outcome import Outcome, Row

Array = NDArray[np.float64]


class Watched(NamedTuple):
    """What is to be reported of a run while it goes on.

    Attributes:
      rows: its history rows.
      points: the point of each row beside it.
      arrivals: its arrivals.
    """

    rows: bool = False
    points: bool = False
    arrivals: bool = False


UNWATCHED = Watched()


class NewRows(NamedTuple):
    """The history rows of one point, of each member of a step-size grid, and the point if it was asked for."""

    rows: list[Row]
    x: Array | None


class NewArrival(NamedTuple):
    """An arrival as a trace has it.

    Attributes:
      time: fleet seconds.
      worker: its number.
      number: of the worker's task.
      assigned_at: fleet seconds.
      version: number of updates of the point.
      delay: updates between the point and the arrival.
      outcome: "used", "ignored" or "failed".
      updates: after the arrival.
      bits: of the message.
    """

    time: float
    worker: int
    number: int
    assigned_at: float
    version: int
    delay: int
    outcome: str
    updates: int
    bits: int


RunEvent = NewRows | NewArrival
OnEvent = Callable[[RunEvent], None]


def disregard(event: RunEvent) -> None:
    """Does nothing."""


@dataclass
class FollowedRun:
    """One run, as a callback sees it.

    Attributes:
      label: of the method, as tables have it.
      method: its name.
      parameters: its arguments by name.
      step_sizes: of the members of its grid, one or more.
      seed: of the run.
      folder: the run folder, absolute; None if nothing stays on disk.
      resumed: whether it goes on from a checkpoint.
      stop: ends the run; the argument says why, a sentence for the summary. In virtual time the run ends at this event,
        in real time soon after.
    """

    label: str
    method: str
    parameters: Mapping[str, Any]
    step_sizes: tuple[float, ...]
    seed: int
    folder: Path | None
    resumed: bool
    stop: Callable[[str], None] = field(repr=False)

    def name_of(self, step_size: float) -> str:
        """Returns a name for a member of the grid: label and seed, and the step size where there are several."""
        name = f"{self.label}, seed {self.seed}"
        return f"{name}, step size {step_size:g}" if len(self.step_sizes) > 1 else name


class Callback:
    """Follows the runs of an experiment, one after the other; every method does nothing unless it is overridden.

    It runs in the program that started the experiment, on every clock. In virtual time it is called at the event; on
    Ray a few times a second, with all that has happened, a row when its metrics are computed. After the loss of a
    server rows come again from the last checkpoint on. Runs that had ended before ``rayopt resume`` are not reported
    again.

    An error in a callback is a warning, and the experiment goes on without it; with ``strict`` the run fails.

    Attributes:
      name: what a workload file calls it; "" if it has no name there.
      wants_points: whether ``on_row`` gets the point of the row: on Ray it travels to the driver.
      wants_arrivals: whether ``on_arrival`` is called. It costs a call per arrival.
      strict: whether an error in the callback is one of the run.

    Examples:
      >>> import rayopt as ro
      >>> class Stopwatch(ro.callbacks.Callback):
      ...     def on_row(self, run, row, x):
      ...         if row["value"] < 0.01:
      ...             run.stop("good enough")
      >>> result = ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(5), ro.Workers(2, "i"), until=ro.Until(time=1000),
      ...                 callbacks=[Stopwatch()])
      >>> result.summary["runs"][0]["ended_by"]
      'callback'
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    wants_points: bool = False
    wants_arrivals: bool = False
    strict: bool = False

    def on_start(self, run: FollowedRun) -> None:
        """A run begins, or goes on."""

    def on_row(self, run: FollowedRun, row: Row, x: Array | None) -> None:
        """A history row is complete.

        Args:
          run: whose row it is.
          row: ``step_size, time`` (fleet seconds)``, updates, arrivals, used, worker_seconds, bits_up, bits_down`` and
            the metrics, NaN where one could not be computed.
          x: the point that was measured, shape (d,), with ``wants_points``; else None. It must not be changed.
        """

    def on_arrival(self, run: FollowedRun, arrival: NewArrival) -> None:
        """A message has arrived and the method has received it; only with ``wants_arrivals``."""

    def on_end(self, run: FollowedRun, outcome: Outcome | None) -> None:
        """A run has ended; without an outcome it failed or was broken off."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that make an equal callback, each kept as an attribute of its name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal callback; empty without a name."""
        if not self.name:
            return {}
        return {"name": self.name, **self.parameters, **({"strict": True} if self.strict else {})}
