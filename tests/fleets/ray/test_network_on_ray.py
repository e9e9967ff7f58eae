"""Methods without a server on Ray: nodes are actors that send to each other, and the driver watches."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import ray

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival
from rayopt.fleets.ray.failures import WorkerFailed, WorkerLost
from rayopt.fleets.ray.network import NetworkSession
from rayopt.fleets.ray.node import NetworkActor
from rayopt.problems import LogisticRegression, Quadratic

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]

PROBLEM = Quadratic(dimension=20, noise=0.1)
NETWORK = ro.Network(ro.graphs.mesh(2, 3), compute=[1.5, 4.0, 5.3, 4.5, 5.0, 3.4], edges=0.4)
TREE = ro.Network(ro.graphs.line(6), compute=[1.0, 1.31, 1.73, 2.17, 2.9, 3.57], edges=0.37)
UNTIL = ro.Until(updates=3)


def assert_alike(folder, chosen, time_scale):
    """The same gradients are in every update, and x is the same up to rounding; the run is replayed to the bit."""
    fleet = ro.RayFleet(time_scale=time_scale)
    real = ro.run(chosen, PROBLEM, NETWORK, until=UNTIL, fleet=fleet, out=folder)
    virtual = ro.run(chosen, PROBLEM, NETWORK, until=UNTIL)
    columns = ["label", "updates", "collected"]
    assert real.rounds[columns].to_numpy().tolist() == virtual.rounds[columns].to_numpy().tolist()
    np.testing.assert_allclose(real.table.value, virtual.table.value, rtol=1e-10)
    assert (real.rounds.time > 0.99 * virtual.rounds.time).all()
    for label in real.table.label:
        both = real.trace, virtual.trace
        own = [trace[(trace.label == label) & (trace.outcome == "received")] for trace in both]
        kinds = [set(trace.kind) for trace in own]
        assert kinds[0] == kinds[1]
        # A message more or less is on its way at the end.
        assert 0.8 * len(own[1]) < len(own[0]) < 1.5 * len(own[1])
    assert real.edges.bits.sum() <= real.table.bits_up.sum()
    replayed = ro.replay(folder).runs
    assert [run.difference for run in replayed] == [None] * len(chosen)
    assert all(run.checked >= 2 for run in replayed)


def test_rounds_are_those_of_virtual_time(tmp_path):
    chosen = [methods.DecentralizedMinibatch(0.3), methods.GossipSGD(0.3), methods.GradientTracking(0.1)]
    assert_alike(tmp_path / "run", chosen, time_scale=0.05)


def test_updates_are_those_of_virtual_time_where_times_are_far_apart(tmp_path):
    """Which gradients are in an update hangs on a third of a fleet second, a tenth of a real one here."""
    assert_alike(tmp_path / "run", [methods.Fragile(0.3, batch_size=5)], time_scale=0.35)


def test_methods_whose_messages_race_are_replayed_too(tmp_path):
    chosen = [
        methods.Amelie(0.3, batch_size=6), methods.AsynchronousGossip(0.1), methods.RelaySGD(0.2),
        methods.AcceleratedFragile(0.1, batch_size=6), methods.NonsmoothFragile(0.1, batch_size=6),
    ]  # fmt: skip
    problem = LogisticRegression.digits(batch=4)
    record = ro.Record(metrics=["value", "consensus_distance"], every=2.0)
    result = ro.run(chosen, problem, TREE, until=ro.Until(updates=6), fleet=ro.RayFleet(time_scale=0.02),
                    out=tmp_path / "run", record=record)  # fmt: skip
    assert result.table.updates.tolist() == [6] * 5
    assert (result.table.value < np.log(10)).all()
    gossip = result.history[result.history.label == "AsynchronousGossip"]
    assert (gossip.consensus_distance.dropna() >= 0).all()
    assert gossip.consensus_distance.iloc[-1] > 0
    assert [run.difference for run in ro.replay(tmp_path / "run").runs] == [None] * 5


def test_another_trace_is_found_out(tmp_path):
    result = ro.run(methods.Fragile(0.3, batch_size=6), PROBLEM, NETWORK, until=UNTIL,
                    fleet=ro.RayFleet(time_scale=0.05), out=tmp_path / "run")  # fmt: skip
    other = ro.Experiment([methods.Fragile(0.31, batch_size=6)], PROBLEM, NETWORK, UNTIL, fleet=ro.RayFleet())
    assert ro.replay(tmp_path / "run", experiment=other).runs[0].difference is not None
    assert result.table.updates.tolist() == [3]


def test_sixteen_nodes_with_edges_of_twenty_milliseconds(tmp_path):
    network = ro.Network(ro.graphs.torus(4, 4), compute="0.03 * sqrt(i)", edges=0.02)
    method = methods.Fragile(0.5, batch_size=24)
    result = ro.run(method, LogisticRegression.digits(batch=4), network, until=ro.Until(time=8), fleet=ro.RayFleet(),
                    out=tmp_path / "run")  # fmt: skip
    virtual = ro.run(method, LogisticRegression.digits(batch=4), network, until=ro.Until(time=8))
    assert result.table.updates[0] > 0.4 * virtual.table.updates[0]
    assert result.table.accuracy[0] > 0.8
    assert (result.rounds.collected >= 24).all()
    assert ro.replay(tmp_path / "run").is_equal


def test_a_node_that_is_killed_ends_the_run_with_its_name(monkeypatch):
    sessions = []
    make = NetworkSession.__init__

    def noted(self, *arguments, **others):
        make(self, *arguments, **others)
        sessions.append(self)

    monkeypatch.setattr(NetworkSession, "__init__", noted)

    def kill():
        while not sessions or sessions[0]._recorder is None or sessions[0]._recorder.counts.arrivals < 5:
            time.sleep(0.02)
        ray.kill(sessions[0]._nodes[4])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(WorkerLost, match="node 4 has lost its process"):
        ro.run(methods.GossipSGD(0.1), PROBLEM, NETWORK, until=ro.Until(time=600), fleet=ro.RayFleet(time_scale=0.05))
    killer.join()


class Broken(Quadratic):
    def gradient(self, x, sample, checkpoint=None):
        raise ValueError("no gradient today")


def test_an_error_at_a_node_is_told_with_its_name():
    network = ro.Network(ro.graphs.line(2), compute=1.0, edges=0.5)
    with pytest.raises(WorkerFailed, match=r"node 0 raised an error:[\s\S]*no gradient today"):
        ro.run(methods.GossipSGD(0.1), Broken(5), network, until=UNTIL, fleet=ro.RayFleet(time_scale=0.05))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers_per_actor": 2}, r"fleet\.workers_per_actor: 2 with a network, which has no server; allowed: 1"),
        ({"server_bandwidth": 5.0}, r"fleet\.server_bandwidth: 5\.0 with a network"),
        ({"overlap": True}, r"fleet\.overlap: True with a network"),
        ({"server_node": "head"}, r"fleet\.server_node: 'head' with a network"),
    ],
)
def test_what_only_a_server_has(options, message):
    with pytest.raises(ro.InvalidInput, match=message):
        ro.run(methods.GossipSGD(0.1), PROBLEM, NETWORK, until=UNTIL, fleet=ro.RayFleet(**options))


def test_a_schedule_by_time_follows_the_clock_of_a_node():
    """No cluster: the loop of a node's process over events that are given."""
    steps = []

    class Watched(methods.DecentralizedMinibatch):
        def start_at(self, node, fleet):
            pass

        def changed_state(self, node):
            return None

        def receive(self, arrival, fleet):
            steps.append(self._step)

    class Clock:
        now = 0.0

        def elapsed(self):
            return self.now

        def step(self):
            self.now += 10.0
            if self.now == 30.0:
                actor._is_over.set()
            return Arrival(0, self.now, 0.0, None, 0, None)

    plain = NetworkActor.__ray_metadata__.modified_class if hasattr(NetworkActor, "__ray_metadata__") else NetworkActor
    actor = object.__new__(plain)
    actor._is_over, actor._number = threading.Event(), 0
    actor._executor, actor._note = type("Executor", (), {"time_scale": 0.0})(), lambda *event: None
    method = Watched({"inverse_time": 1.0, "over": 1.0, "by": "time"})
    method.x, method.updates = np.zeros(2), 0
    actor._serve(method, Clock())
    assert steps == [1 / 11, 1 / 21, 1 / 31]
