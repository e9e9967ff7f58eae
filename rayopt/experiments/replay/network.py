"""A run without a server, executed again: what happened at its nodes, in an order that its messages allow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput
from rayopt.core.programs import Delivery, EdgeFreed, NodeEvent, kind_of
from rayopt.experiments.replay.fleet import Event
from rayopt.experiments.replay.run import Difference, Rerun
from rayopt.fleets.network import NetworkClock, summed
from rayopt.fleets.ray.messages import Order, Profile
from rayopt.fleets.ray.task_executor import TaskExecutor
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.latency.network import Network
from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.fingerprints import Fingerprint, fingerprint
from rayopt.storage.trace.rows import OUTCOMES


class ReplayedNetwork(NetworkClock):
    """The nodes of a recorded run: nothing happens by the clock.

    Args:
      network: the graph and its times.
      problem: split over the nodes.
      seed: addresses the samples.
      is_real: whether each node was a process of its own: then values are its own, and sums are made as they leave.

    Attributes:
      on_their_way: payloads by (sender, receiver, number of the message on the edge).
    """

    def __init__(self, network: Network, problem: Problem, seed: int, is_real: bool) -> None:
        source = None if is_real else ComputedValues(problem, network.count, seed)
        super().__init__(network, problem.dimension, seed, source, float_bits=problem.float_bits)
        self.on_their_way: dict[tuple[int, int, int], tuple[Any, ...]] = {}
        self._executors = [TaskExecutor() for _ in range(self.n)] if is_real else []
        for node, executor in enumerate(self._executors):
            executor.load(Profile(problem.shard(node), self._times, seed, 1.0), shares_clock=True, warm_up=False)

    def _push(self, time: float, node: int, kind: int, about: Any) -> None:
        """Nothing is awaited."""

    def _leave(self, lane: tuple[int, str], payload: tuple[Any, ...], floats: int, flow: str) -> None:
        content = summed(payload) if self._executors else payload
        self.on_their_way[(*self._ends_of[lane[0]], self._sent[lane[0]])] = content
        super()._leave(lane, content, floats, flow)

    def has_task(self, node: int, number: int) -> bool:
        """Whether a node computes its task of this number."""
        task = self._tasks[node]
        return task is not None and self._assigned_at[node] >= 0 and self._given[node] - task.draws == number

    def computed(self, node: int, number: int) -> Arrival:
        """Returns the end of a node's task; in real time with its value."""
        arrival = self._arrival(node, number)
        if not self._executors:
            return arrival
        order = Order(node, 0, number, arrival.task, 0.0, 0.0)
        arrival._value = self._executors[node].value(order)
        return arrival

    def free(self, node: int, neighbour: int, kind: str) -> EdgeFreed:
        """Frees an edge that has carried a message of a kind; what waits for it leaves."""
        edge = self._edge_of[node, neighbour]
        for lane, flow in self._carried.items():
            if lane[0] == edge and kind_of(flow) == kind:
                return EdgeFreed(self.now, self.now, node, neighbour, flow, is_free=not self._next_leaves(lane))
        raise KeyError(edge)


class ReplayOfNetwork(Rerun):
    """A method without a server whose nodes live through again what they lived through.

    Args:
      method: prepared; its programs act.
      watching: equal; it receives what the watcher of the run received.
      network: where they act.
      events: the trace, in the order in which it was watched.
      hashes: of x, in order.
    """

    def __init__(
        self,
        method: Any,
        watching: Any,
        network: ReplayedNetwork,
        events: Iterable[Event],
        hashes: Sequence[Fingerprint],
    ) -> None:
        super().__init__(hashes)
        self._method = method
        self._watching = watching
        self._network = network
        self._events = list(events)

    @property
    def has_no_messages(self) -> bool:
        """Whether the trace has rows of tasks alone."""
        return bool(self._events) and all(event.outcome in OUTCOMES for event in self._events)

    @property
    def updates(self) -> int:
        updates: int = self._watching.updates
        return updates

    def _run(self) -> None:
        # Clocks of nodes differ by milliseconds: a message may seem to have come before it left. So the
        # nodes act in an order that messages allow, and outcomes are compared in the order that was watched.
        outcomes = self._outcomes()
        for position, event in enumerate(self._events):
            self._check_hashes()
            self._worker = event.worker
            if event.outcome == "cancelled":
                continue
            if event.outcome in OUTCOMES:
                self.arrivals += 1
            else:
                self._alarms += 1
            self._network.now = event.time
            outcome, changes = outcomes[position]
            if outcome != event.outcome:
                raise self._differs(f"the arrival is {outcome}, and was {event.outcome}")
            for change in changes:
                self._watching.take(event.worker, change, self._network)
            if self._watching.updates != event.updates:
                raise self._differs(f"k is {self._watching.updates:,} after it, and was {event.updates:,}")
        self._check_hashes()
        if self._hashes:
            raise self._differs(f"the trace ends after {self.arrivals:,} arrivals")

    def _outcomes(self) -> dict[int, tuple[str, list[Any]]]:
        """Lets all nodes act; returns, by the position of each event, what came of it and what was reported."""
        waiting: list[deque[int]] = [deque() for _ in range(self._network.n)]
        for position, event in enumerate(self._events):
            if event.outcome != "cancelled":
                waiting[event.worker].append(position)
        for node in range(self._network.n):
            self._network.now = 0.0
            self._method.start_at(node, self._network)
            self._method.changed_state(node)
        found: dict[int, tuple[str, list[Any]]] = {}
        left = sum(map(len, waiting))
        while left:
            before = left
            for node, positions in enumerate(waiting):
                while positions and self._is_ready(self._events[positions[0]]):
                    position = positions.popleft()
                    found[position] = self._act(node, self._events[position])
                    left -= 1
            if left == before:
                event = self._events[min(positions[0] for positions in waiting if positions)]
                self._worker = event.worker
                raise self._differs(f"message {event.number} of node {event.sender} arrives, and was never sent")
        return found

    def _is_ready(self, event: Event) -> bool:
        if event.outcome != "received":
            return True
        return (event.sender, event.worker, event.number) in self._network.on_their_way

    def _act(self, node: int, event: Event) -> tuple[str, list[Any]]:
        network, outcome = self._network, event.outcome
        network.now = self._method.now = event.time
        happened: Arrival
        if outcome == "received":
            payload = network.on_their_way.pop((event.sender, node, event.number))
            happened = Delivery(event.time, event.assigned_at, node, event.sender, payload, event.number)
        elif outcome == "freed":
            happened = network.free(node, event.sender, event.kind)
        elif outcome == "woken":
            happened = NodeEvent(event.time, event.assigned_at, node)
        else:
            if not network.has_task(node, event.number):
                self._worker = node
                raise self._differs(f"task {event.number} arrives, and the node has another one or none")
            happened = network.computed(node, event.number)
        self._method.receive(happened, network)
        if outcome in OUTCOMES:
            outcome = "used" if happened.used else "ignored"
        change = self._method.changed_state(node)
        return outcome, [] if change is None else [change]

    def _check_hashes(self) -> None:
        while self._hashes and (self._hashes[0].arrivals, self._hashes[0].alarms) <= (self.arrivals, self._alarms):
            wanted = self._hashes[0]
            if wanted.alarms > self._alarms or wanted.arrivals > self.arrivals:
                return
            self._hashes.popleft()
            if fingerprint(self._watching.x) != wanted.sha256:
                raise self._differs(f"the hash of x at {wanted.time:g} s is another one")
            self.checked += 1


def replay_on_network(
    method: Method, network: ReplayedNetwork, graph: Network, problem: Problem, events: Iterable[Event],
    hashes: Sequence[Fingerprint],
) -> tuple[ReplayOfNetwork, Difference | None]:  # fmt: skip
    """Executes a run without a server again; returns the replay and the first difference.

    Args:
      method: fresh.
      network: where it acts.
      graph: and its times.
      problem: split over the nodes.
      events: the trace.
      hashes: of x, in order.

    Raises:
      InvalidInput: the trace does not tell of messages.
    """
    both = method, method.fresh()
    for own in both:
        own.use_problem(problem)
        own.use_network(graph)
        own.prepare(problem.start_point(), graph.count)
    found = ReplayOfNetwork(*both, network, events, hashes)
    if found.has_no_messages and graph.count > 1:
        raise InvalidInput("run", "its trace has no messages", "a run with record: {trace: all}")
    return found, found.run()
