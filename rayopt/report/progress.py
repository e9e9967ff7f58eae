"""Bars that follow an experiment or a tuning while it runs."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich.progress as bars
from rich.console import Console

from rayopt.experiments.experiment import Run
from rayopt.report.faults import in_words
from rayopt.runs.outcome import Outcome, Progress
from rayopt.runs.until import Until

if TYPE_CHECKING:
    from rayopt.experiments.tuning.jobs import Found, TuningJob

SECONDS_BETWEEN_UPDATES = 0.1


class StandardError(Console):
    """A console on standard error; a pipe that is closed there is an error as any other, and not the program's end."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Raises the error that Rich would end the program for."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class ProgressBars:
    """A bar for each run that goes on and one for all runs; a line for each finished run.

    Where nobody watches (a pipe, the log of a job) only the lines are written.

    Args:
      console: by default standard error, so that standard output holds the table alone.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or StandardError()
        self._is_live = self._console.is_terminal
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=20),
            bars.TextColumn("{task.fields[state]}", markup=False),
            bars.TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=5,
            transient=True,
            disable=not self._is_live,
        )
        # By run: several may go on at once.
        self._current: dict[int, bars.TaskID] = {}
        self._next_update: dict[int, float] = {}

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Shows the number of runs to come."""
        self._until = until
        self._total = len(runs)
        self._done = 0
        self._all = self._bars.add_task(
            "all runs", total=self._total, visible=self._total > 1, state=f"0 of {self._total} runs"
        )
        self._bars.start()

    def started(self, run: Run) -> None:
        """Opens the bar of a run."""
        self._current[id(run)] = self._bars.add_task(
            _name(run), total=1.0 if _has_limit(self._until) else None, state=""
        )
        self._next_update[id(run)] = 0.0

    def progressed(self, run: Run, progress: Progress) -> None:
        """Moves the bar; called as often as the run likes."""
        if not self._is_live or time.monotonic() < self._next_update[id(run)]:
            return
        self._next_update[id(run)] = time.monotonic() + SECONDS_BETWEEN_UPDATES
        fraction, state = _fraction(self._until, progress), _state(self._until, progress)
        self._bars.update(self._current[id(run)], completed=fraction, state=state)

    def ended(self, run: Run) -> None:
        """Replaces the bar of a run, if it has one, by a line."""
        if id(run) in self._current:
            self._bars.remove_task(self._current.pop(id(run)))
        self._done += 1
        self._bars.update(self._all, completed=self._done, state=f"{self._done} of {self._total} runs")
        self._console.print(f"{_name(run)}: {_conclusion(run)}", markup=False, highlight=False, soft_wrap=True)

    def closed(self) -> None:
        """Takes the bars away."""
        self._bars.stop()


def _name(run: Run) -> str:
    return f"{run.label}, seed {run.seed}"


def _has_limit(until: Until) -> bool:
    return min(until.time, until.updates, until.arrivals) < math.inf


def _fraction(until: Until, progress: Progress) -> float:
    """Returns how far the run is towards the limit that is nearest."""
    return max(progress.time / until.time, progress.updates / until.updates, progress.arrivals / until.arrivals)


def _state(until: Until, progress: Progress) -> str:
    rate = progress.arrivals / progress.wall_seconds if progress.wall_seconds > 0 else 0.0
    return "  ".join(
        [
            f"{_of(progress.time, until.time)} s",
            f"{_of(progress.updates, until.updates)} updates",
            *([] if until.arrivals == math.inf else [f"{_of(progress.arrivals, until.arrivals)} arrivals"]),
            f"{rate:,.0f} arrivals/s",
            *([] if progress.worker_counts is None else [in_words(progress.worker_counts)]),
            # A fleet whose workers need all cores evaluates its rows after the run.
            *([] if math.isnan(progress.value) else [f"loss {progress.value:.4g}"]),
        ]
    )


def _of(value: float, limit: float) -> str:
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return shown if limit == math.inf else f"{shown} / {limit:,g}"


def _conclusion(run: Run) -> str:
    outcome = run.outcome
    if outcome is None:
        return run.problem
    loss = _best_loss(outcome, len(run.method.members()))
    parts = [
        f"{outcome.time:.4g} s",
        f"{outcome.updates:,} updates",
        f"{outcome.counts.arrivals:,} arrivals",
        *([] if loss is None else [f"loss {loss:.4g}"]),
        f"took {outcome.wall_seconds:.1f} s",
    ]
    if outcome.faults.restarts:
        parts.append(f"{outcome.faults.restarts} restarts of worker processes")
    if outcome.was_stuck:
        parts.append("stood still before the limit")
    if outcome.ended_by == "interrupted":
        parts.append("interrupted")
    return ", ".join(parts)


def _best_loss(outcome: Outcome, members: int) -> float | None:
    values = [row.get("value", math.nan) for row in outcome.rows[-members:]]
    return min((value for value in values if math.isfinite(value)), default=None)


class JobBar:
    """A bar over the jobs of a tuning; where nobody watches, a line for each job that has ended.

    Args:
      console: by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or StandardError()
        self._is_live = self._console.is_terminal
        self._bars = bars.Progress(
            bars.TextColumn("{task.completed:.0f} of {task.total:.0f} jobs"),
            bars.BarColumn(bar_width=20),
            bars.TimeElapsedColumn(),
            bars.TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            refresh_per_second=5,
            transient=True,
            disable=not self._is_live,
        )

    def opened(self, total: int, done: int) -> None:
        """Shows the number of jobs, and how many had finished before."""
        if done:
            self._print(f"{done} of {total} jobs had finished before")
        self._jobs = self._bars.add_task("jobs", total=total, completed=done, state="")
        self._bars.start()

    def ended(self, job: TuningJob, found: Found | Exception) -> None:
        """Moves the bar; a job that failed has a line of its own."""
        name = _name(job.run)
        problem = repr(found) if isinstance(found, Exception) else found["problem"]
        self._bars.update(self._jobs, advance=1, state=name)
        if problem:
            self._print(f"{name}: {problem}")
        elif not self._is_live and isinstance(found, dict):
            self._print(f"{name}: took {found['wall_seconds']:.1f} s")

    def closed(self) -> None:
        """Takes the bar away."""
        self._bars.stop()

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
