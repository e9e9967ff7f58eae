"""The runs of an experiment, one after the other, with checkpoints between and within them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from rayopt.checkpoint.encoding import Encoded
from rayopt.checkpoint.files import CheckpointFiles
from rayopt.checkpoint.snapshot import Schedule
from rayopt.errors import InvalidInput, RayoptError, ServerLost
from rayopt.faults import Faults
from rayopt.fingerprints import Fingerprint
from rayopt.fleets.base import Job, Session
from rayopt.logs import RunLogger
from rayopt.methods.base import Method
from rayopt.patient_trace import PatientTrace
from rayopt.recording import Counts, Outcome, Progress, Record
from rayopt.until import Until

NOT_RUN = "not run: interrupted"
BROKEN_OFF = "broken off: interrupted twice"
MOST_RESTARTS = 3


@dataclass
class Run:
    """One method with its grid on one seed, and what came of it.

    Attributes:
      method: the method, its grid on the leading axis of x.
      label: what tables and figures call it.
      seed: addresses samples, times and shards.
      outcome: None until it has run.
      problem: why there is no outcome (skipped, stuck, interrupted), or "".
      warning: why the outcome is to be read with care, or "".
    """

    method: Method
    label: str
    seed: int
    outcome: Outcome | None = None
    problem: str = ""
    warning: str = ""


class Display(Protocol):
    """Follows an experiment while it runs."""

    def opened(self, runs: Sequence[Run], until: Until) -> None: ...
    def started(self, run: Run) -> None: ...
    def progressed(self, run: Run, progress: Progress) -> None: ...
    def ended(self, run: Run) -> None: ...
    def closed(self) -> None: ...


class Interruption(Protocol):
    """Whether somebody wants the experiment to end."""

    def is_set(self) -> bool: ...


class Execution:
    """The runs of one experiment on an open session.

    Args:
      runs: in order; those with a problem are not run.
      session: where they run.
      until: when a run ends.
      record: what is recorded, resolved.
      trace: where their trace goes; None for none.
      display: follows them.
      folder: of the checkpoints; None for none.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        session: Session,
        until: Until,
        record: Record,
        trace: PatientTrace | None,
        display: Display,
        folder: Path | None = None,
    ) -> None:
        self._runs = runs
        self._session = session
        self._until = until
        self._record = record
        self._trace = trace
        self._display = display
        is_kept = folder is not None and record.checkpoint is not False
        self._files = CheckpointFiles(folder) if folder is not None and is_kept else None
        self._saved_at = time.monotonic()
        self._started: dict[int, Encoded] = {}
        self._first = 0

    def go_on_from(self, checkpoint: Encoded) -> None:
        """Takes what an earlier process has kept: the runs that had ended, and the state of the one that had not."""
        for position, kept, problem in checkpoint.tree["ended"]:
            run = self._runs[position]
            run.outcome, run.problem = None if kept is None else outcome_of(kept), problem
            self._first = position + 1
        if checkpoint.tree["run"] is not None:
            self._started[self._first] = Encoded(checkpoint.tree["run"], checkpoint.arrays)

    def run_all(self, interruption: Interruption) -> Exception | None:
        """Runs what can be run; returns the first error. A run that fails does not take the others with it."""
        failure: Exception | None = None
        try:
            for position, run in enumerate(self._runs):
                if position >= self._first:
                    if interruption.is_set() and not run.problem:
                        run.problem = NOT_RUN
                    error = None if run.problem else self._run(position, run)
                    failure = failure or error
                self._display.ended(run)
        finally:
            if self._files is not None:
                self._files.close()
        return failure

    def _run(self, position: int, run: Run) -> Exception | None:
        """Runs one run and keeps what came of it; returns its error."""
        self._display.started(run)
        log = RunLogger(f"{run.label}, seed {run.seed}")
        log.info("starts: %r until %s", run.method, self._until)
        failure: Exception | None = None
        try:
            run.outcome = self._run_to_the_end(position, run)
            log.info(
                "ended by %s at fleet time %g after %d updates, %d arrivals and %.1f s",
                run.outcome.ended_by,
                run.outcome.time,
                run.outcome.updates,
                run.outcome.counts.arrivals,
                run.outcome.wall_seconds,
            )
        except KeyboardInterrupt:
            # The second one: this run leaves no record, but those before it do.
            run.problem = BROKEN_OFF
        except Exception as error:
            run.problem = str(error) if isinstance(error, RayoptError) else repr(error)
            failure = error
            log.error("failed: %s", run.problem)
        if self._files is not None and self._seconds_left() == 0:
            self._save(position + 1, None)
        return failure

    def _run_to_the_end(self, position: int, run: Run) -> Outcome:
        """Runs one run; after the loss of the server, again from its last checkpoint."""
        start = self._started.pop(position, None)
        # In virtual time nothing is lost, and many short runs need no part each.
        parts = self._trace.cut() if self._trace is not None and self._trace.real_time else []
        restarts = 0
        while True:
            try:
                outcome = self._run_once(position, run, start)
            except ServerLost as error:
                restarts += 1
                RunLogger(f"{run.label}, seed {run.seed}").warning("the server was lost: %s", error)
                if restarts > MOST_RESTARTS:
                    raise
                start, parts = self._last_state(position, parts)
                if self._trace is not None:
                    self._trace.rewind(parts)
                run.method = run.method.fresh()
                continue
            outcome.faults.server_restarts += restarts
            return outcome

    def _run_once(self, position: int, run: Run, start: Encoded | None) -> Outcome:
        def on_trace(rows: Any) -> None:
            if self._trace is not None:
                self._trace.write(rows, run.method.name, run.label, run.seed, position)

        def on_checkpoint(snapshot: Encoded | InvalidInput) -> None:
            if isinstance(snapshot, InvalidInput):
                warnings.warn(f"{run.label} runs without checkpoints: {snapshot}", UserWarning, stacklevel=2)
            else:
                self._save(position, snapshot)

        job = Job(run.method, run.seed, self._until, self._record, self._schedule(), start, run.label)
        return self._session.run(job, on_trace, lambda progress: self._display.progressed(run, progress), on_checkpoint)

    def _last_state(self, position: int, parts: list[str]) -> tuple[Encoded | None, list[str]]:
        """Returns the state of a run in the last checkpoint and its parts of the trace, or those of its begin."""
        found = None if self._files is None else self._files.latest()
        if found is None or found.tree["run"] is None or len(found.tree["ended"]) != position:
            return None, parts
        return Encoded(found.tree["run"], found.arrays), found.tree["trace"]

    def _schedule(self) -> Schedule | None:
        every = self._record.checkpoint
        return None if self._files is None else Schedule(self._seconds_left(), float(every))

    def _seconds_left(self) -> float:
        return max(self._saved_at + float(self._record.checkpoint) - time.monotonic(), 0.0)

    def _save(self, ended: int, snapshot: Encoded | None) -> None:
        """Keeps the first ``ended`` runs, and the state of the next."""
        if self._files is None:
            return
        tree = {
            "ended": [
                (position, None if run.outcome is None else tree_of(run.outcome), run.problem)
                for position, run in enumerate(self._runs[:ended])
            ],
            "trace": [] if self._trace is None else self._trace.cut(),
            "run": None if snapshot is None else snapshot.tree,
        }
        if self._files.save(Encoded(tree, [] if snapshot is None else snapshot.arrays)):
            self._saved_at = time.monotonic()


def tree_of(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome as JSON can hold it."""
    held = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    faults = asdict(outcome.faults) | {"rejected": list(outcome.faults.rejected.items())}
    return held | {
        "counts": asdict(outcome.counts),
        "diverged_at": list(outcome.diverged_at.items()),
        "faults": faults,
    }


def outcome_of(tree: dict[str, Any]) -> Outcome:
    """Returns the outcome that :func:`tree_of` described."""
    faults = Faults(**tree["faults"] | {"rejected": dict(tree["faults"]["rejected"])})
    return Outcome(
        **tree | {"counts": Counts(**tree["counts"]), "diverged_at": dict(tree["diverged_at"]), "faults": faults,
                "fingerprints": [Fingerprint(*found) for found in tree["fingerprints"]]}
    )  # fmt: skip
