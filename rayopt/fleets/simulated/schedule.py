"""The next arrivals of workers that begin another task as soon as one has ended, all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, ArrivalBlock
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.problems.base import Problem

Array = NDArray[np.float64]
# A plan holds no more than about so many times the arrivals that are asked for.
SPARE = 32
# Tasks of a worker that are looked at together, at most.
ROUNDS = 64
# Samples that are drawn together, where one arrival after the other is used.
SAMPLES = 128


class Schedule(NamedTuple):
    """Arrivals in order, if each of their workers begins one stochastic gradient more whenever a task has ended.

    Attributes:
      times: fleet seconds, shape (m,), in order; of equal ones that of the lower worker first.
      workers: shape (m,).
      numbers: of the tasks that end, shape (m,).
      assigned_at: fleet seconds at which they began, shape (m,).
      next_ends: fleet seconds at which the tasks that begin then will end, shape (m,).
      next_numbers: theirs, shape (m,).
      previous: position of the arrival before of the same worker, negative if there is none, shape (m,).
    """

    times: Array
    workers: NDArray[np.integer]
    numbers: NDArray[np.integer]
    assigned_at: Array
    next_ends: Array
    next_numbers: NDArray[np.integer]
    previous: NDArray[np.integer]

    def part(self, first: int, last: int) -> Schedule:
        """Returns the arrivals from ``first`` to before ``last``."""
        times, workers, numbers, assigned_at, next_ends, next_numbers, previous = self
        chosen = slice(first, last)
        return Schedule(times[chosen], workers[chosen], numbers[chosen], assigned_at[chosen], next_ends[chosen],
                        next_numbers[chosen], previous[chosen] - first)  # fmt: skip


def planned(
    chosen: NDArray[np.integer],
    horizon: float,
    first: tuple[Array, Array, NDArray[np.integer], NDArray[np.integer]],
    seconds: Callable[[NDArray[np.integer], NDArray[np.integer], Array], Array],
    deep: int,
    most: int,
) -> Schedule:
    """Returns the arrivals of some workers up to a time.

    Args:
      chosen: workers whose tasks end by the horizon, shape (m,).
      horizon: fleet seconds; earlier if there are more than ``SPARE * most`` arrivals up to it.
      first: ends, begins and numbers of the tasks that run, and the numbers of those that follow, each of shape (m,).
      seconds: given (workers, numbers, starts), returns durations.
      deep: how many tasks of each worker are looked at together at first; 0 if durations are known only when their
        starts are, so that it is one after the other.
      most: how many arrivals are asked for.
    """
    ends, began, numbers, following = first
    active = np.arange(len(chosen))
    found: list[tuple[Any, ...]] = []
    count = 0
    while active.size and count <= SPARE * most:
        workers = chosen[active]
        steps = np.empty((max(deep, 1) + 1, len(active)))
        steps[0] = ends
        if not deep:
            steps[1] = seconds(workers, following, ends)
        else:
            tasks = following + np.arange(deep)[:, np.newaxis]
            steps[1:] = seconds(np.tile(workers, deep), tasks.ravel(), ends[0]).reshape(deep, -1)
            # Who has had so many tasks may have as many again: no more than half is looked at in vain.
            deep = min(2 * deep, ROUNDS)
        # Added one after the other, as single events add them.
        rounds = np.add.accumulate(steps, axis=0)
        row, column = np.nonzero(rounds[:-1] <= horizon)
        is_first = row == 0
        numbered = following[column] + row
        found.append((
            rounds[row, column], workers[column], np.where(is_first, numbers[column], numbered - 1),
            np.where(is_first, began[column], rounds[row - 1, column]), rounds[row + 1, column], numbered,
        ))  # fmt: skip
        count += len(row)
        left = rounds[-1] <= horizon
        done = len(rounds) - 1
        active, ends, began = active[left], rounds[-1, left], rounds[-2, left]
        numbers, following = following[left] + done - 1, following[left] + done
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    if active.size:
        is_known = columns[0] < ends.min()
        columns = [column[is_known] for column in columns]
    order = np.lexsort((columns[1], columns[0]))
    times, workers, *others = (column[order] for column in columns)
    return Schedule(times, workers, *others, _previous(workers))  # type: ignore[call-arg]


def _previous(workers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Returns the position of the arrival before of the same worker, -1 if there is none."""
    by_worker = np.argsort(workers, kind="stable")
    found = np.full(len(workers), -1)
    is_same = workers[by_worker[1:]] == workers[by_worker[:-1]]
    found[by_worker[1:][is_same]] = by_worker[:-1][is_same]
    return found


class AnsweredArrival(Arrival):
    """An arrival of a part of a schedule, which knows what is seldom asked for."""

    __slots__ = ("position",)

    ok = True
    source: AnsweredValues

    def __init__(self, worker: int, time: float, task: Any, source: AnsweredValues, position: int) -> None:
        # Not by the class above: there are many of these.
        self.worker = worker
        self.time = time
        self.task = task
        self.source = source
        self.position = position
        self.used = False
        self._value = None

    @property
    def completed_at(self) -> float:  # type: ignore[override]
        """Fleet seconds at which the worker was done: those of the delivery."""
        return self.time

    @property
    def assigned_at(self) -> float:  # type: ignore[override]
        """Fleet seconds at which the task was given to the worker."""
        return float(self.source.part.assigned_at[self.position])

    @property
    def number(self) -> int:  # type: ignore[override]
        """The worker's task number, from 0."""
        return int(self.source.part.numbers[self.position])

    @property
    def value(self) -> Array:
        """The stochastic gradient, the shape of the task's x. Asking for it makes the arrival used."""
        self.used = True
        if self._value is None:
            source, position = self.source, self.position
            try:
                sample = source.samples[position]
            except KeyError:
                sample = source.draw(position)
            self._value = self.task.evaluate(source.problem, sample)
        return self._value


class AnsweredValues:
    """The values of a part of a schedule: computed when they are asked for, the samples drawn many at once.

    Args:
      part: the arrivals.
      problem: split over the workers.
      source: what the values are those of.

    Attributes:
      part: the arrivals.
      problem: the same.
      samples: those that were drawn, by the position of their arrival in the part.
    """

    def __init__(self, part: Schedule, problem: Problem, source: ComputedValues) -> None:
        self._source = source
        self._next = 0
        self.part = part
        self.problem = problem
        self.samples: dict[int, Any] = {}

    def draw(self, position: int) -> Any:
        """Returns the sample of an arrival; draws many if those before it were asked for too."""
        chosen = slice(position, position + (SAMPLES if position == self._next else 1))
        drawn = self._source.samples(self.part.workers[chosen], self.part.numbers[chosen])
        self._next = position + len(drawn)
        self.samples.update(enumerate(drawn, position))
        return drawn[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


class Answers:
    """A fleet as a method sees it that answers each arrival by one task of the worker that it came from.

    Args:
      fleet: which it is, for all else.
      tasks: of the workers, an array of objects.
    """

    def __init__(self, fleet: Any, tasks: NDArray[Any]) -> None:
        self._fleet = fleet
        self.assign = tasks.__setitem__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fleet, name)


class Answered(NamedTuple):
    """Arrivals that a method has received and answered.

    Attributes:
      block: the arrivals.
      used: whether their values were asked for, shape (m,).
      before: number of updates when each came, shape (m,).
      after: number of updates after it, shape (m,).
    """

    block: ArrivalBlock
    used: NDArray[np.bool_]
    before: NDArray[np.integer]
    after: NDArray[np.integer]
