"""Graphs, and how long their edges take."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

import rayopt as ro
from rayopt import graphs
from rayopt.experiments.config import load_workload


@pytest.mark.parametrize(
    ("graph", "same"),
    [
        (graphs.line(5), nx.path_graph(5)),
        (graphs.ring(6), nx.cycle_graph(6)),
        (graphs.star(5), nx.star_graph(4)),
        (graphs.complete(5), nx.complete_graph(5)),
        (graphs.mesh(3, 4), nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted")),
        (
            graphs.torus(3, 4),
            nx.convert_node_labels_to_integers(nx.grid_graph((4, 3), periodic=True), ordering="sorted"),
        ),
        (graphs.mesh(2, 3, 4), nx.convert_node_labels_to_integers(nx.grid_graph((4, 3, 2)), ordering="sorted")),
        (graphs.binary_tree(3), nx.balanced_tree(2, 3)),
    ],
    ids=lambda graph: repr(graph) if isinstance(graph, graphs.Graph) else "",
)
def test_graphs_are_those_of_networkx(graph, same):
    assert set(graph.edges) == set(same.to_directed().edges)
    assert graph.n == len(same)


def test_small_sides():
    """A side of two has no edge twice, a side of one none to itself."""
    assert set(graphs.torus(2, 2).edges) == set(graphs.mesh(2, 2).edges)
    assert graphs.ring(1).edges == ()
    assert graphs.ring(2).edges == ((0, 1), (1, 0))


def test_random_graphs_are_the_same_for_a_seed():
    assert graphs.erdos_renyi(20, 0.3, seed=1) == graphs.erdos_renyi(20, 0.3, seed=1)
    assert graphs.erdos_renyi(20, 0.3, seed=1) != graphs.erdos_renyi(20, 0.3, seed=2)
    assert graphs.random_geometric(20, 0.5, seed=3).n == 20


def test_from_networkx():
    graph = nx.Graph()
    graph.add_edge("a", "b", seconds=0.5)
    graph.add_edge("b", "c", seconds=2)
    found = graphs.from_networkx(graph)
    assert dict(zip(found.edges, found.seconds, strict=True)) == {(0, 1): 0.5, (1, 0): 0.5, (1, 2): 2.0, (2, 1): 2.0}
    directed = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
    assert graphs.from_networkx(directed).edges == ((0, 1), (1, 2), (2, 0))
    assert graphs.from_networkx(directed).seconds is None
    assert dict(found.to_networkx()[1][2]) == {"seconds": 2.0}


@pytest.mark.parametrize(
    "network",
    [
        ro.Network("mesh:3x4", "sqrt(i)", edges="1 + (i + j) / 10"),
        ro.Network(graphs.from_edges([(0, 1, 0.5), (1, 0, 2.0)]), [1.0, 2.0]),
        ro.Network(graphs.erdos_renyi(8, 0.9, seed=1), 1.0, edges=ro.Link(per_message=0.1, per_float="i / d")),
        ro.Network("ring:4", 1.0, edges=[float(k) for k in range(8)], full_duplex_flows=True),
    ],
    ids=repr,
)
def test_what_is_written_down_makes_an_equal_network(network):
    again = ro.Network(**network.to_config())
    assert again == network
    np.testing.assert_array_equal(again.edge_seconds(10), network.edge_seconds(10))
    assert again.full_duplex_flows == network.full_duplex_flows


def test_a_formula_knows_both_ends():
    network = ro.Network("line:3", 1.0, edges="10 * i + j")
    assert dict(zip(network.graph.edges, network.edge_seconds().tolist(), strict=True)) == {
        (0, 1): 12, (1, 0): 21, (1, 2): 23, (2, 1): 32,
    }  # fmt: skip
    assert network.distances()[0, 2] == 12 + 23
    assert network.distances()[2, 0] == 32 + 21


def test_trees():
    """The shortest ways, over the smaller neighbour where two take equally long; and those with the fewest edges."""
    network = ro.Network("mesh:2x2", 1.0, edges=1.0)
    assert network.trees(3) == ([1, 3, 3, -1], [1, 3, 3, -1])
    edges = [(0, 1, 9.0), (1, 0, 9.0), (0, 2, 1.0), (2, 0, 1.0), (1, 2, 1.0), (2, 1, 1.0)]
    far = ro.Network(graphs.from_edges(edges), 1.0)
    assert far.trees(0) == ([-1, 2, 0], [-1, 2, 0])
    assert far.trees(0, "minimum_hops") == ([-1, 0, 0], [-1, 0, 0])


def test_a_network_in_a_workload(tmp_path):
    path = tmp_path / "network.yaml"
    path.write_text(
        "problem: {name: quadratic, dimension: 5}\n"
        "network: {graph: {name: from_edges, edges: [[0, 1, 0.4], [1, 0, 0.4]]}, compute: 1.0}\n"
        "methods: [{name: fragile, step_size: 0.1, batch_size: 3}]\nuntil: {updates: 2}\n"
    )
    result = load_workload(path).build().run()
    assert result.rounds.collected.tolist() == [3, 3]
    path.write_text(path.read_text() + "workers: {count: 2, compute: 1}\n")
    with pytest.raises(ro.InvalidInput, match="network: cannot be combined with workers"):
        load_workload(path).build()
