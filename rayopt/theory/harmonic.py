"""Harmonic means of the fastest workers, and how many workers are best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import Array, ascending, non_negative

# Two numbers of workers whose seconds differ by less, relatively, are equally good: a sum of 10^6 inverses
# carries rounding errors of this size.
TIE = 1e-12


@dataclass(frozen=True)
class Best:
    """The number of workers that minimises a time.

    Attributes:
      workers: m*, the smallest of several that are equally good.
      seconds: the time with m* workers.
    """

    workers: int
    seconds: float


def harmonic_means(times: ArrayLike) -> Array:
    r"""Returns H_1, ..., H_n, the harmonic means of the m fastest workers; non-decreasing.

    .. math:: H_m = \Big(\frac1m \sum_{i=1}^m \frac1{\tau_i}\Big)^{-1}, \qquad \tau_1 \le \dots \le \tau_n

    with tau = ``times``; the papers write tau_h^m or tau_H^m.

    Args:
      times: seconds per gradient, shape (n,), in any order; infinite for a worker that never answers.

    Raises:
      ValueError: a time is NaN or not above 0, or there is none.

    Examples:
      >>> harmonic_means([3.0, 1.0, 2.0]).round(4).tolist()
      [1.0, 1.3333, 1.6364]
      >>> harmonic_means([1.0, float("inf")]).tolist()
      [1.0, 2.0]
    """
    rates = np.cumsum(1.0 / ascending(times))
    with np.errstate(divide="ignore"):
        return np.arange(1, len(rates) + 1) / rates


def best_harmonic(times: ArrayLike, fixed: float, shared: float) -> Best:
    r"""Returns the minimum over m of H_m (a + b / m): m workers, each as often as it can.

    .. math:: \min_{m \in [n]} H_m \Big(a + \frac bm\Big) = \min_{m \in [n]} \frac{m a + b}{\sum_{i \le m} 1/\tau_i}

    with a = ``fixed`` and b = ``shared``.

    Args:
      times: seconds per gradient, shape (n,), in any order; infinite ones change nothing.
      fixed: what does not shrink with the number of workers, at least 0.
      shared: what the workers share, at least 0.

    Raises:
      ValueError: a time is NaN or not above 0, there is none, or a term is negative.

    Examples:
      >>> found = best_harmonic(range(1, 6175), 1.0, 100.0)
      >>> found.workers, round(found.seconds, 2)
      (32, 32.52)
    """
    rates = np.cumsum(1.0 / ascending(times))
    return _smallest(_work(len(rates), fixed, shared), rates)


def best_slowest(times: ArrayLike, fixed: float, shared: float) -> Best:
    r"""Returns the minimum over m of tau_m (a + b / m): m workers that wait for each other.

    .. math:: \min_{m \in [n]} \tau_m \Big(a + \frac bm\Big), \qquad \tau_1 \le \dots \le \tau_n

    with a = ``fixed`` and b = ``shared``. It is at most 1 + ln n times :func:`best_harmonic` [derived].

    Args:
      times: seconds per gradient, shape (n,), in any order; infinite ones change nothing.
      fixed: what does not shrink with the number of workers, at least 0.
      shared: what the workers share, at least 0.

    Raises:
      ValueError: a time is NaN or not above 0, there is none, or a term is negative.

    Examples:
      >>> best_slowest([1.0, 2.0, 10.0], 1.0, 4.0)
      Best(workers=1, seconds=5.0)
    """
    sorted_times = ascending(times)
    n = len(sorted_times)
    return _smallest(_work(n, fixed, shared) / np.arange(1, n + 1), 1.0 / sorted_times)


def _work(workers: int, fixed: float, shared: float) -> Array:
    """Returns m a + b for m = 1, ..., n."""
    counts = np.arange(1, workers + 1, dtype=np.float64)
    return counts * non_negative("fixed", fixed) + non_negative("shared", shared)


def _smallest(work: Array, rates: Array) -> Best:
    """Returns the first m with the least work / rate; work without end takes infinitely long, no work no time."""
    if not work.any():
        return Best(1, 0.0)
    # A term that underflows is no work, and a worker that never answers still has no time: 0 / 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = np.where(rates > 0, work / rates, np.inf)
    least = seconds.min()
    return Best(int(np.argmax(seconds <= least * (1 + TIE))) + 1, float(least))
