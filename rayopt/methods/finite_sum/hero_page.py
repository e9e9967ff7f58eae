"""Hero PAGE: PAGE on the fastest worker alone."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.errors import at_least
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.finite_sum.base import SerialPAGEMethod
from rayopt.theory import Setting, parameters


class HeroPAGE(SerialPAGEMethod):
    """Hero PAGE: the fastest worker runs PAGE alone, the others stand idle.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\nabla f(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1S \\sum_{j \\in B^k} \\big(\\nabla f_j(x^{k+1}) - \\nabla f_j(x^k)\\big)

    with gamma = ``step_size``, S = ``batch_size``, p = ``probability``, B^k i.i.d. uniform with replacement. A full
    gradient is one task of m units, S differences are one of 2 S units.

    Server knows:
      m and L, for the step size; which worker is fastest.

    Guarantee:
      tau_1 m + tau_1 sqrt(m) Delta / eps seconds up to the smoothness and a constant [talk].

    Args:
      step_size: gamma; in theory 1 / (L (1 + sqrt((1 - p) / (p S)))) [memory].
      batch_size: S, from 1 to m; ceil(sqrt(m)) by default.
      probability: p in (0, 1]; S / (S + m) by default.
      worker: who works; by default the fastest on average.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.HeroPAGE(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE: First Optimal Time Complexity for Large-Scale Nonconvex
      Finite-Sum Optimization with Heterogeneous Asynchronous Computations <https://arxiv.org/abs/2405.15545>`_,
      NeurIPS 2024 (as a baseline).
    """

    name = "hero_page"
    paper = "folklore; named in arXiv 2405.15545"

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int | None = None,
        probability: float | None = None,
        worker: int | None = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, batch_size, probability, **controls)
        self.worker = None if worker is None else at_least("worker", worker, 0)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.hero_page(setting)
