"""Progress: bars for a person, lines for a log."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
from rich.console import Console

from rayopt import Experiment, Target, Until, Workers, methods
from rayopt.experiments.experiment import Run
from rayopt.experiments.tuning.grid import Combination
from rayopt.experiments.tuning.jobs import TuningJob
from rayopt.problems import Quadratic
from rayopt.report.progress import JobBar, ProgressBars
from rayopt.runs.faults import WorkerCounts
from rayopt.runs.outcome import Progress


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None, _environ={})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def experiment() -> Experiment:
    return Experiment(
        methods=[methods.ASGD(0.1), methods.Rennala(0.5, batch_size=2)],
        problem=Quadratic(dimension=10),
        workers=Workers(3, compute="sqrt(i)"),
        until=Until(time=20),
        seeds=[0, 1],
        config={},
    )


def test_without_a_terminal_one_plain_line_per_run():
    plain = console(terminal=False)
    experiment().run(display=ProgressBars(plain))
    lines = written(plain).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "ASGD, seed 0", "Rennala, seed 0", "ASGD, seed 1", "Rennala, seed 1",
    ]  # fmt: skip
    assert "20 s, 45 updates, 45 arrivals, loss" in lines[0]
    assert "\x1b" not in written(plain)


def test_a_terminal_shows_bars_and_keeps_the_lines():
    live = console(terminal=True)
    experiment().run(display=ProgressBars(live))
    text = written(live)
    assert "all runs" in text
    assert "4 of 4 runs" in text
    assert "Rennala, seed 1: 20 s" in text


def test_a_run_that_never_started_has_a_line():
    plain = console(terminal=False)
    display, run = ProgressBars(plain), Run(methods.ASGD(0.1), "ASGD", 4, problem="skipped: data differ [a/b]")
    display.opened([run], Until(time=1))
    display.ended(run)
    display.closed()
    assert written(plain) == "ASGD, seed 4: skipped: data differ [a/b]\n"


@pytest.mark.parametrize(
    ("until", "completed", "state"),
    [
        (Until(time=40), 0.25, "10 / 40 s"),
        (Until(time=40, updates=20), 0.35, "7 / 20 updates"),
        (Until(arrivals=10), 0.9, "9 / 10 arrivals"),
    ],
)
def test_the_nearest_limit_moves_the_bar(until, completed, state):
    display, run = ProgressBars(console(terminal=True)), Run(methods.ASGD(0.1), "ASGD", 0)
    display.opened([run], until)
    display.started(run)
    display.progressed(run, Progress(10.0, 7, 9, 0.5, wall_seconds=3.0))
    bar = display._bars.tasks[-1]
    assert bar.completed == pytest.approx(completed)
    assert state in bar.fields["state"]
    assert "3 arrivals/s" in bar.fields["state"]
    assert "loss 0.5" in bar.fields["state"]
    display.closed()


def test_a_loss_that_is_not_known_yet_is_not_shown():
    display, run = ProgressBars(console(terminal=True)), Run(methods.ASGD(0.1), "ASGD", 0)
    display.opened([run], Until(time=40))
    display.started(run)
    display.progressed(run, Progress(10.0, 7, 9, math.nan, wall_seconds=3.0))
    assert display._bars.tasks[-1].fields["state"].endswith("3 arrivals/s")
    display.closed()


def test_bars_move_ten_times_a_second_at_most():
    display, run = ProgressBars(console(terminal=True)), Run(methods.ASGD(0.1), "ASGD", 0)
    display.opened([run], Until(time=40))
    display.started(run)
    for time in range(40):
        display.progressed(run, Progress(float(time), 0, 0, 0.5))
    assert display._bars.tasks[-1].completed == 0
    assert "0 / 40 s" in display._bars.tasks[-1].fields["state"]
    display.closed()


def test_a_target_alone_has_no_end_to_show():
    live = console(terminal=True)
    display, run = ProgressBars(live), Run(methods.ASGD(0.1), "ASGD", 0)
    display.opened([run], Until(target=Target("value", 0.0)))
    display.started(run)
    assert display._bars.tasks[-1].total is None
    display.closed()


def test_standard_output_stays_clean():
    program = (
        "import rayopt as ro\n"
        "from rayopt.report.progress import ProgressBars\n"
        "experiment = ro.Experiment([ro.methods.ASGD(0.1)], ro.problems.Quadratic(dimension=10),\n"
        "    ro.Workers(3, compute=1), ro.Until(time=3), config={})\n"
        "experiment.run(display=ProgressBars())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert ran.stderr.startswith("ASGD, seed 0: 3 s")


def test_importing_rayopt_imports_no_report():
    program = "import sys, rayopt; print(sorted({'pandas', 'matplotlib', 'rich'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


class TestJobBar:
    """Of a pipe: a line for each job, and how many had finished before."""

    def shown(self, done: int, *ended: dict | Exception) -> list[str]:
        plain = console(terminal=False)
        bar = JobBar(plain)
        run = Run(methods.ASGD(0.1), "ASGD threshold=4", 7)
        job = TuningJob(run, "ASGD", Combination({"threshold": 4}, run.method), {})
        bar.opened(5, done)
        for found in ended:
            bar.ended(job, found)
        bar.closed()
        return written(plain).splitlines()

    def test_jobs_that_ended(self):
        assert self.shown(0, {"problem": "", "rows": [], "wall_seconds": 1.25}) == [
            "ASGD threshold=4, seed 7: took 1.2 s"
        ]

    def test_jobs_that_had_finished(self):
        assert self.shown(3) == ["3 of 5 jobs had finished before"]

    def test_jobs_that_failed(self):
        stuck = {"problem": "the fleet is stuck", "rows": [], "wall_seconds": None}
        assert self.shown(0, stuck, ZeroDivisionError("one over nothing")) == [
            "ASGD threshold=4, seed 7: the fleet is stuck",
            "ASGD threshold=4, seed 7: ZeroDivisionError('one over nothing')",
        ]


def test_workers_that_are_away_are_shown():
    display, run = ProgressBars(console(terminal=True)), Run(methods.ASGD(0.1), "ASGD", 0)
    display.opened([run], Until(time=40))
    display.started(run)
    display.progressed(
        run, Progress(10.0, 7, 9, 0.5, wall_seconds=3.0, worker_counts=WorkerCounts(5, restarting=2, down=1))
    )
    assert "workers 5 up, 2 restarting, 1 down" in display._bars.tasks[-1].fields["state"]
    display.closed()
