"""``rayopt replay``: a recorded run executed again, or another method on what it has measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayopt.cli.app import TrustCode, main, open_console
from rayopt.core.errors import InvalidInput

if TYPE_CHECKING:
    from rayopt.methods import Method

DIFFERENT = 1


@main.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="A folder that `rayopt run` wrote, with a trace.", metavar="RUN")],
    method: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Try this method on the durations that RUN has measured; a name or YAML."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Only the runs with this label; with --method: the durations of this one. Default: all; the first.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Only the runs with this seed; with --method: the durations of this one. Default: all; the first.",
        ),
    ] = None,
    assign: Annotated[
        str | None,
        typer.Option(
            metavar="own|cyclic",
            help="With --method: every worker takes its own durations (the default), or those of all who have some go "
            "around.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --method: a run folder for what comes of it.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data, if it has moved.")
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Execute a recorded run again, and check that x is the same to the bit.

    Every arrival comes again in the recorded order, also if the run was one in real time on a cluster; gradients are
    computed anew, one by one as the workers did. The hash of x is compared wherever one was recorded, and every
    decision of the method: what it used, ignored and cancelled. The first difference ends the replay of a run and is
    shown: the update, the worker, and how far the sum of x is off. Then the program ends with 1.

    Equal bits can be expected on the same type of processor with the same versions; differences are printed.

    With --method, RUN's workers are given to another method, in virtual time: they take as long for each task as
    they took in RUN, in the same order, and again from the first when the recorded ones have run out. A step size
    that is not given is that of --label. How long a worker takes of which no task arrived is not known: --assign
    cyclic gives the durations of the others out in turn.

    \b
    rayopt replay runs/today
    rayopt replay runs/today --label Ringmaster --seed 1
    rayopt replay runs/today --method '{name: ringmaster, step_size: 0.1, threshold: 8}'
    rayopt replay runs/today --method asgd --label Rennala --seed 1 --out runs/what-if
    """
    from rayopt.experiments.replay import recorded_experiment
    from rayopt.experiments.replay import replay as execute
    from rayopt.storage.run_folder import RunFolder

    for name, value in (("--out", out), ("--assign", assign)):
        if method is None and value is not None:
            raise InvalidInput(name, f"'{value}' without --method", "--method METHOD beside it")
    found = RunFolder.recorded(folder)
    experiment = recorded_experiment(found, data, trust_code)
    console = open_console()
    if method is not None:
        from rayopt.experiments.replay.other_method import measured_method, try_other
        from rayopt.report.table import render

        _, measured = measured_method(found, experiment, label)
        other = try_other(found, experiment, make_method(method, measured), label, seed, out, assign or "own")
        console.print(render(other.result.summary))
        for note in other.notes:
            console.out(f"  {note}", highlight=False)
        return
    again = execute(folder, experiment, label=label, seed=seed)
    for run in again.runs:
        console.out(str(run), highlight=False)
    for text in again.elsewhere:
        console.out(f"  {text}.", highlight=False)
    if not again.is_equal:
        raise typer.Exit(DIFFERENT)


def make_method(text: str, measured: Method) -> Method:
    """Returns the method of an option; without a step size, with that of the method whose durations it takes.

    Raises:
      InvalidInput: it is not a method.
    """
    from rayopt.experiments.components import look_up, make
    from rayopt.experiments.workload_file import parse
    from rayopt.methods import METHODS

    given: Any = parse(text, "--method")
    arguments = {"name": given} if isinstance(given, str) else given
    if not isinstance(arguments, dict) or not isinstance(arguments.get("name"), str):
        raise InvalidInput("--method", f"{text!r} is not a method", "a name, or a mapping such as {name: asgd, ...}")
    arguments = {"step_size": measured.step_size, **arguments}
    try:
        return make(look_up(arguments.pop("name"), METHODS), arguments)
    except InvalidInput as error:
        raise error.within("--method") from None
