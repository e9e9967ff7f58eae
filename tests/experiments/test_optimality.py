"""How far a measured time is from the lower bound."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

import rayopt as ro
from rayopt.experiments.optimality import lower_bound
from rayopt.problems import Free, LogisticRegression, Quadratic
from rayopt.report.table import render
from rayopt.theory import Setting, convex, heterogeneous, homogeneous

TIMES = [1.0, 2.0, 4.0]
WORKERS = ro.Workers(3, compute=TIMES)
NOISE = 0.1


def quadratic(**attributes):
    problem = Quadratic(10, noise=NOISE)
    for name, value in attributes.items():
        setattr(problem, name, value)
    return problem


def known(problem, eps):
    x = problem.start_point()
    return Setting(
        TIMES, eps, smoothness=problem.smoothness, noise_variance=10 * NOISE**2, initial_gap=problem.gap(x),
        distance=math.dist(x, problem.minimizer()),
    )  # fmt: skip


def test_a_target_on_the_gradient_has_the_bound_for_nonconvex_functions():
    problem = quadratic()
    found = lower_bound(problem, WORKERS, ro.Target("grad_norm_sq", 0.02))
    assert found.seconds == pytest.approx(homogeneous.lower_bound(known(problem, 0.02)))
    assert "Theorem 6.4" in found.formula
    different = quadratic(homogeneous=False)
    found = lower_bound(different, WORKERS, ro.Target("grad_norm_sq", 0.02))
    assert found.seconds == pytest.approx(heterogeneous.lower_bound(known(problem, 0.02)))
    assert "Theorem A.2" in found.formula


def test_a_target_on_the_gap_has_the_bound_for_convex_functions():
    problem = quadratic()
    found = lower_bound(problem, WORKERS, ro.Target("gap", 0.02))
    assert found.seconds == pytest.approx(convex.lower_bound(known(problem, 0.02)))
    found = lower_bound(quadratic(homogeneous=False), WORKERS, ro.Target("gap", 0.02))
    assert found.seconds == pytest.approx(convex.heterogeneous_optimal(known(problem, 0.02)))


def test_times_are_the_expected_ones():
    random = ro.Workers(3, compute=ro.latency.exponential(mean=TIMES))
    target = ro.Target("grad_norm_sq", 0.02)
    assert lower_bound(quadratic(), random, target).seconds == pytest.approx(
        lower_bound(quadratic(), WORKERS, target).seconds
    )


@pytest.mark.parametrize(
    ("problem", "target", "missing"),
    [
        (LogisticRegression.digits(), ("grad_norm_sq", 0.1), "noise_variance is not known (sigma^2, a bound of"),
        (quadratic(minimum=None), ("grad_norm_sq", 0.1), "initial_gap is not known (Delta = f(x0) - inf f)"),
        (quadratic(smoothness=None), ("grad_norm_sq", 0.1), "smoothness is not known (L, the Lipschitz"),
        (quadratic(noise_variance=math.nan), ("grad_norm_sq", 0.1), "noise_variance: nan; expected a finite number"),
        (quadratic(distance=None), ("gap", 0.1), "distance is not known (R0 = ||x0 - x*||)"),
        (quadratic(convex=False), ("gap", 0.1), "f is not known to be convex"),
        (quadratic(), ("gap", 0.0), "the target 0 is not above 0"),
        (Free(2), ("grad_norm_sq", 0.1), "smoothness is not known"),
    ],
)
def test_what_is_missing_is_said(problem, target, missing):
    found = lower_bound(problem, WORKERS, ro.Target(*target))
    assert found.seconds is None
    assert found.missing.startswith(missing)


def test_infinite_expected_times():
    dead = ro.Workers(2, compute=[1.0, math.inf])
    target = ro.Target("grad_norm_sq", 0.1)
    assert lower_bound(quadratic(), dead, target).seconds > 0
    assert "infinite" in lower_bound(quadratic(homogeneous=False), dead, target).missing


@pytest.mark.parametrize("target", [None, ro.Target("value", 0.1), ro.Target("accuracy", 0.9)])
def test_other_targets_have_none(target):
    assert lower_bound(quadratic(), WORKERS, target) is None


def summary_of(problem, target):
    result = ro.run(
        ro.methods.Ringmaster(0.1, threshold=4), problem, WORKERS, until=ro.Until(time=300, target=ro.Target(*target)),
        record=ro.Record(every=0.5),
    )  # fmt: skip
    written = io.StringIO()
    Console(file=written, width=100, _environ={}).print(render(result.summary))
    return result.summary, " ".join(written.getvalue().split())


def test_the_table_shows_the_multiple_and_states_the_constant():
    summary, text = summary_of(quadratic(), ("grad_norm_sq", 0.02))
    (row,) = summary["table"]
    assert (
        row["lower_bound"]
        == summary["lower_bound"]["seconds"]
        == pytest.approx(homogeneous.lower_bound(known(quadratic(), 0.02)))
    )
    assert summary["lower_bound"]["predicted"]["Hero"] == homogeneous.METHODS["Hero"](known(quadratic(), 0.02))
    assert min(summary["lower_bound"]["predicted"].values()) >= row["lower_bound"] * (1 - 1e-12)
    assert row["times_lower_bound"] == row["time_to_target"] / row["lower_bound"]
    assert "multiple" in text
    assert f"{row['times_lower_bound']:.4g}" in text
    assert "Multiple of bound: time to target over the lower bound" in text
    assert "with constant 1 and the workers' expected times" in text
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_table_says_which_constant_is_unknown():
    summary, text = summary_of(quadratic(noise_variance=None), ("grad_norm_sq", 0.02))
    assert summary["table"][0]["times_lower_bound"] is None
    assert "No lower bound of the time to target: noise_variance is not known" in text
    assert "multiple" not in text


def test_a_target_that_is_never_met_has_no_multiple():
    summary, text = summary_of(quadratic(), ("grad_norm_sq", 1e-9))
    assert summary["table"][0]["times_lower_bound"] is None
    assert summary["table"][0]["lower_bound"] > 0
    assert "never -" in text


def test_without_a_target_nothing_is_said():
    result = ro.run(ro.methods.ASGD(0.1), quadratic(), WORKERS, until=ro.Until(time=5))
    assert result.summary["lower_bound"] is None
    assert result.table.lower_bound.isna().all()
