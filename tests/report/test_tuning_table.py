"""The table of a tuning: tuned against confirmed."""

from __future__ import annotations

import io
import re

from rich.console import Console

import rayopt as ro
from rayopt.report.tuning_table import render


def text_of(until: ro.Until, *methods: ro.methods.Method | ro.Grid) -> str:
    result = ro.tune(methods, ro.problems.Quadratic(dimension=6), ro.Workers(4, compute="i"), until=until,
                     record=ro.Record(every=1), seeds=[0, 1, 2], confirm=[5])  # fmt: skip
    written = io.StringIO()
    Console(file=written, width=100, _environ={}).print(render(result))
    return written.getvalue()


RING = ro.Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.2], "threshold": {"grid": [2, 4]}})


def test_columns_of_all_parameters_and_both_medians():
    text = text_of(ro.Until(time=20), RING, ro.methods.Rennala([0.25, 0.5], batch_size=2))
    lines = text.splitlines()
    assert re.search(r"step +f - f\* +f - f\*", lines[0])
    assert re.search(r"method +size threshold +tuned confirmed", lines[1])
    assert re.search(r"^Ringmaster +0\.2 +4 +[\d.]+ +[\d.]+$", lines[3])
    assert re.search(r"^Rennala +0\.5 +[\d.]+ +[\d.]+$", lines[4])
    assert "  Tuned: median over seeds 0, 1, 2; confirmed: seed 5." in lines


def test_with_a_target_the_time_to_it():
    near = text_of(ro.Until(time=60, target=ro.Target("gap", 0.5)), RING)
    assert re.search(r"time to target time to target", near)
    assert re.search(r"^Ringmaster( +[\d.]+){6}$", near, flags=re.MULTILINE)
    assert "Time to target: fleet seconds until gap is at most 0.5; runs end there." in near
    far = text_of(ro.Until(time=5, target=ro.Target("gap", 1e-9)), RING)
    assert re.search(r"^Ringmaster( +[\d.]+){4} +never +never$", far, flags=re.MULTILINE)


def test_nothing_was_chosen():
    text = text_of(ro.Until(time=300), ro.methods.ASGD([1e3, 1e4]))
    assert "method" not in text
    assert "ASGD: every combination diverged or failed on a tuning seed" in text
