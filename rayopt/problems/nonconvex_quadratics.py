"""The finite sum of nonconvex quadratics of the papers on PAGE, Freya PAGE and compressed methods."""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean, finite, non_negative
from rayopt.core.keys import Stream, all_below, below, subkey, subkeys
from rayopt.core.memory import check_fits
from rayopt.problems.base import VECTORS, Array, Problem


class NonconvexQuadratics(Problem):
    r"""A mean of quadratics with tridiagonal matrices, of which single ones need not be convex.

    .. math::
        f_j(x) = \tfrac12 x'A_jx - b_j'x, \quad A_j = \tfrac{\nu_j}{4} \operatorname{tridiag}(-1, 2, -1) + c I, \quad
        b_j = \tfrac{\nu_j}{4} (-1 + \mu_j, 0, \dots, 0)

    with nu_j = 1 + s zeta_j, mu_j = s xi_j, zeta_j and xi_j ~ N(0, 1), and c such that the smallest eigenvalue of the
    mean matrix is lambda [code]. x^0 = (sqrt(d), 0, ..., 0). A stochastic gradient is that of one random component.

    Args:
      components: m, at least 1.
      dimension: d, at least 2.
      spread: s, at least 0: how much the components differ.
      regularisation: lambda, above 0: the smallest eigenvalue of the mean matrix.
      seed: of the components.
      split: worker i holds f_i alone; then there are as many workers as components.

    Attributes:
      smoothness: L_-, the smoothness of f.
      mean_smoothness: L_+, where (1/m) sum ||grad f_j(x) - grad f_j(y)||^2 <= L_+^2 ||x - y||^2.
      hessian_variance: L_pm, where that sum less ||grad f(x) - grad f(y)||^2 is at most L_pm^2 ||x - y||^2.

    Raises:
      InvalidInput: an argument is out of its range, or there are as many components as workers and no more if split.

    References:
      Tyurin, Gruntkowska, Richtarik, `Freya PAGE <https://arxiv.org/abs/2405.15545>`_, 2024 (experiments; generator
      [code], parameters [memory (?)]).
    """

    name: ClassVar[str] = "nonconvex_quadratics"
    paper: ClassVar[str] = "Tyurin, Gruntkowska & Richtarik 2024, arXiv:2405.15545"

    def __init__(
        self,
        components: int = 1000,
        dimension: int = 1000,
        spread: float = 1.0,
        regularisation: float = 1e-6,
        seed: int = 0,
        split: bool = False,
    ) -> None:
        self._count = at_least("components", components, 1)
        self.dimension = d = at_least("dimension", dimension, 2)
        check_fits("components", self._count, 24 * self._count)
        check_fits("dimension", d, VECTORS * d * 8)
        self.spread = non_negative("spread", spread)
        self.regularisation = finite("regularisation", regularisation)
        if self.regularisation <= 0:
            raise InvalidInput("regularisation", f"{regularisation!r} leaves f without a minimum", "a number above 0")
        self.seed = at_least("seed", seed, 0)
        self.by_worker = boolean("split", split)
        self.homogeneous = not self.by_worker
        normal = Stream(self.seed, "nonconvex quadratics").generator().standard_normal((2, self._count))
        self._scales: Array = (1 + self.spread * normal[0]) / 4
        self._linear: Array = self._scales * (-1 + self.spread * normal[1])
        eigenvalues = 2 - 2 * np.cos(np.arange(1, d + 1) * math.pi / (d + 1))
        self._shift = self.regularisation - float((self._scales.mean() * eigenvalues).min())
        mean, variance = float(self._scales.mean()), float(self._scales.var())
        self.smoothness = float(np.abs(mean * eigenvalues + self._shift).max())
        squares = (mean * eigenvalues + self._shift) ** 2 + variance * eigenvalues**2
        self.mean_smoothness = math.sqrt(float(squares.max()))
        self.hessian_variance = math.sqrt(variance) * float(eigenvalues.max())
        self.convex = True
        self.exact = False

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        return {
            "name": self.name, "components": self._count, "dimension": self.dimension, "spread": self.spread,
            "regularisation": self.regularisation, "seed": self.seed, "split": self.by_worker,
        }  # fmt: skip

    @property
    def components(self) -> int | None:
        return None if self.by_worker else self._count

    def start_point(self) -> Array:
        x = np.zeros(self.dimension)
        x[0] = math.sqrt(self.dimension)
        return x

    @cached_property
    def minimizer(self) -> Array:
        """The minimiser of f, shape (dimension,)."""
        from scipy.linalg import solveh_banded

        bands = np.empty((2, self.dimension))
        bands[0], bands[1] = -self._scales.mean(), 2 * self._scales.mean() + self._shift
        right = np.zeros(self.dimension)
        right[0] = self._linear.mean()
        found: Array = solveh_banded(bands, right)
        return found

    @cached_property
    def minimum(self) -> float:  # type: ignore[override]
        """inf f."""
        return float(self.value(self.minimizer))

    # ---- workers ----

    def split(self, workers: int, seed: int) -> Self:
        """Returns this problem for so many workers.

        Raises:
          InvalidInput: every worker is to hold one component, and there are more or fewer of them.
        """
        if self.by_worker and workers != self._count:
            raise InvalidInput("problem.split", f"{self._count:,} components for {workers:,} workers",
                               f"components: {workers}, or split: false")  # fmt: skip
        return self

    @property
    def distinct_workers(self) -> int:
        return self._count if self.by_worker else 1

    def shard(self, worker: int) -> Self:
        if not self.by_worker:
            return self
        local = copy.copy(self)
        local._scales, local._linear = self._scales[[worker]], self._linear[[worker]]
        local._count, local.by_worker, local.homogeneous = 1, False, True
        for name in ("minimum", "minimizer"):
            local.__dict__.pop(name, None)
        return local

    # ---- gradients ----

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if count > 1:
            return self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0]
        return worker if self.by_worker else below(subkey(key, 0), self._count)

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        if self.by_worker:
            drawn = np.repeat(np.asarray(workers)[:, None], count, axis=1)
        else:
            drawn = all_below(subkeys(keys, count), self._count)
        return drawn[:, 0] if count == 1 else drawn

    def gradient(self, x: Array, sample: Any, checkpoint: Any = None) -> Array:
        chosen = np.atleast_1d(np.asarray(sample))
        return self._sum(x, chosen % self._count, np.full(len(chosen), 1 / len(chosen)))

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        chosen = np.asarray(samples)
        weights = np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype=np.float64)
        each = chosen.size // len(chosen)
        return self._sum(x, chosen.reshape(-1) % self._count, np.repeat(weights / each, each))

    def component_gradient(self, x: Array, indices: Any, weights: Array | None = None) -> Array:
        chosen = np.atleast_1d(np.asarray(indices, dtype=np.intp))
        return self._sum(x, chosen, np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype=np.float64))

    def component_difference(self, x: Array, y: Array, indices: Any, weights: Array | None = None) -> Array:
        chosen = np.atleast_1d(np.asarray(indices, dtype=np.intp))
        weights = np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype=np.float64)
        return self._product(x - y, float(self._scales[chosen] @ weights), float(weights.sum()))

    def _sum(self, x: Array, chosen: NDArray[np.intp], weights: Array) -> Array:
        g = self._product(x, float(self._scales[chosen] @ weights), float(weights.sum()))
        g[..., 0] -= float(self._linear[chosen] @ weights)
        return g

    def _product(self, x: Array, scale: float, total: float) -> Array:
        """Returns (scale * tridiag(-1, 2, -1) + total * c I) x."""
        g = (2 * scale + total * self._shift) * x
        g[..., 1:] -= scale * x[..., :-1]
        g[..., :-1] -= scale * x[..., 1:]
        return g

    # ---- the whole function ----

    def full_gradient(self, x: Array) -> Array:
        g = self._product(x, float(self._scales.mean()), 1.0)
        g[..., 0] -= self._linear.mean()
        return g

    def value(self, x: Array) -> Any:
        half = 0.5 * np.einsum("...j,...j->...", x, self._product(x, float(self._scales.mean()), 1.0))
        found = half - self._linear.mean() * x[..., 0]
        return float(found) if np.ndim(found) == 0 else found

    def metrics(self, x: Array, names: Any = None) -> dict[str, Any]:
        names = self.metric_names if names is None else names
        found: dict[str, Any] = {}
        if {"value", "gap"} & set(names):
            found["value"] = self.value(x)
            found["gap"] = found["value"] - self.minimum
        if "grad_norm_sq" in names:
            g = self.full_gradient(x)
            found["grad_norm_sq"] = np.einsum("...j,...j->...", g, g)
        return {name: found[name] for name in names if name in found}
