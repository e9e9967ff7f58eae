"""A fleet that delivers what another one delivered, in the same order and at the same times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Alarm, Arrival, MessageArrival, Source, sum_one_by_one
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient
from rayopt.fleets.ray.messages import Order, Profile
from rayopt.fleets.ray.task_executor import TaskExecutor
from rayopt.latency.workers import TaskTimes
from rayopt.problems.base import Problem

Array = NDArray[np.float64]


class Event(NamedTuple):
    """A row of a trace.

    Attributes:
      time: fleet seconds.
      worker: its number.
      number: of the task.
      assigned_at: fleet seconds.
      version: of the task.
      outcome: used, ignored, cancelled or failed.
      updates: k after it.
      completed_at: fleet seconds.
      checksum: the sum of x after it; NaN where none was recorded.
      message: its number among those of its task.
      sender: of a message between nodes; of an edge that has become free, where it leads; -1 for others.
      kind: of a message between nodes, or "".
    """

    time: float
    worker: int
    number: int
    assigned_at: float
    version: int
    outcome: str
    updates: int
    completed_at: float
    checksum: float
    message: int = 0
    sender: int = -1
    kind: str = ""


class ReplayMismatch(Exception):
    """An event of the trace that cannot be one of this method: the method had asked for something else."""


class ReplayedWorkers:
    """The workers of a recorded run, as its method sees them.

    Args:
      times: the workers' times as the server knows them.
      shard_sizes: rows of data of each worker, shape (n,); None if all have the same.
      seed: addresses the method's own generator.
      source: computes the values.
      alarms_first: whether an alarm comes before an arrival of the same time.

    Attributes:
      cancelled: (worker, number, version) of what was cancelled since the list was last cleared.
    """

    def __init__(
        self, times: TaskTimes, shard_sizes: NDArray[np.integer] | None, seed: int, source: Source, alarms_first: bool
    ) -> None:
        self.n = times.n
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.shard_sizes = shard_sizes
        self.cancelled: list[tuple[int, int, int]] = []
        self._times = times
        self._source = source
        self._alarms_first = alarms_first
        self._given = [0] * self.n
        self._running: dict[int, tuple[int, Gradient]] = {}
        self._alarms: list[tuple[float, int, float]] = []

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Notes the task of one worker or of an array of workers (or one task each)."""
        chosen = np.atleast_1d(np.asarray(workers)).tolist()
        tasks = [task] * len(chosen) if isinstance(task, Gradient) else task
        self.cancel(np.array(chosen))
        for worker, own in zip(chosen, tasks, strict=True):
            self._running[worker] = (self._given[worker], own)
            self._given[worker] += own.draws

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Notes that the workers are stopped."""
        for worker in np.atleast_1d(np.asarray(workers)).tolist():
            if worker in self._running:
                number, task = self._running.pop(worker)
                self.cancelled.append((worker, number, task.version))

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, both of shape (n,)."""
        return self._times.probability_within(seconds)

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message of each worker; None if they are not known."""
        return self._times.expected_parts(compressor)

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` after so many fleet seconds."""
        heappush(self._alarms, (self.now + seconds, len(self._alarms), self.now))

    def alarm(self, until: float, before_arrival: bool = False) -> Alarm | None:
        """Returns the next alarm up to a time, or None."""
        if not self._alarms:
            return None
        due = self._alarms[0][0]
        if due > until or (before_arrival and due == until and not self._alarms_first):
            return None
        _, _, set_at = heappop(self._alarms)
        self.now = due
        return Alarm(due, set_at)

    def has(self, event: Event) -> bool:
        """Returns whether the worker of an event has its task."""
        return self._running.get(event.worker, (None, None))[0] == event.number

    def deliver(self, event: Event) -> Arrival:
        """Returns the arrival that an event of the trace was.

        Raises:
          ReplayMismatch: the worker has another task, or none.
        """
        number, task = self._running.get(event.worker, (None, None))
        is_last = task is None or event.message == task.messages - 1
        if is_last:
            self._running.pop(event.worker, None)
        if task is None or (number, task.version) != (event.number, event.version):
            has = "no task" if task is None else f"its task {number}, given at k = {task.version}"
            raise ReplayMismatch(f"task {event.number} of k = {event.version} arrives, and the worker has {has}")
        self.now = event.time
        given = (event.worker, event.time, event.assigned_at, task, event.number, self._source)
        arrival = Arrival(*given)
        if task.messages > 1:
            arrival = several = MessageArrival(*given)
            several.message, several.is_last = event.message, is_last
        if not math.isnan(event.completed_at):
            arrival.completed_at = event.completed_at
        arrival.ok = event.outcome != "failed"
        return arrival


class WorkersValues:
    """Values as the workers of a real-time run compute them: each alone, on its own shard; sums one by one.

    Args:
      problem: split over the workers.
      times: of the workers.
      seed: addresses the samples.
    """

    adds_as_they_come = True

    def __init__(self, problem: Problem, times: TaskTimes, seed: int) -> None:
        self._problem = problem
        self._times = times
        self._seed = seed
        self._executors: dict[int, TaskExecutor] = {}

    def value(self, arrival: Arrival) -> Array:
        """Computes the value of one arrival."""
        worker: Any = arrival.worker
        if worker not in self._executors:
            executor = self._executors[worker] = TaskExecutor()
            profile = Profile(self._problem.shard(worker), self._times, self._seed, 1.0)
            executor.load(profile, shares_clock=True, warm_up=False)
        order = Order(worker, 0, arrival.number, arrival.task, arrival.assigned_at, 0.0, arrival.message)
        return self._executors[worker].sent_value(order)

    def sum_of_messages(self, arrival: Arrival, count: int) -> Array:
        """Not asked for: messages are added as they come."""
        raise NotImplementedError

    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        """Returns sum_j weights[j] * value of arrival j, added one by one in arrival order."""
        return sum_one_by_one(arrivals, weights)
