from __future__ import annotations

import pickle
import shutil
from typing import Any

import numpy as np
import pytest
import yaml
from latency_cases import ALL, FILE, LAWS, RANDOM, N, draws, same_bits, stream
from scipy import stats

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream


@pytest.mark.parametrize("family", ALL, ids=repr)
class TestContract:
    def test_one_has_the_bits_of_many(self, family: lt.Latency) -> None:
        bound = family.bind(N, stream(7))
        workers, numbers = (grid.ravel() for grid in np.meshgrid(np.arange(N), np.arange(300)))
        many = bound.durations(workers, numbers, 0.0)
        one = [
            bound.duration(worker, number, 0.0)
            for worker, number in zip(workers.tolist(), numbers.tolist(), strict=True)
        ]
        assert all(type(duration) is float for duration in one)
        assert many.shape == (N * 300,)
        assert many.dtype == np.float64
        assert same_bits(one, many)

    def test_order_does_not_matter(self, family: lt.Latency) -> None:
        forward = family.bind(N, stream())
        backward = family.bind(N, stream())
        pairs = [(worker, number) for number in range(20) for worker in range(N)]
        expected = {pair: forward.duration(*pair, 0.0) for pair in pairs}
        assert {pair: backward.duration(*pair, 3.5) for pair in reversed(pairs)} == expected

    def test_fixed_and_expected(self, family: lt.Latency) -> None:
        bound = family.bind(N, stream())
        assert bound.expected.shape == (N,)
        if bound.fixed is not None:
            assert same_bits(bound.fixed, bound.durations(np.arange(N), np.arange(N), 9.0))
            assert same_bits(bound.fixed, bound.expected)
            with pytest.raises(ValueError, match="read-only"):
                bound.fixed[0] = 1

    def test_config_round_trip(self, family: lt.Latency) -> None:
        config = family.to_config()
        assert config["name"] in lt.LATENCIES
        copy = lt.latency(yaml.safe_load(yaml.safe_dump(config)))
        assert copy == family
        assert hash(copy) == hash(family)
        assert repr(copy) == repr(family)
        assert copy.to_config() == config

    def test_pickle(self, family: lt.Latency) -> None:
        assert pickle.loads(pickle.dumps(family)) == family
        bound = family.bind(N, stream(2))
        copy = pickle.loads(pickle.dumps(bound))
        workers = np.arange(N)
        assert same_bits(copy.durations(workers, workers, 0.0), bound.durations(workers, workers, 0.0))

    def test_workers_and_streams(self, family: lt.Latency) -> None:
        for workers in (0, -1, 1.5):
            with pytest.raises(InvalidInput):
                family.bind(workers, stream())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("worker", [0, N - 1])
def test_kolmogorov_smirnov(name: str, worker: int) -> None:
    family, law = LAWS[name]
    assert stats.kstest(draws(family, worker, 20_000), law(worker + 1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", RANDOM)
class TestMean:
    def test_expected_is_the_mean(self, name: str) -> None:
        family, law = RANDOM[name]
        bound = family.bind(N, stream())
        assert bound.fixed is None
        np.testing.assert_allclose(bound.expected, [law(i).mean() for i in range(1, N + 1)], rtol=1e-12)
        sample = draws(family, 2, 100_000)
        assert abs(sample.mean() - bound.expected[2]) < 5 * law(3).std() / np.sqrt(len(sample))

    def test_seeds_purposes_and_workers_differ(self, name: str) -> None:
        family, _ = RANDOM[name]
        worker = np.zeros(1000, dtype=np.intp)
        number = np.arange(1000)
        first = family.bind(N, stream(0)).durations(worker, number, 0.0)
        for other in (stream(1), Stream(0, "uplink")):
            second = family.bind(N, other).durations(worker, number, 0.0)
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_half_normal_6174_workers() -> None:
    n = 6174
    bound = lt.half_normal("i", "sqrt(i)").bind(n, stream())
    workers = np.arange(n)
    durations = bound.durations(workers, np.zeros(n, dtype=np.int64), 0.0)
    i = workers + 1
    assert (durations > i).all()
    assert stats.kstest((durations - i) / np.sqrt(i), stats.halfnorm.cdf).pvalue > 1e-3
    picked = np.array([6173, 0, 17])
    assert same_bits(bound.durations(picked, np.zeros(3, dtype=np.int64), 0.0), durations[picked])


def test_heavy_tail_neither_warns_nor_becomes_infinite() -> None:
    family = lt.lognormal(median=1, shape=100, base="sqrt(i)")
    with np.errstate(all="raise", under="ignore"):
        durations = draws(family, 0, 50_000)
    assert np.isfinite(durations).all()
    assert abs(np.median(durations) - 2) < 1
    assert np.isinf(family.bind(N, stream()).expected).all()


class TestFixed:
    def test_number_list_array_and_formula(self) -> None:
        expected = [1.0, 2.0, 3.0]
        for times in ([1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3]), "i", lt.Formula("i")):
            bound = lt.fixed(times).bind(3, stream())
            assert bound.fixed is not None
            assert bound.fixed.tolist() == expected
        assert lt.fixed(np.float64(2)).bind(3, stream()).duration(2, 5, 1.0) == 2.0

    def test_a_dead_worker(self) -> None:
        bound = lt.fixed([1, np.inf]).bind(2, stream())
        assert bound.duration(1, 0, 0.0) == np.inf

    def test_later_changes_of_the_array_are_not_seen(self) -> None:
        times = np.ones(3)
        family = lt.fixed(times)
        times[:] = 5
        assert family.bind(3, stream()).duration(0, 0, 0.0) == 1.0


def test_random_dead_workers() -> None:
    for family in (
        lt.half_normal([1, np.inf], 1),
        lt.half_normal(1, [1, np.inf]),
        lt.exponential([1, np.inf]),
        lt.gamma(2, [1, np.inf]),
        lt.lognormal([1, np.inf], 1),
        lt.uniform([1, np.inf], [2, np.inf]),
        lt.uniform(1, [2, np.inf]),
    ):
        with np.errstate(all="raise"):
            bound = family.bind(2, stream())
            assert np.isfinite(bound.duration(0, 0, 0.0))
            assert bound.duration(1, 0, 0.0) == np.inf
            assert bound.durations(np.array([1]), np.array([0]), 0.0)[0] == np.inf
        assert bound.expected[1] == np.inf


def test_zero() -> None:
    bound = lt.zero().bind(3, stream())
    assert bound.fixed is not None
    assert bound.fixed.tolist() == [0, 0, 0]
    assert bound.duration(2, 0, 0.0) == 0.0


class TestInvalid:
    @pytest.mark.parametrize("times", [-1, np.nan, -np.inf, [1, np.nan], [1, -2]])
    def test_times_are_not_negative(self, times: Any) -> None:
        with pytest.raises(InvalidInput, match=r"times: .*at least 0"):
            lt.fixed(times)

    @pytest.mark.parametrize("times", [True, None, [], [[1, 2]], [[1], [1, 2]], ["1"], [1, None], 1j, 10**400, {}])
    def test_times_are_numbers(self, times: Any) -> None:
        with pytest.raises(InvalidInput, match="times: "):
            lt.fixed(times)

    def test_length(self) -> None:
        with pytest.raises(InvalidInput, match="times: 2 values for 3 workers; allowed: a list of 3"):
            lt.fixed([1, 2]).bind(3, stream())
        with pytest.raises(InvalidInput, match="scale: 2 values for 3 workers"):
            lt.half_normal(1, lt.permuted([1, 2])).bind(3, stream())

    def test_formula(self) -> None:
        with pytest.raises(InvalidInput, match=r"scale: unknown function 'sqr' \(did you mean 'sqrt'\?\)"):
            lt.half_normal("i", "sqr(i)")
        with pytest.raises(InvalidInput, match=r"times: -1 for worker 2; allowed: .* at least 0"):
            lt.fixed("2.5 - i - 0.5 * max(0, i - 2)").bind(3, stream())
        with pytest.raises(InvalidInput, match=r"base: '1 / .* is inf for i = 2"):
            lt.half_normal(lt.permuted("1 / (i - 2)"), 1).bind(3, stream())

    @pytest.mark.parametrize(
        ("make", "key"),
        [
            (lambda: lt.half_normal(-1, 1), "base"),
            (lambda: lt.half_normal(1, -1), "scale"),
            (lambda: lt.half_normal(1, np.nan), "scale"),
            (lambda: lt.exponential(0), "mean"),
            (lambda: lt.exponential(1, base=-1), "base"),
            (lambda: lt.gamma(0, 1), "shape"),
            (lambda: lt.gamma(np.inf, 1), "shape"),
            (lambda: lt.gamma(1, 0), "scale"),
            (lambda: lt.lognormal(0, 1), "median"),
            (lambda: lt.lognormal(1, np.inf), "shape"),
            (lambda: lt.uniform(-1, 1), "low"),
            (lambda: lt.uniform(0, 0), "high"),
            (lambda: lt.uniform(2, 1).bind(1, stream()), "low"),
            (lambda: lt.half_normal(0, [1, 0]).bind(2, stream()), "half_normal"),
            (lambda: lt.gamma(0.01, 1).bind(2, stream()), "gamma"),
            (lambda: lt.lognormal(1, 100).bind(2, stream()), "lognormal"),
        ],
    )
    def test_parameters(self, make: Any, key: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.key == key

    @pytest.mark.parametrize("seed", [1.5, "1", True])
    def test_seed_of_a_permutation(self, seed: Any) -> None:
        for of in ("i", lt.fixed("i")):
            with pytest.raises(InvalidInput, match="seed"):
                lt.permuted(of, seed)


class TestPermuted:
    def times(self, family: lt.Latency, seed: int = 0, n: int = 50) -> list[float]:
        return family.bind(n, stream(seed)).expected.tolist()

    def test_same_times_in_another_order(self) -> None:
        times = self.times(lt.permuted(lt.fixed("i")))
        assert times != sorted(times)
        assert sorted(times) == list(range(1, 51))

    def test_order_depends_on_the_seed_of_the_run_or_on_its_own(self) -> None:
        assert self.times(lt.fixed(lt.permuted("i")), 0) == self.times(lt.fixed(lt.permuted("i")), 0)
        assert self.times(lt.fixed(lt.permuted("i")), 0) != self.times(lt.fixed(lt.permuted("i")), 1)
        own = lt.fixed(lt.permuted("i", seed=1))
        assert self.times(own, 0) == self.times(own, 1) == self.times(lt.fixed(lt.permuted("i")), 1)

    def test_parameters_permuted_together_stay_together(self) -> None:
        values = self.times(lt.fixed(lt.permuted("i")))
        assert values == self.times(lt.permuted(lt.fixed("i")))
        together = lt.half_normal(lt.permuted("i"), lt.permuted("sqrt(i)"))
        np.testing.assert_allclose(self.times(together), self.times(lt.permuted(lt.half_normal("i", "sqrt(i)"))))

    def test_one_parameter_alone(self) -> None:
        """The figure of Ringmaster ASGD: the base is permuted, the scale stays with its worker."""
        n = 2000
        bound = lt.half_normal(base=lt.permuted("1 + sqrt(i - 1)"), scale="sqrt(i)").bind(n, stream())
        base = bound.expected - np.sqrt(2 / np.pi) * np.sqrt(np.arange(1, n + 1))
        np.testing.assert_allclose(np.sort(base), 1 + np.sqrt(np.arange(n)), atol=1e-9)
        assert abs(np.corrcoef(base, np.arange(n))[0, 1]) < 0.1
        noise = (bound.durations(np.arange(n), np.zeros(n, dtype=np.int64), 0.0) - base) / np.sqrt(np.arange(1, n + 1))
        assert stats.kstest(noise, stats.halfnorm.cdf).pvalue > 1e-3

    def test_a_permuted_latency_takes_the_draws_along(self) -> None:
        family = lt.half_normal("i", "sqrt(i)")
        plain = family.bind(N, stream())
        mixed = lt.permuted(family).bind(N, stream())
        for number in range(3):
            column = np.full(N, number)
            first = plain.durations(np.arange(N), column, 0.0)
            second = mixed.durations(np.arange(N), column, 0.0)
            assert sorted(first) == sorted(second)

    def test_fixed_stays_fixed(self) -> None:
        assert lt.permuted(lt.fixed("i")).bind(3, stream()).fixed is not None
        assert lt.permuted(lt.exponential("i")).bind(3, stream()).fixed is None


class TestConfig:
    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            (2, lt.fixed(2)),
            ([1, 2], lt.fixed([1, 2])),
            ("sqrt(i)", lt.fixed("sqrt(i)")),
            ({"permuted": "i"}, lt.fixed(lt.permuted("i"))),
            ({"name": "fixed", "times": "i"}, lt.fixed("i")),
            ({"name": "zero"}, lt.zero()),
            ({"name": "half_normal", "base": "i", "scale": "sqrt(i)"}, lt.half_normal("i", "sqrt(i)")),
            (
                {"name": "half_normal", "base": {"permuted": "1 + sqrt(i)", "seed": 3}, "scale": 1},
                lt.half_normal(lt.permuted("1 + sqrt(i)", 3), 1),
            ),
            ({"name": "exponential", "mean": 2}, lt.exponential(2)),
            ({"name": "permuted", "of": "i"}, lt.permuted(lt.fixed("i"))),
            (
                {"name": "permuted", "of": {"name": "uniform", "low": 1, "high": 2}, "seed": 1},
                lt.permuted(lt.uniform(1, 2), 1),
            ),
            (lt.gamma(1, 2), lt.gamma(1, 2)),
        ],
    )
    def test_forms(self, config: Any, expected: lt.Latency) -> None:
        assert lt.latency(config) == expected

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"name": "half_norml"}, r"name: 'half_norml' is unknown \(did you mean 'half_normal'\?\)"),
            ({"name": ["fixed"]}, "name: .* is unknown"),
            ({"times": 1}, "name: missing; allowed: fixed, zero, half_normal"),
            ({"name": "half_normal", "base": 1}, "scale: missing; allowed: .* base, scale"),
            (
                {"name": "half_normal", "base": 1, "scal": 1},
                r"scal: unknown parameter \(did you mean 'scale'\?\); allowed: .* base, scale",
            ),
            ({"name": "zero", "times": 1}, "times: unknown parameter.*no parameters"),
            ({"name": "fixed", 3: 1}, "3: unknown parameter"),
            ({"name": "fixed", "times": {"permute": 1}}, r"times: 'permute' is unknown \(did you mean 'permuted'\?\)"),
            ({"name": "permuted"}, "of: missing"),
            ({"name": "permuted", "of": {"name": "fixed"}}, "of.times: missing"),
            ({"name": "permuted", "of": {"name": "fixd"}}, "of.name: 'fixd' is unknown"),
            (None, "times: None is neither"),
            ("sqt(i)", r"times: unknown function 'sqt' \(did you mean 'sqrt'\?\)"),
        ],
    )
    def test_errors(self, config: Any, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            lt.latency(config)

    def test_every_latency_is_described(self) -> None:
        for name, family in lt.LATENCIES.items():
            assert family.name == name
            assert isinstance(family.paper, str)
            assert (family.__doc__ or "").splitlines()[0].endswith(".")

    def test_a_bare_name_is_enough(self) -> None:
        assert lt.latency("measured") == lt.measured()
        assert lt.latency("zero") == lt.zero()
        with pytest.raises(InvalidInput, match="base: missing; allowed: half_normal has the parameters base, scale"):
            lt.latency("half_normal")

    @pytest.mark.parametrize("name", lt.LATENCIES)
    def test_every_example_can_be_written_in_a_workload_file(self, name: str, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        shutil.copy(FILE, "profile.csv")
        config = yaml.safe_load(lt.LATENCIES[name].example)
        assert config["name"] == name
        assert lt.latency(config).bind(6, stream()).expected.shape == (6,)

    def test_repr(self) -> None:
        assert repr(lt.fixed([1, np.inf])) == "fixed(times=[1, inf])"
        assert repr(lt.fixed(np.arange(1.0, 1001.0))) == "fixed(times=[1, 2, ..., 1000])"
        assert repr(lt.permuted(lt.uniform(1, "i"), seed=2)) == "permuted(uniform(low=1, high='i'), seed=2)"
