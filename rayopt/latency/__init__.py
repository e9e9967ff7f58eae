"""How long tasks and messages take: one object for compute, one for each direction of communication.

>>> from rayopt import latency
>>> latency.half_normal(base="i", scale="sqrt(i)")
half_normal(base='i', scale='sqrt(i)')
"""

from rayopt.latency.base import BoundLatency, Latency
from rayopt.latency.bernoulli import AlphaBernoulli, InfiniteBernoulli
from rayopt.latency.combination import Groups, Mixture
from rayopt.latency.config import LATENCIES, latency
from rayopt.latency.families import Exponential, Fixed, Gamma, HalfNormal, Uniform, Zero
from rayopt.latency.formula import Formula
from rayopt.latency.heavy_tailed import Cauchy, Levy, LogCauchy, LogNormal, Pareto
from rayopt.latency.permutation import permuted

fixed = Fixed
zero = Zero
half_normal = HalfNormal
exponential = Exponential
gamma = Gamma
uniform = Uniform
lognormal = LogNormal
log_cauchy = LogCauchy
cauchy = Cauchy
levy = Levy
pareto = Pareto
infinite_bernoulli = InfiniteBernoulli
alpha_bernoulli = AlphaBernoulli
mixture = Mixture
groups = Groups

__all__ = [
    "LATENCIES",
    "BoundLatency",
    "Formula",
    "Latency",
    "alpha_bernoulli",
    "cauchy",
    "exponential",
    "fixed",
    "gamma",
    "groups",
    "half_normal",
    "infinite_bernoulli",
    "latency",
    "levy",
    "log_cauchy",
    "lognormal",
    "mixture",
    "pareto",
    "permuted",
    "uniform",
    "zero",
]
