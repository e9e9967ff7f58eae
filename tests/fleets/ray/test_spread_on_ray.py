"""Runs in virtual time spread over a Ray cluster: those of one process, to the bit, also when a node is lost."""

from __future__ import annotations

import threading
import time

import pytest
import ray
from cluster_nodes import nodes_with

import rayopt as ro
from rayopt.experiments.spread.places import Place
from tests.experiments.spread.spread_parts import same_results

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


@pytest.fixture
def nodes():
    """Two CPUs in all: the head has none."""
    with nodes_with(head_cpus=0, cpus=1) as found:
        yield found


class Slow(ro.methods.ASGD):
    """ASGD that takes a while."""

    name = "slow"

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates % 10 == 0:
            time.sleep(0.01)


def experiment(methods, until, **given):
    problem = ro.problems.LogisticRegression.digits(batch=4)
    return ro.Experiment(methods, problem, ro.Workers(8, ro.latency.half_normal("i", 1.0)), ro.Until(time=until),
                         seeds=[0, 1], **given)  # fmt: skip


def test_results_files_and_order_are_those_of_one_process_and_a_node_may_go(nodes, tmp_path):
    methods = [ro.methods.Rennala([0.2, 0.5], batch_size=4), ro.methods.Malenia(0.5, 4), ro.methods.ASGD(0.05)]
    here = experiment(methods, 60).run(tmp_path / "here")
    spread = experiment(methods, 60).run(tmp_path / "spread", on=Place("ray"))
    same_results(here, spread)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == sorted(
        path.name for path in (tmp_path / "spread").iterdir()
    )

    slow = experiment([Slow(0.1), Slow(0.05)], 500, record=ro.Record(checkpoint=0.2), labels=["a", "b"])
    whole = slow.run()
    folder = tmp_path / "lost"

    def remove():
        # When there is something to go on from.
        deadline = time.monotonic() + 60
        while not list(folder.glob("unfinished/runs/*/checkpoint-*.npz")) and time.monotonic() < deadline:
            time.sleep(0.05)
        nodes.remove()

    remover = threading.Thread(target=remove)
    remover.start()
    result = slow.run(folder, on=Place("ray"))
    remover.join()
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    same_results(whole, result)


def test_an_error_of_a_method_is_that_of_here(cluster):
    class Broken(ro.methods.ASGD):
        name = "broken"

        def receive(self, arrival, fleet):
            raise ArithmeticError("this method is broken")

    with pytest.raises(ArithmeticError, match="this method is broken"):
        experiment([Broken(0.1), ro.methods.ASGD(0.1)], 20).run(on=Place("ray"))


def test_tuning_uses_it_too(cluster):
    grid = ro.Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.5], "threshold": {"grid": [1, 4]}})
    from rayopt.experiments.tuning.tuning import Tuning

    tuning = Tuning([grid], ro.problems.Quadratic(5), ro.Workers(3, "i"), ro.Until(time=20), [0, 1], [2])
    alone, spread = tuning.run(processes=1), tuning.run(on=Place("ray"))
    columns = [name for name in alone.table if name != "wall_seconds"]
    assert alone.table[columns].equals(spread.table[columns])
