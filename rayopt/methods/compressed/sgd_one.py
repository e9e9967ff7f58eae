"""SGDone: the fastest worker alone, without any communication."""

from __future__ import annotations

import numpy as np

from rayopt.compression import Stays
from rayopt.core.tasks import Gradient, Message
from rayopt.methods.base import Fleet, fastest
from rayopt.methods.hero import Hero


class SGDone(Hero):
    """SGDone: SGD on the worker that computes fastest; nothing is sent.

    .. math:: x^{k+1} = x^k - \\gamma \\nabla f(x^k; \\xi^k)

    with gamma = ``step_size``, one step every min_i h_i seconds. Hero SGD without its messages: the iterate lives on
    the worker. Homogeneous data only.

    Server knows:
      Who computes fastest; L, sigma^2 and eps for the step size.

    Guarantee:
      min_i h_i (L Delta / eps + sigma^2 L Delta / eps^2) seconds up to a constant [derived].

    Args:
      step_size: gamma; in theory min{1/(2L), eps/(2 L sigma^2)}.
      worker: who does it all, numbered from 0; by default the one with the least expected seconds per gradient.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=[2.0, 1.0, 3.0], upload=100.0)
      >>> result = ro.run(ro.methods.SGDone(step_size=0.5), ro.problems.Quadratic(dimension=10), workers,
      ...                 until=ro.Until(time=5))
      >>> result.table.updates.tolist(), result.table.bits_up.tolist()
      ([5], [0])

    References:
      Tyurin, Pozzi, Ilin, Richtarik, `Shadowheart SGD <https://arxiv.org/abs/2402.04785>`_, NeurIPS 2024 (a baseline
      of its experiments [code]).
    """

    name = "sgd_one"
    paper = "baseline of arXiv 2402.04785"
    downlink = Stays()

    def start(self, fleet: Fleet) -> None:
        parts = fleet.expected_parts(None)
        # Messages do not count: the fastest is who computes fastest.
        chosen = self.worker if self.worker is not None or parts is None else int(np.argmin(parts[0]))
        fleet.assign(fastest(fleet, chosen), self.point())

    def point(self) -> Gradient:
        return Message(self.x, self.updates, self.downlink, download=self.downlink)
