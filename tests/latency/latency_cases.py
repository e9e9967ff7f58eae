"""Latencies that every test of the contract runs over, and how the tests draw from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from rayopt import latency as lt
from rayopt.keys import Stream

N = 6
RANDOM = {
    "half_normal": (lt.half_normal("i", "sqrt(i)"), lambda i: stats.halfnorm(loc=i, scale=np.sqrt(i))),
    "half_normal_without_base": (lt.half_normal(0, 2.0), lambda i: stats.halfnorm(scale=2.0)),
    "exponential": (lt.exponential("29 * i", base="29 * i"), lambda i: stats.expon(loc=29 * i, scale=29 * i)),
    "gamma": (lt.gamma("i / 2", 3.0, base=1), lambda i: stats.gamma(i / 2, loc=1, scale=3.0)),
    "lognormal": (lt.lognormal("i", 0.5, base=0.1), lambda i: stats.lognorm(0.5, loc=0.1, scale=i)),
    "uniform": (lt.uniform(1, "1 + i"), lambda i: stats.uniform(loc=1, scale=i)),
}
PERMUTED = [
    lt.permuted(lt.fixed("sqrt(i)")),
    lt.permuted(lt.half_normal("i", 0.1), seed=5),
    lt.half_normal(lt.permuted("1 + sqrt(i - 1)"), "sqrt(i)"),
    lt.fixed(lt.permuted([1, 2, 3, 4, 5, np.inf], seed=3)),
]
FIXED = [lt.fixed(2), lt.fixed([1, 2.5, 3, 4, 5, np.inf]), lt.fixed("sqrt(i)"), lt.zero()]
ALL = [*FIXED, *PERMUTED, *(family for family, _ in RANDOM.values())]


def stream(seed: int = 0) -> Stream:
    return Stream(seed, "compute")


def draws(family: lt.Latency, worker: int, count: int, workers: int = N) -> np.ndarray:
    bound = family.bind(workers, stream())
    return bound.durations(np.full(count, worker), np.arange(count), 0.0)


def same_bits(first: Any, second: Any) -> bool:
    return np.asarray(first, dtype=np.float64).tobytes() == np.asarray(second, dtype=np.float64).tobytes()
