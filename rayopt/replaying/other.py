"""What another method would have done with the durations that a run has measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rayopt.errors import InvalidInput
from rayopt.experiment import Experiment
from rayopt.latency import Recorded
from rayopt.methods.base import Method
from rayopt.result import Result
from rayopt.run_folder import TRACE_FILE, RunFolder
from rayopt.workers import Workers


@dataclass(frozen=True)
class Other:
    """Another method on measured durations.

    Attributes:
      result: of its run in virtual time.
      notes: what a reader must know of the durations, a sentence each.
    """

    result: Result
    notes: list[str]


def try_other(
    folder: RunFolder,
    recorded: Experiment,
    method: Method,
    label: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
) -> Other:
    """Runs another method in virtual time, with the durations that a run has measured.

    Args:
      folder: of the recorded run.
      recorded: the experiment that it holds.
      method: the other method.
      label: whose durations; by default those of the first method.
      seed: of which run; by default the first.
      out: the run folder of the other method; by default nothing stays on disk.

    Raises:
      InvalidInput: no such run, one without a trace, or one whose tasks were more than single gradients.
    """
    measured = dict(zip(recorded.labels or (), recorded.methods, strict=True))
    label = next(iter(measured)) if label is None else label
    seed = recorded.seeds[0] if seed is None else seed
    for key, value, there in (("label", label, list(measured)), ("seed", seed, list(recorded.seeds))):
        if value not in there:
            raise InvalidInput(key, f"{value!r} is not in {folder.path}", ", ".join(map(str, there)))
    if not measured[label].tasks_are_gradients:
        problem = f"a task of {label} may be more than one gradient"
        raise InvalidInput("label", problem, "a method whose tasks are single gradients")
    latency = Recorded(str(folder.path / TRACE_FILE), label=label, seed=seed)
    experiment = Experiment(
        [method], recorded.problem, Workers(recorded.workers.count, latency), recorded.until, record=recorded.record,
        seeds=[seed], force=True,
    )  # fmt: skip
    result = experiment.run(out)
    source = folder.read_trace()
    return Other(result, _notes(source[(source.label == label) & (source.seed == seed)], result.trace, label, seed))


def _notes(source: pd.DataFrame, trace: pd.DataFrame, label: str, seed: int) -> list[str]:
    finished = source[source.outcome.isin(["used", "ignored"])].groupby("worker").size()
    notes = [f"Durations of {label}, seed {seed}: {finished.sum():,} finished tasks of {len(finished)} workers."]
    if cancelled := int((source.outcome == "cancelled").sum()):
        notes.append(
            f"{cancelled:,} of its tasks were cancelled: how long they would have taken is not known, and slow tasks "
            "are more often among them."
        )
    if len(trace):
        asked = trace.groupby("worker").number.max() + 1
        repeated = int((asked > finished.reindex(asked.index)).sum())
        if repeated:
            notes.append(
                f"{repeated} of {len(finished)} workers had more tasks than were recorded: their durations repeat."
            )
    return notes
