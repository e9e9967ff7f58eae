"""Malenia SGD: Rennala's loop for workers with different data."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import at_least, boolean
from rayopt.methods.base import Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Malenia(Method):
    """Malenia SGD: collects until the harmonic mean of the workers' counts reaches S / n.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\frac{1}{B_i}
              \\sum_{j=1}^{B_i} \\nabla f_i(x^k; \\xi_{ij}^k),
              \\qquad \\Big(\\frac1n \\sum_{i=1}^n \\frac{1}{B_i}\\Big)^{-1} \\ge \\frac{S}{n}

    with gamma = ``step_size`` and S = ``batch_size``; B_i counts the gradients of worker i at x^k. Every
    worker must report at least once.

    Server knows:
      sigma^2 / eps and L, not the times.

    Guarantee:
      96 (tau_n L Delta / eps + tau_A sigma^2 L Delta / (n eps^2)) seconds (Theorem A.4 [poster]; the constant
      [memory][derived]), tau_n the largest and tau_A the mean of the times. It matches the lower bound for
      heterogeneous data (Theorem A.2 [poster]).

    Args:
      step_size: gamma; in theory min{1/L, eps S / (2 L sigma^2)} [memory], L the constant of the average f [sib].
      batch_size: S >= 1; in theory max{ceil(sigma^2 / eps), n}. Values up to n all mean: one from everyone.
      interrupt: False: stale computations run to their end and are ignored (the paper); True: at an
        update all workers are reset to x^{k+1} at once [code].
      compressor: of what workers send, unbiased, or the mapping of a workload file; None, the paper, for floats as they
        are.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(
      ...     ro.methods.Malenia(step_size=0.5, batch_size=4), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...     workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(updates=1))
      >>> float(result.trace.time.iloc[-1])
      4.0

    References:
      Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a
      Fixed Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023, Appendix A, Methods 6 and 7.
    """

    name = "malenia"
    paper = "arXiv 2305.12387, Method 6"
    heterogeneous = True
    waits_for_everyone = True

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int,
        interrupt: bool = False,
        compressor: Any = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.compress_with(compressor)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.interrupt = boolean("interrupt", interrupt)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.malenia(setting)

    def start(self, fleet: Fleet) -> None:
        self.collect(fleet.n)
        fleet.assign(everyone(fleet), self.task)

    def collect(self, workers: int) -> None:
        self.task = self.point()
        self.batch = GradientSum()
        self.counts = np.zeros(workers, dtype=np.int64)
        self.missing = workers
        self.sum_of_inverses = 0.0

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        if arrival.version == self.updates:
            self.batch.add(arrival)
            self.count(arrival.worker)
            if self.is_full(fleet.n):
                self.descend(self.batch.sum(worker_weights=1.0 / (fleet.n * self.counts)))
                self.collect(fleet.n)
                if self.interrupt:
                    fleet.assign(everyone(fleet), self.task)
                    return
        fleet.assign(arrival.worker, self.task)

    def count(self, worker: int) -> None:
        """B_i <- B_i + 1, and with it sum_i 1/B_i over the workers that have reported."""
        before = int(self.counts[worker])
        self.counts[worker] = before + 1
        if before == 0:
            self.missing -= 1
            self.sum_of_inverses += 1.0
        else:
            self.sum_of_inverses -= 1.0 / (before * (before + 1))

    def is_full(self, workers: int) -> bool:
        """Whether the harmonic mean of the counts is at least S / n."""
        # A sum of inverses carries rounding errors, and equality is common: (4, 1, 1) for S = 4.
        return self.missing == 0 and self.sum_of_inverses * self.batch_size <= workers**2 * (1 + 1e-12)
