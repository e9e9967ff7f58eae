"""Seconds to E||grad f||^2 <= eps: nonconvex smooth f, one distribution of data, fixed times.

In all formulas a = L Delta / eps and b = sigma^2 L Delta / eps^2 are what n = 1 worker of one second
needs, times are sorted, tau_1 <= ... <= tau_n, and H_m is the harmonic mean of the m fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import scaled
from rayopt.theory.harmonic import Best, best_harmonic, best_slowest
from rayopt.theory.setting import Setting
from rayopt.theory.trials import best_trial_set


def terms(setting: Setting) -> tuple[float, float]:
    """Returns a = L Delta / eps and b = sigma^2 L Delta / eps^2.

    Raises:
      MissingConstant: noise_variance, initial_gap or smoothness is unknown (asked in this order).
    """
    noise, gap = setting.noise_ratio, setting.get("initial_gap")
    iterations = setting.get("smoothness") * gap / setting.eps
    return iterations, noise * iterations


def hero(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Hero SGD, tau_1 (a + b) [derived].

    .. math:: \tau_1 \Big(\frac{L \Delta}{\varepsilon} + \frac{\sigma^2 L \Delta}{\varepsilon^2}\Big)
    """
    fixed, shared = terms(setting)
    return constant * scaled(float(setting.ascending[0]), fixed + shared)


def minibatch(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Minibatch SGD, tau_n (a + b / n) [poster].

    .. math:: \tau_n \Big(\frac{L \Delta}{\varepsilon} + \frac{\sigma^2 L \Delta}{n \varepsilon^2}\Big)
    """
    fixed, shared = terms(setting)
    return constant * scaled(setting.slowest, fixed + shared / setting.workers)


def m_sync(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of m-Synchronous SGD with the best m, min_m tau_m (a + b / m) [derived].

    .. math:: \min_{m} \tau_m \Big(\frac{L \Delta}{\varepsilon} + \frac{\sigma^2 L \Delta}{m \varepsilon^2}\Big)

    At most 1 + ln n times the lower bound [derived].
    """
    return constant * best_slowest(setting.ascending, *terms(setting)).seconds


def asgd(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of asynchronous SGD, H_n (a + b / n) [poster].

    .. math:: H_n \Big(\frac{L \Delta}{\varepsilon} + \frac{\sigma^2 L \Delta}{n \varepsilon^2}\Big)

    of Cohen et al. 2021, Koloskova et al. 2022 and Mishchenko et al. 2022 alike.
    """
    fixed, shared = terms(setting)
    return constant * scaled(setting.harmonic_mean, fixed + shared / setting.workers)


def optimal(setting: Setting) -> Best:
    r"""Returns min_m H_m (a + b / m) and the smallest m that attains it.

    .. math:: \min_{m} H_m \Big(\frac{L \Delta}{\varepsilon} + \frac{\sigma^2 L \Delta}{m \varepsilon^2}\Big)
    """
    return best_harmonic(setting.ascending, *terms(setting))


def lower_bound(setting: Setting, constant: float = 1.0) -> float:
    """Returns what no zero-respecting method beats, of order :func:`optimal` (arXiv 2305.12387, Theorem 6.4 [poster]).

    The theorem's constant is universal and not stated as a number.
    """
    return constant * optimal(setting).seconds


def rennala(setting: Setting, constant: float = 1.0) -> float:
    """Returns the seconds of Rennala SGD, :func:`optimal` (arXiv 2305.12387, Theorem 7.5 with constant 96 [poster])."""
    return constant * optimal(setting).seconds


def naive_optimal_asgd(setting: Setting, constant: float = 1.0) -> float:
    """Returns the seconds of Naive Optimal ASGD, of order :func:`optimal` (arXiv 2501.16168, Algorithm 3 [poster])."""
    return constant * optimal(setting).seconds


def ringmaster(setting: Setting, constant: float = 1.0) -> float:
    """Returns the seconds of Ringmaster ASGD, of order :func:`optimal` (arXiv 2501.16168, Theorem 4.2 [poster]).

    The constant 96 follows from its lemma on R consecutive updates, up to a ceiling [derived].
    """
    return constant * optimal(setting).seconds


def mindflayer(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of MindFlayer SGD (arXiv 2410.04285 [poster]; its constant 8 [memory]).

    .. math:: \min_m \Big(\frac1m \sum_{j \le m} \frac{p_j}{\tau_j + t_j}\Big)^{-1}
              \Big(\frac Sm + \frac1m \sum_{j \le m} p_j\Big) \frac{\Delta L}{\varepsilon},
              \qquad S = \max\{\sigma^2 / \varepsilon, 1\}

    with the workers sorted by tau_j + t_j = ``setting.trial_times`` and p = ``setting.success_probabilities``.
    With p = 1 and t = 0 it is Rennala's, whose S is at least 1.
    """
    iterations = terms(setting)[0]
    trial_times, probabilities = setting.get_array("trial_times"), setting.get_array("success_probabilities")
    return constant * scaled(best_trial_set(trial_times, probabilities, setting.noise_ratio).seconds, iterations)


METHODS: dict[str, Callable[..., float]] = {
    "Hero": hero,
    "Minibatch": minibatch,
    "MSync": m_sync,
    "ASGD": asgd,
    "DelayAdaptiveASGD": asgd,
    "Picky": asgd,
    "NaiveOptimalASGD": naive_optimal_asgd,
    "Rennala": rennala,
    "Ringmaster": ringmaster,
    "MindFlayer": mindflayer,
}
"""The formula of each method's time, by its class."""


def with_fixed_times(times: ArrayLike) -> dict[str, Any]:
    """Returns the random-time constants of workers whose times never vary: t_i = 0, p_i = 1."""
    return {"trial_times": times, "success_probabilities": np.ones(len(np.asarray(times)))}
