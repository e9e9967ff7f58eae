"""The delays that a run measured: how many updates old a gradient was when it arrived."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayopt.report.figure import COLOURS

MOST_BINS = 40


def draw_delays(trace: pd.DataFrame, workers: int) -> Figure | None:
    """Returns a histogram of the delays of each method, the number of workers and the largest delay marked.

    Methods without any delay are left out; None if there is no other.

    Args:
      trace: with the columns ``label, delay, outcome``.
      workers: n; the delays of asynchronous SGD are n - 1 on average, whatever the times.
    """
    arrivals = trace[trace.outcome != "cancelled"]
    labels = [label for label in dict.fromkeys(arrivals.label) if arrivals.delay[arrivals.label == label].any()]
    if not labels:
        return None
    figure = Figure(figsize=(8, 0.8 + 1.9 * len(labels)), layout="constrained")
    width = -(-(int(arrivals.delay.max()) + 1) // MOST_BINS)
    edges = np.arange(0, arrivals.delay.max() + 1 + width, width) - 0.5
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    for position, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        delays = arrivals.delay[arrivals.label == label].to_numpy()
        _draw_histogram(axes, delays, edges, COLOURS[position % len(COLOURS)], workers)
        axes.set_title(f"{label}: mean {delays.mean():.3g}", fontsize="medium", loc="left")
    panels[-1].set_xlabel("delay (updates)")
    return figure


def _draw_histogram(
    axes: Axes, delays: NDArray[np.int64], edges: NDArray[np.float64], colour: str, workers: int
) -> None:
    largest = int(delays.max())
    axes.hist(delays, bins=edges.tolist(), color=colour, log=True)
    axes.axvline(workers, color="0.3", linestyle="--", linewidth=1.2, label=f"n = {workers}")
    axes.axvline(largest, color="0.3", linestyle=":", linewidth=1.2, label=f"largest {largest}")
    axes.set_ylabel("arrivals")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
