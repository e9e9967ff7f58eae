"""All figures of a result, in its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rayopt.experiments.result import Result
from rayopt.experiments.summary import ends_with_updates
from rayopt.latency.graphs import graph_of
from rayopt.report import figure
from rayopt.report.costs import draw_costs
from rayopt.report.delays import count_delays, draw_delays
from rayopt.report.flows import draw_flows
from rayopt.storage.files import write_complete
from rayopt.storage.run_folder import TRACE_FILE
from rayopt.storage.trace.reader import TraceReader


def save_all(result: Result) -> list[Path]:
    """Writes every figure that a result has anything for, and returns the paths.

    ``<metric>.png`` for each metric, and ``<metric>-bits.png`` where sending takes time or replies are compressed;
    ``costs.png`` where runs end with a number of updates; ``delays.png``
    where time was real and the trace was kept: delays that were measured; ``network.png`` where messages went from node
    to node: what flowed over each edge.
    """
    folder = result.folder.path
    against_bits = counts_bits(result.config) and "bits_up" in result.history.columns
    paths = figure.save_figures(result.history, result.summary, folder, against_bits)
    if ends_with_updates(result.summary):
        paths.append(_save(draw_costs(result.summary), folder / "costs.png"))
    if result.config.get("fleet", {}).get("name") == "ray" and (folder / TRACE_FILE).is_file():
        with TraceReader([folder / TRACE_FILE]) as trace:
            delays = draw_delays(count_delays(trace), _count(result.config))
        paths += [] if delays is None else [_save(delays, folder / "delays.png")]
    if "network" in result.config and (flows := draw_flows(result)) is not None:
        paths.append(_save(flows, folder / "network.png"))
    return paths


def _count(config: dict[str, Any]) -> int:
    """Returns how many workers or nodes there are."""
    if "network" in config:
        return graph_of(config["network"]["graph"]).n
    count: int = config["workers"]["count"]
    return count


def counts_bits(config: dict[str, Any]) -> bool:
    """Whether sending takes time or replies are compressed, so that bits tell methods apart."""
    workers, methods = config.get("workers") or {}, config.get("methods") or []
    if "network" in config:
        return True
    return "upload" in workers or "download" in workers or any("compressor" in method for method in methods)


def _save(drawn: Figure, path: Path) -> Path:
    write_complete(path, partial(drawn.savefig, format="png", dpi=figure.RESOLUTION))
    return path
