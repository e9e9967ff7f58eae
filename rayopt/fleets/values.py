"""Values in virtual time: computed when a method asks for them, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rayopt.arrival import Array, Arrival
from rayopt.keys import Stream
from rayopt.lookahead import Lookahead
from rayopt.problems.base import Problem
from rayopt.tasks import Gradient


class ComputedValues:
    """Computes the values of arrivals (see ``rayopt.arrival.Source``).

    Args:
      problem: split over the workers.
      workers: how many there are.
      seed: addresses the samples.
    """

    def __init__(self, problem: Problem, workers: int, seed: int) -> None:
        self._problem = problem
        self._samples = Stream(seed, "sample")
        self._next_samples = Lookahead(workers, self._draw_samples)

    def value(self, arrival: Arrival) -> Array:
        """Computes the value of one arrival."""
        task = arrival.task
        # Only tasks of one stochastic gradient draw as the look-ahead does: a local step draws by a key of its own.
        if task.count != 1 or not task.estimates_gradient:
            key = self._samples.key(arrival.worker, arrival.number)
            return task.evaluate(self._problem, task.draw(self._problem, arrival.worker, key))
        return task.evaluate(self._problem, self._next_samples.get(arrival.worker, arrival.number))

    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        """Returns sum_j weights[j] * value of arrival j, one product for all that were asked at one point."""
        group_of = {task: self._group(task) for task in {arrival.task for arrival in arrivals}}
        if len(group_of) == 1:
            return self._sum_of_group(arrivals, weights)
        groups: dict[Any, list[int]] = {}
        for position, arrival in enumerate(arrivals):
            groups.setdefault(group_of[arrival.task], []).append(position)
        sums = [
            self._sum_of_group([arrivals[position] for position in members], weights[members])
            for members in groups.values()
        ]
        return sums[0] if len(sums) == 1 else np.sum(sums, axis=0)

    def _group(self, task: Gradient) -> Any:
        return id(task.x) if self._is_exact(task) else task.group

    def _is_exact(self, task: Gradient) -> bool:
        return self._problem.exact and task.estimates_gradient

    def _sum_of_group(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        task = arrivals[0].task
        if self._is_exact(task):
            return float(weights.sum()) * self._problem.full_gradient(task.x)
        workers = np.array([arrival.worker for arrival in arrivals])
        keys = self._samples.keys(workers, np.array([arrival.number for arrival in arrivals]))
        return task.evaluate_sum(self._problem, task.draw_many(self._problem, workers, keys), weights)

    def _draw_samples(self, worker: int, first: int, size: int) -> Sequence[Any]:
        """Returns the samples of a worker's next tasks of one stochastic gradient."""
        if size == 1:
            return [self._problem.draw(worker, self._samples.key(worker, first))]
        samples = self._problem.draw_many(np.full(size, worker), self._samples.keys_of(worker, first, size))
        return samples.tolist() if np.ndim(samples) == 1 else samples
