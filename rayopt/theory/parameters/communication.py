"""Parameters of the methods that send compressed messages."""

from __future__ import annotations

import math
from typing import Any

from rayopt.theory.setting import Setting


def shadowheart(setting: Setting) -> dict[str, Any]:
    """Returns gamma = 1 / (2L) [talk] and r = sigma^2 / eps of Shadowheart SGD; the compressor is the user's choice."""
    return {"step_size": 1 / (2 * setting.get("smoothness")), "noise_ratio": setting.noise_ratio}


def bidirectional_shadowheart(setting: Setting) -> dict[str, Any]:
    """Returns gamma = alpha / (4L) and r = sigma^2 / eps, alpha of the downlink's compressor [derived]."""
    return {
        "step_size": setting.get("downlink_alpha") / (4 * setting.get("smoothness")),
        "noise_ratio": setting.noise_ratio,
    }


def qsgd(setting: Setting) -> dict[str, Any]:
    r"""Returns gamma = min{1 / (L (1 + omega / n)), eps n / (2 L (1 + omega) sigma^2)} of QSGD [derived]."""
    omega, smoothness, ratio = setting.get("omega"), setting.get("smoothness"), setting.noise_ratio
    noisy = setting.workers / (2 * (1 + omega) * ratio) if ratio else math.inf
    return {"step_size": min(1 / (1 + omega / setting.workers), noisy) / smoothness}


def batch_qsgd(setting: Setting) -> dict[str, Any]:
    r"""Returns b = max{1, ceil(2 r / n)}, m = max{1, ceil(omega (1 + r/b) / (n - r/b))}, gamma = 1 / (2L) [derived].

    With them the weights q_i of Shadowheart are at least 1 / n, so that its guarantee holds.
    """
    omega, n, ratio = setting.get("omega"), setting.workers, setting.noise_ratio
    batch = max(1, math.ceil(2 * ratio / n))
    noise = ratio / batch
    messages = max(1, math.ceil(omega * (1 + noise) / (n - noise)))
    return {"step_size": 1 / (2 * setting.get("smoothness")), "batch_size": batch, "messages": messages}


def diana(setting: Setting) -> dict[str, Any]:
    """Returns gamma = 1 / (L (1 + (1 + omega) sqrt(omega / n))) of DIANA for nonconvex f [memory]."""
    omega = setting.get("omega")
    return {"step_size": 1 / (setting.get("smoothness") * (1 + (1 + omega) * math.sqrt(omega / setting.workers)))}


def marina(setting: Setting) -> dict[str, Any]:
    r"""Returns gamma = 1 / (L + L_max sqrt((1 - p) omega / (p n))) of MARINA, p the floats of a message over d [code].

    The authors have Ltilde = sqrt(mean L_i^2), which is at most L_max.
    """
    omega, p = setting.get("omega"), setting.get("message_share")
    spread = setting.get("largest_smoothness") * math.sqrt((1 - p) * omega / (p * setting.workers))
    return {"step_size": 1 / (setting.get("smoothness") + spread)}


def perm_k_marina(setting: Setting) -> dict[str, Any]:
    r"""Returns gamma of PermK-MARINA, p the floats of a message over d [code].

    .. math:: \gamma^{-1} = L + \sqrt{\tfrac{1-p}{p}\big((\tfrac{\omega + 1}{n} - 1) L_{\max}^2 + L_\pm^2\big)}
    """
    omega, p = setting.get("omega"), setting.get("message_share")
    apart = max((omega + 1) / setting.workers - 1, 0.0)
    # Without workers in excess, L_max does not count, and need not be known.
    square = (apart * setting.get("largest_smoothness") ** 2 if apart else 0.0) + setting.get("hessian_variance") ** 2
    return {"step_size": 1 / (setting.get("smoothness") + math.sqrt((1 - p) / p * square))}


def ef21(setting: Setting) -> dict[str, Any]:
    """Returns gamma = 1 / (L + L_max ((1 + sqrt(1 - alpha)) / alpha - 1)) of EF21 [memory], L_max >= Ltilde."""
    alpha = setting.get("alpha")
    factor = (1 + math.sqrt(1 - alpha)) / alpha - 1
    return {"step_size": 1 / (setting.get("smoothness") + setting.get("largest_smoothness") * factor)}


def ef21_sgdm(setting: Setting) -> dict[str, Any]:
    r"""Returns gamma and eta of EF21-SGDM, L_max >= Ltilde.

    .. math:: \gamma = \min\Big\{\frac{\alpha}{20 L_{\max}}, \frac{\eta}{7 L}\Big\}, \quad
        \eta = \min\Big\{1, \frac{n}{4 r}, \sqrt{\frac{\alpha}{4 r}}, \sqrt[3]{\frac{\alpha^2}{4 r}}\Big\},
        \quad r = \sigma^2 / \varepsilon

    The step is that of the paper [memory]. With it the noise adds terms of the order of eta^3 sigma^2 / alpha^2,
    eta^2 sigma^2 / alpha and eta sigma^2 / n [memory]; eta keeps each below eps / 4 up to their constants [derived].
    """
    alpha, ratio = setting.get("alpha"), setting.noise_ratio
    momentum = 1.0
    if ratio:
        quarter = 1 / (4 * ratio)
        momentum = min(1.0, setting.workers * quarter, math.sqrt(alpha * quarter), math.cbrt(alpha**2 * quarter))
    step = min(alpha / (20 * setting.get("largest_smoothness")), momentum / (7 * setting.get("smoothness")))
    return {"step_size": step, "momentum": momentum}
