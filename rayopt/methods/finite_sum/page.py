"""PAGE: a serial method with full gradients now and then and cheap differences between them."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.errors import at_least
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.finite_sum.base import SerialPAGEMethod
from rayopt.theory import Setting, parameters


class PAGE(SerialPAGEMethod):
    """PAGE: one worker computes full gradients now and then, and cheap differences between them.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\nabla f(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1S \\sum_{j \\in B^k} \\big(\\nabla f_j(x^{k+1}) - \\nabla f_j(x^k)\\big)

    with gamma = ``step_size``, S = ``batch_size``, p = ``probability``, B^k i.i.d. uniform with replacement. A full
    gradient is one task of m units, S differences are one of 2 S units.

    Server knows:
      m and L, for the step size.

    Guarantee:
      tau (m + sqrt(m) Delta / eps) seconds of the one worker up to the smoothness and a constant [memory].

    Args:
      step_size: gamma; in theory 1 / (L (1 + sqrt((1 - p) / (p S)))) [memory].
      batch_size: S, from 1 to m; ceil(sqrt(m)) by default.
      probability: p in (0, 1]; S / (S + m) by default.
      worker: who works; the first by default.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=16, dimension=5)
      >>> method = ro.methods.PAGE(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(4, compute="i"), until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Li, Bao, Zhang, Richtarik, `PAGE: A Simple and Optimal Probabilistic Gradient Estimator for Nonconvex Optimization
      <https://arxiv.org/abs/2008.10898>`_, 2021.
    """

    name = "page"
    paper = "Li, Bao, Zhang & Richtarik 2021, arXiv 2008.10898"

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int | None = None,
        probability: float | None = None,
        worker: int | None = 0,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, batch_size, probability, **controls)
        self.worker = None if worker is None else at_least("worker", worker, 0)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.page(setting)
