"""A cluster that somebody else started: what an experiment leaves there."""

from __future__ import annotations

import sys
import time

import pytest
import ray
from ray import cloudpickle
from ray._private.state import actors as actor_table  # The public list needs a dashboard.
from ray.util import placement_group_table

import rayopt as ro
from rayopt.fleets.ray.failures import WorkerFailed
from rayopt.problems import Quadratic

# Actors cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.timeout(240)


class Broken(Quadratic):
    """Fails on every gradient."""

    def gradient(self, x, sample, checkpoint=None):
        raise ZeroDivisionError("by design")


@pytest.fixture(scope="module", autouse=True)
def foreign():
    ray.shutdown()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def left():
    """The actors that are not dead, and the placement groups that are held, after a moment."""
    give_up = time.monotonic() + 20
    while True:
        actors = [actor["ActorClassName"] for actor in actor_table().values() if actor["State"] != "DEAD"]
        held = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
        if not (actors or held) or time.monotonic() > give_up:
            return actors, held
        time.sleep(0.1)


def run(problem, **arguments):
    return ro.run(
        ro.methods.ASGD(0.1), problem, ro.Workers(4, 0.01), fleet=ro.RayFleet(**arguments), until=ro.Until(updates=20)
    )


@pytest.mark.parametrize("arguments", [{}, {"workers_per_actor": 2, "num_cpus": 0.5}], ids=["direct", "packed"])
def test_no_actor_is_left_after_a_run(arguments):
    assert run(Quadratic(3), **arguments).summary["runs"][0]["ended_by"] == "updates"
    assert len(actor_table()) > 0
    assert left() == ([], [])
    assert ray.is_initialized()


def test_no_actor_is_left_after_an_error():
    with pytest.raises(WorkerFailed):
        run(Broken(3), num_cpus=0.5)
    assert left() == ([], [])
    with pytest.raises(ro.InvalidInput, match=r"fleet\.num_cpus"):
        run(Quadratic(3), num_cpus=1)
    assert left() == ([], [])
    assert ray.is_initialized()
