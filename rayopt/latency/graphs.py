"""Graphs of machines without a server: who can send to whom."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, one_of, positive, share
from rayopt.core.memory import check_fits

__all__ = [
    "Graph", "binary_tree", "complete", "erdos_renyi", "from_edges", "from_networkx", "line", "mesh",
    "random_geometric", "ring", "star", "torus",
]  # fmt: skip

BYTES_PER_EDGE = 200
"""Of an edge and its times, at the least."""


@dataclass(frozen=True)
class Graph:
    """A directed graph; node 0 is the first.

    Args:
      n: number of nodes.
      edges: (i, j) for each way from node i to node j, no two alike.
      seconds: of a message over each edge, if the graph knows; None if not.
      config: the mapping that makes an equal graph.

    Raises:
      InvalidInput: an edge to itself or to a node that does not exist, one twice, or seconds that are negative.
    """

    n: int
    edges: tuple[tuple[int, int], ...]
    seconds: tuple[float, ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        at_least("nodes", self.n, 1)
        seen = set()
        for position, (i, j) in enumerate(self.edges):
            for node in (i, j):
                if not 0 <= node < self.n:
                    raise InvalidInput(f"edges[{position}]", f"{node} is not a node", f"0 to {self.n - 1}")
            if i == j:
                raise InvalidInput(f"edges[{position}]", f"{i} to itself", "two nodes that differ")
            if (i, j) in seen:
                raise InvalidInput(f"edges[{position}]", f"{i} to {j} stands twice", "each edge once")
            seen.add((i, j))
        for position, seconds in enumerate(self.seconds or ()):
            if not seconds >= 0:
                i, j = self.edges[position]
                raise InvalidInput(f"edges[{position}]", f"{seconds:g} seconds from {i} to {j}", "at least 0")

    @property
    def ends(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where each edge begins and where it ends, two arrays of shape (edges,)."""
        found = np.array(self.edges, dtype=np.intp).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def to_networkx(self) -> Any:
        """Returns the graph as NetworkX's ``DiGraph``, with ``seconds`` on the edges if they are known."""
        import networkx as nx

        found: Any = nx.DiGraph()
        found.add_nodes_from(range(self.n))
        found.add_edges_from(self.edges)
        if self.seconds is not None:
            nx.set_edge_attributes(found, dict(zip(self.edges, self.seconds, strict=True)), "seconds")
        return found

    def __repr__(self) -> str:
        given = dict(self.config)
        name = given.pop("name", "Graph")
        arguments = given["shape"] if "shape" in given else given.values()
        return f"{name}({', '.join(map(str, arguments))})"


def _both_ways(n: int, pairs: Iterable[tuple[int, int]], config: Mapping[str, Any]) -> Graph:
    edges = sorted({(i, j) for pair in pairs for i, j in (pair, pair[::-1]) if i != j})
    return Graph(n, tuple(edges), None, config)


def line(n: int) -> Graph:
    """Returns the line 0 - 1 - ... - (n - 1)."""
    n = at_least("n", n, 1)
    return _both_ways(n, ((i, i + 1) for i in range(n - 1)), {"name": "line", "n": n})


def ring(n: int) -> Graph:
    """Returns the line of n nodes whose ends are joined."""
    n = at_least("n", n, 1)
    return _both_ways(n, ((i, (i + 1) % n) for i in range(n)), {"name": "ring", "n": n})


def star(n: int) -> Graph:
    """Returns the star of n nodes around node 0."""
    n = at_least("n", n, 1)
    return _both_ways(n, ((0, i) for i in range(1, n)), {"name": "star", "n": n})


def complete(n: int) -> Graph:
    """Returns the graph in which each of n nodes has an edge to every other."""
    n = at_least("n", n, 1)
    check_fits("n", n, n * n * BYTES_PER_EDGE)
    return _both_ways(n, itertools.combinations(range(n), 2), {"name": "complete", "n": n})


def mesh(*shape: int) -> Graph:
    """Returns the mesh of these sides, in any number of dimensions; the last index runs fastest.

    Examples:
      >>> mesh(2, 3).n
      6
    """
    return _grid("mesh", shape, wraps=False)


def torus(*shape: int) -> Graph:
    """Returns the mesh of these sides whose opposite ends are joined."""
    return _grid("torus", shape, wraps=True)


def _grid(name: str, shape: Sequence[int], wraps: bool) -> Graph:
    if len(shape) == 1 and isinstance(shape[0], (list, tuple)):
        shape = shape[0]
    if not shape:
        raise InvalidInput("shape", "no sides", "at least one, such as 10, 10")
    sides = [at_least(f"shape[{axis}]", side, 1) for axis, side in enumerate(shape)]
    n = int(np.prod(sides))
    check_fits("shape", n, n * len(sides) * BYTES_PER_EDGE)
    numbers = np.arange(n).reshape(sides)
    pairs: list[tuple[int, int]] = []
    for axis, side in enumerate(sides):
        ahead = np.roll(numbers, -1, axis)
        keep = [slice(None)] * len(sides)
        if not wraps:
            keep[axis] = slice(0, side - 1)
        pairs += zip(numbers[tuple(keep)].ravel().tolist(), ahead[tuple(keep)].ravel().tolist(), strict=True)
    return _both_ways(n, pairs, {"name": name, "shape": sides})


def binary_tree(depth: int) -> Graph:
    """Returns the complete binary tree whose leaves are ``depth`` edges from its root, node 0."""
    depth = at_least("depth", depth, 0)
    check_fits("depth", depth, BYTES_PER_EDGE << min(depth + 1, 60))
    n = 2 ** (depth + 1) - 1
    return _both_ways(n, (((i - 1) // 2, i) for i in range(1, n)), {"name": "binary_tree", "depth": depth})


def random_geometric(n: int, radius: float, seed: int = 0) -> Graph:
    """Returns n points in the unit square, joined where they are at most ``radius`` apart."""
    import networkx as nx

    n, radius = at_least("n", n, 1), positive("radius", radius)
    found = nx.random_geometric_graph(n, radius, seed=at_least("seed", seed, 0))
    return _both_ways(n, found.edges, {"name": "random_geometric", "n": n, "radius": radius, "seed": seed})


def erdos_renyi(n: int, probability: float, seed: int = 0) -> Graph:
    """Returns n nodes, each two of them joined with a probability in (0, 1]."""
    import networkx as nx

    n, probability = at_least("n", n, 1), share("probability", probability)
    found = nx.gnp_random_graph(n, probability, seed=at_least("seed", seed, 0))
    return _both_ways(n, found.edges, {"name": "erdos_renyi", "n": n, "probability": probability, "seed": seed})


def from_edges(edges: Iterable[Sequence[float]]) -> Graph:
    """Returns the graph with these directed edges.

    Args:
      edges: (i, j), or (i, j, seconds) where the graph knows what a message takes; all of one kind. The nodes are
        0 to the largest number.

    Raises:
      InvalidInput: an edge of another form, or what :class:`Graph` raises.
    """
    given = [tuple(edge) for edge in edges]
    if not given:
        raise InvalidInput("edges", "none is given", "at least one, such as [0, 1] or [0, 1, 0.5]")
    sizes = {len(edge) for edge in given}
    if len(sizes) > 1 or not sizes <= {2, 3}:
        raise InvalidInput("edges", f"edges of {sorted(sizes)} numbers", "all (i, j), or all (i, j, seconds)")
    ways = []
    for position, edge in enumerate(given):
        if any(int(node) != node for node in edge[:2]):
            raise InvalidInput(f"edges[{position}]", f"{edge[:2]} are no nodes", "integers from 0")
        ways.append((int(edge[0]), int(edge[1])))
    seconds = tuple(float(edge[2]) for edge in given) if sizes == {3} else None
    n = 1 + max(max(way) for way in ways)
    return Graph(n, tuple(ways), seconds, {"name": "from_edges", "edges": [list(edge) for edge in given]})


def from_networkx(graph: Any) -> Graph:
    """Returns a graph of NetworkX, its nodes numbered in their order; undirected edges go both ways.

    Args:
      graph: a ``Graph`` or ``DiGraph``; seconds are read from the edge attribute ``seconds`` if all edges have it.
    """
    number = {node: position for position, node in enumerate(graph.nodes)}
    directed = graph.to_directed() if not graph.is_directed() else graph
    found: list[list[float]] = []
    with_seconds = all("seconds" in about for _, _, about in directed.edges(data=True))
    for i, j, about in directed.edges(data=True):
        found.append([number[i], number[j], *([float(about["seconds"])] if with_seconds else [])])
    config = {"name": "from_edges", "edges": found}
    seconds = tuple(edge[2] for edge in found) if with_seconds and found else None
    return Graph(len(number), tuple((int(edge[0]), int(edge[1])) for edge in found), seconds, config)


GRAPHS: dict[str, Callable[..., Graph]] = {
    "line": line, "ring": ring, "star": star, "mesh": mesh, "torus": torus, "complete": complete,
    "binary_tree": binary_tree, "random_geometric": random_geometric, "erdos_renyi": erdos_renyi,
    "from_edges": from_edges,
}  # fmt: skip


def graph_of(config: Any) -> Graph:
    """Returns the graph that a user describes.

    Args:
      config: a :class:`Graph`, a mapping with its name and arguments, or a text such as ``mesh:10x10`` or ``ring:8``.

    Raises:
      InvalidInput: a name or an argument that is unknown, or what the graph itself raises.
    """
    if isinstance(config, Graph):
        return config
    if isinstance(config, str):
        name, _, size = config.partition(":")
        sides = size.split("x") if size else []
        if name not in ("line", "ring", "star", "complete", "mesh", "torus", "binary_tree") or not all(
            side.isdecimal() for side in sides
        ):
            raise InvalidInput(
                "graph", f"{config!r} is not a graph", "a text such as mesh:10x10, torus:4x4x4 or ring:8"
            )
        if name in ("mesh", "torus"):
            return GRAPHS[name](*(int(side) for side in sides))
        if len(sides) != 1:
            raise InvalidInput("graph", f"{config!r} has {len(sides)} sizes", f"one, such as {name}:8")
        return GRAPHS[name](int(sides[0]))
    if not isinstance(config, Mapping) or "name" not in config:
        raise InvalidInput("graph", f"{config!r} is not a graph", "a mapping such as {name: mesh, shape: [10, 10]}")
    arguments = {str(key): value for key, value in config.items() if key != "name"}
    name = one_of("graph.name", config["name"], GRAPHS)
    try:
        if name in ("mesh", "torus"):
            return GRAPHS[name](*arguments.pop("shape", ()), **arguments)
        return GRAPHS[name](**arguments)
    except TypeError as error:
        raise InvalidInput("graph", f"{error}", "the arguments of rayopt.graphs") from None
