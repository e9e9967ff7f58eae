"""A recorded experiment, executed again from its run folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.core.environment import differences, environment
from rayopt.core.errors import InvalidInput
from rayopt.experiments.experiment import Experiment
from rayopt.experiments.replay.fleet import Event, ReplayedWorkers, WorkersValues
from rayopt.experiments.replay.network import ReplayedNetwork, replay_on_network
from rayopt.experiments.replay.run import Difference, ReplayRun, events_of
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.latency.network import Network
from rayopt.problems import Problem
from rayopt.runs.fingerprints import Fingerprint
from rayopt.storage.run_folder import TRACE_FILE, RunFolder
from rayopt.storage.trace.parts import TRACE_COLUMNS
from rayopt.storage.trace.reader import TraceReader

if TYPE_CHECKING:
    from rayopt.experiments.execution import Run


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


def replay(
    path: str | Path,
    experiment: Experiment | None = None,
    trust_code: bool = False,
    label: str | None = None,
    seed: int | None = None,
) -> Replay:
    """Executes a recorded experiment again, in virtual time, from its configuration and its trace alone.

    Arrivals come in the recorded order at the recorded times. Every value is computed anew, as the workers computed
    it; of a run in real time, sums are added one by one, with as many threads of BLAS as the workers had. On a
    machine of the same type with the same versions x is the same to the bit, and the method decides the same.

    Args:
      path: the run folder.
      experiment: the one that was run, if its problem or methods are a user's own; by default it is made from
        ``config.yaml``.
      trust_code: whether code that ``config.yaml`` names, such as a PyTorch module, may run.
      label: only the runs with this one; by default all.
      seed: only the runs with this one; by default all.

    Raises:
      InvalidInput: no run folder, a run without a trace, one on a network whose trace has no messages, code that may
        not run, or no run with this label or seed.

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

    folder = RunFolder.recorded(path)
    if experiment is None:
        experiment = recorded_experiment(folder, trust_code=trust_code)
    evaluates_many = type(experiment.problem).gradients is not Problem.gradients
    if evaluates_many and getattr(experiment.fleet, "lookahead", None) is not None:
        raise InvalidInput("run", f"{path} was made with gradients: batched: rounding depends on what was evaluated "
                           "together, which a trace does not tell", "a run with gradients: here or ray")  # fmt: skip
    with TraceReader([folder.path / TRACE_FILE]) as trace:
        recorded, hashes = _about(trace, path)
        runs = experiment.runs()
        if len(runs) != len(hashes):
            problem = f"{path} has hashes of x of {len(hashes)} runs"
            raise InvalidInput("run", problem, f"the trace of the experiment, which has {len(runs)}")
        ended = {position: run for position, run in enumerate(runs) if hashes[position] is not None}
        with threadpool_limits(recorded["blas_threads"]):
            replayed = [
                _replay_run(experiment, run, events_of(trace, position), hashes[position] or [])
                for position, run in _chosen(ended, {"label": label, "seed": seed}, path).items()
            ]
    return Replay(replayed, differences(recorded, environment(recorded["blas_threads"])))


def _chosen(runs: dict[int, Run], asked: Mapping[str, Any], path: str | Path) -> dict[int, Run]:
    """Returns the runs, by their positions, with the label and the seed that are asked for; None is any."""
    for key, value in asked.items():
        known = dict.fromkeys(getattr(run, key) for run in runs.values())
        if value is not None and value not in known:
            raise InvalidInput(key, f"{value!r} is not in {path}", ", ".join(map(str, known)))
        runs = {position: run for position, run in runs.items() if value in (None, getattr(run, key))}
    return runs


def _about(trace: TraceReader, path: str | Path) -> tuple[dict[str, Any], list[list[Fingerprint] | None]]:
    """Returns where a trace was recorded, and the hashes of x of each run, None for one without an outcome."""
    allowed = "a run of this version of rayopt"
    for column in TRACE_COLUMNS:
        if column not in trace.columns:
            raise InvalidInput("run", f"the trace in {path} has no column {column}", allowed)
    try:
        about = json.loads(trace.about)
        recorded = {**about["environment"], "blas_threads": int(about["environment"]["blas_threads"])}
        return recorded, [None if run is None else [Fingerprint(*found) for found in run] for run in about["hashes"]]
    except (ValueError, TypeError, KeyError):
        raise InvalidInput("run", f"the trace in {path} has no hashes of x", allowed) from None


def recorded_experiment(folder: RunFolder, data: Path | None = None, trust_code: bool = False) -> Experiment:
    """Returns the experiment that a run folder describes.

    Args:
      folder: of the run.
      data: the folder of the problem's data, if it has moved.
      trust_code: whether code that the folder names may run.
    """
    from rayopt.experiments.config import load_workload
    from rayopt.storage.run_folder import CONFIG

    return load_workload(folder.path / CONFIG, data=data, trust_code=trust_code).build()


def _replay_run(
    experiment: Experiment, run: Run, events: Iterable[Event], hashes: Sequence[Fingerprint]
) -> ReplayedRun:
    is_real = experiment.fleet.is_real_time
    workers = experiment.fleet.emulated(experiment.workers)
    problem = experiment.problem.split(workers.count, run.seed)
    times = workers.times(run.seed, problem.dimension, problem.float_bits)
    source = WorkersValues(problem, times, run.seed) if is_real else ComputedValues(problem, times.n, run.seed)
    method = run.method
    if isinstance(workers, Network):
        network = ReplayedNetwork(workers, problem, run.seed, is_real)
        found, difference = replay_on_network(method, network, workers, problem, events, hashes)
        return ReplayedRun(run.label, run.seed, found.arrivals, found.updates, found.checked, difference)
    method.prepare(problem.start_point(), workers.count)
    fleet = ReplayedWorkers(times, problem.shard_sizes, run.seed, source, alarms_first=is_real)
    rerun = ReplayRun(method, fleet, events, hashes, has_cancellations=experiment.record.trace == "all")
    difference = rerun.run()
    return ReplayedRun(run.label, run.seed, rerun.arrivals, method.updates, rerun.checked, difference)
