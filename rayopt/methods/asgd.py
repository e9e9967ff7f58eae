"""Asynchronous SGD with a constant step size."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class ASGD(Method):
    """Asynchronous SGD: every arrival is applied at once, however old it is.

    .. math:: x^{k+1} = x^k - \\gamma \\nabla f(x^{k - \\delta^k}; \\xi^k)

    with gamma = ``step_size`` and delta^k the arrival's delay; x^{k+1} is sent to the worker that
    arrived, and only to it. Homogeneous data only.

    Server knows:
      L, n, sigma^2 and eps, for the step size; not the times.

    Guarantee:
      H_n (L Delta / eps + sigma^2 L Delta / (n eps^2)) seconds up to a constant, H_n the harmonic mean of
      the times [poster]; with a constant step size, sigma^2 / eps^2 + sqrt(n delta_max) / eps updates up to L,
      Delta and a constant [paper]. Not optimal: slow workers raise H_n.

    Args:
      step_size: gamma; with concurrency n of order min{1/(2 n L), eps/(4 L sigma^2)} [derived].
      compressor: of what workers send, unbiased, or the mapping of a workload file; None, the paper, for floats as they
        are.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.ASGD(step_size=0.1), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4))
      >>> result.trace[["worker", "delay"]].values.tolist()
      [[0, 0], [0, 0], [1, 2], [0, 1], [2, 4], [0, 1]]

    References:
      Koloskova, Stich, Jaggi, `Sharper Convergence Guarantees for Asynchronous SGD for Distributed and
      Federated Learning <https://arxiv.org/abs/2206.08307>`_, 2022, Algorithm 1 with concurrency n.
    """

    name = "asgd"
    paper = "arXiv 2206.08307, Algorithm 1"
    answers_each = True

    def __init__(self, step_size: StepSize, compressor: Any = None, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.compress_with(compressor)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.asgd(setting)

    def start(self, fleet: Fleet) -> None:
        fleet.assign(everyone(fleet), self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(arrival.value)
        fleet.assign(arrival.worker, self.point())
