"""Minibatch SGD: one gradient from every worker, wait for all."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.methods.base import Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Minibatch(Method):
    """Minibatch SGD: every worker computes one gradient, the server waits for all.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\nabla f_i(x^k; \\xi_i^k)

    with gamma = ``step_size``. An iteration lasts as long as its slowest worker. Works unchanged
    for heterogeneous data.

    Server knows:
      L, sigma^2 and eps, for the step size; not the times.

    Guarantee:
      tau_n (L Delta / eps + sigma^2 L Delta / (n eps^2)) seconds up to a constant, tau_n the time of the
      slowest worker [poster].

    Args:
      step_size: gamma; in theory min{1, eps n / sigma^2} / (2L).
      compressor: of what workers send, unbiased, or the mapping of a workload file; None, the paper, for floats as they
        are.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.Minibatch(step_size=0.5), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([2.0, 1.0, 3.0])), until=ro.Until(updates=2))
      >>> result.trace[["time", "worker", "updates"]].values.tolist()[2:]
      [[3.0, 2.0, 1.0], [4.0, 1.0, 1.0], [5.0, 0.0, 1.0], [6.0, 2.0, 2.0]]

    References:
      Folklore; as a baseline in Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic
      Optimization Methods Under a Fixed Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023.
    """

    name = "minibatch"
    paper = "folklore; baseline of arXiv 2305.12387"
    heterogeneous = True
    waits_for_everyone = True

    def __init__(self, step_size: StepSize, compressor: Any = None, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.compress_with(compressor)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.minibatch(setting)

    def start(self, fleet: Fleet) -> None:
        self.batch = GradientSum()
        fleet.assign(everyone(fleet), self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.batch.add(arrival)
        if self.batch.count == fleet.n:
            self.descend(self.batch.mean())
            self.start(fleet)
