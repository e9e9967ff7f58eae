"""Parameters of the methods for convex f."""

from __future__ import annotations

import math
from typing import Any

from rayopt.theory import iterations
from rayopt.theory.checks import ceiling
from rayopt.theory.setting import Setting


def accelerated_rennala(setting: Setting) -> dict[str, Any]:
    r"""Returns S and gamma of Accelerated Rennala (arXiv 2305.12387, Theorem B.11 [sib]).

    .. math:: S = \max\Big\{\Big\lceil \frac{\sigma^2 R_0}{\varepsilon^{3/2} \sqrt L} \Big\rceil, 1\Big\}, \quad
              \gamma = \min\Big\{\frac1{4L}, \sqrt{\frac{3 R_0^2 S}{4 \sigma^2 (K+1) (K+2)^2}}\Big\}, \quad
              K = \Big\lceil \frac{8 \sqrt L R_0}{\sqrt\varepsilon} \Big\rceil

    In update k the method uses gamma (k + 1); K is :func:`rayopt.theory.iterations.accelerated_rennala`.
    """
    variance, distance, smoothness = setting.get("noise_variance"), setting.get("distance"), setting.get("smoothness")
    batch = max(ceiling(variance * distance / (setting.eps**1.5 * math.sqrt(smoothness))), 1)
    updates = iterations.accelerated_rennala(setting)
    step = 1 / (4 * smoothness)
    if variance:
        step = min(step, math.sqrt(3 * distance**2 * batch / (4 * variance * (updates + 1) * (updates + 2) ** 2)))
    return {"step_size": step, "batch_size": batch}


def nonsmooth_rennala(setting: Setting) -> dict[str, Any]:
    r"""Returns S and gamma of Rennala on nonsmooth f (arXiv 2305.12387, Theorem B.9 [sib]).

    .. math:: S = \max\Big\{\Big\lceil \frac{\sigma^2}{M^2} \Big\rceil, 1\Big\}, \qquad
              \gamma = \frac{\varepsilon}{M^2 + \sigma^2 / S}
    """
    variance, lipschitz = setting.get("noise_variance"), setting.get("lipschitz")
    batch = max(ceiling(variance / lipschitz**2), 1)
    return {"step_size": setting.eps / (lipschitz**2 + variance / batch), "batch_size": batch}
