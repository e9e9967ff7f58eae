"""``rayopt.run`` and ``rayopt.tune``: an experiment and a tuning as one call, with progress bars if asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rayopt.experiments.execution import Display
from rayopt.experiments.experiment import Experiment
from rayopt.experiments.result import Result
from rayopt.experiments.spread.places import Place
from rayopt.experiments.tuning.grid import Grid
from rayopt.fleets.base import FleetKind
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import Callback
from rayopt.runs.record import Record
from rayopt.runs.until import Until

if TYPE_CHECKING:
    from rayopt.experiments.tuning.result import TuningResult


def run(
    method: Method | Sequence[Method],
    problem: Problem,
    workers: Workers,
    *,
    until: Until,
    fleet: FleetKind | None = None,
    seed: int | Sequence[int] = 0,
    record: Record | None = None,
    labels: Sequence[str] | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    force: bool = False,
    callbacks: Sequence[Callback] = (),
    processes: int | None = 1,
) -> Result:
    """Runs one method or several and returns history, trace and summary.

    Args:
      method: one method or a list; ``step_size`` may be a list, the grid is one run.
      problem: the oracle.
      workers: how many, and how fast.
      until: when a run ends, in fleet seconds, updates, arrivals or at a target.
      fleet: :class:`SimulatedFleet` (default), :class:`RayFleet` or :class:`SharedMemoryFleet`.
      seed: one seed or a list; equal seeds give equal workers and samples to every method.
      record: how often and what to record.
      labels: names for tables and figures.
      out: a run folder to write; by default nothing stays on disk.
      progress: show bars while it runs.
      force: run a method also on a problem that it is not made for.
      callbacks: follow the runs and may end them: :class:`rayopt.callbacks.EarlyStopping`, or your own.
      processes: how many runs in virtual time execute at the same time; None: one on each core. With more than one the
        program needs the usual guard ``if __name__ == "__main__":``. The results are the same to the bit. Runs that
        callbacks follow execute one after the other.

    Returns:
      The result; ``result.history`` and ``result.trace`` are DataFrames.

    Raises:
      InvalidInput: an argument that does not fit.
      FleetStuck: no run could go to its end.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.Rennala(step_size=0.5, batch_size=4), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(10, compute="sqrt(i)"), until=ro.Until(time=20), seed=[0, 1])
      >>> sorted(result.history.seed.unique().tolist())
      [0, 1]
    """
    experiment = Experiment(
        methods=[method] if isinstance(method, Method) else list(method),
        problem=problem,
        workers=workers,
        until=until,
        fleet=fleet or SimulatedFleet(),
        record=record or Record(),
        seeds=list(seed) if isinstance(seed, Iterable) else [seed],
        labels=labels,
        force=force,
        callbacks=callbacks,
    )
    display: Display | None = None
    if progress:
        # pandas, Rich and what tuning needs take long to import, and a program may never ask for them.
        from rayopt.report.progress import ProgressBars

        display = ProgressBars()
    return experiment.run(out=out, display=display, on=Place.for_processes(processes))


def tune(
    methods: Method | Grid | Iterable[Method | Grid],
    problem: Problem,
    workers: Workers,
    *,
    until: Until,
    seeds: Sequence[int],
    confirm: Sequence[int],
    metric: str | None = None,
    record: Record | None = None,
    out: str | Path | None = None,
    processes: int | None = 1,
    progress: bool = False,
    force: bool = False,
) -> TuningResult:
    """Tries all step sizes and parameters of each method and returns the best of each.

    All step sizes of one combination of the other parameters run as one run on one event schedule.

    Args:
      methods: methods with a list of step sizes, or grids over other parameters too.
      problem: the oracle.
      workers: how many, and how fast.
      until: when a run ends; with a target the soonest is the best, else the best metric at the end.
      seeds: on which the best is chosen, by the median.
      confirm: other seeds, on which the best runs again.
      metric: by which to choose: by default the first of gap, value, grad_norm_sq and accuracy that there is.
      record: of the runs that confirm; ``every`` is also how often a target is looked at.
      out: a tuning folder to write; the same call continues where it stopped. By default nothing stays on disk.
      processes: how many jobs run at the same time; None: one for each processor. With more than one the program
        needs the usual guard ``if __name__ == "__main__":``.
      progress: show bars while it runs.
      force: tune a method also on a problem that it is not made for.

    Returns:
      The result: ``result.best`` by label, ``result.table`` with the whole grid, ``result.plot()``.

    Raises:
      InvalidInput: an argument that does not fit.
      TuningInterrupted: Ctrl-C; what had finished is kept in ``out``.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.tune(
      ...     ro.Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.5], "threshold": {"grid": [1, 4]}}),
      ...     ro.problems.Quadratic(dimension=10), ro.Workers(5, compute="i"), until=ro.Until(time=20),
      ...     seeds=[0, 1], confirm=[2])
      >>> result.best["Ringmaster"].values
      {'step_size': 0.5, 'threshold': 4}
    """
    from rayopt.experiments.tuning.tuning import Tuning

    given = [methods] if isinstance(methods, (Method, Grid)) else methods
    tuning = Tuning([Grid.of(one) for one in given], problem, workers, until, seeds, confirm, metric,
                    record or Record(), force=force)  # fmt: skip
    if not progress:
        return tuning.run(out, processes)
    from rayopt.report.progress import JobBar, ProgressBars

    return tuning.run(out, processes, JobBar(), ProgressBars())
