"""How many trials each worker makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt.theory.trials import mindflayer_trials, trial_set_times, vecna_trials

FIVE = 1 + np.sqrt(np.arange(1, 6))
HALF = [0.5] * 5


def test_reference_numbers():
    assert trial_set_times(FIVE, HALF, 10.0) == pytest.approx([42.0, 24.064, 17.965, 14.874, 13.003], abs=5e-4)
    found = mindflayer_trials(FIVE, HALF, 10.0)
    assert (found.counts.tolist(), found.expected) == ([6, 5, 4, 4, 4], 11.5)
    found = mindflayer_trials(FIVE, HALF, 1.0)
    assert found.seconds == pytest.approx(3.6409, abs=5e-5)
    assert (found.counts.tolist(), found.expected) == ([1, 1, 1, 1, 1], 2.5)


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.01, 1.0)), min_size=1, max_size=10),
    st.floats(0, 1e3),
    st.randoms(),
)
def test_probabilities_move_with_their_workers(workers, ratio, random):
    order = random.sample(range(len(workers)), len(workers))
    times, probabilities = np.array(workers).T
    found, moved = (mindflayer_trials(times[o], probabilities[o], ratio) for o in (np.arange(len(workers)), order))
    assert moved.seconds == pytest.approx(found.seconds)
    # Workers with equal times may trade places at the edge of the chosen set.
    if len(set(times)) == len(times):
        assert moved.counts.tolist() == found.counts[order].tolist()
    assert found.expected >= max(ratio, 1.0) * (1 - 1e-6)


def test_a_worker_that_never_answers_or_never_succeeds_is_left_alone():
    assert mindflayer_trials([1.0, math.inf], [1.0, 1.0], 5.0).counts.tolist() == [5, 0]
    with pytest.raises(ValueError, match="no worker ever succeeds"):
        mindflayer_trials([1.0, math.inf], [0.0, 1.0], 5.0)


def test_vecna_tries_with_everyone():
    found = vecna_trials([1.0, 4.0], [1.0, 0.5], 0.0)
    assert found.counts.tolist() == [4, 1]
    # T = 4 + 8 / 2 * (1 + 8) / 2 = 22
    assert vecna_trials([1.0, 4.0], [1.0, 0.5], 8.0).counts.tolist() == [22, 6]
    with pytest.raises(ValueError, match="never succeeds"):
        vecna_trials([1.0, 4.0], [1.0, 0.0], 1.0)
