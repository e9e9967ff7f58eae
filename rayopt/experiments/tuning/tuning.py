"""A tuning: every combination on the tuning seeds, the best of each method, and its confirmation on other seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rayopt.core.errors import InvalidInput, RayoptError, one_of
from rayopt.experiments.description import describe, plain
from rayopt.experiments.experiment import Display, Experiment, NothingRan, checked_seeds, default_labels
from rayopt.experiments.memory_estimate import memory_needs
from rayopt.experiments.result import Result, load
from rayopt.experiments.spread.places import Place
from rayopt.experiments.spread.pool import Item
from rayopt.experiments.spread.pools import pool_of
from rayopt.experiments.tuning.displays import JobDisplay, JobDisplays
from rayopt.experiments.tuning.folder import TuningFolder, has_checkpoint, is_complete
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.jobs import Found, TuningJob, jobs_of, measure
from rayopt.experiments.tuning.result import TuningResult
from rayopt.experiments.tuning.selection import Choice, choose, medians, whole_table
from rayopt.fleets.base import FleetKind
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.record import Record
from rayopt.runs.signals import stop_on_interrupt
from rayopt.runs.until import PROGRESS_METRICS, Until
from rayopt.storage.run_folder import temporary_folder


class TuningInterrupted(RayoptError):
    """Ctrl-C came before a tuning was complete; what had finished is kept."""


@dataclass
class Tuning:
    """Grids of methods on one problem over one fleet in virtual time.

    Args:
      grids: each a method with the values to try.
      problem: the oracle.
      workers: how many, and how fast.
      until: when a run ends. With a target the soonest is the best, else the metric at the end decides.
      seeds: on which the best is chosen.
      confirm: other seeds, on which the best runs again.
      metric: by which to choose: by default the first of gap, value, grad_norm_sq and accuracy that there is.
      record: of the runs that confirm; how often a target is looked at.
      fleet: it must be the virtual one.
      force: tune a method also on a problem that it is not made for.
      problem_config: the problem's section of the workload file; by default described from the object.
      modules: of the workload file, whose parts are used.

    Attributes:
      labels: of the grids.
      experiment: all combinations on the tuning seeds.

    Raises:
      InvalidInput: seeds that overlap, an unknown metric, a fleet in real time, or what an experiment refuses.
    """

    grids: Sequence[Grid]
    problem: Problem
    workers: Workers
    until: Until
    seeds: Sequence[int]
    confirm: Sequence[int]
    metric: str | None = None
    record: Record = field(default_factory=Record)
    fleet: FleetKind = field(default_factory=SimulatedFleet)
    force: bool = False
    problem_config: dict[str, Any] | None = None
    modules: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.fleet.name != "simulated":
            raise InvalidInput("fleet", f"{self.fleet.name!r} runs in real time, and jobs side by side would slow each "
                               "other", "simulated (--set fleet=simulated)")  # fmt: skip
        if isinstance(self.fleet, SimulatedFleet) and self.fleet.gradients != "here":
            raise InvalidInput("fleet.gradients", f"{self.fleet.gradients!r}, and jobs run side by side already",
                               "here (--set fleet=simulated)")  # fmt: skip
        self.seeds = checked_seeds("tune.seeds", self.seeds)
        self.confirm = checked_seeds("tune.confirm", self.confirm)
        if both := sorted(set(self.seeds) & set(self.confirm)):
            raise InvalidInput("tune.confirm", f"{both} are among the tuning seeds {self.seeds}", "other seeds")
        names = self.problem.metric_names
        ranked = next(name for name in (*PROGRESS_METRICS, *names) if name in names)
        self.metric = one_of("tune.metric", self.metric or ranked, names)
        for position, grid in enumerate(self.grids):
            for combination in grid.combinations:
                try:
                    combination.method.fresh().prepare(self.problem.start_point(), self.workers.count)
                except InvalidInput as error:
                    raise error.within(f"methods[{position}]") from None
        self.labels = self._labels()
        combinations = self._combinations = {
            f"{label} {combination.text}".rstrip(): (label, combination)
            for label, grid in zip(self.labels, self.grids, strict=True)
            for combination in grid.combinations
        }
        self.experiment = self._experiment(
            [combination.method for _, combination in combinations.values()], list(combinations), self.seeds,
            self._record_of_jobs(),
        )  # fmt: skip

    def run(
        self,
        out: str | Path | None = None,
        processes: int | None = None,
        jobs_display: JobDisplay | None = None,
        confirm_display: Display | None = None,
        on: Place | None = None,
    ) -> TuningResult:
        """Runs the jobs that have not finished, chooses, and confirms.

        Args:
          out: the tuning folder; if it holds this tuning already, the tuning continues there. By default a
            temporary one that goes away with the result.
          processes: how many jobs run at the same time; by default one for each core.
          jobs_display: follows the jobs.
          confirm_display: follows the runs that confirm.
          on: where jobs and runs execute, in place of ``processes``.

        Raises:
          InvalidInput: ``out`` is something else, or holds a tuning that differs.
          TuningInterrupted: Ctrl-C; what had finished is kept in ``out``.
          NothingRan: all methods were skipped, or failed.
          Exception: what a method or a problem raised, after everything else has run and is kept.
        """
        place = on or Place.for_processes(processes)
        temporary = None
        if out is None:
            temporary = temporary_folder()
            out = temporary.name
        folder = TuningFolder(out)
        folder.begin(self.to_config())
        self.experiment.warn_of_memory()
        jobs = jobs_of(self.experiment, self._combinations)
        displays = JobDisplays([] if jobs_display is None else [jobs_display])
        found = self._run_jobs([job for job in jobs if not job.run.problem], folder, place, displays)
        metrics = self.experiment.record.metrics or ()
        table = whole_table([(job, found[job.name]) for job in jobs if job.name in found], self.labels, self.grids,
                            metrics)  # fmt: skip
        failed = {f"{job.run.label}, seed {job.run.seed}": found[job.name]["problem"] for job in jobs
                  if found.get(job.name, {}).get("problem")}  # fmt: skip
        problems = {**{job.label: job.run.problem for job in jobs if job.run.problem}, **failed}
        if table.empty:
            raise NothingRan("; ".join(f"{place}: {problem}" for place, problem in problems.items()))
        folder.write_table(table)
        assert self.metric is not None
        middle = medians(table, self.metric)
        chosen = [
            choice
            for label, grid in zip(self.labels, self.grids, strict=True)
            if (choice := choose(middle, label, grid, self.metric, len(self.seeds)))
        ]
        confirmed = self._confirm(chosen, folder, confirm_display, place) if chosen else None
        return TuningResult(self, table, middle, chosen, confirmed, problems, folder.path, temporary)

    def to_config(self) -> dict[str, Any]:
        """Returns the resolved configuration, as ``tuning.yaml`` holds it."""
        config = {key: value for key, value in self.experiment.to_config().items() if key not in ("methods", "seeds")}
        grids = [
            {**grid.to_config(), "label": label} for label, grid in zip(self.labels, self.grids, strict=True)
        ]  # fmt: skip
        on_network = isinstance(self.workers, Network)
        record = self.record.resolve(self.problem.metric_names, self.until, on_network)
        config["record"] = {"every": record.every, "metrics": self._recorded(), "trace": record.trace}
        tune = {"metric": self.metric, "seeds": self.seeds, "confirm": self.confirm}
        return plain({**config, "methods": grids, "tune": tune})

    def _run_jobs(
        self, jobs: Sequence[TuningJob], folder: TuningFolder, place: Place, display: JobDisplay
    ) -> dict[str, Found]:
        """Returns what the jobs found, those that had finished before included, by their names."""
        # Two labels may stand for one and the same job.
        jobs = list({job.name: job for job in jobs}.values())
        found = {job.name: kept for job in jobs if (kept := folder.found(job)) is not None}
        waiting = [job for job in jobs if job.name not in found]
        failure: Exception | None = None
        failures = 0
        display.opened(len(jobs), len(found))
        try:
            for job, result in self._results(waiting, place):
                if isinstance(result, Exception):
                    failure = failure or result
                    failures += 1
                else:
                    folder.keep(job, result)
                    found[job.name] = result
                display.ended(job, result)
        finally:
            display.closed()
        if len(found) + failures < len(jobs):
            raise TuningInterrupted(f"{len(found)} of {len(jobs)} jobs have finished and are kept in {folder.path}")
        if failure is not None:
            raise failure
        return found

    def _results(self, jobs: Sequence[TuningJob], place: Place) -> Iterator[tuple[TuningJob, Found | Exception]]:
        """Runs jobs and yields each with what came of it, until Ctrl-C."""
        if jobs:
            pool = pool_of(place, self.experiment, len(jobs), sum(memory_needs(self.experiment).values()))
            with stop_on_interrupt(pool):
                for position, result in pool.run(measure, [Item(job.run, kind=job.run.label) for job in jobs]):
                    yield jobs[position], result

    def _confirm(self, chosen: Sequence[Choice], folder: TuningFolder, display: Display | None, place: Place) -> Result:
        """Runs what was chosen on the other seeds, as far as that is not on disk; writes the workload file of it."""
        record = replace(self.record, metrics=self._recorded())
        experiment = self._experiment(
            [choice.method for choice in chosen], [choice.label for choice in chosen], self.confirm, record
        )
        folder.write_tuned(experiment.to_config())
        if is_complete(folder.confirmed, experiment.to_config()):
            return load(folder.confirmed)
        go_on = experiment.resume if has_checkpoint(folder.confirmed) else experiment.run
        result = go_on(folder.confirmed, display, place)
        if not is_complete(folder.confirmed, experiment.to_config()):
            raise TuningInterrupted(f"all jobs have finished and are kept in {folder.path}, what was chosen has not "
                                    "run on all seeds of tune.confirm")  # fmt: skip
        return result

    def _record_of_jobs(self) -> Record:
        """Returns a record of what the choice needs and nothing else."""
        assert self.metric is not None
        target = self.until.target
        if target is not None:
            return Record(self.record.every, tuple(dict.fromkeys((self.metric, target.metric))), trace=False)
        # A metric of a whole data set may cost more than the run: it is asked for at the end alone.
        return Record(self.until.time if self.until.time < math.inf else None, (self.metric,), trace=False)

    def _recorded(self) -> list[str]:
        """Returns the metrics of the runs that confirm."""
        asked = self.problem.metric_names if self.record.metrics is None else self.record.metrics
        return list(dict.fromkeys([*asked, *(self.experiment.record.metrics or ())]))

    def _labels(self) -> list[str]:
        hidden = {"step_size", *(key for grid in self.grids for key in grid.tried)}
        defaults = default_labels([grid.combinations[0].method for grid in self.grids], hidden)
        labels = [grid.label or default for grid, default in zip(self.grids, defaults, strict=True)]
        for position, label in enumerate(labels):
            if label in labels[:position]:
                raise InvalidInput(f"methods[{position}].label", f"{label!r} is taken", "labels that differ")
        return labels

    def _experiment(
        self, methods: Sequence[Method], labels: Sequence[str], seeds: Sequence[int], record: Record
    ) -> Experiment:
        experiment = Experiment(
            methods, self.problem, self.workers, self.until, self.fleet, record, seeds, labels, self.force,
            modules=self.modules,
        )  # fmt: skip
        if self.problem_config is not None:
            experiment.config = {**describe(experiment), "problem": self.problem_config}
        return experiment
