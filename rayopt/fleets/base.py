"""The contract of a fleet: it opens a session, and a session runs methods one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.html import object_html
from rayopt.latency.measured import HOW_TO_MEASURE
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import UNWATCHED, OnEvent, Watched, disregard
from rayopt.runs.outcome import INTERRUPTED, Outcome, Progress
from rayopt.runs.record import Record
from rayopt.runs.snapshot import Schedule
from rayopt.runs.until import Until
from rayopt.storage.encoding import Encoded

OnTrace = Callable[[NDArray[np.void]], None]
OnProgress = Callable[[Progress], None]
OnCheckpoint = Callable[[Encoded | InvalidInput], None]


def forget(snapshot: Encoded | InvalidInput) -> None:
    """Keeps no checkpoint."""


@dataclass(frozen=True)
class Job:
    """One run: a method (with its step-size grid), a seed, and when to stop.

    Attributes:
      method: a fresh one.
      seed: addresses samples, times and shards.
      until: the limits.
      record: what to record, resolved.
      checkpoints: when its state is to be kept; None for never.
      start: the state to go on from; None to begin.
      label: its name in logs and metrics.
      keep_estimate: whether the outcome is to hold the method's estimate at the end.
      watched: what of the run ``on_event`` of the session receives.
    """

    method: Method
    seed: int
    until: Until
    record: Record
    checkpoints: Schedule | None = None
    start: Encoded | None = None
    label: str = ""
    keep_estimate: bool = False
    watched: Watched = UNWATCHED


class Session(Protocol):
    """Workers that are ready to run one job after the other."""

    def run(
        self,
        job: Job,
        on_trace: OnTrace,
        on_progress: OnProgress,
        on_checkpoint: OnCheckpoint = forget,
        on_event: OnEvent = disregard,
    ) -> Outcome:
        """Runs one job to its end.

        Args:
          job: what to run.
          on_trace: receives chunks of the trace, dtype ``rayopt.storage.trace.rows.TRACE``; must not keep them.
          on_progress: receives where the run stands, a few times a second.
          on_checkpoint: receives the state of the run, as scheduled, after all rows of the trace that are not part
            of that state; or once why the method's state cannot be kept.
          on_event: receives what of the run is watched, in order; never called from another thread.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
        """

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job at its next arrival, for a reason; may be called from a signal handler."""

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Finished(Protocol):
    """One run of an experiment, as a fleet may comment on it; its outcome is None if it did not run."""

    label: str
    method: Method
    outcome: Outcome | None


class FleetKind:
    """What a user chooses: a clock, and where the workers live.

    Attributes:
      has_arrivals: whether methods receive arrivals one by one: only then is there a trace of them, and can the
        members of a step-size grid share one run.
      is_real_time: whether workers take the time that they need, so that it can be measured.
    """

    name: ClassVar[str]
    has_arrivals: ClassVar[bool] = True
    is_real_time: ClassVar[bool] = False

    def open(self, problem: Problem, workers: Workers) -> Session:
        """Returns a session, to be used in a ``with`` statement."""
        raise NotImplementedError

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of a fleet: its arguments."""
        return object_html(self, {name: value for name, value in self.to_config().items() if name != "name"})

    def emulated(self, workers: Workers) -> Workers:
        """Returns the workers with the latencies that they have here; those that the fleet does not set stay."""
        return workers

    def check_workers(self, workers: Workers) -> None:
        """Raises InvalidInput if the workers are to be measured and this fleet has nothing to measure."""
        if workers.are_measured and not self.is_real_time:
            raise InvalidInput(
                "workers.compute", f"measured, and the fleet {self.name} has no times to measure",
                f"the fleet ray; or {HOW_TO_MEASURE}",
            )  # fmt: skip

    def incompatibility(self, method: Method, problem: Problem) -> str:
        """Returns why a method cannot run here on a problem, by force or not, or ""."""
        if method.needs_components and problem.components is None:
            what = "is split over the workers" if not problem.homogeneous else "is not a finite sum"
            return (f"{type(method).__name__} is made for finite sums of which every worker can evaluate every "
                    f"component, and {problem.name} {what}")  # fmt: skip
        if method.needs_virtual_time and self.is_real_time:
            return f"{type(method).__name__} runs in virtual time only so far: the fleet 'simulated'"
        if method.decentralized and self.name not in ("simulated", "ray"):
            return f"{type(method).__name__} runs on the fleets simulated and ray alone"
        if method.needs_shared_memory:
            return f"{method!r} runs on the fleet shared_memory alone; {self.name} has a server that updates x"
        return ""

    def notes(self, runs: Sequence[Finished]) -> list[str]:
        """Returns remarks on these runs that belong under the table, a sentence each."""
        return []
