"""Vecna SGD: MindFlayer's trials for workers with different data."""

from __future__ import annotations

from typing import Any

from rayopt.methods.base import Array
from rayopt.methods.mindflayer import MindFlayer
from rayopt.theory import Setting, parameters


class Vecna(MindFlayer):
    """Vecna SGD: the trials of MindFlayer SGD, every worker's mean with the same weight.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\frac{1}{p_i B_i} \\sum_{j=1}^{B_i}
              1[\\eta_{ij}^k \\le t_i] \\nabla f_i(x^k; \\xi_{ij}^k)

    with gamma = ``step_size``, B_i = ``trials``, tau_i + t_i = ``time_limit`` and p_i = ``probability`` that a
    trial succeeds. It is unbiased for any p_i and B_i >= 1.

    Server knows:
      tau_i and the law of eta_i (so p_i), sigma^2 / eps, the smoothness constants.

    Guarantee:
      Form [memory], constants unknown (?): of order (Delta L / eps) (max_i (tau_i + t_i)
      + [(1/n) sum_i (tau_i + t_i) / p_i] sigma^2 / (n eps)
      + [(1/n) sum_i (tau_i + t_i) (1 - p_i) / p_i] Delta L / (n eps)) seconds. With p_i = 1 it is Malenia's.

    Args:
      step_size: gamma.
      trials: B_i >= 1, a number for all workers or a list of n.
      time_limit: tau_i + t_i in fleet seconds: a number, a list of n, or a formula of the worker i.
      probability: p_i of success in (0, 1], a number or a list of n; None: as the fleet knows it from its latency.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.Vecna(step_size=0.5, trials=[2, 1], time_limit=3.0),
      ...                 ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(2, compute=[1.0, 2.5]), until=ro.Until(updates=2))
      >>> result.trace.time.tolist()
      [1.0, 2.0, 2.5, 3.5, 4.5, 5.0]

    References:
      Maranjyan, Omar, Richtarik, `MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous and
      Random Worker Compute Times <https://arxiv.org/abs/2410.04285>`_, 2024, appendix (form [memory],
      variance [derived]).
    """

    name = "vecna"
    paper = "arXiv 2410.04285, appendix"
    heterogeneous = True
    waits_for_everyone = True
    least_trials = 1

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.vecna(setting)

    def never_succeeds(self, chances: Array) -> bool:
        return not chances.all()

    def estimator(self, workers: int) -> Array:
        return self.batch.sum(worker_weights=1.0 / (workers * self.chances * self.counts))
