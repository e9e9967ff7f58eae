"""``rayopt theory``: what the theorems promise before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rayopt.cli.app import check_folder_of, main, open_console
from rayopt.core.errors import InvalidInput, at_least, non_negative, one_of, positive

FIGURES = (".png", ".pdf", ".svg")


@main.command()
def theory(
    times: Annotated[
        str | None,
        typer.Option(metavar="TIMES", help="Seconds per gradient: a number, a list, a formula of i, @FILE[:COLUMN]."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The seconds that `rayopt profile` measured, or a run's trace.parquet."),
    ] = None,
    workers: Annotated[int | None, typer.Option("-n", "--workers", metavar="N", help="The number of workers.")] = None,
    noise_ratio: Annotated[float, typer.Option(metavar="SIGMA2/EPS", help="Noise over accuracy, sigma²/eps.")] = 1.0,
    smoothness: Annotated[float, typer.Option(metavar="L", help="Lipschitz constant of the gradient.")] = 1.0,
    delta: Annotated[float, typer.Option(metavar="DELTA", help="f(x0) - inf f.")] = 1.0,
    eps: Annotated[float, typer.Option(metavar="EPS", help="The accuracy.")] = 1.0,
    heterogeneous: Annotated[bool, typer.Option("--heterogeneous", help="Workers with different data.")] = False,
    convex: Annotated[bool, typer.Option("--convex", help="Convex f; eps bounds E f - f*.")] = False,
    components: Annotated[
        int | None, typer.Option(metavar="M", help="A finite sum of so many components that every worker can evaluate.")
    ] = None,
    upload: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Seconds per float that a worker sends: a number, a list, a formula of i, n and the dimension d.",
        ),
    ] = None,
    per_message: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Seconds of a message whatever its size, beside --upload.")
    ] = None,
    dimension: Annotated[int | None, typer.Option(metavar="D", help="Of x, for --upload and --per-message.")] = None,
    compressor: Annotated[
        str, typer.Option(metavar="YAML", help="Of the messages of QSGD and Shadowheart, for --upload.")
    ] = "{name: rand_k, k: 1}",
    shadowheart_table: Annotated[
        bool, typer.Option("--shadowheart-table", help="Print the numbers of the Shadowheart paper's Table 1.")
    ] = False,
    graph: Annotated[
        str | None,
        typer.Option(metavar="GRAPH", help="No server: mesh:10x10, torus:8x8, line:9, ring, star, complete."),
    ] = None,
    edges: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Seconds of a message over an edge, for --graph.")
    ] = None,
    distance: Annotated[float, typer.Option(metavar="R0", help="||x0 - x*||, for --convex.")] = 1.0,
    lipschitz: Annotated[
        float | None, typer.Option(metavar="M", help="Lipschitz constant of f, for --convex; default: not known.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw time against n and against the noise ratio.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print lower_bound, m_star, R and methods as JSON.")] = False,
) -> None:
    """Predict the time of every method, and what no method can beat.

    Seconds in the fixed computation model, with constant 1 in front of each
    formula: how methods compare, not what a clock will show. Below the table
    stand the parameters that the theorems recommend. With --profile the times
    are those of measured workers, and a sentence says what to use on them.
    For strongly convex f and for powers that change with time theory knows the
    optimum alone: rayopt.theory.convex and rayopt.theory.universal in Python.

    \b
    rayopt theory --times 'sqrt(i)' -n 1000 --noise-ratio 100
    rayopt theory --times 1,2.3,3.7 --noise-ratio 4 --heterogeneous
    rayopt theory --times @times.csv:seconds --noise-ratio 10 --plot theory.png
    rayopt theory --times i -n 6174 --noise-ratio 100 --json
    rayopt theory --times i -n 100 --convex --lipschitz 2 --eps 0.01
    rayopt theory --profile profile.csv --noise-ratio 100
    rayopt theory --graph mesh:10x10 --edges 1 --noise-ratio 100 --plot graph.png
    """
    from rayopt.cli.times import times_of
    from rayopt.problems.constants import translated_errors
    from rayopt.report.theory_advice import advise
    from rayopt.report.theory_table import compare, render
    from rayopt.theory import Setting

    if shadowheart_table:
        from rayopt.report.theory_table import render_shadowheart_table

        open_console().print(render_shadowheart_table())
        return
    if plot is not None:
        _check_figure(plot)
    if graph is not None:
        from rayopt.cli.network_theory import show_network

        iterations = positive("--smoothness", smoothness) * non_negative("--delta", delta) / positive("--eps", eps)
        ratio = non_negative("--noise-ratio", noise_ratio)
        show_network(graph, edges, times, iterations, ratio, heterogeneous, plot, as_json)
        return
    regimes = {
        "--heterogeneous": heterogeneous, "--convex": convex, "--components": components is not None,
        "--upload": upload is not None or per_message is not None,
    }  # fmt: skip
    asked = [name for name, is_given in regimes.items() if is_given]
    if len(asked) > 1:
        raise InvalidInput(asked[1], f"cannot be combined with {asked[0]}", "one of them")
    if workers is not None:
        at_least("--workers", workers, 1)
    fleet = times_of(times, profile, workers)
    links = {}
    if "--upload" in asked:
        from rayopt.cli.links import links_of

        links = links_of(fleet.known["times"], upload, per_message, dimension, compressor)
    with translated_errors():
        setting = Setting(
            eps=positive("--eps", eps),
            smoothness=positive("--smoothness", smoothness),
            noise_variance=non_negative("--noise-ratio", noise_ratio) * eps,
            initial_gap=None if convex else non_negative("--delta", delta),
            largest_smoothness=smoothness if heterogeneous else None,
            components=None if components is None else at_least("--components", components, 1),
            hessian_variance=None if components is None else smoothness,
            mean_smoothness=None if components is None else smoothness,
            distance=non_negative("--distance", distance) if convex else None,
            lipschitz=positive("--lipschitz", lipschitz) if convex and lipschitz is not None else None,
            **fleet.known,
            **links,
        )
        regime = asked[0].removeprefix("--") if asked else "homogeneous"
        regime = {"components": "finite_sum", "upload": "communication"}.get(regime, regime)
        comparison = compare(setting, regime)
    if as_json:
        typer.echo(json.dumps(comparison.to_json()))
    else:
        console = open_console()
        console.print(render(comparison))
        if profile is not None:
            console.print(f"\nTimes of {profile}: {fleet.meaning}.\n{advise(comparison)}", highlight=False)
    if plot is not None:
        from rayopt.report.theory_plot import draw, save

        save(draw(setting, regime, fleet.of_size), plot)
        typer.echo(f"Figure: {plot}", err=as_json)


def _check_figure(path: Path) -> None:
    """Fails before anything is computed if the figure cannot be written."""
    one_of("--plot", path.suffix.lower(), FIGURES)
    check_folder_of("--plot", path)
