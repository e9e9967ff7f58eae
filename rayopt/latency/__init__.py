"""How long tasks and messages take: one object for compute, one for each direction of communication.

>>> from rayopt import latency
>>> latency.half_normal(base="i", scale="sqrt(i)")
half_normal(base='i', scale='sqrt(i)')
"""

from rayopt.latency.base import BoundLatency, Latency
from rayopt.latency.config import LATENCIES, latency
from rayopt.latency.families import Exponential, Fixed, Gamma, HalfNormal, LogNormal, Uniform, Zero
from rayopt.latency.formula import Formula
from rayopt.latency.permutation import permuted

fixed = Fixed
zero = Zero
half_normal = HalfNormal
exponential = Exponential
gamma = Gamma
lognormal = LogNormal
uniform = Uniform

__all__ = [
    "LATENCIES",
    "BoundLatency",
    "Formula",
    "Latency",
    "exponential",
    "fixed",
    "gamma",
    "half_normal",
    "latency",
    "lognormal",
    "permuted",
    "uniform",
    "zero",
]
