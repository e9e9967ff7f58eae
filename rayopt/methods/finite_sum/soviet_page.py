"""Soviet PAGE: PAGE whose parts are shared out equally, and everyone is waited for."""

from __future__ import annotations

from typing import Any

from rayopt.core.arrivals import Arrival
from rayopt.core.tasks import Difference
from rayopt.methods.base import Array, Fleet
from rayopt.methods.finite_sum.base import PAGEMethod, WaitsForShares, dealt
from rayopt.theory import Setting, parameters


class SovietPAGE(WaitsForShares, PAGEMethod):
    """Soviet PAGE: full gradients and differences in equal shares for all workers, the server waits for all.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\nabla f(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1S \\sum_{j \\in B^k} \\big(\\nabla f_j(x^{k+1}) - \\nabla f_j(x^k)\\big)

    with gamma = ``step_size``, S = ``batch_size``, p = ``probability``. Full gradients are shared out as in Soviet GD;
    S differences are dealt round-robin to workers in random order, and each draws its share with replacement [code]. A
    worker without a share is left out.

    Server knows:
      m and L, for the step size; not the times.

    Guarantee:
      tau_n m / n + tau_n (sqrt(m) / n) Delta / eps seconds up to the smoothness and a constant, with shares rounded up
      [talk].

    Args:
      step_size: gamma.
      batch_size: S, from 1 to m; ceil(sqrt(m)) by default.
      probability: p in (0, 1]; S / (S + m) by default [code].

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.SovietPAGE(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (as a baseline).
    """

    name = "soviet_page"
    paper = "folklore; named in arXiv 2405.15545"
    waits_for_everyone = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.soviet_page(setting)

    def full_gradient(self, fleet: Fleet) -> None:
        self._is_full = True
        self.share_gradient(fleet, self.x, self.updates, self.components)

    def differences(self, fleet: Fleet, before: Array) -> None:
        self._is_full = False
        workers, shares = dealt(fleet, self._size)
        tasks = [Difference(self.x, before, self.updates, self.chosen(fleet, len(share))) for share in shares]
        self.give_shares(fleet, workers, tasks, self._size)

    def collect(self, arrival: Arrival, fleet: Fleet) -> Array | None:
        return self.take_share(arrival)
