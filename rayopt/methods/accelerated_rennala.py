"""Accelerated Rennala SGD: Rennala's batches in an accelerated scheme, for smooth convex functions."""

from __future__ import annotations

from typing import Any

from rayopt.core.tasks import Gradient
from rayopt.methods.acceleration import LanScheme
from rayopt.methods.base import Array
from rayopt.methods.rennala import Rennala
from rayopt.theory import Setting, parameters


class AcceleratedRennala(LanScheme, Rennala):
    """Accelerated Rennala SGD: collects S gradients as Rennala does, and steps with momentum.

    .. math:: y^k = (1 - \\alpha_k) x^k + \\alpha_k u^k, \\qquad
              u^{k+1} = u^k - \\frac{\\gamma (k + 1)}{S} \\sum_{j=1}^{S} \\nabla f(y^k; \\xi_j^k)

    .. math:: x^{k+1} = (1 - \\alpha_k) x^k + \\alpha_k u^{k+1}, \\qquad \\alpha_k = \\frac{2}{k + 2}

    with gamma = ``step_size``, S = ``batch_size`` and u^0 = x^0. The workers are sent y^k; what is evaluated is
    x^k. Smooth convex f, homogeneous data only.

    Server knows:
      sigma^2, L, eps, the distance R_0 = ||x^0 - x*|| and the number of updates K; not the times.

    Guarantee:
      E f(x^K) - min f <= 4 L R_0^2 / K^2 + 4 sigma R_0 / sqrt(S K), so K >= 8 sqrt(L) R_0 / sqrt(eps) is enough
      (Theorem B.10 [sib]); 32 min_m H_m (sqrt(L) R_0 / sqrt(eps) + sigma^2 R_0^2 / (m eps^2)) seconds (Theorem
      B.11 [poster], the constant [derived]), H_m the harmonic mean of the m least times. It matches the lower
      bound for smooth convex functions (Theorem B.4 [poster]).

    Args:
      step_size: gamma; in theory min{1 / (4L), sqrt(3 R_0^2 S / (4 sigma^2 (K + 1) (K + 2)^2))}.
      batch_size: S >= 1; in theory max{ceil(sigma^2 R_0 / (eps^{3/2} sqrt(L))), 1}.
      interrupt: False: stale computations run to their end and are ignored; True: at an update all workers are
        reset to y^{k+1} at once.

    Examples:
      >>> import rayopt as ro
      >>> methods = [make(step_size=0.2, batch_size=4) for make in (ro.methods.Rennala, ro.methods.AcceleratedRennala)]
      >>> result = ro.run(methods, ro.problems.Quadratic(dimension=100, noise=0.0),
      ...                 workers=ro.Workers(4, compute="sqrt(i)"), until=ro.Until(time=300))
      >>> plain, accelerated = result.history.groupby("method").gap.last()[["rennala", "accelerated_rennala"]]
      >>> bool(accelerated < 0.2 * plain)
      True

    References:
      Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a
      Fixed Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023, Appendix B; scheme and constants as in
      `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, Tyurin, Richtarik, 2024, Theorem 12 [sib].
    """

    name = "accelerated_rennala"
    paper = "arXiv 2305.12387, Theorem B.11"
    convex = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.accelerated_rennala(setting)

    def point(self) -> Gradient:
        """Returns the task of one stochastic gradient at (y^k, k)."""
        return Gradient(self.between(self.u), self.updates)

    def update(self, gradient: Array) -> None:
        self.accelerated_step(gradient)
