"""The formulas of finite sums, of messages and of graphs: values of independent programs, brute force, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayopt import theory
from rayopt.theory import decentralized, finite_sum
from rayopt.theory.checks import NotAllowed

SQRT = np.sqrt(np.arange(1, 101))


class TestFiniteSums:
    @pytest.mark.parametrize(
        ("times", "S", "seconds"),
        [([1, 2, 3], 4, 3.8181818182), ([1, 1.5, 4, 9], 10, 6.7826086957), (SQRT, 245, 18.5587602217)],
    )
    def test_values_of_an_independent_program(self, times, S, seconds):
        assert theory.finite_sum_time(times, S) == pytest.approx(seconds, rel=1e-9)
        assert theory.finite_sum_time(list(reversed(list(times))), S) == pytest.approx(seconds, rel=1e-9)

    def test_equals_brute_force(self):
        generator = np.random.default_rng(0)
        for _ in range(100):
            times, S = np.sort(generator.lognormal(size=7)), float(generator.uniform(0, 30))
            brute = min((S + j) / np.sum(1 / times[:j]) for j in range(1, 8))
            assert theory.finite_sum_time(times, S) == pytest.approx(brute)

    def test_infinite_workers_contribute_nothing(self):
        assert theory.finite_sum_time([1, 2, math.inf], 5) == theory.finite_sum_time([1, 2], 5)

    def test_the_upper_is_at_most_twice_the_lower_bound_in_the_large_scale_regime(self):
        generator = np.random.default_rng(1)
        for _ in range(200):
            workers = int(generator.integers(1, 20))
            components = int(generator.integers(workers**2, workers**2 + 1000))
            times, iterations = generator.lognormal(size=workers, sigma=2), float(10 ** generator.uniform(0, 6))
            assert finite_sum.is_large_scale(times, components)
            ratio = finite_sum.freya_page(times, components, iterations) / finite_sum.lower_bound(
                times, components, iterations
            )
            assert 0.5 <= ratio <= 2.0000001

    def test_parameters(self):
        assert finite_sum.page_parameters(10_000) == (100, 0.01)
        size, chance = finite_sum.page_parameters_of_times(SQRT, 10_000, 1.0, 1.0)
        full, batch = theory.finite_sum_time(SQRT, 10_000), theory.finite_sum_time(SQRT, size)
        assert chance == pytest.approx(batch / (batch + full))
        assert finite_sum.page_step_size(2.0, 0.0, (10, 0.5)) == 0.5
        assert finite_sum.page_step_size(1.0, 1.0, (1, 0.5)) == 0.5

    def test_the_explicit_time_by_hand(self):
        # One worker of a second: t(S) = S + 1, q = 1 and q ln q = 0, so T = 12 (m + 1).
        assert finite_sum.gradient_time([1.0], 9) == 120
        assert finite_sum.total_time([1.0], 9, 10, (3, 0.25)) == 120 + 10 * (0.25 * 120 + 0.75 * 4 * 4)
        assert finite_sum.total_time([1.0], 9, 10, (3, 0.25), difference=2) == 120 + 10 * (0.25 * 120 + 0.75 * 2 * 4)
        # 2 / 0.1 (1 + 2 sqrt(0.75 / 0.75)) = 60
        assert finite_sum.iterations_of(1.0, 2.0, (3, 0.25), 1.0, 0.1) == 60

    @pytest.mark.parametrize(
        ("times", "S"), [([], 1), ([0], 1), ([-1, 2], 1), ([math.nan], 1), ([1], -1), ([1], math.nan)]
    )
    def test_what_is_not_allowed(self, times, S):
        with pytest.raises(NotAllowed):
            theory.finite_sum_time(times, S)


class TestDecentralizedEquilibriumTime:
    def test_value_of_an_independent_program(self):
        assert theory.decentralized_equilibrium_time(4, [1, 1.7, 2.3], [0.82, 0, 1.34]) == pytest.approx(2.3)

    def test_equals_brute_force(self):
        generator = np.random.default_rng(2)
        for _ in range(200):
            n, S = int(generator.integers(1, 9)), float(generator.uniform(0, 20))
            h, mu = generator.lognormal(size=n), generator.lognormal(size=n)
            order = np.argsort(np.maximum(h, mu))
            brute = [max(np.maximum(h, mu)[order[k]], S / np.sum(1 / h[order[: k + 1]])) for k in range(n)]
            assert theory.decentralized_equilibrium_time(S, h, mu) == pytest.approx(min(brute))
            assert len(decentralized.contributors(S, h, mu)) == int(np.argmin(brute)) + 1

    def test_without_distances_far_workers_contribute_only_if_they_pay(self):
        assert decentralized.contributors(2, [1, 1, 1], [0, 0, 50]).tolist() == [0, 1]

    @pytest.mark.parametrize("arguments", [(-1, [1], [0]), (1, [0], [0]), (1, [1], [-1]), (1, [1, 2], [0])])
    def test_what_is_not_allowed(self, arguments):
        with pytest.raises(NotAllowed):
            theory.decentralized_equilibrium_time(*arguments)
