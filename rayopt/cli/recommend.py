"""``rayopt recommend``: which method to use on a fleet, tried in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from rayopt.cli.app import check_folder_of, main, open_console
from rayopt.core.errors import InvalidInput, at_least, is_number, non_negative


@main.command()
def recommend(
    times: Annotated[
        str | None,
        typer.Option(metavar="TIMES", help="Seconds per gradient: a number, a list, a formula of i, @FILE[:COLUMN]."),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The seconds that `rayopt profile` measured.")
    ] = None,
    workers: Annotated[int | None, typer.Option("-n", "--workers", metavar="N", help="The number of workers.")] = None,
    problem: Annotated[
        str, typer.Option(metavar="PROBLEM", help="A name or YAML, such as '{name: logistic_regression, data: mnist}'.")
    ] = "{name: logistic_regression, data: mnist}",
    target: Annotated[
        str, typer.Option(metavar="METRIC=LEVEL", help="What is to be reached soonest.")
    ] = "accuracy=0.88",
    noise_ratio: Annotated[
        float | None, typer.Option(metavar="SIGMA2/EPS", help="For what theory says. Default: the number of workers.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="On how many seeds the best are compared.")] = 3,
    out: Annotated[Path, typer.Option(metavar="FILE.yaml", help="The workload that runs what was chosen.")] = Path(
        "recommended.yaml"
    ),
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder of the problem's data.")] = None,
) -> None:
    """Say which method reaches a target soonest on a fleet.

    First what theory says of these times; then a few methods with a few parameters and a step-size grid each, in
    short virtual runs on one seed; then the best of each on other seeds: their times with the spread, and a workload
    that runs them again, in virtual time or on Ray.

    \b
    rayopt recommend --times 'sqrt(i)' -n 100
    rayopt recommend --profile profile.csv --target accuracy=0.9
    rayopt recommend --times i -n 20 --problem '{name: quadratic, dimension: 100}' --target grad_norm_sq=1e-3
    """
    from rayopt.cli.times import times_of
    from rayopt.experiments.config import build_problem
    from rayopt.experiments.recommendation import recommend as find
    from rayopt.experiments.recommendation import workload_of
    from rayopt.latency.workers import Workers
    from rayopt.report.progress import JobBar, ProgressBars
    from rayopt.report.table import render
    from rayopt.runs.until import Target
    from rayopt.storage.files import write_text

    at_least("--seeds", seeds, 1)
    metric, separator, level = target.partition("=")
    if not separator or not is_number(level):
        raise InvalidInput("--target", f"{target!r} is not a target", "a metric and a level, such as accuracy=0.88")
    check_folder_of("--out", out)
    given = times_of(times, None if profile is None else str(profile), workers)
    fleet = Workers(len(given.known["times"]), _compute(times, profile, given.known["times"]))
    chosen = build_problem(problem, data)
    if metric not in chosen.metric_names:
        raise InvalidInput("--target", f"{chosen.name} has no metric {metric!r}", ", ".join(chosen.metric_names))
    ratio = float(fleet.count) if noise_ratio is None else non_negative("--noise-ratio", noise_ratio)
    console = open_console()
    console.out(_theory(given.known, ratio), highlight=False)
    found = find(chosen, fleet, Target(metric, float(level)), range(100, 100 + seeds), None, JobBar(), ProgressBars())
    if found.confirmed is None:
        raise InvalidInput("--problem", "every method diverged or failed with every step size that was tried",
                           "a problem of another scale, or `rayopt tune` with other step sizes")  # fmt: skip
    console.print(render(found.confirmed.summary))
    reached = [row for row in found.confirmed.summary["table"] if row["time_to_target"] is not None]
    sure = (f"Each method was tuned on one seed, with {len(found.medians)} combinations in all, and compared on "
            f"{seeds} others; what is closer than their spread is not a difference.")  # fmt: skip
    if not reached:
        sure = f"Nobody reached {metric} = {level} in the time that was tried: the order is that of the end. {sure}"
    console.out(sure, highlight=False)
    write_text(out, yaml.safe_dump(workload_of(found, chosen.to_config()), sort_keys=False))
    console.out(f"Workload: {out} (rayopt run {out}, with --fleet ray in real time)", highlight=False)


def _compute(times: str | None, profile: Path | None, known: Any) -> Any:
    """Returns what a workload says of the workers' times: a formula, a list of seconds, or the file they are in."""
    from rayopt.cli.times import numbers_of

    if times is None:
        return {"name": "trace", "path": str(profile)}
    is_formula = not times.startswith("@") and numbers_of(times) is None
    return times if is_formula else known.tolist()


def _theory(known: dict[str, Any], ratio: float) -> str:
    """Returns what theory says of these times."""
    from rayopt.problems.constants import translated_errors
    from rayopt.report.theory_advice import advise
    from rayopt.report.theory_table import compare
    from rayopt.theory import Setting

    with translated_errors():
        setting = Setting(eps=1.0, smoothness=1.0, noise_variance=ratio, initial_gap=1.0, **known)
        return f"With sigma²/eps = {ratio:g}: {advise(compare(setting))}"
