"""How long tasks and messages take: one object for compute, one for each direction of communication. Imports core.

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
from rayopt.latency.measured import Measured
from rayopt.latency.permutation import permuted
from rayopt.latency.powers.day_and_night import DayAndNight
from rayopt.latency.powers.drift import Drift, ExponentialDrift
from rayopt.latency.powers.markov import Markov
from rayopt.latency.powers.outages import Outages
from rayopt.latency.powers.piecewise import Power
from rayopt.latency.recorded import Recorded

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
power = Power
outages = Outages
day_and_night = DayAndNight
drift = Drift
exponential_drift = ExponentialDrift
markov = Markov
mixture = Mixture
groups = Groups
trace = Recorded
measured = Measured

__all__ = [
    "LATENCIES",
    "BoundLatency",
    "Formula",
    "Latency",
    "alpha_bernoulli",
    "cauchy",
    "day_and_night",
    "drift",
    "exponential",
    "exponential_drift",
    "fixed",
    "gamma",
    "groups",
    "half_normal",
    "infinite_bernoulli",
    "latency",
    "levy",
    "log_cauchy",
    "lognormal",
    "markov",
    "measured",
    "mixture",
    "outages",
    "pareto",
    "permuted",
    "power",
    "trace",
    "uniform",
    "zero",
]
