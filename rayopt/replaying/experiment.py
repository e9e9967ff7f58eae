"""A recorded experiment, executed again from its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.environment import differences, environment
from rayopt.errors import InvalidInput
from rayopt.experiment import Experiment
from rayopt.fingerprints import Fingerprint
from rayopt.fleets.values import ComputedValues
from rayopt.replaying.fleet import ReplayedWorkers, WorkersValues
from rayopt.replaying.run import Difference, Rerun, events_of
from rayopt.run_folder import RunFolder
from rayopt.trace_file import TRACE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from rayopt.execution import Run


@dataclass(frozen=True)
class ReplayedRun:
    """What came of one run when it was executed again.

    Attributes:
      label: of the run.
      seed: of the run.
      arrivals: that were received again.
      updates: k at the end.
      checked: how many hashes of x are those that were recorded.
      difference: the first one; None if there is none.
    """

    label: str
    seed: int
    arrivals: int
    updates: int
    checked: int
    difference: Difference | None

    def __str__(self) -> str:
        name = f"{self.label}, seed {self.seed}"
        if self.difference is not None:
            return f"{name}: differs {self.difference}"
        return (
            f"{name}: {self.arrivals:,} arrivals, {self.updates:,} updates, x equal to the bit at all "
            f"{self.checked:,} recorded hashes"
        )


@dataclass(frozen=True)
class Replay:
    """A recorded experiment, executed again.

    Attributes:
      runs: in order; those that had no outcome are left out.
      elsewhere: in what this machine differs from that of the recording, a phrase each.
    """

    runs: Sequence[ReplayedRun]
    elsewhere: Sequence[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether everything is as it was recorded."""
        return all(run.difference is None for run in self.runs)


def replay(path: str | Path, experiment: Experiment | None = None, trust_code: bool = False) -> Replay:
    """Executes a recorded experiment again, in virtual time, from its configuration and its trace.

    Arrivals come in the recorded order at the recorded times. Every value is computed anew, as the workers computed
    it; of a run in real time, sums are added one by one, with as many threads of BLAS as the workers had. On a
    machine of the same type with the same versions x is the same to the bit, and the method decides the same.

    Args:
      path: the run folder.
      experiment: the one that was run, if its problem or methods are a user's own; by default it is made from
        ``config.yaml``.
      trust_code: whether code that ``config.yaml`` names, such as a PyTorch module, may run.

    Raises:
      InvalidInput: no run folder, a run without a trace, or code that may not run.

    Examples:
      >>> import tempfile
      >>> import rayopt as ro
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = ro.run(ro.methods.ASGD(step_size=0.1), ro.problems.Quadratic(dimension=10), ro.Workers(3, "i"),
      ...                until=ro.Until(time=12), out=folder + "/run")
      ...     print(*ro.replay(folder + "/run").runs)
      ASGD, seed 0: 22 arrivals, 22 updates, x equal to the bit at all 52 recorded hashes
    """
    from threadpoolctl import threadpool_limits

    folder = RunFolder.existing(path)
    if experiment is None:
        experiment = recorded_experiment(folder, trust_code=trust_code)
    summary, trace = folder.read_summary(), folder.read_trace()
    for column in TRACE_COLUMNS:
        if column not in trace.columns:
            raise InvalidInput("run", f"the trace in {path} has no column {column}", "a run of this version of rayopt")
    if trace.empty:
        raise InvalidInput("run", f"{path} has no trace", "a run with record: {trace: all} or {trace: arrivals}")
    recorded = summary["environment"]
    with threadpool_limits(recorded["blas_threads"]):
        runs = [
            _replay_run(experiment, run, trace[trace.run == position], entry)
            for position, (run, entry) in enumerate(zip(experiment.runs(), summary["runs"], strict=True))
            if entry["ended_by"] is not None
        ]
        return Replay(runs, differences(recorded, environment(recorded["blas_threads"])))


def recorded_experiment(folder: RunFolder, data: Path | None = None, trust_code: bool = False) -> Experiment:
    """Returns the experiment that a run folder describes.

    Args:
      folder: of the run.
      data: the folder of the problem's data, if it has moved.
      trust_code: whether code that the folder names may run.
    """
    from rayopt.config import load_workload
    from rayopt.run_folder import CONFIG

    return load_workload(folder.path / CONFIG, data=data, trust_code=trust_code).build()


def _replay_run(experiment: Experiment, run: Run, trace: pd.DataFrame, entry: dict[str, Any]) -> ReplayedRun:
    is_real = experiment.fleet.name != "simulated"
    workers = experiment.fleet.emulated(experiment.workers)
    problem = experiment.problem.split(workers.count, run.seed)
    times = workers.times(run.seed)
    source = WorkersValues(problem, times, run.seed) if is_real else ComputedValues(problem, times.n, run.seed)
    method = run.method
    method.prepare(problem.start_point(), workers.count)
    fleet = ReplayedWorkers(times, problem.shard_sizes, run.seed, source, alarms_first=is_real)
    hashes = [Fingerprint(*found) for found in entry["hashes"]]
    rerun = Rerun(method, fleet, events_of(trace), hashes, has_cancellations=experiment.record.trace == "all")
    difference = rerun.run()
    return ReplayedRun(run.label, run.seed, rerun.arrivals, method.updates, rerun.checked, difference)
