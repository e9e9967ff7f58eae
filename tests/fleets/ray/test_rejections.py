"""Workers that raise, or return what is not a gradient."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ray_sessions import opened

import rayopt as ro
from rayopt import methods
from rayopt.core.tasks import Gradient, LocalSGD
from rayopt.fleets.ray.failures import WorkerFailed
from rayopt.fleets.ray.task_executor import fault_of
from rayopt.problems import Quadratic

pytestmark = pytest.mark.timeout(240)

WRONG = {
    "nan": lambda x: np.where(np.arange(x.size) == 1, np.nan, x),
    "inf": lambda x: np.where(np.arange(x.size) == 2, np.inf, x),
    "shape": lambda x: x[:-1],
    "none": lambda x: None,
}


class Broken(Quadratic):
    """Fails on every gradient."""

    def gradient(self, x, sample, checkpoint=None):
        raise ZeroDivisionError("by design")


class Sometimes(Quadratic):
    """Every fifth call of a process goes wrong, in the way that is asked for."""

    calls = 0

    def __init__(self, dimension, wrong):
        super().__init__(dimension)
        self.wrong = wrong

    def gradient(self, x, sample, checkpoint=None):
        self.calls += 1
        right = super().gradient(x, sample)
        if self.calls % 5:
            return right
        if self.wrong == "raises":
            raise ZeroDivisionError("by design")
        return WRONG[self.wrong](right)


@pytest.mark.parametrize("wrong", ["raises", *WRONG])
def test_a_value_that_is_no_gradient_is_rejected_and_its_task_given_again(cluster, per_actor, wrong):
    with opened(Sometimes(5, wrong), 0.005, n=2, workers_per_actor=per_actor) as fixture:
        outcome, rows = fixture.run(methods.Minibatch(0.1), ro.Until(updates=20), metrics=("gap",))
    assert outcome.updates == 20
    assert outcome.counts.arrivals == outcome.counts.used == len(rows) == 40
    # The warm-up is a call too; the shard of two packed workers is one object, so they share its count.
    assert sum(outcome.faults.rejected.values()) >= 8
    assert set(outcome.faults.rejected) <= {0, 1}
    assert outcome.rows[-1]["gap"] < outcome.rows[0]["gap"]


def test_large_values_are_looked_at_where_they_are_computed(cluster):
    with opened(Sometimes(20_000, "nan"), 0.005, n=2) as fixture:
        outcome, _ = fixture.run(methods.Rennala(0.1, batch_size=2), ro.Until(updates=10), metrics=("gap",))
    assert sum(outcome.faults.rejected.values()) >= 3
    assert np.isfinite(outcome.rows[-1]["gap"])


def test_three_failures_in_a_row_end_the_run_with_the_workers_traceback(cluster, per_actor):
    with opened(Broken(3), 0.01, n=2, workers_per_actor=per_actor) as fixture:
        for _ in range(2):
            with pytest.raises(WorkerFailed, match=r"(?s)worker [01] failed 3 times in a row.*in gradient.*by design"):
                fixture.run(methods.ASGD(0.1), ro.Until(updates=5))


def test_a_method_that_diverges_is_not_the_workers_fault(cluster, per_actor):
    with opened(Quadratic(5), 0.002, n=2, workers_per_actor=per_actor) as fixture:
        outcome, _ = fixture.run(methods.ASGD([0.1, 1e200]), ro.Until(updates=50), every=0.02)
    assert outcome.updates == 50
    assert outcome.faults.rejected == {}
    assert list(outcome.diverged_at) == [1]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([1.0, np.nan]), "1 entries that are not finite .the first is nan. at a finite x"),
        (np.array([-np.inf, np.nan]), "2 entries that are not finite"),
        (np.zeros(3), "float64 of shape .3,. for a gradient of shape .2,."),
        (np.zeros(2, dtype=complex), "complex128"),
        ([0.0, 0.0], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_gradient(value, said):
    assert fault_of(np.zeros(2), Gradient(np.ones(2), 0)) is None
    found = fault_of(value, Gradient(np.ones(2), 0))
    assert found is not None
    assert re.search(said, found)


@pytest.mark.parametrize("x", [np.nan, np.inf, 1e12])
def test_a_gradient_where_x_has_diverged_is_what_it_is(x):
    assert fault_of(np.array([1.0, np.nan]), Gradient(np.array([1.0, x]), 0)) is None


def test_the_members_of_a_grid_are_looked_at_one_by_one():
    points = np.array([[1.0, 2.0], [np.inf, 0.0]])
    assert fault_of(np.array([[1.0, 1.0], [np.nan, np.nan]]), Gradient(points, 0)) is None
    assert fault_of(np.array([[np.nan, 1.0], [np.nan, np.nan]]), Gradient(points, 0)) is not None


def test_finite_values_whose_sum_overflows_are_gradients():
    assert fault_of(np.array([1.7e308, 1.7e308]), Gradient(np.ones(2), 0)) is None


def test_local_steps_may_diverge_by_themselves():
    task = LocalSGD(np.ones(2), 0, 3, 0.1)
    assert fault_of(np.array([np.inf, 0.0]), task) is None
    assert fault_of(np.zeros(3), task) is not None
