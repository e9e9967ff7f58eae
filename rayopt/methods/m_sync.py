"""m-Synchronous SGD: a minibatch of the first or the fastest m workers."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, at_least, one_of
from rayopt.methods.base import Array, Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class MSync(Method):
    """m-Synchronous SGD (m-Minibatch SGD): a minibatch of m gradients, one from each of m workers.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{m} \\sum_{i \\in M_k} \\nabla f(x^k; \\xi_i^k)

    with gamma = ``step_size`` and m = ``batch_size``. M_k are the first m workers to answer, all
    others are cancelled (the robust form), or always the m fastest, the others stand idle (the form
    of the fixed computation model). Homogeneous data only.

    Server knows:
      m, which in theory is argmin_m tau_m (1 + sigma^2 / (m eps)) and takes the times and sigma^2 / eps; who is
      fastest, if it waits for the fastest; L, sigma^2 and eps for the step size.

    Guarantee:
      tau_m (L Delta / eps + sigma^2 L Delta / (m eps^2)) seconds up to a constant [derived]; with the best m
      at most 1 + ln n times the lower bound min_m H_m (L Delta / eps + sigma^2 L Delta / (m eps^2)) up to a
      constant, when times are fixed [derived].

    Args:
      step_size: gamma; in theory min{1, eps m / sigma^2} / (2L).
      batch_size: m, from 1 to n.
      wait_for: "first": the first m arrivals of all workers; "fastest": the m workers with the least
        expected times.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.MSync(step_size=0.5, batch_size=2), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([2.0, 1.0, 3.0])), until=ro.Until(updates=1))
      >>> result.trace[["worker", "outcome"]].values.tolist()
      [[1, 'used'], [0, 'used'], [2, 'cancelled']]

    References:
      Begunov, Tyurin, `Do We Need Asynchronous SGD? <https://arxiv.org/abs/2602.03802>`_, 2026
      (abstract read: near-optimal up to logarithms; the factor for fixed times is [derived]).
    """

    name = "m_sync"
    paper = "arXiv 2602.03802"

    def __init__(
        self, step_size: StepSize, batch_size: int, wait_for: str = "first", **controls: Unpack[Controls]
    ) -> None:
        super().__init__(step_size, **controls)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.wait_for = one_of("wait_for", wait_for, ("first", "fastest"))

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.m_sync(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        if self.batch_size > workers:
            raise InvalidInput("batch_size", f"{self.batch_size} is more than the {workers} workers", f"1 to {workers}")

    def start(self, fleet: Fleet) -> None:
        self.asked = everyone(fleet)
        if self.wait_for == "fastest":
            if fleet.expected_times is None:
                raise InvalidInput("wait_for", "the fleet does not tell who is fastest", "first")
            self.asked = np.sort(np.argsort(fleet.expected_times, kind="stable")[: self.batch_size])
        self.ask(fleet)

    def ask(self, fleet: Fleet) -> None:
        self.batch = GradientSum()
        fleet.assign(self.asked, self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.batch.add(arrival)
        if self.batch.count == self.batch_size:
            self.descend(self.batch.mean())
            self.ask(fleet)
