"""What is known of durations before they are drawn: the least one, quantiles, the probability of being in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latency_cases import ALL, LAWS, N, draws, same_bits, stream

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import MASK, UNIFORMS, Stream, ordered_uniforms, uniform


def test_all_uniforms_in_order():
    first, last = ordered_uniforms(np.array([0, UNIFORMS - 1])).tolist()
    assert (first, last) == (uniform(0), uniform(MASK))
    assert ordered_uniforms(np.array([12345]))[0] == uniform(12345 << 12)


@pytest.mark.parametrize("family", ALL, ids=repr)
class TestEveryLatency:
    def test_no_draw_is_below_the_least(self, family):
        bound = family.bind(N, stream(3))
        assert bound.least.shape == (N,)
        for number in range(300):
            assert (bound.durations(np.arange(N), np.full(N, number), 0.0) >= bound.least).all()
        with pytest.raises(ValueError, match="read-only"):
            bound.least[0] = 0.0

    def test_the_share_of_draws_in_time(self, family):
        bound = family.bind(N, stream())
        seconds = bound.quantile(0.7)
        probability = bound.probability_within(seconds)
        assert (probability >= 0.7 - 1e-12).all()
        count = 4000
        for worker in range(N):
            share = np.mean(draws(family, worker, count) <= seconds[worker])
            assert abs(share - probability[worker]) < 5 * math.sqrt(0.25 / count)

    def test_the_ends(self, family):
        bound = family.bind(N, stream())
        assert same_bits(bound.quantile(0.0), bound.least)
        assert (bound.probability_within(np.nextafter(bound.least, -1.0)) == 0.0).all()
        assert (bound.probability_within(bound.least) > 0.0).all()
        assert (bound.probability_within(np.full(N, math.inf)) == 1.0).all()
        assert (bound.probability_within(bound.quantile(1.0)) == 1.0).all()

    def test_cost_multiplies(self, family):
        bound = family.bind(N, stream())
        workers, numbers = np.arange(N), np.full(N, 4)
        tripled = bound.durations(workers, numbers, 0.0, 3.0)
        assert same_bits(tripled, 3.0 * bound.durations(workers, numbers, 0.0))
        assert same_bits(tripled, [bound.duration(worker, 4, 0.0, 3.0) for worker in range(N)])

    def test_what_is_no_probability(self, family):
        for wrong in (-0.1, 1.1, math.nan, True, "half"):
            with pytest.raises(InvalidInput, match=r"probability: .*from 0 to 1"):
                family.bind(N, stream()).quantile(wrong)


@pytest.mark.parametrize("name", LAWS)
def test_probabilities_and_quantiles_are_those_of_the_law(name):
    family, law = LAWS[name]
    bound = family.bind(N, stream())
    laws = [law(i) for i in range(1, N + 1)]
    for probability in (1e-3, 0.1, 0.5, 0.9, 1 - 1e-9):
        seconds = np.array([one.ppf(probability) for one in laws])
        np.testing.assert_allclose(bound.quantile(probability), seconds, rtol=1e-6)
        found = bound.probability_within(seconds)
        expected = np.array([one.cdf(seconds[worker]) for worker, one in enumerate(laws)])
        # A double at these seconds decides the probability to the density times its last bit.
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=2e-15)


def test_a_duration_that_is_equal_is_in_time():
    bound = lt.half_normal("i", "sqrt(i)").bind(N, stream())
    drawn = bound.durations(np.arange(N), np.zeros(N, dtype=np.int64), 0.0)
    rise = bound.probability_within(drawn) - bound.probability_within(np.nextafter(drawn, 0.0))
    assert (rise >= 2.0**-52).all()


def test_fixed():
    bound = lt.fixed([1, 2, math.inf]).bind(3, stream())
    assert bound.probability_within(np.array([1.0, 1.999, 1e300])).tolist() == [1.0, 0.0, 0.0]
    assert bound.quantile(0.5).tolist() == [1.0, 2.0, math.inf]
    assert bound.work_done(6.0).tolist() == [6.0, 3.0, 0.0]
    assert lt.zero().bind(2, stream()).work_done(6.0).tolist() == [math.inf, math.inf]


def test_permuted_workers_keep_their_law():
    plain = lt.uniform("i", "i + 1").bind(5, stream())
    mixed = lt.permuted(lt.uniform("i", "i + 1"), seed=2).bind(5, stream())
    order = np.argsort(np.argsort(mixed.expected))
    seconds = np.linspace(1.2, 5.8, 5)
    assert mixed.least.tolist() == plain.least[order].tolist()
    for worker in range(5):
        asked = np.full(5, seconds[worker])
        assert mixed.probability_within(asked)[worker] == plain.probability_within(asked)[order[worker]]
    assert same_bits(mixed.probability_within(seconds[order]), plain.probability_within(seconds)[order])


def test_durations_drawn_anew_are_no_power():
    for family in (lt.exponential(1), lt.permuted(lt.exponential(1))):
        with pytest.raises(InvalidInput, match="exponential: draws every duration anew"):
            family.bind(2, Stream(0, "compute")).work_done(1.0)
