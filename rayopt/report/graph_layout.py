"""Where the nodes of a graph are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.latency.graphs import Graph


def places_of(graph: Graph) -> NDArray[np.float64]:
    """Returns the places of the nodes, shape (n, 2): a plane mesh as it is, other graphs by their distances."""
    found = _places(graph)
    return np.array([found[node] for node in range(graph.n)], dtype=np.float64)


def _places(graph: Graph) -> dict[int, Any]:
    import networkx as nx

    shape = graph.config.get("shape")
    if shape is not None and len(shape) == 2:
        return {node: (node % shape[1], -(node // shape[1])) for node in range(graph.n)}
    drawn = graph.to_networkx().to_undirected()
    if graph.config.get("name") in ("ring", "complete"):
        return dict(nx.circular_layout(drawn))
    return dict(nx.kamada_kawai_layout(drawn) if graph.n <= 200 else nx.spring_layout(drawn, seed=0))
