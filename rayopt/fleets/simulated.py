"""The virtual clock: a discrete-event simulation of a fleet in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.arrival import Alarm, Arrival
from rayopt.errors import FleetStuck
from rayopt.fleets.base import Job, OnProgress, OnTrace
from rayopt.keys import Stream
from rayopt.lookahead import Lookahead
from rayopt.loop import serve
from rayopt.problems.base import Problem
from rayopt.recording import Outcome, Recorder
from rayopt.tasks import Gradient
from rayopt.workers import TaskTimes, Workers

Array = NDArray[np.float64]
Item = tuple[float, int, int, Any, Any]

IDLE = -1
FIRST_SLICE = 64


class SimulatedFleet:
    """Virtual time: a discrete-event simulation in one process, exact and reproducible to the bit."""

    name: ClassVar[str] = "simulated"

    def open(self, problem: Problem, workers: Workers) -> SimulatedSession:
        """Returns a session, to be used in a ``with`` statement."""
        return SimulatedSession(problem, workers)

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        return {"name": self.name}

    def __repr__(self) -> str:
        return "SimulatedFleet()"


class SimulatedSession:
    """Runs jobs one after the other in virtual time (see ``rayopt.fleets.base.Session``)."""

    def __init__(self, problem: Problem, workers: Workers) -> None:
        self._problem = problem
        self._workers = workers
        self._recorder: Recorder | None = None

    def __enter__(self) -> SimulatedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, job: Job, on_trace: OnTrace, on_progress: OnProgress) -> Outcome:
        """Runs one job to its end.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
        """
        problem = self._problem.split(self._workers.count, job.seed)
        fleet = SimulatedWorkers(problem, self._workers.times(job.seed), job.seed)
        job.method.prepare(problem.start_point(), fleet.n)
        recorder = self._recorder = Recorder(
            job.record, job.until, Evaluation(problem, job.record.metrics or ()), on_trace,
            lambda recorder: on_progress(recorder.progress()),
        )  # fmt: skip
        started_at = time.monotonic()
        serve(job.method, fleet, recorder)
        return recorder.outcome(time.monotonic() - started_at)

    def stop(self) -> None:
        """Ends the running job at its next arrival."""
        if self._recorder is not None:
            self._recorder.stop()


class Evaluation:
    """Computes the metrics of a history row at once, and those of an unchanged point only once."""

    def __init__(self, problem: Problem, metrics: Sequence[str]) -> None:
        self._problem = problem
        self._metrics = metrics
        self._point: Array | None = None
        self._found: dict[str, Any] = {}

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        if x is not self._point:
            self._point = x
            self._found = self._problem.metrics(x, self._metrics)
        recorder.evaluated(point, self._found)


class SimulatedWorkers:
    """The workers of one run in virtual time, and the clock.

    An event is a tuple (time, worker, task number, task, cohort): a total order that never compares tasks.
    A cancelled event stays on the heap and is known by its number, which is no longer the worker's running one.

    Args:
      problem: split over the workers.
      times: how long tasks take.
      seed: addresses samples and the method's own generator.

    Attributes:
      cancelled: (workers, assigned_at, versions) of what was cancelled since the list was last cleared.
    """

    def __init__(self, problem: Problem, times: TaskTimes, seed: int) -> None:
        self.n = n = times.n
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.cancelled: list[tuple[Any, Any, Any]] = []
        self._ended_seconds = 0.0
        self._problem = problem
        self._samples = Stream(seed, "sample")
        self._times = times
        self._next_samples = Lookahead(n, self._draw_samples)
        self._next_durations = Lookahead(n, self._draw_durations)
        self._fixed = None if times.fixed is None else times.fixed.data
        self._heap: list[Item] = []
        self._top_is_delivered = False
        self._alarms = 0
        # Scalars are read and written through the views, cohorts through the arrays below them.
        self._running = np.full(n + 1, IDLE)
        self._given = np.zeros(n, dtype=np.int64)
        self._assigned_at = np.zeros(n)
        self._version = np.zeros(n, dtype=np.int64)
        self._running_view = self._running.data
        self._given_view = self._given.data
        self._assigned_at_view = self._assigned_at.data
        self._version_view = self._version.data

    @property
    def busy_seconds(self) -> float:
        """Worker-seconds of all tasks, those that still run up to now."""
        running = self._running[:-1] != IDLE
        return self._ended_seconds + float((self.now - self._assigned_at[running]).sum())

    @property
    def busy(self) -> int:
        """Number of workers that have a task."""
        return int(np.count_nonzero(self._running[:-1] != IDLE))

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""
        self._drop_cancelled()
        return not self._heap

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Starts the task on one worker or on an array of workers (or one task each); cancels what they computed."""
        if type(workers) is not int:
            self._assign_many(np.atleast_1d(np.asarray(workers)), task)
            return
        worker: int = workers
        if self._running_view[worker] != IDLE:
            self._stop(np.array([worker]))
        number = self._given_view[worker]
        now = self.now
        if self._fixed is not None and task.cost == 1:
            time: float = now + self._fixed[worker]
        elif task.cost == 1:
            time = now + self._next_durations.get(worker, number)
        else:
            time = now + self._times.duration(worker, number, now, task.cost)
        self._given_view[worker] = number + 1
        self._running_view[worker] = number
        self._assigned_at_view[worker] = now  # type: ignore[call-overload]
        self._version_view[worker] = task.version
        if time == math.inf:
            return
        if self._top_is_delivered:
            heapreplace(self._heap, (time, worker, number, task, None))
            self._top_is_delivered = False
        else:
            heappush(self._heap, (time, worker, number, task, None))

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""
        self._stop(np.atleast_1d(np.asarray(workers)))

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` after so many seconds, behind the arrivals of the same time."""
        self._alarms += 1
        self._push((self.now + seconds, self.n, self._alarms, None, self.now))

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; an arrival at exactly ``until`` counts.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
        """
        heap = self._heap
        if self._top_is_delivered:
            heappop(heap)
            self._top_is_delivered = False
        running = self._running_view
        while heap:
            time, worker, number, task, cohort = heap[0]
            if running[worker] != number:
                if task is None and time <= until:
                    heappop(heap)
                    self.now = time
                    return Alarm(time, cohort)
                if task is None:
                    break
                self._drop_top(cohort)
                continue
            if time > until:
                break
            if cohort is None:
                self._top_is_delivered = True
            else:
                self._drop_top(cohort)
            self.now = time
            running[worker] = IDLE
            assigned_at = self._assigned_at_view[worker]
            self._ended_seconds += time - assigned_at
            return Arrival(worker, time, assigned_at, task, number, self)
        if until == math.inf:
            raise FleetStuck(self.now, self.busy, self.n - self.busy)
        self.now = until
        return None

    def value(self, arrival: Arrival) -> Array:
        """Computes the value of one arrival."""
        task = arrival.task
        if task.count != 1:
            key = self._samples.key(arrival.worker, arrival.number)
            return task.evaluate(self._problem, task.draw(self._problem, arrival.worker, key))
        return task.evaluate(self._problem, self._next_samples.get(arrival.worker, arrival.number))

    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        """Returns sum_j weights[j] * value of arrival j, one product for all that were asked at one point."""
        groups: dict[Any, list[int]] = {}
        for position, arrival in enumerate(arrivals):
            groups.setdefault(arrival.task.group, []).append(position)
        sums = []
        for members in groups.values():
            asked = [arrivals[position] for position in members]
            workers = np.array([arrival.worker for arrival in asked])
            keys = self._samples.keys(workers, np.array([arrival.number for arrival in asked]))
            task = asked[0].task
            samples = task.draw_many(self._problem, workers, keys)
            sums.append(task.evaluate_sum(self._problem, samples, weights[members]))
        return sums[0] if len(sums) == 1 else np.sum(sums, axis=0)

    def _draw_samples(self, worker: int, first: int, size: int) -> Sequence[Any]:
        """Returns the samples of a worker's next tasks of one stochastic gradient."""
        if size == 1:
            return [self._problem.draw(worker, self._samples.key(worker, first))]
        samples = self._problem.draw_many(np.full(size, worker), self._samples.keys_of(worker, first, size))
        return samples.tolist() if np.ndim(samples) == 1 else samples

    def _draw_durations(self, worker: int, first: int, size: int) -> Sequence[float]:
        """Returns the durations of a worker's next tasks of cost 1."""
        if size == 1:
            return [self._times.duration(worker, first, self.now, 1)]
        workers, numbers = np.full(size, worker), np.arange(first, first + size)
        return self._times.durations(workers, numbers, self.now, 1).tolist()

    def _assign_many(self, workers: NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        if isinstance(task, Gradient):
            self._assign_cohort(workers, task)
        else:
            for worker, own in zip(workers.tolist(), task, strict=True):
                self.assign(worker, own)

    def _assign_cohort(self, workers: NDArray[np.integer], task: Gradient) -> None:
        self._stop(workers)
        if len(workers) > 1 and not (workers[1:] > workers[:-1]).all():
            workers = np.unique(workers)
        numbers = self._given[workers]
        if self._fixed is not None and task.cost == 1:
            times = self.now + self._times.fixed[workers]  # type: ignore[index]
        else:
            times = self.now + self._times.durations(workers, numbers, self.now, task.cost)
        self._given[workers] = numbers + 1
        self._running[workers] = numbers
        self._assigned_at[workers] = self.now
        self._version[workers] = task.version
        if len(workers) == self.n:
            self._forget_cancelled()
        first = Cohort(times, workers, numbers, task, self._running).next()
        if first is not None:
            self._push(first)

    def _stop(self, workers: NDArray[np.integer]) -> None:
        stopped = workers[self._running[workers] != IDLE]
        if stopped.size:
            assigned_at = self._assigned_at[stopped]
            self.cancelled.append((stopped, assigned_at, self._version[stopped]))
            self._ended_seconds += self.now * stopped.size - float(assigned_at.sum())
            self._running[stopped] = IDLE

    def _push(self, item: Item) -> None:
        if self._top_is_delivered:
            heapreplace(self._heap, item)
            self._top_is_delivered = False
        else:
            heappush(self._heap, item)

    def _drop_top(self, cohort: Cohort | None) -> None:
        following = None if cohort is None else cohort.next()
        if following is None:
            heappop(self._heap)
        else:
            heapreplace(self._heap, following)

    def _forget_cancelled(self) -> None:
        """Empties the heap of all but alarms, when every worker starts anew."""
        self._top_is_delivered = False
        self._heap = sorted(item for item in self._heap if item[3] is None)

    def _drop_cancelled(self) -> None:
        if self._top_is_delivered:
            heappop(self._heap)
            self._top_is_delivered = False
        while self._heap:
            _, worker, number, task, cohort = self._heap[0]
            if task is None or self._running[worker] == number:
                return
            self._drop_top(cohort)


class Cohort:
    """Events of one task given to many workers at once: one heap entry, opened in slices that grow.

    Args:
      times: ends of the tasks, shape (m,), infinity for those that never end.
      workers: shape (m,), ascending.
      numbers: task numbers, shape (m,).
      task: what they all compute.
      running: the running task number by worker; tells which events are cancelled.
    """

    __slots__ = ("_entries", "_left", "_running", "_size", "task")

    def __init__(
        self,
        times: Array,
        workers: NDArray[np.integer],
        numbers: NDArray[np.int64],
        task: Gradient,
        running: NDArray[np.int64],
    ) -> None:
        self.task = task
        self._running = running
        self._left = (times, workers, numbers)
        self._entries: list[tuple[float, int, int]] = []
        self._size = FIRST_SLICE

    def next(self) -> Item | None:
        """Returns the earliest event that is left, as a heap item, or None."""
        if not self._entries:
            self._open()
            if not self._entries:
                return None
        time, worker, number = self._entries.pop()
        return (time, worker, number, self.task, self)

    def _open(self) -> None:
        times, workers, numbers = self._left
        alive = (self._running[workers] == numbers) & (times < math.inf)
        if not alive.all():
            times, workers, numbers = times[alive], workers[alive], numbers[alive]
        if len(times) > self._size:
            # Events at the boundary time stay together, so that ties still go by worker.
            inside = times <= np.partition(times, self._size)[self._size]
            outside = ~inside
            self._left = (times[outside], workers[outside], numbers[outside])
            times, workers, numbers = times[inside], workers[inside], numbers[inside]
        else:
            self._left = (times[:0], workers[:0], numbers[:0])
        self._size *= 4
        order = np.argsort(times, kind="stable")[::-1]
        self._entries = list(zip(times[order].tolist(), workers[order].tolist(), numbers[order].tolist(), strict=True))
