"""The mean of the points, as the methods for convex functions that need not be smooth use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rayopt.methods.base import Array, Method


class AveragedPoints(Method):
    """What is evaluated is the mean of x^0, ..., x^{k-1}; x^0 before the first update.

    Attributes:
      average: the mean, the shape of x.
    """

    refused_controls: ClassVar[Mapping[str, str]] = {"averaging": "it evaluates a mean of its points already"}

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        # In float64: what one point adds to a mean of many is less than float32 can tell.
        self.average = self.x.astype(np.float64)

    @property
    def estimate(self) -> Array:
        return self.average.astype(self.x.dtype, copy=False)

    def averaged_step(self, gradient: Array) -> None:
        """Takes x^k into the mean, and makes the update; k <- k + 1."""
        # A new array: history rows may still hold the old one.
        self.average = self.average + (self.x - self.average) / (self.updates + 1)
        self.descend(gradient)
