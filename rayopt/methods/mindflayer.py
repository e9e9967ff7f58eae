"""MindFlayer SGD: every worker makes a fixed number of attempts, and gives up those that take too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput
from rayopt.core.tasks import Trial
from rayopt.latency.values import Limits, PermutedValues, Values, ValuesLike, parse, resolve
from rayopt.methods.base import Array, Fleet, Method
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes

TRIALS = Limits(finite=True)
SECONDS = Limits(positive=True, finite=True)
CHANCES = Limits(positive=True, most=1.0)


class MindFlayer(Method):
    """MindFlayer SGD: worker i makes B_i trials at x^k, and gives up one that takes longer than its limit.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{B} \\sum_{i=1}^n \\sum_{j=1}^{B_i}
              1[\\eta_{ij}^k \\le t_i] \\nabla f(x^k; \\xi_{ij}^k), \\qquad B = \\sum_{i=1}^n p_i B_i

    with gamma = ``step_size``, B_i = ``trials`` and p_i = ``probability`` that a trial succeeds. A trial of worker
    i takes tau_i + eta_i seconds with random, perhaps infinite eta_i; it is given up at
    tau_i + t_i = ``time_limit``. The sum is divided by the expected number B of successes, not by the realised
    one. All trials of all workers must end before the update.

    Server knows:
      tau_i and the law of eta_i (so p_i), sigma^2 / eps, L.

    Guarantee:
      min_m [(1/m) sum_{j <= m} p_j / (tau_j + t_j)]^{-1} [S/m + (1/m) sum_{j <= m} p_j] Delta L / eps seconds up to
      a constant (formula [poster], the constant 8 [memory]), S = max{sigma^2 / eps, 1}. It is Rennala's time where
      eta_i = 0, and stays finite where no expected time is. Homogeneous data only.

    Args:
      step_size: gamma; in theory min{1, eps B / sigma^2} / (2L) [poster].
      trials: B_i >= 0, a number for all workers or a list of n; 0 for a worker that is not used.
      time_limit: tau_i + t_i in fleet seconds: a number, a list of n, or a formula of the worker i.
      probability: p_i of success in (0, 1], a number or a list of n; None: as the fleet knows it from its latency.

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.MindFlayer(step_size=0.5, trials=[2, 1, 1], time_limit=3.0),
      ...                 ro.problems.Quadratic(dimension=10, noise=0.0),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.5, 9.0]), until=ro.Until(updates=1))
      >>> result.trace[["worker", "time", "outcome"]].values.tolist()
      [[0, 1.0, 'used'], [0, 2.0, 'used'], [1, 2.5, 'used'], [2, 3.0, 'failed']]

    References:
      Maranjyan, Omar, Richtarik, `MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous and
      Random Worker Compute Times <https://arxiv.org/abs/2410.04285>`_, 2024, Algorithms 1 and 2 (listing [poster]).
    """

    name = "mindflayer"
    paper = "arXiv 2410.04285, Algorithm 1"
    least_trials = 0

    def __init__(
        self,
        step_size: StepSize,
        trials: int | Sequence[int],
        time_limit: ValuesLike,
        probability: float | Sequence[float] | None = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.trials = trials
        self.time_limit = time_limit
        self.probability = probability
        self._trials = _parse("trials", trials, TRIALS)
        self._time_limit = _parse("time_limit", time_limit, SECONDS)
        self._probability = None if probability is None else _parse("probability", probability, CHANCES)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.mindflayer(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        counts = resolve("trials", self._trials, workers, 0, TRIALS)
        least = self.least_trials
        if (counts != np.rint(counts)).any() or (counts < least).any() or not counts.any():
            worst = counts[np.argmax((counts != np.rint(counts)) | (counts < least))]
            allowed = f"integers of at least {least}" + (", not all 0" if least == 0 else "")
            raise InvalidInput("trials", f"{worst:g} for one of {workers} workers", allowed)
        self.counts: NDArray[np.int64] = counts.astype(np.int64)
        self.limits = resolve("time_limit", self._time_limit, workers, 0, SECONDS)
        if self._probability is not None:
            self.check_chances(resolve("probability", self._probability, workers, 0, CHANCES))

    def incompatibility(self, times: TaskTimes) -> str:
        if self._probability is not None:
            return ""
        limits = resolve("time_limit", self._time_limit, times.n, 0, SECONDS)
        chances = times.probability_within(limits)
        if chances is None:
            return "must know the probability that a trial ends in time, and the law of measured times is not known"
        used = resolve("trials", self._trials, times.n, 0, TRIALS) > 0
        if self.never_succeeds(chances[used]):
            worker = int(np.flatnonzero(used)[np.argmin(chances[used])])
            return f"makes trials with a time limit, and none of worker {worker} ends within {limits[worker]:g} s"
        return ""

    def check_chances(self, chances: Array) -> None:
        """Takes p_i, shape (n,).

        Raises:
          InvalidInput: a worker that is used can never succeed.
        """
        used = self.counts > 0
        if self.never_succeeds(chances[used]):
            worker = int(np.flatnonzero(used)[np.argmin(chances[used])])
            raise InvalidInput(
                "time_limit", f"no trial of worker {worker} ends within {self.limits[worker]:g} s",
                "longer limits, or no trials for such workers",
            )  # fmt: skip
        self.chances = chances

    def never_succeeds(self, chances: Array) -> bool:
        """Whether no update can come of these chances of the workers that are used."""
        return not chances.any()

    def start(self, fleet: Fleet) -> None:
        if self._probability is None:
            chances = fleet.probability_within(self.limits)
            if chances is None:
                raise InvalidInput("probability", "the fleet does not know it", "a number or a list")
            self.check_chances(chances)
        self.hand_out(fleet)

    def hand_out(self, fleet: Fleet) -> None:
        self.batch = GradientSum()
        self.left = self.counts.copy()
        self.open = int(self.counts.sum())
        used = np.flatnonzero(self.counts)
        fleet.assign(used, [Trial(self.x, self.updates, limit) for limit in self.limits[used].tolist()])

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        if arrival.ok:
            self.batch.add(arrival)
        self.open -= 1
        self.left[arrival.worker] -= 1
        if self.open == 0:
            self.descend(self.estimator(fleet.n) if self.batch.count else np.zeros_like(self.x))
            self.hand_out(fleet)
        elif self.left[arrival.worker]:
            fleet.assign(arrival.worker, arrival.task)

    def estimator(self, workers: int) -> Array:
        """Returns the unbiased estimate of the gradient, the shape of x."""
        return self.batch.sum() / float(self.chances @ self.counts)


def _parse(key: str, raw: ValuesLike, limits: Limits) -> Values:
    parsed = parse(key, raw, limits)
    if isinstance(parsed, PermutedValues):
        # The order is that of a run's seed, which a method does not know.
        raise InvalidInput(key, f"{parsed!r} is in random order", "a number, a list or a formula of the worker i")
    return parsed
