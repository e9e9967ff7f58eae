"""Partitions: nothing lost, nothing twice, nobody empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt.core.errors import DataError, InvalidInput
from rayopt.problems.data.partition import Dirichlet, Homogeneous, Labels, Shards, Split, partition, skew

BALANCED = np.arange(2000) % 10

kinds = st.one_of(
    st.just(Split()),
    st.floats(1e-3, 1e3).map(Dirichlet),
    st.integers(1, 4).map(Labels),
)
label_arrays = st.lists(st.integers(0, 9), min_size=1, max_size=200).map(np.array)


@given(kind=kinds, labels=label_arrays, workers=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_every_row_belongs_to_exactly_one_worker(kind, labels, workers, seed):
    try:
        shards = kind.assign(labels, workers, seed)
    except DataError:
        # Somebody must be empty: too few rows, or too few for non-empty slices.
        assert len(labels) < workers * getattr(kind, "shards_per_worker", 1)
        return
    assert len(shards) == workers
    np.testing.assert_array_equal(np.sort(shards.order), np.arange(len(labels)))
    np.testing.assert_array_equal(np.concatenate([shards.rows(i) for i in range(workers)]), shards.order)
    assert shards.sizes.sum() == len(labels)
    assert shards.sizes.min() > 0
    assert np.ptp(shards.sizes) <= getattr(kind, "shards_per_worker", 1)
    for worker in range(workers):
        assert (shards.owners[shards.rows(worker)] == worker).all()
    assert 0 <= skew(shards, labels) < 1


@given(kind=kinds, seed=st.integers(0, 2**32))
def test_the_seed_decides(kind, seed):
    first, again, other = (kind.assign(BALANCED, 7, s) for s in (seed, seed, seed + 1))
    np.testing.assert_array_equal(first.order, again.order)
    assert not np.array_equal(first.order, other.order)


def test_homogeneous_has_no_shards():
    assert Homogeneous().assign(BALANCED, 5, 0) is None


def test_skew_of_the_extremes():
    same = Shards(np.arange(2000), np.array([0, 1000, 2000]))
    assert skew(same, BALANCED) == 0
    by_class = np.argsort(BALANCED, kind="stable")
    one_class_each = Shards(by_class, np.arange(0, 2001, 200))
    assert skew(one_class_each, BALANCED) == pytest.approx(0.9)


def test_skew_falls_with_alpha():
    found = [skew(Dirichlet(alpha).assign(BALANCED, 20, 0), BALANCED) for alpha in (0.01, 0.1, 1, 10, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.6
    assert found[-1] < 0.05
    assert skew(Split().assign(BALANCED, 20, 0), BALANCED) < 0.15


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_dirichlet_shares_have_the_spread_of_the_distribution(alpha):
    # Var q_c = (1/C)(1 - 1/C)/(C alpha + 1); the last workers take what is left, so only about.
    labels = np.arange(50_000) % 10
    shards = Dirichlet(alpha).assign(labels, 100, 0)
    shares = np.array([np.bincount(labels[shards.rows(i)], minlength=10) for i in range(100)]) / 500
    assert shares.var() == pytest.approx(0.09 / (10 * alpha + 1), rel=0.25)


def test_labels_bounds_the_classes_of_a_worker():
    shards = Labels(2).assign(BALANCED, 10, 0)
    classes = [len(np.unique(BALANCED[shards.rows(i)])) for i in range(10)]
    assert max(classes) <= 2


@pytest.mark.parametrize("kind", [Split(), Dirichlet(0.5), Labels(1)])
def test_an_empty_shard_is_an_error(kind):
    with pytest.raises(DataError, match=r"worker [0-4] would have no data: 3 rows over 5 workers; use fewer workers"):
        kind.assign(np.array([0, 1, 1]), 5, 0)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (None, Homogeneous()),
        ("homogeneous", Homogeneous()),
        ("split", Split()),
        ("labels", Labels(2)),
        ({"name": "dirichlet", "alpha": 0.1}, Dirichlet(0.1)),
        ({"name": "labels", "shards_per_worker": 3}, Labels(3)),
        (Dirichlet(2), Dirichlet(2)),
    ],
)
def test_parse(given_, expected):
    assert partition(given_) == expected


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ("dirchlet", "did you mean 'dirichlet'"),
        ("dirichlet", "partition.alpha: it is missing"),
        ({"name": "dirichlet", "alpha": 0}, "partition.alpha: 0 is not a positive number"),
        ({"name": "dirichlet", "alhpa": 1}, "did you mean 'alpha'"),
        ({"name": "labels", "shards_per_worker": 0}, "partition.shards_per_worker: 0 is not"),
        ({"name": "split", "alpha": 1}, "'split' has no argument 'alpha'"),
        ({"alpha": 1}, "None is unknown"),
        (3, "3 is not a partition"),
    ],
)
def test_parse_wrong(given_, problem):
    with pytest.raises(InvalidInput, match=problem):
        partition(given_)
