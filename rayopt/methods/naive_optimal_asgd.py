"""Naive Optimal ASGD: asynchronous SGD on the best number of fastest workers."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.errors import InvalidInput, at_least, non_negative
from rayopt.methods.asgd import ASGD
from rayopt.methods.base import Array, Fleet
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, best_harmonic, parameters


class NaiveOptimalASGD(ASGD):
    """Naive Optimal ASGD: asynchronous SGD on the m* fastest workers, the others are never used.

    .. math:: m_* = \\arg\\min_{m \\in [n]} H_m \\Big(1 + \\frac{\\sigma^2}{m \\varepsilon}\\Big), \\qquad
              x^{k+1} = x^k - \\gamma \\nabla f(x^{k - \\delta^k}; \\xi^k) \\text{ from workers } 1, \\dots, m_*

    with gamma = ``step_size``, sigma^2 / eps = ``noise_ratio``, H_m the harmonic mean of the m least expected
    times and workers sorted by them. Of several m* it takes the least. A noise ratio of 0 makes it Hero SGD, a
    large one ASGD. Homogeneous data only.

    Server knows:
      The times of all workers, which must not change; sigma^2 / eps; L for the step size.

    Guarantee:
      min_m H_m (L Delta / eps + sigma^2 L Delta / (m eps^2)) seconds up to a constant [poster], which matches the
      lower bound as long as the times stay what they were.

    Args:
      step_size: gamma; in theory of order min{1/(2 m* L), eps / (4 L sigma^2)} [derived, as Ringmaster with R = m*].
      noise_ratio: sigma^2 / eps >= 0; m* follows from it and the expected times.
      workers_used: m*, from 1 to n, instead of ``noise_ratio``.

    Raises:
      InvalidInput: not exactly one of ``noise_ratio`` and ``workers_used`` is given.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(
      ...     ro.methods.NaiveOptimalASGD(step_size=0.1, noise_ratio=2), ro.problems.Quadratic(dimension=10),
      ...     workers=ro.Workers(4, compute=ro.latency.fixed([9.0, 2.3, 1.0, 9.0])), until=ro.Until(time=4))
      >>> result.trace.worker.tolist()
      [2, 2, 1, 2, 2]

    References:
      Maranjyan, Tyurin, Richtarik, `Ringmaster ASGD: The First Asynchronous SGD with Optimal Time
      Complexity <https://arxiv.org/abs/2501.16168>`_, 2025, Algorithm 3 (formula of m* [poster]).
    """

    name = "naive_optimal_asgd"
    paper = "arXiv 2501.16168, Algorithm 3"

    def __init__(
        self,
        step_size: StepSize,
        noise_ratio: float | None = None,
        workers_used: int | None = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        if (noise_ratio is None) == (workers_used is None):
            given = "neither it nor workers_used" if noise_ratio is None else "both it and workers_used"
            raise InvalidInput("noise_ratio", f"{given} is given", "one of noise_ratio and workers_used")
        self.noise_ratio = None if noise_ratio is None else non_negative("noise_ratio", noise_ratio)
        self.workers_used = None if workers_used is None else at_least("workers_used", workers_used, 1)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.naive_optimal_asgd(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        if self.workers_used is not None and self.workers_used > workers:
            problem = f"{self.workers_used} is more than the {workers} workers"
            raise InvalidInput("workers_used", problem, f"1 to {workers}")

    def start(self, fleet: Fleet) -> None:
        times = fleet.expected_times
        if times is None:
            key = "noise_ratio" if self.workers_used is None else "workers_used"
            raise InvalidInput(key, "the fleet does not tell who is fastest", "a fleet whose expected times are known")
        used = self.workers_used
        if self.noise_ratio is not None:
            used = best_harmonic(times, 1.0, self.noise_ratio).workers
        fastest = np.argsort(times, kind="stable")[:used]
        fleet.assign(np.sort(fastest), self.point())
