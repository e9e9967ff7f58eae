"""An experiment: methods on one problem over one fleet, for each seed, into one result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rayopt.core.environment import environment
from rayopt.core.errors import InvalidInput, RayoptError, at_least
from rayopt.experiments.callbacks.runner import CallbackRunner, checked_callbacks
from rayopt.experiments.displays import Displays
from rayopt.experiments.execution import BROKEN_OFF, NOT_RUN, Display, Execution, Run
from rayopt.experiments.last_checkpoint import last_checkpoint
from rayopt.experiments.memory_estimate import memory_needs, memory_warning
from rayopt.experiments.result import Result
from rayopt.experiments.result_writer import ResultWriter
from rayopt.experiments.spread.places import HERE, Place
from rayopt.experiments.spread.pools import pool_of
from rayopt.experiments.spread.runs import RUNS, SpreadExecution
from rayopt.fleets.base import FleetKind
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import Callback
from rayopt.runs.compatibility import incompatibility
from rayopt.runs.record import Record
from rayopt.runs.signals import SignalHandling, signal_handling
from rayopt.runs.until import Until
from rayopt.storage.checkpoint_files import CheckpointFiles
from rayopt.storage.encoding import Encoded
from rayopt.storage.run_folder import RunFolder
from rayopt.storage.trace.buffered_writer import BufferedTraceWriter
from rayopt.storage.trace.writer import TraceWriter


class Ended(NamedTuple):
    """What is left when runs have executed.

    Attributes:
      is_over: whether no run has anything left to do.
      trace: of all runs; None if none was recorded.
      failure: the first error.
    """

    is_over: bool
    trace: BufferedTraceWriter | None
    failure: Exception | None


class NothingRan(RayoptError):
    """No run of an experiment began: all were skipped."""


@dataclass
class Experiment:
    """Methods on one problem over one fleet.

    Args:
      methods: each with one step size or a grid of them.
      problem: the oracle.
      workers: how many, and how fast.
      until: when a run ends.
      fleet: virtual time by default.
      record: what to record.
      seeds: one run of every method for each.
      labels: what tables and figures call the methods; by default their class names, with the parameters
        in which methods of one class differ.
      force: run a method also on a problem that it is not made for.
      skipped: why other methods could not be made, a sentence each, shown in the summary.
      callbacks: follow the runs one after the other, and may end them.
      modules: of the file it was read from, whose parts it uses.
      config: the file it was read from, resolved; by default described from the objects.

    Raises:
      InvalidInput: no methods or seeds, labels that are not unique, a method that does not fit.
      DataError: the data cannot be divided over so many workers.
    """

    methods: Sequence[Method]
    problem: Problem
    workers: Workers
    until: Until
    fleet: FleetKind = field(default_factory=SimulatedFleet)
    record: Record = field(default_factory=Record)
    seeds: Sequence[int] = (0,)
    labels: Sequence[str] | None = None
    force: bool = False
    skipped: Sequence[str] = ()
    callbacks: Sequence[Callback] = ()
    modules: Sequence[str] = ()
    config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.methods:
            raise InvalidInput("methods", "none is given", "at least one method")
        self.seeds = checked_seeds("seeds", self.seeds)
        self.callbacks = checked_callbacks(self.callbacks)
        self.workers = self.fleet.emulated(self.workers)
        self.fleet.check_workers(self.workers)
        self.labels = default_labels(self.methods) if self.labels is None else list(self.labels)
        if len(self.labels) != len(self.methods):
            raise InvalidInput("labels", f"{len(self.labels)} for {len(self.methods)} methods", "one for each method")
        for position, label in enumerate(self.labels):
            if label in self.labels[:position]:
                raise InvalidInput(f"methods[{position}].label", f"{label!r} is taken", "labels that differ")
        for position, method in enumerate(self.methods):
            fresh = method.fresh()
            fresh.use_problem(self.problem)
            self._check_network(f"methods[{position}]", fresh)
            if fresh.needs_components and self.problem.components is None:
                continue  # It is skipped, with the reason.
            try:
                fresh.prepare(self.problem.start_point(), self.workers.count)
            except InvalidInput as error:
                raise error.within(f"methods[{position}]") from None
        self.record = self.record.resolve(
            self.problem.metric_names, self.until, on_network=isinstance(self.workers, Network)
        )
        for seed in self.seeds:
            # A shard that would be empty is an error now, not in the middle of the runs.
            self.problem.split(self.workers.count, seed)

    def _check_network(self, key: str, method: Method) -> None:
        """Raises InvalidInput for a method that needs a network and has none, or the other way round."""
        name = type(method).__name__
        if isinstance(self.workers, Network):
            if not method.decentralized:
                raise InvalidInput(key, f"{name} needs a server, and a network has none",
                                   "a method without a server, such as fragile; or workers")  # fmt: skip
            method.use_network(self.workers)
        elif method.decentralized:
            raise InvalidInput(key, f"{name} runs on a network, and these are workers of a server",
                               "network: {graph: ..., compute: ..., edges: ...} in place of workers")  # fmt: skip

    def runs(self) -> list[Run]:
        """Returns the runs in order: all methods on the first seed, then on the next."""
        assert self.labels is not None
        found = []
        for seed in self.seeds:
            for method, label in zip(self.methods, self.labels, strict=True):
                single = [method.with_step_size(step) for step in method.members()]
                one_by_one = method.control_depends_on_x or not self.fleet.has_arrivals
                split = single if one_by_one and len(single) > 1 else [method.fresh()]
                found += [Run(part, label, seed) for part in split]
        for run in found:
            run.method.use_problem(self.problem)
            if reason := self.fleet.incompatibility(run.method, self.problem):
                run.problem = f"skipped: {reason}"
                continue
            times = self.workers.times(run.seed, self.problem.dimension, self.problem.float_bits)
            reason = incompatibility(run.method, self.problem, times)
            if reason and self.force:
                run.warning = f"run by force: {reason}"
            elif reason:
                run.problem = f"skipped: {reason} (force: true runs it all the same)"
        return found

    def run(self, out: str | Path | None = None, display: Display | None = None, on: Place = HERE) -> Result:
        """Runs everything and returns the result.

        Args:
          out: the run folder; by default a temporary one that goes away with the result.
          display: follows the runs.
          on: where they execute; by default one after the other in this process.

        Raises:
          InvalidInput: ``out`` exists and is not a run folder, holds an experiment that was interrupted, cannot be
            written, or another program writes it.
          FleetStuck: no run could go to its end.
          NothingRan: all runs were skipped.
          KeyboardInterrupt: Ctrl-C or SIGTERM came before any run began.
          Exception: what a method or a problem raised, after everything else has run and is written.
        """
        with RunFolder.temporary() if out is None else RunFolder(out) as folder:
            return self._run(folder, display, None, on)

    def resume(self, out: str | Path, display: Display | None = None, on: Place = HERE) -> Result:
        """Goes on with this experiment where a process left it that was killed or interrupted, and returns the result.

        Finished runs are kept; an unfinished or failed run continues from its last checkpoint, in virtual time
        to the bit as if nothing had happened. Without a checkpoint everything runs again. The data may have moved.

        Args:
          out: the run folder.
          display: follows the runs.
          on: where those execute that were spread before; the others go on in this process.

        Raises:
          InvalidInput: the folder holds no interrupted experiment, or another one, or another program writes it.
          DataError: no checkpoint can be read, or something that the last one counts on; nothing has changed.
          Exception: as :meth:`run`.
        """
        with RunFolder.interrupted(out) as folder:
            folder.go_on()
            ours = yaml.safe_load(yaml.safe_dump(self.to_config()))
            theirs = folder.read_unfinished_config()
            for key in {**theirs, **ours}:
                if _wherever_data_are(ours.get(key)) != _wherever_data_are(theirs.get(key)):
                    raise InvalidInput(key, f"the experiment in {folder.path} has {theirs.get(key)!r}, this one "
                                       f"{ours.get(key)!r}", "the experiment that was interrupted")  # fmt: skip
            if (folder.unfinished / RUNS).is_dir():
                return self._run(folder, display, None, on, goes_on=True)
            return self._run(folder, display, last_checkpoint(folder.unfinished), HERE)

    def _run(
        self,
        folder: RunFolder,
        display: Display | None,
        checkpoint: tuple[int, Encoded] | None,
        place: Place,
        goes_on: bool = False,
    ) -> Result:
        """Runs what is still to run, and writes everything.

        Args:
          folder: of the experiment.
          display: follows the runs.
          checkpoint: where to go on in this process; None to begin.
          place: where runs execute.
          goes_on: whether runs that were spread go on.
        """
        self.warn_of_memory()
        runs = self.runs()
        for text in dict.fromkeys(f"{run.label}: {run.warning}" for run in runs if run.warning):
            warnings.warn(text, UserWarning, stacklevel=3)
        # From here to the last file: a signal ends the runs, not the writing of what they have left.
        with signal_handling() as interrupted:
            displays = Displays([] if display is None else [display])
            if goes_on or self._is_spread(place, runs):
                ended = self._spread(runs, folder, displays, place, interrupted, goes_on)
            else:
                ended = self._execute(runs, folder, displays, checkpoint, interrupted)
            return self._conclude(runs, folder, *ended)

    def _is_spread(self, place: Place, runs: Sequence[Run]) -> bool:
        """Whether runs execute elsewhere: those of virtual time, if there are several and no callback follows them."""
        if place.kind == "here" or self.fleet.is_real_time or not self.fleet.has_arrivals:
            return False
        if isinstance(self.fleet, SimulatedFleet) and self.fleet.gradients != "here":
            return False
        several = sum(not run.problem for run in runs) > 1
        return not self.callbacks and (place.kind == "ray" or (several and place.processes > 1))

    def _spread(
        self,
        runs: Sequence[Run],
        folder: RunFolder,
        display: Display,
        place: Place,
        interrupted: SignalHandling,
        goes_on: bool,
    ) -> Ended:
        """Executes runs at a place, many at once."""
        config = self.to_config()
        if not goes_on:
            folder.begin(config)
        execution = SpreadExecution(runs, folder.unfinished, self.until, display)
        needed = sum(memory_needs(self).values())
        pool = pool_of(place, self, sum(not run.problem for run in runs), needed, execution.progressed)
        interrupted.watch(pool)
        display.opened(runs, self.until)
        try:
            failure = execution.run_all(pool, interrupted)
        finally:
            interrupted.shield()
            display.closed()
        trace = execution.trace(folder.unfinished, partial(folder.prepare, config)) if self.record.trace else None
        return Ended(execution.is_over, trace, failure)

    def _execute(
        self,
        runs: Sequence[Run],
        folder: RunFolder,
        display: Display,
        checkpoint: tuple[int, Encoded] | None,
        interrupted: SignalHandling,
    ) -> Ended:
        """Executes runs one after the other in this process."""
        try:
            opened = self.fleet.open(self.problem, self.workers)
        except InvalidInput as error:
            raise error.within("fleet") if error.key in self.fleet.to_config() else error from None
        with opened as session:
            interrupted.watch(session)
            config = self.to_config()
            if checkpoint is None:
                folder.begin(config)
            prepare = partial(folder.prepare, config)
            files = None
            # A temporary folder goes away with this process: nobody could go on from its checkpoints.
            if not folder.is_temporary and self.record.checkpoint is not False:
                files = CheckpointFiles(folder.unfinished, prepare)
            trace = None
            if self.record.trace and self.fleet.has_arrivals:
                parts, dropped = ([], 0) if checkpoint is None else checkpoint[1].tree["trace"]
                on_network = isinstance(self.workers, Network)
                file = TraceWriter(folder.unfinished, self.fleet.is_real_time, parts, prepare, messages=on_network)
                trace = BufferedTraceWriter(file, dropped=dropped)
            follow = CallbackRunner(
                self.callbacks, session.stop, None if folder.is_temporary else folder.path.absolute()
            )
            execution = Execution(runs, session, self.until, self.record, trace, display, files, follow)
            if checkpoint is not None:
                execution.go_on_from(*checkpoint)
            display.opened(runs, self.until)
            try:
                failure = execution.run_all(interrupted)
            finally:
                interrupted.shield()
                display.closed()
        return Ended(execution.is_over, trace, failure)

    def _conclude(
        self,
        runs: Sequence[Run],
        folder: RunFolder,
        is_over: bool,
        trace: BufferedTraceWriter | None,
        failure: Exception | None,
    ) -> Result:
        """Writes what runs have left, and raises what has gone wrong."""
        must_stay = not is_over and folder.has_checkpoint
        if must_stay:
            warnings.warn(
                f"not every run came to its end: `rayopt resume {folder.path}` goes on from the last checkpoint",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        if not any(run.outcome for run in runs):
            if not must_stay:
                folder.end()
            if any(run.problem in (BROKEN_OFF, NOT_RUN) for run in runs):
                raise KeyboardInterrupt
            reasons = [*(f"{run.label}: {run.problem}" for run in runs), *self.skipped]
            raise failure or NothingRan("; ".join(dict.fromkeys(reasons)))
        result = self._results(runs, trace).write(folder, must_stay)
        if failure is not None and not isinstance(failure, RayoptError):
            raise failure
        return result

    def _results(self, runs: Sequence[Run], trace: BufferedTraceWriter | None) -> ResultWriter:
        """Returns what the runs have left."""
        from rayopt.experiments.optimality import lower_bound
        from rayopt.experiments.summary import history_frame, rounds_frame, summarise

        history = history_frame(runs, self.record)
        split = self.problem.split(self.workers.count, self.seeds[0])
        skew = None if split.homogeneous else split.skew
        bound = lower_bound(self.problem, self.workers, self.until.target, self.seeds[0])
        ran = {run.label: run.method for run in runs if run.outcome is not None}
        notes = [f"{label}: {method.note}." for label, method in ran.items() if method.note]
        notes += [self.problem.note] if self.problem.note else []
        summary = summarise(runs, self.until, self.problem, skew=skew, bound=bound,
                            notes=[*self.fleet.notes(runs), *notes], skipped=self.skipped)  # fmt: skip
        summary["environment"] = environment(getattr(self.fleet, "blas_threads", None))
        hashes = [None if run.outcome is None else run.outcome.fingerprints for run in runs]
        about = json.dumps({"environment": summary["environment"], "hashes": hashes})
        return ResultWriter(self.to_config(), history, rounds_frame(runs), summary, trace, about)

    def to_config(self) -> dict[str, Any]:
        """Returns the resolved configuration, as ``config.yaml`` holds it."""
        if self.config is not None:
            return self.config
        from rayopt.experiments.description import describe

        return describe(self)

    def warn_of_memory(self) -> None:
        """Warns of a run that may not fit into the memory that is free, whatever the cause."""
        if text := memory_warning(self):
            warnings.warn(text, UserWarning, stacklevel=4)


def _wherever_data_are(section: Any) -> Any:
    """Returns a section of a configuration without the path of its data."""
    if isinstance(section, Mapping) and isinstance(data := section.get("data"), Mapping):
        return {**section, "data": {key: value for key, value in data.items() if key != "path"}}
    return section


def checked_seeds(key: str, seeds: Sequence[int]) -> list[int]:
    """Returns seeds that are integers of at least 0 and differ, at least one; else raises InvalidInput."""
    if not seeds:
        raise InvalidInput(key, "none is given", "at least one integer")
    checked = [at_least(key, seed, 0) for seed in seeds]
    if len(set(checked)) < len(checked):
        raise InvalidInput(key, f"{checked} has one seed twice", "integers that differ")
    return checked


def default_labels(methods: Sequence[Method], hidden: Collection[str] = ()) -> list[str]:
    """Returns class names, with the parameters in which methods of one class differ, the hidden ones apart."""
    labels = []
    for method in methods:
        alike = [other.parameters for other in methods if type(other) is type(method)]
        differing = [
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in method.parameters.items()
            if key not in hidden and any(other.get(key) != value for other in alike)
        ]
        labels.append(" ".join([type(method).__name__, *differing]))
    return labels


__all__ = ["BROKEN_OFF", "NOT_RUN", "Display", "Experiment", "RayoptError", "Run", "default_labels"]
