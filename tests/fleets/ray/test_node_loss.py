"""Nodes that are removed and added while a run goes on."""

from __future__ import annotations

import pytest
from cluster_nodes import nodes_with
from ray_sessions import Slow, opened

import rayopt as ro
from rayopt import methods
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.problems import Quadratic
from tests.acting import asgd_that

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def nodes():
    """Each node has room for two workers."""
    with nodes_with(head_cpus=2, cpus=2) as found:
        yield found


def run_while_a_node_goes(fixture, nodes, method, until, comes_back):
    """Removes a node in the second report, and adds one when its workers have been missed."""
    done = set()

    def follow():
        worker_counts = fixture.progress[-1].worker_counts
        if "removed" not in done:
            done.add("removed")
            nodes.remove()
        elif comes_back and "added" not in done and worker_counts.up == 4:
            done.add("added")
            nodes.add()
        elif "added" in done and worker_counts.up == 6:
            fixture.session.stop()

    fixture.on_progress = follow
    try:
        return fixture.run(method, until)
    finally:
        fixture.on_progress = lambda: None


def test_a_node_is_removed_and_another_is_added(nodes):
    with opened(Quadratic(20, noise=0.01), 0.02, n=6, num_cpus=1, server_node="head", grace=3.0) as fixture:
        fixture.run(methods.Minibatch(0.1), ro.Until(updates=2))
        # Without the node there is no room for two of the workers: they wait, and start on the one that is added.
        outcome, rows = run_while_a_node_goes(fixture, nodes, methods.ASGD(0.05), ro.Until(time=120), comes_back=True)
        assert outcome.ended_by == "interrupted"
        assert outcome.faults.restarts == 2
        assert outcome.faults.missing == []
        assert outcome.counts.arrivals == len(rows) == outcome.updates
        shown = [tuple(progress.worker_counts) for progress in fixture.progress if progress.worker_counts is not None]
        assert (4, 2, 0) in shown
        assert shown[-1] == (6, 0, 0)
        outcome, rows = fixture.run(methods.Minibatch(0.1), ro.Until(updates=5))
        assert outcome.updates == 5
        # And nobody comes: Minibatch waits for every worker, but not for ever; ASGD goes on with those that are left.
        with pytest.raises(
            WorkerLost, match=r"no process for workers? \d(, \d)?, .* 3 s \(grace\), and Minibatch waits"
        ):
            run_while_a_node_goes(fixture, nodes, methods.Minibatch(0.1), ro.Until(time=120), comes_back=False)
        outcome, rows = fixture.run(methods.ASGD(0.05), ro.Until(time=5))
        assert outcome.updates > 100
        assert len(outcome.faults.missing) == 2
        assert not set(outcome.faults.missing) & set(rows["worker"].tolist())


def test_workers_that_need_no_cpu_move_to_the_nodes_that_are_left(nodes):
    with opened(Quadratic(20, noise=0.01), 0.02, n=6, server_node="head", workers_per_actor=2) as fixture:
        fixture.run(methods.Minibatch(0.1), ro.Until(updates=2))
        fixture.stop_when_back = True
        outcome, rows = run_while_a_node_goes(fixture, nodes, methods.ASGD(0.05), ro.Until(time=120), comes_back=False)
        assert outcome.faults.restarts == 1
        assert outcome.faults.missing == []
        assert set(rows["worker"][rows["time"] > outcome.time - 0.5].tolist()) == set(range(6))


def test_gradients_that_were_computed_on_a_lost_node_are_computed_on_another(nodes):
    until, workers = ro.Until(updates=300), ro.Workers(6, "sqrt(i)")
    fleet = ro.SimulatedFleet(gradients="ray", processes=3)
    result = ro.run(asgd_that({50: nodes.remove}, 0.05), Slow(5, noise=0.01), workers, until=until, fleet=fleet)
    assert result.summary["runs"][0]["faults"]["restarts"] >= 1
    alone = ro.run(methods.ASGD(0.05), Quadratic(5, noise=0.01), workers, until=until)
    same = alone.trace.columns.difference(["method", "label"])
    assert result.trace[same].equals(alone.trace[same])
