"""Methods that would run silently wrong are skipped, with the reason."""

from __future__ import annotations

import math

import pytest

import rayopt as ro
from rayopt import methods
from rayopt.latency.workers import TaskTimes
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs.compatibility import incompatibility, silent_worker


def reason(method, problem=None, compute="i", n=3):
    return incompatibility(method, problem or Quadratic(4), TaskTimes(ro.Workers(n, compute), 0))


def test_homogeneous_methods_on_heterogeneous_data():
    split = LogisticRegression.digits(partition="split")
    assert "made for homogeneous data" in reason(methods.Rennala(0.1, 4), split)
    assert reason(methods.Rennala(0.1, 4)) == ""
    assert reason(methods.Malenia(0.1, 4), split) == ""


@pytest.mark.parametrize(
    "method",
    [
        methods.Minibatch(0.1),
        methods.Malenia(0.1, 4),
        methods.Vecna(0.1, 1, 3.0),
        methods.ATA(0.1, 2, alpha=1.0),
        methods.ATAEmpirical(0.1, 2),
        methods.UTA(0.1, 2),
        methods.FedAvg(0.1, 1, fraction=0.5),
    ],
    ids=repr,
)
def test_methods_that_wait_for_everyone_with_a_worker_that_never_answers(method):
    assert "worker 1 never answers" in reason(method, compute=[1.0, math.inf, 2.0])
    assert reason(method) == ""


def test_allocation_by_means_without_any():
    assert "no worker has one" in reason(methods.OFTA(0.1, 2), compute={"name": "cauchy", "scale": 1, "base": 1})
    assert reason(methods.OFTA(0.1, 2), compute=[1.0, math.inf, 2.0]) == ""
    assert reason(methods.OFTA(0.1, 2)) == ""


def test_trials_that_cannot_end_in_time():
    assert "none of worker 0 ends within 0.5 s" in reason(methods.MindFlayer(0.1, 1, time_limit=0.5))
    assert reason(methods.MindFlayer(0.1, 1, time_limit=0.5, probability=0.3)) == ""
    # MindFlayer does with any worker that can, Vecna must hear of all.
    assert reason(methods.MindFlayer(0.1, 1, time_limit=1.0)) == ""
    assert "none of worker 1 ends within 1 s" in reason(methods.Vecna(0.1, 1, time_limit=1.0))


def test_others_go_on_without_that_worker():
    assert reason(methods.Rennala(0.1, 4), compute=[1.0, math.inf, 2.0]) == ""
    assert reason(methods.Ringmaster(0.1, 4), compute=[1.0, math.inf, 2.0]) == ""


def test_a_silent_worker_is_one_of_no_chance():
    assert silent_worker(TaskTimes(ro.Workers(2, [1.0, math.inf]), 0)) == 1
    assert silent_worker(TaskTimes(ro.Workers(2, ro.latency.exponential(mean=1.0, base="i")), 0)) is None


def test_a_worker_with_a_heavy_tail_or_a_power_that_dies_out_is_not_silent():
    # Neither has a finite mean, and neither has a law that the server could ask.
    heavy = ro.Workers(
        2, ro.latency.latency({"name": "cauchy", "scale": 1, "base": 1}), upload=ro.latency.exponential(1)
    )
    dying = ro.latency.latency({"name": "power", "starts": [0, 10], "powers": [1, 0]})
    dead = ro.latency.latency({"name": "power", "starts": [0, 10], "powers": [0.05, 0]})
    assert silent_worker(TaskTimes(heavy, 0)) is None
    assert silent_worker(TaskTimes(ro.Workers(2, dying), 0)) is None
    assert silent_worker(TaskTimes(ro.Workers(2, dead), 0)) == 0
    assert silent_worker(TaskTimes(ro.Workers(2, "i", upload=[1.0, math.inf]), 0)) == 1


def test_a_fleet_that_dies_out_is_stuck_at_that_time():
    dying = ro.latency.latency({"name": "power", "starts": [0, 10], "powers": [1, 0]})
    with pytest.raises(ro.core.errors.FleetStuck, match="stuck at time 10: 2 workers busy"):
        ro.run(methods.Malenia(0.1, 2), Quadratic(4), ro.Workers(2, dying), until=ro.Until(updates=100))


def test_convex_methods_on_what_is_not_convex():
    class ForConvex(methods.ASGD):
        convex = True

    class Nonconvex(Quadratic):
        convex = False

    assert "made for convex functions" in reason(ForConvex(0.1), Nonconvex(4))
    assert reason(ForConvex(0.1)) == ""


def test_methods_of_means_with_a_mean_that_is_infinite():
    assert "that of worker 2 is infinite" in reason(methods.RescaledASGD(0.1), compute=[1.0, 2.0, math.inf])


def test_skipped_runs_are_in_the_summary_and_force_runs_them():
    workers, until = ro.Workers(2, [1.0, math.inf]), ro.Until(time=5)
    both = [methods.ASGD(0.1), methods.Malenia(0.1, 2)]
    result = ro.run(both, Quadratic(4), workers, until=until)
    assert ["worker 1 never answers" in text for text in result.summary["problems"]] == [True]
    assert result.table.label.tolist() == ["ASGD"]
    with pytest.warns(UserWarning, match="Malenia: run by force: Malenia waits for every worker"):
        forced = ro.run(both, Quadratic(4), workers, until=until, force=True)
    assert forced.table.label.tolist() == ["ASGD", "Malenia"]
    assert any("run by force" in text for text in forced.summary["problems"])
