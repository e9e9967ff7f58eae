"""MNIST logistic regression on unequal Ray workers, the same experiment as mnist_logreg.yaml.

python workloads/mnist_logreg.py                                     # a local cluster
ray submit cluster.yaml workloads/mnist_logreg.py                    # the head node of a cluster
ray job submit --working-dir . -- python workloads/mnist_logreg.py   # the job server of a cluster
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import rayopt as ro
from rayopt.report.figure import save_figures
from rayopt.report.table import render


def main(
    workers: Annotated[int, typer.Option(help="How many workers.")] = 12,
    time: Annotated[float, typer.Option(help="The most fleet seconds of a run.")] = 20.0,
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/mnist_logreg"),
) -> None:
    """Trains MNIST logistic regression with four methods and prints their table, which ends with the answer."""
    methods = [
        ro.methods.Minibatch(step_size=0.6),
        ro.methods.MSync(step_size=0.4, batch_size=min(4, workers)),
        ro.methods.Rennala(step_size=0.6, batch_size=8, interrupt=True),
        ro.methods.Ringmaster(step_size=0.12, threshold=12),
    ]
    result = ro.run(
        methods,
        ro.problems.LogisticRegression.mnist(batch=8),
        workers=ro.Workers(workers, compute="0.02 * i"),
        # Without an address: the cluster on which this runs if there is one, else a local one.
        fleet=ro.RayFleet(),
        until=ro.Until(time=time, target=ro.Target("accuracy", reaches=0.88)),
        record=ro.Record(every=0.1, metrics=["value", "accuracy"]),
        seed=[0, 1, 2],
        out=out,
        progress=True,
    )
    Console(width=100).print(render(result.summary))
    for figure in save_figures(result.history, result.summary, out):
        print(figure)


if __name__ == "__main__":
    typer.run(main)
