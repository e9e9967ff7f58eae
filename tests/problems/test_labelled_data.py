"""What problems over labelled rows share: the first rows, sampling without replacement, constants."""

from __future__ import annotations

import numpy as np
import pytest

from rayopt.core.errors import InvalidInput
from rayopt.problems import LogisticRegression
from rayopt.problems.data import mnist


def test_the_first_rows_alone():
    whole = LogisticRegression.digits()
    few = LogisticRegression.digits(rows=100)
    np.testing.assert_array_equal(few.X, whole.X[:100])
    np.testing.assert_array_equal(few.y, whole.y[:100])
    np.testing.assert_array_equal(few.X_test, whole.X_test)
    assert few.source.endswith("the first 100 of the training images")
    config = few.to_config()
    assert config["rows"] == 100
    assert LogisticRegression.from_config(**{key: config[key] for key in ("data", "rows")}).row_count == 100


@pytest.mark.parametrize("rows", [0, 12_001, True, 1.5])
def test_rows_that_are_not_there(rows):
    with pytest.raises(InvalidInput, match="rows"):
        LogisticRegression.from_config({"path": mnist.SUBSET}, rows=rows)


def test_a_batch_without_replacement_has_distinct_rows():
    problem = LogisticRegression.digits(rows=20, batch=20, replacement=False)
    x = np.random.default_rng(0).standard_normal(problem.dimension)
    sample = problem.draw(0, 5)
    assert sorted(sample.tolist()) == list(range(20))
    np.testing.assert_allclose(problem.gradient(x, sample), problem.full_gradient(x), atol=1e-14)


def test_without_replacement_a_worker_draws_of_its_own_rows():
    problem = LogisticRegression.digits(batch=4, replacement=False, partition={"name": "dirichlet", "alpha": 0.1})
    problem = problem.split(20, 0)
    for worker in (0, 7, 19):
        for key in range(5):
            rows = problem.draw(worker, key)
            assert len(set(rows.tolist())) == 4
            assert set(rows.tolist()) <= set(problem._shards.rows(worker).tolist())
            shard = problem.shard(worker)
            np.testing.assert_array_equal(shard.X[shard.draw(worker, key)], problem.X[rows])


def test_lipschitz_bounds_the_gradients_of_rows():
    problem = LogisticRegression.digits()
    far = 1e3 * np.random.default_rng(0).standard_normal((5, problem.dimension))
    norms = [np.linalg.norm(problem.gradient(far, row), axis=1).max() for row in range(50)]
    assert 0.5 * problem.lipschitz < max(norms) <= problem.lipschitz
    assert LogisticRegression.digits(l2=0.1).lipschitz is None
