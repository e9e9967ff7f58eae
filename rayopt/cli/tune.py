"""``rayopt tune``: grids of step sizes and parameters, and the best of each method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayopt.cli.app import INTERRUPTED, On, TrustModule, counted, main, open_console, place_of
from rayopt.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from rayopt.experiments.tuning.tuning import Tuning


@main.command()
def tune(
    file: Annotated[Path, typer.Argument(help="A workload file with a section tune.", metavar="FILE")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the file; the value is YAML. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The tuning folder. Default: tuning/<file>.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Jobs at the same time. Default: tune.processes, or one for each processor."),
    ] = None,
    on: On = None,
    trust_code: TrustModule = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the tuning folder and nothing else.")] = False,
) -> None:
    """Try all step sizes and parameters of each method, and confirm the best.

    The file is a workload in which any parameter of a method may be a grid, with
    a section that names the seeds:

    \b
    methods:
      - name: rennala
        step_size: [0.1, 0.2, 0.5]
        batch_size: {grid: [1, 6, 24]}
      - name: ringmaster
        step_size: {powers: 5, from: -5, to: 1}    5^-5, ..., 1, 5
        threshold: {halvings: 64, by: 4}           64, 16, 4, 1
    tune: {metric: value, seeds: [0, 1, 2], confirm: [100, 101, 102]}

    All step sizes run as one run. Each combination of the other parameters on
    each seed is a job in virtual time; jobs are spread over processes. Of each
    method the best is the soonest at the target of `until`, or has the best
    metric at the end, by the median over the tuning seeds. What diverges on one
    of them is never chosen.

    The folder keeps the whole grid (tuning.parquet, a heat map for each method),
    the chosen parameters as a workload (tuned.yaml) and their run on the other
    seeds (confirmed). A finished job is kept at once: after Ctrl-C or a crash the
    same command continues where it stopped.

    \b
    rayopt tune FILE
    rayopt tune FILE --processes 8 --out tuning/today
    rayopt tune FILE --set 'methods[0].batch_size={grid: [1, 2]}' --out new
    rayopt run tuning/today/tuned.yaml --fleet ray
    rayopt report tuning/today/confirmed
    """
    from rayopt.experiments.config import load_workload
    from rayopt.experiments.spread.places import Place
    from rayopt.experiments.tuning.folder import TuningFolder
    from rayopt.experiments.tuning.tuning import TuningInterrupted
    from rayopt.report.progress import JobBar, ProgressBars

    folder = out or Path("tuning") / file.stem
    # Fail before the data are loaded if it cannot be written.
    TuningFolder(folder)
    workload = load_workload(file, changes or (), data=data, trust_module=trust_code)
    if on is not None and processes is not None:
        raise InvalidInput("--on", f"{on!r} beside {processes} processes", "one of them")
    if on is None and processes is None and workload.tune is not None:
        processes = workload.tune.processes
    place = place_of(on) if processes is None else Place.for_processes(processes)
    tuning = workload.build_tuning()
    try:
        TuningFolder(folder).begin(tuning.to_config())
    except InvalidInput as error:
        raise error.within("", str(file)) from None
    console = open_console(quiet)
    _announce(tuning, folder, console)
    try:
        jobs_display, confirm_display = (None, None) if quiet else (JobBar(), ProgressBars())
        result = tuning.run(folder, jobs_display=jobs_display, confirm_display=confirm_display, on=place)
    except TuningInterrupted as interruption:
        typer.echo(f"interrupted: {interruption}; the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if quiet:
        typer.echo(folder)
    from rayopt.report.heat_map import save_heat_maps
    from rayopt.report.tuning_table import render

    figures = save_heat_maps(result, folder)
    console.print(render(result))
    console.out(f"Tuning folder: {folder}", highlight=False)
    for figure in figures:
        console.out(f"Figure: {figure}", highlight=False)


def _announce(tuning: Tuning, folder: Path, console: Console) -> None:
    """Says what is about to run, on which data, and where the results go."""
    source = getattr(tuning.problem, "source", "")
    if source:
        console.out(f"Data: {source}.", highlight=False)
    tried = sum(len(grid.combinations) * len(grid.step_sizes) for grid in tuning.grids)
    parts = [
        counted(len(tuning.experiment.runs()), "job"),
        f"{counted(len(tuning.grids), 'method')} with {counted(tried, 'combination')}",
        counted(len(tuning.seeds), "tuning seed"),
        counted(tuning.workers.count, "worker"),
    ]
    console.out(f"{', '.join(parts)}; results go to {folder}.", highlight=False)
