"""Settings that the tests of theory share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rayopt.theory import Setting


@pytest.fixture
def unit_setting():
    """Returns a function that makes a setting with L = Delta = R0 = eps = 1: the variance is the noise ratio."""

    def make(times: Any, noise_ratio: float, **constants: Any) -> Setting:
        known = {"smoothness": 1.0, "initial_gap": 1.0, "distance": 1.0, "noise_variance": noise_ratio}
        return Setting(np.asarray(times, dtype=float), 1.0, **{**known, **constants})

    return make
