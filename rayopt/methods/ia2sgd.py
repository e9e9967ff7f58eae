"""IA2SGD: asynchronous SGD with the mean of every worker's last gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Array, Fleet, Method, everyone
from rayopt.theory import Setting, parameters


class IA2SGD(Method):
    """IA2SGD, incremental aggregated asynchronous SGD: steps with the mean of every worker's last gradient.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\nabla f_i(x^{k - \\delta_i^k}; \\xi_i^k)

    with gamma = ``step_size``; the n gradients stand in a table. Until the table is full, arrivals replace what
    is in their slot, their workers go on at x^0, and nothing is updated. From the next arrival on, each replaces
    its slot and makes one update, and its worker is given the new point (warm-up [code]). Nothing bounds the
    delays delta_i^k.

    Server knows:
      L_max, the largest smoothness of an f_i, sigma^2 and eps, for the step size; not the times. It keeps n gradients.

    Guarantee:
      tau_n (L_max Delta / eps) (1 + sigma^2 / (n eps)) seconds up to a constant, tau_n the largest of the times
      [poster]: as slow as Minibatch SGD in the worst case, for lack of control over the delays.

    Args:
      step_size: gamma; the paper's was not read: tune it (``rayopt.theory.parameters.ia2sgd`` has a guess).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.IA2SGD(step_size=0.1), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4.7))
      >>> result.trace.query("updates > 0")[["time", "worker", "delay"]].values.tolist()
      [[4.0, 0.0, 0.0], [4.6, 1.0, 1.0]]

    References:
      `IA2SGD <https://openreview.net/forum?id=m3x4kDbYAK>`_, 2024, and as dual-delayed ASGD Wang, Sun, Wai, Zhang,
      `Dual-Delayed Asynchronous SGD for Arbitrarily Heterogeneous Data <https://arxiv.org/abs/2405.16966>`_, 2024
      (abstracts read); baseline of `Ringleader ASGD <https://arxiv.org/abs/2509.22860>`_, 2025, in its authors' code.
    """

    name = "ia2sgd"
    vectors_per_worker = 1
    paper = "arXiv 2405.16966; baseline of arXiv 2509.22860"
    heterogeneous = True
    waits_for_everyone = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ia2sgd(setting)

    def start(self, fleet: Fleet) -> None:
        self.table: dict[int, Array] = {}
        self.mean: Array | None = None
        fleet.assign(everyone(fleet), self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        worker, gradient = arrival.worker, arrival.value
        before = self.table.get(worker)
        self.table[worker] = gradient
        if self.mean is not None:
            assert before is not None
            self.mean = self.mean + (gradient - before) / fleet.n
            self.descend(self.mean)
        elif len(self.table) == fleet.n:
            self.mean = np.mean([self.table[i] for i in range(fleet.n)], axis=0)
        fleet.assign(worker, self.point())
