"""Virtual order, parallel gradients: values of the next arrivals are computed before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from rayopt.core.arrivals import Array, Arrival
from rayopt.core.errors import NotBegun
from rayopt.core.tasks import Gradient, weighted_total
from rayopt.fleets.base import Job, OnCheckpoint, OnProgress, OnTrace, forget
from rayopt.fleets.ray.shard_loading import ship_modules
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.fleets.simulated.parallel.calculators import Calculators, Stopped
from rayopt.fleets.simulated.session import SimulatedSession
from rayopt.fleets.simulated.values import Group, LookingAhead, Upcoming
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import OnEvent, disregard
from rayopt.runs.outcome import INTERRUPTED, Outcome
from rayopt.runs.recorder import Recorder

AHEAD = 2
"""Values in work for each process: while it computes one, the next is already there."""
KEPT = 4
"""So many times that number of values are kept which nobody has asked for yet."""


class ParallelValues(LookingAhead):
    """Has values computed by other processes, ahead of time where it can be known what will be asked for.

    A method that asks for single values (ASGD, Ringmaster) will ask for those of the next arrivals: they are requested
    while it waits. A sum over one point is one product, which can be made only when it is known what belongs to it; but
    the products of a sum over several points, and local steps, are made side by side. So the bits are those of one
    process, which computes each value alone, and each sum by the same products.

    Args:
      problem: split over the workers.
      workers: how many there are.
      seed: addresses the samples.
      calculators: they have the problem already.
      upcoming: returns (task, worker, number) of so many of the next arrivals.
      would_use: whether the method would ask for the value of a task after so many more updates.
    """

    def __init__(
        self,
        problem: Problem,
        workers: int,
        seed: int,
        calculators: Calculators,
        upcoming: Callable[[int], Sequence[Upcoming]],
        would_use: Callable[[Gradient, int], bool],
    ) -> None:
        super().__init__(problem, workers, seed, upcoming, would_use)
        self._calculators = calculators
        self._depth = AHEAD * len(calculators.actors)
        self._answers: dict[tuple[int, int], Any] = {}
        self._asks_for_single_values = False

    def value(self, arrival: Arrival) -> Array:
        """Returns the value of one arrival."""
        if not arrival.task.can_travel:
            return super().value(arrival)
        self._asks_for_single_values = True
        answer = self._take(arrival.task, arrival.worker, arrival.number)
        self._look_ahead()
        return self._as_sent(arrival, self._calculators.collect(answer))

    def _sums(self, groups: Sequence[Group]) -> list[Array]:
        in_parts = any(group.task.sums_one_by_one and not self._is_exact(group.task) for group in groups)
        self._asks_for_single_values = in_parts
        if len(groups) == 1 and not in_parts:
            return super()._sums(groups)
        answers = self._side_by_side(groups)
        return [self._collect(group, answers) for group in groups]

    def _collect(self, group: Group, answers: Iterator[Any]) -> Array:
        collect = self._calculators.collect
        if self._is_whole(group):
            return collect(next(answers))
        return weighted_total(group.task.x, (collect(next(answers)) for _ in group.weights), group.weights)

    def _is_whole(self, group: Group) -> bool:
        return self._is_exact(group.task) or not group.task.sums_one_by_one

    def _side_by_side(self, groups: Iterable[Group]) -> Iterator[Any]:
        """Yields the answers to all parts of the sums in order; the next ones are always in work already."""
        window: list[Any] = []
        for make in self._requests(groups):
            window.append(make())
            if len(window) > self._depth:
                yield window.pop(0)
        self._look_ahead()
        yield from window

    def state(self) -> dict[Any, Any]:
        # What is on its way is requested again.
        return {"requested": self.requested - len(self._answers), "taken": self.taken}

    def _requests(self, groups: Iterable[Group]) -> Iterator[Callable[[], Any]]:
        for group in groups:
            if self._is_whole(group):
                yield partial(self._calculators.sum_of_group, group)
            else:
                for worker, number in zip(group.workers.tolist(), group.numbers.tolist(), strict=True):
                    yield partial(self._take, group.task, worker, number)

    def _take(self, task: Gradient, worker: int, number: int) -> Any:
        """Returns the answer with a value that is asked for now."""
        if (worker, number) not in self._answers:
            self._request(task, worker, number)
        self.taken += 1
        return self._answers.pop((worker, number))

    def _request(self, task: Gradient, worker: int, number: int) -> None:
        self._answers[worker, number] = self._calculators.value(task, worker, number)
        self.requested += 1

    def _look_ahead(self) -> None:
        """Requests the values of the next arrivals; forgets the oldest ones that were not asked for."""
        if not self._asks_for_single_values:
            return
        upcoming = self._upcoming(self._depth)
        for task, worker, number in self._of_use(upcoming):
            if task.can_travel and (worker, number) not in self._answers:
                self._request(task, worker, number)
        if len(self._answers) > KEPT * self._depth:
            needed = {(worker, number) for _, worker, number in upcoming}
            old = [key for key in self._answers if key not in needed]
            for key in old[: len(self._answers) - KEPT * self._depth]:
                del self._answers[key]


class ParallelSession(SimulatedSession):
    """Runs jobs in virtual time, their values computed on Ray (see ``rayopt.fleets.base.Session``).

    Args:
      problem: the oracle, not yet split.
      workers: how many, and how fast.
      calculators: the processes; they end with the session.
      at_end: called after that.
      blas_threads: of each process.
    """

    def __init__(
        self,
        problem: Problem,
        workers: Workers,
        calculators: Calculators,
        at_end: Callable[[], None],
        blas_threads: int = 1,
    ) -> None:
        super().__init__(problem, workers, blas_threads)
        self._calculators = calculators
        self._at_end = at_end
        self._loaded_seed: int | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calculators.close()
        self._at_end()

    def run(
        self,
        job: Job,
        on_trace: OnTrace,
        on_progress: OnProgress,
        on_checkpoint: OnCheckpoint = forget,
        on_event: OnEvent = disregard,
    ) -> Outcome:
        """Runs one job to its end.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
          NotBegun: it was to end while the processes were still loaded.
          WorkerLost: a process died over the same work again and again.
        """
        before = self._calculators.losses
        try:
            outcome = super().run(job, on_trace, on_progress, on_checkpoint, on_event)
        except Stopped:
            raise NotBegun from None
        except Exception:
            # What it has asked for, and what may be wrong with it, is not to meet the next run.
            self._loaded_seed = None
            raise
        finally:
            self._calculators.go_on()
        outcome.faults.restarts = self._calculators.losses - before
        return outcome

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job at its next arrival, or soon if that takes long."""
        super().stop(reason)
        self._calculators.stop()

    def _serve(self, method: Method, fleet: SimulatedWorkers, recorder: Recorder) -> None:
        try:
            super()._serve(method, fleet, recorder)
        except Stopped:
            recorder.end()

    def _make_fleet(self, problem: Problem, job: Job) -> SimulatedWorkers:
        ship_modules(job.method)
        fleet = super()._make_fleet(problem, job)
        if self._loaded_seed != job.seed:
            self._loaded_seed = None
            self._calculators.load(problem, fleet.n, job.seed)
            self._loaded_seed = job.seed
        fleet.source = ParallelValues(
            problem, fleet.n, job.seed, self._calculators, fleet.upcoming, job.method.would_use
        )
        return fleet


def open_session(
    problem: Problem, workers: Workers, processes: int | None, address: str | None, blas_threads: int
) -> ParallelSession:
    """Connects to Ray and starts the processes; by default as many as the cluster has CPUs."""
    import ray

    from rayopt.fleets.ray.connection import connect

    owns_connection = connect(address)
    count = processes or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    at_end = ray.shutdown if owns_connection else lambda: None
    return ParallelSession(problem, workers, Calculators(count), at_end, blas_threads)
