"""Soviet GD: equal shares of the full gradient for all workers, and everyone is waited for."""

from __future__ import annotations

from typing import Any

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Fleet
from rayopt.methods.finite_sum.base import FiniteSumMethod, WaitsForShares
from rayopt.theory import Setting, parameters


class SovietGD(WaitsForShares, FiniteSumMethod):
    """Soviet GD: every worker computes an equal share of the full gradient, the server waits for all.

    .. math::
        x^{k+1} = x^k - \\frac{\\gamma}{m} \\sum_{i=1}^n \\sum_{j \\in G_i^k} \\nabla f_j(x^k)

    with gamma = ``step_size``. The groups G_i^k are dealt to the workers at random at each iteration, index q to group
    q mod n [code]; a share of c components is one task of c units, a worker with an empty share is left out.

    Server knows:
      L, for the step size; not the times.

    Guarantee:
      tau_n (m / n) Delta / eps seconds up to the smoothness and a constant [talk].

    Args:
      step_size: gamma; in theory 1 / L.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.SovietGD(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (as a baseline).
    """

    name = "soviet_gd"
    paper = "folklore; named in arXiv 2405.15545"
    waits_for_everyone = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.soviet_gd(setting)

    def start(self, fleet: Fleet) -> None:
        self.share_gradient(fleet, self.x, self.updates, self.components)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        gradient = self.take_share(arrival)
        if gradient is not None:
            self.descend(gradient)
            self.start(fleet)
