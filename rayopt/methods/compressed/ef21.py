"""EF21: error feedback for biased compressors, as a Markov chain that follows the gradients."""

from __future__ import annotations

from typing import Any

from rayopt.methods.base import Array
from rayopt.methods.compressed.base import ShiftedRounds, contractive
from rayopt.theory import Setting, parameters


class EF21(ShiftedRounds):
    """EF21: worker i sends C(grad f_i(x) - g_i), and g_i adds what was sent.

    .. math::
        g_i^k = g_i^{k-1} + C\\big(\\nabla f_i(x^k) - g_i^{k-1}\\big), \\quad
        x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n g_i^k

    with gamma = ``step_size``, C = ``compressor`` contractive and g_i^{-1} = 0, so that g_i^0 = C(grad f_i(x^0)).

    Server knows:
      L, Ltilde = sqrt(mean L_i^2) and alpha, for the step size; not the times.

    Guarantee:
      (Ltilde / alpha) Delta / eps rounds up to a constant with exact gradients [memory]; noise needs EF21-SGDM.

    Args:
      step_size: gamma; in theory 1 / (L + Ltilde ((1 + sqrt(1 - alpha)) / alpha - 1)) [memory] (the authors' code:
        2 / alpha - 1).
      compressor: C, contractive: top_k, scaled_rand_k, natural, identity.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=3, dimension=10, split=True)
      >>> method = ro.methods.EF21(step_size=0.1, compressor=ro.compressors.TopK(2))
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Richtarik, Sokolov, Fatkhullin, `EF21: A New, Simpler, Theoretically Better, and Practically Faster Error Feedback
      <https://arxiv.org/abs/2106.05203>`_, NeurIPS 2021.
    """

    name = "ef21"
    paper = "Richtarik, Sokolov & Fatkhullin 2021, arXiv 2106.05203"
    needs_unbiased = False

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ef21(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        contractive(self.compressor, start_point.shape[-1], type(self).__name__)

    def rate(self, dimension: int) -> float:
        return 1.0
