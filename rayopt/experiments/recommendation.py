"""Which method to use on a fleet: candidates with a few parameters each, tuned and compared in short virtual runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.experiments.description import plain
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.result import TuningResult
from rayopt.experiments.tuning.tuning import Tuning
from rayopt.latency.workers import Workers
from rayopt.methods import METHODS
from rayopt.problems.base import Problem
from rayopt.runs.record import Record
from rayopt.runs.until import Target, Until

GRADIENTS = 20_000
"""That the whole fleet computes in a run, at the most."""
ROWS = 100
STEP_POWERS = range(-8, 3)
"""Of two, tried as step sizes of methods that average over a batch; those that step at every arrival have less."""
TUNING_SEEDS = (0,)


def candidates(workers: Workers, homogeneous: bool) -> list[Grid]:
    """Returns the methods that are tried, each with a few values of its parameter.

    Args:
      workers: n; batches and thresholds are of its order.
      homogeneous: whether all workers have the same data.
    """
    n = workers.count
    batches = sorted({max(1, n // 4), n, 4 * n})
    steps = [2.0**power for power in STEP_POWERS if power >= -4]
    single = [2.0**power / math.sqrt(n) for power in STEP_POWERS if power <= 0]
    chosen: list[tuple[str, dict[str, Any]]] = [("minibatch", {"step_size": steps})]
    if homogeneous:
        chosen += [
            ("rennala", {"step_size": steps, "batch_size": {"grid": batches}}),
            ("ringmaster", {"step_size": single, "threshold": {"grid": batches}}),
            ("asgd", {"step_size": single}),
        ]
    else:
        chosen += [
            ("malenia", {"step_size": steps, "batch_size": {"grid": [batch for batch in batches if batch >= n]}}),
            ("ringleader", {"step_size": single}),
        ]
    return [Grid(METHODS[name], arguments) for name, arguments in chosen]


def horizon(workers: Workers, gradients: int = GRADIENTS) -> float:
    """Returns the fleet seconds in which all workers together compute so many gradients.

    Raises:
      InvalidInput: no worker has a finite mean time.
    """
    expected = workers.times(0).expected
    rate = 0.0 if expected is None else float(np.sum(1 / expected[np.isfinite(expected)]))
    if rate == 0:
        raise InvalidInput("workers", "no worker has a finite mean time that is known", "times, or a profile of them")
    return gradients / rate


def recommend(
    problem: Problem, workers: Workers, target: Target, seeds: Sequence[int], processes: int | None = None,
    on_jobs: Any = None, display: Any = None,
) -> TuningResult:  # fmt: skip
    """Tunes the candidates on one seed, and runs the best of each on others.

    Args:
      problem: the oracle.
      workers: the fleet.
      target: what is to be reached soonest.
      seeds: of the runs that are compared.
      processes: how many jobs run at the same time; None for one for each processor.
      on_jobs: shows the progress of the tuning.
      display: follows the runs that are compared.

    Raises:
      InvalidInput: no worker has a finite mean time, or what a tuning refuses.
    """
    seconds = horizon(workers)
    until = Until(time=seconds, target=target)
    # Other metrics, such as the loss of all rows, may take longer than the run.
    record = Record(every=seconds / ROWS, metrics=[target.metric], trace=False)
    grids = candidates(workers, problem.homogeneous)
    tuning = Tuning(grids, problem, workers, until, TUNING_SEEDS, seeds, target.metric, record)
    return tuning.run(None, processes, on_jobs, display)


def workload_of(result: TuningResult, problem_config: dict[str, Any]) -> dict[str, Any]:
    """Returns the workload that runs what was chosen, as a file holds it."""
    until, workers = result.tuning.until, result.tuning.workers
    assert until.target is not None
    return {
        "problem": plain(problem_config),
        "workers": plain({"count": workers.count, "compute": workers.compute.to_config()}),
        "methods": [
            {"name": choice.method.name, **plain(choice.method.parameters)} for choice in result.best.values()
        ],
        "until": {"time": float(f"{until.time:.6g}"),
                  "target": {"metric": until.target.metric, "reaches": until.target.reaches}},
        "record": {"every": float(f"{until.time / ROWS:.6g}")},
        "seeds": [int(seed) for seed in result.tuning.confirm],
    }  # fmt: skip
