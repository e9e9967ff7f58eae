"""Freya SGD: the first S gradients of random components, without variance reduction."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import at_least
from rayopt.methods.base import Fleet
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.finite_sum.base import FiniteSumMethod
from rayopt.theory import Setting, parameters


class FreyaSGD(FiniteSumMethod):
    """Freya SGD: the mean of the first S gradients of random components at x^k.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{S} \\sum_{j \\in B^k} \\nabla f_j(x^k)

    with gamma = ``step_size``, S = ``batch_size``, and B^k indices i.i.d. uniform with replacement; what is
    unfinished when S have come is cancelled. It is Rennala SGD on the finite sum, analysed without a bound of the
    variance [memory (?)].

    Server knows:
      m and the smoothness of f and of the components, for the step size; not the times.

    Guarantee:
      About (Delta / eps) min_j (sum_{i<=j} 1 / tau_i)^{-1} (1 / eps + j) seconds [memory (?)]; the talk marks it
      as not optimal.

    Args:
      step_size: gamma.
      batch_size: S.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.FreyaSGD(step_size=0.1, batch_size=4)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (appendix).
    """

    name = "freya_sgd"
    paper = "Tyurin, Gruntkowska & Richtarik 2024, arXiv 2405.15545"

    def __init__(self, step_size: StepSize, batch_size: int, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.batch_size = at_least("batch_size", batch_size, 1)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.freya_sgd(setting)

    def start(self, fleet: Fleet) -> None:
        self.begin_batch(fleet, None)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        gradient = self.collect_batch(arrival, fleet, self.batch_size)
        if gradient is not None:
            self.descend(gradient)
            self.start(fleet)
