"""Seconds to E||grad f||^2 <= eps: nonconvex smooth f, workers with different data, fixed times.

f is the mean of the f_i; tau_n is the slowest time and tau_A the mean of the times. Every worker is
needed, so one infinite time makes all of these infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rayopt.theory.checks import scaled
from rayopt.theory.homogeneous import terms
from rayopt.theory.setting import Setting


def minibatch(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Minibatch SGD [poster].

    .. math:: \tau_n \frac{L \Delta}{\varepsilon} \Big(1 + \frac{\sigma^2}{n \varepsilon}\Big)

    with L the constant of the average f.
    """
    fixed, shared = terms(setting)
    return constant * scaled(setting.slowest, fixed + shared / setting.workers)


def ia2sgd(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of IA2SGD, the table of last gradients (arXiv 2509.22860 [poster]).

    .. math:: \tau_n \frac{L_{\max} \Delta}{\varepsilon} \Big(1 + \frac{\sigma^2}{n \varepsilon}\Big)
    """
    ratio = setting.noise_ratio
    iterations = setting.get("initial_gap") * setting.get("largest_smoothness") / setting.eps
    return constant * scaled(setting.slowest, iterations * (1 + ratio / setting.workers))


def optimal(setting: Setting) -> float:
    r"""Returns the time that Malenia attains and no method beats, up to constants.

    .. math:: \tau_n \frac{L \Delta}{\varepsilon} + \tau_A \frac{\sigma^2 L \Delta}{n \varepsilon^2}
    """
    fixed, shared = terms(setting)
    return scaled(setting.slowest, fixed) + scaled(setting.mean_time, shared / setting.workers)


def lower_bound(setting: Setting, constant: float = 1.0) -> float:
    """Returns what no zero-respecting method beats, of order :func:`optimal` (arXiv 2305.12387, Theorem A.2 [poster]).

    The theorem's constant is universal and not stated as a number.
    """
    return constant * optimal(setting)


def malenia(setting: Setting, constant: float = 1.0) -> float:
    """Returns the seconds of Malenia SGD, :func:`optimal` (arXiv 2305.12387, Theorem A.4; its 96 [memory][derived])."""
    return constant * optimal(setting)


def ringleader(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Ringleader ASGD, in order of magnitude (arXiv 2509.22860 [poster]).

    .. math:: \frac{L \Delta}{\varepsilon} \Big(\tau_n + \tau_A \frac{\sigma^2}{n \varepsilon}\Big)

    Its L lies between that of f and the quadratic mean of the L_i; the L of f is taken where L_max is unknown
    [derived: they agree for equal f_i], L_max where it is known.
    """
    ratio, gap = setting.noise_ratio, setting.get("initial_gap")
    smoothness = setting.get("largest_smoothness" if setting.knows("largest_smoothness") else "smoothness")
    iterations = smoothness * gap / setting.eps
    noise = scaled(setting.mean_time, iterations * ratio / setting.workers)
    return constant * (scaled(setting.slowest, iterations) + noise)


def rescaled_asgd(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Rescaled ASGD, in order of magnitude (arXiv 2605.13434 [poster]).

    .. math:: \frac{\Delta L \sigma^2 \tau_A}{n \varepsilon^2}
              + \frac{\Delta L_{\max} \sqrt{\sigma^2 + \zeta^2}}{\varepsilon^{3/2}} \frac{\tau_n}{H_n} \tau_A
              + \frac{\Delta L_{\max} \rho}{\varepsilon} \frac{\tau_n}{H_n} \tau_n
              + \frac{\Delta L \tau_n}{\varepsilon}

    with zeta^2 = ``heterogeneity`` and rho = ``heterogeneity_growth`` in
    ||grad f_i||^2 <= zeta^2 + rho^2 ||grad f||^2.
    """
    fixed, shared = terms(setting)
    if not math.isfinite(setting.slowest):
        return math.inf if fixed else 0.0
    variance, spread = setting.get("noise_variance"), setting.get("heterogeneity")
    iterations = setting.get("largest_smoothness") * setting.get("initial_gap") / setting.eps
    imbalance = setting.slowest / setting.harmonic_mean
    stale_noise = iterations * math.sqrt((variance + spread) / setting.eps) * imbalance * setting.mean_time
    stale = iterations * setting.get("heterogeneity_growth") * imbalance * setting.slowest
    return constant * (shared * setting.mean_time / setting.workers + stale_noise + stale + fixed * setting.slowest)


def vecna(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Vecna SGD, in order of magnitude: uncertain, not to be quoted as the paper's (?).

    .. math:: \frac{\Delta L}{\varepsilon} \Big(\max_i c_i
              + \frac1n \sum_i \frac{c_i}{p_i} \frac{\sigma^2}{n \varepsilon}
              + \frac1n \sum_i \frac{c_i (1 - p_i)}{p_i} \frac{\Delta L}{n \varepsilon}\Big)

    with c_i = tau_i + t_i = ``setting.trial_times`` and p = ``setting.success_probabilities``. With p = 1 and
    t = 0 it is Malenia's.
    """
    iterations, _ = terms(setting)
    times, probabilities = setting.get_array("trial_times"), setting.get_array("success_probabilities")
    if iterations == 0:
        return 0.0
    if not np.isfinite(times).all() or not probabilities.all():
        return math.inf
    attempts = times / probabilities
    noise = float(np.mean(attempts)) * setting.noise_ratio / setting.workers
    failures = float(np.mean(attempts * (1 - probabilities))) * iterations / setting.workers
    return constant * iterations * (float(times.max()) + noise + failures)


METHODS: dict[str, Callable[..., float]] = {
    "Minibatch": minibatch,
    "IA2SGD": ia2sgd,
    "Malenia": malenia,
    "Ringleader": ringleader,
    "RescaledASGD": rescaled_asgd,
    "Vecna": vecna,
}
"""The formula of each method's time, by its class."""
