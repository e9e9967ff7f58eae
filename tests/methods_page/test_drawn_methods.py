"""What the figures of the methods show, on schedules that are known by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

import rayopt as ro
from methods_page import figures
from methods_page.curves import Scene, spent_until
from methods_page.gallery import Case
from methods_page.timeline import RUNNING, Timeline, chosen, said, update_times
from rayopt import methods


def test_timeline_of_ringleader():
    bars = Timeline(methods.Ringleader(0.1)).bars()
    assert update_times(bars).tolist() == pytest.approx([3.7, 4.0, 4.6, 7.4, 8.0, 9.2, 11.5, 12.0])


def test_timeline_of_rennala():
    bars = Timeline(methods.Rennala(0.5, batch_size=4)).bars()
    ignored = bars[bars.outcome == "ignored"].head(4)
    assert ignored.time.tolist() == pytest.approx([3.7, 4.6, 7.0, 7.4])
    assert ignored.worker.tolist() == [2, 1, 0, 2]


def test_what_ends_later_runs_until_the_end():
    bars = Timeline(methods.Minibatch(0.5)).bars()
    last = bars[bars.assigned_at > 11]
    assert last.outcome.tolist() == [RUNNING] * 3
    assert last.time.tolist() == [12.0] * 3
    assert update_times(bars).tolist() == pytest.approx([3.7, 7.4, 11.1])


def test_trials_fail_where_tasks_may_never_end():
    bars = Timeline(methods.MindFlayer(0.5, trials=[3, 2, 1], time_limit=[1.5, 2.8, 4.2]), fails=0.3).bars()
    failed = bars[bars.outcome == "failed"]
    limits = failed.worker.map({0: 1.5, 1: 2.8, 2: 4.2})
    assert len(failed) >= 2
    assert (failed.time - failed.assigned_at).tolist() == pytest.approx(limits.tolist())


def test_a_method_as_a_call():
    assert said(methods.Ringleader(0.1)) == "Ringleader"
    assert said(methods.Rennala(0.1, batch_size=4)) == "Rennala(batch_size=4)"
    assert chosen(methods.Rennala(0.1, batch_size=4)) == {"step_size": 0.1, "batch_size": 4}


def test_worker_seconds_count_a_part_of_a_task_that_runs():
    trace = pd.DataFrame({"assigned_at": [0.0, 0.0, 2.0], "time": [2.0, 4.0, 4.0]})
    assert spent_until(trace, [0.0, 1.0, 3.0, 9.0]).tolist() == [0.0, 2.0, 6.0, 8.0]


def test_a_figure_is_drawn_and_written(tmp_path):
    scene = Scene(
        "a quadratic", lambda: ro.problems.Quadratic(dimension=5, noise=0.01), ro.Workers(3, "i"), 20, [0.5, 0.1],
        counts_worker_seconds=True,
    )  # fmt: skip
    case = Case(Timeline(methods.ASGD(0.1)), scene, methods.ASGD(0.1), [methods.Hero(0.5), methods.Minibatch(0.5)])
    figure = figures.draw(case)
    assert len(figure.axes) == 3
    legend = [text.get_text().partition(",")[0] for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["ASGD", "Hero", "Minibatch"]
    figures.save(figure, tmp_path / "asgd.png")
    with Image.open(tmp_path / "asgd.png") as image:
        assert image.size[0] > 800
