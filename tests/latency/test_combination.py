"""Mixtures over tasks and groups of workers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latency_cases import N, draws, same_bits, stream
from scipy import stats

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput


class TestMixture:
    def test_the_law_is_the_weighted_one(self):
        family = lt.mixture([lt.exponential("i"), lt.uniform(5, 6)], weights=[3, 1])

        def cdf(seconds):
            return 0.75 * stats.expon.cdf(seconds, scale=3) + 0.25 * stats.uniform.cdf(seconds, 5, 1)

        assert stats.kstest(draws(family, 2, 20_000), cdf).pvalue > 1e-3
        bound = family.bind(N, stream())
        seconds = np.array([0.1, 1, 2, 5.5, 8, 50])
        assert bound.probability_within(seconds)[2] == pytest.approx(0.75 * stats.expon.cdf(2, scale=3))
        assert bound.expected[2] == 0.75 * 3 + 0.25 * 5.5
        assert cdf(bound.quantile(0.3)[2]) == pytest.approx(0.3, rel=1e-12)

    def test_the_pick_does_not_depend_on_the_draw(self):
        """Among the tasks of one part, its durations have their own law in full."""
        family = lt.mixture([lt.uniform(1, 2), lt.uniform(3, 4)], weights=[0.3, 0.7])
        durations = draws(family, 0, 20_000)
        low = durations[durations < 2.5]
        assert stats.binomtest(len(low), 20_000, 0.3).pvalue > 1e-3
        assert stats.kstest(low, stats.uniform(1, 1).cdf).pvalue > 1e-3
        assert stats.kstest(durations[durations > 2.5], stats.uniform(3, 1).cdf).pvalue > 1e-3

    def test_nested_picks_are_independent(self):
        inner = [lt.mixture([lt.fixed(1), lt.fixed(2)]), lt.mixture([lt.fixed(3), lt.fixed(4)])]
        counts = np.bincount(draws(lt.mixture(inner), 0, 20_000).astype(int))[1:]
        assert stats.chisquare(counts).pvalue > 1e-3

    def test_picks_change_from_task_to_task_and_worker_to_worker(self):
        family = lt.mixture([lt.fixed(1), lt.fixed(2)])
        first, second = draws(family, 0, 2000), draws(family, 1, 2000)
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
        assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.1

    def test_what_is_never_picked_does_not_count(self):
        bound = lt.mixture([lt.fixed(2), lt.levy(1), lt.fixed(1)], weights=[1, 0, 0]).bind(2, stream())
        assert bound.expected.tolist() == bound.least.tolist() == [2.0, 2.0]
        assert bound.probability_within(np.array([1.9, 2.0])).tolist() == [0.0, 1.0]

    @pytest.mark.parametrize(
        "weights", [[1], [1, 2, 3], [0, 0], [1, -1], [1, math.nan], [1, math.inf], "12", 3, [1, True]]
    )
    def test_weights(self, weights):
        with pytest.raises(InvalidInput, match="weights"):
            lt.mixture([lt.fixed(1), lt.fixed(2)], weights)

    @pytest.mark.parametrize("parts", [[], "i", None, 3, lt.fixed(1)])
    def test_parts(self, parts):
        for make in (lt.mixture, lt.groups):
            with pytest.raises(InvalidInput, match=r"parts: .*a list of at least one latency"):
                make(parts)
            with pytest.raises(InvalidInput, match=r"parts\[1\]: 'i' is not a latency"):
                make([lt.fixed(1), "i"])


class TestGroups:
    def test_worker_i_has_the_latency_in_turn(self):
        parts = [lt.exponential("i"), lt.uniform("i", "i + 1"), lt.fixed("i")]
        together = lt.groups(parts).bind(N, stream())
        alone = [part.bind(N, stream()) for part in parts]
        for worker in range(N):
            own = alone[worker % 3]
            assert together.duration(worker, 5, 0.0) == own.duration(worker, 5, 0.0)
            assert together.expected[worker] == own.expected[worker]
            assert together.quantile(0.3)[worker] == own.quantile(0.3)[worker]

    def test_the_heterogeneous_groups_of_ata(self):
        """Five families in turn, the means of a group of five equal: 58 (5 g + 1)."""
        mean = "58 * (5 * floor((i - 1) / 5) + 1)"
        family = lt.groups([lt.exponential(f"{mean} / 2", base=f"{mean} / 2"), lt.uniform(0, f"2 * {mean}"),
                            lt.half_normal(0, f"{mean} * 1.2533141373155"),
                            lt.lognormal(f"{mean} / exp(0.5)", 1), lt.gamma(2, f"{mean} / 2")])  # fmt: skip
        expected = np.repeat([58.0, 348.0, 638.0], 5)
        np.testing.assert_allclose(family.bind(15, stream()).expected, expected, rtol=1e-12)

    def test_fixed_stays_fixed(self):
        bound = lt.groups([lt.fixed("i"), lt.fixed(7)]).bind(4, stream())
        assert bound.fixed.tolist() == [1.0, 7.0, 3.0, 7.0]
        assert bound.work_done(21.0).tolist() == [21.0, 3.0, 7.0, 3.0]
        assert same_bits(bound.durations(np.arange(4), np.arange(4), 0.0), bound.fixed)

    def test_more_latencies_than_workers(self):
        assert lt.groups([lt.fixed(1), lt.fixed(2)]).bind(1, stream()).expected.tolist() == [1.0]


class TestConfig:
    def test_forms(self):
        config = {
            "name": "mixture",
            "parts": [{"name": "exponential", "mean": "i"}, 3, "sqrt(i)"],
            "weights": [1, 1, 2],
        }
        assert lt.latency(config) == lt.mixture([lt.exponential("i"), lt.fixed(3), lt.fixed("sqrt(i)")], [1, 1, 2])
        assert lt.latency({"name": "groups", "parts": [1, 2]}) == lt.groups([lt.fixed(1), lt.fixed(2)])

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"name": "groups", "parts": [1, {"name": "levy"}]}, r"parts\[1\]\.scale: missing"),
            ({"name": "mixture", "parts": [{"name": "lev", "scale": 1}]}, r"parts\[0\]\.name: 'lev' is unknown"),
            ({"name": "mixture", "parts": 3}, "parts: 3 is not a list of latencies"),
            ({"name": "groups"}, "parts: missing"),
        ],
    )
    def test_errors(self, config, message):
        with pytest.raises(InvalidInput, match=message):
            lt.latency(config)

    def test_an_error_at_binding_names_the_part(self):
        with pytest.raises(InvalidInput, match=r"parts\[1\]\.times: 2 values for 3 workers"):
            lt.groups([lt.fixed(1), lt.fixed([1, 2])]).bind(3, stream())
