"""SGDone: the fastest worker alone, without any communication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rayopt.compression import Stays
from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.tasks import Message
from rayopt.methods.base import Array, Fleet, Method, check_worker
from rayopt.theory import Setting, parameters


class SGDone(Method):
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

    def __init__(self, step_size: float | Sequence[float], worker: int | None = None) -> None:
        super().__init__(step_size)
        self.worker = None if worker is None else at_least("worker", worker, 0)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.hero(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        check_worker(self.worker, workers)

    def start(self, fleet: Fleet) -> None:
        chosen = self.worker
        if chosen is None:
            parts = fleet.expected_parts(None)
            if parts is None:
                raise InvalidInput("worker", "the fleet does not tell who is fastest", "the number of a worker")
            chosen = int(np.argmin(parts[0]))
        fleet.assign(chosen, Message(self.x, self.updates, self.downlink, download=self.downlink))

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(arrival.value)
        fleet.assign(arrival.worker, Message(self.x, self.updates, self.downlink, download=self.downlink))
