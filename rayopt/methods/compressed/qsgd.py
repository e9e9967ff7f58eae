"""QSGD: one compressed gradient from every worker."""

from __future__ import annotations

from typing import Any

from rayopt.methods.base import Array, Fleet
from rayopt.methods.compressed.base import Rounds
from rayopt.theory import Setting, parameters


class QSGD(Rounds):
    """QSGD: every worker sends one compressed stochastic gradient, the server waits for all.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n C_i(\\nabla f(x^k; \\xi_i^k))

    with gamma = ``step_size`` and C = ``compressor``. A round lasts max_i (h_i + tau_i) seconds.

    Server knows:
      L, omega, sigma^2 and eps, for the step size; not the times.

    Guarantee:
      max_i max{h_i, tau_i} ((omega / n + 1) L Delta / eps + (omega + 1) sigma^2 L Delta / (n eps^2)) seconds up to a
      constant [talk].

    Args:
      step_size: gamma; in theory min{1 / (L (1 + omega / n)), eps n / (2 L (1 + omega) sigma^2)} [derived].
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=1.0, upload=ro.Link(per_float=0.1))
      >>> method = ro.methods.QSGD(step_size=0.1, compressor=ro.compressors.RandK(2))
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=10), workers, until=ro.Until(updates=5))
      >>> result.table.time.tolist(), result.table.bits_up.tolist()
      ([6.0], [1920])

    References:
      Alistarh, Grubic, Li, Tomioka, Vojnovic, `QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding
      <https://arxiv.org/abs/1610.02132>`_, NeurIPS 2017.
    """

    name = "qsgd"
    paper = "Alistarh et al. 2017, arXiv 1610.02132"
    heterogeneous = False

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.qsgd(setting)

    def update(self, mean: Array, fleet: Fleet) -> None:
        self.descend(mean)
