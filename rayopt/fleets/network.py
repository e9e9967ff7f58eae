"""The clock of a network without a server: computations at nodes, messages on edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, GradientSum, Source
from rayopt.core.errors import FleetStuck, InvalidInput
from rayopt.core.keys import Stream
from rayopt.core.programs import Delivery, EdgeFreed, NodeEvent
from rayopt.core.tasks import FLOAT_BITS, Gradient
from rayopt.latency.network import Network

Array = NDArray[np.float64]
IDLE = -1.0
COMPUTED, RECEIVED, FREED, WOKEN = range(4)
"""Kinds of events, in the order in which they come at one node and time."""


class NetworkNode:
    """One node, as its program sees it (see :class:`rayopt.core.programs.Node`)."""

    __slots__ = ("_network", "neighbours", "number")

    def __init__(self, network: NetworkClock, number: int, neighbours: Sequence[int]) -> None:
        self._network = network
        self.number = number
        self.neighbours = neighbours

    @property
    def now(self) -> float:
        return self._network.now

    def compute(self, task: Gradient) -> None:
        self._network.compute(self.number, task)

    def stop(self) -> None:
        self._network.stop(self.number)

    def send(self, neighbour: int, payload: tuple[Any, ...], floats: int, flow: str = "") -> None:
        self._network.send(self.number, neighbour, payload, floats, flow)

    def is_free(self, neighbour: int, flow: str = "") -> bool:
        return self._network.is_free(self.number, neighbour, flow)

    def wake(self, seconds: float) -> None:
        self._network.wake(self.number, seconds)


class NetworkClock:
    """The nodes of one run, and the clock.

    An edge carries one message at a time in each direction, and the next leaves when it is free. Messages of different
    flows take turns, unless flows are full-duplex: then each has the edge for itself. Of one flow only the newest
    message waits. Events at equal times go by node, then kind (computed, received, freed, woken), then by the order in
    which they were caused. The duration of a message is addressed by (seed, edge, its number on the edge).

    Args:
      network: the graph and its times.
      dimension: of the vectors that travel.
      seed: addresses durations and the method's own generator.
      source: where the values of arrivals come from.
      shard_sizes: rows of data of each node, shape (n,); None if all have the same.
      float_bits: of a float of the vectors, 64 or 32.

    Attributes:
      nodes: one for each program.
      bits_sent: of all messages that have left.
    """

    def __init__(
        self,
        network: Network,
        dimension: int,
        seed: int,
        source: Source | None,
        shard_sizes: NDArray[np.integer] | None = None,
        float_bits: int = FLOAT_BITS,
    ) -> None:
        self.n = n = network.count
        self.float_bits = float_bits
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.shard_sizes = shard_sizes
        self.cancelled: list[tuple[Any, ...]] = []
        self.source = source
        self._times = network.times(seed, dimension, float_bits)
        self.expected_times: Array | None = self._times.expected
        self._link = network.link(seed, dimension, float_bits)
        self._edge_of = {edge: position for position, edge in enumerate(network.graph.edges)}
        self._ends_of = network.graph.edges
        self._shares_edges = not network.full_duplex_flows
        neighbours: list[list[int]] = [[] for _ in range(n)]
        for i, j in sorted(network.graph.edges):
            neighbours[i].append(j)
        self.nodes = [NetworkNode(self, number, own) for number, own in enumerate(neighbours)]
        self._events: list[tuple[float, int, int, int, Any]] = []
        self._order = 0
        self._tasks: list[Any] = [None] * n
        self._stamps = [0] * n
        self._given = [0] * n
        self._assigned_at = [IDLE] * n
        self._ended_seconds = 0.0
        # By edge, and by flow where flows do not disturb each other: what is on its way, and what waits.
        self._carried: dict[tuple[int, str], str] = {}
        self._waiting: dict[tuple[int, str], dict[str, tuple[Any, int]]] = {}
        self._sent = [0] * len(self._edge_of)
        self._arrived = [0] * len(self._edge_of)
        self._bits_arrived = [0] * len(self._edge_of)
        self.bits_sent = 0

    @property
    def busy(self) -> int:
        """Number of nodes that compute."""
        return self.n - self._assigned_at.count(IDLE)

    @property
    def busy_seconds(self) -> float:
        """Node-seconds of all tasks, those that still run up to now."""
        return self._ended_seconds + sum(self.now - start for start in self._assigned_at if start != IDLE)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever happen."""
        return not any(self._is_due(event) for event in self._events)

    def state(self) -> dict[str, Any]:
        """Returns what the network must know to go on (see ``rayopt.runs.snapshot``)."""
        return {
            "now": self.now,
            "random": self.random,
            "events": self._events,
            "order": self._order,
            "tasks": self._tasks,
            "stamps": self._stamps,
            "given": self._given,
            "assigned_at": self._assigned_at,
            "ended_seconds": self._ended_seconds,
            "carried": self._carried,
            "waiting": self._waiting,
            "sent": self._sent,
            "arrived": self._arrived,
            "bits_arrived": self._bits_arrived,
            "bits_sent": self.bits_sent,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned."""
        self.now, self.random, self.bits_sent = state["now"], state["random"], state["bits_sent"]
        for name in ("events", "order", "tasks", "stamps", "given", "assigned_at", "ended_seconds", "carried",
                     "waiting", "sent", "arrived", "bits_arrived"):  # fmt: skip
            setattr(self, f"_{name}", state[name])

    def compute(self, node: int, task: Gradient) -> None:
        """Starts a task at a node; stops the one before."""
        self.stop(node)
        number = self._given[node]
        self._given[node] = number + task.draws
        stamp = self._stamps[node] = self._stamps[node] + 1
        self._tasks[node] = task
        self._assigned_at[node] = self.now
        self._push(self.now + self._times.seconds(task, node, number, self.now), node, COMPUTED, (stamp, number))

    def stop(self, node: int) -> None:
        """Stops the task of a node, if it has one."""
        assigned_at = self._assigned_at[node]
        if assigned_at == IDLE:
            return
        task = self._tasks[node]
        number = self._given[node] - task.draws
        stopped = ([node], [number], [assigned_at], [task.version])
        self.cancelled.append(tuple(np.array(part) for part in stopped))
        self._ended_seconds += self.now - assigned_at
        self._assigned_at[node] = IDLE
        self._stamps[node] += 1

    def send(self, node: int, neighbour: int, payload: tuple[Any, ...], floats: int, flow: str) -> None:
        """Sends a message over an edge, at once or when it is free.

        Raises:
          InvalidInput: there is no such edge.
        """
        if (node, neighbour) not in self._edge_of:
            raise InvalidInput("neighbour", f"node {node} has no edge to {neighbour}", f"{self.nodes[node].neighbours}")
        edge = self._edge_of[node, neighbour]
        lane = edge, "" if self._shares_edges else flow
        if lane in self._carried:
            self._waiting.setdefault(lane, {})[flow] = payload, floats
        else:
            self._leave(lane, payload, floats, flow)

    def _leave(self, lane: tuple[int, str], payload: tuple[Any, ...], floats: int, flow: str) -> None:
        edge = lane[0]
        node, neighbour = self._ends_of[edge]
        number = self._sent[edge]
        self._sent[edge] = number + 1
        bits = self.float_bits * floats
        self.bits_sent += bits
        self._carried[lane] = flow
        time = self.now + self._link.duration(edge, number, self.now, bits)
        self._push(time, neighbour, RECEIVED, (node, payload, self.now, number, floats))
        self._push(time, node, FREED, (lane, self.now))

    def is_free(self, node: int, neighbour: int, flow: str) -> bool:
        """Whether a message of this flow would leave at once."""
        return (self._edge_of[node, neighbour], "" if self._shares_edges else flow) not in self._carried

    def flows(self) -> list[tuple[int, int, int, int]]:
        """Returns (from, to, messages, bits) of the edges over which something has come."""
        columns = zip(self._ends_of, self._arrived, self._bits_arrived, strict=True)
        return [(*ends, messages, bits) for ends, messages, bits in columns if messages]

    def wake(self, node: int, seconds: float) -> None:
        """Asks for an alarm at a node."""
        self._push(self.now + seconds, node, WOKEN, self.now)

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next event in order, or None with ``now = until``; an event at exactly ``until`` counts.

        Raises:
          FleetStuck: nothing will ever happen, and ``until`` is infinite.
        """
        events = self._events
        while events and events[0][0] <= until and events[0][0] < math.inf:
            event = heappop(events)
            if not self._is_due(event):
                continue
            time, node, kind, _, about = event
            self.now = self._reached(time)
            if kind == COMPUTED:
                return self._arrival(node, about[1])
            if kind == RECEIVED:
                if (delivery := self._delivery(node, *about)) is not None:
                    return delivery
                continue
            if kind == WOKEN:
                return NodeEvent(self.now, about, node)
            lane, sent_at = about
            flow = self._carried[lane]
            return EdgeFreed(
                self.now, sent_at, node, self._ends_of[lane[0]][1], flow, is_free=not self._next_leaves(lane)
            )
        if until == math.inf:
            raise FleetStuck(self.now, self.busy, self.n - self.busy)
        self.now = until
        return None

    def _reached(self, time: float) -> float:
        """Returns what the clock shows when an event happens that is due at a time."""
        return time

    def _delivery(
        self, node: int, sender: int, payload: tuple[Any, ...], sent_at: float, number: int, floats: int
    ) -> Delivery | None:
        """Returns what a node receives; None if it is not here."""
        edge = self._edge_of[sender, node]
        self._arrived[edge] += 1
        self._bits_arrived[edge] += self.float_bits * floats
        return Delivery(self.now, sent_at, node, sender, payload, number, floats)

    def _is_due(self, event: tuple[float, int, int, int, Any]) -> bool:
        """Whether an event will happen: a task that was stopped does not end."""
        time, node, kind, _, about = event
        return time < math.inf and (kind != COMPUTED or about[0] == self._stamps[node])

    def _arrival(self, node: int, number: int) -> Arrival:
        assigned_at = self._assigned_at[node]
        self._ended_seconds += self.now - assigned_at
        self._assigned_at[node] = IDLE
        return Arrival(node, self.now, assigned_at, self._tasks[node], number, self.source)

    def _next_leaves(self, lane: tuple[int, str]) -> bool:
        """Frees an edge; sends what waits for it, of another flow than the last if there is any."""
        last = self._carried.pop(lane)
        waiting = self._waiting.get(lane)
        if not waiting:
            return False
        flow = next((flow for flow in waiting if flow != last), last)
        payload, floats = waiting.pop(flow)
        self._leave(lane, payload, floats, flow)
        return True

    def _push(self, time: float, node: int, kind: int, about: Any) -> None:
        heappush(self._events, (time, node, kind, self._order, about))
        self._order += 1


def summed(payload: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what travels of a payload: what was collected is summed as it leaves, a message has one vector."""
    return tuple(part.to_send() if isinstance(part, GradientSum) else part for part in payload)
