"""Fragile SGD for convex functions that need not be smooth: the same communication, the mean of the points."""

from __future__ import annotations

from typing import Any

from rayopt.methods.averaging import AveragedPoints
from rayopt.methods.base import Array
from rayopt.methods.decentralized.fragile import Fragile
from rayopt.theory import Setting, parameters


class NonsmoothFragile(AveragedPoints, Fragile):
    """Fragile SGD for convex, Lipschitz f: what is evaluated is the mean of the points.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{s_k} \\sum_{j=1}^{s_k} \\nabla f(x^k; \\xi_j^k), \\qquad
              \\bar x^K = \\frac1K \\sum_{k < K} x^k

    with gamma = ``step_size`` and s_k >= S = ``batch_size``.

    Server knows:
      sigma^2, the Lipschitz constant M and eps; times only to choose the pivot and the trees.

    Guarantee:
      K >= 2 M^2 R^2 / eps^2 updates with the step and batch of theory give E f(xbar^K) - min f <= eps, in
      (M^2 R^2 / eps^2) min_j t*(sigma^2 / M^2, h, [tau_ij + tau_ji]) seconds up to a constant [paper].

    Args:
      step_size: gamma; in theory eps / (M^2 + sigma^2 / S).
      batch_size: S; in theory max{ceil(sigma^2 / M^2), 1}.
      pivot: "best", "centre" or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.NonsmoothFragile(step_size=0.1, batch_size=4),
      ...                 ro.problems.Quadratic(dimension=5), network, until=ro.Until(updates=3))
      >>> len(result.rounds)
      3

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Section 6 and its appendix.
    """

    name = "nonsmooth_fragile"
    convex = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.nonsmooth_rennala(setting)

    def step(self, gradient: Array) -> None:
        self.averaged_step(gradient)
