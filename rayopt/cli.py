"""The command line: ``rayopt run FILE`` and what helps to write the file.

What takes long to import is imported by the command that needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rayopt import __version__
from rayopt.errors import InvalidInput, RayoptError

if TYPE_CHECKING:
    from rich.console import Console

    from rayopt.experiment import Experiment
    from rayopt.result import Result

BAD_INPUT = 2
INTERRUPTED = 130
WIDTH_OF_A_FILE = 120


class Commands(TyperGroup):
    """The commands; an error of rayopt's own is one line and no traceback."""

    def invoke(self, context: Any) -> Any:
        """Runs the command that was asked."""
        try:
            return super().invoke(context)
        except RayoptError as error:
            typer.echo(str(error).replace("\n", " "), err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


main = typer.Typer(cls=Commands, rich_markup_mode="rich", add_completion=False, no_args_is_help=True)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rayopt {__version__}")
        raise typer.Exit


@main.callback()
def rayopt(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Which parallel SGD method reaches the target soonest on this fleet?

    A workload file says what to run: a problem, workers and how long things take them, methods, and when to stop.
    The same file runs in virtual time and in real time on Ray.

    \b
    problem: {name: quadratic, dimension: 100}
    workers: {count: 50, compute: sqrt(i)}     # seconds per gradient of worker i
    methods:
      - {name: rennala, step_size: [0.5, 1.0], batch_size: 10}
      - {name: ringmaster, step_size: 0.1, threshold: 20}
    until: {time: 500}
    seeds: [0, 1, 2]

    \b
    rayopt run FILE            every method on every seed: table, figures, run folder
    rayopt run FILE --set workers.count=8 --set fleet=ray
    rayopt methods             what there is
    rayopt methods rennala     one of them, and its arguments
    """


@main.command()
def run(
    file: Annotated[Path, typer.Argument(help="A workload file, or the config.yaml of a run folder.", metavar="FILE")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the file; the value is YAML. Repeatable."),
    ] = None,
    fleet: Annotated[
        str | None, typer.Option(metavar="simulated|ray", help="Run in virtual time or in real time on Ray.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run folder. Default: runs/<file>-<date>-<time>.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1,2", help="Run these seeds, not those of the file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")] = False,
) -> None:
    """Run every method of a workload on every seed.

    While it runs, bars follow it; at the end there is a table of the methods and a figure of each metric. The run
    folder keeps config.yaml (enough to run it again), history.parquet, trace.parquet, summary.json and the figures.
    Ctrl-C ends it early and keeps what was recorded.

    \b
    rayopt run workloads/mnist_logreg.yaml
    rayopt run FILE --set workers.count=64 --out runs/today
    rayopt run FILE --set 'methods[0].step_size=[0.1, 0.2]'
    rayopt run FILE --set fleet.time_scale=0.01   10 ms for a fleet second
    rayopt run FILE --fleet simulated --seeds 0,1,2,3,4
    rayopt run runs/today/config.yaml             the same again
    """
    from rayopt.config import load_workload
    from rayopt.report.progress import ProgressBars
    from rayopt.run_folder import RunFolder

    if seeds is not None:
        changes = [*(changes or ()), f"seeds=[{seeds}]"]
    folder = out or Path("runs") / f"{file.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    # Better to hear now than after the data are loaded that it cannot be written.
    RunFolder(folder)
    experiment = load_workload(file, changes or (), fleet, data).build()
    console = _console(quiet)
    _announce(experiment, folder, console)
    try:
        result = experiment.run(folder, None if quiet else ProgressBars())
        _show(result, console)
    except InvalidInput as error:
        raise error.within("", str(file)) from None
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {_left_in(folder)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if quiet:
        typer.echo(folder)
    if kept := _kept_after_interrupt(result):
        typer.echo(f"interrupted: {kept} is in {folder}", err=True)
        raise typer.Exit(INTERRUPTED)


@main.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `rayopt run` wrote.", metavar="RUN")],
) -> None:
    """Show the table of a run again, and draw its figures again.

    \b
    rayopt report runs/today
    """
    from rayopt.result import load

    _show(load(folder), _console())


Name = Annotated[str | None, typer.Argument(help="Show this one with its arguments.", metavar="[NAME]")]


@main.command()
def methods(name: Name = None) -> None:
    """List the methods, or show one.

    \b
    rayopt methods
    rayopt methods delay_adaptive_asgd
    """
    from rayopt.methods import METHODS

    _catalogue(METHODS, name, "- ENTRY")


@main.command()
def problems(name: Name = None) -> None:
    """List the problems, or show one.

    \b
    rayopt problems
    rayopt problems quadratic
    """
    from rayopt.problems import PROBLEMS

    _catalogue(PROBLEMS, name, "problem: ENTRY")


@main.command()
def latencies(name: Name = None) -> None:
    """List the ways to say how long things take, or show one.

    \b
    rayopt latencies
    rayopt latencies half_normal
    """
    from rayopt.latency import LATENCIES

    _catalogue(LATENCIES, name, "workers: {count: 100, compute: ENTRY}")
    if name is None:
        typer.echo("\nIn a workload file, as compute, upload or download (or a number, a list, a formula of i):\n")
        for kind in LATENCIES.values():
            typer.echo(f"  {kind.example}")


def _console(quiet: bool = False) -> Console:
    """Returns standard output, wide enough for the tables where it is not a terminal."""
    from rich.console import Console

    console = Console(quiet=quiet)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_OF_A_FILE)
    return console


def _announce(experiment: Experiment, folder: Path, console: Console) -> None:
    """Says what is about to run, on which data, and where the results go."""
    source = getattr(experiment.problem, "source", "")
    if source:
        console.out(f"Data: {source}.", highlight=False)
    if not experiment.problem.homogeneous:
        seed = experiment.seeds[0]
        skew = experiment.problem.split(experiment.workers.count, seed).skew
        if skew is not None:
            console.out(
                f"Label skew of the workers' data: {skew:.4g} (0: all alike), for seed {seed}.", highlight=False
            )
    runs = experiment.runs()
    step_sizes = sum(len(method.members()) for method in experiment.methods)
    counted = [
        _count(len(runs), "run"),
        f"{_count(len(experiment.methods), 'method')} with {_count(step_sizes, 'step size')}",
        _count(len(experiment.seeds), "seed"),
        f"{_count(experiment.workers.count, 'worker')} of the fleet {experiment.fleet.name!r}",
    ]
    console.out(f"{', '.join(counted)}; results go to {folder}.", highlight=False)


def _show(result: Result, console: Console) -> None:
    """Prints the table of a result, draws its figures and says where they are."""
    from rayopt.report.figure import save_figures
    from rayopt.report.table import render

    console.print(render(result.summary))
    figures = save_figures(result.history, result.summary, result.folder.path)
    console.out(f"Run folder: {result.folder.path}", highlight=False)
    for figure in figures:
        console.out(f"Figure: {figure}", highlight=False)


def _kept_after_interrupt(result: Result) -> str:
    """Returns what Ctrl-C left of the record, or "" if nobody pressed it."""
    from rayopt.experiment import NOT_RUN

    runs = result.summary["runs"]
    if not any(entry["ended_by"] == "interrupted" or entry["problem"] == NOT_RUN for entry in runs):
        return ""
    begun = [entry for entry in runs if "time" in entry]
    if not begun:
        return "an empty record"
    last = begun[-1]
    return f"the record up to fleet time {last['time']:.4g} of {last['label']}, seed {last['seed']},"


def _left_in(folder: Path) -> str:
    """Returns what a second Ctrl-C left of the run folder."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f"{folder} holds {', '.join(names)}" if names else "nothing was kept"


def _catalogue(registry: Mapping[str, type[Any]], name: str | None, example: str) -> None:
    """Prints a table of all classes, or one with its documentation and how to write it in a workload."""
    from rich import box
    from rich.table import Table

    from rayopt.components import arguments_of, look_up

    if name is not None:
        chosen = look_up(name, registry)
        entry = _entry(chosen.name, arguments_of(chosen).values())
        typer.echo(inspect.getdoc(chosen))
        if hasattr(chosen, "from_config"):
            typer.echo(f"\n{inspect.getdoc(chosen.from_config)}")
        typer.echo("\nIn a workload file (a value that is given is the default):\n")
        typer.echo("  " + example.replace("ENTRY", entry))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("name", "what it is", "paper"):
        table.add_column(title, overflow="fold")
    for known, component in registry.items():
        table.add_row(known, (inspect.getdoc(component) or "").partition("\n")[0], component.paper)
    _console().print(table)


def _entry(name: str, arguments: Iterable[inspect.Parameter]) -> str:
    """Returns the mapping that stands for a component in a workload file."""
    # JSON is YAML on one line.
    values = [
        f"{argument.name}: {'...' if argument.default is argument.empty else json.dumps(argument.default)}"
        for argument in arguments
    ]
    return "{" + ", ".join([f"name: {name}", *values]) + "}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
