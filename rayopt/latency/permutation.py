"""Workers in random order: of a whole latency, or of one of its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundFixed, BoundLatency, Latency, read_only
from rayopt.latency.measured import Measured
from rayopt.latency.values import PermutedValues, ValuesLike, check_seed, permutation


@dataclass(frozen=True, repr=False)
class Permuted(Latency):
    """Another latency with its workers in random order.

    Worker j behaves in everything, random draws included, as worker ``order[j]`` of the other latency.

    Args:
      of: the other latency.
      seed: of the permutation; None takes the seed of the run, so that every run has its own order.
    """

    name: ClassVar[str] = "permuted"
    paper: ClassVar[str] = "Ringmaster ASGD, arXiv 2501.16168"
    example: ClassVar[str] = "{name: permuted, of: {name: half_normal, base: i, scale: sqrt(i)}}"

    of: Latency
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.of, Latency):
            raise InvalidInput("of", f"{self.of!r} is not a latency", "a latency such as fixed('sqrt(i)')")
        if isinstance(self.of, Measured):
            raise InvalidInput("of", "measured has no order to permute", "another latency")
        object.__setattr__(self, "seed", check_seed(self.seed))

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        bound = self.of.bind(workers, stream)
        order = permutation(workers, stream.seed if self.seed is None else self.seed)
        if bound.fixed is not None:
            return BoundFixed(self, workers, stream, bound.fixed[order])
        return BoundPermuted(self, workers, stream, bound, order)

    def to_config(self) -> dict[str, Any]:
        """Returns the name, the other latency and the seed if there is one."""
        seed = {} if self.seed is None else {"seed": self.seed}
        return {"name": self.name, "of": self.of.to_config(), **seed}

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed}"
        return f"permuted({self.of!r}{seed})"


class BoundPermuted(BoundLatency):
    """The durations of other workers.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to.
      bound: the durations in their own order.
      order: the worker whose durations each worker has, shape (workers,).
    """

    __slots__ = ("_bound", "_order", "_order_view")

    def __init__(
        self, latency: Latency, workers: int, stream: Stream, bound: BoundLatency, order: NDArray[np.intp]
    ) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        self.expected = read_only(bound.expected[order])
        self.least = read_only(bound.least[order])
        self.depends_on_start = bound.depends_on_start
        self._bound = bound
        self._order = order
        self._order_view = order.data

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        return self._bound.duration(self._order_view[worker], number, start, cost)

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        return self._bound.durations(self._order[workers], numbers, start, cost)

    def probability_within(self, seconds: Array) -> Array:
        """Returns the probabilities that a task ends in time, shape (workers,)."""
        theirs = np.empty(self._workers)
        theirs[self._order] = seconds
        return self._bound.probability_within(theirs)[self._order]

    def quantile(self, probability: float) -> Array:
        """Returns the quantiles of the durations, shape (workers,)."""
        return self._bound.quantile(probability)[self._order]

    def work_done(self, time: float) -> Array:
        """Returns the gradients that each worker computes from 0 to ``time``, shape (workers,)."""
        return self._bound.work_done(time)[self._order]


@overload
def permuted(of: Latency, seed: int | None = None) -> Permuted: ...
@overload
def permuted(of: ValuesLike, seed: int | None = None) -> PermutedValues: ...
def permuted(of: Latency | ValuesLike, seed: int | None = None) -> Permuted | PermutedValues:
    """Returns a latency, or a parameter of one, with the workers in random order.

    All that is permuted under one seed has the same order: ``half_normal(permuted(a), permuted(b))`` keeps
    the pairs (a_i, b_i), and a worker that computes fast keeps its links, if these are permuted too.

    Args:
      of: a latency, or values: a number, a list or a formula.
      seed: of the permutation; None takes the seed of the run.

    Example:
      The times of the figures of Ringmaster ASGD: bases in random order, scales that stay with the worker.

      >>> from rayopt.latency import half_normal
      >>> half_normal(base=permuted("1 + sqrt(i - 1)"), scale="sqrt(i)")
      half_normal(base=permuted('1 + sqrt(i - 1)'), scale='sqrt(i)')
    """
    return Permuted(of, seed) if isinstance(of, Latency) else PermutedValues(of, seed)
