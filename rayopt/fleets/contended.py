"""The virtual clock where messages share a link at the server, or workers compute while they send."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Alarm, Arrival, MessageArrival
from rayopt.core.errors import FleetStuck
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient, Message
from rayopt.fleets.shared_link import SharedLink
from rayopt.latency.workers import TaskTimes

Array = NDArray[np.float64]


class ClockOptions(NamedTuple):
    """What a fleet may change of how messages travel: the arguments of :class:`ContendedWorkers`."""

    bandwidth: float | None = None
    overlap: bool = False


PLAIN = ClockOptions()

DOWN, COMPUTE, READY, UP, LIMIT = range(5)
"""What a worker does with a task: it is sent x, computes, waits to be asked for what it has, sends; it gives up."""


class Job:
    """One task on one worker.

    Attributes:
      phase: what the worker does with it.
      message: number of the reply that is on its way, from 0.
      stamp: of the worker's event that is awaited: an older one is void.
    """

    __slots__ = ("assigned_at", "message", "number", "phase", "stamp", "task")

    def __init__(
        self, task: Gradient, number: int, assigned_at: float, phase: int, stamp: int, message: int = 0
    ) -> None:
        self.task = task
        self.number = number
        self.assigned_at = assigned_at
        self.phase = phase
        self.stamp = stamp
        self.message = message

    def fields(self) -> list[Any]:
        """Returns the arguments that make an equal one."""
        return [self.task, self.number, self.assigned_at, self.phase, self.stamp, self.message]


class ContendedWorkers:
    """The workers of one run in virtual time, event by event; other than ``SimulatedWorkers`` in what follows.

    A message first takes its seconds per message, then its floats travel. With a bandwidth at the server, the floats of
    all messages that travel at the same time, up and down each for themselves, share it fairly: none is faster than its
    own link allows, and what is left is divided equally. What workers are sent takes part if ``download`` is given.

    With overlap a worker that has computed a gradient begins another one at the same point while it sends. If the
    server then asks for just that, it is that much further, and is not sent x again; if it asks for anything else, what
    was begun is dropped, and nobody sees it: its number, and so its sample and duration, are those of the task that was
    asked.

    Args:
      times: how long tasks take.
      seed: addresses the method's own generator.
      source: where the values of arrivals come from.
      shard_sizes: rows of data of each worker, shape (n,); None if all have the same.
      bandwidth: floats per second at the server in each direction; None for links that do not meet.
      overlap: whether workers compute while they send.

    Attributes:
      cancelled: as of :class:`~rayopt.fleets.simulated.clock.SimulatedWorkers`.
      source: where the values of arrivals come from.
    """

    def __init__(
        self,
        times: TaskTimes,
        seed: int,
        source: Any,
        shard_sizes: NDArray[np.integer] | None = None,
        bandwidth: float | None = None,
        overlap: bool = False,
    ) -> None:
        self.source = source
        self.shard_sizes = shard_sizes
        self.n = n = times.n
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.cancelled: list[tuple[Any, ...]] = []
        self._times = times
        self._overlap = overlap
        self._links = None if bandwidth is None else {DOWN: SharedLink(bandwidth), UP: SharedLink(bandwidth)}
        self._jobs: list[Job | None] = [None] * n
        self._begun: list[Job | None] = [None] * n
        """With overlap: what a worker has begun without being asked."""
        self._given = [0] * n
        self._stamp = 0
        self._events: list[tuple[float, int, int, int]] = []
        self._alarms: list[tuple[float, int, float]] = []
        self._ended_seconds = 0.0

    # ---- what a method may do ----

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Starts the task on one worker or on an array of workers (or one task each); cancels what they computed."""
        chosen = np.atleast_1d(np.asarray(workers)).tolist()
        tasks = [task] * len(chosen) if isinstance(task, Gradient) else task
        for worker, own in zip(chosen, tasks, strict=True):
            self._stop(worker, keep_begun=self._is_begun(worker, own))
            number = self._given[worker]
            self._given[worker] = number + own.draws
            if (begun := self._begun[worker]) is not None:
                self._adopt(worker, begun)
            else:
                job = self._jobs[worker] = Job(own, number, self.now, DOWN, self._new_stamp())
                self._send(worker, job, DOWN)
            if own.time_limit < math.inf and (job := self._jobs[worker]) is not None:
                heappush(self._events, (self.now + own.time_limit, worker, LIMIT, job.stamp))

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""
        for worker in np.atleast_1d(np.asarray(workers)).tolist():
            self._stop(worker, keep_begun=False)

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` after so many seconds, behind the arrivals of the same time."""
        heappush(self._alarms, (self.now + seconds, len(self._alarms), self.now))

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, if nobody else sends."""
        return self._times.probability_within(seconds)

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message, if nobody else is on the link."""
        return self._times.expected_parts(compressor)

    # ---- what the loop asks ----

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; an arrival at exactly ``until`` counts.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
        """
        while True:
            alarm = self._alarms[0][0] if self._alarms else math.inf
            time, worker, kind, stamp = self._next_event()
            if time <= min(until, alarm) and time < math.inf:
                self.now = time
                arrival = self._happens(worker, kind, stamp)
                if arrival is not None:
                    return arrival
            elif alarm <= until and alarm < math.inf:
                self.now, _, set_at = heappop(self._alarms)
                return Alarm(self.now, set_at)
            elif until == math.inf:
                raise FleetStuck(self.now, self.busy, self.n - self.busy)
            else:
                self.now = until
                return None

    @property
    def busy(self) -> int:
        """Number of workers that have a task."""
        return self.n - self._jobs.count(None)

    @property
    def busy_seconds(self) -> float:
        """Worker-seconds of all tasks, those that still run up to now."""
        return self._ended_seconds + sum(self.now - job.assigned_at for job in self._jobs if job is not None)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""
        return not self._alarms and self._next_event()[0] == math.inf

    def upcoming(self, count: int) -> list[tuple[Gradient, int, int]]:
        """Returns (task, worker, number) of tasks that run, ``count`` at most, those that were given first."""
        busy = [(job.assigned_at, worker, job) for worker, job in enumerate(self._jobs) if job is not None]
        busy.sort(key=lambda found: found[:2])
        return [(job.task, worker, job.number) for _, worker, job in busy[:count]]

    def state(self) -> dict[str, Any]:
        """Returns what the fleet must know to go on (see ``rayopt.runs.snapshot``)."""
        return {
            "now": self.now,
            "random": self.random,
            "jobs": [None if job is None else job.fields() for job in self._jobs],
            "begun": [None if job is None else job.fields() for job in self._begun],
            "given": list(self._given),
            "stamp": self._stamp,
            "events": [list(event) for event in self._events],
            "alarms": [list(alarm) for alarm in self._alarms],
            "ended_seconds": self._ended_seconds,
            "links": None if self._links is None else [link.state() for link in self._links.values()],
            "values": self.source.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned."""
        self.now, self.random = state["now"], state["random"]
        self._jobs = [None if job is None else Job(*job) for job in state["jobs"]]
        self._begun = [None if job is None else Job(*job) for job in state["begun"]]
        self._given, self._stamp = state["given"], state["stamp"]
        self._events = [(time, worker, kind, stamp) for time, worker, kind, stamp in state["events"]]
        self._alarms = [(time, order, set_at) for time, order, set_at in state["alarms"]]
        self._ended_seconds = state["ended_seconds"]
        if state["values"] is not None:
            self.source.restore(state["values"])
        if self._links is not None:
            for link, found in zip(self._links.values(), state["links"], strict=True):
                link.restore(found)

    # ---- events ----

    def _next_event(self) -> tuple[float, int, int, int]:
        """Returns (time, worker, kind, stamp) of the next thing to happen; messages that share a link among them."""
        while self._events and self._is_void(self._events[0]):
            heappop(self._events)
        first = self._events[0] if self._events else (math.inf, -1, 0, 0)
        for kind, link in (self._links or {}).items():
            time, worker = link.next()
            # Rounding may put the end of a message before now by its last bits.
            first = min(first, (max(time, self.now), worker, kind, -1)) if worker >= 0 else first
        return first

    def _is_void(self, event: tuple[float, int, int, int]) -> bool:
        _, worker, _, stamp = event
        own = (self._jobs[worker], self._begun[worker])
        return all(job is None or job.stamp != stamp for job in own)

    def _happens(self, worker: int, kind: int, stamp: int) -> Arrival | None:
        """Goes on with a worker; returns what arrives at the server by it."""
        is_on_link = stamp == -1
        if is_on_link:
            assert self._links is not None
            self._links[kind].end(self.now, worker)
        else:
            heappop(self._events)
        job, begun = self._jobs[worker], self._begun[worker]
        if begun is not None and not is_on_link and begun.stamp == stamp:
            begun.phase = READY
            return None
        assert job is not None
        if kind == LIMIT:
            return self._arrive(worker, job, is_ok=False)
        if not is_on_link and (floats := self._floats(worker, job, kind)):
            self._travel(worker, kind, *floats)
            return None
        if kind == DOWN:
            self._compute(worker, job)
            return None
        if kind == COMPUTE:
            job.message = 0
            self._computed(worker, job)
            return None
        return self._arrive(worker, job)

    def _computed(self, worker: int, job: Job) -> None:
        """Lets a worker send what it has computed, and begin another one if it may."""
        if self._overlap and job.task.messages == 1 and _may_begin(job.task):
            self._begin_another(worker, job)
        self._send(worker, job, UP)

    def _after(self, worker: int, job: Job, seconds: float, kind: int) -> None:
        heappush(self._events, (self.now + seconds, worker, kind, job.stamp))

    def _compute(self, worker: int, job: Job) -> None:
        job.phase = COMPUTE
        self._after(worker, job, self._times.compute_seconds(job.task, worker, job.number, self.now), COMPUTE)

    def _send(self, worker: int, job: Job, kind: int) -> None:
        """Puts x, or the next message of a reply, on its way: first its own seconds, then its floats."""
        job.phase = kind
        seconds, of_size, _ = self._parts(worker, job, kind)
        self._after(worker, job, seconds if self._links is not None else seconds + of_size, kind)

    def _parts(self, worker: int, job: Job, kind: int) -> tuple[float, float, float]:
        if job.task.compressor is not None and not job.task.compressor.travels:
            return 0.0, 0.0, 0.0
        if kind == DOWN:
            return self._times.download_parts(job.task, worker, job.number, self.now)
        return self._times.upload_parts(job.task, worker, job.number, job.message, self.now)

    def _floats(self, worker: int, job: Job, kind: int) -> tuple[float, float] | None:
        """Returns the floats that are to share the link now and the seconds that they take alone; None if none are."""
        if self._links is None or kind not in (DOWN, UP):
            return None
        _, seconds, floats = self._parts(worker, job, kind)
        return (floats, seconds) if floats else None

    def _travel(self, worker: int, kind: int, floats: float, seconds: float) -> None:
        assert self._links is not None
        self._links[kind].begin(self.now, worker, floats, seconds)

    def _arrive(self, worker: int, job: Job, is_ok: bool = True) -> Arrival:
        task = job.task
        is_last = job.message == task.messages - 1 or not is_ok
        arrival: Arrival
        if task.messages == 1:
            arrival = Arrival(worker, self.now, job.assigned_at, task, job.number, self.source)
            arrival.ok = is_ok
        else:
            arrival = MessageArrival(
                worker, self.now, job.assigned_at, task, job.number, self.source, job.message, is_last
            )
        if is_last:
            self._ended_seconds += self.now - job.assigned_at
            self._leave_links(worker)
            self._jobs[worker] = None
        else:
            job.message += 1
            self._send(worker, job, UP)
        return arrival

    # ---- tasks that end early, and those that begin early ----

    def _new_stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def _stop(self, worker: int, keep_begun: bool) -> None:
        job = self._jobs[worker]
        if not keep_begun:
            self._begun[worker] = None
        if job is None:
            return
        self._leave_links(worker)
        self._jobs[worker] = None
        self._ended_seconds += self.now - job.assigned_at
        stopped = (
            np.array([worker]),
            np.array([job.number]),
            np.array([job.assigned_at]),
            np.array([job.task.version]),
        )
        component = job.task.component
        self.cancelled.append((*stopped, np.array([component])) if component >= 0 else stopped)

    def _leave_links(self, worker: int) -> None:
        for link in (self._links or {}).values():
            if worker in link:
                link.end(self.now, worker)

    def _begin_another(self, worker: int, job: Job) -> None:
        """Lets a worker compute at the same point without being asked."""
        begun = self._begun[worker] = Job(job.task, self._given[worker], self.now, COMPUTE, self._new_stamp())
        self._compute(worker, begun)

    def _is_begun(self, worker: int, task: Gradient) -> bool:
        """Whether the task is what the worker has begun already; it must have sent what it had before."""
        begun = self._begun[worker]
        if begun is None or self._jobs[worker] is not None:
            return False
        return begun.task is task or (_may_begin(task) and begun.task.group == task.group and _alike(begun.task, task))

    def _adopt(self, worker: int, begun: Job) -> None:
        """Makes what a worker has begun its task."""
        self._begun[worker] = None
        self._jobs[worker] = begun
        begun.assigned_at = self.now
        if begun.phase == READY:
            begun.message = 0
            self._computed(worker, begun)


def _may_begin(task: Gradient) -> bool:
    """Whether a task may be done again at the same point: a stochastic gradient, of which nothing else is kept."""
    if type(task) is Message:
        return task.messages == 1 and task.shift is None and task.momentum is None and task.y is None
    return type(task) is Gradient


def _alike(first: Gradient, second: Gradient) -> bool:
    return first.version == second.version and first.compressor is second.compressor
