"""Upper bounds of the seconds that one update, or one round of updates, takes with fixed times."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import at_least, positive, times_of
from rayopt.theory.harmonic import best_harmonic


def rennala_cycle(times: ArrayLike, batch_size: int) -> float:
    r"""Returns the seconds in which Rennala surely collects S gradients, stale computations not interrupted [sib].

    .. math:: t'(S) = 2 \min_m H_m \Big(1 + \frac Sm\Big)

    Args:
      times: tau_i, seconds, shape (n,), in any order.
      batch_size: S >= 1.

    Raises:
      ValueError: a time is NaN or not above 0, or S is not a positive integer.
    """
    return 2 * best_harmonic(times, 1.0, at_least("batch_size", batch_size, 1)).seconds


def ringmaster_cycle(times: ArrayLike, threshold: int) -> float:
    r"""Returns the seconds in which Ringmaster surely makes any R consecutive updates (Lemma 4.1 [sib]).

    .. math:: t(R) = 2 \min_m H_m \Big(1 + \frac Rm\Big)

    Args:
      times: tau_i, seconds, shape (n,), in any order.
      threshold: R >= 1.

    Raises:
      ValueError: a time is NaN or not above 0, or R is not a positive integer.

    Examples:
      >>> round(ringmaster_cycle([1.0, 2.3, 3.7], threshold=2), 4)
      5.5758
    """
    return 2 * best_harmonic(times, 1.0, at_least("threshold", threshold, 1)).seconds


def malenia_cycle(times: ArrayLike, batch_size: int) -> float:
    r"""Returns the seconds in which Malenia's counts surely reach the harmonic mean S / n [sib].

    .. math:: 2 \Big(\tau_n + \frac Sn \tau_A\Big)

    Args:
      times: tau_i, seconds, shape (n,), in any order.
      batch_size: S >= 1.

    Raises:
      ValueError: a time is NaN or not above 0, or S is not a positive integer.
    """
    tau = times_of("times", times)
    return float(2 * (tau.max() + at_least("batch_size", batch_size, 1) / len(tau) * tau.mean()))


def ringleader_cycle(times: ArrayLike) -> float:
    """Returns 2 tau_n, the seconds in which Ringleader surely makes n consecutive updates [third-party note].

    Args:
      times: tau_i, seconds, shape (n,), in any order.

    Raises:
      ValueError: a time is NaN or not above 0.
    """
    return float(2 * times_of("times", times).max())


def ringleader_counts(times: ArrayLike) -> float:
    r"""Returns a lower bound of B, the harmonic mean of the counts in Ringleader's table [third-party note].

    .. math:: B = \inf_k \Big(\frac1n \sum_i \frac1{b_i^k}\Big)^{-1} \ge \max\Big\{1, \frac{\tau_n}{2 \tau_A}\Big\}

    Args:
      times: tau_i, seconds, shape (n,), in any order, finite.

    Raises:
      ValueError: a time is NaN, infinite or not above 0.
    """
    tau = times_of("times", times)
    return max(1.0, positive("times", float(tau.max())) / (2 * float(np.mean(tau))))
