"""A profile as tables and as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayopt.experiments.profiling.fit import Fit
from rayopt.experiments.profiling.summary import FAR, SLOW, WorkerSummary, unit_of
from rayopt.latency.base import Array
from rayopt.latency.durations_file import Durations
from rayopt.report.figure import COLOURS

MOST_CURVES = len(COLOURS)
MARGIN = 1.5


def render(durations: Durations, workers: Sequence[WorkerSummary]) -> RenderableType:
    """Returns the table of the workers, that of the ways if they were measured, and the footnotes.

    Args:
      durations: a profile.
      workers: those to show, from :func:`rayopt.experiments.profiling.summary.summarise`.
    """
    parts: list[RenderableType] = [
        Text(f"Gradients, in {unit_of(durations)[1]}: measured, and the law that fits best", style="italic"),
        _workers(durations, workers),
    ]
    if durations.sizes("upload"):
        parts += ["", Text("Messages to a worker and back, in ms, over all workers", style="italic"), _links(durations)]
    notes = [Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False) for note in _notes(durations, workers)]
    return Group(*parts, *notes)


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _workers(durations: Durations, workers: Sequence[WorkerSummary]) -> Table:
    table = _table("worker", "number", "median", "p90", "p99", "max", "slow", "law", "its\np90", "its\np99", "its\nmax")
    in_a_second = unit_of(durations)[0]
    for one in workers:
        fitted = one.fitted_tail
        table.add_row(
            str(one.worker), f"{len(one.seconds):,}", _number(float(np.median(one.seconds)) * in_a_second),
            *(_number(seconds * in_a_second) for seconds in one.tail), f"{100 * one.share_of_slow:.2g} %",
            *([one.fits[0].family] if one.fits else ["-"]),
            *(["-"] * 3 if fitted is None else [_number(seconds * in_a_second) for seconds in fitted]),
        )  # fmt: skip
    return table


def _links(durations: Durations) -> Table:
    table = _table("bytes", "download\nmedian", "p99", "upload\nmedian", "p99")
    for size in durations.sizes("upload"):
        cells = []
        for kind in ("download", "upload"):
            seconds = 1e3 * np.concatenate(list(durations.of(kind, size).values()))
            cells += [_number(float(np.median(seconds))), _number(float(np.quantile(seconds, 0.99)))]
        table.add_row(f"{size:,}", *cells)
    return table


def _notes(durations: Durations, workers: Sequence[WorkerSummary]) -> list[str]:
    count = len(durations.of("compute"))
    notes = [
        f"Slow: gradients that took more than {SLOW:g} times the median of their worker.",
        "Its max: the median of the largest of so many draws from the law.",
    ]
    far = [str(one.worker) for one in workers if one.has_another_tail]
    if far:
        notes.append(
            f"The law has another tail than what was measured (more than {FAR:g} times as long, or as short) for "
            f"worker{'s' if len(far) > 1 else ''} {', '.join(far)}: better replay the measurements."
        )
    if len(workers) < count:
        notes.append(f"{len(workers)} of {count:,} workers are shown, from the fastest to the slowest.")
    return notes


def draw(durations: Durations, workers: Sequence[WorkerSummary]) -> Figure:
    """Returns the share of gradients that take longer, against seconds, both logarithmic: measured and fitted.

    Args:
      durations: a profile.
      workers: those of which some are drawn, from the fastest to the slowest.
    """
    in_a_second, unit = unit_of(durations)
    ascending = sorted(workers, key=lambda one: float(np.median(one.seconds)))
    picks = np.linspace(0, len(ascending) - 1, min(len(ascending), MOST_CURVES)).round().astype(int)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    drawn = [ascending[pick] for pick in picks.tolist()]
    for colour, one in zip(COLOURS, drawn, strict=False):
        x, share = _survival(one.seconds)
        law = f": {one.fits[0].family}" if one.fits else ""
        axes.step(x * in_a_second, share, where="post", color=colour, label=f"worker {one.worker}{law}")
        if one.fits:
            x, share = _fitted_survival(one.fits[0], len(one.seconds))
            axes.plot(x * in_a_second, share, "--", color=colour, linewidth=1)
    shortest, longest = min(one.seconds.min() for one in drawn), max(one.seconds.max() for one in drawn)
    # A law may have a tail that has nothing to do with what was measured.
    axes.set_xlim(shortest * in_a_second / MARGIN, longest * in_a_second * MARGIN)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"time of a gradient ({unit})")
    axes.set_ylabel("share of gradients that take longer")
    axes.set_title("solid: measured, dashed: the law that fits best", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _survival(seconds: Array) -> tuple[Array, Array]:
    """Returns the durations in order and the share that takes longer; to the last one, that of the last but one."""
    ordered = np.sort(seconds)
    count = len(ordered)
    share = 1 - np.arange(1, count + 1) / count
    share[-1] = 1 / count
    return ordered, share


def _fitted_survival(fit: Fit, count: int) -> tuple[Array, Array]:
    share = np.geomspace(1.0, 0.5 / count, 80)[1:]
    return np.array([fit.quantile(1 - probability) for probability in share]), share


def _number(value: float) -> str:
    return f"{value:.4g}"
