"""Rennala SGD for convex functions that need not be smooth: the average of the iterates is the result."""

from __future__ import annotations

from typing import Any

from rayopt.methods.averaging import AveragedPoints
from rayopt.methods.base import Array
from rayopt.methods.rennala import Rennala
from rayopt.theory import Setting, parameters


class NonsmoothRennala(AveragedPoints, Rennala):
    """Rennala SGD for nonsmooth convex f: Rennala's loop, the result is the average of the iterates.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{S} \\sum_{j=1}^{S} \\nabla f(x^k; \\xi_j^k), \\qquad
              \\hat x^K = \\frac1K \\sum_{k=0}^{K-1} x^k

    with gamma = ``step_size`` and S = ``batch_size``. What is evaluated is the average x-hat^K, x^0 before the first
    update. f is convex and M-Lipschitz, its gradients may be subgradients. Homogeneous data only.

    Server knows:
      sigma^2, M and eps; not the times.

    Guarantee:
      E f(x-hat^K) - min f <= eps for K >= 2 M^2 R_0^2 / eps^2, R_0 = ||x^0 - x*|| (Theorem B.8 [sib]);
      8 min_m H_m (M^2 R_0^2 / eps^2 + sigma^2 R_0^2 / (m eps^2)) seconds (Theorem B.9 [poster], the constant
      [derived]), H_m the harmonic mean of the m least times. It matches the lower bound for nonsmooth convex
      functions (Theorem B.4 [poster]).

    Args:
      step_size: gamma; in theory eps / (M^2 + sigma^2 / S).
      batch_size: S >= 1; in theory max{ceil(sigma^2 / M^2), 1}.
      interrupt: False: stale computations run to their end and are ignored; True: at an update all workers are
        reset to x^{k+1} at once.

    Examples:
      >>> import rayopt as ro
      >>> method = ro.methods.NonsmoothRennala(step_size=0.5, batch_size=1)
      >>> method.prepare(ro.problems.Quadratic(dimension=2).start_point(), workers=1)
      >>> method.update(method.x)  # x^1 = x^0 / 2
      >>> method.update(method.x)  # x^2 = x^0 / 4
      >>> (method.estimate / [1.4142135623730951, 1]).tolist()
      [0.75, 0.0]

    References:
      Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a
      Fixed Computation Model <https://arxiv.org/abs/2305.12387>`_, 2023, Appendix B; constants as in
      `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, Tyurin, Richtarik, 2024, Theorem 10 [sib].
    """

    name = "nonsmooth_rennala"
    paper = "arXiv 2305.12387, Theorem B.9"
    convex = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.nonsmooth_rennala(setting)

    def update(self, gradient: Array) -> None:
        self.averaged_step(gradient)
