"""The server actor: it holds x and the method, and runs the loop in real time."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray

from rayopt.arrival import Alarm, Arrival, sum_one_by_one
from rayopt.errors import FleetStuck
from rayopt.fleets.base import Job
from rayopt.fleets.ray.messages import Order, Reply
from rayopt.fleets.ray.slip import Slip
from rayopt.fleets.ray.transport import LOOK_UP, DirectTransport, PackedTransport, Transport
from rayopt.keys import Stream
from rayopt.loop import serve
from rayopt.recording import Outcome, Progress, Recorder
from rayopt.tasks import Gradient
from rayopt.workers import TaskTimes

Array = NDArray[np.float64]

IDLE = -1
FETCH_TIMEOUT = 60.0


class RayWorkers:
    """The workers of one run in real time: what a method sees of them, and the clock.

    Args:
      transport: the way to the workers.
      times: how long tasks must take.
      shard_sizes: rows of data of each worker, shape (n,); None if all have the same.
      seed: addresses the method's own generator.
      time_scale: real seconds per fleet second.
      stamps: the next stamp; shared by the runs of a session, so that no late reply is taken for a new one.
      background: called between arrivals.
    """

    def __init__(
        self,
        transport: Transport,
        times: TaskTimes,
        shard_sizes: NDArray[np.integer] | None,
        seed: int,
        time_scale: float,
        stamps: Callable[[], int],
        background: Callable[[], None],
    ) -> None:
        self.n = workers = times.n
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.shard_sizes = shard_sizes
        self.cancelled: list[tuple[Any, Any, Any]] = []
        self.slip = Slip()
        self.stopping = False
        self._transport = transport
        self._times = times
        self._time_scale = time_scale
        self._next_stamp = stamps
        self._background = background
        self._stamp = np.full(workers, IDLE)
        self._given = [0] * workers
        self._task: list[Any] = [None] * workers
        self._assigned_at = np.zeros(workers)
        self._due_at = np.full(workers, math.inf)
        self._ready: deque[tuple[float, Reply]] = deque()
        self._alarms: list[tuple[float, float]] = []
        self._ended_seconds = 0.0
        self._started_at = time.monotonic()

    @property
    def busy(self) -> int:
        """Number of workers that have a task."""
        return int(np.count_nonzero(self._stamp != IDLE))

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""
        return not self._ready and not self._alarms and bool(np.isinf(self._due_at).all())

    @property
    def busy_seconds(self) -> float:
        """Worker-seconds of all tasks, those that still run up to now."""
        running = self._stamp != IDLE
        return self._ended_seconds + float(np.maximum(self.now - self._assigned_at[running], 0.0).sum())

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Starts the task on one worker or on an array of workers (or one task each); cancels what they computed."""
        chosen = [workers] if type(workers) is int else np.atleast_1d(np.asarray(workers)).tolist()
        tasks = [task] * len(chosen) if isinstance(task, Gradient) else task
        self._forget(chosen)
        now = self._clock()
        for worker, own in zip(chosen, tasks, strict=True):
            stamp = self._next_stamp()
            number = self._given[worker]
            self._given[worker] = number + own.draws
            self._stamp[worker] = stamp
            self._task[worker] = own
            self._assigned_at[worker] = now
            self._due_at[worker] = now + min(self._times.seconds(own, worker, number, now), own.time_limit)
            self._transport.send(Order(worker, stamp, number, own, now, self._started_at + now * self._time_scale))

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""
        for worker, stamp in self._forget(np.atleast_1d(np.asarray(workers)).tolist()):
            self._transport.cancel(worker, stamp)

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, both of shape (n,)."""
        return self._times.probability_within(seconds)

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` after so many fleet seconds."""
        now = self._clock()
        self._alarms.append((now + seconds, now))
        self._alarms.sort()

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; when asked to stop, None now.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
        """
        while True:
            while self._ready:
                received_at, reply = self._ready[0]
                if received_at > until:
                    self.now = until
                    return None
                self._ready.popleft()
                if self._stamp[reply.worker] == reply.stamp:
                    return self._deliver(received_at, reply)
            now = self._clock()
            if self._alarms and self._alarms[0][0] <= min(now, until):
                due, set_at = self._alarms.pop(0)
                self.now = max(self.now, due)
                return Alarm(self.now, set_at)
            if now >= until or self.stopping:
                self.now = max(self.now, min(now, until))
                return None
            if until == math.inf and self.is_stuck:
                raise FleetStuck(now, self.busy, self.n - self.busy)
            self._receive(until, now)

    def value(self, arrival: Arrival) -> Array:
        """Fetches a value that did not come with its arrival."""
        assert isinstance(arrival, ReceivedArrival)
        return ray.get(arrival.reference, timeout=FETCH_TIMEOUT)

    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array:
        """Returns sum_j weights[j] * value of arrival j, added one by one in arrival order, as a replay does."""
        return sum_one_by_one(arrivals, weights)

    def _clock(self) -> float:
        return (time.monotonic() - self._started_at) / self._time_scale

    def _receive(self, until: float, now: float) -> None:
        self._background()
        upcoming = min([until, *[due for due, _ in self._alarms[:1]]])
        replies = self._transport.receive(min((upcoming - now) * self._time_scale, LOOK_UP))
        received_at = self._clock()
        self._ready.extend((received_at, reply) for reply in replies)

    def _deliver(self, received_at: float, reply: Reply) -> Arrival:
        worker = reply.worker
        task = self._task[worker]
        assert task is not None
        self.now = received_at
        self._stamp[worker] = IDLE
        assigned_at = float(self._assigned_at[worker])
        self._ended_seconds += received_at - assigned_at
        self.slip.add((received_at - float(self._due_at[worker])) * self._time_scale)
        self._due_at[worker] = math.inf
        arrival = ReceivedArrival(worker, received_at, assigned_at, task, self._given[worker] - task.draws, self)
        arrival.ok = reply.in_time
        arrival.completed_at = (reply.completed_at - self._started_at) / self._time_scale
        if isinstance(reply.value, ray.ObjectRef):
            arrival.reference = reply.value
        else:
            arrival._value = reply.value
        return arrival

    def _forget(self, workers: list[int]) -> list[tuple[int, int]]:
        """Records what is cancelled on these workers; returns it as (worker, stamp)."""
        stopped = [worker for worker in workers if self._stamp[worker] != IDLE]
        if not stopped:
            return []
        stamps = self._stamp[stopped].tolist()
        assigned_at = self._assigned_at[stopped]
        versions = np.array([self._task[worker].version for worker in stopped])
        self.cancelled.append((np.array(stopped), assigned_at, versions))
        self._ended_seconds += float(np.maximum(self.now - assigned_at, 0.0).sum())
        self._stamp[stopped] = IDLE
        self._due_at[stopped] = math.inf
        return list(zip(stopped, stamps, strict=True))


class ReceivedArrival(Arrival):
    """An arrival in real time: its value came along, or ``reference`` says where it is."""

    __slots__ = ("reference",)

    reference: Any


class Report(NamedTuple):
    """What the driver hears while a job runs.

    Attributes:
      progress: where the run stands; None before it began.
      traces: chunks of the trace since the last report.
    """

    progress: Progress | None
    traces: list[NDArray[np.void]]


class Server:
    """The actor that holds x and the method.

    ``run`` blocks; reports, stops and packed replies come in on other threads.

    Args:
      evaluator: the actor that computes metrics.
      time_scale: real seconds per fleet second.
    """

    def __init__(self, evaluator: Any, time_scale: float) -> None:
        self._evaluator = evaluator
        self._time_scale = time_scale
        self._stamp = 0
        self._traces: deque[NDArray[np.void]] = deque()
        self._inbox: queue.SimpleQueue[list[Reply]] = queue.SimpleQueue()
        self._recorder: Recorder | None = None
        self._fleet: RayWorkers | None = None
        self._lock = threading.Lock()

    def node(self) -> str:
        """Returns the node that the server runs on."""
        return ray.get_runtime_context().get_node_id()

    def run(
        self,
        job: Job,
        start_point: Array,
        times: TaskTimes,
        shard_sizes: NDArray[np.integer] | None,
        actors: Sequence[Any],
        shares_clock: Sequence[bool],
        packed: bool,
    ) -> Outcome:
        """Runs one job to its end; by worker, ``actors`` holds it and ``shares_clock`` tells of its clock.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
          WorkerLost: a worker's process died.
        """
        while not self._inbox.empty():
            self._inbox.get()
        transport: Transport = (
            PackedTransport(actors, self._inbox, shares_clock) if packed else DirectTransport(actors, shares_clock)
        )
        evaluations = Evaluations(self._evaluator, job.record.metrics or ())
        recorder = Recorder(job.record, job.until, evaluations, lambda rows: self._traces.append(rows.copy()))
        job.method.prepare(start_point, len(actors))
        started_at = time.monotonic()
        fleet = RayWorkers(
            transport, times, shard_sizes, job.seed, self._time_scale, self._next_stamp,
            lambda: evaluations.collect(recorder),
        )  # fmt: skip
        with self._lock:
            self._recorder, self._fleet = recorder, fleet
        try:
            serve(job.method, fleet, recorder)
        finally:
            with self._lock:
                self._fleet = None
            fleet.cancel(np.arange(fleet.n))
            transport.receive(0.0)
        evaluations.collect(recorder, wait=True)
        return recorder.outcome(time.monotonic() - started_at, fleet.slip.summary())

    @ray.method(concurrency_group="inbox")
    def deliver(self, replies: list[Reply]) -> None:
        """Takes what a packed actor has finished."""
        self._inbox.put(replies)

    @ray.method(concurrency_group="status")
    def report(self) -> Report:
        """Returns progress and the trace since the last report."""
        with self._lock:
            running = self._fleet is not None and self._recorder is not None and self._recorder.has_begun
            progress = self._recorder.progress() if running and self._recorder is not None else None
        traces = []
        while self._traces:
            traces.append(self._traces.popleft())
        return Report(progress, traces)

    @ray.method(concurrency_group="status")
    def stop(self) -> None:
        """Ends the running job."""
        with self._lock:
            if self._recorder is not None and self._fleet is not None:
                self._recorder.stop()
                self._fleet.stopping = True

    def _next_stamp(self) -> int:
        self._stamp += 1
        return self._stamp


class Evaluations:
    """Metrics of history rows, computed elsewhere so that recording never delays an arrival.

    Args:
      evaluator: an :class:`Evaluator` actor.
      metrics: the names.
    """

    def __init__(self, evaluator: Any, metrics: Sequence[str]) -> None:
        self._evaluator = evaluator
        self._metrics = tuple(metrics)
        self._pending: dict[Any, list[int]] = {}
        self._last: tuple[Array | None, Any] = (None, None)
        self._found: dict[Any, dict[str, Any]] = {}
        self._looked_at = 0.0

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        if x is not self._last[0]:
            self._last = (x, self._evaluator.metrics.remote(x, self._metrics))
        reference = self._last[1]
        self._pending.setdefault(reference, []).append(point)

    def collect(self, recorder: Recorder, wait: bool = False) -> None:
        """Hands finished metrics to the recorder; looks at most every tenth of a second unless it waits."""
        if not self._pending or (not wait and time.monotonic() < self._looked_at + LOOK_UP):
            return
        ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=None if wait else 0)
        for reference in ready:
            metrics = ray.get(reference)
            for point in self._pending.pop(reference):
                recorder.evaluated(point, metrics)
        self._looked_at = time.monotonic()


class Evaluator:
    """The actor that computes metrics on snapshots of x."""

    def load(self, problem: Any) -> None:
        """Takes the problem with all its data."""
        self._problem = problem

    def metrics(self, x: Array, names: Sequence[str]) -> dict[str, Any]:
        """Returns {name: float or shape (G,)}."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._problem.metrics(x, names)
