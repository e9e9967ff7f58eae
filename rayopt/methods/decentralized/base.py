"""What methods without a server share: a program per node, the pivot, the trees, and the rounds that are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, at_least, one_of
from rayopt.core.programs import POINTS, Delivery, EdgeFreed, Node, NodeEvent, NodeProgram
from rayopt.core.tasks import Gradient, float_bits_of
from rayopt.latency.network import Network
from rayopt.methods.base import Array, Method
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory.decentralized import best_pivot

TREES = ("shortest", "minimum_hops")


class NetworkFleet(Protocol):
    """The nodes, as a method commands them.

    Attributes:
      nodes: one for each program.
      now: seconds since the start.
    """

    @property
    def nodes(self) -> Sequence[Node]: ...

    now: float


class DecentralizedMethod(Method):
    """A method that runs as a program on every node of a :class:`~rayopt.latency.network.Network`, on both clocks.

    Attributes:
      programs: of the nodes, after :meth:`prepare`.
      rounds: (time, k after it, s_k gradients in it) of every update so far; time in seconds.
    """

    decentralized: ClassVar[bool] = True
    keeps_statistics = False

    _network: Network
    rounds: list[tuple[float, int, int]]
    programs: list[Any]

    def use_network(self, network: Network) -> None:
        """Tells the method on which network it runs, before ``prepare``."""
        self._network = network

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self.rounds = []
        self.programs = self.make_programs(workers)

    def make_programs(self, n: int) -> list[Any]:
        """Returns the programs of the nodes."""
        raise NotImplementedError

    def start(self, fleet: Any) -> None:
        for node in range(len(self.programs)):
            self.start_at(node, fleet)

    def start_at(self, node: int, fleet: Any) -> None:
        """Begins the program of a node."""
        raise NotImplementedError

    def receive(self, arrival: Arrival, fleet: Any) -> None:
        """Gives an event to the program of its node, and lets the method act after it."""
        number = node_of(arrival)
        program: NodeProgram = self.programs[number]
        node = fleet.nodes[number]
        program.known = self.updates
        if type(arrival) is Delivery:
            program.received(node, arrival.sender, arrival.payload)
        elif type(arrival) is EdgeFreed:
            if not arrival.is_free:
                return
            program.sent(node, arrival.neighbour)
        elif isinstance(arrival, NodeEvent):
            program.woken(node)
        else:
            program.computed(node, arrival)
        self.after(number, fleet)

    def after(self, node: int, fleet: NetworkFleet) -> None:
        """Looks at what a node has got after an event there."""
        raise NotImplementedError

    def changed_state(self, node: int) -> Any:
        """Returns what others must know after an event at a node that runs on a machine of its own; None for nothing.

        It is what :meth:`take` takes, of parts that can travel.
        """
        raise NotImplementedError

    def take(self, node: int, state: Any, fleet: NetworkFleet) -> None:
        """Takes what :meth:`changed_state` returned, where the run is followed and no program acts."""
        raise NotImplementedError

    def note_round(self, fleet: NetworkFleet, collected: int) -> None:
        """Records the update that was just made."""
        self.rounds.append((fleet.now, self.updates, collected))


def node_of(arrival: Arrival) -> int:
    """Returns the node at which something has happened."""
    return arrival.node if isinstance(arrival, NodeEvent) else int(arrival.worker)


class PivotMethod(DecentralizedMethod):
    """A method whose updates are made at one node, the pivot, which sends its points over a spanning tree.

    Args:
      step_size: gamma.
      batch_size: S.
      pivot: "best" (the least equilibrium time), "centre" (the least largest distance there and back), or a node.
      trees: "shortest" (in seconds) or "minimum_hops"; or the parents of the nodes, of one tree for both ways or
        {"towards": parents, "outwards": parents}, -1 for the pivot.

    Attributes:
      pivot_node: the node that was chosen, after ``prepare``.
    """

    def __init__(self, step_size: StepSize, batch_size: int, pivot: Any = "best",
                 trees: Any = "shortest", **controls: Unpack[Controls]) -> None:  # fmt: skip
        super().__init__(step_size, **controls)
        self.batch_size = at_least("batch_size", batch_size, 1)
        if isinstance(pivot, str) and pivot not in ("best", "centre"):
            raise InvalidInput("pivot", f"{pivot!r} is not a node", "best, centre or the number of a node")
        self.pivot = pivot if isinstance(pivot, str) else at_least("pivot", pivot, 0)
        self.trees = one_of("trees", trees, TREES) if isinstance(trees, str) else _parents(trees)

    def prepare(self, start_point: Array, workers: int) -> None:
        dimension, float_bits = start_point.shape[-1], float_bits_of(start_point.dtype)
        self.pivot_node = self._choose_pivot(dimension, float_bits)
        if isinstance(self.trees, str):
            self._towards, self._outwards = self._network.trees(self.pivot_node, self.trees, dimension, float_bits)
        else:
            self._towards, self._outwards = self._given_trees()
        self._children = children_of(self._outwards)
        self._dimension = dimension
        self._reported_updates = 0
        super().prepare(start_point, workers)

    def _given_trees(self) -> tuple[list[int], list[int]]:
        """Returns the trees that were given.

        Raises:
          InvalidInput: one does not span the graph, has an edge that is not there, or another root than the pivot.
        """
        both = self.trees if isinstance(self.trees, Mapping) else {"towards": self.trees, "outwards": self.trees}
        edges = set(self._network.graph.edges)
        for way, parents in both.items():
            check_tree(f"trees.{way}" if isinstance(self.trees, Mapping) else "trees", parents, self._network.count)
            for node, parent in enumerate(parents):
                edge = (node, parent) if way == "towards" else (parent, node)
                if parent >= 0 and edge not in edges:
                    raise InvalidInput("trees", f"{way}: there is no edge from {edge[0]} to {edge[1]}",
                                       "edges of the graph")  # fmt: skip
            if parents[self.pivot_node] != -1:
                raise InvalidInput("trees", f"{way}: its root is {parents.index(-1)}, and the pivot {self.pivot_node}",
                                   f"pivot: {parents.index(-1)}")  # fmt: skip
        return both["towards"], both["outwards"]

    def _choose_pivot(self, dimension: int, float_bits: int) -> int:
        network = self._network
        if not isinstance(self.trees, str) and isinstance(self.pivot, str):
            # Whoever gives the trees has chosen their root.
            parents = self.trees["towards"] if isinstance(self.trees, Mapping) else self.trees
            check_tree("trees", parents, network.count)
            return int(parents.index(-1))
        if not isinstance(self.pivot, str):
            if self.pivot >= network.count:
                raise InvalidInput("pivot", f"{self.pivot} is not a node", f"0 to {network.count - 1}")
            return self.pivot
        distances = network.distances(dimension, float_bits=float_bits)
        there_and_back = distances + distances.T
        if self.pivot == "centre":
            return int(np.argmin(there_and_back.max(axis=0)))
        compute = network.times(0, dimension).expected
        if compute is None:
            raise InvalidInput("pivot", "best, and the times are not known", "centre or the number of a node")
        return best_pivot(self.gradients_wanted, compute, there_and_back)

    @property
    def gradients_wanted(self) -> int:
        """S: how many an update needs."""
        return self.batch_size

    def changed_state(self, node: int) -> Any:
        if node != self.pivot_node or self.updates == self._reported_updates:
            return None
        self._reported_updates = self.updates
        state = {name: dict(value) if isinstance(value, dict) else value
                 for name, value in vars(self).items() if isinstance(value, np.ndarray | dict)}  # fmt: skip
        return self.updates, self.rounds[-1][2], state

    def take(self, node: int, state: Any, fleet: NetworkFleet) -> None:
        self.updates, collected, own = state
        vars(self).update(own)
        self.note_round(fleet, collected)

    def start_at(self, node: int, fleet: Any) -> None:
        if node == self.pivot_node:
            self.spread(fleet)

    def spread(self, fleet: NetworkFleet) -> None:
        """Hands the point of the next update to the pivot."""
        self.programs[self.pivot_node].point(fleet.nodes[self.pivot_node], self.evaluated_at(), self.updates)

    def evaluated_at(self) -> Array:
        """Returns the point at which gradients are computed next, the shape of x."""
        return self.x

    def step(self, gradient: Array) -> None:
        """Makes an update with the mean of the gradients."""
        self.descend(gradient)


def _parents(given: Any) -> Any:
    """Returns parents as lists of integers, or raises InvalidInput."""
    allowed = f"{', '.join(TREES)}, the parents of the nodes, or {{towards: parents, outwards: parents}}"
    if isinstance(given, Mapping):
        if set(given) != {"towards", "outwards"}:
            raise InvalidInput("trees", f"a mapping with {', '.join(map(str, given)) or 'nothing'}", allowed)
        return {way: _parents(given[way]) for way in ("towards", "outwards")}
    found = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(found, list | tuple) or not all(isinstance(node, int) and node >= -1 for node in found):
        raise InvalidInput("trees", f"{given!r} is not a list of nodes", allowed)
    return list(found)


def check_tree(key: str, parents: Sequence[int], count: int) -> None:
    """Raises InvalidInput if parents do not make a tree that spans so many nodes."""
    if len(parents) != count:
        raise InvalidInput(key, f"{len(parents)} parents for {count} nodes", "the parent of each node")
    roots = [node for node, parent in enumerate(parents) if parent == -1]
    if len(roots) != 1:
        raise InvalidInput(key, f"{len(roots)} nodes without a parent", "one, the pivot, whose parent is -1")
    for node, parent in enumerate(parents):
        if parent >= count:
            raise InvalidInput(key, f"the parent of {node} is {parent}", f"nodes from 0 to {count - 1}")
        seen = {node}
        while parent != -1:
            if parent in seen:
                raise InvalidInput(key, f"{node} never comes to the pivot: {parent} is above itself", "a spanning tree")
            seen.add(parent)
            parent = parents[parent]


def children_of(parents: Sequence[int]) -> list[list[int]]:
    """Returns the children of each node, in order, of a tree that gives its parent, -1 for the root."""
    found: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            found[parent].append(node)
    return found


class TreeProgram(NodeProgram):
    """What the programs of a pivot's methods share: they forward points and compute gradients at the newest.

    Attributes:
      towards: where it sends sums, -1 at the pivot.
      children: to whom it forwards points.
      newest: kmax, the number of the newest point that the node knows of.
      point_number: that of the newest point that it has.
      collected: gradients at that point.
    """

    def __init__(self, towards: int, children: Sequence[int], dimension: int) -> None:
        self.towards = towards
        self.children = list(children)
        self.dimension = dimension
        self.newest = -1
        self.point_number = -1
        self.collected = GradientSum()

    def point(self, node: Node, x: Array, k: int) -> None:
        """Takes a new point: forwards it to all children at once, forgets what belongs to older ones, and computes."""
        if k <= self.point_number:
            return
        self.point_number = k
        for child in self.children:
            node.send(child, (POINTS, x, k), self.dimension, POINTS)
        self.learn(k)
        if k == self.newest:
            node.compute(Gradient(x, k))
        else:
            node.stop()

    def learn(self, k: int) -> None:
        """Learns that there is a point with this number: what belongs to an older one is forgotten."""
        if k > self.newest:
            self.newest = k
            self.reset()

    def reset(self) -> None:
        """Forgets what was collected."""
        self.collected = GradientSum()
