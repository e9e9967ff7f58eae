"""MARINA: compressed differences of gradients at two points, and full gradients now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from rayopt.core.errors import share
from rayopt.core.tasks import Gradient
from rayopt.methods.base import Array, Fleet
from rayopt.methods.compressed.base import Rounds
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class MARINA(Rounds):
    """MARINA: with a common coin all send their gradients, else compressed differences to the point before.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad
        g^{k+1} = \\frac1n \\sum_i g_i(x^{k+1}) \\text{ with probability } p, \\text{ else }
        g^k + \\frac1n \\sum_i C_i\\big(g_i(x^{k+1}) - g_i(x^k)\\big)

    with gamma = ``step_size``, C = ``compressor``, p = ``probability``; g^0 is the mean of all gradients at x^0. Both
    gradients of a difference are of the same sample and cost two units.

    Server knows:
      L, Ltilde = sqrt(mean L_i^2), omega and n, for the step size; not the times.

    Guarantee:
      (1 + omega / sqrt(n)) L Delta / eps rounds for RandK and exact gradients up to a constant [memory].

    Args:
      step_size: gamma; in theory 1 / (L + Ltilde sqrt((1 - p) omega / (p n))) [code].
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.
      probability: p in (0, 1]; by default the floats of a message over d [code].

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=3, dimension=10, split=True)
      >>> method = ro.methods.MARINA(step_size=0.1, compressor=ro.compressors.RandK(2))
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Gorbunov, Burlachenko, Li, Richtarik, `MARINA: Faster Non-Convex Distributed Learning with Compression
      <https://arxiv.org/abs/2102.07845>`_, ICML 2021.
    """

    name = "marina"
    paper = "Gorbunov, Burlachenko, Li & Richtarik 2021, arXiv 2102.07845"

    def __init__(
        self, step_size: StepSize, compressor: Any, probability: float | None = None, **controls: Unpack[Controls]
    ) -> None:
        super().__init__(step_size, compressor, **controls)
        self.probability = None if probability is None else share("probability", probability)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.marina(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        dimension = start_point.shape[-1]
        sent = self._own[0].floats(dimension) / dimension
        self._chance = min(sent, 1.0) if self.probability is None else self.probability
        self._gradient: Array | None = None
        self._before: Array | None = None

    def tasks(self, fleet: Fleet) -> Sequence[Gradient]:
        if self._before is None:
            return [self.point()] * fleet.n
        return [self.message(worker, y=self._before) for worker in range(fleet.n)]

    def point(self) -> Gradient:
        return Gradient(self.x, self.updates)

    def update(self, mean: Array, fleet: Fleet) -> None:
        self._gradient = mean if self._before is None or self._gradient is None else self._gradient + mean
        before = self.x
        self.descend(self._gradient)
        self._before = None if fleet.random.random() < self._chance else before
