"""Rescaled ASGD: asynchronous SGD whose step sizes undo the bias towards fast workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput
from rayopt.methods.asgd import ASGD
from rayopt.methods.base import Array, Fleet
from rayopt.theory import Setting, parameters

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes


class RescaledASGD(ASGD):
    """Rescaled ASGD: every arrival is applied at once, its step in proportion to its worker's time.

    .. math:: x^{k+1} = x^k - \\gamma_i \\nabla f_i(x^{k - \\delta^k}; \\xi^k) \\text{ from worker } i, \\qquad
              \\gamma_i = \\gamma \\frac{\\tau_i}{\\tau_A}

    with gamma = ``step_size``, tau_i the expected time of worker i and tau_A the mean of all. A worker that is
    twice as fast arrives twice as often and steps half as far, so that all objectives f_i have the same
    weight, without a table. Equal times make it ASGD.

    Server knows:
      The expected times of all workers; L, sigma^2, eps and the bounds of heterogeneity for the step size.

    Guarantee:
      Delta L sigma^2 tau_A / (n eps^2) + Delta L_max sqrt(sigma^2 + zeta^2) (tau_n / H_n) tau_A / eps^{3/2} +
      Delta L_max rho (tau_n / H_n) tau_n / eps + Delta L tau_n / eps seconds up to a constant [poster], if
      ||grad f_i||^2 <= zeta^2 + rho^2 ||grad f||^2 for all i; tau_n is the largest of the times, H_n their harmonic
      mean, L_max the largest smoothness of an f_i. The leading term is that of the lower bound.

    Args:
      step_size: gamma, the step size of a worker with the mean time (this normalisation is rayopt's; that the
        steps are in proportion to the times is in the paper's abstract, its poster prints the inverse).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.RescaledASGD(step_size=0.1), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4))
      >>> result.trace[["worker", "delay"]].values.tolist()
      [[0, 0], [0, 0], [1, 2], [0, 1], [2, 4], [0, 1]]

    References:
      Mahran, Maranjyan, Richtarik, `Rescaled Asynchronous SGD: Optimal Distributed Optimization under Data and
      System Heterogeneity <https://arxiv.org/abs/2605.13434>`_, 2026 (abstract read).
    """

    name = "rescaled_asgd"
    paper = "arXiv 2605.13434"
    answers_each = True
    heterogeneous = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.rescaled_asgd(setting)

    def incompatibility(self, times: TaskTimes) -> str:
        if times.expected is None:
            return "is made for mean times that are known, and measured ones are not known beforehand"
        endless = np.flatnonzero(np.isinf(times.expected))
        return f"is made for finite mean times, and that of worker {endless[0]} is infinite" if endless.size else ""

    def start(self, fleet: Fleet) -> None:
        times = fleet.expected_times
        allowed = "expected times that are known and finite"
        if times is None:
            raise InvalidInput("workers.compute", "the fleet does not tell the workers' times", allowed)
        if not np.isfinite(times).all():
            worker = int(np.argmin(np.isfinite(times)))
            raise InvalidInput("workers.compute", f"the expected time of worker {worker} is {times[worker]}", allowed)
        self.scales: Array = times / times.mean()
        super().start(fleet)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(arrival.value, float(self.scales[arrival.worker]))
        fleet.assign(arrival.worker, self.point())
