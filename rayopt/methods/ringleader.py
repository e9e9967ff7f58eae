"""Ringleader ASGD: asynchronous SGD with a table of gradients, for workers with different data."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import boolean
from rayopt.methods.base import Array, Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Ringleader(Method):
    """Ringleader ASGD: every worker has a slot in a table of gradients and makes one update in a round.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\frac{1}{b_i^k} \\sum_{j=1}^{b_i^k}
              \\nabla f_i(x^{k - \\delta_i^k}; \\xi_i^{k,j}), \\qquad \\delta_i^k \\le 2n - 2

    with gamma = ``step_size`` and b_i^k the number of gradients in the slot of worker i, all computed at one
    point. A round has two phases. In the first, gradients are collected at the points that the workers hold,
    without updates, until no slot is empty. In the second, every worker's next gradient is added to its slot
    and makes one update, n in all, the first by the worker that filled the table; the worker is given the new
    point, and what it computes there is kept for the table of the next round. No worker idles, no gradient is
    dropped.

    Server knows:
      L for the step size; not the times. sigma^2 and eps matter to the step size alone, as does the harmonic mean
      B >= 1 of the counts b_i, which is at least tau_n / (2 tau_A) [note].

    Guarantee:
      (L Delta / eps) (tau_n + tau_A sigma^2 / (n eps)) seconds up to a constant [poster], tau_n the largest and
      tau_A the mean of the times; n updates take at most 2 tau_n seconds [note]. It matches the lower bound for
      heterogeneous data when L, here the constant of ||grad f(x) - (1/n) sum_i grad f_i(y_i)||^2 <=
      (L^2 / n) sum_i ||x - y_i||^2, is of the order of the smoothness of f.

    Args:
      step_size: gamma; in theory min{1 / (8 n L), eps B / (10 L sigma^2)} (constants [note]).
      resend_current: False: a worker that makes no update goes on at the point that it holds (the paper [poster]);
        True: it is given the current point, so that a slot may hold gradients of several points, which the
        theory does not cover (the authors' code).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.Ringleader(step_size=0.1), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4.7))
      >>> result.trace.query("updates > 0")[["time", "worker", "updates"]].values.tolist()
      [[3.7, 2.0, 1.0], [4.0, 0.0, 2.0], [4.6, 1.0, 3.0]]

    References:
      Maranjyan, Richtarik, `Ringleader ASGD: The First Asynchronous SGD with Optimal Time Complexity under Data
      Heterogeneity <https://arxiv.org/abs/2509.22860>`_, 2025 (algorithm [poster][note], ``resend_current`` [code]).
    """

    name = "ringleader"
    vectors_per_worker = 1
    paper = "arXiv 2509.22860"
    heterogeneous = True
    waits_for_everyone = True

    def __init__(self, step_size: StepSize, resend_current: bool = False, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.resend_current = boolean("resend_current", resend_current)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ringleader(setting)

    def start(self, fleet: Fleet) -> None:
        self.table = empty_table(fleet.n)
        self.next_table = empty_table(fleet.n)
        self.empty_slots = fleet.n
        # Of the workers whose update in this round is still to come: what their slots hold, (G_i / b_i, b_i).
        # None are pending during the first phase.
        self.pending: dict[int, tuple[Array, int]] = {}
        fleet.assign(everyone(fleet), self.point())

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        worker = arrival.worker
        if worker in self.pending:
            self.replace_mean(worker, arrival.value)
            self.update(arrival, fleet)
        elif self.pending:
            self.next_table[worker].add(arrival)
            self.go_on(arrival, fleet)
        else:
            self.table[worker].add(arrival)
            self.empty_slots -= self.table[worker].count == 1
            if self.empty_slots == 0:
                self.open_second_phase(worker)
                self.update(arrival, fleet)
            else:
                self.go_on(arrival, fleet)

    def open_second_phase(self, first: int) -> None:
        """Evaluates the full table, each slot in one product; every worker but ``first`` is pending."""
        slots = [(slot.mean(), slot.count) for slot in self.table]
        self.mean = np.mean([mean for mean, _ in slots], axis=0)
        self.pending = {worker: slot for worker, slot in enumerate(slots) if worker != first}

    def replace_mean(self, worker: int, gradient: Array) -> None:
        """G_i <- G_i + gradient; b_i <- b_i + 1, in the mean over all slots alone: slot i has its update now."""
        before, count = self.pending.pop(worker)
        self.mean += (gradient - before) / ((count + 1) * len(self.table))

    def update(self, arrival: Arrival, fleet: Fleet) -> None:
        self.descend(self.mean)
        if not self.pending:
            self.table, self.next_table = self.next_table, empty_table(fleet.n)
            self.empty_slots = sum(slot.count == 0 for slot in self.table)
        fleet.assign(arrival.worker, self.point())

    def go_on(self, arrival: Arrival, fleet: Fleet) -> None:
        fleet.assign(arrival.worker, self.point() if self.resend_current else arrival.task)


def empty_table(workers: int) -> list[GradientSum]:
    return [GradientSum() for _ in range(workers)]
