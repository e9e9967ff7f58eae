"""Jobs: one run for each combination of parameters and each tuning seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rayopt.core.errors import RayoptError
from rayopt.experiments.description import plain
from rayopt.experiments.experiment import Experiment, Run
from rayopt.experiments.spread.pool import Item
from rayopt.experiments.tuning.grid import Combination
from rayopt.fleets.base import Job, OnProgress, Session
from rayopt.runs.outcome import INTERRUPTED, Outcome
from rayopt.storage.trace.rows import OUTCOMES

Found = dict[str, Any]
"""What came of a job: ``rows``, one for each step size; ``problem``, why there are none; ``wall_seconds``."""


@dataclass(frozen=True)
class TuningJob:
    """One combination of parameters on one seed, with the whole grid of step sizes.

    Attributes:
      run: what is to run.
      label: of its grid.
      combination: the values of the parameters that are tried.
      config: everything that the result depends on.
    """

    run: Run
    label: str
    combination: Combination
    config: dict[str, Any]

    @cached_property
    def name(self) -> str:
        """A hash of the configuration: jobs that are equal have one name, whenever they run."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:20]


def jobs_of(experiment: Experiment, combinations: Mapping[str, tuple[str, Combination]]) -> list[TuningJob]:
    """Returns the jobs of an experiment, those that are skipped included.

    Args:
      experiment: of all combinations on the tuning seeds.
      combinations: by the label that the experiment gives them, the label of the grid and the combination.
    """
    config = experiment.to_config()
    # Data that were given as arrays have no name, and a folder may hold other files tomorrow.
    value = float(experiment.problem.value(experiment.problem.start_point()))
    common: dict[str, Any] = {
        key: config[key] for key in ("problem", "workers", "network", "until", "record") if key in config
    }
    return [
        TuningJob(
            run,
            *combinations[run.label],
            {**common, "value_at_start": f"{value:.6g}", "seed": run.seed,
             "method": plain({"name": run.method.name, **run.method.parameters})},
        )
        for run in experiment.runs()
    ]  # fmt: skip


def measure(experiment: Experiment, session: Session, item: Item, on_progress: OnProgress) -> Found:
    """Runs one job and returns what came of it: numbers that are not finite are None.

    A row holds ``step_size``, the last value of each metric (when this step size met the target, if it did),
    ``time_to_target`` and ``diverged_at`` (history times), and of the whole run ``time, updates, arrivals``, the
    outcomes and ``worker_seconds``. A job that Ctrl-C ended has the problem ``INTERRUPTED`` and no rows.
    """
    run: Run = item.content
    job = Job(run.method, run.seed, experiment.until, experiment.record)
    try:
        outcome = session.run(job, lambda rows: None, on_progress)
    except RayoptError as error:
        return {"problem": str(error), "rows": [], "wall_seconds": None}
    if outcome.ended_by == INTERRUPTED:
        return {"problem": INTERRUPTED}
    rows = _rows(replace(run, outcome=outcome), outcome, experiment)
    return {"problem": "", "rows": rows, "wall_seconds": outcome.wall_seconds}


def _rows(run: Run, outcome: Outcome, experiment: Experiment) -> list[dict[str, Any]]:
    from rayopt.experiments.summary import trials

    target = experiment.until.target
    whole = {"time": outcome.time, "updates": outcome.updates, "arrivals": outcome.counts.arrivals,
             **{name: getattr(outcome.counts, name) for name in OUTCOMES},
             "worker_seconds": _finite(outcome.busy_seconds)}  # fmt: skip
    return [
        {
            "step_size": trial.step_size,
            **{metric: _finite(trial.last(metric)) for metric in experiment.record.metrics or ()},
            "time_to_target": None if target is None else _finite(trial.time_to(target)),
            "diverged_at": trial.diverged_at,
            **whole,
        }
        for trial in (member.alone(target) for member in trials(run))
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
