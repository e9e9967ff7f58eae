"""Hero SGD: the fastest worker does it all."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import at_least
from rayopt.methods.base import Array, Fleet, Method, check_worker, fastest
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Hero(Method):
    """Hero SGD: the fastest worker does it all, the others stand idle.

    .. math:: x^{k+1} = x^k - \\gamma \\nabla f(x^k; \\xi^k), \\quad \\xi^k \\text{ from worker } \\arg\\min_i \\tau_i

    with gamma = ``step_size``. Homogeneous data only.

    Server knows:
      Who is fastest; L, sigma^2 and eps for the step size.

    Guarantee:
      tau_1 (L Delta / eps + sigma^2 L Delta / eps^2) seconds up to a constant, tau_1 the time of the fastest
      worker [derived]. Optimal only where sigma^2 / eps is small.

    Args:
      step_size: gamma; in theory min{1/(2L), eps/(2 L sigma^2)}.
      worker: who does it all, numbered from 0; by default the worker with the least
        expected time (of several, the first).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.Hero(step_size=0.5), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([2.0, 1.0, 3.0])), until=ro.Until(time=5))
      >>> result.trace.worker.tolist()
      [1, 1, 1, 1, 1]

    References:
      Folklore; the name is from the talk and the Freya PAGE paper, Tyurin, Gruntkowska, Richtarik,
      `Freya PAGE <https://arxiv.org/abs/2405.15545>`_, 2024.
    """

    name = "hero"
    paper = "folklore; named in arXiv 2405.15545"

    def __init__(self, step_size: StepSize, worker: int | None = None, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.worker = None if worker is None else at_least("worker", worker, 0)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.hero(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        check_worker(self.worker, workers)

    def start(self, fleet: Fleet) -> None:
        fleet.assign(fastest(fleet, self.worker), self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(arrival.value)
        fleet.assign(arrival.worker, self.point())
