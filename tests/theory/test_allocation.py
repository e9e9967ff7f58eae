"""Allocations of tasks to workers that all must end."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt.theory.allocation import even_allocation, exploring_allocation, optimal_allocation, proxy_loss


def recursion(scores, tasks):
    """RAS as the authors' code states it, ties by the fewest maxima and then the first."""
    allocation = np.zeros(len(scores), dtype=int)
    for _ in range(tasks):
        candidates = [allocation + np.eye(len(scores), dtype=int)[i] for i in range(len(scores))]
        loads = [candidate * scores for candidate in candidates]
        best = min(range(len(scores)), key=lambda i: (loads[i].max(), np.sum(loads[i] == loads[i].max())))
        allocation = candidates[best]
    return allocation


def test_the_main_setting_of_the_paper():
    means = 58.0 * np.arange(1, 52)
    found = optimal_allocation(means, 23)
    assert found.tolist() == [9, 4, 3, 2, 1, 1, 1, 1, 1] + [0] * 42
    assert proxy_loss(found, means) == 522


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=4), st.integers(0, 6))
def test_as_good_as_every_allocation_and_as_the_recursion(scores, tasks):
    found = optimal_allocation(scores, tasks)
    assert found.sum() == tasks
    every = (a for a in itertools.product(range(tasks + 1), repeat=len(scores)) if sum(a) == tasks)
    assert proxy_loss(found, scores) == min(proxy_loss(a, scores) for a in every)
    assert proxy_loss(found, scores) == proxy_loss(recursion(np.array(scores), tasks), scores)


def test_ties_are_drawn_but_repeatable():
    first = [optimal_allocation([1.0] * 10, 3, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1, 2, 3)]
    assert first[0] == first[1]
    assert len({tuple(allocation) for allocation in first}) > 1
    assert optimal_allocation([1.0] * 4, 2).tolist() == [1, 1, 0, 0]


def test_an_infinite_score_gets_nothing():
    assert optimal_allocation([math.inf, 1.0], 3).tolist() == [0, 3]
    assert proxy_loss([0, 3], [math.inf, 1.0]) == 3.0


def test_even_allocation():
    found = even_allocation(4, 10, np.random.default_rng(0))
    assert sorted(found.tolist()) == [2, 2, 3, 3]
    assert even_allocation(3, 0, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_exploring():
    random = np.random.default_rng(0)
    nobody = np.zeros(5, dtype=bool)
    # Fewer tasks than workers: one each, to some of them.
    assert sorted(exploring_allocation(np.zeros(5), nobody, 3, random).tolist()) == [0, 0, 1, 1, 1]
    assert sorted(exploring_allocation(np.zeros(5), nobody, 7, random).tolist()) == [1, 1, 1, 2, 2]
    # The unknown one first, then evenly over the two of score 0, known or not.
    found = exploring_allocation([0.0, 3.0, 0.0], [True, True, False], 5, random)
    assert found.tolist() == [2, 0, 3]
    assert exploring_allocation([1.0, 2.0], [True, True], 3, random).tolist() == [2, 1]


@pytest.mark.parametrize("scores", [[], [0.0], [-1.0], [math.nan], [math.inf], [[1.0]]])
def test_bad_scores(scores):
    with pytest.raises(ValueError, match="scores"):
        optimal_allocation(scores, 1)


def test_bad_tasks():
    with pytest.raises(ValueError, match="tasks"):
        optimal_allocation([1.0], -1)
    with pytest.raises(ValueError, match="two vectors without NaN"):
        exploring_allocation([1.0], [True, False], 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="allocation: shape"):
        proxy_loss([1, 2], [1.0])
