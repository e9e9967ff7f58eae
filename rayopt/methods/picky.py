"""Picky SGD: asynchronous SGD that discards gradients of distant points."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput, positive
from rayopt.core.tasks import Gradient
from rayopt.methods.asgd import ASGD
from rayopt.methods.base import Array, Fleet
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class Picky(ASGD):
    """Picky SGD: applies a gradient if it was computed close to the current point, discards it otherwise.

    .. math:: x_{t+1} = x_t - \\gamma \\nabla f(x_{t - d_t}; \\xi_t) \\text{ if } \\|x_t - x_{t - d_t}\\| \\le r,
              \\qquad x_{t+1} = x_t \\text{ otherwise}

    with gamma = ``step_size``, r = ``distance_limit`` and d_t the delay; x_{t+1} is sent to the worker that
    arrived. As in the paper t counts arrivals: ``updates`` is t and the delay in the trace is d_t, a discarded
    arrival counts in both, and x has moved ``updates`` minus ``ignored`` times. r = infinity is ASGD.
    Homogeneous data only.

    The rule looks at x: the step sizes of a grid run one by one.

    Server knows:
      L, sigma^2 and eps', for r and the step size, and the point of every gradient; not the times.

    Guarantee:
      sigma^2 / eps'^4 + d_avg / eps'^2 iterations t up to L, Delta and a constant, d_avg the average delay, until
      ||grad f|| <= eps' (eps' bounds the norm, not its square) [paper]; 500 L Delta (sigma^2 / eps'^4 +
      (d_avg + 1) / eps'^2) of them, with probability at least 1/2 [memory]. When times are fixed, the seconds of
      ASGD, H_n (L Delta / eps + sigma^2 L Delta / (n eps^2)) with eps = eps'^2, up to a constant [poster].

    Args:
      step_size: gamma; in theory min{1, eps'^2 / sigma^2} / (4L) [memory].
      distance_limit: r > 0, in the units of x, or infinity; in theory eps' / (2L) (the factor 1/2 [memory]).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(
      ...     ro.methods.Picky(step_size=0.5, distance_limit=0.8), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...     workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4))
      >>> result.trace[["worker", "delay", "outcome", "updates"]].values.tolist()[2:5]
      [[1, 2, 'ignored', 3], [0, 1, 'used', 4], [2, 4, 'ignored', 5]]

    References:
      Cohen, Daniely, Drori, Koren, Schain, `Asynchronous Stochastic Optimization Robust to Arbitrary Delays
      <https://arxiv.org/abs/2106.11879>`_, 2021 (abstract read; the rule as Koloskova, Stich, Jaggi describe it).
    """

    name = "picky"
    paper = "arXiv 2106.11879"
    answers_each = True
    control_depends_on_x = True

    def __init__(self, step_size: StepSize, distance_limit: float, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        infinity = "infinity (.inf in a file)"
        limit = distance_limit
        self.distance_limit = limit if limit == math.inf else positive("distance_limit", limit, infinity)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.picky(setting)

    def start(self, fleet: Fleet) -> None:
        if len(self.members()) > 1:
            raise InvalidInput("step_size", "a grid, but what is discarded depends on x", "one step size in each run")
        super().start(fleet)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        if self.is_close(arrival.task.x):
            self.descend(arrival.value)
        else:
            self.updates += 1
        fleet.assign(arrival.worker, self.point())

    def would_use(self, task: Gradient, later: int) -> bool:
        return self.is_close(task.x)

    def is_close(self, x: Array) -> bool:
        """Whether a gradient was computed within the limit of x_t."""
        if self.distance_limit == math.inf:
            return True
        return float(np.linalg.norm(self.x - x)) <= self.distance_limit
