"""The constants of theory, read off a problem and its workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rayopt.core.errors import InvalidInput, UnknownConstant
from rayopt.latency.measured import HOW_TO_MEASURE
from rayopt.theory.checks import NotAllowed
from rayopt.theory.setting import MissingConstant, Setting

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes, Workers
    from rayopt.problems.base import Problem

HOW_TO_GET = {
    "noise_variance": "problem.estimate_noise_variance() estimates it",
    "smoothness": "problem.estimate_smoothness() estimates it",
    "components": "a finite sum whose workers all have the same data has it",
    "mean_smoothness": "problem.estimate_mean_smoothness() estimates it",
    "hessian_variance": "problem.estimate_hessian_variance() estimates it",
    "initial_gap": "a problem whose minimum is known has it (logistic_regression: solve: true)",
    "success_probabilities": "workers whose times do not depend on when they start have it",
    "trial_times": "workers whose times do not depend on when they start have it",
}
"""Where a constant comes from if it is not given."""


def setting_of(
    problem: Problem, workers: Workers, eps: float, known: Mapping[str, Any] | None = None, seed: int = 0
) -> Setting:
    """Returns the constants of a problem and its workers as theory takes them.

    Times are the expected ones. What is expensive to find (the smoothness of a data set) is found only
    when a formula asks for it. A trial of a random time lasts up to its median.

    Args:
      problem: its constants are read; None is unknown.
      workers: their times.
      eps: the accuracy, of E||grad f||^2 or of E f - f*.
      known: constants that are given instead, by the fields of :class:`~rayopt.theory.Setting`.
      seed: of what is drawn once for a run, the split of the data and the order of permuted times.

    Raises:
      InvalidInput: ``eps`` or a constant is out of its range.
      UnknownConstant: the workers' times are not known.
    """
    given = dict(known or {})
    times = workers.times(seed, problem.dimension, problem.float_bits)
    if times.expected is None:
        raise UnknownConstant("workers.compute", "measured times are not known beforehand", HOW_TO_MEASURE)
    with translated_errors():
        lookup = Constants(problem.split(workers.count, seed), times, given)
        return Setting(**{"times": times.expected, "eps": eps, **given, "lookup": lookup})


class Constants:
    """Finds a constant by its name.

    Args:
      problem: after its split.
      times: of its workers.
      known: constants that are given instead.
    """

    def __init__(self, problem: Problem, times: TaskTimes, known: Mapping[str, Any]) -> None:
        self._problem = problem
        self._times = times
        self._known = known

    def __call__(self, name: str) -> Any:
        """Returns the constant, or None if it is not known."""
        match name:
            case "initial_gap":
                return self._initial_gap()
            case "largest_smoothness":
                return self._largest_smoothness()
            case "trial_times":
                return self._times.quantile(0.5)
            case "success_probabilities":
                limits = self._known.get("trial_times", self._times.quantile(0.5))
                return None if limits is None else self._times.probability_within(limits)
            case "heterogeneity" if self._problem.homogeneous:
                return 0.0
            case "heterogeneity_growth" if self._problem.homogeneous:
                return 1.0
        return getattr(self._problem, name, None)

    def _initial_gap(self) -> float | None:
        if self._problem.minimum is None:
            return None
        return float(self._problem.metrics(self._problem.start_point(), ["gap"])["gap"])

    def _largest_smoothness(self) -> float | None:
        problem = self._problem
        if problem.homogeneous or problem.smoothness is None:
            return problem.smoothness
        found = [problem.shard(worker).smoothness for worker in range(self._times.n)]
        return None if None in found else max(constant for constant in found if constant is not None)


@contextmanager
def translated_errors(refusal: type[InvalidInput] = InvalidInput) -> Iterator[None]:
    """Translates theory's errors into errors with a remedy.

    Args:
      refusal: the class of the error where a number is not allowed; a constant that is not known is always an
        :class:`~rayopt.core.errors.UnknownConstant`.
    """
    try:
        yield
    except MissingConstant as error:
        hint = HOW_TO_GET.get(error.name)
        allowed = f"{error.name}=..., given by hand" + (f"; {hint}" if hint else "")
        raise UnknownConstant(error.name, f"not known ({error.symbol})", allowed) from None
    except NotAllowed as error:
        raise refusal(error.name, error.problem, error.allowed) from None
