"""Messages that share the server's link on Ray, and workers that compute while they send: as in virtual time."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import compressors, methods
from rayopt.problems import LogisticRegression, Quadratic

pytestmark = pytest.mark.cluster

SCALE = 0.2
"""Real seconds of a second by hand."""


def both(folder, method, workers, until, per_actor, problem=None, **options):
    """Runs it on Ray and in virtual time; returns both traces."""
    problem = Quadratic(dimension=10, noise=0.1) if problem is None else problem
    fleet = ro.RayFleet(workers_per_actor=per_actor, time_scale=SCALE, **options)
    real = ro.run(method, problem, workers, until=until, fleet=fleet, out=folder)
    assert ro.replay(folder).is_equal
    virtual = ro.run(method, problem, workers, until=until, fleet=ro.SimulatedFleet(**options))
    return real.trace, virtual.trace


def assert_alike(real, virtual):
    """Whether the same messages arrive in the same order, about when they should."""
    events = ["worker", "number", "message", "outcome", "version", "bits"]
    assert real[events].to_numpy().tolist() == virtual[events].to_numpy().tolist()
    assert (real.time - virtual.time).between(-0.25, 0.25).all(), (real.time - virtual.time).tolist()


@pytest.mark.parametrize("per_actor", [1, 3], ids=["direct", "packed"])
def test_three_workers_share_the_link(cluster, tmp_path, per_actor):
    """By hand in tests/fleets/test_contended.py; times that lie apart have one order."""
    workers = ro.Workers(3, compute=[1.0, 2.2, 3.7])
    assert_alike(*both(tmp_path / "run", methods.ASGD(0.1), workers, ro.Until(arrivals=8), per_actor,
                       server_bandwidth=10.0))  # fmt: skip


def test_points_and_several_messages_travel_over_it(cluster, tmp_path):
    workers = ro.Workers(3, compute=[1.0, 1.8, 2.9], download=ro.Link(per_message=0.1, per_float=0.01),
                         upload=ro.Link(per_message=[0.31, 0.43, 0.57], per_float=0.05))  # fmt: skip
    method = methods.Shadowheart(0.1, compressors.RandK(2), 1.0)
    real, virtual = both(tmp_path / "run", method, workers, ro.Until(updates=1), 1, server_bandwidth=16.0)
    # Who shares with whom hangs on milliseconds, what each sends does not.
    columns = ["worker", "message", "bits"]
    assert sorted(real[columns].to_numpy().tolist()) == sorted(virtual[columns].to_numpy().tolist())
    assert real.time.iloc[0] == pytest.approx(virtual.time.iloc[0], abs=0.2)
    assert real.time.iloc[-1] == pytest.approx(virtual.time.iloc[-1], rel=0.1)


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_a_worker_computes_while_it_sends(cluster, tmp_path, per_actor):
    workers = ro.Workers(2, compute=[2.0, 3.1], upload=[1.0, 1.3])
    method = methods.Rennala(0.1, batch_size=5)
    real, virtual = both(tmp_path / "run", method, workers, ro.Until(updates=2), per_actor, overlap=True)
    assert_alike(real, virtual)
    alone = ro.run(method, Quadratic(dimension=10, noise=0.1), workers, until=ro.Until(updates=2)).trace
    assert virtual.time.iloc[-1] < alone.time.iloc[-1]


def test_tasks_that_are_cancelled_on_their_way(cluster, tmp_path):
    workers = ro.Workers(3, compute=[1.0, 1.3, 1.9])
    method = methods.Rennala(0.1, batch_size=1, interrupt=True)
    assert_alike(*both(tmp_path / "run", method, workers, ro.Until(updates=3), 1, server_bandwidth=10.0))


def test_a_wide_link_and_many_methods(cluster, tmp_path):
    chosen = [methods.Ringmaster(0.2, threshold=4), methods.MindFlayer(0.2, trials=2, time_limit=0.05),
              methods.EF21(0.2, compressors.TopK(50)), methods.AdaptiveShadowheart(0.1, compressors.RandK(50), 1.0,
                                                                                    first_budget=0.05)]  # fmt: skip
    workers = ro.Workers(4, "0.01 * sqrt(i)", upload=ro.Link(per_message=0.002, per_float=1e-5))
    fleet = ro.RayFleet(workers_per_actor=2, server_bandwidth=1e6, overlap=True)
    result = ro.run(chosen, LogisticRegression.digits(batch=8), workers, until=ro.Until(updates=10), fleet=fleet,
                    out=tmp_path / "run", force=True)  # fmt: skip
    assert result.table.updates.tolist() == [10] * 4
    assert [run.difference for run in ro.replay(tmp_path / "run").runs] == [None] * 4
    assert np.isfinite(result.table.value).all()


def test_measured_times_have_no_emulated_link():
    with pytest.raises(ro.InvalidInput, match=r"fleet\.server_bandwidth: 10\.0 beside compute: measured"):
        ro.run(methods.ASGD(0.1), Quadratic(5), ro.Workers(2, "measured"),
               until=ro.Until(updates=1), fleet=ro.RayFleet(server_bandwidth=10.0))  # fmt: skip
