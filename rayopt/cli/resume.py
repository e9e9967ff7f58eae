"""``rayopt resume``: continues an unfinished experiment from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayopt.cli.app import On, TrustCode, main, open_console, place_of
from rayopt.cli.run import Data, Quiet, Tensorboard, Verbose, announce, finish, follow


@main.command()
def resume(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a `rayopt run` that did not come to its end.", metavar="RUN")
    ],
    data: Data = None,
    trust_code: TrustCode = False,
    on: On = None,
    tensorboard: Tensorboard = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Go on with an experiment that was interrupted or failed, or whose process, machine or cluster died.

    While an experiment runs, RUN/unfinished holds its configuration, the last two checkpoints (one a minute, or as
    `record: {checkpoint: SECONDS}` says) and the trace up to them. Runs that had ended are kept, one that had not or
    that failed goes on from its last checkpoint, and the others follow. At most the time since that checkpoint is lost.
    A run that had none begins anew. After Ctrl-C or a failure the folder also holds what was recorded until then;
    `rayopt report` shows it.

    In virtual time everything is the same to the bit as if nothing had happened. In real time the method, x and
    the clock are those of the checkpoint, and every worker is given the task again that it had, with its number.

    \b
    rayopt run FILE --out runs/today --checkpoint-every 10
    rayopt resume runs/today
    """
    from rayopt.experiments.config import load_workload
    from rayopt.storage.run_folder import CONFIG, RunFolder

    found = RunFolder.interrupted(folder)
    # Fail before the data are loaded.
    found.check_is_left()
    experiment = load_workload(found.unfinished / CONFIG, data=data, trust_code=trust_code).build()
    console = open_console(quiet)
    display = follow(experiment, tensorboard, verbose, quiet)
    announce(experiment, folder, console)
    finish(lambda: experiment.resume(folder, display, place_of(on)), folder, console, quiet)
