"""Parameters of the methods for workers with different data, nonconvex f."""

from __future__ import annotations

import math
from typing import Any

from rayopt.theory.checks import positive
from rayopt.theory.cycles import ringleader_counts
from rayopt.theory.parameters.homogeneous import batch_of_variance, collected_step
from rayopt.theory.setting import Setting


def malenia(setting: Setting) -> dict[str, Any]:
    """Returns S = max{ceil(sigma^2 / eps), n} [poster], gamma = min{1/L, eps S/(2 L sigma^2)} [memory] of Malenia."""
    batch = max(batch_of_variance(setting), setting.workers)
    return {"step_size": collected_step(setting, batch), "batch_size": batch}


def ringleader(setting: Setting) -> dict[str, Any]:
    r"""Returns the step size of Ringleader ASGD [two third-party restatements of the paper agree].

    .. math:: \gamma = \min\Big\{\frac1{8 n L}, \frac{\varepsilon B}{10 L \sigma^2}\Big\},
              \qquad B \ge \max\Big\{1, \frac{\tau_n}{2 \tau_A}\Big\}

    with L_max for its L, which is never below it.
    """
    ratio, smoothness = setting.noise_ratio, setting.get("largest_smoothness")
    noise = ringleader_counts(setting.ascending) / (10 * ratio) if ratio else math.inf
    return {"step_size": min(1 / (8 * setting.workers), noise) / smoothness}


def ia2sgd(setting: Setting) -> dict[str, Any]:
    r"""Returns a step size for IA2SGD: uncertain, chosen by rayopt, not the paper's [derived].

    .. math:: \gamma = \frac{H_n}{\tau_n} \min\Big\{\frac1{8 n L_{\max}}, \frac{\varepsilon}{10 L_{\max} \sigma^2}\Big\}

    It is what the time tau_n (L_max Delta / eps) (1 + sigma^2 / (n eps)) of the poster implies for updates that come
    every H_n / n seconds, with the constants of Ringleader: the slowest worker's slot is used n tau_n / H_n times.
    """
    ratio, smoothness = setting.noise_ratio, setting.get("largest_smoothness")
    noise = 1 / (10 * ratio) if ratio else math.inf
    balance = setting.harmonic_mean / positive("times", setting.slowest)
    return {"step_size": balance * min(1 / (8 * setting.workers), noise) / smoothness}


def rescaled_asgd(setting: Setting) -> dict[str, Any]:
    r"""Returns a step size for Rescaled ASGD: uncertain, chosen by rayopt, not the paper's [derived].

    .. math:: \gamma = \frac14 \min\Big\{\frac{\varepsilon}{L \sigma^2},
              \frac{\sqrt\varepsilon H_n}{n L_{\max} \sqrt{\sigma^2 + \zeta^2} \tau_n},
              \frac{H_n \tau_A}{n L_{\max} \rho \tau_n^2}, \frac{\tau_A}{n L \tau_n}\Big\}

    of which worker i uses tau_i / tau_A times as much. It is what each term of the poster's time implies for
    a progress of gamma n / tau_A per second; the factor 1/4 is rayopt's.
    """
    variance, spread = setting.get("noise_variance"), setting.get("heterogeneity")
    growth, smoothness = setting.get("heterogeneity_growth"), setting.get("smoothness")
    largest, n = setting.get("largest_smoothness"), setting.workers
    imbalance = positive("times", setting.slowest) / setting.harmonic_mean
    bounds = [setting.mean_time / (n * smoothness * setting.slowest)]
    if variance:
        bounds.append(setting.eps / (smoothness * variance))
    if variance + spread:
        bounds.append(math.sqrt(setting.eps / (variance + spread)) / (n * largest * imbalance))
    if growth:
        bounds.append(setting.mean_time / (n * largest * growth * imbalance * setting.slowest))
    return {"step_size": min(bounds) / 4}
