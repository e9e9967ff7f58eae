"""A small tuning in virtual time, as Python makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rayopt as ro
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.tuning import Tuning

RING = {"step_size": [0.05, 0.2, 1e200], "threshold": {"grid": [2, 4]}}


@pytest.fixture
def tuning() -> Callable[..., Tuning]:
    """Returns a function that makes the small tuning with other arguments."""

    def make(*grids: Grid, **changes: Any) -> Tuning:
        arguments = {
            "problem": ro.problems.Quadratic(dimension=6),
            "workers": ro.Workers(4, compute="i"),
            "until": ro.Until(time=20),
            "seeds": [0, 1, 2],
            "confirm": [10, 11],
            **changes,
        }
        default = (Grid(ro.methods.Ringmaster, RING), Grid.of(ro.methods.Rennala([0.25, 0.5], batch_size=2)))
        return Tuning(grids or default, **arguments)

    return make
