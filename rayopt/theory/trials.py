"""MindFlayer and Vecna SGD: how many trials each worker makes when times are random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.theory.checks import Array, NotAllowed, non_negative, probabilities_of, times_of
from rayopt.theory.harmonic import TIE, Best

# A quotient that is an integer up to rounding is that integer: T* / c_i is 1 exactly for the worker that sets T*.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Trials:
    """How many gradients each worker tries to compute at one point.

    Attributes:
      counts: B_i >= 0, shape (n,).
      expected: B = sum_i p_i B_i, the expected number of successes.
      seconds: T*, an upper bound of the longest worker's time, up to the rounding of its count.
    """

    counts: NDArray[np.int64]
    expected: float
    seconds: float


def trial_set_times(trial_times: ArrayLike, success_probabilities: ArrayLike, noise_ratio: float) -> Array:
    r"""Returns T_1, ..., T_n: the seconds in which the m soonest workers collect S successes.

    .. math:: T_m = \Big(\sum_{j \le m} \frac{p_j}{c_j}\Big)^{-1} \Big(S + \sum_{j \le m} p_j\Big),
              \qquad S = \max\{\sigma^2/\varepsilon, 1\}

    Workers are sorted by c = ``trial_times``; p moves with them (the released function of the authors takes the
    unsorted p within the sum over p / c, which is the same only if p are equal or the workers are sorted).

    Args:
      trial_times: c_i = tau_i + t_i, seconds, shape (n,).
      success_probabilities: p_i, shape (n,).
      noise_ratio: sigma^2 / eps, at least 0.

    Raises:
      ValueError: a time is NaN or not above 0, a probability is outside [0, 1], a negative ratio.

    Examples:
      >>> trial_set_times([2.0, 2.0], [0.5, 0.5], noise_ratio=10.0).tolist()
      [42.0, 22.0]
    """
    times, probabilities, order = _sorted(trial_times, success_probabilities)
    successes = max(non_negative("noise_ratio", noise_ratio), 1.0)
    rates = np.cumsum(probabilities[order] / times[order])
    with np.errstate(divide="ignore"):
        return (successes + np.cumsum(probabilities[order])) / rates


def best_trial_set(trial_times: ArrayLike, success_probabilities: ArrayLike, noise_ratio: float) -> Best:
    """Returns min_m T_m of :func:`trial_set_times` and the smallest m that attains it."""
    seconds = trial_set_times(trial_times, success_probabilities, noise_ratio)
    least = seconds.min()
    return Best(int(np.argmax(seconds <= least * (1 + TIE))) + 1, float(least))


def mindflayer_trials(trial_times: ArrayLike, success_probabilities: ArrayLike, noise_ratio: float) -> Trials:
    r"""Returns the numbers of trials of MindFlayer SGD [code, with the sorted p].

    .. math:: B_i = \Big\lceil \frac{T^*}{c_i} - 1 \Big\rceil \text{ for the } m^* \text{ soonest workers, else } 0,
              \qquad B = \sum_i p_i B_i \ge S

    with T* = T_{m*} of :func:`trial_set_times`.

    Args:
      trial_times: c_i = tau_i + t_i, seconds, shape (n,).
      success_probabilities: p_i, shape (n,).
      noise_ratio: sigma^2 / eps, at least 0.

    Raises:
      ValueError: a time is NaN or not above 0, a probability is outside [0, 1], a negative ratio, or no worker
        ever succeeds.

    Examples:
      >>> found = mindflayer_trials([1 + i ** 0.5 for i in range(1, 6)], [0.5] * 5, noise_ratio=10.0)
      >>> found.counts.tolist(), found.expected
      ([6, 5, 4, 4, 4], 11.5)
    """
    times, probabilities, order = _sorted(trial_times, success_probabilities)
    best = best_trial_set(times, probabilities, noise_ratio)
    if not math.isfinite(best.seconds):
        raise NotAllowed("success_probabilities", "no worker ever succeeds", "a finite time with a probability above 0")
    counts = np.zeros(len(times), dtype=np.int64)
    chosen = order[: best.workers]
    counts[chosen] = np.ceil(best.seconds / times[chosen] - 1.0 - ROUNDING)
    return Trials(counts, float(probabilities @ counts), best.seconds)


def vecna_trials(trial_times: ArrayLike, success_probabilities: ArrayLike, noise_ratio: float) -> Trials:
    r"""Returns numbers of trials for Vecna SGD: a suggestion of rayopt [derived], not the paper's.

    .. math:: B_i = \Big\lceil \frac{T}{c_i} \Big\rceil, \qquad
              T = \max_i c_i + \frac{\sigma^2}{n \varepsilon} \cdot \frac1n \sum_i \frac{c_i}{p_i}

    Every worker makes at least one trial.

    Args:
      trial_times: c_i = tau_i + t_i, seconds, shape (n,), finite.
      success_probabilities: p_i, shape (n,), above 0.
      noise_ratio: sigma^2 / eps, at least 0.

    Raises:
      ValueError: a time is not finite, a probability is 0, or what :func:`mindflayer_trials` refuses.
    """
    times, probabilities, _ = _sorted(trial_times, success_probabilities)
    if not np.isfinite(times).all() or not probabilities.all():
        raise NotAllowed("trial_times", "a worker never succeeds", "finite times and probabilities above 0")
    ratio = non_negative("noise_ratio", noise_ratio)
    seconds = float(times.max() + ratio / len(times) * np.mean(times / probabilities))
    counts = np.ceil(seconds / times - ROUNDING).astype(np.int64)
    return Trials(counts, float(probabilities @ counts), seconds)


def _sorted(trial_times: ArrayLike, success_probabilities: ArrayLike) -> tuple[Array, Array, NDArray[np.intp]]:
    """Returns c, p and the order of the workers by c."""
    times = times_of("trial_times", trial_times)
    probabilities = probabilities_of("success_probabilities", success_probabilities, len(times))
    return times, probabilities, np.argsort(times, kind="stable")
