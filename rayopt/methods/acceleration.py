"""Lan's accelerated scheme, as the methods for smooth convex functions use it."""

from __future__ import annotations

from rayopt.methods.base import Array, Method
from rayopt.methods.controls import WITHOUT


class LanScheme(Method):
    """Three sequences: gradients are taken at y^k, u^k takes the long steps, x^k is evaluated.

    Attributes:
      u: u^k, the shape of x.
    """

    keeps_statistics = False
    refused_controls = dict.fromkeys(WITHOUT, "its steps are those of an accelerated scheme")

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self.u = self.x

    @property
    def momentum(self) -> float:
        """alpha_k."""
        return 2.0 / (self.updates + 2)

    def between(self, u: Array) -> Array:
        """Returns (1 - alpha_k) x^k + alpha_k u."""
        return (1.0 - self.momentum) * self.x + self.momentum * u

    def accelerated_step(self, gradient: Array) -> None:
        """Makes the update with a gradient at y^k; k <- k + 1."""
        self.u = self.u - gradient * self._scaled_step(self.updates + 1)
        self.x = self.between(self.u)
        self.updates += 1
