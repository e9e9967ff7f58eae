"""Compressors: unbiased, of the variance, the contraction and the size that they say, and decoded as encoded."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt.compression import COMPRESSORS, FLOAT_BITS, ErrorFeedback, compressor
from rayopt.compression.packing import pack, pack_elias, unpack, unpack_elias
from rayopt.compression.sketched import rotate, rotate_back

c = ro.compressors
D = 24
ALL = [
    c.RandK(1), c.RandK(5), c.RandK(D), c.RandKStream(1), c.RandKStream(5), c.PermK(), c.PermK(4), c.PermK(4, 2),
    c.PermK(7, 3), c.PermK(2 * D, 5), c.PermK(D + 5, 5), c.BernoulliSampling(0.3), c.UnbiasedTop1(), c.Natural(),
    c.QSGD(1), c.QSGD(4), c.CORE(3), c.RotatedQuantisation(1), c.RotatedQuantisation(4),
    c.Composition(c.RandK(6), c.Natural()), c.Composition(c.PermK(4, 1), c.QSGD(2)), c.Identity(), c.TopK(3), c.TopK(D),
    c.ScaledRandK(3),
]  # fmt: skip
UNBIASED = [kind for kind in ALL if kind.unbiased]
NORMAL = np.random.default_rng(0).normal(size=(4, D))
ADVERSARIAL = {
    "one coordinate": np.eye(1, D)[0] * 3,
    "all alike": np.ones(D),
    "geometric": 0.5 ** np.arange(D),
    "just above a power of two": np.full(D, 1.5),
    "normal": NORMAL[0],
    "heavy": np.sign(NORMAL[1]) * np.exp(3 * NORMAL[2]),
    "tiny and huge": np.r_[1e-30, 1e20, np.zeros(D - 2)],
}


def draws(kind, x, count):
    return np.array([kind.compress(x, kind.key_of(key, 0)) for key in range(count)])


@pytest.mark.parametrize("kind", UNBIASED, ids=repr)
def test_unbiased(kind):
    x = ADVERSARIAL["normal"]
    found = draws(kind, x, 4000)
    error = found.std(axis=0) / math.sqrt(len(found))
    # 24 coordinates of 25 compressors: 4 standard errors would fail one in ten times, but the keys are fixed.
    assert (np.abs(found.mean(axis=0) - x) <= 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("vector", ADVERSARIAL)
@pytest.mark.parametrize("kind", UNBIASED, ids=repr)
def test_variance_is_at_most_omega(kind, vector):
    x = ADVERSARIAL[vector]
    squares = ((draws(kind, x, 1000) - x) ** 2).sum(axis=1)
    allowed = kind.omega(D) * (x @ x)
    assert squares.mean() <= allowed + 4.5 * squares.std() / math.sqrt(len(squares)) + 1e-9 * (x @ x)


@pytest.mark.parametrize("vector", ADVERSARIAL)
@pytest.mark.parametrize("kind", [c.TopK(3), c.TopK(1), c.TopK(D), c.ScaledRandK(3)], ids=repr)
def test_biased_ones_contract(kind, vector):
    x = ADVERSARIAL[vector]
    squares = ((draws(kind, x, 2000) - x) ** 2).sum(axis=1)
    error = squares.std() / math.sqrt(len(squares))
    assert squares.mean() <= (1 - kind.alpha(D)) * (x @ x) + 4.5 * error + 1e-9 * (x @ x)
    with pytest.raises(ro.InvalidInput, match="is biased and has no omega"):
        kind.omega(D)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_encode_and_decode_are_inverse(kind, dtype):
    for given in (*ADVERSARIAL.values(), NORMAL, np.zeros(D)):
        x = given.astype(dtype)
        for key in range(20):
            own = kind.key_of(key, 3)
            sent = kind.encode(x, own)
            assert kind.decode(sent, own, x.shape, x.dtype).tobytes() == kind.compress(x, own).tobytes()


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_a_grid_has_the_bits_of_its_members(kind):
    together = kind.compress(NORMAL, kind.key_of(9, 0))
    assert together.shape == NORMAL.shape
    for row, alone in zip(together, NORMAL, strict=True):
        assert row.tobytes() == kind.compress(alone, kind.key_of(9, 0)).tobytes()


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_a_sum_of_messages_is_their_sum(kind):
    messages = np.array([0, 1, 2, 5, 11])
    expected = sum(kind.compress(NORMAL, kind.key_of(77, int(message))) for message in messages)
    np.testing.assert_allclose(kind.sum(NORMAL, 77, messages), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "floats", "bits"),
    [
        (c.RandK(5), 5, 320), (c.RandKStream(5), 5, 320), (c.PermK(4), 6, 384), (c.PermK(7), 4, 256),
        (c.PermK(2 * D), 1, 64), (c.TopK(3), 3, 3 * (64 + 5)), (c.UnbiasedTop1(), 1, 64 + 5),
        (c.Natural(), None, 9 * D),
        (c.CORE(3), 3, 192), (c.Identity(), D, 64 * D), (c.RotatedQuantisation(4), None, 128 + 4 * 32),
        (c.Composition(c.RandK(6), c.Natural()), None, 54),
    ],
    ids=repr,
)  # fmt: skip
def test_sizes(kind, floats, bits):
    """What travels is what was counted, to the byte."""
    assert kind.bits(D) == bits
    assert kind.floats(D) == (bits / FLOAT_BITS if floats is None else floats)
    if kind in (c.PermK(7), c.RandKStream(5)):  # Their blocks differ by a coordinate.
        assert len(kind.encode(NORMAL[0], 5)) in (bits // 8, bits // 8 - 8)
    else:
        assert len(kind.encode(NORMAL[0], 5)) == math.ceil(bits / 8)
        assert len(kind.encode(NORMAL[0].astype("float32"), 5)) == math.ceil(kind.bits(D, 32) / 8)


def test_floats_of_32_bits_take_half(tmp_path):
    """Counted bits, and the seconds of a link that are told by the bit; those told by the float stay."""
    methods = [
        ro.methods.Rennala(0.1, batch_size=2),
        ro.methods.EF21(0.1, c.TopK(10)),
        ro.methods.DCGD(0.1, c.RandK(10)),
    ]
    found = {}
    for link in ("per_bit", "per_float"):
        workers = ro.Workers(3, 1.0, upload=ro.Link(**{link: 0.001}))
        for dtype in ("float64", "float32"):
            problem = ro.problems.LogisticRegression.digits(batch=4, dtype=dtype)
            result = ro.run(methods, problem, workers, until=ro.Until(updates=4), force=True)
            table = result.table.set_index("label")
            found[link, dtype] = table.bits_up.to_dict(), table.time.to_dict()
    d, index = 650, 10
    for link in ("per_bit", "per_float"):
        (bits, seconds), (half, faster) = found[link, "float64"], found[link, "float32"]
        assert bits["Rennala"] == 2 * half["Rennala"]
        assert bits["DCGD"] == 2 * half["DCGD"]
        assert bits["EF21"] * (32 + index) == half["EF21"] * (64 + index)
        if link == "per_bit":
            assert seconds["DCGD"] == pytest.approx(4 * (1 + 0.64))
            assert faster["DCGD"] == pytest.approx(4 * (1 + 0.32))
            assert seconds["Rennala"] - faster["Rennala"] >= 4 * 0.032 * d / 4
        else:
            assert seconds["DCGD"] == faster["DCGD"]
            assert seconds["Rennala"] == faster["Rennala"]


def test_a_compressor_of_another_package_may_know_64_bits_alone():
    class Halved(c.Identity):
        def bits(self, dimension):
            return 64 * dimension

        def decode(self, message, key, shape):
            return super().decode(message, key, shape)

    problem, workers = ro.problems.Quadratic(6), ro.Workers(2, 1.0, upload=ro.Link(per_float=0.1))
    result = ro.run(ro.methods.DCGD(0.1, Halved()), problem, workers, until=ro.Until(updates=3), force=True)
    assert result.table.bits_up.tolist() == [2 * 3 * 64 * 6]


@pytest.mark.parametrize("levels", [1, 2, 5, 50])
def test_the_bound_of_qsgd_holds_on_average(levels):
    kind = c.QSGD(levels)
    for x in (NORMAL[0], np.ones(D), ADVERSARIAL["geometric"]):
        measured = np.mean([8 * len(kind.encode(x, key)) for key in range(200)])
        assert measured <= kind.bits(D) + 16  # Codes and signs are padded to whole bytes.


@pytest.mark.parametrize("workers", [1, 2, 4, 7, 24, 29, 48])
def test_perm_k_averages_to_the_vector(workers):
    for key in range(20):
        mean = np.mean([c.PermK().of(worker, workers).compress(NORMAL, key) for worker in range(workers)], axis=0)
        np.testing.assert_allclose(mean, NORMAL, rtol=1e-12)


def test_a_stream_of_messages_brings_the_value_exactly():
    for k, count in [(5, 5), (24, 1), (7, 4), (1, 24)]:
        np.testing.assert_allclose(c.RandKStream(k).sum(NORMAL, 3, np.arange(count)) / count, NORMAL, rtol=1e-12)
    assert c.RandKStream(5).omega_of_mean(24, 2) == 1.5
    assert c.RandKStream(5).omega_of_mean(24, 9) == 0
    x = NORMAL[0]
    means = np.array([c.RandKStream(5).sum(x, key, np.arange(2)) / 2 for key in range(3000)])
    squares = ((means - x) ** 2).sum(axis=1)
    assert squares.mean() == pytest.approx(1.5 * (x @ x), rel=0.1)


def test_supports_are_of_the_key_alone():
    kind = c.RandK(3)
    assert (kind.compress(NORMAL[0], 4) != 0).tolist() == (kind.compress(NORMAL[1], 4) != 0).tolist()
    assert (kind.compress(NORMAL[0], 4) != 0).tolist() != (kind.compress(NORMAL[0], 5) != 0).tolist()


def test_the_rotation_keeps_lengths_and_turns_back():
    rotated = rotate(NORMAL, 3)
    np.testing.assert_allclose((rotated**2).sum(axis=1), (NORMAL**2).sum(axis=1))
    np.testing.assert_allclose(rotate_back(rotated, 3, D), NORMAL)


def test_packing():
    numbers = np.array([0, 5, 31, 17, 1])
    assert len(pack(numbers, 5)) == 4
    assert unpack(pack(numbers, 5), 5, 5).tolist() == numbers.tolist()
    codes = np.array([1, 2, 3, 4, 9, 1000, 1])
    found, bits = unpack_elias(pack_elias(codes), 7)
    assert found.tolist() == codes.tolist()
    assert bits == sum(2 * int(code).bit_length() - 1 for code in codes)


def test_error_feedback_loses_nothing():
    memory, total = ErrorFeedback(c.TopK(2), D), np.zeros(D)
    for key, x in enumerate(NORMAL):
        total += memory.compress(x, key)
    np.testing.assert_allclose(total + memory.error, NORMAL.sum(axis=0))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rand", "compressor.name: 'rand' is unknown .did you mean 'rand_k'"),
        (5, "compressor: 5 is not a compressor"),
        ({"k": 1}, "compressor: .* is not a compressor"),
        ("rand_k", "compressor.k: missing: rand_k needs it"),
        ({"name": "rand_k", "k": 0}, "compressor.k: 0"),
        ({"name": "rand_k", "k": 1, "s": 2}, "compressor.s: unknown"),
        ({"name": "qsgd", "levels": 0}, "compressor.levels: 0"),
        ({"name": "natural", "k": 1}, "compressor.k: unknown.* nothing: natural has no parameters"),
        ({"name": "bernoulli", "probability": 1.5}, "compressor.probability: 1.5 is above 1"),
        ({"name": "rotated_quantisation", "bits_per_coordinate": 40}, "compressor.bits_per_coordinate: 40"),
        ({"name": "composition", "first": "natural", "second": "natural"}, "compressor.first: Natural.* has no"),
        ({"name": "composition", "first": {"name": "rand_k"}, "second": "natural"}, "compressor.first.k: missing"),
        ({"name": "composition", "first": {"name": "rand_k", "k": 2}, "second": {"name": "top_k", "k": 1}},
         "compressor.second: TopK.* is biased"),
    ],
)  # fmt: skip
def test_bad_input(config, message):
    with pytest.raises(ro.InvalidInput, match=message):
        compressor(config)


def test_k_above_the_dimension():
    for kind in (c.RandK(30), c.TopK(30), c.RandKStream(30), c.ScaledRandK(30)):
        with pytest.raises(ro.InvalidInput, match="k: 30 of 24 coordinates; allowed: an integer from 1 to 24"):
            kind.check(D)


def test_a_workload_says_it_and_gets_it_back():
    for kind in ALL:
        assert compressor(kind.to_config()) == kind
    assert {type(kind) for kind in ALL} == set(COMPRESSORS.values())


@pytest.mark.parametrize("kind", ["dense", "zeros", "ties", "heavy tails", "periodic"])
def test_top_k_keeps_the_largest_of_equal_ones_the_first(kind):
    random = np.random.default_rng(0)
    for size, k in [(1, 1), (50, 7), (20_000, 1), (20_000, 200), (20_000, 15_000), (50_000, 500)]:
        x = {
            "dense": random.normal(size=size),
            "zeros": np.zeros(size),
            "ties": np.round(random.normal(size=size), 1),
            "heavy tails": random.standard_cauchy(size),
            # What stands at every 64th place tells nothing of the others.
            "periodic": np.where(np.arange(size) % 64 == 0, 1e-9, random.normal(size=size)),
        }[kind]
        expected = np.zeros(size)
        kept = np.argsort(-np.abs(x), kind="stable")[:k]
        expected[kept] = x[kept]
        np.testing.assert_array_equal(c.TopK(k).compress(x, 0), expected)
        np.testing.assert_array_equal(c.TopK(k).decode(c.TopK(k).encode(x, 0), 0, x.shape), expected)


def test_top_k_of_what_is_not_finite_keeps_as_many():
    x = np.random.default_rng(0).normal(size=50_000)
    x[[3, 4_000]] = np.nan, np.inf
    found = c.TopK(500).compress(x, 0)
    assert np.count_nonzero(found) == 500
    assert np.isinf(found[4_000])
