"""What a theorem is about: workers, an accuracy, and the constants of a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import (
    Array,
    NotAllowed,
    ascending,
    at_least,
    non_negative,
    positive,
    probabilities_of,
    times_of,
)

SYMBOLS = {
    "smoothness": "L, the Lipschitz constant of grad f",
    "noise_variance": "sigma^2, a bound of E||g - grad f||^2",
    "initial_gap": "Delta = f(x0) - inf f",
    "distance": "R0 = ||x0 - x*||",
    "lipschitz": "M, the Lipschitz constant of f",
    "strong_convexity": "mu, the strong convexity of f",
    "largest_smoothness": "L_max, the largest of the Lipschitz constants of grad f_i",
    "heterogeneity": "zeta^2 in ||grad f_i||^2 <= zeta^2 + rho^2 ||grad f||^2",
    "heterogeneity_growth": "rho in ||grad f_i||^2 <= zeta^2 + rho^2 ||grad f||^2",
    "trial_times": "tau_i + t_i, the seconds after which worker i gives a gradient up",
    "success_probabilities": "p_i, the probability that worker i is done by then",
    "components": "m, the number of components of a finite sum f = (1/m) sum_j f_j",
    "hessian_variance": "L_pm, in the finite sum's Hessian variance L_pm^2",
    "mean_smoothness": "L_+, in (1/m) sum_j ||grad f_j(x) - grad f_j(y)||^2 <= L_+^2 ||x - y||^2",
    "component_smoothness": "max_j L_j, the largest Lipschitz constant of the gradients of the components f_j",
    "upload": "tau_i, the seconds of one message of worker i",
    "dense_upload": "the seconds that worker i needs to send d floats",
    "omega": "omega, in E||C(v) - v||^2 <= omega ||v||^2 of an unbiased compressor",
    "downlink_alpha": "alpha, in E||C(v) - v||^2 <= (1 - alpha) ||v||^2 of the compressor of what the server sends",
    "alpha": "alpha, in E||C(v) - v||^2 <= (1 - alpha) ||v||^2 of a contractive compressor",
    "message_share": "the floats of a message over the dimension",
    "component_gap": "Delta_inf, the mean over j of inf f - inf f_j",
}
"""Every constant that may be unknown, with the symbol of the papers."""

_MAY_BE_ZERO = (
    "noise_variance", "initial_gap", "distance", "heterogeneity", "heterogeneity_growth", "hessian_variance",
    "component_gap", "omega",
)  # fmt: skip


class MissingConstant(ValueError):
    """A theorem needs a constant that is not known.

    Attributes:
      name: the field of :class:`Setting`.
      symbol: what it stands for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.symbol = SYMBOLS[name]
        super().__init__(f"{name} is not known: {self.symbol}")

    def __reduce__(self) -> tuple[type[MissingConstant], tuple[str]]:
        return type(self), (self.name,)


@dataclass(frozen=True, eq=False)
class Setting:
    """Workers, an accuracy, and the constants of the function as far as they are known.

    Args:
      times: tau_i, seconds per stochastic gradient, shape (n,), in the order of the workers; may be infinite.
      eps: the accuracy: of E||grad f||^2 where f may be nonconvex (it bounds the square), of E f - f* where it is
        convex.
      smoothness: L.
      noise_variance: sigma^2.
      initial_gap: Delta.
      distance: R0.
      lipschitz: M.
      strong_convexity: mu.
      largest_smoothness: L_max of the f_i.
      heterogeneity: zeta^2.
      heterogeneity_growth: rho.
      trial_times: tau_i + t_i where times are random and worker i is given t_i more than its least tau_i,
        seconds, shape (n,).
      success_probabilities: p_i, shape (n,).
      components: m of a finite sum.
      hessian_variance: L_pm.
      mean_smoothness: L_+, at least L and L_pm.
      component_smoothness: the largest L_j.
      component_gap: Delta_inf.
      upload: tau_i, seconds of one message, at least 0, shape (n,).
      dense_upload: seconds of d floats, at least 0, shape (n,).
      omega: of the compressor of messages.
      downlink_alpha: alpha of the compressor of what the server sends.
      alpha: of the contractive compressor of messages.
      message_share: floats of a message over d.
      lookup: gives a constant that stands here as None, by its name, or None if it is unknown too: for constants
        that are expensive to find.

    Raises:
      ValueError: an accuracy that is not above 0, a negative variance, a time that is NaN, no workers.

    Examples:
      >>> setting = Setting(times=[1.0, 2.0], eps=0.1, noise_variance=5.0)
      >>> setting.noise_ratio
      50.0
      >>> setting.get("smoothness")
      Traceback (most recent call last):
        ...
      rayopt.theory.setting.MissingConstant: smoothness is not known: L, the Lipschitz constant of grad f
    """

    times: ArrayLike
    eps: float
    smoothness: float | None = None
    noise_variance: float | None = None
    initial_gap: float | None = None
    distance: float | None = None
    lipschitz: float | None = None
    strong_convexity: float | None = None
    largest_smoothness: float | None = None
    heterogeneity: float | None = None
    heterogeneity_growth: float | None = None
    trial_times: ArrayLike | None = None
    success_probabilities: ArrayLike | None = None
    components: int | None = None
    hessian_variance: float | None = None
    mean_smoothness: float | None = None
    component_smoothness: float | None = None
    component_gap: float | None = None
    upload: ArrayLike | None = None
    dense_upload: ArrayLike | None = None
    omega: float | None = None
    downlink_alpha: float | None = None
    alpha: float | None = None
    message_share: float | None = None
    lookup: Callable[[str], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", times_of("times", self.times))
        object.__setattr__(self, "eps", positive("eps", self.eps))
        for name in SYMBOLS:
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, self._checked(name, given))

    def _checked(self, name: str, value: Any) -> Any:
        if name == "success_probabilities":
            return probabilities_of(name, value, self.workers)
        if name == "trial_times":
            found = times_of(name, value)
            if len(found) != self.workers:
                raise NotAllowed(name, f"{len(found)} numbers for {self.workers} workers", "one for each worker")
            return found
        if name in ("upload", "dense_upload"):
            links = np.asarray(value, dtype=np.float64)
            if links.shape != (self.workers,) or not (links >= 0).all():
                raise NotAllowed(name, f"{value!r}", f"{self.workers} numbers of at least 0")
            return links
        if name == "components":
            return at_least(name, value, 1)
        return (non_negative if name in _MAY_BE_ZERO else positive)(name, value)

    def get(self, name: str) -> float:
        """Returns a constant by the name of its field.

        Raises:
          MissingConstant: it is unknown.
        """
        found: float | None = getattr(self, name)
        if found is None and self.lookup is not None:
            found = self.lookup(name)
            found = None if found is None else self._checked(name, found)
        if found is None:
            raise MissingConstant(name)
        return found

    def get_array(self, name: str) -> Array:
        """Returns a constant that is one number for each worker, shape (n,).

        Raises:
          MissingConstant: it is unknown.
        """
        return np.asarray(self.get(name))

    def knows(self, name: str) -> bool:
        """Whether :meth:`get` would return the constant."""
        try:
            self.get(name)
        except MissingConstant:
            return False
        return True

    @property
    def workers(self) -> int:
        """n."""
        return len(np.asarray(self.times))

    @cached_property
    def ascending(self) -> Array:
        """tau_1 <= ... <= tau_n, shape (n,)."""
        return ascending(self.times)

    @property
    def slowest(self) -> float:
        """tau_n, seconds."""
        return float(self.ascending[-1])

    @cached_property
    def mean_time(self) -> float:
        """tau_A, the arithmetic mean of the times, seconds."""
        return float(np.asarray(self.times).mean())

    @cached_property
    def harmonic_mean(self) -> float:
        """H_n, the harmonic mean of all times, seconds."""
        rate = float(np.sum(1.0 / np.asarray(self.times)))
        return math.inf if rate == 0 else self.workers / rate

    @property
    def noise_ratio(self) -> float:
        """sigma^2 / eps."""
        return self.get("noise_variance") / self.eps
