"""Asynchronous SGD whose step size shrinks with the delay of the gradient."""

from __future__ import annotations

from typing import Unpack

from rayopt.core.arrivals import Arrival
from rayopt.core.errors import one_of
from rayopt.methods.asgd import ASGD
from rayopt.methods.base import Fleet
from rayopt.methods.controls import Controls, StepSize


class DelayAdaptiveASGD(ASGD):
    """Delay-adaptive asynchronous SGD: the older the gradient, the smaller its step.

    .. math:: x^{k+1} = x^k - \\gamma_k \\nabla f(x^{k - \\delta^k}; \\xi^k), \\qquad
              \\gamma_k = \\gamma \\frac{n}{\\max\\{n, \\delta^k\\}}

    with gamma = ``step_size``, n workers and delta^k the delay (Mishchenko et al., the rule of their
    released notebook [code]). With ``rule="koloskova"``, gamma_k = gamma while delta^k <= n and
    gamma / delta^k beyond (their practical advice below equation 11 [paper]). Homogeneous data only.

    Server knows:
      L, n, sigma^2 and eps, for the step size, and the delays as they occur; not the times.

    Guarantee:
      H_n (L Delta / eps + sigma^2 L Delta / (n eps^2)) seconds up to a constant, H_n the harmonic mean of the
      times [poster]: sigma^2 / eps^2 + n / eps updates up to L, Delta and a constant, whatever the largest
      delay (Koloskova et al., Theorem 8 [paper]).

    Args:
      step_size: gamma; of order min{1/(2 n L), eps/(4 L sigma^2)} [derived].
      rule: "mishchenko" or "koloskova".

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.DelayAdaptiveASGD(step_size=0.1), ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=ro.latency.fixed([1.0, 2.3, 3.7])), until=ro.Until(time=4))
      >>> int(result.trace.delay.max())
      4

    References:
      Mishchenko, Bach, Even, Woodworth, `Asynchronous SGD Beats Minibatch SGD Under Arbitrary Delays
      <https://arxiv.org/abs/2206.07638>`_, 2022; Koloskova, Stich, Jaggi,
      `Sharper Convergence Guarantees for Asynchronous SGD <https://arxiv.org/abs/2206.08307>`_, 2022, equation 11.
    """

    name = "delay_adaptive_asgd"
    paper = "arXiv 2206.07638; arXiv 2206.08307, eq. 11"
    answers_each = True

    def __init__(self, step_size: StepSize, rule: str = "mishchenko", **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.rule = one_of("rule", rule, ("mishchenko", "koloskova"))

    def scale(self, delay: int, workers: int) -> float:
        """Returns gamma_k / gamma."""
        if delay <= workers:
            return 1.0
        return workers / delay if self.rule == "mishchenko" else 1.0 / delay

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        delay = self.updates - arrival.version
        self.descend(arrival.value, self.scale(delay, fleet.n))
        fleet.assign(arrival.worker, self.point())
