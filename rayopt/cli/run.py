"""``rayopt run`` and ``rayopt report``: a workload into a run folder, and the folder shown again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayopt.cli.app import INTERRUPTED, UNWRITTEN, On, TrustModule, counted, main, open_console, place_of
from rayopt.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from rayopt.experiments.execution import Display
    from rayopt.experiments.experiment import Experiment
    from rayopt.experiments.result import Result


Data = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write event files for TensorBoard into the run folder.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to standard error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")]


@main.command()
def run(
    file: Annotated[Path, typer.Argument(help="A workload file, or the config.yaml of a run folder.", metavar="FILE")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the file; the value is YAML. Repeatable."),
    ] = None,
    fleet: Annotated[
        str | None,
        typer.Option(
            metavar="simulated|ray|shared_memory",
            help="Run in virtual time, in real time on Ray, or on one x in shared memory.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run folder. Default: runs/<file>-<date>-<time>.")
    ] = None,
    data: Data = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1,2", help="Run these seeds, not those of the file.")] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Real seconds between checkpoints. Default: record.checkpoint, or 60."),
    ] = None,
    on: On = None,
    tensorboard: Tensorboard = False,
    trust_code: TrustModule = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run every method of a workload on every seed.

    While it runs, bars follow it; at the end there is a table of the methods and a figure of each metric. The run
    folder keeps config.yaml (enough to run it again), history.parquet, trace.parquet, summary.json and the figures.
    Ctrl-C (or SIGTERM) ends it early and keeps what was recorded; a second one aborts the current run and
    keeps those that had ended. After that, a failed run, a kill or a crash, `rayopt resume` continues: runs that had
    ended are kept; an unfinished one continues from its last checkpoint, or starts over if it has none.

    \b
    rayopt run workloads/mnist_logreg.yaml
    rayopt run FILE --set workers.count=64 --out runs/today
    rayopt run FILE --set 'methods[0].step_size=[0.1, 0.2]'
    rayopt run FILE --set fleet.time_scale=0.01   10 ms for a fleet second
    rayopt run FILE --fleet simulated --seeds 0,1,2,3,4
    rayopt run FILE --on processes:8              as many runs at once; --on ray: on a cluster
    rayopt run runs/today/config.yaml             the same again
    rayopt run FILE --trust-code                  where it says module: my_method.py
    rayopt run FILE --tensorboard --out runs/today && tensorboard --logdir runs/today
    """
    from rayopt.experiments.config import load_workload
    from rayopt.storage.run_folder import RunFolder

    if seeds is not None:
        changes = [*(changes or ()), f"seeds=[{seeds}]"]
    if checkpoint_every is not None:
        changes = [*(changes or ()), f"record.checkpoint={checkpoint_every}"]
    place = place_of(on)
    folder = out or Path("runs") / f"{file.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    # Fail before the data are loaded if it cannot be written.
    RunFolder(folder)
    experiment = load_workload(file, changes or (), fleet, data, trust_module=trust_code).build()
    console = open_console(quiet)
    display = follow(experiment, tensorboard, verbose, quiet)
    announce(experiment, folder, console)
    try:
        finish(lambda: experiment.run(folder, display, place), folder, console, quiet)
    except InvalidInput as error:
        raise error.within("", str(file)) from None


def follow(experiment: Experiment, tensorboard: bool, verbose: bool, quiet: bool) -> Display | None:
    """Returns the bars that follow an experiment; turns event files and logs on if asked."""
    from rayopt.report.progress import ProgressBars
    from rayopt.runs.logs import show_logs

    if verbose:
        show_logs()
    if tensorboard:
        from rayopt.experiments.callbacks import TensorBoard

        experiment.callbacks = [*experiment.callbacks, TensorBoard()]
    return None if quiet else ProgressBars()


def finish(work: Callable[[], Result], folder: Path, console: Console, quiet: bool) -> None:
    """Runs an experiment and shows its result; after Ctrl-C, prints what is kept and ends the program."""
    try:
        result = work()
        _show(result, console, figures_later=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {_left_in(folder)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not result.is_written:
        raise typer.Exit(UNWRITTEN)
    if quiet:
        typer.echo(result.folder.path)
    if kept := _kept_after_interrupt(result):
        typer.echo(f"interrupted: {kept} is in {result.folder.path}", err=True)
        raise typer.Exit(INTERRUPTED)


@main.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="A folder that `rayopt run` wrote; several are compared.", metavar="RUN...")
    ],
    at: Annotated[
        str | None, typer.Option(metavar="0,100,200", help="Print the values at these fleet seconds too.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="The metric of --at. Default: the target's, or the squared gradient norm.", metavar="NAME"),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the tasks of the trace for Perfetto and chrome://tracing."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Where the page goes. Default: report.html in the first RUN."),
    ] = None,
) -> None:
    """Show the table of a run again, draw its figures again, and write its page.

    The page, report.html, opens offline in any browser: the answer, the table, the metrics, who did what when, delays,
    where the seconds went, step sizes, configuration. Several runs are compared on one page.

    \b
    rayopt report runs/today
    rayopt report runs/today --at 100,200,500
    rayopt report runs/today --at 100,200,500 --metric gap
    rayopt report runs/today runs/yesterday --out compared.html
    rayopt report runs/today --timeline trace.json
    """
    from rayopt.experiments.result import load
    from rayopt.report.values_at import render_values

    console = open_console()
    results = [load(folder) for folder in folders]
    if len(results) > 1:
        if at is not None or timeline is not None:
            raise InvalidInput("--at" if at is not None else "--timeline", "beside several runs", "one run")
        from rayopt.report.page import write_page

        console.out(f"Page: {write_page(results, out)}", highlight=False)
        return
    (result,) = results
    if metric is not None and at is None:
        raise InvalidInput("--metric", f"{metric!r} without --at", "--at 0,100,200 beside it")
    values = None if at is None else render_values(result.history, result.summary, _seconds(at), metric)
    _show(result, console, page=out)
    if values is not None:
        console.print(values)
    if timeline is not None:
        from rayopt.report.chrome_trace import write_chrome_trace

        write_chrome_trace(result, timeline)
        console.out(f"Timeline: {timeline}", highlight=False)


def _seconds(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput("--at", f"{text!r} is not a list of numbers", "fleet seconds such as 0,100,200") from None


def announce(experiment: Experiment, folder: Path, console: Console) -> None:
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
    parts = [
        counted(len(runs), "run"),
        f"{counted(len(experiment.methods), 'method')} with {counted(step_sizes, 'step size')}",
        counted(len(experiment.seeds), "seed"),
        f"{counted(experiment.workers.count, 'worker')} of the fleet {experiment.fleet.name!r}",
    ]
    console.out(f"{', '.join(parts)}; results go to {folder}.", highlight=False)


def _show(result: Result, console: Console, figures_later: bool = False, page: Path | None = None) -> None:
    """Prints the table of a result, and if it is on disk, draws its figures and prints their paths.

    With ``figures_later``, those that cannot be written are a warning: everything else is kept already.
    """
    from rayopt.report.figures import save_all
    from rayopt.report.page import write_page
    from rayopt.report.table import render

    console.print(render(result.summary))
    if not result.is_written:
        return
    try:
        figures = save_all(result)
        written = write_page(result, page)
    except OSError as error:
        if not figures_later:
            raise
        figures, written = [], None
        warnings.warn(
            f"the figures cannot be written ({error}); `rayopt report {result.folder.path}` draws them again",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    console.out(f"Run folder: {result.folder.path}", highlight=False)
    for figure in figures:
        console.out(f"Figure: {figure}", highlight=False)
    if written is not None:
        console.out(f"Page: {written}", highlight=False)


def _kept_after_interrupt(result: Result) -> str:
    """Returns what Ctrl-C left of the record, or "" if nobody pressed it."""
    from rayopt.experiments.experiment import BROKEN_OFF, NOT_RUN

    runs = result.summary["runs"]
    if not any(entry["ended_by"] == "interrupted" or entry["problem"] in (NOT_RUN, BROKEN_OFF) for entry in runs):
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
