"""EF21-SGDM: EF21 on the momentum of the workers, which repairs it where gradients are noisy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from rayopt.core.errors import share
from rayopt.core.tasks import Gradient
from rayopt.methods.base import Array, Fleet
from rayopt.methods.compressed.ef21 import EF21
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class EF21SGDM(EF21):
    """EF21-SGDM: worker i sends C(v_i - g_i), v_i its own momentum, and g_i adds what was sent.

    .. math::
        v_i^k = (1 - \\eta) v_i^{k-1} + \\eta \\nabla f_i(x^k; \\xi_i^k), \\quad
        g_i^k = g_i^{k-1} + C\\big(v_i^k - g_i^{k-1}\\big), \\quad
        x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n g_i^k

    with gamma = ``step_size``, eta = ``momentum``, C = ``compressor`` contractive, v_i^0 = grad f_i(x^0; xi_i^0) and
    g_i^{-1} = 0 [code]. With eta = 1 it is EF21.

    v_i stays at the worker: on Ray nobody else has it, so that a run ends with an error when a worker's process dies.

    Server knows:
      L, Ltilde = sqrt(mean L_i^2) and alpha for the step size, sigma^2 for the momentum; not the times.

    Guarantee:
      E||grad f||^2 <= eps in (Ltilde / (alpha eps) + L sigma^2 / (n eps^2)) Delta rounds up to constants and terms
      between the two: no batch has to be large [memory].

    Args:
      step_size: gamma; in theory min{alpha / (20 Ltilde), eta / (7 L)} [memory].
      compressor: C, contractive: top_k, scaled_rand_k, natural, identity.
      momentum: eta, in (0, 1].

    Raises:
      InvalidInput: momentum is not in (0, 1], or the compressor does not contract.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.Quadratic(dimension=10, noise=0.1)
      >>> method = ro.methods.EF21SGDM(step_size=0.1, compressor=ro.compressors.TopK(2), momentum=0.2)
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Fatkhullin, Tyurin, Richtarik, `Momentum Provably Improves Error Feedback! <https://arxiv.org/abs/2305.15155>`_,
      NeurIPS 2023.
    """

    name = "ef21_sgdm"
    paper = "Fatkhullin, Tyurin & Richtarik 2023, arXiv 2305.15155"
    vectors_per_worker = 2

    def __init__(self, step_size: StepSize, compressor: Any, momentum: float, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, compressor, **controls)
        self.momentum = share("momentum", momentum)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ef21_sgdm(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self._momenta = [np.zeros_like(self.x) for _ in range(workers)]

    def tasks(self, fleet: Fleet) -> Sequence[Gradient]:
        keeps, eta = (self.updates, self._rate), self.momentum if self.updates else 1.0
        return [
            self.message(worker, shift=shift, keeps=keeps, momentum=(mean, eta))
            for worker, (shift, mean) in enumerate(zip(self.shifts, self._momenta, strict=True))
        ]
