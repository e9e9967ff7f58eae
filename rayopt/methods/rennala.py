"""Rennala SGD: an asynchronous minibatch of S gradients at the current point."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import at_least, boolean
from rayopt.methods.base import Array, Fleet, Method, Repeat, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Rennala(Method):
    """Rennala SGD: collects S gradients at the current point, from whoever is first.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{S} \\sum_{j=1}^{S} \\nabla f(x^k; \\xi_j^k)

    with gamma = ``step_size`` and S = ``batch_size``. A fast worker contributes many gradients, a slow
    one none; a gradient of an earlier iterate is thrown away. Homogeneous data only.

    The literal listing sends x^k to the S-th contributor although x^{k+1} is about to be formed; as in
    the authors' code, that worker is given x^{k+1}, which is never slower.

    Server knows:
      sigma^2 / eps and L, not the times, which may vary.

    Guarantee:
      96 min_m H_m (L Delta / eps + sigma^2 L Delta / (m eps^2)) seconds (Theorem 7.5 [poster]), H_m the harmonic
      mean of the m least times. It matches the lower bound (Theorem 6.4 [poster]).

    Args:
      step_size: gamma; in theory min{1/L, eps S / (2 L sigma^2)} [code].
      batch_size: S >= 1; in theory max{ceil(sigma^2 / eps), 1}.
      interrupt: False: stale computations run to their end and are ignored (the paper's Method 4/5);
        True: at an update all workers are reset to x^{k+1} at once (never slower when times are fixed).
      compressor: of what workers send, unbiased, or the mapping of a workload file; None, the paper, for floats as they
        are.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(
      ...     ro.methods.Rennala(step_size=0.5, batch_size=4), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...     workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(updates=2))
      >>> result.trace.query("outcome == 'ignored'")[["time", "worker"]].values.tolist()
      [[3.7, 2.0], [4.6, 1.0]]

    References:
      Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a
      Fixed Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023, Methods 4 and 5 (listing
      [memory], order of sending [code]).
    """

    name = "rennala"
    paper = "arXiv 2305.12387, Method 4"

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
        return parameters.rennala(setting)

    def start(self, fleet: Fleet) -> None:
        self.collect()
        fleet.assign(everyone(fleet), self.task)

    def collect(self) -> None:
        self.task = self.point()
        self.batch = GradientSum()

    def repeats(self) -> Repeat | None:
        # The last one makes the update.
        return Repeat(self.task, self.batch, self.batch_size - self.batch.count - 1)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        if arrival.version == self.updates:
            self.batch.add(arrival)
            if self.batch.count == self.batch_size:
                self.update(self.batch.mean())
                self.collect()
                if self.interrupt:
                    fleet.assign(everyone(fleet), self.task)
                    return
        fleet.assign(arrival.worker, self.task)

    def update(self, gradient: Array) -> None:
        """Makes x^{k+1} of the mean of S gradients."""
        self.descend(gradient)
