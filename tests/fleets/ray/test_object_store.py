"""An object store that is small: the run says so before it starts, and runs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import ray
from ray_sessions import opened

import rayopt as ro
from rayopt import methods
from rayopt.fleets.ray.memory_estimate import MemoryEstimate, bytes_of, collected, warn_if_scarce
from rayopt.fleets.ray.nodes import Node
from rayopt.problems import LogisticRegression, Quadratic

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def small_store():
    ray.shutdown()
    ray.init(object_store_memory=100_000_000, num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_shards_that_do_not_fit(small_store):
    x = np.random.default_rng(0).normal(size=(35_000, 400))
    with (
        opened(LogisticRegression(x, (x[:, 0] > 0).astype(int), batch=8), 0.02, n=2) as fixture,
        pytest.warns(UserWarning, match=r"holds 100 MB, .* need 112 MB of it \(shards 112 MB"),
    ):
        outcome, _ = fixture.run(methods.ASGD(0.01), ro.Until(updates=20), metrics=("value",))
    assert outcome.updates == 20
    assert np.isfinite(outcome.rows[-1]["value"])


def test_points_and_values_that_do_not_fit(small_store):
    with (
        opened(Quadratic(1_000_000), 0.02, n=8) as fixture,
        pytest.warns(UserWarning, match=r"160 MB of it \(shards 0 MB, points 64 MB, values 64 MB, batch 32 MB\)"),
    ):
        outcome, _ = fixture.run(methods.Rennala(0.01, batch_size=4), ro.Until(updates=3))
    assert outcome.updates == 3


def node(store):
    return Node("a", "10.0.0.1", True, {}, {"CPU": 1.0, "object_store_memory": store})


def test_the_node_with_the_least_room_counts():
    demand = MemoryEstimate(shards=60_000_000, points=20_000_000, values=10_000_000, batch=10_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_scarce(demand, [node(200e6), node(100e6)])
    with pytest.warns(UserWarning, match="holds 99 MB, and this run may need 100 MB"):
        warn_if_scarce(demand, [node(200e6), node(99e6)])


def test_small_points_travel_in_messages():
    assert MemoryEstimate.of(5, 99_999, 1000, 7) == (5, 0, 0, 0)
    assert MemoryEstimate.of(5, 100_000, 3) == (5, 300_000, 300_000, 0)


@pytest.mark.parametrize(
    ("method", "gradients"),
    [
        (methods.ASGD(0.1), 0),
        (methods.Rennala(0.1, batch_size=24), 24),
        (methods.Minibatch(0.1), 4),
        (methods.Malenia(0.1, batch_size=3), 4),
        (methods.Malenia(0.1, batch_size=9), 9),
        (methods.FedBuff(0.1, buffer_size=5), 5),
    ],
    ids=repr,
)
def test_what_a_method_collects_is_in_the_store_too(method, gradients):
    """A batch of 24 gradients of 8 MB from four workers does not fit into 100 MB."""
    demand = MemoryEstimate.of(0, 8_000_000, 4, collected(method, 4))
    assert demand.batch == gradients * 8_000_000
    assert (sum(demand) > 100e6) == (gradients > 4)


def test_equal_arrays_of_one_object_count_once():
    array = np.zeros(1_000_000)
    assert 8_000_000 <= bytes_of([array, {"again": array}]) < 8_001_000
