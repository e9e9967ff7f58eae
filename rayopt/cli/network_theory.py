"""What ``rayopt theory --graph`` does: theory of methods without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from rayopt.cli.app import open_console
from rayopt.cli.links import yaml_value
from rayopt.cli.times import numbers_of
from rayopt.core.errors import InvalidInput


def show_network(
    graph: str,
    edges: str | None,
    times: str | None,
    iterations: float,
    noise_ratio: float,
    heterogeneous: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Prints the table of a network, and draws it.

    Args:
      graph: a text such as ``mesh:10x10``, or the YAML of a mapping.
      edges: seconds of a message over an edge: a number, or a formula of i and j.
      times: seconds per gradient; one second if they are not given.
      iterations: L Delta / eps.
      noise_ratio: sigma^2 / eps.
      heterogeneous: whether every node has its own data.
      plot: where the drawing goes.
      as_json: print JSON.

    Raises:
      InvalidInput: a graph or times that cannot be read.
    """
    from rayopt.latency.network import Network
    from rayopt.report.network_theory import compare, draw, render

    if edges is None:
        raise InvalidInput("--edges", "missing beside --graph", "seconds of a message over an edge, such as 1 or i+j")
    try:
        network = Network(yaml_value("--graph", graph), _compute(times or "1"), yaml_value("--edges", edges))
    except InvalidInput as error:
        raise error.within("--graph") from None
    found = compare(network, iterations, noise_ratio, heterogeneous)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        open_console().print(render(found))
    if plot is not None:
        from rayopt.report.theory_plot import save

        save(draw(found), plot)
        typer.echo(f"Figure: {plot}", err=as_json)


def _compute(times: str) -> Any:
    """Returns the seconds of the nodes, in their order: a number, a list, or what the YAML of a text means."""
    numbers = numbers_of(times)
    if numbers is None:
        return yaml_value("--times", times)
    return numbers if len(numbers) > 1 else numbers[0]
