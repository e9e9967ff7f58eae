"""Methods in which every node has a point of its own and mixes it with those of its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput, one_of
from rayopt.core.programs import MODELS, Node, NodeProgram
from rayopt.core.tasks import Gradient
from rayopt.latency.network import Network
from rayopt.methods.base import Array
from rayopt.methods.controls import WITHOUT, Controls, StepSize
from rayopt.methods.decentralized.base import DecentralizedMethod, NetworkFleet, node_of


def metropolis_weights(network: Network) -> list[dict[int, float]]:
    """Returns W_ij = 1 / (1 + max(deg_i, deg_j)) of each node's neighbours; W_ii = 1 - their sum."""
    neighbours = undirected_neighbours(network)
    return [{j: 1 / (1 + max(len(own), len(neighbours[j]))) for j in own} for own in neighbours]


def undirected_neighbours(network: Network) -> list[list[int]]:
    """Returns the neighbours of each node.

    Raises:
      InvalidInput: an edge has no edge back.
    """
    edges = set(network.graph.edges)
    for i, j in network.graph.edges:
        if (j, i) not in edges:
            raise InvalidInput("graph", f"an edge from {i} to {j} and none back", "edges that go both ways")
    found: list[list[int]] = [[] for _ in range(network.count)]
    for i, j in sorted(edges):
        found[i].append(j)
    return found


class PeerMethod(DecentralizedMethod):
    """A method whose nodes all begin at x^0 and work by themselves."""

    refused_controls = dict.fromkeys(WITHOUT, "there is no server, every node steps by itself")

    def __init__(self, step_size: StepSize, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        if self._step_sizes.changes:
            problem = f"{self.step_size!r} is a schedule, and every node steps by itself"
            raise InvalidInput("step_size", problem, "a number above 0 or a list of such numbers")

    @property
    def node_points(self) -> Array:
        return np.stack([program.x for program in self.programs])

    def prepare(self, start_point: Array, workers: int) -> None:
        self._start = np.array(np.broadcast_to(start_point, (*self._step_sizes.grid, *start_point.shape)))
        self._reported: dict[int, Array] = {}
        super().prepare(start_point, workers)

    def start_at(self, node: int, fleet: Any) -> None:
        self.programs[node].begin(fleet.nodes[node])

    def changed_state(self, node: int) -> Any:
        program = self.programs[node]
        if program.x is self._reported.get(node):
            return None
        self._reported[node] = program.x
        return program.x, *program.progress()


class RoundsOfNeighbours(PeerMethod):
    """A method of rounds: a node goes on when its own gradient and the messages of all its neighbours are there.

    A node may be a round ahead of its neighbours. An update is made when the last node ends a round; ``x`` is the mean
    of the nodes' points of that round.

    Args:
      step_size: gamma.
    """

    heterogeneous = True
    waits_for_everyone = True
    vectors_per_worker = 2

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        # Of rounds that not all nodes have ended: the sum of the points, and how many there are.
        self._sums: dict[int, tuple[Array, int]] = {}
        self._counted = [0] * workers

    def take(self, node: int, state: Any, fleet: NetworkFleet) -> None:
        program = self.programs[node]
        program.x, program.rounds = state
        self.after(node, fleet)

    def after(self, node: int, fleet: NetworkFleet) -> None:
        program = self.programs[node]
        if program.rounds == self._counted[node]:
            return
        self._counted[node] = k = program.rounds
        total, count = self._sums.pop(k, (np.zeros_like(program.x), 0))
        total, count = total + program.x, count + 1
        if count < len(self.programs):
            self._sums[k] = total, count
        else:
            self.x = total / count
            self.updates += 1
            self.note_round(fleet, count)


class RoundProgram(NodeProgram):
    """The process of a node: it computes at its point, sends, and mixes.

    Attributes:
      x: the point of the node.
      rounds: how many it has ended.
    """

    def __init__(self, x: Array, neighbours: Iterable[int], step_size: Any) -> None:
        self.x = x
        self.neighbours = list(neighbours)
        self.step_size = step_size
        self.rounds = 0
        self.is_ready = False
        # Of this round and of the next one, by round and neighbour.
        self.inbox: dict[int, dict[int, Any]] = {}

    def progress(self) -> tuple[int]:
        """Returns how many rounds it has ended."""
        return (self.rounds,)

    def begin(self, node: Node) -> None:
        """Begins a round."""
        self.is_ready = False
        node.compute(Gradient(self.x, min(self.rounds, self.known)))

    def computed(self, node: Node, arrival: Arrival) -> None:
        self.take(arrival.value)
        for neighbour in self.neighbours:
            content, floats = self.message(neighbour)
            node.send(neighbour, (MODELS, content, self.rounds), floats, f"{MODELS} {self.rounds % 2}")
        self.is_ready = True
        self._go_on(node)

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        _, content, k = payload
        self.inbox.setdefault(k, {})[sender] = content
        self._go_on(node)

    def _go_on(self, node: Node) -> None:
        got = self.inbox.get(self.rounds, {})
        if self.is_ready and len(got) == len(self.neighbours):
            self.inbox.pop(self.rounds, None)
            self.mix(got)
            self.rounds += 1
            self.begin(node)

    def take(self, gradient: Array) -> None:
        """Takes the gradient at its point."""
        raise NotImplementedError

    def message(self, neighbour: int) -> tuple[Any, int]:
        """Returns what a neighbour is sent, and its floats."""
        raise NotImplementedError

    def mix(self, got: dict[int, Any]) -> None:
        """Makes the next point of what the neighbours have sent."""
        raise NotImplementedError


class GossipSGD(RoundsOfNeighbours):
    """Decentralised SGD by gossip: a local step, then a mean with the neighbours.

    .. math:: x_i^{k+1} = \\sum_j W_{ij} \\big(x_j^k - \\gamma \\nabla f_j(x_j^k; \\xi_j^k)\\big)

    with gamma = ``step_size`` and Metropolis weights W_ij = 1 / (1 + max(deg_i, deg_j)) [memory]. What is evaluated is
    the mean of the nodes' points.

    Server knows:
      nothing: there is none.

    Guarantee:
      none in seconds; a round takes at least max h and the slowest edge [paper, Table 2].

    Args:
      step_size: gamma.

    Raises:
      InvalidInput: an edge has no edge back.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.GossipSGD(step_size=0.3), ro.problems.Quadratic(dimension=5), network,
      ...                 until=ro.Until(updates=2))
      >>> result.rounds.time.tolist()
      [1.5, 3.0]

    References:
      Lian et al., `Can Decentralized Algorithms Outperform Centralized Algorithms?
      <https://arxiv.org/abs/1705.09056>`_, NeurIPS 2017.
    """

    name = "gossip_sgd"
    paper = "Lian et al. 2017, arXiv 1705.09056"

    def make_programs(self, n: int) -> list[GossipProgram]:
        return [GossipProgram(self._start, own, self._step) for own in metropolis_weights(self._network)]


class WeighingProgram(RoundProgram):
    """The process of a node that takes means with its neighbours.

    Attributes:
      weights: W_ij of the neighbours.
      own_weight: W_ii.
    """

    def __init__(self, x: Array, weights: dict[int, float], step_size: Any) -> None:
        super().__init__(x, weights, step_size)
        self.weights = weights
        self.own_weight = 1 - sum(weights.values())

    def mean(self, own: Array, got: Mapping[int, Array]) -> Array:
        """Returns the weighted mean of the node's own vector and those of its neighbours."""
        found: Array = self.own_weight * own + sum(self.weights[j] * got[j] for j in self.neighbours)
        return found


class GossipProgram(WeighingProgram):
    """The process of a node."""

    def take(self, gradient: Array) -> None:
        self.half = self.x - gradient * self.step_size

    def message(self, neighbour: int) -> tuple[Any, int]:
        return self.half, self.half.shape[-1]

    def mix(self, got: dict[int, Any]) -> None:
        self.x = self.mean(self.half, got)


class GradientTracking(RoundsOfNeighbours):
    """Gradient tracking: gossip of points and of estimates of the gradient of f, so that different data do no harm.

    .. math:: x_i^{k+1} = \\sum_j W_{ij} (x_j^k - \\gamma y_j^k), \\qquad
              y_i^{k+1} = \\sum_j W_{ij} y_j^k + g_i(x_i^{k+1}) - g_i(x_i^k), \\qquad y_i^0 = g_i(x^0)

    with gamma = ``step_size``, Metropolis weights and stochastic gradients g_i [memory]. A message has two vectors.
    What is evaluated is the mean of the nodes' points.

    Server knows:
      nothing: there is none.

    Guarantee:
      none in seconds; a round takes as long as one of gossip [memory].

    Args:
      step_size: gamma.

    Raises:
      InvalidInput: an edge has no edge back.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.GradientTracking(step_size=0.3), ro.problems.Quadratic(dimension=5), network,
      ...                 until=ro.Until(updates=2))
      >>> result.rounds.time.tolist()
      [1.5, 3.0]

    References:
      Pu, Nedic, `Distributed Stochastic Gradient Tracking Methods <https://arxiv.org/abs/1805.11454>`_, 2018.
    """

    name = "gradient_tracking"
    paper = "Pu & Nedic 2018, arXiv 1805.11454"
    vectors_per_worker = 4

    def make_programs(self, n: int) -> list[TrackingProgram]:
        return [TrackingProgram(self._start, own, self._step) for own in metropolis_weights(self._network)]


class TrackingProgram(WeighingProgram):
    """The process of a node.

    Attributes:
      y: its estimate of the gradient of f.
    """

    def __init__(self, x: Array, weights: dict[int, float], step_size: Any) -> None:
        super().__init__(x, weights, step_size)
        self.y = np.zeros_like(x)
        self.gradient = np.zeros_like(x)

    def take(self, gradient: Array) -> None:
        self.y = self.y + gradient - self.gradient
        self.gradient = gradient

        self.half = self.x - self.y * self.step_size

    def message(self, neighbour: int) -> tuple[Any, int]:
        return (self.half, self.y), 2 * self.x.shape[-1]

    def mix(self, got: dict[int, Any]) -> None:
        self.x = self.mean(self.half, {j: point for j, (point, _) in got.items()})
        self.y = self.mean(self.y, {j: estimate for j, (_, estimate) in got.items()})


class RelaySGD(RoundsOfNeighbours):
    """RelaySGD: on a tree each node relays the sums that came from its other neighbours, so that all have all of them.

    .. math:: m_{i \\to j}^{k} = x_i^{k+1/2} + \\sum_{l \\ne j} m_{l \\to i}^{k-1}, \\qquad
              x_i^{k+1} = \\frac1n \\Big(x_i^{k+1/2} + \\sum_j m_{j \\to i}^{k} + (n - \\bar n_i) x^0\\Big)

    with x_i^{k+1/2} = x_i^k - gamma g_i(x_i^k), gamma = ``step_size``, nbar_i the number of points in the sums
    [code]. With ``relay="gradients"`` the messages are sums of gradients, and x_i loses gamma / n times the sum of all.
    What is evaluated is the mean of the nodes' points.

    Server knows:
      nothing: there is none.

    Guarantee:
      (max L_i Delta / eps) (sigma^2 / (n eps)) rounds at least [paper, Table 2].

    Args:
      step_size: gamma.
      relay: "models" or "gradients".

    Raises:
      InvalidInput: the graph is not a tree, or an edge has no edge back.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.line(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.RelaySGD(step_size=0.3), ro.problems.Quadratic(dimension=5), network,
      ...                 until=ro.Until(updates=2))
      >>> result.rounds.time.tolist()
      [1.5, 3.0]

    References:
      Vogels et al., `RelaySum for Decentralized Deep Learning on Heterogeneous Data
      <https://arxiv.org/abs/2110.04175>`_, NeurIPS 2021.
    """

    name = "relay_sgd"
    paper = "Vogels et al. 2021, arXiv 2110.04175"

    relays: ClassVar[tuple[str, ...]] = ("models", "gradients")

    def __init__(self, step_size: StepSize, relay: str = "models", **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.relay = one_of("relay", relay, self.relays)

    def make_programs(self, n: int) -> list[RelayProgram]:
        neighbours = undirected_neighbours(self._network)
        edges = len(self._network.graph.edges) // 2
        if edges != n - 1:
            raise InvalidInput("graph", f"{n} nodes with {edges} edges are no tree, which RelaySGD needs",
                               f"{n - 1} edges that join all, such as a line, a star or a binary tree")  # fmt: skip
        return [RelayProgram(self._start, own, self._step, n, self.relay == "gradients") for own in neighbours]


class RelayProgram(RoundProgram):
    """The process of a node.

    Attributes:
      sums: (sum, how many) that came from each neighbour last.
    """

    def __init__(self, x: Array, neighbours: Sequence[int], step_size: Any, n: int, of_gradients: bool) -> None:
        super().__init__(x, neighbours, step_size)
        self.n = n
        self.of_gradients = of_gradients
        self.first = x
        self.sums: dict[int, tuple[Array, int]] = {j: (np.zeros_like(x), 0) for j in neighbours}

    def take(self, gradient: Array) -> None:
        self.own = gradient if self.of_gradients else self.x - gradient * self.step_size

    def message(self, neighbour: int) -> tuple[Any, int]:
        others = [self.sums[j] for j in self.neighbours if j != neighbour]
        total = self.own + sum(part for part, _ in others) if others else self.own
        return (total, 1 + sum(count for _, count in others)), total.shape[-1]

    def mix(self, got: dict[int, Any]) -> None:
        self.sums = {j: got[j] for j in self.neighbours}
        total = self.own + sum(got[j][0] for j in self.neighbours)
        if self.of_gradients:
            self.x = self.x - total * self.step_size / self.n
        else:
            there = 1 + sum(got[j][1] for j in self.neighbours)
            self.x = (total + (self.n - there) * self.first) / self.n


class AsynchronousGossip(PeerMethod):
    """Asynchronous SGD on a graph: nobody waits; a node steps when its gradient is there and mixes what has come.

    .. math:: x_i \\leftarrow x_i - \\gamma \\nabla f_i(x_i^{\\mathrm{old}}; \\xi), \\qquad
              x_i \\leftarrow (1 - W_{ij}) x_i + W_{ij} x_j

    with gamma = ``step_size`` and Metropolis weights: the first whenever the node's gradient is ready, which was taken
    at the point x_i^old; the second whenever a neighbour's point arrives. After each of its steps a node sends its
    point over every edge that is free. AGRAF has communication events with any matrices W^t [abstract]; these are
    ours. What is evaluated is the mean of the nodes' points.

    Server knows:
      nothing: there is none.

    Guarantee:
      none in seconds; AGRAF's rate depends on the largest delay where all have the same data [paper's comparison].

    Args:
      step_size: gamma.

    Raises:
      InvalidInput: an edge has no edge back.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.AsynchronousGossip(step_size=0.1), ro.problems.Quadratic(dimension=5), network,
      ...                 until=ro.Until(time=3))
      >>> len(result.rounds)
      12

    References:
      Even, Koloskova, Massoulie, `Asynchronous SGD on Graphs: a Unified Framework for Asynchronous Decentralized and
      Federated Optimization <https://arxiv.org/abs/2311.00465>`_, AISTATS 2024.
    """

    name = "asynchronous_gossip"
    paper = "Even, Koloskova & Massoulie 2024, arXiv 2311.00465"
    vectors_per_worker = 1

    def make_programs(self, n: int) -> list[AsynchronousProgram]:
        return [AsynchronousProgram(self._start, own, self._step) for own in metropolis_weights(self._network)]

    def receive(self, arrival: Arrival, fleet: Any) -> None:
        number = node_of(arrival)
        before = self.programs[number].x
        super().receive(arrival, fleet)
        self._moved(number, before)

    def _moved(self, node: int, before: Array) -> None:
        if (now := self.programs[node].x) is not before:
            self.x = self.x + (now - before) / len(self.programs)

    def take(self, node: int, state: Any, fleet: NetworkFleet) -> None:
        program = self.programs[node]
        before, stepped = program.x, state[1] > program.steps
        program.x, program.steps = state
        program.has_stepped = stepped
        self._moved(node, before)
        self.after(node, fleet)

    def after(self, node: int, fleet: NetworkFleet) -> None:
        program = self.programs[node]
        if program.has_stepped:
            program.has_stepped = False
            self.updates += 1
            self.note_round(fleet, 1)


class AsynchronousProgram(NodeProgram):
    """The process of a node.

    Attributes:
      x: its point.
      has_stepped: whether it has made a step since somebody looked.
    """

    def __init__(self, x: Array, weights: dict[int, float], step_size: Any) -> None:
        self.x = x
        self.step_size = step_size
        self.weights = weights
        self.steps = 0
        self.has_stepped = False

    def progress(self) -> tuple[int]:
        """Returns how many steps it has made."""
        return (self.steps,)

    def begin(self, node: Node) -> None:
        """Computes a gradient at the point that the node has now."""
        node.compute(Gradient(self.x, self.known + (self.steps > 0)))

    def computed(self, node: Node, arrival: Arrival) -> None:
        self.x = self.x - arrival.value * self.step_size
        self.steps += 1
        self.has_stepped = True
        for neighbour in self.weights:
            if node.is_free(neighbour):
                node.send(neighbour, (MODELS, self.x, self.steps), self.x.shape[-1])
        self.begin(node)

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        weight = self.weights[sender]
        self.x = (1 - weight) * self.x + weight * payload[1]
