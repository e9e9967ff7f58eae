"""Virtual order, gradients in batches: those of the next arrivals are evaluated together, each at its own point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rayopt.core.arrivals import Array, Arrival
from rayopt.core.tasks import Gradient, Trial
from rayopt.fleets.base import Job
from rayopt.fleets.contended import PLAIN, ClockOptions, ContendedWorkers
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.fleets.simulated.session import SimulatedSession
from rayopt.fleets.simulated.values import LookingAhead, Upcoming
from rayopt.latency.workers import Workers
from rayopt.problems.base import Problem, points_of_a_pass

LOOKAHEAD = 32


class BatchedValues(LookingAhead):
    """Evaluates a value that is asked for together with those of the next arrivals, and keeps these.

    What is kept is part of a checkpoint: rounding may depend on which values are evaluated together, so a run goes on
    with the same ones. Sums over one point are one product already and are made as in ``ComputedValues``.

    Args:
      problem: split over the workers.
      workers: how many there are.
      seed: addresses the samples.
      lookahead: how many values are evaluated together at most; fewer of large points.
      upcoming: returns (task, worker, number) of so many of the next arrivals.
      would_use: whether the method would ask for the value of a task after so many more updates.
    """

    def __init__(
        self,
        problem: Problem,
        workers: int,
        seed: int,
        lookahead: int,
        upcoming: Callable[[int], Sequence[Upcoming]],
        would_use: Callable[[Gradient, int], bool],
    ) -> None:
        super().__init__(problem, workers, seed, upcoming, would_use)
        self._lookahead = lookahead
        self._kept: dict[tuple[int, int], Array] = {}

    def state(self) -> dict[Any, Any]:
        return super().state() | {"kept": self._kept}

    def restore(self, state: dict[Any, Any]) -> None:
        if "kept" in state:
            super().restore(state)
            self._kept = dict(state["kept"])
        else:
            # A checkpoint of before: the values alone, by (worker, number).
            self.requested = len(state)
            self._kept = dict(state)

    def value(self, arrival: Arrival) -> Array:
        """Returns the value of one arrival."""
        if not self._is_alone(arrival.task):
            return super().value(arrival)
        if (arrival.worker, arrival.number) not in self._kept:
            self._evaluate(arrival)
        self.taken += 1
        return self._as_sent(arrival, self._kept.pop((arrival.worker, arrival.number)))

    def _is_alone(self, task: Gradient) -> bool:
        """Whether the value of a task is one stochastic gradient at one point."""
        is_plain = type(task) in (Gradient, Trial) and task.count == 1
        return is_plain and task.x.ndim == 1 and not self._is_exact(task)

    def _evaluate(self, arrival: Arrival) -> None:
        chosen = [(arrival.task, arrival.worker, arrival.number)]
        upcoming = self._upcoming(self._lookahead + len(self._kept))
        # What was evaluated for tasks that were cancelled is of no use to anybody.
        running = {(worker, number) for _, worker, number in upcoming}
        most = min(self._lookahead, points_of_a_pass(arrival.task.x.nbytes))
        for task, worker, number in self._of_use(upcoming):
            if len(chosen) < most and (worker, number) not in self._kept and self._is_alone(task):
                chosen.append((task, worker, number))
        self._kept = {key: value for key, value in self._kept.items() if key in running}
        samples = [self._next_samples.get(worker, number) for _, worker, number in chosen]
        evaluate = self._problem.gradients_and_statistics if self._problem.statistics_size else self._problem.gradients
        found = evaluate([task.x for task, _, _ in chosen], samples)
        self.requested += len(chosen)
        for (_, worker, number), value in zip(chosen, found, strict=True):
            self._kept[worker, number] = value


class BatchedSession(SimulatedSession):
    """Runs jobs in virtual time, their values evaluated in batches (see ``rayopt.fleets.base.Session``).

    Args:
      problem: the oracle, not yet split.
      workers: how many, and how fast.
      lookahead: how many values are evaluated together at most.
      blas_threads: of this process.
      options: of the clock.
    """

    def __init__(
        self, problem: Problem, workers: Workers, lookahead: int, blas_threads: int = 1,
        options: ClockOptions = PLAIN,
    ) -> None:  # fmt: skip
        super().__init__(problem, workers, blas_threads, options)
        self._lookahead = lookahead

    def _make_fleet(self, problem: Problem, job: Job) -> Any:
        fleet = super()._make_fleet(problem, job)
        if isinstance(fleet, SimulatedWorkers | ContendedWorkers):
            fleet.source = BatchedValues(
                problem, fleet.n, job.seed, self._lookahead, fleet.upcoming, job.method.would_use
            )
        return fleet
