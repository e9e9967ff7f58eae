"""Hero GD: gradient descent on the fastest worker alone."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import at_least
from rayopt.core.tasks import Component
from rayopt.methods.base import Array, Fleet, check_worker, fastest
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.finite_sum.base import FiniteSumMethod
from rayopt.theory import Setting, parameters


class HeroGD(FiniteSumMethod):
    """Hero GD: the fastest worker computes full gradients, the others stand idle.

    .. math:: x^{k+1} = x^k - \\gamma \\nabla f(x^k), \\quad \\nabla f = \\frac1m \\sum_{j=1}^m \\nabla f_j

    with gamma = ``step_size``. A full gradient is one task of m units.

    Server knows:
      L, for the step size; which worker is fastest.

    Guarantee:
      tau_1 m Delta / eps seconds up to the smoothness and a constant [talk].

    Args:
      step_size: gamma; in theory 1 / L.
      worker: who works; by default the fastest on average.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.HeroGD(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (as a baseline).
    """

    name = "hero_gd"
    paper = "folklore; named in arXiv 2405.15545"

    def __init__(self, step_size: StepSize, worker: int | None = None, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.worker = None if worker is None else at_least("worker", worker, 0)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.hero_gd(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        check_worker(self.worker, workers)

    def start(self, fleet: Fleet) -> None:
        fleet.assign(fastest(fleet, self.worker), Component(self.x, self.updates, np.arange(self.components)))

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(arrival.value / self.components)
        self.start(fleet)
