"""Ringmaster ASGD: asynchronous SGD that ignores old gradients."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import at_least, boolean
from rayopt.core.tasks import Gradient
from rayopt.methods.base import Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Ringmaster(Method):
    """Ringmaster ASGD: applies a gradient if its delay is below the threshold R, ignores it otherwise.

    .. math:: x^{k+1} = x^k - \\gamma \\nabla f(x^{k - \\delta^k}; \\xi^k) \\quad \\text{if } \\delta^k < R

    with gamma = ``step_size`` and R = ``threshold`` (strict; an ignored gradient does not advance k).
    R = 1 is Hero SGD when times are fixed, R = infinity is ASGD. Homogeneous data only.

    Server knows:
      sigma^2 / eps and L, not the times, which may vary.

    Guarantee:
      min_m H_m (L Delta / eps + sigma^2 L Delta / (m eps^2)) seconds up to a constant (Theorem 4.2 [poster]; the
      constant is 96, up to a ceiling [derived]), H_m the harmonic mean of the m least times. It matches the lower
      bound (arXiv 2305.12387, Theorem 6.4 [poster]).

    Args:
      step_size: gamma; in theory min{1/(2 R L), eps / (4 L sigma^2)}.
      threshold: R >= 1, or infinity; in theory max{1, ceil(sigma^2 / eps)}.
      interrupt: False: Algorithm 4; True: Algorithm 5, with calculation stops: a worker whose running
        computation has reached delay R is stopped and restarted at x^k, so that every arrival is applied.
      compressor: of what workers send, unbiased, or the mapping of a workload file; None, the paper, for floats as they
        are.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(
      ...     ro.methods.Ringmaster(step_size=0.5, threshold=2), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...     workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4))
      >>> result.trace.query("outcome == 'ignored'")[["time", "worker", "delay"]].values.tolist()
      [[2.3, 1.0, 2.0], [3.7, 2.0, 3.0]]

    References:
      Maranjyan, Tyurin, Richtarik, `Ringmaster ASGD: The First Asynchronous SGD with Optimal Time
      Complexity <https://arxiv.org/abs/2501.16168>`_, 2025, Algorithms 4 and 5.
    """

    name = "ringmaster"
    paper = "arXiv 2501.16168, Algorithms 4 and 5"

    def __init__(
        self,
        step_size: StepSize,
        threshold: float,
        interrupt: bool = False,
        compressor: Any = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.compress_with(compressor)
        infinity = "infinity (.inf in a file)"
        self.threshold = threshold if threshold == math.inf else at_least("threshold", threshold, 1, infinity)
        self.interrupt = boolean("interrupt", interrupt)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.ringmaster(setting)

    def start(self, fleet: Fleet) -> None:
        self.started: NDArray[np.int64] = np.zeros(fleet.n, dtype=np.int64)
        fleet.assign(everyone(fleet), self.point())

    @property
    def answers_each(self) -> bool:  # type: ignore[override]
        return not self.interrupt

    def would_use(self, task: Gradient, later: int) -> bool:
        return self.updates + later - task.version < self.threshold

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        delay = self.updates - arrival.version
        if delay < self.threshold:
            self.descend(arrival.value)
        task = self.point()
        self.started[arrival.worker] = self.updates
        fleet.assign(arrival.worker, task)
        if self.interrupt:
            late = np.flatnonzero(self.started <= self.updates - self.threshold)
            if late.size:
                self.started[late] = self.updates
                fleet.assign(late, task)
