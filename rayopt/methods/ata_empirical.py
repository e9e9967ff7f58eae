"""ATA-Empirical: adaptive task allocation whose confidence is relative to the estimated mean."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from rayopt.core.errors import positive
from rayopt.methods.base import Array
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.task_allocation import AdaptiveAllocation


class ATAEmpirical(AdaptiveAllocation):
    """ATA-Empirical: ATA with a confidence relative to each worker's estimated mean time.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{i=1}^n \\sum_{j=1}^{a_i^k} \\nabla f(x^k; \\xi_{ij}^k),
              \\qquad a^k \\in \\arg\\min_{\\sum_i a_i = B} \\max_i a_i s_i^k

    .. math:: s_i^k = \\hat\\mu_i \\max\\Big\\{1 - c \\eta \\Big(\\sqrt{\\tfrac{\\ln 2 k^2}{K_i}}
              + \\tfrac{\\ln 2 k^2}{K_i}\\Big), 0\\Big\\}

    with gamma = ``step_size``, B = ``batch_size``, eta = ``eta`` and c = ``confidence``; the rest is as in ATA.

    Server knows:
      eta, a bound of the ratios of the times' sub-exponential norms to their means. Not the means.

    Guarantee:
      As ATA: (1 + 4 eta ln B) times the best fixed allocation plus O(ln K) [poster]. Homogeneous data only.

    Args:
      step_size: gamma.
      batch_size: B >= 1, the gradients of one iteration.
      eta: above 0; 1.53 for exponential times [derived], 2 in the authors' experiments [code].
      confidence: c > 0; 2 on the poster, 4 e = 10.873 in the authors' code, with which their figures are made.

    Examples:
      >>> import rayopt as ro
      >>> method = ro.methods.ATAEmpirical(step_size=0.5, batch_size=3, eta=0.01)
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.0, 50.0]), until=ro.Until(updates=9))
      >>> result.trace.worker.value_counts().to_dict()
      {0: 9, 1: 9, 2: 1}

    References:
      Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation for Efficient Resource Management
      in Distributed Machine Learning <https://arxiv.org/abs/2502.00775>`_, 2025 (listing [poster], ties [code]).
    """

    name = "ata_empirical"
    paper = "arXiv 2502.00775, ATA-Empirical"
    waits_for_everyone = True

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int,
        eta: float = 1.0,
        confidence: float = 2.0,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, batch_size, **controls)
        self.eta = positive("eta", eta)
        self.confidence = positive("confidence", confidence)

    def scores(self, means: Array, width: Array) -> Array:
        """Returns s_i^k, shape (n,): the means, each less its own share of them, at least 0."""
        return means * np.maximum(1.0 - self.confidence * self.eta * width, 0.0)
