"""Accelerated Fragile and Amelie SGD for smooth convex functions: the same communication, Lan's updates."""

from __future__ import annotations

from typing import Any

from rayopt.methods.acceleration import LanScheme
from rayopt.methods.base import Array
from rayopt.methods.decentralized.amelie import Amelie
from rayopt.methods.decentralized.base import PivotMethod
from rayopt.methods.decentralized.fragile import Fragile
from rayopt.theory import Setting, parameters


class AcceleratedPivot(LanScheme, PivotMethod):
    """Lan's scheme at the pivot: the nodes are sent y."""

    def evaluated_at(self) -> Array:
        return self.between(self.u)

    def step(self, gradient: Array) -> None:
        self.accelerated_step(gradient)


class AcceleratedFragile(AcceleratedPivot, Fragile):
    """Accelerated Fragile SGD: Fragile SGD with Lan's scheme at the pivot, for smooth convex f.

    .. math:: y^{k+1} = (1 - \\alpha_{k+1}) x^k + \\alpha_{k+1} u^k, \\qquad
              u^{k+1} = u^k - \\gamma (k + 1) \\bar g(y^{k+1})

    .. math:: x^{k+1} = (1 - \\alpha_{k+1}) x^k + \\alpha_{k+1} u^{k+1}, \\qquad \\alpha_{k+1} = \\frac{2}{k + 2}

    with gamma = ``step_size``, gbar the mean of s_k >= S = ``batch_size`` gradients and u^0 = x^0. The nodes are sent
    y, which the paper says only implicitly [derived]; what is evaluated is x^k.

    Server knows:
      sigma^2, L, eps, the distance R and the number of updates K; times only to choose the pivot and the trees.

    Guarantee:
      K >= 8 sqrt(L) R / sqrt(eps) updates, each of at most 3 times 2 t*(S, h, [tau_ij + tau_ji]) seconds, give
      E f(x^K) - min f <= eps [paper].

    Args:
      step_size: gamma; in theory min{1 / (4L), sqrt(3 R^2 S / (4 sigma^2 (K + 1) (K + 2)^2))}.
      batch_size: S; in theory max{ceil(sigma^2 R / (eps^{3/2} sqrt(L))), 1}.
      pivot: "best", "centre" or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.AcceleratedFragile(step_size=0.1, batch_size=4),
      ...                 ro.problems.Quadratic(dimension=5), network, until=ro.Until(updates=3))
      >>> len(result.rounds)
      3

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Theorem 12.
    """

    name = "accelerated_fragile"
    convex = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.accelerated_rennala(setting)


class AcceleratedAmelie(AcceleratedPivot, Amelie):
    """Accelerated Amelie SGD: Amelie SGD with Lan's scheme at the pivot, for smooth convex f.

    .. math:: y^{k+1} = (1 - \\alpha_{k+1}) x^k + \\alpha_{k+1} u^k, \\qquad
              u^{k+1} = u^k - \\gamma (k + 1) \\bar g(y^{k+1})

    .. math:: x^{k+1} = (1 - \\alpha_{k+1}) x^k + \\alpha_{k+1} u^{k+1}, \\qquad \\alpha_{k+1} = \\frac{2}{k + 2}

    with gamma = ``step_size``, gbar Amelie's mean of the nodes' means, S = ``batch_size`` and u^0 = x^0. The nodes are
    sent y, which the paper says only implicitly [derived]; what is evaluated is x^k.

    Server knows:
      sigma^2, L, eps, the distance R and the number of updates K; no times.

    Guarantee:
      K >= 8 sqrt(L) R / sqrt(eps) updates give E f(x^K) - min f <= eps, in (sqrt(L) R / sqrt(eps)) max{max tau, max h,
      (sigma^2 R / (n eps^{3/2} sqrt(L))) mean h} seconds up to a constant [paper].

    Args:
      step_size: gamma; in theory min{1 / (4L), sqrt(3 R^2 S / (4 sigma^2 (K + 1) (K + 2)^2))}.
      batch_size: S; in theory max{ceil(sigma^2 R / (eps^{3/2} sqrt(L))), n}.
      pivot: "best", "centre" or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.ring(4), compute=1.0, edges=0.5)
      >>> result = ro.run(ro.methods.AcceleratedAmelie(step_size=0.1, batch_size=4),
      ...                 ro.problems.Quadratic(dimension=5), network, until=ro.Until(updates=3))
      >>> len(result.rounds)
      3

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Section 6 and its appendix.
    """

    name = "accelerated_amelie"
    convex = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        found = parameters.accelerated_rennala(setting)
        return {**found, "batch_size": max(found["batch_size"], setting.workers)}
