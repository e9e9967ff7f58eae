"""The delays that a run measured: how many updates old a gradient was when it arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayopt.report.figure import COLOURS
from rayopt.storage.trace.reader import TraceReader

MOST_BINS = 40

DelayCounts = Mapping[str, Mapping[int, int]]
"""How many arrivals of each label had each delay."""


def count_delays(trace: TraceReader) -> DelayCounts:
    """Returns how many arrivals of each label had each delay; only the counts are held in memory."""
    found: dict[str, Counter[int]] = {}
    for frame in trace.tasks(("label", "delay", "outcome")):
        arrivals = frame[frame.outcome != "cancelled"]
        for label, delays in arrivals.groupby("label", sort=False, observed=True).delay:
            values, counts = np.unique(delays, return_counts=True)
            found.setdefault(str(label), Counter()).update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return found


def draw_delays(counts: DelayCounts, workers: int) -> Figure | None:
    """Returns a histogram of the delays of each method, the number of workers and the largest delay marked.

    Methods without any delay are left out; None if there is no other.

    Args:
      counts: of :func:`count_delays`.
      workers: n; the delays of asynchronous SGD are n - 1 on average, whatever the times.
    """
    chosen = {label: found for label, found in counts.items() if any(found)}
    if not chosen:
        return None
    figure = Figure(figsize=(8, 0.8 + 1.9 * len(chosen)), layout="constrained")
    largest = max(max(found) for found in chosen.values())
    width = -(-(largest + 1) // MOST_BINS)
    edges = np.arange(0, largest + 1 + width, width) - 0.5
    panels = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for position, (axes, (label, found)) in enumerate(zip(panels, chosen.items(), strict=True)):
        delays, arrivals = np.array(list(found)), np.array(list(found.values()))
        _draw_histogram(axes, delays, arrivals, edges, COLOURS[position % len(COLOURS)], workers)
        axes.set_title(f"{label}: mean {np.average(delays, weights=arrivals):.3g}", fontsize="medium", loc="left")
    panels[-1].set_xlabel("delay (updates)")
    return figure


def _draw_histogram(
    axes: Axes,
    delays: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    edges: NDArray[np.floating],
    colour: str,
    workers: int,
) -> None:
    largest = int(delays.max())
    axes.hist(delays, bins=edges.tolist(), weights=arrivals, color=colour, log=True)
    axes.axvline(workers, color="0.3", linestyle="--", linewidth=1.2, label=f"n = {workers}")
    axes.axvline(largest, color="0.3", linestyle=":", linewidth=1.2, label=f"largest {largest}")
    axes.set_ylabel("arrivals")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
