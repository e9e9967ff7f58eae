"""What flowed over the edges of a network, and whose gradients were used."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayopt.experiments.result import Result
from rayopt.latency.graphs import Graph, graph_of
from rayopt.report.graph_layout import places_of

WIDEST = 7.0
"""Points of the line of the edge over which most was sent."""
COLUMNS = 3
MOST_LABELS = 150
FLOW = "#0072B2"


def draw_flows(result: Result) -> Figure | None:
    """Returns a picture of the network for each method, of its first seed; None if no messages came.

    From each node to the middle of an edge the line is as wide as the node has sent bits over it; the darker a node,
    the more of its gradients were used.
    """
    edges = result.edges
    if edges.empty:
        return None
    graph = graph_of(result.config["network"]["graph"])
    places = places_of(graph)
    labels = list(dict.fromkeys(edges.label))
    rows = -(-len(labels) // COLUMNS)
    columns = min(len(labels), COLUMNS)
    figure = Figure(figsize=(4.2 * columns, 4.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, label in zip(panels, labels, strict=False):
        own = edges[edges.label == label]
        seed = int(own.seed.iloc[0])
        first = next(run for run in result.summary["runs"] if (run["label"], run["seed"]) == (label, seed))
        _draw(axes, label, graph, places, own[own.seed == seed], np.array(first["used_by"]))
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    return figure


def _draw(
    axes: Axes, label: str, graph: Graph, places: NDArray[np.float64], edges: pd.DataFrame, counts: NDArray[np.int64]
) -> None:
    ways = np.stack([places[list(ends)] for ends in zip(*graph.ends, strict=True)])
    axes.add_collection(LineCollection(list(ways), colors="0.85", linewidths=0.6, zorder=1))
    tails, heads = places[edges.sender.to_numpy()], places[edges.receiver.to_numpy()]
    halves = np.stack([tails, (tails + heads) / 2], axis=1)
    widths = WIDEST * edges.bits.to_numpy() / max(int(edges.bits.max()), 1)
    axes.add_collection(LineCollection(list(halves), colors=FLOW, linewidths=np.maximum(widths, 0.3), zorder=2))
    size = 220 if graph.n <= MOST_LABELS else max(4, 20_000 / graph.n)
    drawn = axes.scatter(places[:, 0], places[:, 1], s=size, c=counts, cmap="Oranges", edgecolors="0.4",
                         linewidths=0.6, vmin=0, vmax=max(int(counts.max()), 1), zorder=3)  # fmt: skip
    if graph.n <= MOST_LABELS:
        for node, (x, y) in enumerate(places):
            ink = "white" if counts[node] > 0.6 * counts.max() else "0.2"
            axes.text(x, y, str(node), size=6.5, color=ink, ha="center", va="center", zorder=4)
    colours = axes.figure.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.6, pad=0.02, aspect=30)
    colours.set_label("gradients used", size=8)
    colours.ax.tick_params(labelsize=7)
    most = edges.iloc[int(edges.bits.to_numpy().argmax())]
    axes.set_title(f"{label}: {edges.bits.sum() / 8e6:.3g} MB in all,\n{most.bits / 8e6:.3g} MB from "
                   f"{most.sender} to {most.receiver}", size=9)  # fmt: skip
    axes.margins(0.08)
    axes.set_axis_off()
