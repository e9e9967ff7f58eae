"""Several latencies in one fleet: each task picks one of them at random, or each worker has its own."""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core import keys
from rayopt.core.errors import InvalidInput, non_negative
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency, Latency, read_only
from rayopt.latency.measured import Measured


@dataclass(frozen=True, repr=False)
class Mixture(Latency):
    """Each task takes its duration from one of several latencies, picked at random.

    Args:
      parts: the latencies.
      weights: how often each of them is picked, numbers of at least 0 with a sum above 0; they are divided by
        their sum. None picks all equally often.

    Example:
      One task in ten has a heavy tail.

      >>> from rayopt import latency
      >>> latency.mixture([latency.exponential(1), latency.levy(1)], weights=[0.9, 0.1])
      mixture([exponential(mean=1, base=0), levy(scale=1, base=0)], weights=[0.9, 0.1])

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285: exponential and Lévy.
    """

    name: ClassVar[str] = "mixture"
    paper: ClassVar[str] = "MindFlayer SGD, arXiv 2410.04285"
    example: ClassVar[str] = (
        "{name: mixture, parts: [{name: exponential, mean: 1}, {name: levy, scale: 1}], weights: [0.9, 0.1]}"
    )

    parts: Sequence[Latency]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _check_parts(self.parts))
        object.__setattr__(self, "weights", _check_weights(self.weights, len(self.parts)))

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        weights = self.weights or [1.0] * len(self.parts)
        total = math.fsum(weights)
        # What is never picked must not count, neither in the least duration nor as 0 times infinity in the mean.
        picked = [(part, weight / total) for part, weight in zip(self.parts, weights, strict=True) if weight > 0]
        bound = [
            _bind(position, part, workers, Stream(stream.seed, f"{stream.purpose}/{position}"))
            for position, (part, _) in enumerate(picked)
        ]
        return BoundMixture(self, workers, stream, bound, np.array([weight for _, weight in picked]))

    def to_config(self) -> dict[str, Any]:
        """Returns the name, the latencies and the weights if there are any."""
        weights = {} if self.weights is None else {"weights": list(self.weights)}
        return {"name": self.name, "parts": [part.to_config() for part in self.parts], **weights}

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights={list(self.weights)}"
        return f"mixture({list(self.parts)}{weights})"


@dataclass(frozen=True, repr=False)
class Groups(Latency):
    """Each worker has one of several latencies, in turn: worker i the one at i modulo their number.

    A formula in a part still counts i over all workers: workers 1 to 5 of five parts are ``floor((i - 1) / 5)``
    = 0, the next five 1.

    Args:
      parts: the latencies; workers 1, 1 + m, 1 + 2 m, ... have the first of m.

    Example:
      >>> from rayopt import latency
      >>> latency.groups([latency.exponential(2), latency.uniform(1, 3)])
      groups([exponential(mean=2, base=0), uniform(low=1, high=3)])

    References:
      Maranjyan, Saad, Richtárik and Orabona, "ATA: Adaptive Task Allocation for Efficient Resource
      Management in Distributed Machine Learning", 2025, https://arxiv.org/abs/2502.00775: five families of
      noise in turn (from the released code).
    """

    name: ClassVar[str] = "groups"
    paper: ClassVar[str] = "ATA, arXiv 2502.00775"
    example: ClassVar[str] = (
        "{name: groups, parts: [{name: exponential, mean: i}, {name: half_normal, base: i, scale: 1}]}"
    )

    parts: Sequence[Latency]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _check_parts(self.parts))

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        bound = [_bind(position, part, workers, stream) for position, part in enumerate(self.parts)]
        return BoundGroups(self, workers, stream, bound)

    def to_config(self) -> dict[str, Any]:
        """Returns the name and the latencies."""
        return {"name": self.name, "parts": [part.to_config() for part in self.parts]}

    def __repr__(self) -> str:
        return f"groups({list(self.parts)})"


class _BoundCombination(BoundLatency):
    """Durations of which each is that of one of several parts.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to.
      parts: the durations to choose from, each of all workers.
    """

    __slots__ = ("_parts",)

    def __init__(self, latency: Latency, workers: int, stream: Stream, parts: Sequence[BoundLatency]) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        self.depends_on_start = any(part.depends_on_start for part in parts)
        self._parts = parts

    @abstractmethod
    def _choose(self, workers: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Returns the position of the part of every task, shape (m,)."""

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Returns the seconds of many tasks, shape (m,)."""
        choice = self._choose(workers, numbers)
        starts = np.broadcast_to(start, choice.shape)
        seconds = np.empty(len(choice))
        for position, part in enumerate(self._parts):
            own = np.flatnonzero(choice == position)
            if own.size:
                seconds[own] = part.durations(workers[own], numbers[own], starts[own], cost)
        return seconds


class BoundMixture(_BoundCombination):
    """Durations of which each is picked from one of several latencies.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to; the picks have a purpose of their own.
      parts: the durations to pick from.
      weights: the probabilities of the picks, shape (parts,).
    """

    __slots__ = ("_bounds", "_picks", "_weights")

    def __init__(
        self, latency: Latency, workers: int, stream: Stream, parts: Sequence[BoundLatency], weights: Array
    ) -> None:
        super().__init__(latency, workers, stream, parts)
        self.expected = read_only(weights @ np.array([part.expected for part in parts]))
        self.least = read_only(np.min([part.least for part in parts], axis=0))
        self._picks = Stream(stream.seed, f"{stream.purpose}/pick")
        self._weights = weights
        self._bounds: list[float] = np.cumsum(weights)[:-1].tolist()

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        choice = bisect_right(self._bounds, keys.uniform(self._picks.key(worker, number)))
        return self._parts[choice].duration(worker, number, start, cost)

    def probability_within(self, seconds: Array) -> Array:
        """Returns the weighted probabilities of the parts, shape (workers,)."""
        found = self._weights @ np.array([part.probability_within(seconds) for part in self._parts])
        return np.minimum(found, 1.0)

    def _choose(self, workers: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.searchsorted(self._bounds, keys.uniforms(self._picks.keys(workers, numbers)), side="right")


class BoundGroups(_BoundCombination):
    """Durations of workers of which each has one of several latencies.

    Args:
      latency: what was bound.
      workers: how many there are.
      stream: what it was bound to.
      parts: the durations that the workers have in turn.
    """

    __slots__ = ()

    def __init__(self, latency: Latency, workers: int, stream: Stream, parts: Sequence[BoundLatency]) -> None:
        super().__init__(latency, workers, stream, parts)
        if all(part.fixed is not None for part in parts):
            self.fixed = read_only(self._own([part.fixed for part in parts]))
        self.expected = read_only(self._own([part.expected for part in parts]))
        self.least = read_only(self._own([part.least for part in parts]))

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Returns the seconds of one task."""
        return self._parts[worker % len(self._parts)].duration(worker, number, start, cost)

    def probability_within(self, seconds: Array) -> Array:
        """Returns the probability of each worker's own latency, shape (workers,)."""
        return self._own([part.probability_within(seconds) for part in self._parts])

    def quantile(self, probability: float) -> Array:
        """Returns the quantile of each worker's own latency, shape (workers,)."""
        return self._own([part.quantile(probability) for part in self._parts])

    def work_done(self, time: float) -> Array:
        """Returns the gradients that each worker computes from 0 to ``time``, shape (workers,)."""
        return self._own([part.work_done(time) for part in self._parts])

    def _choose(self, workers: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        return workers % len(self._parts)

    def _own(self, values: Sequence[Any]) -> Array:
        """Returns of each worker the value of its own latency."""
        everyone = np.arange(self._workers)
        return np.array(values)[everyone % len(values), everyone]


def _check_parts(parts: Any) -> tuple[Latency, ...]:
    if isinstance(parts, str) or not isinstance(parts, Sequence) or len(parts) == 0:
        raise InvalidInput("parts", f"{parts!r} is not a list of latencies", "a list of at least one latency")
    for position, part in enumerate(parts):
        if not isinstance(part, Latency):
            raise InvalidInput(f"parts[{position}]", f"{part!r} is not a latency", "a latency such as exponential(1)")
        if isinstance(part, Measured):
            raise InvalidInput(f"parts[{position}]", "measured has no durations to combine", "other latencies")
    return tuple(parts)


def _check_weights(weights: Any, parts: int) -> tuple[float, ...] | None:
    if weights is None:
        return None
    allowed = f"a list of {parts} numbers of at least 0, not all of them 0"
    if isinstance(weights, str) or not isinstance(weights, Sequence | np.ndarray) or len(weights) != parts:
        raise InvalidInput("weights", f"{weights!r} for {parts} latencies", allowed)
    found = tuple(non_negative(f"weights[{position}]", weight) for position, weight in enumerate(weights))
    if not sum(found) > 0:
        raise InvalidInput("weights", f"{list(found)!r} picks nothing", allowed)
    return found


def _bind(position: int, part: Latency, workers: int, stream: Stream) -> BoundLatency:
    try:
        return part.bind(workers, stream)
    except InvalidInput as error:
        raise error.within(f"parts[{position}]") from None
