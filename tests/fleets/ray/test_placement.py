"""What the arguments of a fleet say of nodes, without a cluster."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt.experiments.config import Workload
from rayopt.fleets.ray.nodes import Node, check_room, find_node
from rayopt.fleets.ray.placement import Label, read_label, read_placement

HEAD = Node("a0", "10.0.0.1", True, {"ray.io/node-id": "a0"}, {"CPU": 2.0})
FAST = Node("b1", "10.0.0.2", False, {"speed": "fast"}, {"CPU": 4.0, "GPU": 1.0})
SLOW = Node("c2", "10.0.0.3", False, {"speed": "slow", "zone": "b"}, {"CPU": 1.0})
NODES = [HEAD, FAST, SLOW]
BOTH = {"labels": {"fast": {"share": 1, "compute": 0.01}, "slow": {"share": 2, "compute": 0.1}}}


def test_workers_have_the_latency_of_their_nodes():
    fleet = ro.RayFleet(placement=BOTH)
    times = fleet.emulated(ro.Workers(7, 5.0)).times(0)
    np.testing.assert_array_equal(times.fixed, [0.01, 0.1, 0.1, 0.01, 0.1, 0.1, 0.01])


def test_an_experiment_knows_them_and_its_file_means_the_same():
    fleet = ro.RayFleet(placement=BOTH, server_node="head", num_cpus=0.5, nodes=3)
    experiment = ro.Experiment(
        [ro.methods.ASGD(0.1)], ro.problems.Quadratic(3), ro.Workers(6, 5.0), ro.Until(time=1), fleet
    )
    config = experiment.to_config()
    assert config["fleet"]["server_node"] == "head"
    assert config["fleet"]["num_cpus"] == 0.5
    assert config["fleet"]["nodes"] == 3
    again = Workload.model_validate({**config, "problem": {"name": "quadratic", "dimension": 3}}).build()
    assert again.fleet.to_config() == fleet.to_config()
    np.testing.assert_array_equal(again.workers.times(0).fixed, experiment.workers.times(0).fixed)


def test_labels_without_latencies_leave_those_of_the_workers():
    workers = ro.Workers(4, "i")
    assert ro.RayFleet(placement={"labels": {"fast": None, "slow": {}}}).emulated(workers) is workers


def test_an_actor_holds_workers_of_one_group():
    placement = read_placement(BOTH, 0, 0)
    held = [(group.name, own) for group, own in placement.actors(8, 2)]
    assert held == [("fast", [0, 3]), ("fast", [6]), ("slow", [1, 2]), ("slow", [4, 5]), ("slow", [7])]
    assert read_placement("spread", 0, 0).actors(3, 2) == [(None, [0, 1]), (None, [2])]


@pytest.mark.parametrize(
    ("text", "label"),
    [("fast", ("speed", "fast")), ("zone=b", ("zone", "b")), ("ray.io/accelerator-type=A100",) * 2],
)
def test_labels(text, label):
    label = tuple(label.split("=")) if isinstance(label, str) else label
    assert read_label("label", text) == Label(*label)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"placement": "spraed"}, "placement"),
        ({"placement": 3}, "placement"),
        ({"placement": {"labels": {}}}, "placement"),
        ({"placement": {"label": {"fast": {}}}}, "placement"),
        ({"placement": {"labels": {"fast": 3}}}, "placement.labels.fast.share"),
        ({"placement": {"labels": {"fast": {"share": 0}}}}, "placement.labels.fast.share"),
        ({"placement": {"labels": {"fast": {"shares": 1}}}}, "placement.labels.fast.shares"),
        ({"placement": {"labels": {"fast": {"compute": {"name": "nothing"}}}}}, "placement.labels.fast.compute.name"),
        ({"placement": {"labels": {"fast": {"compute": 1}, "slow": {}}}}, "placement.labels.slow.compute"),
        ({"placement": {"labels": {"fast": {}, "speed=fast": {}}}}, "placement.labels"),
        ({"placement": {"labels": {"a b": {}}}}, "placement.labels.a b.label"),
        ({"server_node": "?"}, "server_node"),
        ({"server_node": 3}, "server_node"),
        ({"num_cpus": -1}, "num_cpus"),
        ({"num_cpus": True}, "num_cpus"),
        ({"num_cpus": 1.5}, "num_cpus"),
        ({"num_gpus": float("nan")}, "num_gpus"),
    ],
)
def test_bad_arguments(arguments, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.RayFleet(**arguments)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("wanted", "node"),
    [("head", HEAD), ("driver", SLOW), ("10.0.0.2", FAST), ("b1", FAST), ("slow", SLOW), ("zone=b", SLOW)],
)
def test_the_server_is_asked_to_be_on_a_node(wanted, node):
    assert find_node(wanted, NODES, own="c2") is node


def test_a_node_that_is_not_there():
    with pytest.raises(ro.InvalidInput, match=r"'medium'.*10\.0\.0\.1, 10\.0\.0\.2.*speed=fast on 1, .*zone=b on 1"):
        find_node("medium", NODES, own="a0")


@pytest.mark.parametrize(
    ("arguments", "count", "text"),
    [
        (
            {"num_cpus": 1},
            8,
            r"fleet\.num_cpus: 8 worker actors with 1 CPU each, and the nodes hold 7 \(10\.0\.0\.1: 2",
        ),
        ({"num_cpus": 3}, 2, "hold 1 "),
        ({"num_gpus": 0.5}, 3, r"fleet\.num_gpus: 3 worker actors with 0\.5 GPU each, and the nodes hold 2 "),
        ({"placement": BOTH, "num_cpus": 1}, 6, r"4 worker actors .* the nodes with speed=slow hold 1 "),
        ({"placement": {"labels": {"medium": {}}}}, 1, r"no node that is up has the label speed=medium.*ray start"),
    ],
)
def test_a_cluster_that_cannot_hold_the_workers(arguments, count, text):
    placement = ro.RayFleet(**arguments).placement
    with pytest.raises(ro.InvalidInput, match=text):
        check_room(placement, placement.actors(count, 1), NODES)


def test_a_cluster_that_just_holds_them():
    for arguments, count in [({"num_cpus": 1}, 7), ({"num_gpus": 0.5}, 2), ({"placement": BOTH, "num_cpus": 0.25}, 6)]:
        placement = ro.RayFleet(**arguments).placement
        check_room(placement, placement.actors(count, 1), NODES)
