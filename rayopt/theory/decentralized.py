"""The equilibrium time of methods without a server: workers on a graph, distances to a pivot.

References:
  Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
  <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.theory.checks import NotAllowed, times_of


def decentralized_equilibrium_time(S: float, compute: ArrayLike, distances: ArrayLike) -> float:
    r"""Returns t*(S, [h_i], [mu_i]) of Definition 2 [paper]; it has no factor 2, unlike Shadowheart's.

    .. math::
        t^*(S) = \min_{k} \max\Big\{\max\{\mu_{\pi(k)}, h_{\pi(k)}\},
        S \Big(\sum_{i \le k} \frac1{h_{\pi(i)}}\Big)^{-1}\Big\}

    where pi sorts max(mu_i, h_i), h = ``compute`` and mu = ``distances``.

    Args:
      S: gradients of an iteration, at least 0.
      compute: seconds of one gradient for each worker, above 0, shape (n,).
      distances: seconds from each worker to the pivot and back, at least 0, shape (n,).

    Raises:
      NotAllowed: an argument is out of its range, or there are not as many distances as times.
    """
    return float(_candidates(S, compute, distances)[1].min())


def contributors(S: float, compute: ArrayLike, distances: ArrayLike) -> NDArray[np.intp]:
    """Returns the workers pi(1), ..., pi(k*) that ever contribute; k* is the first that reaches the minimum [paper]."""
    order, times = _candidates(S, compute, distances)
    return order[: int(np.argmin(times)) + 1]


def _candidates(S: float, compute: ArrayLike, distances: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    h = times_of("compute", compute)
    mu = np.atleast_1d(np.asarray(distances, dtype=np.float64))
    if mu.shape != h.shape or np.isnan(mu).any() or (mu < 0).any():
        raise NotAllowed(
            "distances", f"shape {mu.shape}, or a distance that is negative", f"{len(h)} numbers of at least 0"
        )
    if not S >= 0:
        raise NotAllowed("S", f"{S!r}", "a number of at least 0")
    slower = np.maximum(h, mu)
    order = np.argsort(slower, kind="stable")
    with np.errstate(divide="ignore"):
        batch = S / np.cumsum(1 / h[order])
    return order, np.maximum(slower[order], batch)
