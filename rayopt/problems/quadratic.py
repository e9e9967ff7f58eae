"""The worst-case quadratic of the papers on asynchronous SGD, with three kinds of gradient noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, non_negative, one_of
from rayopt.core.keys import NormalVectors, subkeys, uniform, uniforms
from rayopt.core.memory import check_fits
from rayopt.problems.base import VECTORS, Array, Checkpoint, Problem


class Quadratic(Problem):
    r"""Tridiagonal quadratic, f(x) = x'Ax/2 - b'x, with noisy gradients.

    .. math::
        A = \tfrac14 \operatorname{tridiag}(-1, 2, -1), \quad b = (-\tfrac14, 0, \dots, 0), \quad
        x^0 = (\sqrt d, 0, \dots, 0).

    With x_0 = -1 and x_{d+1} = 0 beyond the two ends, the gradient is
    (2 x_j - x_{j-1} - x_{j+1}) / 4, and the minimum is the line between the ends.

    The noise of a stochastic gradient g:

    * ``shared``: g_j = grad_j + z, one z ~ N(0, noise^2) for all coordinates. It is almost
      orthogonal to the range of A, so ||grad f||^2 reaches far below its variance.
    * ``iid``: g_j = grad_j + z_j, independent z_j ~ N(0, noise^2).
    * ``progress``: g_j = grad_j (1 + 1[j > prog(x)] (xi/p - 1)), xi ~ Bernoulli(p), where
      prog(x) is the largest index of a nonzero coordinate (0 if there is none): the next
      coordinate is discovered with probability p only. ``noise`` has no effect.

    Args:
      dimension: d, at least 2.
      noise: standard deviation of one coordinate of the additive noise; at least 0.
      noise_kind: "shared", "iid" or "progress".
      probability: p in (0, 1] of the noise "progress".

    Raises:
      InvalidInput: an argument is out of its range.

    References:
      Arjevani, Carmon, Duchi, Foster, Srebro, Woodworth, `Lower bounds for non-convex stochastic
      optimization <https://arxiv.org/abs/1912.02365>`_, 2019 (prog and its noise).
      Tyurin, Richtárik, `Optimal time complexities of parallel stochastic optimization methods
      under a fixed computation model <https://arxiv.org/abs/2305.12387>`_, 2023.
      Maranjyan, Tyurin, Richtárik, `Ringmaster ASGD <https://arxiv.org/abs/2501.16168>`_, 2025
      (d = 1729, noise 0.01).
    """

    name: ClassVar[str] = "quadratic"
    paper: ClassVar[str] = "Tyurin & Richtárik 2023, arXiv:2305.12387; Maranjyan et al. 2025, arXiv:2501.16168"
    convex = True

    def __init__(
        self, dimension: int = 1729, noise: float = 0.01, noise_kind: str = "shared", probability: float = 0.01
    ) -> None:
        self.dimension = d = at_least("dimension", dimension, 2)
        check_fits("dimension", d, VECTORS * d * 8)
        self.noise = non_negative("noise", noise)
        if not math.isfinite(d * self.noise * self.noise):
            raise InvalidInput("noise", f"{noise!r}, whose variance is not a finite number", "a smaller number")
        self.noise_kind = one_of("noise_kind", noise_kind, ("shared", "iid", "progress"))
        self.probability = non_negative("probability", probability)
        if not 0 < self.probability <= 1:
            raise InvalidInput("probability", f"{probability!r} is not a probability above 0", "a number in (0, 1]")
        self.smoothness = 0.25 * (2 + 2 * math.cos(math.pi / (d + 1)))
        self.exact = self.noise == 0 and noise_kind != "progress"
        self.noise_variance = None if noise_kind == "progress" else d * self.noise**2
        self.minimum = -d / (8 * (d + 1))
        self.distance = float(np.linalg.norm(self.start_point() - self.minimizer()))
        # Importing scipy.special takes 150 ms: not at the import of rayopt.
        from scipy.special import ndtri

        self._normal_quantile = ndtri
        self._normals = NormalVectors()

    def start_point(self) -> Array:
        x = np.zeros(self.dimension)
        x[0] = math.sqrt(self.dimension)
        return x

    def minimizer(self) -> Array:
        """Returns x*, shape (dimension,): x*_j = j/(d + 1) - 1."""
        return np.arange(1, self.dimension + 1) / (self.dimension + 1) - 1

    # A sample is z (shared), the key or keys of the noise vectors (iid), or xi/p (progress).

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if count > 1:
            return self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0]
        if self.noise_kind == "shared":
            return self.noise * self._normal_quantile(uniform(key))
        if self.noise_kind == "iid":
            return key
        return 1.0 / self.probability if uniform(key) < self.probability else 0.0

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        if count > 1:
            keys = subkeys(keys, count)
        if self.noise_kind == "iid":
            return keys
        drawn: Array
        if self.noise_kind == "shared":
            drawn = self.noise * self._normal_quantile(uniforms(keys))
        else:
            drawn = np.where(uniforms(keys) < self.probability, 1.0 / self.probability, 0.0)
        return drawn.mean(axis=-1) if count > 1 else drawn

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        g = self.full_gradient(x)
        if self.noise_kind == "shared":
            g += sample
        elif self.noise_kind == "iid":
            g += self._mean_noise(sample)
        else:
            _scale_by_progress(g, x, 1.0, sample)
        return g

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        if weights is None:
            weights = np.ones(len(samples))
        total = float(weights.sum())
        g = self.full_gradient(x)
        if self.noise_kind == "progress":
            _scale_by_progress(g, x, total, float(weights @ samples))
            return g
        g *= total
        if self.noise_kind == "shared":
            g += float(weights @ samples)
        else:
            g += sum(weight * self._mean_noise(sample) for weight, sample in zip(weights, samples, strict=True))
        return g

    def value(self, x: Array) -> Any:
        return self.minimum + self.gap(x)

    def gap(self, x: Array) -> Any:
        """Returns f(x) - min f without cancellation: a float, or shape (G,)."""
        e = np.zeros((*x.shape[:-1], self.dimension + 2))
        e[..., 1:-1] = x - self.minimizer()
        steps = np.diff(e, axis=-1)
        return np.einsum("...j,...j->...", steps, steps) / 8

    def full_gradient(self, x: Array) -> Array:
        g = np.empty(x.shape)
        # One flat pass over all rows is twice as fast as a pass over each. What it takes
        # from a neighbouring row at the two ends is overwritten.
        flat, points = (g, x) if x.ndim == 1 else (g.reshape(-1), x.reshape(-1))
        np.add(points[:-2], points[2:], out=flat[1:-1])
        g[..., 0] = x[..., 1] - 1.0
        g[..., -1] = x[..., -2]
        flat *= -0.5
        flat += points
        flat *= 0.5
        return g

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        found = super().metrics(x, names)
        if "gap" in found:
            found["gap"] = self.gap(x)
        return found

    def _mean_noise(self, keys: Any) -> Array:
        """Returns the mean of the iid noise vectors of one key or several, shape (dimension,)."""
        if np.ndim(keys) == 0:
            noise = self._normals.draw(keys, self.dimension)
            noise *= self.noise
            return noise
        noise = np.zeros(self.dimension)
        for key in keys:
            noise += self._normals.draw(key, self.dimension)
        noise *= self.noise / len(keys)
        return noise


def _scale_by_progress(g: Array, x: Array, known: float, beyond: float) -> None:
    """Multiplies coordinates 1, ..., prog(x) of each row of g by ``known`` and the others by ``beyond``."""
    for point, row in zip(np.atleast_2d(x), np.atleast_2d(g), strict=True):
        nonzero = np.flatnonzero(point)
        progress = nonzero[-1] + 1 if len(nonzero) else 0
        row[:progress] *= known
        row[progress:] *= beyond
