"""Measured workers on real Ray: full speed, no slip, unknown expected times."""

from __future__ import annotations

import time

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.errors import InvalidInput
from rayopt.core.tasks import Trial
from rayopt.problems import Quadratic
from rayopt.report.figures import save_all

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


class Slow(Quadratic):
    """A gradient that takes 20 ms, in chunks of 2 ms."""

    def gradient(self, x, sample, checkpoint=None):
        for _ in range(10):
            time.sleep(0.002)
            if checkpoint is not None:
                checkpoint()
        return super().gradient(x, sample)


@pytest.fixture(params=[1, 2], ids=["direct", "packed"])
def fleet(request):
    return ro.RayFleet(workers_per_actor=request.param)


def run(method, fleet, until):
    return ro.run(method, Slow(3), ro.Workers(2, "measured"), until=until, fleet=fleet)


def test_workers_run_at_full_speed_and_what_they_took_is_recorded(fleet):
    result = run([methods.ASGD(0.1), methods.Hero(0.1), methods.RescaledASGD(0.1)], fleet, ro.Until(updates=20))
    asgd, hero, rescaled = result.summary["runs"]
    assert asgd["ended_by"] == "updates"
    assert asgd["slip"] == {}
    assert (result.trace.completed_at - result.trace.assigned_at >= 0.02).all()
    # Delays are measured too, though there is no slip.
    assert "delays.png" in {path.name for path in save_all(result)}
    assert "worker: the fleet does not tell who is fastest" in hero["problem"]
    assert "mean times that are known" in rescaled["problem"]


class Trials(methods.ASGD):
    """ASGD whose workers give up after 10 ms, or after a second."""

    name = "trials"

    def __init__(self, step_size, limit):
        super().__init__(step_size)
        self.limit = limit

    def start(self, fleet):
        fleet.assign(np.arange(fleet.n), Trial(self.x, 0, self.limit))

    def receive(self, arrival, fleet):
        self.updates += 1
        fleet.assign(arrival.worker, arrival.task)


@pytest.mark.parametrize(("limit", "outcome"), [(0.01, "failed"), (1.0, "ignored")])
def test_a_task_that_takes_longer_than_its_limit_is_given_up(fleet, limit, outcome):
    result = run(Trials(0.1, limit), fleet, ro.Until(updates=6))
    assert set(result.trace.outcome) == {outcome}


def test_an_experiment_in_which_nobody_can_run_says_why():
    with pytest.raises(InvalidInput, match="the fleet does not tell who is fastest"):
        run(methods.Hero(0.1), ro.RayFleet(), ro.Until(updates=1))
