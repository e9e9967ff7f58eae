"""``rayopt profile``: how long gradients and messages take on a real fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayopt.cli.app import TrustModule, check_folder_of, counted, main, open_console
from rayopt.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from rayopt.experiments.profiling.measure import OnProgress
    from rayopt.fleets.ray.fleet import RayFleet
    from rayopt.latency.durations_file import Durations
    from rayopt.latency.workers import Workers
    from rayopt.problems.base import Problem


@main.command()
def profile(
    file: Annotated[
        Path | None, typer.Argument(help="A workload file: its problem, workers and fleet.", metavar="[FILE]")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the file; the value is YAML. Repeatable."),
    ] = None,
    problem: Annotated[
        str | None, typer.Option(metavar="PROBLEM", help="Without a file: a problem, a name or YAML.")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="Without a file: the number of workers.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Without a file: the Ray cluster. Default: a local one.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where to write what was measured.")] = Path(
        "profile.csv"
    ),
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data.")] = None,
    repetitions: Annotated[int, typer.Option(metavar="N", help="Gradients of each worker.")] = 200,
    warm_up: Annotated[int, typer.Option(metavar="N", help="Gradients before them, which do not count.")] = 3,
    transfers: Annotated[int, typer.Option(metavar="N", help="How often each payload is sent each way.")] = 20,
    payloads: Annotated[
        str, typer.Option("--bytes", metavar="LIST", help="Payloads to send, besides one as large as a gradient.")
    ] = "1000,100000,1000000",
    at_most: Annotated[float, typer.Option(metavar="SECONDS", help="When to stop computing gradients.")] = 120.0,
    trust_code: TrustModule = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path of the file and nothing else.")] = False,
) -> None:
    """Measure a fleet: seconds per gradient and per message, of every worker.

    Runs on Ray, where the workload runs: payloads go to each idle worker and
    back, then all workers compute gradients at the same time. Workers with
    compute: measured run at full speed; any other latency is emulated, and what
    is measured is the emulation.

    The file that is written is plain text: a row for each gradient and message,
    below comments that say what was measured, when, on what. Beside it stands
    a figure. In a workload file it replays in virtual time:

    \b
    workers: {count: 8, compute: {name: trace, path: profile.csv}}

    and `rayopt theory --profile profile.csv` says which method it favours.

    \b
    rayopt profile workloads/mnist_logreg.yaml --set workers.compute=measured
    rayopt profile --problem '{name: quadratic, dimension: 1000}' --count 4
    rayopt profile FILE --out cluster.csv --repetitions 1000 --bytes 8,8000000
    """
    from rayopt.experiments.profiling.measure import Plan, check_fleet
    from rayopt.experiments.profiling.measure import profile as measure
    from rayopt.experiments.profiling.save import save
    from rayopt.latency.durations_file import read_durations

    plan = Plan(repetitions, warm_up, transfers, _sizes(payloads), at_most)
    _check_path(out)
    chosen, workers, fleet = _from_file(file, changes or (), data, problem, count, address, trust_code)
    workers = fleet.emulated(workers)
    check_fleet(fleet, workers)
    console = open_console(quiet)
    speed = "at full speed" if workers.are_measured else f"emulating {workers.compute!r}"
    console.out(f"{counted(workers.count, 'worker')} {speed}; the profile goes to {out}.", highlight=False)
    with _progress(quiet) as on_progress:
        found = measure(chosen, workers, fleet, plan, on_progress=on_progress)
    save(found, out)
    if quiet:
        typer.echo(out)
    else:
        _show(read_durations(str(out)), out, console)


def _show(durations: Durations, path: Path, console: Console) -> None:
    """Prints the tables, draws the figure and says how to replay the file."""
    from rayopt.experiments.profiling.summary import fitted_line, replay_lines, summarise
    from rayopt.report.profile_table import draw, render
    from rayopt.report.theory_plot import save

    workers = summarise(durations)
    console.print(render(durations, workers))
    figure = path.with_suffix(".png")
    save(draw(durations, workers), figure)
    console.out("\nReplay it in a workload file:\n\n  workers:", highlight=False)
    for line in replay_lines(durations, str(path)):
        console.out(f"    {line}", highlight=False)
    if fitted := fitted_line(durations, workers):
        console.out(f"\nOr draw from the law that fits all workers best:\n\n    {fitted}", highlight=False)
    console.out(f"\nProfile: {path}\nFigure: {figure}", highlight=False)


def _from_file(
    file: Path | None,
    changes: Any,
    data: Path | None,
    problem: str | None,
    count: int | None,
    address: str | None,
    trust_code: bool,
) -> tuple[Problem, Workers, RayFleet]:
    """Returns what to profile: of a workload file, or of the options that stand in its place."""
    from rayopt.experiments.config import build_problem, load_workload
    from rayopt.fleets.ray.fleet import RayFleet
    from rayopt.latency.workers import Workers

    if file is None:
        if problem is None or count is None:
            missing = "FILE" if problem is None else "--count"
            raise InvalidInput(missing, "missing", "a workload file, or --problem with --count in its place")
        return build_problem(problem, data), Workers(count, "measured"), RayFleet(address=address)
    for name, value in (("--problem", problem), ("--count", count), ("--address", address)):
        if value is not None:
            raise InvalidInput(name, f"{value!r} beside the file {file}", "a file, or --problem with --count")
    found, workers, fleet = load_workload(file, changes, data=data, trust_module=trust_code).build_fleet()
    return found, workers, fleet if isinstance(fleet, RayFleet) else RayFleet()


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InvalidInput("--bytes", f"{text!r} is not a list of sizes", "integers above 0, such as 1000,1000000")
    return [int(part) for part in parts]


def _check_path(path: Path) -> None:
    """Fails before the measurements, not after them, if the file cannot be written."""
    if path.suffix != ".csv":
        raise InvalidInput("--out", f"{path} does not end in .csv", "a file such as profile.csv")
    check_folder_of("--out", path)


@contextmanager
def _progress(quiet: bool) -> Iterator[OnProgress]:
    """Follows the measurements with a bar on standard error, where somebody watches."""
    import rich.progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    with bars.Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done)

        yield on_progress
