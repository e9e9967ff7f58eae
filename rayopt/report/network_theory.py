"""The predictions of theory for methods without a server, as numbers, a table and a drawing of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rayopt.latency.network import Network
from rayopt.report.graph_layout import places_of
from rayopt.theory import decentralized

PIVOT, CONTRIBUTES, OTHER = "#D55E00", "#0072B2", "#D9D9D9"
MOST_LABELS = 150
"""Nodes of a graph beyond which they are drawn without their numbers."""


@dataclass(frozen=True)
class NetworkComparison:
    """What theory says of a network.

    Attributes:
      network: the nodes and edges.
      S: gradients of an iteration.
      pivot: the best one.
      contributors: pi(1), ..., pi(k*): the nodes whose gradients t* needs.
      lower_bound: seconds that no method beats, up to a constant; up to log n too where all have the same data.
      methods: seconds by method, constant 1 in front of each formula.
    """

    network: Network
    S: float
    pivot: int
    contributors: NDArray[np.intp]
    lower_bound: float
    methods: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return {
            "lower_bound": self.lower_bound, "pivot": self.pivot, "contributors": self.contributors.tolist(),
            "methods": self.methods,
        }  # fmt: skip


def compare(network: Network, iterations: float, noise_ratio: float, heterogeneous: bool) -> NetworkComparison:
    """Returns what theory says.

    Args:
      network: the nodes and edges.
      iterations: L Delta / eps.
      noise_ratio: sigma^2 / eps.
      heterogeneous: whether every node has its own data.
    """
    compute = network.times(0).expected
    assert compute is not None
    tau = network.distances()
    S = max(noise_ratio, 1.0)
    pivot = decentralized.best_pivot(S, compute, tau + tau.T)
    if heterogeneous:
        bound = decentralized.amelie(iterations, noise_ratio, compute, tau)
        methods = {"Amelie": bound}
        contributors: NDArray[np.intp] = np.arange(network.count)
    else:
        bound = decentralized.fragile_lower_bound(iterations, S, compute, tau)
        methods = {"Fragile": decentralized.fragile(iterations, S, compute, tau)}
        contributors = decentralized.contributors(S, compute, tau[:, pivot] + tau[pivot])
    methods["DecentralizedMinibatch"] = decentralized.minibatch(iterations, noise_ratio, compute, tau)
    return NetworkComparison(network, S, pivot, contributors, bound, methods)


def render(found: NetworkComparison) -> RenderableType:
    """Returns the table."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for title, justify in (("method", "left"), ("seconds", "right"), ("over the lower bound", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, seconds in sorted(found.methods.items(), key=lambda method: method[1]):
        table.add_row(name, f"{seconds:.4g}", f"{seconds / found.lower_bound:.3g}")
    table.add_row("lower bound", f"{found.lower_bound:.4g}", "")
    n, count = found.network.count, len(found.contributors)
    who = f"{count} of {n} nodes contribute to an iteration of {found.S:g} gradients; the best pivot is {found.pivot}."
    return Group(table, Text(who))


def draw(found: NetworkComparison) -> Figure:
    """Returns the graph: its pivot, the nodes whose gradients contribute, and the others."""
    network = found.network
    places = places_of(network.graph)
    contributes = set(found.contributors.tolist())
    colours = [
        PIVOT if node == found.pivot else CONTRIBUTES if node in contributes else OTHER for node in range(network.count)
    ]
    figure = Figure(figsize=(6.0, 6.0), layout="constrained")
    axes = figure.subplots()
    tails, heads = network.graph.ends
    ways = np.stack([places[tails], places[heads]], axis=1)
    axes.add_collection(LineCollection(list(ways), colors="0.7", linewidths=0.8, zorder=1))
    with_labels = network.count <= MOST_LABELS
    axes.scatter(
        places[:, 0], places[:, 1], s=300 if with_labels else max(4, 20_000 / network.count), c=colours, zorder=2
    )
    if with_labels:
        for node, (x, y) in enumerate(places):
            ink = "0.25" if colours[node] == OTHER else "white"
            axes.text(x, y, str(node), size=7, color=ink, ha="center", va="center", zorder=3)
    axes.set_title(f"{network.graph!r}: {len(contributes)} of {network.count} nodes contribute", size=10)
    for place, (label, colour) in enumerate(
        (("pivot", "#D55E00"), ("contributes", "#0072B2"), ("does not", "#D9D9D9"))
    ):
        axes.scatter([], [], color=colour, label=label, zorder=place)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False, fontsize=9)
    axes.set_axis_off()
    return figure
