"""A cluster of three nodes on this machine: where actors run, and how data reach them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

import rayopt as ro
from rayopt.fleets.base import Job
from rayopt.fleets.ray.fleet import RaySession
from rayopt.fleets.ray.nodes import alive_nodes, wait_for_nodes
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs.record import Record

# Actors cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def cluster(short_folder):
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", short_folder)
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        found.add_node(num_cpus=2, labels={"speed": "fast"})
        found.add_node(num_cpus=1, labels={"speed": "slow"})
        ray.init(found.address, log_to_driver=False)
        yield found
        ray.shutdown()
        found.shutdown()


def node_named(label):
    return next(node["NodeID"] for node in ray.nodes() if node["Labels"].get("speed", "head") == label)


def where(session):
    """The nodes of the worker actors, in order."""
    states = [actor.__ray_call__.remote(node_of) for actor in session.actors]
    return ray.get(states)


def node_of(actor):
    return ray.get_runtime_context().get_node_id()


def train(session, problem, until, method=None, metrics=()):
    """The outcome of a run, and the workers of its arrivals."""
    record = Record(metrics=metrics).resolve(problem.metric_names, until)
    workers = []
    job = Job(method or ro.methods.Minibatch(0.3), 0, until, record)
    outcome = session.run(job, lambda rows: workers.extend(rows["worker"].tolist()), lambda progress: None)
    return outcome, workers


def test_workers_are_spread_evenly_and_their_data_come_through_the_object_store(cluster):
    problem = LogisticRegression.digits(partition="split", batch=8)
    workers, until = ro.Workers(5, 0.002), ro.Until(updates=3)
    with RaySession(ro.RayFleet(), problem, workers) as session:
        assert sorted(Counter(where(session)).values()) == [1, 2, 2]
        outcome, _ = train(session, problem, until, metrics=("value",))
    virtual = ro.run(ro.methods.Minibatch(0.3), problem, workers, until=until, record=ro.Record(every=1))
    np.testing.assert_allclose(outcome.rows[-1]["value"], virtual.history.value.iloc[-1], rtol=1e-12)


def test_labels_choose_nodes_and_latencies_and_the_server_is_pinned(cluster):
    # Times that leave room for a machine that does much else.
    labels = {"fast": {"share": 2, "compute": 0.02}, "slow": {"share": 1, "compute": 0.4}}
    problem = Quadratic(5)
    fleet = ro.RayFleet(placement={"labels": labels}, server_node="slow", workers_per_actor=2)
    with RaySession(fleet, problem, fleet.emulated(ro.Workers(6, 1.0))) as session:
        assert where(session) == [node_named("fast")] * 2 + [node_named("slow")]
        assert ray.get(session._server.node.remote()) == node_named("slow")
        _, workers = train(session, problem, ro.Until(time=2.0), ro.methods.ASGD(0.01))
    arrivals = Counter(workers)
    assert min(arrivals[worker] for worker in (0, 1, 3, 4)) > 2 * max(arrivals[2], arrivals[5]) > 0


class BusyASGD(ro.methods.ASGD):
    """ASGD on a server that is busy for 30 ms per update, so that replies wait."""

    name = "busy_asgd"

    def receive(self, arrival, fleet):
        time.sleep(0.03)
        super().receive(arrival, fleet)


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_workers_of_another_node_keep_their_own_stamps(cluster, per_actor):
    problem = Quadratic(5)
    record = Record(metrics=()).resolve(problem.metric_names, ro.Until(updates=40))
    fleet = ro.RayFleet(placement={"labels": {"fast": {}}}, server_node="slow", workers_per_actor=per_actor)
    chunks = []
    with RaySession(fleet, problem, ro.Workers(4, 0.02)) as session:
        job = Job(BusyASGD(0.01), 0, ro.Until(updates=40), record)
        session.run(job, lambda rows: chunks.append(rows.copy()), lambda progress: None)
    rows = np.concatenate(chunks)
    seconds = rows["completed_at"] - rows["assigned_at"]
    assert (seconds >= 0.02 - 1e-6).all()
    # Four workers of 20 ms wait for a server that takes 120 ms for them; on a busy machine some come late themselves.
    assert np.quantile(rows["time"] - rows["completed_at"], 0.75) > 0.02


def test_packed_workers_share_few_nodes(cluster):
    with RaySession(ro.RayFleet(placement="pack"), Quadratic(5), ro.Workers(3, 0.002)) as session:
        assert len(set(where(session))) == 1


def test_actors_reserve_what_they_are_given(cluster):
    problem = Quadratic(5)
    with RaySession(ro.RayFleet(num_cpus=1), problem, ro.Workers(4, 0.002)) as session:
        assert sorted(Counter(where(session)).values()) == [1, 1, 2]
        assert ray.available_resources().get("CPU", 0) == 0
    with pytest.raises(ro.InvalidInput, match=r"5 worker actors with 1 CPU each, and the nodes hold 4"):
        ro.RayFleet(num_cpus=1).open(problem, ro.Workers(5, 0.002))
    with pytest.raises(ro.InvalidInput, match=r"speed=medium.*speed=(fast|slow) on 1, speed=(fast|slow) on 1"):
        ro.RayFleet(placement={"labels": {"medium": {}}}).open(problem, ro.Workers(5, 0.002))


def test_workers_of_a_node_that_is_removed_move(cluster):
    added = cluster.add_node(num_cpus=1, labels={"speed": "spare"})
    with RaySession(ro.RayFleet(), Quadratic(5), ro.Workers(4, 0.002)) as session:
        gone = node_named("spare")
        assert Counter(where(session))[gone] == 1
        lost = session.actors[where(session).index(gone)]
        cluster.remove_node(added)
        for _ in range(60):
            try:
                found = ray.get(lost.__ray_call__.remote(node_of), timeout=30)
                break
            except (ray.exceptions.ActorUnavailableError, ray.exceptions.ActorDiedError):
                time.sleep(0.5)
        assert found != gone


def test_actors_wait_for_nodes_that_join_later(cluster):
    up = len(alive_nodes())
    with pytest.raises(ro.InvalidInput, match=rf"fleet.nodes: {up + 1} are to be up, and there are {up} after 0.2 s"):
        wait_for_nodes(up + 1, at_most=0.2)
    with ThreadPoolExecutor() as executor:
        waiting = executor.submit(wait_for_nodes, up + 1, 60.0)
        # Nodes are added on the main thread alone: they handle signals.
        cluster.add_node(num_cpus=1)
        waiting.result()
    with RaySession(ro.RayFleet(nodes=up + 1), Quadratic(5), ro.Workers(up + 1, 0.002)) as session:
        assert len(set(where(session))) == up + 1
