"""``rayopt resume``: an experiment that was killed goes on from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayopt.cli.app import main, open_console
from rayopt.cli.run import announce, finish


@main.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The run folder of a `rayopt run` that was killed.", metavar="RUN")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data, if it has moved.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")] = False,
) -> None:
    """Go on with an experiment whose process, machine or cluster died.

    While an experiment runs, RUN/unfinished holds its configuration, the last two checkpoints (one a minute, or as
    `record: {checkpoint: SECONDS}` says) and the trace up to them. Runs that had ended are kept, the one that had
    not goes on from the last checkpoint, and the others follow. At most the time since that checkpoint is lost.

    In virtual time everything is the same to the bit as if nothing had happened. In real time the method, x and
    the clock are those of the checkpoint, and every worker is given the task again that it had, with its number.

    \b
    rayopt run FILE --out runs/today --checkpoint-every 10
    rayopt resume runs/today
    """
    from rayopt.config import load_workload
    from rayopt.report.progress import ProgressBars
    from rayopt.run_folder import CONFIG, RunFolder

    found = RunFolder.interrupted(folder)
    experiment = load_workload(found.unfinished / CONFIG, data=data).build()
    console = open_console(quiet)
    announce(experiment, folder, console)
    finish(lambda: experiment.resume(folder, None if quiet else ProgressBars()), folder, console, quiet)
