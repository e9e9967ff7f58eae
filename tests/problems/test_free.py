"""The oracle that costs nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rayopt.core.errors import InvalidInput
from rayopt.problems import Free


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_gradients_are_zeros_of_the_shape_of_x(shape):
    problem, x = Free(3), np.ones(shape)
    g = problem.gradient(x, problem.draw(0, 17))
    assert g.shape == shape
    assert not g.any()
    assert not g.flags.writeable
    assert problem.gradient(x, problem.draw(1, 18)) is g
    samples = problem.draw_many(np.arange(5), np.arange(5, dtype=np.uint64))
    np.testing.assert_array_equal(problem.gradient_sum(x, samples, np.arange(5.0)), g)


def test_metrics_are_zero():
    problem = Free(2)
    assert problem.metrics(problem.start_point()) == {"value": 0.0, "grad_norm_sq": 0.0, "gap": 0.0}
    np.testing.assert_array_equal(problem.metrics(np.ones((3, 2)), ["gap"])["gap"], np.zeros(3))


def test_travels():
    assert pickle.loads(pickle.dumps(Free(7).split(3, 0).shard(1))).dimension == 7


def test_dimension_is_positive():
    with pytest.raises(InvalidInput, match="dimension"):
        Free(0)
