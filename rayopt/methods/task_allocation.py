"""What the methods share that choose, at every iteration, how many gradients each worker computes."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import at_least
from rayopt.core.tasks import Series
from rayopt.methods.base import Array, Fleet, Method
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters
from rayopt.theory.allocation import exploring_allocation

Allocation = NDArray[np.integer]


class TaskAllocation(Method):
    """A minibatch of B gradients at x^k, worker i computes a_i^k of them, those without a task stand idle.

    A subclass says how: :meth:`allocate`. The server waits for all that it chose.

    Args:
      step_size: gamma.
      batch_size: B, the tasks of one iteration.
    """

    tasks_are_gradients = False

    def __init__(self, step_size: StepSize, batch_size: int, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.batch_size = at_least("batch_size", batch_size, 1)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.task_allocation(setting)

    def allocate(self, fleet: Fleet) -> Allocation:
        """Returns a^k: how many gradients each worker computes, shape (n,), with the sum B."""
        raise NotImplementedError

    def observe(self, arrival: Arrival) -> None:
        """Learns from how long a worker took; most methods do not."""

    def start(self, fleet: Fleet) -> None:
        self.hand_out(fleet)

    def hand_out(self, fleet: Fleet) -> None:
        allocation = self.allocate(fleet)
        chosen = np.flatnonzero(allocation)
        self.batch = GradientSum()
        self.missing = len(chosen)
        counts = allocation[chosen].tolist()
        series = {count: Series(self.x, self.updates, count) for count in set(counts)}
        fleet.assign(chosen, [series[count] for count in counts])

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.batch.add(arrival, weight=arrival.task.count)
        self.observe(arrival)
        self.missing -= 1
        if self.missing == 0:
            self.descend(self.batch.sum() / self.batch_size)
            self.hand_out(fleet)


class AdaptiveAllocation(TaskAllocation):
    """A task allocation by scores: optimistic estimates of the mean times, learned from what the workers took.

    Workers that were never tried have one task each, in random order. While a score is 0, the other tasks are
    spread evenly over the workers with score 0; else the allocation is the best one for the scores.
    """

    def start(self, fleet: Fleet) -> None:
        self.tasks_done: Array = np.zeros(fleet.n)
        self.seconds_taken: Array = np.zeros(fleet.n)
        super().start(fleet)

    def observe(self, arrival: Arrival) -> None:
        self.tasks_done[arrival.worker] += arrival.task.count
        self.seconds_taken[arrival.worker] += arrival.completed_at - arrival.assigned_at

    def allocate(self, fleet: Fleet) -> Allocation:
        tasks_done = np.maximum(self.tasks_done, 1.0)
        ratio = math.log(2.0 * (self.updates + 1) ** 2) / tasks_done
        scores = self.scores(self.seconds_taken / tasks_done, np.sqrt(ratio) + ratio)
        return exploring_allocation(scores, self.tasks_done > 0, self.batch_size, fleet.random)

    def scores(self, means: Array, width: Array) -> Array:
        """Returns s_i^k >= 0, shape (n,).

        Args:
          means: of the times that each worker took, shape (n,).
          width: sqrt(ln(2 k^2) / K_i) + ln(2 k^2) / K_i, shape (n,), k counting from 1.
        """
        raise NotImplementedError
