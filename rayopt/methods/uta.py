"""UTA: uniform task allocation, as many gradients from each worker."""

from __future__ import annotations

from rayopt.methods.base import Fleet
from rayopt.methods.task_allocation import Allocation, TaskAllocation
from rayopt.theory.allocation import even_allocation


class UTA(TaskAllocation):
    """Uniform task allocation: every worker computes as many gradients, whoever is fast.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{i=1}^n \\sum_{j=1}^{a_i^k} \\nabla f(x^k; \\xi_{ij}^k),
              \\qquad a_i^k \\in \\{\\lfloor B / n \\rfloor, \\lceil B / n \\rceil\\}, \\quad \\sum_i a_i^k = B

    with gamma = ``step_size`` and B = ``batch_size``. Who computes one more is drawn anew at every iteration.

    Server knows:
      B. Nothing of the times.

    Guarantee:
      None of its own: it is the baseline of the ATA paper that knows nothing and learns nothing. Homogeneous
      data only, as some workers may compute more than others.

    Args:
      step_size: gamma.
      batch_size: B >= 1, the gradients of one iteration.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.UTA(step_size=0.5, batch_size=6), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.0, 3.0]), until=ro.Until(updates=1))
      >>> result.trace.time.tolist()
      [2.0, 4.0, 6.0]

    References:
      Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation for Efficient Resource Management
      in Distributed Machine Learning <https://arxiv.org/abs/2502.00775>`_, 2025 (baseline [poster][code]).
    """

    name = "uta"
    paper = "arXiv 2502.00775, baseline"
    waits_for_everyone = True

    def allocate(self, fleet: Fleet) -> Allocation:
        return even_allocation(fleet.n, self.batch_size, fleet.random)
