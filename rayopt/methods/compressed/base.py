"""What methods with compressed messages share: the compressor they check, and rounds of one reply from everyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np

from rayopt.compression import Compressor, compressor, unbiased
from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput
from rayopt.core.tasks import Gradient, Message
from rayopt.methods.base import Array, Fleet, Method, everyone
from rayopt.methods.controls import Controls, StepSize

if TYPE_CHECKING:
    from rayopt.latency.workers import Workers
    from rayopt.problems.base import Problem


class CompressedMethod(Method):
    """A method whose workers compress what they send.

    Args:
      step_size: gamma.
      compressor: C, or the mapping of a workload file.
    """

    needs_unbiased: ClassVar[bool] = True

    def __init__(self, step_size: StepSize, compressor: Any, **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.compressor = self._checked(compressor)

    def _checked(self, given: Any) -> Compressor:
        return unbiased(given, type(self).__name__) if self.needs_unbiased else compressor(given)

    @classmethod
    def known_constants(cls, given: dict[str, Any], problem: Problem, workers: Workers) -> dict[str, float]:
        """Returns omega, alpha and the size of a message of the compressors that are given."""
        found = {}
        if "compressor" in given:
            found = constants_of(compressor(given["compressor"]), problem.dimension, workers.count)
        if "downlink" in given:
            found["downlink_alpha"] = compressor(given["downlink"], "downlink").alpha(problem.dimension)
        return found

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self._own = [self.compressor.of(worker, workers) for worker in range(workers)]

    def message(self, worker: int, **parts: Any) -> Message:
        """Returns the task of a compressed gradient at (x^k, k) of one worker."""
        return Message(self.x, self.updates, self._own[worker], **parts)


class Rounds(CompressedMethod):
    """A method of rounds: a task for everyone, one reply from everyone, an update."""

    heterogeneous = True
    waits_for_everyone = True

    def start(self, fleet: Fleet) -> None:
        self.begin_round(fleet)

    def begin_round(self, fleet: Fleet) -> None:
        """Gives everyone the task of this round."""
        self._replies = GradientSum()
        fleet.assign(everyone(fleet), self.tasks(fleet))

    def tasks(self, fleet: Fleet) -> Sequence[Gradient]:
        """Returns one task for each worker."""
        return [self.message(worker) for worker in range(fleet.n)]

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.take(arrival)
        if self._replies.count == fleet.n:
            self.update(self._replies.mean(), fleet)
            self.begin_round(fleet)

    def take(self, arrival: Arrival) -> None:
        """Takes the reply of one worker."""
        self._replies.add(arrival)

    def update(self, mean: Array, fleet: Fleet) -> None:
        """Makes the step; ``mean`` is that of the replies."""
        raise NotImplementedError


class ShiftedRounds(Rounds):
    """Rounds in which worker i sends C_i(g_i - s_i), and its shift s_i changes by a rate times the message.

    Attributes:
      shifts: s_i, from zeros, n arrays of the shape of x.
    """

    vectors_per_worker = 1

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self.shifts = [np.zeros_like(self.x) for _ in range(workers)]
        self._mean_shift = np.zeros_like(self.x)
        self._rate = self.rate(start_point.shape[-1])

    def rate(self, dimension: int) -> float:
        """Returns by how much of a message a shift changes."""
        raise NotImplementedError

    def tasks(self, fleet: Fleet) -> Sequence[Gradient]:
        keeps = self.updates, self._rate
        return [self.message(worker, shift=shift, keeps=keeps) for worker, shift in enumerate(self.shifts)]

    def take(self, arrival: Arrival) -> None:
        super().take(arrival)
        # In place: the one task that refers to the shift has just been evaluated.
        self.shifts[arrival.worker] += arrival.value if self._rate == 1.0 else self._rate * arrival.value

    def update(self, mean: Array, fleet: Fleet) -> None:
        self.descend(self._mean_shift + mean)
        self._mean_shift = self._mean_shift + self._rate * mean


def constants_of(found: Compressor, dimension: int, workers: int) -> dict[str, float]:
    """Returns what theory asks of a compressor of vectors of this dimension."""
    own = found.of(0, workers)
    constants = {"message_share": min(own.floats(dimension) / dimension, 1.0), "alpha": own.alpha(dimension)}
    if own.unbiased:
        constants["omega"] = own.omega(dimension)
        # E||C(v) - v||^2 <= omega ||v||^2 contracts as it is, without the division by 1 + omega.
        constants["alpha"] = max(1 - constants["omega"], constants["alpha"])
    return constants


def contractive(found: Compressor, dimension: int, method: str) -> None:
    """Raises InvalidInput if a compressor does not contract vectors of this dimension."""
    if found.unbiased and found.omega(dimension) >= 1:
        raise InvalidInput("compressor", f"{found!r} has omega = {found.omega(dimension):g} and does not contract; "
                           f"{method} needs E||C(v) - v||² <= (1 - alpha) ||v||²",
                           "top_k, scaled_rand_k or natural")  # fmt: skip
