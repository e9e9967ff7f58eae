"""What another method would have done with the durations that a run has measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rayopt.core.errors import InvalidInput
from rayopt.experiments.experiment import Experiment
from rayopt.experiments.result import Result
from rayopt.latency import Recorded
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.storage.run_folder import TRACE_FILE, RunFolder

MOST_NAMED = 5


@dataclass(frozen=True)
class Other:
    """Another method on measured durations.

    Attributes:
      result: of its run in virtual time.
      notes: what a reader must know of the durations, a sentence each.
    """

    result: Result
    notes: list[str]


def measured_method(folder: RunFolder, recorded: Experiment, label: str | None = None) -> tuple[str, Method]:
    """Returns the label and the method whose durations are asked for, by default the first.

    Raises:
      InvalidInput: there is none with this label.
    """
    measured = dict(zip(recorded.labels or (), recorded.methods, strict=True))
    label = next(iter(measured)) if label is None else label
    if label not in measured:
        raise InvalidInput("label", f"{label!r} is not in {folder.path}", ", ".join(measured))
    return label, measured[label]


def try_other(
    folder: RunFolder,
    recorded: Experiment,
    method: Method,
    label: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
    assign: str = "own",
) -> Other:
    """Runs another method in virtual time, with the durations that a run has measured.

    Args:
      folder: of the recorded run.
      recorded: the experiment that it holds.
      method: the other method.
      label: whose durations; by default those of the first method.
      seed: of which run; by default the first.
      out: the run folder of the other method; by default nothing stays on disk.
      assign: "own": worker i takes the durations of worker i; "cyclic": those of the workers that have some are
        given out in turn.

    Raises:
      InvalidInput: no such run, one without a trace, one whose tasks were more than single gradients, or one in
        which no task of some worker arrived, whose durations are to be its own; ``out`` is the recorded run.
    """
    if out is not None and out.resolve() == folder.path.resolve():
        raise InvalidInput("out", f"{out} holds the run that was recorded", "another folder, so that it stays")
    label, measured = measured_method(folder, recorded, label)
    seed = recorded.seeds[0] if seed is None else seed
    if seed not in recorded.seeds:
        raise InvalidInput("seed", f"{seed!r} is not in {folder.path}", ", ".join(map(str, recorded.seeds)))
    if not measured.tasks_are_gradients:
        problem = f"a task of {label} may be more than one gradient"
        raise InvalidInput("label", problem, "a method whose tasks are single gradients")
    latency = Recorded(str(folder.path / TRACE_FILE), label=label, seed=seed, assign=assign)
    if assign == "own":
        _check_everyone(latency, recorded.workers.count)
    experiment = Experiment(
        [method], recorded.problem, Workers(recorded.workers.count, latency), recorded.until, record=recorded.record,
        seeds=[seed], force=True,
    )  # fmt: skip
    result = experiment.run(out)
    source = folder.read_trace()
    return Other(result, _notes(source[(source.label == label) & (source.seed == seed)], result.trace, label, seed))


def _check_everyone(latency: Recorded, count: int) -> None:
    """Raises InvalidInput if the durations of a worker are not known."""
    known = latency.durations().of("compute")
    missing = [worker for worker in range(count) if worker not in known]
    if missing:
        named = f"worker{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing[:MOST_NAMED]))}"
        more = f" and {len(missing) - MOST_NAMED:,} others" if len(missing) > MOST_NAMED else ""
        problem = f"no task of {named}{more} arrived in {latency.label}, seed {latency.seed}"
        raise InvalidInput(
            "assign", f"own, and {problem}: how long theirs take is not known",
            f"cyclic (--assign cyclic), which gives the durations of the other {len(known):,} out in turn",
        )  # fmt: skip


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
