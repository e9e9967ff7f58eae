"""Parameters of the methods for finite sums f = (1/m) sum_j f_j that every worker can evaluate."""

from __future__ import annotations

import math
from typing import Any

from rayopt.theory.checks import ceiling
from rayopt.theory.finite_sum import PAGEParameters, page_parameters, page_step_size
from rayopt.theory.setting import Setting


def freya_page(setting: Setting) -> dict[str, Any]:
    """Returns S = ceil(sqrt(m)) and p = 1 / sqrt(m) [talk], gamma = 1 / (L_- + L_pm sqrt((1 - p) / (p S))) [memory].

    No times are used; with them, see :func:`rayopt.theory.finite_sum.page_parameters_of_times`.
    """
    return _page(setting, page_parameters(_components(setting)))


def hero_page(setting: Setting) -> dict[str, Any]:
    """Returns S = ceil(sqrt(m)), p = S / (S + m) [code], and gamma as for Freya PAGE; Soviet PAGE has the same."""
    return _page(setting, _usual(setting))


soviet_page = hero_page


def page(setting: Setting) -> dict[str, Any]:
    """Returns S = ceil(sqrt(m)), p = S / (S + m), gamma = 1 / (L_+ (1 + sqrt((1 - p) / (p S)))) of PAGE [memory]."""
    usual = _usual(setting)
    smoothness = setting.get("mean_smoothness")
    return {"step_size": page_step_size(smoothness, smoothness, usual), **usual._asdict()}


def hero_gd(setting: Setting) -> dict[str, Any]:
    """Returns gamma = 1 / L of gradient descent; Soviet GD has the same."""
    return {"step_size": 1 / setting.get("smoothness")}


soviet_gd = hero_gd


def freya_sgd(setting: Setting) -> dict[str, Any]:
    r"""Returns S and gamma of Freya SGD under expected smoothness [derived from Khaled, Richtarik, 2020].

    .. math::
        S = \Big\lceil \frac{L_{\max} (\Delta + \Delta_{\inf})}{\varepsilon} \Big\rceil, \quad
        \gamma = \min\Big\{\frac1{L_- B}, \frac1{\sqrt{L_- A K}}, \frac{\varepsilon}{2 L_- C}\Big\}

    with A = L_max / S, B = 1 - 1 / S, C = 2 A Delta_inf, and K the fewest updates for these,
    K = (12 Delta L_- / eps) max{B, 12 Delta A / eps, 2 C / eps}. S is at least 1.
    """
    smoothness, largest = setting.get("smoothness"), setting.get("component_smoothness")
    gap, lowest, eps = setting.get("initial_gap"), setting.get("component_gap"), setting.eps
    size = max(1, ceiling(largest * (gap + lowest) / eps))
    a, b = largest / size, 1 - 1 / size
    c = 2 * a * lowest
    updates = 12 * gap * smoothness / eps * max(b, 12 * gap * a / eps, 2 * c / eps)
    # A bound whose divisor is 0 is none; without any, f is at its minimum already.
    divisors = [smoothness * b, math.sqrt(smoothness * a * updates), 2 * smoothness * c / eps]
    return {"step_size": 1 / (max(divisors) or smoothness), "batch_size": size}


def _page(setting: Setting, chosen: PAGEParameters) -> dict[str, Any]:
    step = page_step_size(setting.get("smoothness"), setting.get("hessian_variance"), chosen)
    return {"step_size": step, **chosen._asdict()}


def _usual(setting: Setting) -> PAGEParameters:
    components = _components(setting)
    size = math.ceil(math.sqrt(components))
    return PAGEParameters(size, size / (size + components))


def _components(setting: Setting) -> int:
    return int(setting.get("components"))
