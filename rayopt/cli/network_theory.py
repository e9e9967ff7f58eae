"""What ``rayopt theory --graph`` does: theory of methods without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
import yaml

from rayopt.cli.app import open_console
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
        network = Network(_value("--graph", graph), _value("--times", times or "1"), _value("--edges", edges))
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


def _value(option: str, text: str) -> Any:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(option, f"{text!r} cannot be read ({error})", "a number, a text or a mapping") from None
    if isinstance(found, str) and option == "--times" and "," in found:
        return [float(part) for part in found.split(",")]
    return found
