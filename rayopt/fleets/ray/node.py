"""Actors of nodes that have no server: each runs its program, computes on its shard, and sends to its neighbours."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import ray
from threadpoolctl import threadpool_limits

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.programs import Delivery, EdgeFreed, NodeEvent
from rayopt.core.tasks import Gradient
from rayopt.fleets.network import RECEIVED, NetworkClock
from rayopt.fleets.ray.messages import Load, Order
from rayopt.fleets.ray.task_executor import TaskExecutor
from rayopt.latency.network import Network

LONGEST_WAIT = 0.1
"""Real seconds after which a node looks whether it is to stop, though nothing has happened."""


class NodeRecord(NamedTuple):
    """One event at a node, as whoever follows the run is told.

    Attributes:
      time: fleet seconds, by the node's clock.
      arrival: (task number, assigned_at, version, whether it was used) of a gradient, or None.
      cancelled: (task number, assigned_at, version) of tasks that were stopped.
      told: what the method tells of itself, or None.
    """

    time: float
    arrival: tuple[int, float, int, bool] | None
    cancelled: list[tuple[int, float, int]]
    told: Any


class NodeReport(NamedTuple):
    """What has happened at a node since the last report.

    Attributes:
      now: fleet seconds; nothing before it is still to come.
      records: its events, in order.
      bits_sent: of all messages that have left so far.
      error: the traceback of what ended it, or "".
    """

    now: float
    records: list[NodeRecord]
    bits_sent: int
    error: str


class NodeClock(NetworkClock):
    """The clock of one node in real time: its own events, and messages that come from other machines.

    A message is held back by its sender for the seconds of its edge. A gradient is computed when its task is given, and
    arrives when its time is over.

    Args:
      number: of the node.
      network: the graph and its times.
      dimension: of the vectors that travel.
      seed: addresses durations and samples.
      executor: computes on the node's shard.
      peers: the actors of the neighbours, by node.
      inbox: (sender, payload) of what has come.
    """

    def __init__(
        self,
        number: int,
        network: Network,
        dimension: int,
        seed: int,
        executor: TaskExecutor,
        peers: Mapping[int, Any],
        inbox: queue.SimpleQueue[tuple[int, Any]],
    ) -> None:
        super().__init__(network, dimension, seed, source=None)
        self._number = number
        self._executor = executor
        self._peers = peers
        self._inbox = inbox
        self._value: Any = None
        self._started_at = time.monotonic()

    def elapsed(self) -> float:
        """Returns fleet seconds since the start."""
        return (time.monotonic() - self._started_at) / self._executor.time_scale

    def compute(self, node: int, task: Gradient) -> None:
        """Starts a task.

        Raises:
          WorkerFailed: the problem raises an error, or what it returns is no gradient.
        """
        super().compute(node, task)
        number = self._given[node] - task.draws
        value, error = self._executor.work(Order(node, 0, number, task, self.now, 0.0), in_time=True)
        if error is not None:
            raise ValueError(error)
        self._value = value

    def step(self) -> Arrival | None:
        """Waits for the next event and returns it; None after a while, or if nothing has happened here."""
        while not self._inbox.empty():
            self._take(*self._inbox.get())
        due = self._events[0][0] if self._events else math.inf
        left = (due - self.elapsed()) * self._executor.time_scale
        if left > 0:
            with contextlib.suppress(queue.Empty):
                self._take(*self._inbox.get(timeout=min(left, LONGEST_WAIT)))
            return None
        return self.wait(due)

    def _take(self, sender: int, payload: Any) -> None:
        now = max(self.elapsed(), self.now)
        self._push(now, self._number, RECEIVED, (sender, payload, now))

    def _reached(self, time: float) -> float:
        return max(self.elapsed(), time)

    def _delivery(self, node: int, sender: int, payload: tuple[Any, ...], sent_at: float) -> Delivery | None:
        if node == self._number:
            return super()._delivery(node, sender, payload, sent_at)
        # Its time on the edge is over.
        self._peers[node].deliver.remote(sender, payload)
        return None

    def _leave(self, lane: tuple[int, str], payload: tuple[Any, ...], floats: int, flow: str) -> None:
        # What was collected is summed as it leaves: a message has one vector.
        content = tuple(part.to_send() if isinstance(part, GradientSum) else part for part in payload)
        super()._leave(lane, content, floats, flow)

    def _arrival(self, node: int, number: int) -> Arrival:
        arrival = super()._arrival(node, number)
        arrival._value, self._value = self._value, None
        return arrival


class NetworkActor:
    """The actor of one node. Its program runs in a thread of its own, messages and questions come in on others.

    Args:
      number: of the node.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._records: queue.SimpleQueue[NodeRecord] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._error = ""
        self._seen_until = 0.0
        self._bits_sent = 0
        self._executor = TaskExecutor()

    def load(self, load: Load) -> None:
        """Takes the node's shard."""
        (profile,) = load.fetch().values()
        threadpool_limits(profile.blas_threads)
        self._executor.load(profile, shares_clock=True)

    def begin(self, method: Any, network: Network, dimension: int, seed: int, peers: Mapping[int, Any]) -> None:
        """Starts the program of this node.

        Args:
          method: prepared; the programs of the other nodes are not looked at.
          network: the graph and its times.
          dimension: of the vectors that travel.
          seed: addresses durations and samples.
          peers: the actors of the neighbours.
        """
        self._is_over.clear()
        self._error, self._seen_until, self._bits_sent = "", 0.0, 0
        while not self._records.empty():
            self._records.get()
        clock = NodeClock(self._number, network, dimension, seed, self._executor, peers, self._inbox)
        self._thread = threading.Thread(target=self._run, args=(method, clock), daemon=True)
        self._thread.start()

    @ray.method(concurrency_group="inbox")
    def deliver(self, sender: int, payload: Any) -> None:
        """Takes a message of a neighbour."""
        self._inbox.put((sender, payload))

    @ray.method(concurrency_group="status")
    def report(self) -> NodeReport:
        """Returns what has happened since the last report."""
        # Before the records: what comes after it may be missing in them, nothing else.
        now, bits_sent = self._seen_until, self._bits_sent
        records = []
        while not self._records.empty():
            records.append(self._records.get())
        return NodeReport(now, records, bits_sent, self._error)

    @ray.method(concurrency_group="status")
    def end(self) -> None:
        """Ends the program; messages that come later are dropped."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        while not self._inbox.empty():
            self._inbox.get()

    def _run(self, method: Any, clock: NodeClock) -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._serve(method, clock)
        except BaseException:
            self._error = traceback.format_exc()

    def _serve(self, method: Any, clock: NodeClock) -> None:
        method.start_at(self._number, clock)
        self._note(method, clock, None)
        while not self._is_over.is_set():
            event = clock.step()
            if event is not None:
                method.receive(event, clock)
                self._note(method, clock, event)
            self._bits_sent = clock.bits_sent
            self._seen_until = clock.now if event is not None else max(clock.elapsed(), clock.now)

    def _note(self, method: Any, clock: NodeClock, event: Arrival | None) -> None:
        cancelled = [(int(number[0]), float(assigned_at[0]), int(version[0]))
                     for _, number, assigned_at, version in clock.cancelled]  # fmt: skip
        clock.cancelled.clear()
        told, arrival = method.told(self._number), None
        if event is not None and not isinstance(event, NodeEvent | Delivery | EdgeFreed):
            arrival = event.number, event.assigned_at, event.version, event.used
        if cancelled or arrival is not None or told is not None:
            self._records.put(NodeRecord(clock.now, arrival, cancelled, told))
