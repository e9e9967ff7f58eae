"""How far a measured time is from the best that any method could do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rayopt.core.errors import InvalidInput
from rayopt.problems.constants import setting_of
from rayopt.theory import MissingConstant, Setting, convex, heterogeneous, homogeneous
from rayopt.theory.checks import NotAllowed

if TYPE_CHECKING:
    from rayopt.latency.workers import Workers
    from rayopt.problems.base import Problem
    from rayopt.runs.until import Target


@dataclass(frozen=True)
class Bound:
    """The seconds that no method beats until a target is met, with constant 1.

    Attributes:
      seconds: None if they are not known.
      formula: what was evaluated, and where it is from.
      missing: why they are not known, or "".
      predicted: by the class name of a method, the seconds of its theorem for the same setting, with constant 1.
    """

    seconds: float | None
    formula: str
    missing: str = ""
    predicted: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the bound as ``summary.json`` holds it."""
        return asdict(self)


BOUNDS: dict[tuple[str, bool], tuple[str, Callable[[Setting], float], Mapping[str, Callable[..., float]]]] = {
    ("grad_norm_sq", True): (
        "min_m H_m (L Delta/eps + sigma² L Delta/(m eps²)), arXiv 2305.12387, Theorem 6.4",
        homogeneous.lower_bound, homogeneous.METHODS,
    ),
    ("grad_norm_sq", False): (
        "tau_n L Delta/eps + tau_A sigma² L Delta/(n eps²), arXiv 2305.12387, Theorem A.2",
        heterogeneous.lower_bound, heterogeneous.METHODS,
    ),
    ("gap", True): (
        "min_m H_m (min{sqrt(L/eps) R0, M² R0²/eps²} + sigma² R0²/(m eps²)), arXiv 2305.12387, Theorem B.4",
        convex.lower_bound, convex.METHODS,
    ),
    ("gap", False): (
        "tau_n sqrt(L/eps) R0 + tau_A sigma² R0²/(n eps²), arXiv 2405.16218",
        convex.heterogeneous_optimal, {},
    ),
}  # fmt: skip
"""By the metric of the target and whether all workers have the same data."""


def lower_bound(problem: Problem, workers: Workers, target: Target | None, seed: int = 0) -> Bound | None:
    """Returns the lower bound of the time to a target, from the problem's constants and the workers' expected times.

    Args:
      problem: its constants are read.
      workers: their expected times are read.
      target: on ``grad_norm_sq``, where f may be nonconvex, or on ``gap``, where it must be convex.
      seed: of the split of the data and of what is permuted.

    Returns:
      None for any other target and for none; a bound without seconds if a constant is not known.
    """
    if target is None or (target.metric, problem.homogeneous) not in BOUNDS:
        return None
    formula, evaluate, methods = BOUNDS[target.metric, problem.homogeneous]
    if target.reaches <= 0:
        return Bound(None, formula, f"the target {target.reaches:g} is not above 0")
    if target.metric == "gap" and not getattr(problem, "convex", None):
        return Bound(None, formula, "f is not known to be convex")
    try:
        setting = setting_of(problem, workers, target.reaches, seed=seed)
        seconds = evaluate(setting)
    except MissingConstant as error:
        return Bound(None, formula, f"{error.name} is not known ({error.symbol})")
    except (NotAllowed, InvalidInput) as error:
        # A constant of somebody's own problem may be anything; what ran is not lost for it.
        return Bound(None, formula, str(error))
    if not math.isfinite(seconds):
        return Bound(None, formula, "the expected times of the workers are infinite")
    if seconds <= 0:
        return Bound(None, formula, "x0 is a minimiser")
    return Bound(seconds, formula, predicted=_predicted(setting, methods))


def _predicted(setting: Setting, methods: Mapping[str, Callable[..., float]]) -> dict[str, float]:
    """Returns the seconds of each method whose theorem can be evaluated and promises an end."""
    found = {}
    for name, seconds_of in methods.items():
        with contextlib.suppress(MissingConstant, NotAllowed):
            found[name] = seconds_of(setting)
    return {name: seconds for name, seconds in found.items() if math.isfinite(seconds)}
