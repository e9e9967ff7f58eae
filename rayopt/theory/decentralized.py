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


def best_pivot(S: float, compute: ArrayLike, there_and_back: ArrayLike) -> int:
    """Returns argmin_j t*(S, h, [tau_ij + tau_ji]_i) (Corollary 1 [paper]); the first of those that are equal.

    Args:
      S: gradients of an iteration, at least 0.
      compute: h, seconds of one gradient for each worker, shape (n,).
      there_and_back: tau_ij + tau_ji, shape (n, n).
    """
    return int(np.argmin(_by_pivot(S, compute, there_and_back)))


def _by_pivot(S: float, compute: ArrayLike, distances: ArrayLike) -> NDArray[np.float64]:
    """Returns t* for every pivot, shape (n,)."""
    to_pivot = np.asarray(distances, dtype=np.float64)
    return np.array([decentralized_equilibrium_time(S, compute, to_pivot[:, j]) for j in range(len(to_pivot))])


def fragile(iterations: float, S: float, compute: ArrayLike, distances: ArrayLike) -> float:
    """Returns iterations * min_j t*(S, h, [tau_ij + tau_ji]) (Theorem 3, Corollary 1 [paper]).

    Args:
      iterations: L Delta / eps, or its accelerated or nonsmooth counterpart.
      S: sigma^2 / eps, or its counterpart.
      compute: h, seconds of one gradient for each worker, shape (n,).
      distances: tau_ij, seconds of a vector from i to j over the shortest way, shape (n, n).
    """
    tau = np.asarray(distances, dtype=np.float64)
    return iterations * float(_by_pivot(S, compute, tau + tau.T).min())


def fragile_lower_bound(iterations: float, S: float, compute: ArrayLike, distances: ArrayLike) -> float:
    """Returns iterations / (log n + 1) * min_j t*(S, h, [tau_ij]) (Theorem 1 [paper]), arguments as of Fragile."""
    tau = np.asarray(distances, dtype=np.float64)
    return iterations * float(_by_pivot(S, compute, tau).min()) / float(np.log(len(tau)) + 1)


def minibatch(iterations: float, ratio: float, compute: ArrayLike, distances: ArrayLike) -> float:
    """Returns iterations (1 + ratio / n) max{max tau_ij, max h} (Table 1 [paper]), ratio being sigma^2 / eps."""
    tau, h = np.asarray(distances, dtype=np.float64), np.asarray(compute, dtype=np.float64)
    return float(iterations * (1 + ratio / len(h)) * max(tau.max(), h.max()))


def amelie(iterations: float, ratio: float, compute: ArrayLike, distances: ArrayLike) -> float:
    """Returns iterations max{max tau_ij, max h, (ratio / n) mean h}, up to a constant the lower bound too [paper]."""
    tau, h = np.asarray(distances, dtype=np.float64), np.asarray(compute, dtype=np.float64)
    return float(iterations * max(tau.max(), h.max(), ratio / len(h) * h.mean()))


def mesh(iterations: float, ratio: float, n: float, h: float, rho: float, axes: int = 1) -> float:
    """Returns the closed form for a mesh or torus of equal nodes and edges [paper], up to a constant.

    Args:
      iterations: L Delta / eps.
      ratio: sigma^2 / eps.
      n: number of nodes.
      h: seconds of a gradient.
      rho: seconds of a message over an edge, above 0.
      axes: N, of the mesh; 1 is a line.
    """
    used = (ratio * h / rho) ** (axes / (axes + 1))
    if used <= 1:
        rest = ratio * h
    elif used < n:
        rest = rho ** (axes / (axes + 1)) * (ratio * h) ** (1 / (axes + 1))
    else:
        rest = ratio * h / n
    return iterations * (h + rest)
