"""Tuning: a grid of step sizes and thresholds beside a single run for each of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import rayopt as ro
from benchmarks.measure import Row, interleaved, seconds
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.tuning import Tuning
from rayopt.fleets.base import Job
from rayopt.problems import Quadratic

MOST = 0.2


def rows() -> Iterator[Row]:
    """Yields the rows of tuning."""
    yield grid(interrupt=False, time=1200)
    yield grid(interrupt=True, time=300)


def grid(interrupt: bool, time: float) -> Row:
    """Ten step sizes and seven thresholds at the size of the Ringmaster paper, all of `rayopt tune` on one core."""
    n = 6174
    tried = Grid(
        ro.methods.Ringmaster,
        {
            "step_size": {"powers": 5, "from": -5, "to": 4},
            "threshold": {"halvings": n, "by": 4},
            "interrupt": interrupt,
        },
    )
    workers = ro.Workers(n, compute=ro.latency.half_normal(base="i", scale="sqrt(i)"))
    tuning = Tuning([tried], Quadratic(dimension=1729), workers, ro.Until(time=time), seeds=[0], confirm=[1],
                    record=ro.Record(trace=False))  # fmt: skip
    experiment = tuning.experiment
    singles = [
        combination.method.with_step_size(step) for combination in tried.combinations for step in tried.step_sizes
    ]

    def whole() -> float:
        return seconds(lambda: tuning.run(processes=1))

    def one_by_one() -> float:
        def runs() -> None:
            with experiment.fleet.open(experiment.problem, experiment.workers) as session:
                for method in singles:
                    job = Job(method.fresh(), 0, experiment.until, replace(experiment.record))
                    session.run(job, lambda rows: None, lambda progress: None)

        return seconds(runs)

    tuned, apart = interleaved(whole, one_by_one)
    kind = "with" if interrupt else "without"
    return Row(f"tune 10 step sizes x 7 thresholds, Ringmaster {kind} stops, n = 6,174, d = 1,729",
               f"{tuned / apart:.2f} x ({tuned:.2f} s)", f"at most {MOST:g} x {len(singles)} single runs",
               tuned <= MOST * apart, f"single runs {apart:.2f} s")  # fmt: skip
