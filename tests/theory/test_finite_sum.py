"""The formulas of finite sums, of messages and of graphs: values of independent programs, brute force, limits."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from rayopt import theory
from rayopt.theory import communication, decentralized, finite_sum
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


class TestEquilibriumTime:
    @pytest.mark.parametrize(
        ("omega", "ratio", "h", "tau", "expected"),
        [
            (2, 2, [1, 2, 3], [0.5, 1, 0.25], 4.1660052186),
            (9, 1, [1, 1, 1, 1], [0.2, 0.4, 0.8, 1.6], 3.6835618873),
            (99, 10, [1, 1.5, 4, 9], [0.1, 0.3, 0.2, 2], 32.2052035850),
            (0, 5, [1, 2, 3], [1, 1, 1], 5.4545454545),
            (4, 0, [1, 2, 3], [1, 2, 4], 4.5714285714),
        ],
    )
    def test_values_of_an_independent_program(self, omega, ratio, h, tau, expected):
        assert theory.equilibrium_time(omega, ratio, h, tau) == pytest.approx(expected, rel=1e-9)

    def test_brute_force_over_j_on_1000_random_instances(self):
        generator = np.random.default_rng(0)
        for _ in range(1000):
            n = int(generator.integers(1, 12))
            h, tau = generator.lognormal(size=n, sigma=2), generator.lognormal(size=n, sigma=2)
            omega, ratio = float(generator.choice([0, 0.5, 7, 1000])), float(generator.choice([0, 0.1, 10, 1e4]))
            order = np.argsort(np.maximum(h, tau))
            brute = min(
                max(
                    np.maximum(h, tau)[order[j]],
                    communication._balance(omega, ratio, h[order[: j + 1]], tau[order[: j + 1]]),
                )
                for j in range(n)
            )
            assert theory.equilibrium_time(omega, ratio, h, tau) == pytest.approx(brute, rel=1e-9)

    @pytest.mark.parametrize(("omega", "ratio"), [(9, 3), (0.125, 100), (99, 0.5)])
    def test_closed_form_of_equal_workers(self, omega, ratio):
        n, h, tau = 50, 2.0, 0.3
        a = (omega * tau + h * ratio) / n
        closed = max(h, tau, a + math.sqrt(a**2 + 4 * tau * h * ratio * omega / n))
        assert theory.equilibrium_time(omega, ratio, [h] * n, [tau] * n) == pytest.approx(closed)

    def test_a_straggler_changes_nothing(self):
        finite = theory.equilibrium_time(9, 10, [1, 2], [1, 1])
        assert theory.equilibrium_time(9, 10, [1, 2, math.inf], [1, 1, 1]) == finite
        assert theory.equilibrium_time(9, 10, [1, 2, 1], [1, 1, math.inf]) == finite

    def test_a_million_workers_in_seconds(self):
        generator = np.random.default_rng(0)
        began = time.process_time()
        theory.equilibrium_time(7849, 100, generator.lognormal(size=10**6), generator.lognormal(size=10**6))
        assert time.process_time() - began < 5

    @pytest.mark.parametrize(
        "arguments", [(-1, 1, [1], [1]), (1, -1, [1], [1]), (1, 1, [-1], [1]), (1, 1, [1, 2], [1]), (1, 1, [], []),
                      (math.inf, 1, [1], [1])],
    )  # fmt: skip
    def test_what_is_not_allowed(self, arguments):
        with pytest.raises(NotAllowed):
            theory.equilibrium_time(*arguments)


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
