"""Settings in which most constants are 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayopt.theory import Setting


def unit_setting(times: Any, noise_ratio: float, **constants: Any) -> Setting:
    """Returns a setting with L = Delta = R0 = eps = 1: the variance is the noise ratio."""
    known = {"smoothness": 1.0, "initial_gap": 1.0, "distance": 1.0, "noise_variance": noise_ratio}
    return Setting(np.asarray(times, dtype=float), 1.0, **{**known, **constants})
