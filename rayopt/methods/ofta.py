"""OFTA: the best fixed allocation of tasks, for a server that knows the mean times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.methods.base import Fleet
from rayopt.methods.task_allocation import Allocation, TaskAllocation
from rayopt.theory.allocation import optimal_allocation

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes


class OFTA(TaskAllocation):
    """Optimal fixed task allocation: the allocation that is best for the mean times, at every iteration.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{i=1}^n \\sum_{j=1}^{\\bar a_i} \\nabla f(x^k; \\xi_{ij}^k),
              \\qquad \\bar a \\in \\arg\\min_{\\sum_i a_i = B} \\max_i a_i \\mu_i

    with gamma = ``step_size``, B = ``batch_size`` and mu_i the mean time of worker i.

    Server knows:
      B and the mean times mu_i.

    Guarantee:
      Its expected time for K iterations is at most (1 + 4 eta ln B) times that of the best fixed allocation, eta the
      largest ratio of a time's sub-exponential norm to its mean [derived]. Homogeneous data only.

    Args:
      step_size: gamma.
      batch_size: B >= 1, the gradients of one iteration.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.OFTA(step_size=0.5, batch_size=4), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.5, 9.0]), until=ro.Until(updates=1))
      >>> result.trace[["worker", "time"]].values.tolist()
      [[1.0, 2.5], [0.0, 3.0]]

    References:
      Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation for Efficient Resource Management
      in Distributed Machine Learning <https://arxiv.org/abs/2502.00775>`_, 2025 (FTA-Optimal [poster][code]).
    """

    name = "ofta"
    paper = "arXiv 2502.00775, baseline"

    def incompatibility(self, times: TaskTimes) -> str:
        if times.expected is None:
            return "is made for mean times that are known, and measured ones are not known beforehand"
        return "gives tasks by finite mean times, and no worker has one" if np.isinf(times.expected).all() else ""

    def start(self, fleet: Fleet) -> None:
        if fleet.expected_times is None or np.isinf(fleet.expected_times).all():
            raise InvalidInput("workers.compute", "no mean time is known", "workers whose mean time is finite")
        self.allocation = optimal_allocation(fleet.expected_times, self.batch_size, fleet.random)
        super().start(fleet)

    def allocate(self, fleet: Fleet) -> Allocation:
        return self.allocation
