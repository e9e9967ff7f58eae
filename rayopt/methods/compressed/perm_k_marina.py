"""PermK-MARINA: MARINA whose workers send disjoint blocks of one permutation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from rayopt.compression import PermK
from rayopt.methods.compressed.base import constants_of
from rayopt.methods.compressed.marina import MARINA
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters

if TYPE_CHECKING:
    from rayopt.latency.workers import Workers
    from rayopt.problems.base import Problem


class PermKMARINA(MARINA):
    """PermK-MARINA: MARINA whose compressors act in concert, so that equal differences arrive exactly.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\frac1n \\sum_i g_i(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1n \\sum_i P_i\\big(g_i(x^{k+1}) - g_i(x^k)\\big)

    with gamma = ``step_size``, p = ``probability``, and P_i the PermK compressors of one permutation in each round.

    Server knows:
      L, L_pm and n, for the step size; not the times.

    Guarantee:
      (L + sqrt((1 - p) / p) L_pm) Delta / eps rounds with exact gradients up to a constant [code]: where the functions
      of the workers are alike, L_pm is small.

    Args:
      step_size: gamma; in theory 1 / (L + sqrt((1 - p) / p) L_pm) for n <= d [code].
      probability: p in (0, 1]; by default the floats of a message over d.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=3, dimension=9, split=True)
      >>> method = ro.methods.PermKMARINA(step_size=0.1)
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Szlendak, Tyurin, Richtarik, `Permutation Compressors for Provably Faster Distributed Nonconvex Optimization
      <https://arxiv.org/abs/2110.03300>`_, ICLR 2022.
    """

    name = "perm_k_marina"
    paper = "Szlendak, Tyurin & Richtarik 2021, arXiv 2110.03300"

    def __init__(self, step_size: StepSize, probability: float | None = None, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, PermK(), probability, **controls)

    @classmethod
    def known_constants(cls, given: dict[str, Any], problem: Problem, workers: Workers) -> dict[str, float]:
        return constants_of(PermK(), problem.dimension, workers.count)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.perm_k_marina(setting)
