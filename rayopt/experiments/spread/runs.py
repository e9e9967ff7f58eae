"""The runs of one experiment, many at once: each keeps what it can go on from in a folder of its own."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from rayopt.core.errors import RayoptError
from rayopt.experiments.execution import BROKEN_OFF, NOT_RUN, Display, Execution, Interruption, Run
from rayopt.experiments.last_checkpoint import last_checkpoint
from rayopt.experiments.spread.pool import Found, Item, Pool, Setting
from rayopt.fleets.base import Session
from rayopt.runs.outcome import Progress
from rayopt.runs.outcome_encoding import outcome_of, tree_of
from rayopt.runs.record import Record
from rayopt.runs.until import Until
from rayopt.storage.checkpoint_files import CheckpointFiles
from rayopt.storage.trace.buffered_writer import BufferedTraceWriter
from rayopt.storage.trace.parts import parts_in
from rayopt.storage.trace.writer import TraceWriter

RUNS = "runs"
"""In the folder of an unfinished experiment, the folder of the folders of its runs."""


class RunSetting(Setting, Protocol):
    """What all runs of an experiment share."""

    until: Until
    record: Record


class SpreadExecution:
    """The runs of one experiment on a pool; see :class:`rayopt.experiments.execution.Execution`.

    Args:
      runs: in order; those with a problem are not run.
      folder: of the unfinished experiment.
      until: when a run ends.
      display: follows them.
    """

    def __init__(self, runs: Sequence[Run], folder: Path, until: Until, display: Display) -> None:
        self._runs = runs
        self._folder = folder / RUNS
        self._until = until
        self._display = display
        self._is_over = [bool(run.problem) for run in runs]
        self._dropped = 0

    @property
    def is_over(self) -> bool:
        """Whether no run has anything left to do."""
        return all(self._is_over)

    def progressed(self, item: int, progress: Progress) -> None:
        """Reports where the run of an item stands."""
        run = self._runs[self._positions[item]]
        if item not in self._begun:
            self._begun.add(item)
            self._display.started(run)
        self._display.progressed(run, progress)

    def run_all(self, pool: Pool, interruption: Interruption) -> Exception | None:
        """Runs what can be run; returns the first error. A run that fails does not take the others with it."""
        failure: Exception | None = None
        self._positions = [position for position, over in enumerate(self._is_over) if not over]
        self._begun: set[int] = set()
        for run in (run for run, over in zip(self._runs, self._is_over, strict=True) if over):
            self._display.ended(run)
        items = [
            Item((position, self._runs[position]), self._folder / f"{position:06d}", self._runs[position].label)
            for position in self._positions
        ]
        ended = set()
        try:
            for item, found in pool.run(run_in_folder, items):
                ended.add(item)
                error = self._take(self._positions[item], found)
                failure = failure or error
                self._display.ended(self._runs[self._positions[item]])
        except KeyboardInterrupt:
            # The second one: what had ended stays.
            pass
        for item, position in enumerate(self._positions):
            if item not in ended:
                self._runs[position].problem = BROKEN_OFF if item in self._begun else NOT_RUN
                self._display.ended(self._runs[position])
        return failure

    def _take(self, position: int, found: Found | Exception) -> Exception | None:
        """Keeps what came of a run; returns its error."""
        run = self._runs[position]
        if isinstance(found, Exception):
            run.problem = str(found) if isinstance(found, RayoptError) else repr(found)
            self._is_over[position] = True
            return found
        run.outcome = None if found["outcome"] is None else outcome_of(found["outcome"])
        run.problem, run.warning = found["problem"], found["warning"] or run.warning
        self._dropped += found["dropped"]
        for text in found["warned"]:
            warnings.warn(text, UserWarning, stacklevel=2)
        self._is_over[position] = found["is_over"]
        error: Exception | None = found["error"]
        return error

    def trace(self, folder: Path, prepare: Callable[[], None]) -> BufferedTraceWriter:
        """Returns the trace of all runs in their order, for one file in the end.

        Args:
          folder: of the unfinished experiment.
          prepare: makes it if it is not there.
        """
        has_messages = any(run.method.decentralized for run in self._runs)
        # Parts of an earlier attempt go.
        TraceWriter(folder, prepare=prepare)
        names: list[str] = []
        for position in range(len(self._runs)):
            for part in parts_in(self._folder / f"{position:06d}"):
                name = f"trace-{len(names):06d}.parquet"
                _link(part, folder / name)
                names.append(name)
        return BufferedTraceWriter(TraceWriter(folder, kept=names, prepare=prepare, messages=has_messages),
                                   dropped=self._dropped)  # fmt: skip


def _link(part: Path, name: Path) -> None:
    """Gives a file another name; where it cannot have two, copies it."""
    try:
        os.link(part, name)
    except OSError:
        shutil.copyfile(part, name)


def run_in_folder(experiment: RunSetting, session: Session, item: Item, on_progress: Any) -> Found:
    """Executes one run with its checkpoints and its trace in a folder of its own, from where it was left there.

    Returns:
      ``outcome`` (its tree, or None), ``problem``, ``warning``, ``is_over``, the ``error`` that ended it, ``dropped``,
      rows of the trace that could not be written, and what was ``warned``.
    """
    position, run = item.content
    folder = item.folder
    assert folder is not None
    record = experiment.record

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)

    prepare()
    number, checkpoint = last_checkpoint(folder, first=position)
    files = None if record.checkpoint is False else CheckpointFiles(folder, prepare)
    trace = None
    if record.trace:
        parts, dropped = checkpoint.tree["trace"]
        file = TraceWriter(folder, kept=parts, prepare=prepare, messages=run.method.decentralized)
        trace = BufferedTraceWriter(file, dropped=dropped)
    execution = Execution(
        [run], session, experiment.until, record, trace, Followed(on_progress), files, first=position, keeps_ended=True
    )
    if number:
        execution.go_on_from(number, checkpoint)
    error = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        if not execution.is_over:
            error = execution.run_all(Nobody())
        extent = None if trace is None else trace.cut() or trace.extent
    return {
        "outcome": None if run.outcome is None else tree_of(run.outcome),
        "problem": run.problem, "warning": run.warning, "is_over": execution.is_over, "error": error,
        "dropped": 0 if extent is None else extent.dropped,
        "warned": [str(warning.message) for warning in warned if warning.category is UserWarning],
    }  # fmt: skip


class Followed:
    """A display of one run that hands on its progress alone."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Says nothing."""

    def started(self, run: Run) -> None:
        """Says that it has begun."""
        self._on_progress(Progress(0.0, 0, 0, float("nan")))

    def progressed(self, run: Run, progress: Progress) -> None:
        """Hands on where it stands."""
        self._on_progress(progress)

    def ended(self, run: Run) -> None:
        """Says nothing."""

    def closed(self) -> None:
        """Says nothing."""


class Nobody:
    """Who never interrupts: a run that is stopped says so itself."""

    def is_set(self) -> bool:
        """Whether the experiment is to end."""
        return False
