"""DIANA: compressed differences to shifts that learn the workers' gradients."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.errors import share
from rayopt.methods.compressed.base import ShiftedRounds
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class DIANA(ShiftedRounds):
    """DIANA: worker i sends C_i(g_i - s_i), and its shift s_i follows its gradient.

    .. math::
        m_i = C_i(\\nabla f_i(x^k; \\xi_i^k) - s_i^k), \\quad
        x^{k+1} = x^k - \\gamma \\big(s^k + \\tfrac1n \\sum_i m_i\\big), \\quad
        s_i^{k+1} = s_i^k + a\\, m_i, \\quad s^k = \\tfrac1n \\sum_i s_i^k

    with gamma = ``step_size``, C = ``compressor``, a = ``shift_step``, s_i^0 = 0. On different data it converges to the
    minimum where DCGD does not.

    Server knows:
      L, omega and n, for the parameters; not the times.

    Guarantee:
      (1 + (1 + omega) sqrt(omega / n)) L Delta / eps rounds for nonconvex f up to a constant [memory].

    Args:
      step_size: gamma; in theory about 1 / (L (1 + (1 + omega) sqrt(omega / n))) [memory].
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.
      shift_step: a in (0, 1]; 1 / (1 + omega) by default [code].

    Examples:
      >>> import rayopt as ro
      >>> problem = ro.problems.NonconvexQuadratics(components=3, dimension=10, split=True)
      >>> method = ro.methods.DIANA(step_size=0.1, compressor=ro.compressors.RandK(2))
      >>> result = ro.run(method, problem, ro.Workers(3, compute=1.0), until=ro.Until(updates=5))
      >>> result.table.updates.tolist()
      [5]

    References:
      Mishchenko, Gorbunov, Takac, Richtarik, `Distributed Learning with Compressed Gradient Differences
      <https://arxiv.org/abs/1901.09269>`_, 2019.
    """

    name = "diana"
    paper = "Mishchenko, Gorbunov, Takac & Richtarik 2019, arXiv 1901.09269"

    def __init__(
        self, step_size: StepSize, compressor: Any, shift_step: float | None = None, **controls: Unpack[Controls]
    ) -> None:
        super().__init__(step_size, compressor, **controls)
        self.shift_step = None if shift_step is None else share("shift_step", shift_step)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.diana(setting)

    def rate(self, dimension: int) -> float:
        return 1 / (1 + self._own[0].omega(dimension)) if self.shift_step is None else self.shift_step
