"""Freya PAGE: variance reduction on components that the server chooses, optimal for large finite sums."""

from __future__ import annotations

import math
from typing import Any

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Array, Fleet
from rayopt.methods.finite_sum.base import PAGEMethod
from rayopt.theory import Setting, parameters


class FreyaPAGE(PAGEMethod):
    """Freya PAGE: full gradients now and then, cheap differences between them, nobody waits for a straggler.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\nabla f(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1S \\sum_{j \\in B^k} \\big(\\nabla f_j(x^{k+1}) - \\nabla f_j(x^k)\\big)

    with gamma = ``step_size``, S = ``batch_size``, p = ``probability``, and B^k indices i.i.d. uniform with
    replacement. Both parts are collected as they come (Algorithms 2 and 3 of the paper): for the full gradient every
    worker begins with a uniform index; an index that has come already is dropped, and the worker is given one that is
    missing, so that a straggler's component is computed by others too. When a part is complete, what is unfinished is
    cancelled.

    Server knows:
      m, L_- and L_pm, for the step size; neither the times nor sigma^2 nor eps.

    Guarantee:
      t(m) + (Delta / eps) t(sqrt(m)) seconds up to the smoothness and a constant [talk], with
      t(S) = min_j (sum_{i<=j} 1 / tau_i)^{-1} (S + j); optimal where sqrt(m) >= n [talk].

    Args:
      step_size: gamma; in theory 1 / (L_- + L_pm sqrt((1 - p) / (p S))) [memory].
      batch_size: S, from 1 to m; ceil(sqrt(m)) by default [talk].
      probability: p in (0, 1]; 1 / sqrt(m) by default [talk] (the authors' code: S / (S + m)).

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.FreyaPAGE(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (Algorithms 1 to 3).
    """

    name = "freya_page"
    paper = "Tyurin, Gruntkowska & Richtarik 2024, arXiv 2405.15545"

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.freya_page(setting)

    def default_probability(self) -> float:
        return 1 / math.sqrt(self.components)

    def full_gradient(self, fleet: Fleet) -> None:
        self.begin_gradient(fleet)

    def differences(self, fleet: Fleet, before: Array) -> None:
        self.begin_batch(fleet, before)

    def collect(self, arrival: Arrival, fleet: Fleet) -> Array | None:
        if self._is_full:
            return self.collect_gradient(arrival, fleet)
        return self.collect_batch(arrival, fleet, self._size)
