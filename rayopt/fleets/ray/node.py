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

from rayopt.core.arrivals import Arrival
from rayopt.core.programs import Delivery, NodeEvent
from rayopt.core.tasks import Gradient, float_bits_of
from rayopt.fleets.network import RECEIVED, NetworkClock, summed
from rayopt.fleets.ray.clocks import clock_of
from rayopt.fleets.ray.messages import Load, Order
from rayopt.fleets.ray.task_executor import TaskExecutor
from rayopt.latency.network import Network

LONGEST_WAIT = 0.1
"""Real seconds after which a node looks whether it is to stop, though nothing has happened."""


class NodeRecord(NamedTuple):
    """One event at a node, as the run that is followed elsewhere receives it.

    Attributes:
      time: fleet seconds, by the node's clock.
      event: what has happened, if it is not an arrival: without its payload.
      arrival: (task number, assigned_at, version, whether it was used) of a gradient, or None.
      cancelled: (task number, assigned_at, version) of tasks that were stopped.
      state: what has changed of the method's state, or None.
      bits_sent: of all messages that have left so far.
    """

    time: float
    event: NodeEvent | None
    arrival: tuple[int, float, int, bool] | None
    cancelled: list[tuple[int, float, int]]
    state: Any
    bits_sent: int


class NodeReport(NamedTuple):
    """What has happened at a node since the last report.

    Attributes:
      now: fleet seconds; nothing before it is still to come.
      records: its events, in order.
      error: the traceback of what ended it, or "".
    """

    now: float
    records: list[NodeRecord]
    error: str


class NodeClock(NetworkClock):
    """The clock of one node in real time: its own events, and messages that come from other machines.

    A message is held back by its sender for the seconds of its edge. A gradient is computed when its task is given, and
    arrives when its time is over.

    Args:
      number: of the node.
      network: the graph and its times.
      dimension: of the vectors that travel.
      float_bits: of their floats, 64 or 32.
      seed: addresses durations and samples.
      executor: computes on the node's shard.
      peers: the actors of the neighbours, by node.
      inbox: what :meth:`NetworkActor.deliver` has taken.
      run: number of the run: messages of another one are dropped.
      started_at: when it begins, on this machine's monotonic clock.
    """

    def __init__(
        self,
        number: int,
        network: Network,
        dimension: int,
        float_bits: int,
        seed: int,
        executor: TaskExecutor,
        peers: Mapping[int, Any],
        inbox: queue.SimpleQueue[tuple[Any, ...]],
        run: int,
        started_at: float,
    ) -> None:
        super().__init__(network, dimension, seed, source=None, float_bits=float_bits)
        self._number = number
        self._executor = executor
        self._peers = peers
        self._inbox = inbox
        self._run = run
        self._value: Any = None
        self._started_at = started_at

    def elapsed(self) -> float:
        """Returns fleet seconds since the start."""
        return (time.monotonic() - self._started_at) / self._executor.time_scale

    def compute(self, node: int, task: Gradient) -> None:
        """Starts a task.

        Raises:
          ValueError: the problem raises an error, or what it returns is not a gradient.
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

    def _take(self, run: int, sender: int, payload: Any, sent_at: float, number: int, floats: int) -> None:
        if run != self._run:
            return
        now = max(self.elapsed(), self.now)
        self._push(now, self._number, RECEIVED, (sender, payload, sent_at, number, floats))

    def _reached(self, time: float) -> float:
        return max(self.elapsed(), time)

    def _delivery(self, node: int, *about: Any) -> Delivery | None:
        if node == self._number:
            return super()._delivery(node, *about)
        # Its time on the edge is over.
        self._peers[node].deliver.remote(self._run, *about)
        return None

    def _leave(self, lane: tuple[int, str], payload: tuple[Any, ...], floats: int, flow: str) -> None:
        super()._leave(lane, summed(payload), floats, flow)

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
        self._inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._records: queue.SimpleQueue[NodeRecord] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._error = ""
        self._seen_until = 0.0
        self._executor = TaskExecutor()
        self._shares_clock = False

    def load(self, load: Load) -> None:
        """Takes the node's shard."""
        (profile,) = load.fetch().values()
        threadpool_limits(profile.blas_threads)
        self._shares_clock = not clock_of(load.server_node)
        self._executor.load(profile, shares_clock=True)

    def begin(self, run: int, method: Any, network: Network, seed: int, peers: Mapping[int, Any]) -> None:
        """Takes the program of this node, after :meth:`end` of the one before; :meth:`go` starts it.

        Args:
          run: a number that no run before has had.
          method: prepared; the programs of the other nodes are not looked at.
          network: the graph and its times.
          seed: addresses durations and samples.
          peers: the actors of the neighbours.
        """
        self._is_over.clear()
        self._error, self._seen_until = "", 0.0
        while not self._records.empty():
            self._records.get()
        vectors = method.x.shape[-1], float_bits_of(method.x.dtype)
        self._given = method, (self._number, network, *vectors, seed, self._executor, peers, self._inbox, run)

    def go(self, started_at: float) -> None:
        """Starts the program.

        Args:
          started_at: when, on the monotonic clock of the driver; a machine with another clock starts now.
        """
        method, about = self._given
        clock = NodeClock(*about, started_at if self._shares_clock else time.monotonic())
        self._thread = threading.Thread(target=self._run, args=(method, clock), daemon=True)
        self._thread.start()

    @ray.method(concurrency_group="inbox")
    def deliver(self, run: int, sender: int, payload: Any, sent_at: float, number: int, floats: int) -> None:
        """Takes a message of a neighbour.

        Args:
          run: in which it was sent.
          sender: the neighbour.
          payload: what it sends.
          sent_at: fleet seconds by its clock.
          number: of the message on its edge.
          floats: its size.
        """
        self._inbox.put((run, sender, payload, sent_at, number, floats))

    @ray.method(concurrency_group="status")
    def report(self) -> NodeReport:
        """Returns what has happened since the last report."""
        # Before the records: what comes after it may be missing in them, nothing else.
        now = self._seen_until
        records = []
        while not self._records.empty():
            records.append(self._records.get())
        return NodeReport(now, records, self._error)

    @ray.method(concurrency_group="status")
    def end(self) -> None:
        """Ends the program."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, method: Any, clock: NodeClock) -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._serve(method, clock)
        except BaseException:
            self._error = traceback.format_exc()

    def _serve(self, method: Any, clock: NodeClock) -> None:
        time.sleep(max(-clock.elapsed(), 0.0) * self._executor.time_scale)
        method.start_at(self._number, clock)
        # From here on, what changes is reported.
        method.changed_state(self._number)
        while not self._is_over.is_set():
            event = clock.step()
            if event is not None:
                method.now = event.time
                method.receive(event, clock)
                self._note(method, clock, event)
            self._seen_until = clock.now if event is not None else max(clock.elapsed(), clock.now)

    def _note(self, method: Any, clock: NodeClock, event: Arrival) -> None:
        cancelled = [(int(number[0]), float(assigned_at[0]), int(version[0]))
                     for _, number, assigned_at, version in clock.cancelled]  # fmt: skip
        clock.cancelled.clear()
        arrival: tuple[int, float, int, bool] | None = None
        about: NodeEvent | None = None
        if isinstance(event, Delivery):
            kind = event.payload[:1]
            about = Delivery(event.time, event.assigned_at, event.node, event.sender, kind, event.message_number,
                             event.floats)  # fmt: skip
        elif isinstance(event, NodeEvent):
            about = event
        else:
            arrival = event.number, event.assigned_at, event.version, event.used
        state = method.changed_state(self._number)
        self._records.put(NodeRecord(clock.now, about, arrival, cancelled, state, clock.bits_sent))
