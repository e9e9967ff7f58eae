"""How many updates a theorem asks for, with the constants of the papers."""

from __future__ import annotations

import math

from rayopt.theory.checks import at_least, ceiling, non_negative
from rayopt.theory.setting import Setting


def _iterations(setting: Setting) -> float:
    """Returns L Delta / eps."""
    return setting.get("smoothness") * setting.get("initial_gap") / setting.eps


def minibatch(setting: Setting, batch_size: int) -> int:
    r"""Returns K of SGD with minibatches of m (arXiv 2405.16218, Theorem 21 [sib]); Hero is m = 1.

    .. math:: K \ge \frac{8 L \Delta}{\varepsilon} + \frac{8 \sigma^2 L \Delta}{m \varepsilon^2}
    """
    ratio = setting.noise_ratio
    return ceiling(8 * _iterations(setting) * (1 + ratio / at_least("batch_size", batch_size, 1)))


def rennala(setting: Setting) -> int:
    """Returns K = ceil(24 L Delta / eps) of Rennala and of Malenia [memory; consistent with the constant 96]."""
    return ceiling(24 * _iterations(setting))


def ringmaster(setting: Setting, threshold: int) -> int:
    r"""Returns K of Ringmaster (arXiv 2501.16168, Theorem 4.1; its order [poster], its constants [memory]).

    .. math:: K \ge \frac{8 R L \Delta}{\varepsilon} + \frac{16 \sigma^2 L \Delta}{\varepsilon^2}

    With R = n this is ASGD that drops delays from n on [derived], with R = m* Naive Optimal ASGD [derived].
    """
    ratio = setting.noise_ratio
    return ceiling(_iterations(setting) * (8 * at_least("threshold", threshold, 1) + 16 * ratio))


def asgd(setting: Setting, concurrency: int, largest_delay: float) -> float:
    r"""Returns the order of the updates of ASGD with a constant step (arXiv 2206.08307 [paper], constant 1).

    .. math:: \frac{\sigma^2}{\varepsilon^2} + \frac{\sqrt{\tau_C \tau_{\max}}}{\varepsilon}

    times L Delta, with tau_C = ``concurrency`` and tau_max = ``largest_delay``.
    """
    delays = at_least("concurrency", concurrency, 1) * non_negative("largest_delay", largest_delay)
    ratio = setting.noise_ratio
    return _iterations(setting) * (ratio + math.sqrt(delays))


def delay_adaptive_asgd(setting: Setting, concurrency: int) -> float:
    r"""Returns the order of the updates of delay-adaptive ASGD (arXiv 2206.08307, Theorem 8 [paper], constant 1).

    .. math:: \frac{\sigma^2}{\varepsilon^2} + \frac{\tau_C}{\varepsilon}

    times L Delta, with tau_C = ``concurrency``.
    """
    ratio = setting.noise_ratio
    return _iterations(setting) * (ratio + at_least("concurrency", concurrency, 1))


def picky(setting: Setting, mean_delay: float) -> int:
    r"""Returns T of Picky SGD (arXiv 2106.11879; its order [paper abstract], its constant 500 [memory]).

    .. math:: T \ge 500 L \Delta \Big(\frac{\sigma^2}{\varepsilon^2} + \frac{\bar d + 1}{\varepsilon}\Big)

    with eps the square of the paper's accuracy of the gradient's norm; arrivals that are discarded count too.
    """
    ratio = setting.noise_ratio
    return ceiling(500 * _iterations(setting) * (ratio + non_negative("mean_delay", mean_delay) + 1))


def mindflayer(setting: Setting, expected_successes: float) -> int:
    r"""Returns K of MindFlayer SGD (arXiv 2410.04285 [poster]).

    .. math:: K \ge \max\Big\{1, \frac{\sigma^2}{\varepsilon B}\Big\} \frac{8 L \Delta}{\varepsilon}

    with B = ``expected_successes``, sum_i p_i B_i.
    """
    ratio = setting.noise_ratio
    return ceiling(8 * _iterations(setting) * max(1.0, ratio / expected_successes))


def accelerated_rennala(setting: Setting) -> int:
    """Returns K = ceil(8 sqrt(L) R0 / sqrt(eps)) of Accelerated Rennala (arXiv 2305.12387, Theorem B.11 [sib])."""
    return ceiling(8 * math.sqrt(setting.get("smoothness") / setting.eps) * setting.get("distance"))


def nonsmooth_rennala(setting: Setting) -> int:
    """Returns K = ceil(2 M^2 R0^2 / eps^2) of Rennala on nonsmooth f (arXiv 2305.12387, Theorem B.9 [sib])."""
    return ceiling(2 * (setting.get("lipschitz") * setting.get("distance") / setting.eps) ** 2)
