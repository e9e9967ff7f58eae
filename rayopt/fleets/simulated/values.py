"""Values in virtual time: computed when a method asks for them, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.compression.draws import Draws
from rayopt.core.arrivals import Array, Arrival, sum_one_by_one
from rayopt.core.keys import Stream
from rayopt.core.lookahead import Lookahead
from rayopt.core.tasks import Component, Gradient
from rayopt.problems.base import Problem

Upcoming = tuple[Gradient, int, int]
"""Task, worker and task number of an arrival that is still to come."""


class Group(NamedTuple):
    """Tasks at one point, and what each weighs in their sum.

    Attributes:
      task: one of them; the others differ from it in nothing that is computed.
      workers: shape (m,).
      numbers: the workers' task numbers, shape (m,).
      weights: shape (m,).
    """

    task: Gradient
    workers: NDArray[np.integer]
    numbers: NDArray[np.integer]
    weights: Array


class ComputedValues:
    """Computes the values of arrivals (see ``rayopt.core.arrivals.Source``).

    Args:
      problem: split over the workers.
      workers: how many there are.
      seed: addresses the samples.
    """

    adds_as_they_come = False
    looks_ahead = False
    """Whether a value that is asked for tells of those that will be."""
    requested = 0
    """Values that were computed ahead of the question."""
    taken = 0
    """Those of them that were asked for."""

    @property
    def wasted(self) -> int:
        """Values that were computed ahead and that nobody has asked for."""
        return self.requested - self.taken

    def __init__(self, problem: Problem, workers: int, seed: int) -> None:
        self._problem = problem
        self._samples = Stream(seed, "sample")
        self._draws = Draws(seed)
        self._next_samples = Lookahead(workers, self._draw_samples)

    def state(self) -> dict[Any, Any]:
        """Returns what a run goes on from: counts of values computed ahead, and those that are kept."""
        return {"requested": self.requested, "taken": self.taken}

    def restore(self, state: dict[Any, Any]) -> None:
        """Goes on from what :meth:`state` returned."""
        self.requested, self.taken = state.get("requested", 0), state.get("taken", 0)

    def value(self, arrival: Arrival) -> Array:
        """Computes the value of one arrival."""
        return self._as_sent(arrival, self.value_of(arrival.task, arrival.worker, arrival.number))

    def _as_sent(self, arrival: Arrival, value: Array) -> Array:
        """Returns the value of a task as it arrives: compressed if its task says so."""
        if arrival.task.compressor is None:
            return value
        return self._draws.compress(value, arrival.task, arrival.worker, arrival.number, arrival.message)

    def sum_of_messages(self, arrival: Arrival, count: int) -> Array:
        """Returns the sum of the first ``count`` messages of the task of an arrival."""
        task, worker, number = arrival.task, arrival.worker, arrival.number
        found = self.value_of(task, worker, number)
        return found * count if task.compressor is None else self._draws.sum(found, task, worker, number, count)

    def value_of(self, task: Gradient, worker: int, number: int) -> Array:
        """Computes what a worker's task brings."""
        # Only tasks of one stochastic gradient draw as the look-ahead does: a local step draws by a key of its own.
        if task.count != 1 or not task.estimates_gradient:
            return task.evaluate(self._problem, task.draw(self._problem, worker, self._samples.key(worker, number)))
        return task.evaluate(self._problem, self._next_samples.get(worker, number))

    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        """Returns sum_j weights[j] * value of arrival j, one product for all that were asked at one point."""
        if any(arrival.task.compressor is not None for arrival in arrivals):
            return sum_one_by_one(arrivals, weights)
        sums = self._sums(self._groups(arrivals, weights))
        return sums[0] if len(sums) == 1 else np.sum(sums, axis=0)

    def sum_of_group(
        self, task: Gradient, workers: NDArray[np.integer], numbers: NDArray[np.integer], weights: Array
    ) -> Array:
        """Returns sum_j weights[j] * what the task ``numbers[j]`` of ``workers[j]`` brings, in one product."""
        if self._is_exact(task):
            return float(weights.sum()) * self._problem.full_gradient(task.x)
        keys = self._samples.keys(workers, numbers)
        return task.evaluate_sum(self._problem, task.draw_many(self._problem, workers, keys), weights)

    def _sums(self, groups: Sequence[Group]) -> list[Array]:
        return [self.sum_of_group(*group) for group in groups]

    def _groups(self, arrivals: Sequence[Arrival], weights: Array) -> list[Group]:
        """Returns the arrivals by point, in order of the first of each."""
        if isinstance(arrivals[0].task, Component):
            return _merged(arrivals, weights)
        group_of = {task: self._group(task) for task in {arrival.task for arrival in arrivals}}
        if len(group_of) == 1:
            return [_group(arrivals, weights)]
        groups: dict[Any, list[int]] = {}
        for position, arrival in enumerate(arrivals):
            groups.setdefault(group_of[arrival.task], []).append(position)
        return [_group([arrivals[position] for position in members], weights[members]) for members in groups.values()]

    def _group(self, task: Gradient) -> Any:
        return id(task.x) if self._is_exact(task) else task.group

    def _is_exact(self, task: Gradient) -> bool:
        return self._problem.exact and task.estimates_gradient

    def samples(self, workers: NDArray[np.integer], numbers: NDArray[np.integer]) -> Sequence[Any]:
        """Returns the samples of tasks of one stochastic gradient each."""
        if len(workers) == 1:
            worker = int(workers[0])
            return [self._problem.draw(worker, self._samples.key(worker, int(numbers[0])))]
        return _listed(self._problem.draw_many(workers, self._samples.keys(workers, numbers)))

    def _draw_samples(self, worker: int, first: int, size: int) -> Sequence[Any]:
        """Returns the samples of a worker's next tasks of one stochastic gradient."""
        if size == 1:
            return [self._problem.draw(worker, self._samples.key(worker, first))]
        return _listed(self._problem.draw_many(np.full(size, worker), self._samples.keys_of(worker, first, size)))


class LookingAhead(ComputedValues):
    """Knows which values of the next arrivals will be asked for.

    Args:
      problem: split over the workers.
      workers: how many there are.
      seed: addresses the samples.
      upcoming: returns (task, worker, number) of so many of the next arrivals.
      would_use: whether the method would ask for the value of a task after so many more updates.
    """

    looks_ahead = True

    def __init__(
        self,
        problem: Problem,
        workers: int,
        seed: int,
        upcoming: Callable[[int], Sequence[Upcoming]],
        would_use: Callable[[Gradient, int], bool],
    ) -> None:
        super().__init__(problem, workers, seed)
        self._upcoming = upcoming
        self._would_use = would_use

    def _of_use(self, upcoming: Sequence[Upcoming]) -> Iterator[Upcoming]:
        """Yields those of the next arrivals whose values the method would ask for."""
        # What is asked for now makes an update, and so does each that is used before the next one.
        later = 1
        for task, worker, number in upcoming:
            if self._would_use(task, later):
                later += 1
                yield task, worker, number


def _listed(samples: Any) -> Any:
    """Returns samples so that each is what a draw of one is: numbers of Python, where they are numbers."""
    return samples.tolist() if np.ndim(samples) == 1 else samples


def _merged(arrivals: Sequence[Arrival], weights: Array) -> list[Group]:
    """Returns arrivals whose components the server has chosen, one task for all of one point."""
    groups: dict[Any, list[int]] = {}
    for position, arrival in enumerate(arrivals):
        groups.setdefault(arrival.task.group, []).append(position)
    found = []
    for members in groups.values():
        tasks: list[Any] = [arrivals[position].task for position in members]
        first = arrivals[members[0]]
        own = np.array([first.worker]), np.array([first.number])
        found.append(Group(tasks[0].merged(tasks, weights[members]), *own, np.ones(1)))
    return found


def _group(arrivals: Sequence[Arrival], weights: Array) -> Group:
    workers = np.array([arrival.worker for arrival in arrivals])
    return Group(arrivals[0].task, workers, np.array([arrival.number for arrival in arrivals]), weights)
