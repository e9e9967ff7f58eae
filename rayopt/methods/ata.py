"""ATA: adaptive task allocation, which learns the workers' mean times while it trains."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.errors import positive
from rayopt.methods.base import Array
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.task_allocation import AdaptiveAllocation
from rayopt.theory import Setting, parameters


class ATA(AdaptiveAllocation):
    """ATA: allocates B tasks by optimistic estimates of the mean times, and gives none to slow workers.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{i=1}^n \\sum_{j=1}^{a_i^k} \\nabla f(x^k; \\xi_{ij}^k),
              \\qquad a^k \\in \\arg\\min_{\\sum_i a_i = B} \\max_i a_i s_i^k

    .. math:: s_i^k = \\max\\Big\\{\\hat\\mu_i - c \\alpha \\Big(\\sqrt{\\tfrac{\\ln 2 k^2}{K_i}}
              + \\tfrac{\\ln 2 k^2}{K_i}\\Big), 0\\Big\\}

    with gamma = ``step_size``, B = ``batch_size``, alpha = ``alpha`` and c = ``confidence``; mu_i is estimated
    by the mean of the K_i times that worker i took so far. Nobody else works, so that worker-seconds are saved.
    Workers that were never tried have one task each, in random order. While a score is 0, all other tasks are
    spread evenly over the workers with score 0; the paper leaves open which of the equally good allocations
    is taken, this one is of the authors' code.

    Server knows:
      alpha, a bound of the sub-exponential norms of the times. Not their means.

    Guarantee:
      The expected time of K iterations is at most (1 + 4 eta ln B) times that of the best fixed allocation
      plus O(ln K), eta the largest ratio of a time's sub-exponential norm to its mean [poster]. Homogeneous data only.

    Args:
      step_size: gamma.
      batch_size: B >= 1, the gradients of one iteration.
      alpha: seconds, above 0: a bound of ||X_i - mu_i||_psi1; the authors' experiments take 2 max_i mu_i [code].
      confidence: c > 0; 2 on the poster, 4 e = 10.873 in the authors' code, with which their figures are made.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.ATA(step_size=0.5, batch_size=3, alpha=0.01), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.0, 50.0]), until=ro.Until(updates=9))
      >>> result.trace.worker.value_counts().to_dict()
      {0: 9, 1: 9, 2: 1}

    References:
      Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation for Efficient Resource Management
      in Distributed Machine Learning <https://arxiv.org/abs/2502.00775>`_, 2025 (listing [poster], ties [code]).
    """

    name = "ata"
    paper = "arXiv 2502.00775, Algorithm ATA"
    waits_for_everyone = True

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int,
        alpha: float,
        confidence: float = 2.0,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, batch_size, **controls)
        self.alpha = positive("alpha", alpha)
        self.confidence = positive("confidence", confidence)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ata(setting)

    def scores(self, means: Array, width: Array) -> Array:
        """Returns s_i^k, shape (n,): the means less their confidence, at least 0."""
        return np.maximum(means - self.confidence * self.alpha * width, 0.0)
