"""Workers on Ray whose messages share the server's link, or that compute while they send."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from rayopt.core.arrivals import Alarm, Arrival, MessageArrival
from rayopt.fleets.contended import COMPUTE, LIMIT, READY, UP, ClockOptions, ContendedWorkers, Job
from rayopt.fleets.ray.workers import RayWorkers
from rayopt.latency.workers import TaskTimes


class Pacing(NamedTuple):
    """How messages are to travel that the server's process holds back.

    Attributes:
      times: of computations and links; the workers' processes emulate the computations alone.
      options: what is shared, and whether workers compute while they send.
    """

    times: TaskTimes
    options: ClockOptions


class PacedWorkers(ContendedWorkers):
    """:class:`ContendedWorkers` in real time: a computation ends when its process says so, and all else by the clock.

    The server holds back what travels: an order until x has come down, and a reply until its floats have come up.

    Args:
      workers: who compute, without links.
      seed: addresses the method's own generator.
      pacing: how messages travel.
    """

    def __init__(self, workers: RayWorkers, seed: int, pacing: Pacing) -> None:
        self._workers = workers
        super().__init__(pacing.times, seed, workers, workers.shard_sizes, *pacing.options)
        # By the stamp of its job: what has come from a worker and is not yet over the link.
        self._came: dict[int, Arrival] = {}
        self._over_link: dict[int, int] = {}

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; when asked to stop, None now.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
          WorkerLost: workers that the method needs are gone.
          WorkerFailed: a worker brings nothing but errors.
        """
        while True:
            alarm = self._alarms[0][0] if self._alarms else math.inf
            time, worker, kind, stamp = self._next_event()
            limit = min(time, alarm, until)
            computed = self._workers.wait(limit)
            self._workers.cancelled.clear()
            arrival: Arrival | None = None
            if computed is not None:
                self.now = max(self.now, self._workers.now)
                arrival = self._comes(computed)
            elif self._workers.stopping:
                self.now = max(self.now, min(self._workers.now, limit))
                return None
            elif time == limit < math.inf:
                self.now = time
                arrival = self._happens(worker, kind, stamp)
            elif alarm == limit < math.inf:
                self.now, _, set_at = heappop(self._alarms)
                return Alarm(self.now, set_at)
            else:
                self.now = until
                return None
            if arrival is not None:
                return arrival

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""
        return super().is_stuck and self._workers.is_stuck

    def state(self) -> dict[str, Any]:
        """Returns what the fleet must know to go on; what is on its way is not part of it: it is done again."""
        kept = super().state()
        return kept | {"values": None, "workers": self._workers.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned: every task is computed anew, with its number."""
        empty = [[state["now"], [], np.zeros(0), np.zeros(0)] for _ in self._links or ()]
        super().restore(state | {"begun": [None] * self.n, "events": [], "links": empty})
        inner = state["workers"]
        idle = {"tasks": [None] * self.n, "messages": [0] * self.n, "alarms": []}
        self._workers.restore(inner | idle | {"now": state["now"]})
        for worker, job in enumerate(self._jobs):
            if job is not None:
                self._workers.begin(worker, job.task, job.number, job.message)
                job.phase = COMPUTE
                if job.task.time_limit < math.inf:
                    heappush(self._events, (job.assigned_at + job.task.time_limit, worker, LIMIT, job.stamp))

    def _compute(self, worker: int, job: Job) -> None:
        job.phase = COMPUTE
        self._workers.begin(worker, job.task, job.number)

    def _send(self, worker: int, job: Job, kind: int) -> None:
        if kind == UP and job.message and job.stamp not in self._came:
            self._workers.send_next(worker)
        super()._send(worker, job, kind)

    def _comes(self, computed: Arrival) -> Arrival | None:
        """Takes what a worker's process has sent; returns it if it has been over the link before it was there."""
        worker: int = computed.worker
        job = self._begun[worker] or self._jobs[worker]
        assert job is not None
        if not computed.ok:
            return self._arrive(worker, job, is_ok=False)
        self._came[job.stamp] = computed
        if job is self._begun[worker]:
            job.phase = READY
        elif job.phase == COMPUTE:
            self._computed(worker, job)
        elif self._over_link.pop(worker, None) == job.stamp:
            return self._arrive(worker, job)
        return None

    def _arrive(self, worker: int, job: Job, is_ok: bool = True) -> Any:
        came = self._came.pop(job.stamp, None)
        if came is None and is_ok:
            self._over_link[worker] = job.stamp
            return None
        message, assigned_at = job.message, job.assigned_at
        arrival = super()._arrive(worker, job, is_ok)
        if came is None:
            self._workers.cancel(worker)
            return arrival
        came.time, came.assigned_at, came.ok = self.now, assigned_at, is_ok
        assert isinstance(came, MessageArrival)
        came.message, came.is_last = message, arrival.is_last
        return came

    def _stop(self, worker: int, keep_begun: bool) -> None:
        for job in (self._jobs[worker], None if keep_begun else self._begun[worker]):
            if job is not None:
                self._came.pop(job.stamp, None)
        self._over_link.pop(worker, None)
        if not keep_begun:
            self._workers.cancel(worker)
        super()._stop(worker, keep_begun)
