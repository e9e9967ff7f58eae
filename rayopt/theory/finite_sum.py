"""Seconds of methods for finite sums f = (1/m) sum_j f_j of which every worker can evaluate every f_j.

Worker i needs tau_i seconds for the gradient of one component; times are sorted, tau_1 <= ... <= tau_n. L_- is the
smoothness of f, L_pm the square root of its Hessian variance, Delta = f(x^0) - inf f.

References:
  Tyurin, Gruntkowska, Richtarik, `Freya PAGE <https://arxiv.org/abs/2405.15545>`_, NeurIPS 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import Array, NotAllowed, times_of
from rayopt.theory.setting import Setting


def finite_sum_time(times: ArrayLike, S: float) -> float:
    r"""Returns t(S), the seconds in which S gradients of components can be collected, up to a constant [talk].

    .. math:: t(S) = \min_{j \in [n]} \Big(\sum_{i \le j} \frac1{\tau_i}\Big)^{-1} (S + j)

    Args:
      times: seconds of one component for each worker, above 0, infinite ones too, shape (n,).
      S: how many, at least 0.

    Raises:
      NotAllowed: a time is not above 0, or S is negative.
    """
    return float(np.min(_seconds_of_fastest(times, S)))


def _seconds_of_fastest(times: ArrayLike, S: float) -> Array:
    """Returns the seconds of the j fastest workers for S gradients up to a constant, j = 1, ..., n, shape (n,)."""
    found = times_of("times", times)
    if not S >= 0:
        raise NotAllowed("S", f"{S!r}", "a number of at least 0")
    with np.errstate(divide="ignore"):
        seconds: Array = (S + np.arange(1, len(found) + 1)) / np.cumsum(1 / np.sort(found))
    return seconds


def gradient_time(times: ArrayLike, components: int) -> float:
    """Returns the bound of the mean seconds of ComputeGradient, 12 min_j H_j (m + q ln q + j), q = min(m, n) [memory].

    Args:
      times: seconds of one component for each worker, shape (n,).
      components: m.
    """
    q = min(components, len(np.atleast_1d(times)))
    return 12 * finite_sum_time(times, components + q * math.log(q))


def batch_difference_time(times: ArrayLike, S: int) -> float:
    """Returns 2 t(S), which ComputeBatchDifference does not exceed if a difference costs two gradients [derived]."""
    return 2 * finite_sum_time(times, S)


def total_time(
    times: ArrayLike, components: int, iterations: float, parameters: Sequence[Any], difference: float = 4
) -> float:
    r"""Returns the explicit bound of Freya PAGE's mean seconds, with its constants [memory: structure].

    .. math:: T + K \big(p\, T + (1 - p)\, 4\, t(S)\big)

    with T the bound of :func:`gradient_time`, whose first term is that of g^0.

    Args:
      times: seconds of one component for each worker, shape (n,).
      components: m.
      iterations: K, (2 Delta / eps) (L_- + L_pm sqrt((1 - p) / (p S))) in theory.
      parameters: (S, p).
      difference: the factor of t(S): 4 of the paper [memory], 2 as in :func:`batch_difference_time` [derived].
    """
    size, chance = parameters
    full = gradient_time(times, components)
    batch = difference * finite_sum_time(times, size)
    return float(full + iterations * (chance * full + (1 - chance) * batch))


def iterations_of(
    smoothness: float, hessian_variance: float, parameters: Sequence[Any], initial_gap: float, eps: float
) -> int:
    r"""Returns K = ceil((2 Delta / eps) (L_- + L_pm sqrt((1 - p) / (p S)))), after which E||grad f||^2 <= eps [memory].

    The point is uniform over x^0, ..., x^{K-1}.

    Args:
      smoothness: L_-.
      hessian_variance: L_pm.
      parameters: (S, p).
      initial_gap: Delta.
      eps: the accuracy of the square of the norm.
    """
    return math.ceil(2 * initial_gap / eps / page_step_size(smoothness, hessian_variance, parameters))


def lower_bound(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns t(m) + (a / sqrt(m)) t(m), which no method beats up to a constant [talk].

    Args:
      times: seconds of one component for each worker, shape (n,).
      components: m.
      iterations: a = L Delta / eps.
    """
    return finite_sum_time(times, components) * (1 + iterations / math.sqrt(components))


class PAGEParameters(NamedTuple):
    """The parameters of a PAGE method.

    Attributes:
      batch_size: S.
      probability: p.
    """

    batch_size: int
    probability: float


def page_parameters(components: int) -> PAGEParameters:
    """Returns S = ceil(sqrt(m)) and p = 1 / sqrt(m), which need no times [talk]."""
    return PAGEParameters(math.ceil(math.sqrt(components)), 1 / math.sqrt(components))


def page_parameters_of_times(
    times: ArrayLike, components: int, smoothness: float, hessian_variance: float
) -> PAGEParameters:
    r"""Returns the S that minimises L_- t(S) + L_pm sqrt(t(m) t(S) / S), and p = t(S) / (t(S) + t(m)) [derived].

    Args:
      times: seconds of one component for each worker, shape (n,).
      components: m.
      smoothness: L_-.
      hessian_variance: L_pm.
    """
    full = finite_sum_time(times, components)
    sizes = np.unique(np.ceil(np.geomspace(1, components, 400)).astype(int))
    batches = np.array([finite_sum_time(times, size) for size in sizes.tolist()])
    costs = smoothness * batches + hessian_variance * np.sqrt(full * batches / sizes)
    best = int(np.argmin(costs))
    return PAGEParameters(int(sizes[best]), float(batches[best] / (batches[best] + full)))


def page_step_size(smoothness: float, hessian_variance: float, parameters: Sequence[Any]) -> float:
    """Returns gamma = 1 / (L_- + L_pm sqrt((1 - p) / (p S))) [memory]."""
    size, chance = parameters
    return 1 / (smoothness + hessian_variance * math.sqrt((1 - chance) / (chance * size)))


def freya_page(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns t(m) + a t(sqrt(m)), the seconds of Freya PAGE up to a constant [talk]; ``iterations`` is a."""
    return finite_sum_time(times, components) + iterations * finite_sum_time(times, math.sqrt(components))


def hero_gd(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns tau_1 m a [talk]."""
    return float(times_of("times", times).min()) * components * iterations


def soviet_gd(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns tau_n (m / n) a, shares rounded up [talk]."""
    found = times_of("times", times)
    return float(found.max()) * math.ceil(components / len(found)) * iterations


def hero_page(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns tau_1 m + tau_1 sqrt(m) a [talk]."""
    return float(times_of("times", times).min()) * (components + math.sqrt(components) * iterations)


def soviet_page(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns tau_n m / n + tau_n (sqrt(m) / n) a, shares rounded up [talk]."""
    found = times_of("times", times)
    full, batch = math.ceil(components / len(found)), math.ceil(math.sqrt(components) / len(found))
    return float(found.max()) * (full + batch * iterations)


def page(times: ArrayLike, components: int, iterations: float) -> float:
    """Returns tau (m + sqrt(m) a), tau the seconds of the first worker [derived]."""
    return float(times_of("times", times)[0]) * (components + math.sqrt(components) * iterations)


def asgd(times: ArrayLike, noise_ratio: float, iterations: float) -> float:
    """Returns a (sum_i 1 / tau_i)^{-1} (sigma^2 / eps + n), with a variance of at most sigma^2 [talk]."""
    found = times_of("times", times)
    with np.errstate(divide="ignore"):
        return float(iterations * (noise_ratio + len(found)) / np.sum(1 / found))


def rennala(times: ArrayLike, noise_ratio: float, iterations: float) -> float:
    """Returns a t(sigma^2 / eps), with a variance of at most sigma^2 [talk]."""
    return iterations * finite_sum_time(times, noise_ratio)


def _of(seconds: Callable[[ArrayLike, int, float], float]) -> Callable[[Setting], float]:
    """Returns the seconds as a function of a setting, with a = L Delta / eps."""
    return lambda setting: seconds(setting.times, int(setting.get("components")), _iterations(setting))


def _of_noise(seconds: Callable[[ArrayLike, float, float], float]) -> Callable[[Setting], float]:
    """The same of methods that know a bound of the variance and not the components."""
    return lambda setting: seconds(setting.times, setting.noise_ratio, _iterations(setting))


def _iterations(setting: Setting) -> float:
    return setting.get("smoothness") * setting.get("initial_gap") / setting.eps


METHODS: dict[str, Callable[[Setting], float]] = {
    "HeroGD": _of(hero_gd),
    "SovietGD": _of(soviet_gd),
    "HeroPAGE": _of(hero_page),
    "SovietPAGE": _of(soviet_page),
    "PAGE": _of(page),
    "ASGD": _of_noise(asgd),
    "Rennala": _of_noise(rennala),
    "FreyaPAGE": _of(freya_page),
}
"""The seconds of each method by its class, Table 1 of the talk and PAGE. SYNTHESIS (Liu, Zhang, Liu, 2022) has none:
its full gradients are computed at no cost that is accounted for, and its rate depends on the largest delay [talk]."""

lower_bound_of = _of(lower_bound)
"""The lower bound as a function of a setting."""


def fewest_workers(times: ArrayLike, S: float) -> int:
    """Returns the smallest j that attains t(S): how many of the fastest workers the optimum needs.

    Args:
      times: seconds of one component for each worker, shape (n,).
      S: how many gradients, at least 0.
    """
    return int(np.argmin(_seconds_of_fastest(times, S))) + 1


def is_large_scale(times: ArrayLike, components: int) -> bool:
    """Returns whether sqrt(m) >= n: there the time of Freya PAGE is at most twice the lower bound [derived]."""
    return math.sqrt(components) >= len(np.atleast_1d(times))
