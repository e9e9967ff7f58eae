"""The workers of one run in real time, as its method sees them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from rayopt.compression import Kept
from rayopt.compression.draws import Draws
from rayopt.core.arrivals import Alarm, Arrival, MessageArrival, Source, sum_one_by_one
from rayopt.core.errors import FleetStuck
from rayopt.core.keys import Stream
from rayopt.core.tasks import Forward, Gradient, Message
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.messages import Order, Reply
from rayopt.fleets.ray.slip import Slip
from rayopt.fleets.ray.supervision import Supervision
from rayopt.fleets.ray.task_executor import TaskExecutor
from rayopt.fleets.ray.transport import LOOK_UP, Transport
from rayopt.latency.workers import TaskTimes
from rayopt.runs.faults import Faults

Array = NDArray[np.float64]

IDLE = -1
FETCH_TIMEOUT = 60.0
"""Real seconds that a large value may take to come over a slow link; of a node that is lost, Ray tells itself."""


class RayWorkers:
    """The workers of one run in real time: what a method sees of them, and the clock.

    Args:
      transport: the connection to the workers.
      times: how long tasks must take.
      shard_sizes: rows of data of each worker, shape (n,); None if all have the same.
      seed: addresses the method's own generator.
      time_scale: real seconds per fleet second.
      supervision: of the workers' processes.
      stamps: the next stamp; shared by the runs of a session, so that no late reply is taken for a new one.
      background: called between arrivals.
      sends_next: whether a worker sends the next message of its reply as soon as one has come; else it waits for
        :meth:`send_next`.

    Attributes:
      bytes_received: of gradients and messages that came into this process, those that came late too.
    """

    adds_as_they_come = True

    def __init__(
        self,
        transport: Transport,
        times: TaskTimes,
        shard_sizes: NDArray[np.integer] | None,
        seed: int,
        time_scale: float,
        supervision: Supervision,
        stamps: Callable[[], int],
        background: Callable[[], None],
        sends_next: bool = True,
    ) -> None:
        self._sends_next = sends_next
        self.n = workers = times.n
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.shard_sizes = shard_sizes
        self.cancelled: list[tuple[Any, ...]] = []
        self.slip = Slip()
        self.stopping = False
        self.bytes_received = 0
        self._transport = transport
        self._times = times
        self._time_scale = time_scale
        self._supervision = supervision
        self._next_stamp = stamps
        self._background = background
        self._draws = Draws(seed)
        self._stamp = np.full(workers, IDLE)
        self._message = [0] * workers
        # How often the shift has changed that a worker's process keeps; 0 is that of zeros, which all have.
        self._shift_kept = [0] * workers
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

    @property
    def source(self) -> Source:
        """Where arrivals take their values from."""
        return self

    def state(self) -> dict[str, Any]:
        """Returns what the fleet must know to go on (see ``rayopt.runs.snapshot``).

        What was received and not yet delivered is not part of it: those tasks are given again.
        """
        is_busy = (self._stamp != IDLE).tolist()
        return {
            "now": self.now,
            "random": self.random,
            "given": self._given,
            "tasks": [task if busy else None for task, busy in zip(self._task, is_busy, strict=True)],
            "messages": self._message,
            "assigned_at": self._assigned_at,
            "alarms": self._alarms,
            "ended_seconds": self._ended_seconds,
            "slip": self.slip.state(),
            "bytes_received": self.bytes_received,
            "faults": asdict(self._supervision.faults),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned: the clock, and every task, begun anew with its number."""
        self.now = state["now"]
        self.random = state["random"]
        self._given = state["given"]
        self._task = state["tasks"]
        self._message = state["messages"]
        self._assigned_at[:] = state["assigned_at"]
        self._alarms = state["alarms"]
        self._ended_seconds = state["ended_seconds"]
        self.slip.restore(state["slip"])
        self.bytes_received = state["bytes_received"]
        self._supervision.faults = Faults(**state["faults"])
        self._started_at = time.monotonic() - self.now * self._time_scale
        for worker, task in enumerate(self._task):
            if task is not None:
                self._reassign(worker)

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
            self._message[worker] = 0
            self._assigned_at[worker] = now
            self._due_at[worker] = now + min(self._times.seconds(own, worker, number, now), own.time_limit)
            # A worker without a process is sent its order when it has one again.
            if worker not in self._supervision.silent:
                sent_at = self._started_at + now * self._time_scale
                self._transport.send(Order(worker, stamp, number, self._as_sent(worker), now, sent_at))

    def begin(self, worker: int, task: Gradient, number: int, message: int = 0) -> None:
        """Starts a task under a number, from one of its messages on."""
        self._given[worker] = number
        self.assign(worker, task)
        if message:
            self._message[worker] = message
            self.send_next(worker)

    def send_next(self, worker: int) -> None:
        """Asks a worker for the message of its reply that is next."""
        number = self._given[worker] - self._task[worker].draws
        self._send(worker, number, float(self._assigned_at[worker]), self._clock())

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""
        for worker, stamp in self._forget(np.atleast_1d(np.asarray(workers)).tolist()):
            if worker not in self._supervision.silent:
                self._transport.cancel(worker, stamp)

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, both of shape (n,)."""
        return self._times.probability_within(seconds)

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message of each worker; None if they are not known."""
        return self._times.expected_parts(compressor)

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` so many fleet seconds after the event that the method reacts to."""
        self._alarms.append((self.now + seconds, self.now))
        self._alarms.sort()

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; when asked to stop, None now.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
          WorkerLost: workers that the method needs are gone.
          WorkerFailed: a worker brings nothing but errors.
        """
        while True:
            now = self._ready[0][0] if self._ready else self._clock()
            # An alarm comes before what was received after its time, so that a replay knows their order.
            if self._alarms and self._alarms[0][0] <= min(now, until):
                due, set_at = self._alarms.pop(0)
                self.now = max(self.now, due)
                return Alarm(self.now, set_at)
            if self._ready:
                if now > until:
                    self.now = until
                    return None
                _, reply = self._ready.popleft()
                if self._stamp[reply.worker] == reply.stamp:
                    return self._deliver(now, reply)
                self._supervision.faults.late += 1
                continue
            if now >= until or self.stopping:
                self.now = max(self.now, min(now, until))
                return None
            if until == math.inf and self.is_stuck:
                raise FleetStuck(now, self.busy, self.n - self.busy)
            self._receive(until, now)

    def value(self, arrival: Arrival) -> Array:
        """Fetches a value that did not come with its arrival; computes it again if it does not come at all."""
        assert isinstance(arrival, ReceivedArrival)
        try:
            return self._decoded(arrival, self._fetch(arrival.reference))
        except TimeoutError:
            self._supervision.faults.slow += 1
        except ray.exceptions.RayError:
            self._supervision.faults.recomputed += 1
        self._needs_no_mean(arrival.worker, arrival.task)
        # The sample is addressed, not consumed: here the same task has the same value.
        executor = TaskExecutor()
        executor.load(self._supervision.profile(arrival.worker), shares_clock=True, warm_up=False)
        order = Order(arrival.worker, 0, arrival.number, arrival.task, arrival.assigned_at, 0.0, arrival.message)
        return executor.sent_value(order)

    def sum_of_messages(self, arrival: Arrival, count: int) -> Array:
        """Not asked for: messages are added as they come."""
        raise NotImplementedError

    def _decoded(self, arrival: Arrival, value: Any) -> Any:
        """Returns the value of what a worker has sent."""
        task = arrival.task
        if value is None or task.compressor is None or isinstance(task.compressor, Kept):
            return value
        return self._draws.decode(value, task, arrival.worker, arrival.number, arrival.message)

    def _fetch(self, reference: Any) -> Array:
        """Returns what a reference stands for.

        Raises:
          TimeoutError: it does not come, or the run is to stop.
        """
        # One request: a second one would begin the transfer anew.
        future = reference.future()
        give_up = time.monotonic() + FETCH_TIMEOUT
        while not wait([future], timeout=LOOK_UP).done:
            if self.stopping or time.monotonic() > give_up:
                raise TimeoutError
        found: Array = future.result()
        self.bytes_received += found.nbytes
        return found

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
        for reply in replies:
            self.bytes_received += getattr(reply.value, "nbytes", 0)
            if reply.error is None:
                self._ready.append((received_at, reply))
            elif self._stamp[reply.worker] == reply.stamp:
                self._supervision.rejected(reply.worker, reply.error)
                self._reassign(reply.worker)
        for actor, workers in self._supervision.returned(self._awaited):
            self._transport.returned(actor)
            busy = [worker for worker in workers if self._stamp[worker] != IDLE]
            for worker in workers:
                self._shift_kept[worker] = 0
            for worker in self._supervision.survivors(busy):
                self._reassign(worker)

    def _awaited(self) -> Sequence[int]:
        """Returns the workers one of which must end its task before anything else happens."""
        return [] if self._ready or self._alarms else np.flatnonzero(self._due_at < math.inf).tolist()

    def _reassign(self, worker: int) -> None:
        """Sends a worker its task once more: the same number and so the same sample, begun anew.

        Its duration, which may depend on when the task was assigned, is the same too.
        """
        if worker in self._supervision.silent:
            return
        task = self._task[worker]
        number = self._given[worker] - task.draws
        assigned_at = float(self._assigned_at[worker])
        self._send(worker, number, assigned_at, self._clock())

    def _send(self, worker: int, number: int, assigned_at: float, start: float) -> None:
        """Sends a worker the order of its task, or of the message of it that is due next.

        Args:
          worker: its number.
          number: of the task.
          assigned_at: fleet seconds.
          start: fleet seconds from which on it takes its time.
        """
        task, message = self._task[worker], self._message[worker]
        stamp = self._next_stamp()
        self._stamp[worker] = stamp
        if message:
            seconds = self._times.message_seconds(task, worker, number, message, assigned_at)
        else:
            seconds = min(self._times.seconds(task, worker, number, assigned_at), task.time_limit)
        self._due_at[worker] = start + seconds
        sent_at = self._started_at + start * self._time_scale
        self._transport.send(Order(worker, stamp, number, self._as_sent(worker), assigned_at, sent_at, message))

    def _as_sent(self, worker: int) -> Gradient:
        """Returns the task of a worker, without what its process keeps.

        Raises:
          WorkerLost: its process should keep what nobody else has, and is a new one.
        """
        task: Gradient = self._task[worker]
        if isinstance(task, Forward):
            return task.to_send()
        if not isinstance(task, Message) or task.keeps is None:
            return task
        if task.keeps[0] == self._shift_kept[worker]:
            return task.with_kept(None)
        self._needs_no_mean(worker, task)
        return task

    def _needs_no_mean(self, worker: int, task: Gradient) -> None:
        """Raises WorkerLost if a task needs what only a process had that has gone."""
        if isinstance(task, Message) and task.momentum is not None:
            raise WorkerLost(
                f"worker {worker} has lost the mean of its gradients, with its process or a reply: nobody else has it, "
                "and the method cannot go on. Run again, or in virtual time"
            )

    def _deliver(self, received_at: float, reply: Reply) -> Arrival:
        worker = reply.worker
        task = self._task[worker]
        assert task is not None
        self.now = received_at
        self._supervision.accepted(worker)
        if isinstance(task, Message) and task.keeps is not None:
            self._shift_kept[worker] = task.keeps[0] + 1
        self._stamp[worker] = IDLE
        assigned_at = float(self._assigned_at[worker])
        message, number = self._message[worker], self._given[worker] - task.draws
        is_last = message == task.messages - 1
        if is_last:
            self._ended_seconds += received_at - assigned_at
        if not self._times.are_measured:
            self.slip.add((received_at - float(self._due_at[worker])) * self._time_scale)
        due_at = float(self._due_at[worker])
        self._due_at[worker] = math.inf
        if not is_last:
            self._message[worker] += 1
            if self._sends_next:
                # From when the message was due, so that messages do not slip one after the other.
                self._send(worker, number, assigned_at, received_at if self._times.are_measured else due_at)
        arrival = ReceivedArrival(worker, received_at, assigned_at, task, number, self)
        arrival.message, arrival.is_last = message, is_last
        arrival.ok = reply.in_time
        arrival.completed_at = (reply.completed_at - self._started_at) / self._time_scale
        if isinstance(reply.value, ray.ObjectRef):
            arrival.reference = reply.value
        else:
            arrival._value = self._decoded(arrival, reply.value)
        return arrival

    def _forget(self, workers: list[int]) -> list[tuple[int, int]]:
        """Records what is cancelled on these workers; returns it as (worker, stamp)."""
        stopped = [worker for worker in workers if self._stamp[worker] != IDLE]
        if not stopped:
            return []
        stamps = self._stamp[stopped].tolist()
        assigned_at = self._assigned_at[stopped]
        versions = np.array([self._task[worker].version for worker in stopped])
        numbers = np.array([self._given[worker] - self._task[worker].draws for worker in stopped])
        components = np.array([self._task[worker].component for worker in stopped])
        self.cancelled.append((np.array(stopped), numbers, assigned_at, versions, components))
        self._ended_seconds += float(np.maximum(self.now - assigned_at, 0.0).sum())
        self._stamp[stopped] = IDLE
        self._due_at[stopped] = math.inf
        return list(zip(stopped, stamps, strict=True))


class ReceivedArrival(MessageArrival):
    """An arrival in real time: its value came along, or ``reference`` says where it is."""

    __slots__ = ("reference",)

    reference: Any

    @property
    def known_value(self) -> Array | None:
        """The value; it is fetched if the method has asked for it, as its place goes away with the cluster."""
        if self._value is None and self.used and self.source is not None:
            self._value = self.source.value(self)
        return self._value
