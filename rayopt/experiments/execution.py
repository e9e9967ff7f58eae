"""The runs of an experiment, one after the other, with checkpoints between and within them."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rayopt.core.errors import DataError, FleetStuck, InvalidInput, NotBegun, RayoptError, ServerLost
from rayopt.experiments.callbacks.runner import CallbackRunner
from rayopt.fleets.base import Job, Session
from rayopt.methods.base import Method
from rayopt.runs.logs import RunLogger
from rayopt.runs.outcome import INTERRUPTED, Outcome, Progress
from rayopt.runs.outcome_encoding import outcome_of, tree_of
from rayopt.runs.record import Record
from rayopt.runs.snapshot import Schedule
from rayopt.runs.until import Until
from rayopt.storage.checkpoint_files import CheckpointFiles
from rayopt.storage.encoding import Encoded
from rayopt.storage.trace.buffered_writer import BufferedTraceWriter, TraceExtent

NOT_RUN = "not run: interrupted"
BROKEN_OFF = "broken off: interrupted twice"
MOST_RESTARTS = 3
"""Times that a run restarts from the same checkpoint after losing its server."""


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
    """Whether the experiment is to end."""

    def is_set(self) -> bool: ...


class RunPosition(NamedTuple):
    """Where a run can go on from.

    Attributes:
      number: of the checkpoint, 0 for the begin of the run.
      state: of the run; None for its begin.
      trace: how far the trace was then; None if unknown.
      server_restarts: how often the run had lost its server by then.
    """

    number: int = 0
    state: Encoded | None = None
    trace: TraceExtent | None = None
    server_restarts: int = 0


class Execution:
    """The runs of one experiment on an open session.

    Args:
      runs: in order; those with a problem are not run.
      session: where they run.
      until: when a run ends.
      record: what is recorded, resolved.
      trace: where their trace goes; None for none.
      display: follows them.
      files: takes the checkpoints; None for none.
      callbacks: follow them, and may end them.
      first: position in the experiment of the first of these runs, for the trace.
      keeps_ended: whether the end of the last run is a checkpoint, too.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        session: Session,
        until: Until,
        record: Record,
        trace: BufferedTraceWriter | None,
        display: Display,
        files: CheckpointFiles | None = None,
        callbacks: CallbackRunner | None = None,
        first: int = 0,
        keeps_ended: bool = False,
    ) -> None:
        self._runs = runs
        self._session = session
        self._until = until
        self._record = record
        self._trace = trace
        self._display = display
        self._files = files
        self._callbacks = callbacks or CallbackRunner((), session.stop, None)
        self._first = first
        self._keeps_ended = keeps_ended
        self._saved_at = time.monotonic()
        self._stand = RunPosition()
        self._restarts = 0
        # The last run that began or went on, and the first checkpoint that it can go on from.
        self._last: int | None = None
        self._goes_on_from = 0
        # Runs that have not ended, by position, with the number of the checkpoint that each can go on from.
        self._left: dict[int, int] = {}

    def go_on_from(self, number: int, checkpoint: Encoded) -> None:
        """Takes what an earlier process has kept: the runs that had ended, and where those stand that had not."""
        for position, kept, problem in checkpoint.tree["ended"]:
            run = self._runs[position]
            run.outcome, run.problem = None if kept is None else outcome_of(kept), problem
        for position, earlier in checkpoint.tree["left"]:
            self._leave(position, earlier)
        if checkpoint.tree["run"] is not None:
            self._leave(checkpoint.tree["run"]["position"], number)

    @property
    def is_over(self) -> bool:
        """Whether no run has anything left to do."""
        return all(self._is_over(position) for position in range(len(self._runs)))

    def run_all(self, interruption: Interruption) -> Exception | None:
        """Runs what can be run; returns the first error. A run that fails does not take the others with it."""
        failure: Exception | None = None
        try:
            for position, run in enumerate(self._runs):
                if not self._is_over(position):
                    if interruption.is_set():
                        run.problem = NOT_RUN
                    else:
                        error = self._run(position, run)
                        failure = failure or error
                self._display.ended(run)
            # Who insists on an end does without.
            with contextlib.suppress(KeyboardInterrupt):
                self._save_what_ended()
        finally:
            self._close()
        return failure

    def _is_over(self, position: int) -> bool:
        """Whether a run came to its end, or needs no other chance: it was skipped, or failed before any checkpoint."""
        run = self._runs[position]
        if run.outcome is not None:
            return run.outcome.ended_by != INTERRUPTED
        return position not in self._left and run.problem not in ("", NOT_RUN, BROKEN_OFF)

    def _run(self, position: int, run: Run) -> Exception | None:
        """Runs one run and keeps what came of it; returns its error."""
        self._display.started(run)
        log = RunLogger(f"{run.label}, seed {run.seed}")
        log.info("starts: %r until %s", run.method, self._until)
        failure: Exception | None = None
        try:
            self._callbacks.start(run.method, run.label, run.seed, resumed=position in self._left)
            run.outcome = self._run_to_the_end(position, run)
            log.info(
                "ended by %s at fleet time %g after %d updates, %d arrivals and %.1f s",
                run.outcome.ended_by,
                run.outcome.time,
                run.outcome.updates,
                run.outcome.counts.arrivals,
                run.outcome.wall_seconds,
            )
        except NotBegun:
            run.problem = NOT_RUN
        except KeyboardInterrupt:
            # The second one: this run leaves no record, but those before it do.
            run.problem = BROKEN_OFF
        except Exception as error:
            run.problem = str(error) if isinstance(error, RayoptError) else repr(error)
            failure = error
            log.error("failed: %s", run.problem)
            # A fleet that is stuck would be stuck again.
            if not isinstance(error, FleetStuck) and self._find_position(position).number:
                self._leave(position, self._stand.number)
                self._rewind()
        self._callbacks.end(run.outcome)
        try:
            self._callbacks.check()
        except Exception as error:
            run.warning, failure = f"after its end a callback failed: {error!r}", error
        # After an interruption the state of the run that was interrupted stays the last.
        if (self._is_over(position) or position in self._left) and self._is_due:
            self._save()
        return failure

    def _leave(self, position: int, number: int) -> None:
        """Notes that a run can go on from a checkpoint, which is kept."""
        self._left[position] = number
        if self._files is not None:
            self._files.hold(number)

    def _run_to_the_end(self, position: int, run: Run) -> Outcome:
        """Runs one run; after the loss of the server, again from its last checkpoint."""
        self._stand = self._position_at_start(position)
        self._restarts = self._stand.server_restarts
        in_vain = 0
        while True:
            try:
                outcome = self._run_once(position, run, self._stand.state)
            except ServerLost as error:
                self._restarts += 1
                RunLogger(f"{run.label}, seed {run.seed}").warning("the server was lost: %s", error)
                before = self._stand.number
                in_vain = 1 if self._find_position(position).number > before else in_vain + 1
                if in_vain > MOST_RESTARTS:
                    raise
                self._rewind()
                run.method = run.method.fresh()
                continue
            outcome.faults.server_restarts = self._restarts
            return outcome

    def _position_at_start(self, position: int) -> RunPosition:
        """Returns the position from which a run starts or continues in this process."""
        self._stand = stand = RunPosition()
        self._last = position
        number = self._goes_on_from = self._left.pop(position, 0)
        if number and self._files is not None:
            stand = position_of(number, self._files.read(number))
        # In virtual time no server is lost, and many short runs need no part each.
        if self._trace is None or not (number or self._trace.real_time):
            return stand._replace(trace=None)
        return stand._replace(trace=self._trace.cut() or self._trace.extent)

    def _find_position(self, position: int) -> RunPosition:
        """Looks for a checkpoint of a run that is newer than where it began; returns where it can go on."""
        try:
            found = None if self._files is None else self._files.latest()
        except DataError as error:
            warnings.warn(str(error), UserWarning, stacklevel=2)
            found = None
        if found is not None and found[0] > self._stand.number:
            number, checkpoint = found
            if checkpoint.tree["run"] is not None and checkpoint.tree["run"]["position"] == position:
                self._stand = position_of(number, checkpoint)
        return self._stand

    def _rewind(self) -> None:
        """Forgets the rows of the trace that are to come again."""
        if self._trace is not None and self._stand.trace is not None:
            self._trace.rewind(self._stand.trace)

    def _run_once(self, position: int, run: Run, start: Encoded | None) -> Outcome:
        def on_trace(rows: Any) -> None:
            if self._trace is not None:
                self._trace.write(rows, run.method.name, run.label, run.seed, self._first + position)

        def on_checkpoint(snapshot: Encoded | InvalidInput) -> None:
            if isinstance(snapshot, InvalidInput):
                warnings.warn(f"{run.label} runs without checkpoints: {snapshot}", UserWarning, stacklevel=2)
            else:
                self._save(position, snapshot)

        job = Job(run.method, run.seed, self._until, self._record, self._schedule(), start, run.label,
                  watched=self._callbacks.watched)  # fmt: skip
        outcome = self._session.run(
            job,
            on_trace,
            lambda progress: self._display.progressed(run, progress),
            on_checkpoint,
            self._callbacks.event,
        )
        self._callbacks.check()
        return outcome

    def _schedule(self) -> Schedule | None:
        every = self._record.checkpoint
        return None if self._files is None else Schedule(self._seconds_left(), float(every))

    def _seconds_left(self) -> float:
        return max(self._saved_at + float(self._record.checkpoint) - time.monotonic(), 0.0)

    @property
    def _is_due(self) -> bool:
        return self._files is not None and self._seconds_left() == 0

    def _save(self, position: int = 0, snapshot: Encoded | None = None) -> None:
        """Saves the finished runs and the state of the current one, once its trace is written."""
        if self._files is None:
            return
        extent = None if self._trace is None else self._trace.cut()
        if self._trace is not None and extent is None:
            return
        tree = {
            "ended": [
                (number, None if run.outcome is None else tree_of(run.outcome), run.problem)
                for number, run in enumerate(self._runs)
                if self._is_over(number)
            ],
            "left": list(self._left.items()),
            "trace": extent or TraceExtent([]),
            "run": None if snapshot is None else {
                "position": position, "state": snapshot.tree, "server_restarts": self._restarts,
            },
        }  # fmt: skip
        arrays = [] if snapshot is None else snapshot.arrays
        number = self._files.save(Encoded(tree, arrays), [] if self._trace is None else self._trace.paths)
        if number:
            self._saved_at = time.monotonic()
            if snapshot is not None:
                self._goes_on_from = self._goes_on_from or number

    def _save_what_ended(self) -> None:
        """Where runs are left, keeps those that have ended; the state of one that was interrupted stays the last.

        One that was interrupted before it had a checkpoint begins anew, and its rows of the trace come again.
        """
        if self._files is None or (self.is_over and not self._keeps_ended):
            return
        self._files.wait()
        was_interrupted = self._last is not None and not self._is_over(self._last) and self._last not in self._left
        if was_interrupted and 0 < self._goes_on_from <= self._files.newest:
            return
        if self._left or any(run.outcome and self._is_over(position) for position, run in enumerate(self._runs)):
            self._save()

    def _close(self) -> None:
        """Waits for the last checkpoint."""
        if self._files is not None:
            self._files.close()


def position_of(number: int, checkpoint: Encoded) -> RunPosition:
    """Returns where a run stood whose state is in a checkpoint."""
    run = checkpoint.tree["run"]
    return RunPosition(number, Encoded(run["state"], checkpoint.arrays), TraceExtent(*checkpoint.tree["trace"]),
                 run["server_restarts"])  # fmt: skip
