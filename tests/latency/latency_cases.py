"""Latencies that every test of the contract runs over, and how the tests draw from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rayopt import latency as lt
from rayopt.core.keys import Stream

N = 6
RANDOM = {
    "half_normal": (lt.half_normal("i", "sqrt(i)"), lambda i: stats.halfnorm(loc=i, scale=np.sqrt(i))),
    "half_normal_without_base": (lt.half_normal(0, 2.0), lambda i: stats.halfnorm(scale=2.0)),
    "exponential": (lt.exponential("29 * i", base="29 * i"), lambda i: stats.expon(loc=29 * i, scale=29 * i)),
    "gamma": (lt.gamma("i / 2", 3.0, base=1), lambda i: stats.gamma(i / 2, loc=1, scale=3.0)),
    "lognormal": (lt.lognormal("i", 0.5, base=0.1), lambda i: stats.lognorm(0.5, loc=0.1, scale=i)),
    "uniform": (lt.uniform(1, "1 + i"), lambda i: stats.uniform(loc=1, scale=i)),
    "pareto": (lt.pareto("i", 5.0, base=0.5), lambda i: stats.pareto(5.0, loc=0.5, scale=i)),
}


class LogCauchyLaw:
    """The law of base + median * exp(shape * C)."""

    def __init__(self, median: float, shape: float, base: float) -> None:
        self.median, self.shape, self.base = median, shape, base

    def cdf(self, seconds: Any) -> Any:
        with np.errstate(divide="ignore"):
            return stats.cauchy.cdf(np.log((seconds - self.base) / self.median) / self.shape)

    def ppf(self, probability: Any) -> Any:
        with np.errstate(over="ignore"):
            return self.base + self.median * np.exp(self.shape * stats.cauchy.ppf(probability))


HEAVY = {
    "cauchy": (lt.cauchy("i", base=1), lambda i: stats.foldcauchy(0, loc=1, scale=i)),
    "cauchy_off_the_middle": (lt.cauchy(2.0, location="3 * i"), lambda i: stats.foldcauchy(1.5 * i, scale=2.0)),
    "log_cauchy": (lt.log_cauchy("i", 0.02, base="i"), lambda i: LogCauchyLaw(i, 0.02, i)),
    "levy": (lt.levy("i", base=0.5), lambda i: stats.levy(loc=0.5, scale=i)),
    "pareto_without_mean": (lt.pareto("i", 0.8, base=0.5), lambda i: stats.pareto(0.8, loc=0.5, scale=i)),
}
COMBINED = {
    "infinite_bernoulli": lt.infinite_bernoulli("i", "1 - i / 20"),
    "alpha_bernoulli": lt.alpha_bernoulli("i", 10, 0.75),
    "mixture": lt.mixture([lt.exponential("i"), lt.levy(1, base=0.1), lt.fixed(2)], weights=[3, 1, 1]),
    "nested": lt.mixture([lt.mixture([lt.fixed(1), lt.fixed(2)]), lt.mixture([lt.fixed(3), lt.fixed("3 + i")])]),
    "groups": lt.groups([lt.exponential("i"), lt.half_normal("i", 1), lt.fixed("i"), lt.levy("i")]),
    "groups_fixed": lt.groups([lt.fixed("i"), lt.fixed(7)]),
    "permuted_groups": lt.permuted(lt.groups([lt.uniform(1, 2), lt.uniform(5, 6)])),
}
PERMUTED = [
    lt.permuted(lt.fixed("sqrt(i)")),
    lt.permuted(lt.half_normal("i", 0.1), seed=5),
    lt.half_normal(lt.permuted("1 + sqrt(i - 1)"), "sqrt(i)"),
    lt.fixed(lt.permuted([1, 2, 3, 4, 5, np.inf], seed=3)),
]
FIXED = [lt.fixed(2), lt.fixed([1, 2.5, 3, 4, 5, np.inf]), lt.fixed("sqrt(i)"), lt.zero()]
FILE = Path(__file__).with_name("recorded.csv")
RECORDED = [lt.trace(FILE), lt.trace(FILE, order="resampled"), lt.permuted(lt.trace(FILE), seed=4)]
LAWS = {**RANDOM, **HEAVY}
ALL = [*FIXED, *PERMUTED, *COMBINED.values(), *RECORDED, *(family for family, _ in LAWS.values())]


def stream(seed: int = 0) -> Stream:
    return Stream(seed, "compute")


def draws(family: lt.Latency, worker: int, count: int, workers: int = N) -> np.ndarray:
    bound = family.bind(workers, stream())
    return bound.durations(np.full(count, worker), np.arange(count), 0.0)


def same_bits(first: Any, second: Any) -> bool:
    return np.asarray(first, dtype=np.float64).tobytes() == np.asarray(second, dtype=np.float64).tobytes()
