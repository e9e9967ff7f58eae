"""``rayopt methods`` and its siblings: what there is of one kind, and how to write it in a workload file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from rayopt.cli.app import main, open_console

Name = Annotated[str | None, typer.Argument(help="Show this one with its arguments.", metavar="[NAME]")]


BESIDE_METHODS = """
Beside these: step_size may be a schedule such as {cosine: 0.5, over: 2000} (also
inverse_time, inverse_sqrt, step, warmup and product), and a method with a server takes
server: adam (momentum, nesterov, adagrad, yogi, muon), weight_decay, clip_norm and
averaging: uniform (last_half, {exponential: 0.99}).
"""


@main.command()
def methods(name: Name = None) -> None:
    """List the methods, or show one.

    \b
    rayopt methods
    rayopt methods delay_adaptive_asgd
    """
    from rayopt.methods import METHODS

    _show(METHODS, name, "- ENTRY", BESIDE_METHODS)


@main.command()
def problems(name: Name = None) -> None:
    """List the problems, or show one.

    \b
    rayopt problems
    rayopt problems quadratic
    """
    from rayopt.problems import PROBLEMS

    _show(PROBLEMS, name, "problem: ENTRY")


@main.command()
def latencies(name: Name = None) -> None:
    """List the ways to say how long things take, or show one.

    \b
    rayopt latencies
    rayopt latencies half_normal
    """
    from rayopt.experiments.components import arguments_of
    from rayopt.latency import LATENCIES

    _show(LATENCIES, name, "workers: {count: 100, compute: ENTRY}")
    if name is None:
        typer.echo("\nIn a workload file, as compute, upload or download (or a number, a list, a formula of i):\n")
        for kind in LATENCIES.values():
            typer.echo(f"  {getattr(kind, 'example', _entry(kind.name, arguments_of(kind).values()))}")


@main.command()
def compressors(name: Name = None) -> None:
    """List the compressors of messages, or show one.

    \b
    rayopt compressors
    rayopt compressors rand_k
    """
    from rayopt.compression import COMPRESSORS

    _show(COMPRESSORS, name, "- {name: qsgd, step_size: 0.1, compressor: ENTRY}")


@main.command()
def callbacks(name: Name = None) -> None:
    """List what can follow the runs of a workload and end them, or show one.

    \b
    rayopt callbacks
    rayopt callbacks early_stopping
    """
    from rayopt.experiments.callbacks import CALLBACKS

    _show(CALLBACKS, name, "callbacks: [ENTRY]")


def _show(registry: Mapping[str, type[Any]], name: str | None, example: str, beside: str = "") -> None:
    """Prints a table of all classes, or one with its documentation and how to write it in a workload."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rayopt.experiments.components import arguments_of, look_up
    from rayopt.experiments.plugins import load_plugins

    load_plugins()
    if name is not None:
        chosen = look_up(name, registry)
        entry = _entry(chosen.name, arguments_of(chosen).values())
        typer.echo(inspect.getdoc(chosen))
        if hasattr(chosen, "from_config"):
            typer.echo(f"\n{inspect.getdoc(chosen.from_config)}")
        typer.echo(beside, nl=False)
        typer.echo("\nIn a workload file (a value that is given is the default):\n")
        typer.echo("  " + example.replace("ENTRY", entry))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    with_papers = any(getattr(component, "paper", "") for component in registry.values())
    for title in ("name", "what it is", "paper")[: 3 if with_papers else 2]:
        table.add_column(title, overflow="fold")
    for known, component in registry.items():
        # As it stands: a tag such as [code] is not markup.
        summary = Text((inspect.getdoc(component) or "").partition("\n")[0])
        table.add_row(known, summary, *([getattr(component, "paper", "")] if with_papers else []))
    open_console().print(table)


def _entry(name: str, arguments: Iterable[inspect.Parameter]) -> str:
    """Returns the mapping that stands for a component in a workload file."""
    from rayopt.methods.base import is_optional

    # JSON is YAML on one line.
    values = [
        f"{argument.name}: {'...' if argument.default is argument.empty else json.dumps(argument.default)}"
        for argument in arguments
        if not is_optional(argument)
    ]
    return "{" + ", ".join([f"name: {name}", *values]) + "}"
