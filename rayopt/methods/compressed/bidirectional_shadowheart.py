"""Bidirectional Shadowheart SGD: what the server sends is compressed too, by EF21-P."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.compression import compressor as parse
from rayopt.methods.base import Array, Fleet
from rayopt.methods.compressed.base import contractive
from rayopt.methods.compressed.shadowheart import Shadowheart
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class BidirectionalShadowheart(Shadowheart):
    """Bidirectional Shadowheart SGD, a name of ours: Shadowheart at a point w^k that EF21-P keeps near x^k.

    .. math::
        x^{k+1} = x^k - \\gamma g^k, \\quad g^k \\text{ Shadowheart's estimate at } w^k, \\quad
        w^{k+1} = w^k + C_s(x^{k+1} - w^k)

    with gamma = ``step_size`` and C_s = ``downlink`` contractive. Only C_s(.) is sent to the workers, which keep w^k.
    The paper has such a method [abstract]; its text was not read, and this construction is our own [derived].

    Server knows:
      What Shadowheart's does, and alpha of the downlink.

    Guarantee:
      (13 L Delta / (alpha eps)) (tau_down + 2 t*) seconds for the mean of ||grad f(x^k)||^2 [derived].

    Args:
      step_size: gamma; in theory alpha / (4L) [derived].
      compressor: of what workers send, unbiased.
      noise_ratio: r = sigma^2 / eps, at least 0.
      downlink: C_s, contractive: top_k, scaled_rand_k, natural.
      max_messages: as for Shadowheart.
      without_replacement: as for Shadowheart.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=1.0, upload=ro.Link(per_float=0.1), download=ro.Link(per_float=0.1))
      >>> method = ro.methods.BidirectionalShadowheart(
      ...     step_size=0.1, compressor=ro.compressors.RandK(1), noise_ratio=1.0, downlink=ro.compressors.TopK(2))
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=5), workers, until=ro.Until(updates=3))
      >>> result.table.updates.tolist()
      [3]

    References:
      Tyurin, Pozzi, Ilin, Richtarik, `Shadowheart SGD <https://arxiv.org/abs/2402.04785>`_, NeurIPS 2024.
      Gruntkowska, Tyurin, Richtarik, `EF21-P and Friends <https://arxiv.org/abs/2209.15218>`_, 2022.
    """

    name = "bidirectional_shadowheart"
    paper = "after Tyurin, Pozzi, Ilin & Richtarik 2024, arXiv 2402.04785, and EF21-P, arXiv 2209.15218"

    def __init__(
        self,
        step_size: StepSize,
        compressor: Any,
        noise_ratio: float,
        downlink: Any,
        max_messages: int | bool | None = None,
        without_replacement: bool = False,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, compressor, noise_ratio, max_messages, without_replacement, **controls)
        self.downlink = parse(downlink, "downlink")

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.bidirectional_shadowheart(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self.downlink.check(start_point.shape[-1])
        contractive(self.downlink, start_point.shape[-1], type(self).__name__)
        self.kept = self.x

    @property
    def point_of_tasks(self) -> Array:
        return self.kept

    def step(self, gradient: Array, fleet: Fleet) -> None:
        self.descend(gradient)
        key = int(fleet.random.integers(2**63))
        change = self.downlink.compress(self.x - self.kept, key)
        self.kept = self.kept + change.astype(self.x.dtype, copy=False)
