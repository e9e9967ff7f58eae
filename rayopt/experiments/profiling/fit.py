"""Which family of latencies durations follow, by maximum likelihood.

The base of a family is its location. For families whose density is unbounded at their base, or that do not tell
base and scale apart, the likelihood over the base has no maximum that means anything; so the base is chosen from
gaps below the shortest duration, none smaller than the durations can tell, and the other parameters are fitted
to what remains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency import latency
from rayopt.latency.base import Array, BoundLatency

GAPS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)
"""Gaps between the base and the shortest duration that are tried, in units of median - shortest."""
FIXED_SPREAD = 0.02
"""Durations whose 99 % range is at most this share of their median count as fixed."""
FEWEST = 5
"""Durations from which a law can be fitted."""

Parameters = dict[str, float]
Fitted = tuple[Parameters, float]


@dataclass(frozen=True)
class Fit:
    """One family with the parameters that fit durations best.

    Attributes:
      family: the name of the latency.
      parameters: its arguments.
      log_likelihood: of the durations in seconds; infinite for ``fixed``, which has no density.
      aic: Akaike's criterion, 2 * (number of parameters) - 2 * log_likelihood: the smaller, the better.
    """

    family: str
    parameters: Parameters
    log_likelihood: float
    aic: float

    def bind(self) -> BoundLatency:
        """Returns the law for one worker."""
        return latency({"name": self.family, **self.parameters}).bind(1, Stream(0, "compute"))

    def quantile(self, probability: float) -> float:
        """Returns the seconds within which a task ends with this probability."""
        return float(self.bind().quantile(probability)[0])


def fits(seconds: Array) -> list[Fit]:
    """Returns every family fitted to the durations, the best first.

    Durations that hardly differ are ``fixed``, and nothing else is tried.

    Args:
      seconds: durations, above 0 and finite, shape (m,).

    Raises:
      InvalidInput: there are fewer than five of them.

    Examples:
      >>> seconds = 1.0 - 0.5 * np.log(np.linspace(0.999, 0.001, 500))
      >>> best = fits(seconds)[0]
      >>> best.family, round(best.parameters["base"], 2), round(best.parameters["mean"], 2)
      ('exponential', 1.0, 0.5)
    """
    if len(seconds) < FEWEST:
        raise InvalidInput("seconds", f"{len(seconds)} durations", f"at least {FEWEST}, to fit a law")
    ordered = np.sort(seconds)
    median = float(np.median(ordered))
    if np.quantile(ordered, 0.995) - np.quantile(ordered, 0.005) <= FIXED_SPREAD * median:
        return [Fit("fixed", {"times": median}, math.inf, -math.inf)]
    found = []
    for family, fit in FAMILIES.items():
        parameters, log_likelihood = fit(ordered)
        if math.isfinite(log_likelihood):
            found.append(Fit(family, parameters, log_likelihood, 2 * len(parameters) - 2 * log_likelihood))
    return sorted(found, key=lambda one: one.aic)


def common_family(of_workers: Sequence[Sequence[Fit]]) -> list[Fit]:
    """Returns the fits of the one family that is best for all workers together, by the sum of their AIC.

    Args:
      of_workers: what :func:`fits` returns, for each worker.
    """
    if all(found[0].family == "fixed" for found in of_workers):
        return [found[0] for found in of_workers]
    by_family = [{one.family: one for one in found} for found in of_workers]
    # A worker that hardly varies fits any family with a narrow spread: it has no vote.
    voters = [found for found in by_family if "fixed" not in found]
    families = [family for family in FAMILIES if all(family in found for found in voters)]
    best = min(families, key=lambda family: sum(found[family].aic for found in voters))
    return [found.get(best) or _narrow(best, found["fixed"]) for found in by_family]


def to_config(chosen: Sequence[Fit]) -> dict[str, object]:
    """Returns the latency of all workers, as a workload file writes it, from fits of one family."""
    return {
        "name": chosen[0].family,
        **{key: [float(f"{one.parameters[key]:.4g}") for one in chosen] for key in chosen[0].parameters},
    }


def _narrow(family: str, fixed: Fit) -> Fit:
    """Returns a family that hardly varies around a fixed duration."""
    median = fixed.parameters["times"]
    spread = FIXED_SPREAD * median
    parameters, _ = FAMILIES[family](median + spread * np.linspace(0.0, 0.5, 20))
    return Fit(family, parameters, math.inf, -math.inf)


def _half_normal(x: Array) -> Fitted:
    base = float(x[0])
    scale = math.sqrt(float(np.mean((x - base) ** 2)))
    log_likelihood = len(x) * (0.5 * math.log(2 / math.pi) - math.log(scale) - 0.5)
    return {"base": base, "scale": scale}, log_likelihood


def _exponential(x: Array) -> Fitted:
    base = float(x[0])
    mean = float(x.mean()) - base
    return {"mean": mean, "base": base}, -len(x) * (math.log(mean) + 1)


def _uniform(x: Array) -> Fitted:
    return {"low": float(x[0]), "high": float(x[-1])}, -len(x) * math.log(float(x[-1] - x[0]))


def _gamma(x: Array, base: float) -> Fitted:
    from scipy import stats

    shape, _, scale = stats.gamma.fit(x - base, floc=0)
    log_likelihood = float(stats.gamma.logpdf(x - base, shape, scale=scale).sum())
    return {"shape": float(shape), "scale": float(scale), "base": base}, log_likelihood


def _lognormal(x: Array, base: float) -> Fitted:
    logs = np.log(x - base)
    center, shape = float(logs.mean()), float(logs.std())
    log_likelihood = -len(x) * (math.log(shape) + 0.5 * math.log(2 * math.pi) + 0.5) - float(logs.sum())
    return {"median": math.exp(center), "shape": shape, "base": base}, log_likelihood


def _log_cauchy(x: Array, base: float) -> Fitted:
    from scipy import stats

    logs = np.log(x - base)
    center, shape = stats.cauchy.fit(logs)
    log_likelihood = float(stats.cauchy.logpdf(logs, center, shape).sum() - logs.sum())
    return {"median": math.exp(center), "shape": float(shape), "base": base}, log_likelihood


def _levy(x: Array, base: float) -> Fitted:
    from scipy import stats

    scale = 1 / float(np.mean(1 / (x - base)))
    return {"scale": scale, "base": base}, float(stats.levy.logpdf(x, loc=base, scale=scale).sum())


def _pareto(x: Array, base: float) -> Fitted:
    minimum = float(x[0]) - base
    logs = np.log((x - base) / minimum)
    shape = 1 / float(logs.mean())
    log_likelihood = len(x) * (math.log(shape) - math.log(minimum)) - (shape + 1) * float(logs.sum())
    return {"minimum": minimum, "shape": shape, "base": base}, log_likelihood


def _best_base(fit: Callable[[Array, float], Fitted]) -> Callable[[Array], Fitted]:
    """Returns a fit that tries several bases, from far below the shortest duration to just below it."""

    def fit_all(x: Array) -> Fitted:
        shortest, reach = float(x[0]), float(np.median(x) - x[0])
        # The shortest of m durations tells the base to about this.
        gaps = {max(gap, 1 / len(x)) * reach for gap in GAPS}
        bases = {max(shortest - gap, 0.0) for gap in gaps} | {0.0}
        tried = [fit(x, base) for base in sorted(base for base in bases if base < shortest)]
        return max(tried, key=lambda one: one[1] if math.isfinite(one[1]) else -math.inf)

    return fit_all


FAMILIES: Mapping[str, Callable[[Array], Fitted]] = {
    "half_normal": _half_normal,
    "exponential": _exponential,
    "uniform": _uniform,
    "gamma": _best_base(_gamma),
    "lognormal": _best_base(_lognormal),
    "log_cauchy": _best_base(_log_cauchy),
    "levy": _best_base(_levy),
    "pareto": _best_base(_pareto),
}
"""How each family is fitted to ascending durations that are not all the same."""
