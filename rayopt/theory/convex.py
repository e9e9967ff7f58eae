"""Seconds to E f - f* <= eps for convex f, fixed times.

The deterministic part is that of the accelerated method where f is smooth, that of the subgradient
method where f is M-Lipschitz, the smaller of the two where both constants are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rayopt.theory.checks import scaled
from rayopt.theory.harmonic import Best, best_harmonic
from rayopt.theory.setting import MissingConstant, Setting


def noise_term(setting: Setting) -> float:
    """Returns sigma^2 R0^2 / eps^2.

    Raises:
      MissingConstant: noise_variance or distance is unknown.
    """
    return setting.get("noise_variance") * (setting.get("distance") / setting.eps) ** 2


def accelerated_term(setting: Setting) -> float:
    """Returns sqrt(L) R0 / sqrt(eps)."""
    return math.sqrt(setting.get("smoothness") / setting.eps) * setting.get("distance")


def nonsmooth_term(setting: Setting) -> float:
    """Returns M^2 R0^2 / eps^2."""
    return (setting.get("lipschitz") * setting.get("distance") / setting.eps) ** 2


def deterministic_term(setting: Setting) -> float:
    """Returns min{sqrt(L) R0 / sqrt(eps), M^2 R0^2 / eps^2}, over what is known of L and M.

    Raises:
      MissingConstant: R0, or both L and M, are unknown.
    """
    known = [
        term(setting)
        for constant, term in (("lipschitz", nonsmooth_term), ("smoothness", accelerated_term))
        if setting.knows(constant)
    ]
    if not known:
        raise MissingConstant("smoothness")
    return min(known)


def minibatch(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of (accelerated) Minibatch SGD [poster].

    .. math:: \tau_n \Big(\min\Big\{\frac{\sqrt L R_0}{\sqrt\varepsilon}, \frac{M^2 R_0^2}{\varepsilon^2}\Big\}
              + \frac{\sigma^2 R_0^2}{n \varepsilon^2}\Big)
    """
    noise = noise_term(setting)
    return constant * scaled(setting.slowest, deterministic_term(setting) + noise / setting.workers)


def asgd(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of asynchronous SGD (Mishchenko et al., arXiv 2206.07638 [poster]).

    .. math:: H_n \Big(\frac{L R_0^2}{\varepsilon} + \frac{\sigma^2 R_0^2}{n \varepsilon^2}\Big)
    """
    noise, fixed = noise_term(setting), setting.get("smoothness") * setting.get("distance") ** 2 / setting.eps
    return constant * scaled(setting.harmonic_mean, fixed + noise / setting.workers)


def optimal(setting: Setting) -> Best:
    r"""Returns the time that no method beats, up to a constant, and the smallest m that attains it.

    .. math:: \min_m H_m \Big(\min\Big\{\frac{\sqrt L R_0}{\sqrt\varepsilon}, \frac{M^2 R_0^2}{\varepsilon^2}\Big\}
              + \frac{\sigma^2 R_0^2}{m \varepsilon^2}\Big)
    """
    noise = noise_term(setting)
    return best_harmonic(setting.ascending, deterministic_term(setting), noise)


def lower_bound(setting: Setting, constant: float = 1.0) -> float:
    """Returns what no method can beat, of order :func:`optimal` (arXiv 2305.12387, Theorem B.4 [poster])."""
    return constant * optimal(setting).seconds


def graph_oracle_lower_bound(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the older lower bound of the graph oracle (Woodworth et al. 2018; arXiv 2305.12387, Section M [poster]).

    .. math:: \tau_1 \min\Big\{\frac{\sqrt L R_0}{\sqrt\varepsilon}, \frac{M^2 R_0^2}{\varepsilon^2}\Big\}
              + H_n \frac{\sigma^2 R_0^2}{n \varepsilon^2}

    Never above :func:`lower_bound`.
    """
    noise = noise_term(setting)
    first = scaled(float(setting.ascending[0]), deterministic_term(setting))
    return constant * (first + scaled(setting.harmonic_mean, noise / setting.workers))


def nonsmooth_rennala(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Rennala SGD on nonsmooth f (arXiv 2305.12387, Theorem B.9; its constant 8 [derived]).

    .. math:: \min_m H_m \Big(\frac{M^2 R_0^2}{\varepsilon^2} + \frac{\sigma^2 R_0^2}{m \varepsilon^2}\Big)
    """
    noise = noise_term(setting)
    return constant * best_harmonic(setting.ascending, nonsmooth_term(setting), noise).seconds


def accelerated_rennala(setting: Setting, constant: float = 1.0) -> float:
    r"""Returns the seconds of Accelerated Rennala SGD (arXiv 2305.12387, Theorem B.11; its constant 32 [derived]).

    .. math:: \min_m H_m \Big(\frac{\sqrt L R_0}{\sqrt\varepsilon} + \frac{\sigma^2 R_0^2}{m \varepsilon^2}\Big)
    """
    noise = noise_term(setting)
    return constant * best_harmonic(setting.ascending, accelerated_term(setting), noise).seconds


def heterogeneous_optimal(setting: Setting) -> float:
    r"""Returns the optimal time for workers with different data, smooth f, up to a constant (arXiv 2405.16218 [sib]).

    .. math:: \tau_n \frac{\sqrt L R_0}{\sqrt\varepsilon} + \tau_A \frac{\sigma^2 R_0^2}{n \varepsilon^2}
    """
    noise = noise_term(setting)
    first = scaled(setting.slowest, accelerated_term(setting))
    return first + scaled(setting.mean_time, noise / setting.workers)


def strongly_convex_optimal(setting: Setting) -> Best:
    r"""Returns the optimal time for mu-strongly convex f, up to constants and logarithms (arXiv 2405.16218 [sib]).

    .. math:: \min_m H_m \Big(\sqrt{\frac L\mu} + \frac{\sigma^2}{m \varepsilon \mu}\Big)

    with the smallest m that attains it; eps bounds E f - f*.
    """
    ratio, convexity = setting.noise_ratio, setting.get("strong_convexity")
    return best_harmonic(setting.ascending, math.sqrt(setting.get("smoothness") / convexity), ratio / convexity)


def heterogeneous_strongly_convex_optimal(setting: Setting) -> float:
    r"""Returns the optimal time for mu-strongly convex f and workers with different data (arXiv 2405.16218 [sib]).

    .. math:: \tau_n \sqrt{\frac L\mu} + \tau_A \frac{\sigma^2}{n \varepsilon \mu}

    up to constants and logarithms; eps bounds E f - f*.
    """
    ratio, convexity = setting.noise_ratio, setting.get("strong_convexity")
    first = scaled(setting.slowest, math.sqrt(setting.get("smoothness") / convexity))
    return first + scaled(setting.mean_time, ratio / (setting.workers * convexity))


METHODS: dict[str, Callable[..., float]] = {
    "Minibatch": minibatch,
    "ASGD": asgd,
    "NonsmoothRennala": nonsmooth_rennala,
    "AcceleratedRennala": accelerated_rennala,
}
"""The formula of each method's time, by its class, one distribution of data."""
