"""Actors that compute values for the virtual clock, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from threadpoolctl import ThreadpoolController, threadpool_info

from rayopt.arrival import Array
from rayopt.fleets.ray.cargo import carry_modules
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.messages import INLINE_BYTES
from rayopt.fleets.values import ComputedValues, Group
from rayopt.problems.base import Problem
from rayopt.tasks import Gradient

RETRIES = 3
"""So often a value is computed anew when its process died; a task that kills its process every time is an error."""

CLOSE_SECONDS = 2.0
"""Real seconds that the end waits for what is still computed."""


class Assignment(NamedTuple):
    """What a calculator must know of a run; it comes with every request, as a process that is new knows nothing.

    Attributes:
      problem: reference to a list with the problem, split over the workers.
      workers: how many there are.
      seed: addresses the samples.
      threads: by the file name of a library (NumPy and SciPy bring an OpenBLAS each), how many threads it has in the
        driver: a product in more or fewer parts may have other bits.
    """

    problem: Any
    workers: int
    seed: int
    threads: Mapping[str, int]


class Calculator:
    """The actor: computes values one after the other, the same bits as the driver would."""

    def __init__(self) -> None:
        self._assignment: Assignment | None = None

    def load(self, assignment: Assignment) -> None:
        """Fetches the problem, if it is another one than before."""
        if assignment != self._assignment:
            (problem,) = ray.get(assignment.problem)
            # After the problem has come: it brings its libraries along.
            for library in ThreadpoolController().lib_controllers:
                if (threads := assignment.threads.get(Path(library.filepath).name)) is not None:
                    library.set_num_threads(threads)
            self._values = ComputedValues(problem, assignment.workers, assignment.seed)
            self._assignment = assignment

    def value(self, assignment: Assignment, task: Gradient, x: Any, worker: int, number: int) -> Array:
        """Returns what a worker's task brings.

        Args:
          assignment: of the run.
          task: with its point, unless that travels apart.
          x: the point, or None.
          worker: whose task it is.
          number: which of the worker's tasks.
        """
        self.load(assignment)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._values.value_of(task if x is None else task.at(x), worker, number)

    def sum_of_group(self, assignment: Assignment, group: Group, x: Any) -> Array:
        """Returns the weighted sum of what the tasks of a group bring, in one product."""
        self.load(assignment)
        with np.errstate(over="ignore", invalid="ignore"):
            task = group.task if x is None else group.task.at(x)
            return self._values.sum_of_group(task, group.workers, group.numbers, group.weights)


class Calculators:
    """Some calculators; a request goes to the one that has the fewest.

    Args:
      count: how many processes.
    """

    def __init__(self, count: int) -> None:
        make: Any = ray.remote
        actor = make(
            num_cpus=0, enable_task_events=False, scheduling_strategy="SPREAD", max_restarts=-1,
            max_task_retries=RETRIES,
        )(Calculator)  # fmt: skip
        self.actors: list[Any] = [actor.remote() for _ in range(count)]
        self._busy: dict[Any, set[Any]] = {actor: set() for actor in self.actors}
        self._stored: tuple[Array | None, Any] = (None, None)

    def load(self, problem: Problem, workers: int, seed: int) -> None:
        """Gives all calculators a run's problem, split over the workers, and waits until they have it."""
        carry_modules(problem)
        threads = {Path(library["filepath"]).name: library["num_threads"] for library in threadpool_info()}
        self._assignment = Assignment(ray.put([problem]), workers, seed, threads)
        for answer in [actor.load.remote(self._assignment) for actor in self.actors]:
            self.collect(answer)

    def value(self, task: Gradient, worker: int, number: int) -> Any:
        """Has a value computed; returns the reference to it."""
        x, task = self._apart(task)
        actor = self._least_busy()
        return self._note(actor, actor.value.remote(self._assignment, task, x, worker, number))

    def sum_of_group(self, group: Group) -> Any:
        """Has the sum of a group computed; returns the reference to it."""
        x, task = self._apart(group.task)
        actor = self._least_busy()
        return self._note(actor, actor.sum_of_group.remote(self._assignment, group._replace(task=task), x))

    def collect(self, reference: Any) -> Any:
        """Waits for a result and returns it, an array that may be written to.

        Raises:
          WorkerLost: the process died, and did so again when the work was repeated.
          Exception: what the problem raised.
        """
        try:
            value = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from error
        except ray.exceptions.RayError as error:
            raise WorkerLost(
                f"a process that computes gradients died {RETRIES + 1} times over the same work: {error}"
            ) from error
        return np.array(value) if isinstance(value, np.ndarray) else value

    def close(self) -> None:
        """Ends the processes; what was requested in vain may end before, as Ray would complain of its loss."""
        if pending := self._pending():
            ray.wait(pending, num_returns=len(pending), timeout=CLOSE_SECONDS)
        for actor in self.actors:
            ray.kill(actor)

    def _apart(self, task: Gradient) -> tuple[Any, Gradient]:
        """Returns a large point as an object of its own, one for all tasks there, and the task without it."""
        if task.x.nbytes < INLINE_BYTES:
            return None, task
        if self._stored[0] is not task.x:
            self._stored = (task.x, ray.put(task.x))
        return self._stored[1], task.at(None)

    def _least_busy(self) -> Any:
        if pending := self._pending():
            done, _ = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
            for own in self._busy.values():
                own.difference_update(done)
        return min(self.actors, key=lambda actor: len(self._busy[actor]))

    def _pending(self) -> list[Any]:
        return [reference for own in self._busy.values() for reference in own]

    def _note(self, actor: Any, reference: Any) -> Any:
        self._busy[actor].add(reference)
        return reference
