"""Messages that share the server's link on Ray, and workers that compute while they send.

How late things are hangs on what else the machine does, so what is tested is what holds whatever it does: who sends
what, that a link carries no more than it can, that a worker is sooner than without overlap, and the replay.
"""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import compressors, methods
from rayopt.problems import LogisticRegression, Quadratic

pytestmark = pytest.mark.usefixtures("cluster")

PROBLEM = Quadratic(dimension=10, noise=0.1)
SCALE = 0.2
"""Real seconds of a fleet second."""


def recorded(folder, method, workers, until, per_actor=1, **options):
    """Returns the trace of a run on Ray that was replayed to the bit."""
    fleet = ro.RayFleet(workers_per_actor=per_actor, time_scale=SCALE, **options)
    trace = ro.run(method, PROBLEM, workers, until=until, fleet=fleet, out=folder).trace
    assert ro.replay(folder).is_equal
    return trace


def virtual(method, workers, until, **options):
    return ro.run(method, PROBLEM, workers, until=until, fleet=ro.SimulatedFleet(**options)).trace


@pytest.mark.parametrize("per_actor", [1, 3], ids=["direct", "packed"])
def test_no_more_floats_come_than_the_link_carries(tmp_path, per_actor):
    """Three workers by hand in tests/fleets/test_contended.py: 10 floats in a message, 10 a second over the link."""
    workers = ro.Workers(3, compute=[1.0, 2.2, 3.7])
    trace = recorded(
        tmp_path / "run", methods.ASGD(0.1), workers, ro.Until(arrivals=9), per_actor, server_bandwidth=10.0
    )
    first = trace.completed_at.min()
    assert first >= 1.0
    assert (np.arange(1, 10) <= trace.time - first + 1e-9).all()
    # Each computes, and then its message has a way.
    assert (trace.completed_at - trace.assigned_at >= np.array([1.0, 2.2, 3.7])[trace.worker] - 1e-3).all()
    assert (trace.time - trace.completed_at >= 1.0 - 1e-3).all()
    # Without the link the ninth would come after 5 seconds.
    assert trace.time.iloc[-1] > 9.5


def test_points_and_several_messages_travel_over_it(tmp_path):
    workers = ro.Workers(3, compute=[1.0, 1.8, 2.9], download=ro.Link(per_message=0.1, per_float=0.01),
                         upload=ro.Link(per_message=[0.31, 0.43, 0.57], per_float=0.05))  # fmt: skip
    given = methods.Shadowheart(0.1, compressors.RandK(2), 1.0), workers, ro.Until(updates=1)
    found = recorded(tmp_path / "run", *given, server_bandwidth=16.0)
    expected = virtual(*given, server_bandwidth=16.0)
    # Who shares with whom hangs on milliseconds, what each sends does not.
    columns = ["worker", "message", "bits"]
    assert sorted(found[columns].to_numpy().tolist()) == sorted(expected[columns].to_numpy().tolist())
    for worker in range(3):
        assert found[found.worker == worker].message.is_monotonic_increasing
    assert found.time.iloc[-1] > 0.8 * expected.time.iloc[-1]


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_a_worker_computes_while_it_sends(tmp_path, per_actor):
    workers = ro.Workers(2, compute=[2.0, 3.1], upload=[1.5, 2.3])
    trace = recorded(tmp_path / "run", methods.Rennala(0.1, batch_size=6), workers, ro.Until(updates=2), per_actor,
                     overlap=True)  # fmt: skip
    for worker, (compute, upload) in enumerate([(2.0, 1.5), (3.1, 2.3)]):
        own = trace[(trace.worker == worker) & (trace.version == 0) & (trace.outcome == "used")]
        gaps = own.time.diff().dropna()
        assert (gaps > compute - 0.2).all()
        assert gaps.min() < compute + upload - 0.5
        assert own.number.tolist() == list(range(len(own)))


def test_tasks_that_are_cancelled_on_their_way(tmp_path):
    given = (
        methods.Rennala(0.1, batch_size=1, interrupt=True),
        ro.Workers(3, compute=[1.0, 1.9, 2.8]),
        ro.Until(updates=3),
    )
    found = recorded(tmp_path / "run", *given, server_bandwidth=10.0)
    assert found.outcome.value_counts()[["used", "cancelled"]].tolist() == [3, 6]
    assert (found[found.outcome == "used"].time.diff().dropna() > 1.9).all()


def test_a_wide_link_and_many_methods(tmp_path):
    chosen = [
        methods.Ringmaster(0.2, threshold=4), methods.MindFlayer(0.2, trials=2, time_limit=0.05),
        methods.EF21(0.2, compressors.TopK(50)),
        methods.AdaptiveShadowheart(0.1, compressors.RandK(50), 1.0, first_budget=0.05),
    ]  # fmt: skip
    workers = ro.Workers(4, "0.01 * sqrt(i)", upload=ro.Link(per_message=0.002, per_float=1e-5))
    fleet = ro.RayFleet(workers_per_actor=2, server_bandwidth=1e6, overlap=True)
    result = ro.run(chosen, LogisticRegression.digits(batch=8), workers, until=ro.Until(updates=10), fleet=fleet,
                    out=tmp_path / "run", force=True)  # fmt: skip
    assert result.table.updates.tolist() == [10] * 4
    assert [run.difference for run in ro.replay(tmp_path / "run").runs] == [None] * 4
    assert np.isfinite(result.table.value).all()


def test_measured_times_have_no_emulated_link():
    with pytest.raises(ro.InvalidInput, match=r"fleet\.server_bandwidth: 10\.0 beside compute: measured"):
        ro.run(methods.ASGD(0.1), Quadratic(5), ro.Workers(2, "measured"), until=ro.Until(updates=1),
               fleet=ro.RayFleet(server_bandwidth=10.0))  # fmt: skip
