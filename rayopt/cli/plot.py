"""``rayopt plot``: a figure for a paper or a talk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayopt.cli.app import check_folder_of, main, open_console
from rayopt.core.errors import InvalidInput, one_of

FORMATS = ("png", "pdf", "svg")


@main.command()
def plot(
    folder: Annotated[Path, typer.Argument(help="A folder that `rayopt run` wrote.", metavar="RUN")],
    metric: Annotated[str, typer.Option(help="A metric that was recorded.", metavar="NAME")] = "value",
    x: Annotated[
        str,
        typer.Option(
            "--x",
            help="Against what: time, updates, arrivals, used, worker_seconds, bits_up, bits_down.",
            metavar="NAME",
        ),
    ] = "time",
    log: Annotated[
        str | None, typer.Option(help="Logarithmic axes: x, y, xy or none. Default: y where it helps.", metavar="AXES")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Labels to draw, with commas between. Default: all.", metavar="A,B")
    ] = None,
    format: Annotated[str | None, typer.Option(help="png, pdf or svg. Default: that of --out.", metavar="NAME")] = None,
    style: Annotated[str, typer.Option(help="screen, or paper: small type, no title.", metavar="NAME")] = "screen",
    width: Annotated[float | None, typer.Option(help="Inches.", metavar="INCHES")] = None,
    out: Annotated[Path | None, typer.Option(help="The file. Default: METRIC.FORMAT in RUN.", metavar="FILE")] = None,
) -> None:
    """Draw a metric of a run: of each method its best step size, median and quartiles over seeds.

    \b
    rayopt plot runs/today --metric gap --x updates --log y
    rayopt plot runs/today --methods Rennala,Ringmaster --style paper --format pdf --out gap.pdf
    """
    from functools import partial

    from rayopt.core.file_names import file_name
    from rayopt.experiments.result import load
    from rayopt.report.figure import RESOLUTION
    from rayopt.storage.files import write_complete

    kind = format or (out.suffix.removeprefix(".").lower() if out is not None else "png")
    one_of("--format" if format else "--out", kind, FORMATS)
    if out is not None:
        check_folder_of("--out", out)
    result = load(folder)
    chosen = None if methods is None else [label.strip() for label in methods.split(",")]
    try:
        figure = result.plot(metric, x, "" if log == "none" else log, chosen, style, width)
    except InvalidInput as error:
        option = "--x" if error.key == "against" else f"--{error.key}"
        raise InvalidInput(option, error.problem, error.allowed) from None
    path = out or folder / f"{file_name(metric, (), 'metric')}.{kind}"
    write_complete(path, partial(figure.savefig, format=kind, dpi=RESOLUTION))
    open_console().out(f"Figure: {path}", highlight=False)
