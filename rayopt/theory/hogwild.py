"""Hogwild on sparse, strongly convex f: the step size and the number of updates of its theorem."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rayopt.theory.checks import NotAllowed, at_least, non_negative, positive


@dataclass(frozen=True)
class Sparsity:
    """How the terms f_e of f = sum_e f_e overlap.

    Args:
      largest_term: Omega, the most coordinates of one term.
      densest_coordinate: Delta, the largest share of the terms that contain one coordinate, from 0 to 1.
      densest_term: rho, the largest share of the terms that intersect one term, from 0 to 1.

    Raises:
      ValueError: one of them is out of its range.
    """

    largest_term: int
    densest_coordinate: float
    densest_term: float

    def __post_init__(self) -> None:
        at_least("largest_term", self.largest_term, 1)
        for name in ("densest_coordinate", "densest_term"):
            if non_negative(name, getattr(self, name)) > 1:
                raise NotAllowed(name, repr(getattr(self, name)), "a number from 0 to 1")


def hogwild_step_size(
    sparsity: Sparsity, lag: float, eps: float, smoothness: float, strong_convexity: float, gradient_bound: float,
    caution: float = 0.5,
) -> float:  # fmt: skip
    r"""Returns the step size of Hogwild's theorem (Niu et al., arXiv 1106.5730 [memory]).

    .. math:: \gamma = \frac{\vartheta \varepsilon c}{2 L M^2 \Omega (1 + 6 \rho \tau + 4 \tau^2 \Omega \Delta^{1/2})}

    Args:
      sparsity: Omega, Delta and rho.
      lag: tau, the most updates between a read and its write.
      eps: the accuracy of E f - f*.
      smoothness: L.
      strong_convexity: c.
      gradient_bound: M, of the stochastic gradients.
      caution: theta in (0, 1).

    Raises:
      ValueError: an argument is out of its range.
    """
    if not 0 < caution < 1:
        raise NotAllowed("caution", repr(caution), "a number between 0 and 1")
    scale = 2 * positive("smoothness", smoothness) * positive("gradient_bound", gradient_bound) ** 2
    overlap = _overlap(sparsity, lag, 4)
    return caution * positive("eps", eps) * positive("strong_convexity", strong_convexity) / (scale * overlap)


def hogwild_updates(
    sparsity: Sparsity, lag: float, eps: float, smoothness: float, strong_convexity: float, gradient_bound: float,
    distance: float, caution: float = 0.5,
) -> float:  # fmt: skip
    r"""Returns the number of updates of Hogwild's theorem (Niu et al., arXiv 1106.5730 [memory]).

    .. math:: k \ge \frac{2 L M^2 \Omega (1 + 6 \tau \rho + 6 \tau^2 \Omega \Delta^{1/2}) \log(L D_0 / \varepsilon)}
              {c^2 \vartheta \varepsilon}

    Args:
      sparsity: Omega, Delta and rho.
      lag: tau, the most updates between a read and its write.
      eps: the accuracy of E f - f*.
      smoothness: L.
      strong_convexity: c.
      gradient_bound: M, of the stochastic gradients.
      distance: D_0 = ||x0 - x*||^2.
      caution: theta in (0, 1).

    Raises:
      ValueError: an argument is out of its range.
    """
    if not 0 < caution < 1:
        raise NotAllowed("caution", repr(caution), "a number between 0 and 1")
    work = 2 * positive("smoothness", smoothness) * positive("gradient_bound", gradient_bound) ** 2
    halvings = max(math.log(smoothness * positive("distance", distance) / positive("eps", eps)), 0.0)
    divisor = positive("strong_convexity", strong_convexity) ** 2 * caution * eps
    return work * _overlap(sparsity, lag, 6) * halvings / divisor


def _overlap(sparsity: Sparsity, lag: float, factor: float) -> float:
    """Returns Omega (1 + 6 rho tau + factor tau^2 Omega Delta^(1/2))."""
    tau, omega = non_negative("lag", lag), sparsity.largest_term
    conflicts = 6 * sparsity.densest_term * tau + factor * tau**2 * omega * math.sqrt(sparsity.densest_coordinate)
    return omega * (1 + conflicts)
