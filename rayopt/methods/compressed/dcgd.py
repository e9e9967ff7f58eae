"""DCGD: distributed compressed gradient descent, QSGD on different data."""

from __future__ import annotations

from rayopt.methods.compressed.qsgd import QSGD


class DCGD(QSGD):
    """DCGD: every worker sends a compressed gradient of its own function, the server waits for all.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n C_i(\\nabla f_i(x^k; \\xi_i^k))

    with gamma = ``step_size`` and C = ``compressor``. On different data it stops at a distance from the minimum, as the
    gradients of the workers do not vanish there; DIANA and EF21 repair that.

    Server knows:
      L and omega, for the step size; not the times.

    Guarantee:
      That of QSGD where all data are of one distribution; none of exact convergence elsewhere [memory].

    Args:
      step_size: gamma; in theory as for QSGD.
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=3, dimension=10, split=True)
      >>> method = ro.methods.DCGD(step_size=0.1, compressor=ro.compressors.RandK(2))
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Khirirat, Feyzmahdavian, Johansson, `Distributed learning with compressed gradients
      <https://arxiv.org/abs/1806.06573>`_, 2018.
    """

    name = "dcgd"
    paper = "Khirirat, Feyzmahdavian & Johansson 2018, arXiv 1806.06573"
    heterogeneous = True
