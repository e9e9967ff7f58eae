"""Parameters of the methods for one distribution of data, nonconvex f."""

from __future__ import annotations

import math
from typing import Any

from rayopt.theory.checks import ceiling
from rayopt.theory.harmonic import best_harmonic, best_slowest
from rayopt.theory.setting import Setting


def batch_of_variance(setting: Setting) -> int:
    r"""Returns max{ceil(sigma^2 / eps), 1}: Rennala's S and Ringmaster's R [poster].

    A mean of so many stochastic gradients has a variance of at most eps.
    """
    return max(ceiling(setting.noise_ratio), 1)


def minibatch_step(setting: Setting, batch_size: float) -> float:
    r"""Returns the step size of SGD with minibatches of m (arXiv 2405.16218, Theorem 21 [sib]).

    .. math:: \gamma = \frac1{2L} \min\Big\{1, \frac{\varepsilon m}{\sigma^2}\Big\}

    Args:
      setting: the constants.
      batch_size: m > 0; the expected number where it is random.
    """
    ratio = setting.noise_ratio
    return min(1.0, batch_size / ratio if ratio else 1.0) / (2 * setting.get("smoothness"))


def stale_step(setting: Setting, delays: float) -> float:
    r"""Returns the step size of ASGD whose delays are below R (arXiv 2501.16168 [poster]).

    .. math:: \gamma = \min\Big\{\frac1{2 R L}, \frac{\varepsilon}{4 L \sigma^2}\Big\}

    Args:
      setting: the constants.
      delays: R >= 1.
    """
    ratio = setting.noise_ratio
    return min(1 / (2 * delays), 1 / (4 * ratio) if ratio else math.inf) / setting.get("smoothness")


def collected_step(setting: Setting, batch_size: int) -> float:
    r"""Returns the step size of Rennala and Malenia [code].

    .. math:: \gamma = \min\Big\{\frac1L, \frac{\varepsilon S}{2 L \sigma^2}\Big\}

    Args:
      setting: the constants.
      batch_size: S >= 1.
    """
    ratio = setting.noise_ratio
    return min(1.0, batch_size / (2 * ratio) if ratio else 1.0) / setting.get("smoothness")


def hero(setting: Setting) -> dict[str, Any]:
    """Returns gamma = min{1/(2L), eps/(2 L sigma^2)} of Hero SGD (arXiv 2405.16218, Theorem 21 [sib])."""
    return {"step_size": minibatch_step(setting, 1)}


def minibatch(setting: Setting) -> dict[str, Any]:
    """Returns gamma = min{1, eps n / sigma^2} / (2L) of Minibatch SGD (arXiv 2405.16218, Theorem 21 [sib])."""
    return {"step_size": minibatch_step(setting, setting.workers)}


def m_sync(setting: Setting) -> dict[str, Any]:
    """Returns m = argmin_m tau_m (1 + sigma^2 / (m eps)) and its step size, for m-Synchronous SGD [derived]."""
    workers = best_slowest(setting.ascending, 1.0, setting.noise_ratio).workers
    return {"step_size": minibatch_step(setting, workers), "batch_size": workers}


def asgd(setting: Setting) -> dict[str, Any]:
    """Returns gamma = min{1/(2 n L), eps/(4 L sigma^2)} of ASGD, for delays of order n [derived].

    Also for the delay-adaptive rules, which keep it for delays up to n; the papers' own constants were not read.
    """
    return {"step_size": stale_step(setting, setting.workers)}


def naive_optimal_asgd(setting: Setting) -> dict[str, Any]:
    """Returns m* = argmin_m H_m (1 + sigma^2 / (m eps)) of Naive Optimal ASGD [poster] and its step size [derived].

    The smallest m* of several; gamma = min{1/(2 m* L), eps/(4 L sigma^2)}.
    """
    workers = best_harmonic(setting.ascending, 1.0, setting.noise_ratio).workers
    return {"step_size": stale_step(setting, workers), "workers_used": workers}


def picky(setting: Setting) -> dict[str, Any]:
    """Returns gamma = min{1, eps / sigma^2} / (4L) and the limit sqrt(eps) / (2L) of Picky SGD [memory].

    The paper's accuracy is that of the gradient's norm, sqrt(eps) here.
    """
    ratio, smoothness = setting.noise_ratio, setting.get("smoothness")
    step = min(1.0, 1 / ratio if ratio else 1.0) / (4 * smoothness)
    return {"step_size": step, "distance_limit": math.sqrt(setting.eps) / (2 * smoothness)}


def rennala(setting: Setting) -> dict[str, Any]:
    """Returns S = max{ceil(sigma^2 / eps), 1} [poster], gamma = min{1/L, eps S / (2 L sigma^2)} [code] of Rennala."""
    batch = batch_of_variance(setting)
    return {"step_size": collected_step(setting, batch), "batch_size": batch}


def ringmaster(setting: Setting) -> dict[str, Any]:
    """Returns R = max{1, ceil(sigma^2 / eps)} and gamma = min{1/(2 R L), eps/(4 L sigma^2)} of Ringmaster [poster]."""
    threshold = batch_of_variance(setting)
    return {"step_size": stale_step(setting, threshold), "threshold": threshold}
