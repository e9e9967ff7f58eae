"""One worker with random times: waiting for every gradient (Rennala) against giving up (MindFlayer).

A gradient costs tau + eta seconds, eta >= 0 random with the distribution function F. The distribution is any
object of ``scipy.stats`` that is frozen, or anything with its methods ``cdf``, ``sf``, ``ppf`` and ``mean``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import NotAllowed, non_negative


class Distribution(Protocol):
    """The law of eta, as frozen distributions of ``scipy.stats`` tell it."""

    def cdf(self, x: Any) -> Any: ...
    def sf(self, x: Any) -> Any: ...
    def ppf(self, q: Any) -> Any: ...
    def mean(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Quantiles:
    """A distribution that is known by its quantiles alone, for instance those measured.

    Args:
      values: the observed eta, seconds, shape (m,), each with probability 1 / m; infinity is a task that never ended.

    Raises:
      ValueError: no value, NaN or a negative one.
    """

    values: ArrayLike

    def __post_init__(self) -> None:
        sample = np.sort(np.asarray(self.values, dtype=np.float64).ravel())
        if sample.size == 0 or not (sample >= 0).all():
            raise NotAllowed("values", "none, NaN or a negative one", "at least one number, each of at least 0")
        object.__setattr__(self, "values", sample)

    def cdf(self, x: Any) -> Any:
        """Returns the share of the values that are at most x."""
        return np.searchsorted(self.values, x, side="right") / np.size(self.values)

    def sf(self, x: Any) -> Any:
        """Returns the share of the values that are above x."""
        return 1.0 - self.cdf(x)

    def ppf(self, q: Any) -> Any:
        """Returns the smallest value of which the share reaches q."""
        return np.quantile(np.asarray(self.values), q, method="inverted_cdf")

    def mean(self) -> float:
        """Returns the mean of the values."""
        return float(np.asarray(self.values).mean())


def rennala_seconds(least: float, delay: Distribution) -> float:
    """Returns tau + E eta, the mean seconds of one gradient that is always waited for [derived].

    Args:
      least: tau, seconds, at least 0.
      delay: the law of eta, seconds.

    Examples:
      >>> from scipy.stats import lognorm
      >>> round(rennala_seconds(1.0, lognorm(2.5)), 3)
      23.76
    """
    return non_negative("least", least) + float(delay.mean())


def mindflayer_seconds(allotted: float, least: float, delay: Distribution) -> float:
    r"""Returns the mean seconds per gradient when a trial is given up after tau + t [derived].

    .. math:: \frac{\tau + E \min\{\eta, t\}}{F(t)}, \qquad E \min\{\eta, t\} = \int_0^t (1 - F(s)) ds

    with t = ``allotted`` and tau = ``least``. Infinite if no trial ever succeeds.

    Args:
      allotted: t, seconds, at least 0; infinity never gives up.
      least: tau, seconds, at least 0.
      delay: the law of eta, seconds.

    Examples:
      >>> from scipy.stats import lognorm
      >>> [round(mindflayer_seconds(t, 1.0, lognorm(2.5)), 3) for t in (0.005, 1.0, 1000.0)]
      [59.006, 3.283, 17.655]
    """
    non_negative("least", least)
    if allotted == math.inf:
        return rennala_seconds(least, delay)
    success = float(delay.cdf(non_negative("allotted", allotted)))
    if success == 0:
        return math.inf
    return (least + truncated_mean(allotted, delay)) / success


def truncated_mean(limit: float, delay: Distribution) -> float:
    """Returns E min{eta, t} for t = ``limit``, seconds."""
    if isinstance(delay, Quantiles):
        return float(np.minimum(np.asarray(delay.values), limit).mean())
    from scipy.integrate import quad

    # s = t v^4: laws of this field have most of their mass many orders of magnitude below a generous limit.
    value, _ = quad(lambda v: float(delay.sf(limit * v**4)) * 4 * v**3, 0.0, 1.0, limit=200, epsabs=0, epsrel=1e-10)
    return limit * value


def best_allotted(least: float, delay: Distribution) -> float:
    """Returns the t that minimises :func:`mindflayer_seconds`, of the quantiles of eta from 0.1 % to 99.9 %, seconds.

    Args:
      least: tau, seconds, at least 0.
      delay: the law of eta, seconds.
    """
    from scipy.optimize import minimize_scalar

    levels = np.linspace(0.001, 0.999, 64)

    def seconds(level: float) -> float:
        return mindflayer_seconds(float(delay.ppf(level)), least, delay)

    # The function may have several valleys: the best of a grid, then refined between its neighbours.
    best = int(np.argmin([seconds(level) for level in levels]))
    bounds = (levels[max(best - 1, 0)], levels[min(best + 1, len(levels) - 1)])
    refined = minimize_scalar(seconds, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    level = refined.x if refined.fun < seconds(levels[best]) else levels[best]
    return float(delay.ppf(level))
