"""The program itself: its errors, its version, and what the commands share."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rayopt.core.errors import InvalidInput, RayoptError, first_line
from rayopt.core.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from rayopt.experiments.spread.places import Place

UNWRITTEN = 1
BAD_INPUT = 2
INTERRUPTED = 130
WIDTH_OF_A_FILE = 120

TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Run the code that RUN names, such as a PyTorch module. Trust who wrote it."),
]
TrustModule = Annotated[
    bool, typer.Option("--trust-code", help="Import the module that FILE names (module: ...). Trust who wrote it.")
]


On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="here|processes:N|ray|ray:ADDRESS",
        help="Where runs in virtual time execute, several at once. Default: RAYOPT_ON, or a process on each core.",
    ),
]  # fmt: skip


def place_of(on: str | None) -> Place:
    """Returns the place that is asked for, that of the environment, or processes on all cores.

    Raises:
      InvalidInput: a text that names no place.
    """
    from rayopt.experiments.spread.places import VARIABLE, Place

    if on is None and os.environ.get(VARIABLE):
        return Place.of(os.environ[VARIABLE], VARIABLE)
    return Place.of(on or "processes")


class Commands(TyperGroup):
    """The commands; an error of rayopt's own or of a file is one line and no traceback, a warning one line too."""

    def invoke(self, context: Any) -> Any:
        """Runs the command that was asked."""
        try:
            with warnings_in_one_line():
                return super().invoke(context)
        except RayoptError as error:
            typer.echo(str(error).replace("\n", " "), err=True)
            raise typer.Exit(BAD_INPUT) from None
        except OSError as error:
            # Typer ends in silence where nobody reads any more.
            if error.errno == errno.EPIPE:
                raise
            typer.echo(_in_one_line(error), err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        finally:
            forget_what_cannot_be_written()


def check_folder_of(option: str, path: Path) -> None:
    """Fails before the work, not after it, if a file cannot be written because there is no such folder."""
    if not path.parent.is_dir():
        raise InvalidInput(option, f"there is no folder {path.parent}", "a file in a folder that exists")


def forget_what_cannot_be_written() -> None:
    """Sends what waits for a standard error that takes nothing nowhere; Python would end with 120 because of it."""
    try:
        sys.stderr.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _in_one_line(error: OSError) -> str:
    """Returns what a file or the system refused: a full disk, a folder that may not be written to."""
    if error.strerror is None:
        return f"{type(error).__name__}: {first_line(error)}"
    # Of a file that was to have another name it is that one.
    name = error.filename2 or error.filename
    return f"{name}: {error.strerror}" if name else error.strerror


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Shows warnings to users as their text; those of Python and of libraries to programmers stay what they are."""
    before = warnings.formatwarning

    def in_one_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning:
            return f"warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = in_one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


main = typer.Typer(cls=Commands, rich_markup_mode="rich", no_args_is_help=True)


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
    rayopt resume RUN          go on with a run that was killed, interrupted or failed
    rayopt replay RUN          execute a recorded run again, x equal to the bit
    rayopt tune FILE           grids of step sizes and parameters: the best of each method
    rayopt theory --times i -n 100     what theory predicts for every method
    rayopt profile FILE        how long gradients and messages take on a real fleet
    rayopt methods             what there is
    rayopt methods rennala     one of them, and its arguments
    """


def open_console(quiet: bool = False) -> Console:
    """Returns standard output, wide enough for the tables where it is not a terminal."""
    from rich.console import Console

    console = Console(quiet=quiet)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_OF_A_FILE)
    return console


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
