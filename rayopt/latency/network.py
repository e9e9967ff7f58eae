"""A network without a server: workers on a graph, and how long its edges take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.html import object_html
from rayopt.core.keys import Stream
from rayopt.core.tasks import FLOAT_BITS
from rayopt.latency.formula import edges_are
from rayopt.latency.graphs import Graph, graph_of
from rayopt.latency.link import BoundLink, Link, link_of
from rayopt.latency.workers import Workers

Array = NDArray[np.float64]
TIE = 1e-12
"""Relative difference below which two ways take equally long."""


@dataclass(frozen=True, init=False)
class Network(Workers):
    """Workers on a directed graph that send to their neighbours; nobody is in the middle.

    Args:
      graph: a graph of ``rayopt.graphs``, the mapping of one, or a text such as ``mesh:10x10``.
      compute: seconds per stochastic gradient, as for :class:`~rayopt.latency.workers.Workers`.
      edges: seconds that a message takes over an edge: a number, a list in the order of ``graph.edges``, a formula in
        i and j (the nodes from 1), a latency, or a :class:`~rayopt.latency.link.Link` with seconds per message and per
        float; infinite where an edge is none. By default what the graph knows.
      full_duplex_flows: whether messages of different kinds (points, gradients) over one edge do not wait for each
        other; by default an edge carries one message at a time in each direction.

    Raises:
      InvalidInput: times that do not fit, or a graph in which some node cannot reach another.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.line(3), compute=1.0, edges=0.5)
      >>> network.distances()[0].tolist()
      [0.0, 0.5, 1.0]
    """

    graph: Graph = field(default_factory=lambda: Graph(1, ()))
    edges: Link = field(default_factory=Link)
    full_duplex_flows: bool = False

    def __init__(self, graph: Any, compute: Any, edges: Any = None, full_duplex_flows: bool = False) -> None:
        graph = graph_of(graph)
        object.__setattr__(self, "graph", graph)
        object.__setattr__(self, "full_duplex_flows", bool(full_duplex_flows))
        object.__setattr__(self, "_edges_are_given", edges is not None)
        super().__init__(graph.n, compute)
        if edges is None:
            if graph.seconds is None and graph.edges:
                raise InvalidInput(
                    "edges", "missing, and the graph has no seconds", "seconds of a message over an edge"
                )
            edges = list(graph.seconds or ())
        if isinstance(edges, (list, tuple, np.ndarray)) and len(edges) != len(graph.edges):
            raise InvalidInput("edges", f"{len(edges)} times for {len(graph.edges)} edges", "one for each")
        try:
            object.__setattr__(self, "edges", link_of(edges if graph.edges else 0.0))
            self.link(0)
        except InvalidInput as error:
            raise error.within("edges") from None
        self._check_connected()

    def link(self, seed: int, dimension: int | None = None, float_bits: int = FLOAT_BITS) -> BoundLink:
        """Returns the link of one run: its workers are the edges of the graph in their order."""
        tails, heads = self.graph.ends
        with edges_are((tails + 1).astype(np.float64), (heads + 1).astype(np.float64)):
            return self.edges.bind(max(len(tails), 1), Stream(seed, "edges"), dimension, float_bits)

    def edge_seconds(self, dimension: int = 0, seed: int = 0, float_bits: int = FLOAT_BITS) -> Array:
        """Returns the mean seconds of a vector over each edge, shape (edges,)."""
        return self.link(seed, dimension, float_bits).seconds(float_bits * dimension)[: len(self.graph.edges)]

    def distances(self, dimension: int = 0, seed: int = 0, float_bits: int = FLOAT_BITS) -> Array:
        """Returns the seconds of the shortest way of a vector from node i to node j, shape (n, n)."""
        from scipy.sparse.csgraph import dijkstra

        return dijkstra(self._matrix(self.edge_seconds(dimension, seed, float_bits)), directed=True)

    def trees(
        self, pivot: int, by: str = "shortest", dimension: int = 0, float_bits: int = FLOAT_BITS
    ) -> tuple[list[int], list[int]]:
        """Returns spanning trees to and from a node, as the next node of each on the way; -1 for the pivot itself.

        Of ways that take equally long the one over the smaller neighbour is taken.

        Args:
          pivot: the root of both.
          by: "shortest" in seconds, or "minimum_hops".
          dimension: of the vectors that travel.
          float_bits: of their floats, 64 or 32.

        Returns:
          (towards, outwards): ``towards[i]`` is where i sends on the way to the pivot, ``outwards[i]`` from whom i
          receives what comes from the pivot.
        """
        from scipy.sparse.csgraph import dijkstra

        seconds = self.edge_seconds(dimension, float_bits=float_bits)
        if by == "minimum_hops":
            seconds = np.where(np.isfinite(seconds), 1.0, np.inf)
        matrix = self._matrix(seconds)
        to_pivot = dijkstra(matrix.T.tocsr(), directed=True, indices=[pivot])[0]
        from_pivot = dijkstra(matrix, directed=True, indices=[pivot])[0]
        towards, outwards = [-1] * self.count, [-1] * self.count
        for (i, j), time in sorted(zip(self.graph.edges, seconds.tolist(), strict=True), key=lambda edge: edge[0][1]):
            if i != pivot and towards[i] < 0 and _is_next(to_pivot[j] + time, to_pivot[i]):
                towards[i] = j
        for (i, j), time in sorted(zip(self.graph.edges, seconds.tolist(), strict=True)):
            if j != pivot and outwards[j] < 0 and _is_next(from_pivot[i] + time, from_pivot[j]):
                outwards[j] = i
        return towards, outwards

    def _matrix(self, seconds: Array) -> Any:
        from scipy.sparse import csr_array

        tails, heads = self.graph.ends
        there = np.isfinite(seconds)
        # An explicit zero is an edge to SciPy's sparse graphs, as it is here.
        return csr_array((seconds[there], (tails[there], heads[there])), shape=(self.count, self.count))

    def _check_connected(self) -> None:
        """Raises InvalidInput, with two nodes, if there is no way between some two of them."""
        from scipy.sparse.csgraph import connected_components, dijkstra

        hops = self._matrix(self.link(0).least(0.0)[: len(self.graph.edges)])
        count, _ = connected_components(hops, directed=True, connection="strong")
        if count > 1:
            reached = np.isfinite(dijkstra(hops, directed=True, indices=[0], unweighted=True)[0])
            there_and_back = np.isfinite(dijkstra(hops.T.tocsr(), directed=True, indices=[0], unweighted=True)[0])
            way = (0, int(np.argmin(reached))) if not reached.all() else (int(np.argmin(there_and_back)), 0)
            raise InvalidInput("graph", f"no way leads from node {way[0]} to node {way[1]}",
                               "a graph in which every node can reach every other")  # fmt: skip

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal network."""
        found = {"graph": dict(self.graph.config), "compute": self.compute.to_config()}
        if self.graph.edges and (self.graph.seconds is None or self._edges_are_given):  # type: ignore[attr-defined]
            found["edges"] = self.edges.to_config()
        if self.full_duplex_flows:
            found["full_duplex_flows"] = True
        return found

    def __repr__(self) -> str:
        return f"Network({self.graph!r}, compute={self.compute!r}, edges={self.edges!r})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of a network: its graph, and the times of nodes and edges."""
        return object_html(self, {"graph": self.graph, "nodes": f"{self.count:,}", "compute": self.compute,
                                  "edges": self.edges})  # fmt: skip


def _is_next(way: float, shortest: float) -> bool:
    return way <= shortest + TIE * max(1.0, abs(shortest)) and np.isfinite(shortest)
