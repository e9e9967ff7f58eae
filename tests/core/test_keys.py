"""The hash behind every random number: uniform, independent, the same bits one by one and all at once."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from scipy import stats

from rayopt.core import keys
from rayopt.core.keys import (
    MASK,
    NormalVectors,
    Stream,
    all_below,
    below,
    distinct_below,
    mix,
    mix_many,
    subkey,
    subkeys,
    uniform,
    uniforms,
)

# Each statistical test is one fixed draw: it fails for a bad hash, and never by chance later.
LEAST_P = 1e-3
M = 20_000


def keys_along(axis: str, seed: int = 0, purpose: str = "sample") -> np.ndarray:
    """Keys of M workers at task 3, or of M tasks of worker 3, or of a square of both."""
    stream = Stream(seed, purpose)
    running, fixed = np.arange(M), np.full(M, 3)
    if axis == "workers":
        return stream.keys(running, fixed)
    if axis == "numbers":
        return stream.keys(fixed, running)
    if axis == "subkeys":
        return subkeys(np.array([stream.key(3, 3)], dtype=np.uint64), M)[0]
    return stream.keys(running // 100, running % 100)


AXES = ["workers", "numbers", "both", "subkeys"]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("seed", [0, 1, -5, 2**70])
def test_uniform_by_kolmogorov_smirnov(axis, seed):
    assert stats.kstest(uniforms(keys_along(axis, seed)), "uniform").pvalue > LEAST_P


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("shift", [0, 20, 40, 56])
def test_every_byte_is_uniform_by_chi_square(axis, shift):
    values = (keys_along(axis) >> np.uint64(shift)).astype(np.uint8)
    assert stats.chisquare(np.bincount(values, minlength=256)).pvalue > LEAST_P


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("lag", [1, 2, 100])
def test_neighbours_are_independent(axis, lag):
    u = uniforms(keys_along(axis))
    pairs = np.histogram2d(u[:-lag], u[lag:], bins=10, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(pairs.ravel()).pvalue > LEAST_P


def test_integers_below_a_bound_are_uniform():
    drawn = all_below(keys_along("both"), 37)
    assert drawn.min() == 0
    assert drawn.max() == 36
    assert stats.chisquare(np.bincount(drawn)).pvalue > LEAST_P


def test_one_flipped_bit_flips_half_of_the_others():
    states = np.array([mix(i) for i in range(2000)], dtype=np.uint64)
    for bit in range(64):
        changed = mix_many(states) ^ mix_many(states ^ np.uint64(1 << bit))
        flips = np.unpackbits(changed.view(np.uint8).reshape(-1, 8), axis=1)
        assert abs(flips.mean() - 0.5) < 0.01
        assert np.abs(flips.mean(axis=0) - 0.5).max() < 0.06


def test_no_two_addresses_share_a_key():
    assert len(np.unique(keys_along("both"))) == M
    assert len(np.unique(np.concatenate([keys_along("workers"), keys_along("numbers")]))) == 2 * M - 1


def test_seeds_and_purposes_are_independent():
    drawn = [uniforms(keys_along("both", seed, purpose)) for seed in (0, 1) for purpose in ("sample", "compute")]
    for first, second in itertools.combinations(drawn, 2):
        assert not np.any(first == second)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(M)


def test_scalar_and_vector_give_the_same_bits():
    stream = Stream(7, "sample")
    workers = np.array([0, 1, 2, 9_999, 3, 3])
    numbers = np.array([0, 0, 5, 123_456_789, 1, 2])
    keys = stream.keys(workers, numbers)
    assert keys.tolist() == [stream.key(int(w), int(k)) for w, k in zip(workers, numbers, strict=True)]
    assert uniforms(keys).tolist() == [uniform(int(key)) for key in keys]
    for bound in (1, 2, 60_000, 2**39):
        assert all_below(keys, bound).tolist() == [below(int(key), bound) for key in keys]
    assert subkeys(keys, 4).tolist() == [[subkey(int(key), j) for j in range(4)] for key in keys]


def test_keys_of_workers_that_come_later_are_the_same():
    stream = Stream(3, "sample")
    for workers in ([2], [0, 40, 7], [5000, 1]):
        keys = stream.keys(np.array(workers), np.full(len(workers), 6))
        assert keys.tolist() == [stream.key(worker, 6) for worker in workers]


def test_extreme_keys_stay_inside():
    for key in (0, MASK):
        assert 0.0 < uniform(key) < 1.0
        assert 0 <= below(key, 10) < 10


def test_generator_is_a_function_of_seed_and_purpose():
    first, again = (Stream(3, "partition").generator().random(5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, Stream(3, "method").generator().random(5))


class TestNormalVectors:
    def test_a_vector_depends_on_its_key_alone(self):
        keys = [0, 1, 2**63, MASK - 1, MASK]
        forward, backward = NormalVectors(), NormalVectors()
        drawn = {key: forward.draw(key, 101) for key in keys}
        for key in reversed(keys):
            backward.draw(key ^ 1, 7)
            np.testing.assert_array_equal(backward.draw(key, 101), drawn[key])

    def test_a_numpy_key_is_the_same_key(self):
        normals = NormalVectors()
        for key in (5, MASK - 2):
            np.testing.assert_array_equal(normals.draw(np.uint64(key), 9), normals.draw(key, 9))

    def test_a_vector_is_new_memory(self):
        normals = NormalVectors()
        assert not np.shares_memory(normals.draw(1, 9), normals.draw(1, 9))

    def test_standard_normal(self):
        assert stats.kstest(NormalVectors().draw(11, M), "norm").pvalue > LEAST_P

    def test_the_same_coordinate_of_many_keys_is_standard_normal(self):
        normals, stream = NormalVectors(), Stream(0, "sample")
        firsts = [normals.draw(stream.key(0, k), 1)[0] for k in range(5000)]
        assert stats.kstest(firsts, "norm").pvalue > LEAST_P

    @pytest.mark.parametrize("other", [1, 1 << 63, 12345])
    def test_vectors_of_different_keys_are_uncorrelated(self, other):
        normals = NormalVectors()
        correlation = np.corrcoef(normals.draw(MASK ^ other, M), normals.draw(MASK, M))[0, 1]
        assert abs(correlation) < 4 / np.sqrt(M)


class TestDistinct:
    def test_are_distinct_and_below_their_bounds(self):
        keys = subkeys(np.arange(300, dtype=np.uint64), 7)
        bounds = np.resize([7, 8, 1000], 300)
        drawn = distinct_below(keys, bounds)
        assert all(len(set(row)) == 7 for row in drawn.tolist())
        assert (drawn >= 0).all()
        assert (drawn < bounds[:, None]).all()
        assert np.array_equal(np.sort(drawn[0]), np.arange(7))

    def test_a_row_has_the_same_bits_alone(self):
        keys = subkeys(np.arange(50, dtype=np.uint64), 5)
        drawn = distinct_below(keys, 9)
        for position in range(50):
            assert np.array_equal(distinct_below(keys[position : position + 1], 9)[0], drawn[position])

    def test_every_subset_is_as_likely(self):
        keys = subkeys(Stream(0, "sample").keys_of(0, 0, 20_000), 2)
        drawn = np.sort(distinct_below(keys, 5), axis=1)
        counts = np.bincount(drawn[:, 0] * 5 + drawn[:, 1])
        counts = counts[counts > 0]
        assert len(counts) == 10
        # chi-squared with 9 degrees of freedom: 27.9 at 0.001.
        assert np.square(counts - 2000).sum() / 2000 < 27.9


def test_long_draws_survive_a_way_through_shared_memory():
    """Arrays out of Ray's object store are read-only; a generator that travelled must not hold any."""
    for kind in (keys.NormalVectors(), keys.Permutations()):
        buffers = []
        sent = pickle.dumps(kind, protocol=5, buffer_callback=buffers.append)
        there = pickle.loads(sent, buffers=[bytes(buffer.raw()) for buffer in buffers])
        assert there.draw(5, 9).tolist() == kind.draw(5, 9).tolist()
