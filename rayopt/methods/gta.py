"""GTA: greedy task allocation, whoever is first."""

from __future__ import annotations

from typing import Unpack

from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.rennala import Rennala


class GTA(Rennala):
    """Greedy task allocation: all workers compute all the time, the first B gradients count.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{j=1}^{B} \\nabla f(x^k; \\xi_j^k)

    with gamma = ``step_size`` and B = ``batch_size``. It is Rennala SGD whose unfinished computations are
    stopped at an update: soonest in seconds, and the most worker-seconds, n for every second.

    Server knows:
      B. Nothing of the times.

    Guarantee:
      That of Rennala SGD in seconds; none in worker-seconds. Homogeneous data only.

    Args:
      step_size: gamma.
      batch_size: B >= 1, the gradients of one iteration.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.GTA(step_size=0.5, batch_size=3), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.5, 9.0]), until=ro.Until(updates=1))
      >>> float(result.table.time[0]), float(result.table.worker_seconds[0])
      (2.5, 7.5)

    References:
      Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation for Efficient Resource Management
      in Distributed Machine Learning <https://arxiv.org/abs/2502.00775>`_, 2025 (baseline [poster][code]).
    """

    name = "gta"
    paper = "arXiv 2502.00775, baseline"

    def __init__(self, step_size: StepSize, batch_size: int, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, batch_size, interrupt=True, **controls)
