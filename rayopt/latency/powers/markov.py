"""Workers that are slow for a while, now and then, and do not forget it from one task to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core import keys
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency
from rayopt.latency.family import Family
from rayopt.latency.powers.base import PAPER, BoundPower, Trend, Workers
from rayopt.latency.powers.pieces import Table
from rayopt.latency.values import ValuesLike

_FIRST_PIECES = 16
_MOST_SWITCHES = 10_000
_LARGEST_TABLE = 2**24


@dataclass(frozen=True, repr=False)
class Markov(Family):
    """A worker that switches between full power and a slow state, as a Markov chain in continuous time.

    It stays in each state for an exponential time; at time 0 it is slow with the probability of the long run,
    slow_mean / (fast_mean + slow_mean). The switches of a worker are a function of (seed, worker, number of the
    switch), never of the tasks that it was given: two methods compared on one seed meet the same slow times.

    Args:
      times: seconds of a gradient at full power, above 0; infinite for a worker that never answers.
      slow: the power in the slow state in units of the full one, from 0 to 1.
      fast_mean: mean seconds at full power before the next slow state, above 0.
      slow_mean: mean seconds in the slow state, above 0.

    Raises:
      InvalidInput: a gradient that meets thousands of switches, for which a fixed latency is the same.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> bound = Markov(times=1, slow=0.1, fast_mean=60, slow_mean=20).bind(1, Stream(0, "compute"))
      >>> round(float(bound.expected[0]), 3)
      1.29

    References:
      Tyurin, "Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics",
      2024, https://arxiv.org/abs/2408.04929: random powers are allowed; the chain is this library's example.
    """

    name: ClassVar[str] = "markov"
    paper: ClassVar[str] = PAPER
    example: ClassVar[str] = "{name: markov, times: sqrt(i), slow: 0.1, fast_mean: 200, slow_mean: 50}"
    positive: ClassVar[frozenset[str]] = frozenset({"times", "fast_mean", "slow_mean"})
    finite: ClassVar[frozenset[str]] = frozenset({"fast_mean", "slow_mean"})
    probabilities: ClassVar[frozenset[str]] = frozenset({"slow"})

    times: ValuesLike
    slow: ValuesLike
    fast_mean: ValuesLike
    slow_mean: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        times, slow, fast_mean, slow_mean = self.resolve(workers, stream)
        most = _MOST_SWITCHES * (fast_mean + slow_mean)
        too_long = np.isfinite(times) & (times > most)
        if too_long.any():
            worst = int(np.argmax(too_long))
            raise InvalidInput(
                "times", f"{times[worst]:g} for worker {worst}",
                f"at most {_MOST_SWITCHES:,} times fast_mean + slow_mean, {most[worst]:g}; "
                "a gradient that meets more switches takes its mean time, as in fixed",
            )  # fmt: skip
        return BoundPower(self, workers, stream, times, Chain(slow, fast_mean, slow_mean, stream))


class Chain(Trend):
    """Relative powers that switch between 1 and a slow one. The path of a worker is drawn when it is asked for.

    Args:
      slow: the relative power in the slow state, shape (workers,).
      fast_mean: mean seconds in the fast state, shape (workers,).
      slow_mean: mean seconds in the slow state, shape (workers,).
      stream: what the latency was bound to; the switches have a purpose of their own.
    """

    __slots__ = ("_column", "_seen", "_slow", "_stay", "_stream", "_table")

    def __init__(self, slow: Array, fast_mean: Array, slow_mean: Array, stream: Stream) -> None:
        self.peak = np.ones(len(slow))
        self.mean = (fast_mean + slow * slow_mean) / (fast_mean + slow_mean)
        self._slow = slow
        self._stay = np.array([fast_mean, slow_mean])
        self._stream = Stream(stream.seed, f"{stream.purpose}/switch")
        # Which column of the table a worker has; -1 before it is first asked for. A process that emulates one
        # worker of many draws one path.
        self._column = np.full(len(slow), -1)
        self._seen: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._table = self._draw(_FIRST_PIECES)

    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,)."""
        columns = self._columns(workers)
        self._reach(columns, times)
        return self._table.integral(columns, times)

    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need."""
        columns = self._columns(workers)
        self._reach(columns, starts)
        seconds, target = self._table.seconds(columns, starts, need)
        later = np.flatnonzero(target > 0)
        if later.size:
            columns, target = columns[later], target[later]
            while (self._table.done[-1, columns] < target).any():
                self._grow()
            seconds[later] = self._table.reached(columns, target) - starts[later]
        return seconds

    def _columns(self, workers: Workers) -> NDArray[np.intp]:
        """Returns the columns of the workers in the table, which gets those that are new."""
        new = workers[self._column[workers] < 0]
        if new.size:
            new = np.unique(new)
            self._column[new] = len(self._seen) + np.arange(len(new))
            self._seen = np.concatenate([self._seen, new])
            self._table = self._draw(len(self._table.ends))
        return self._column[workers]

    def _reach(self, columns: NDArray[np.intp], times: Array) -> None:
        while (self._table.ends[-1, columns] <= times).any():
            self._grow()

    def _grow(self) -> None:
        pieces = 2 * len(self._table.ends)
        if pieces * len(self._seen) > _LARGEST_TABLE:
            raise InvalidInput(
                "markov",
                f"{len(self._seen):,} workers switch more than {pieces // 2:,} times",
                f"at most {_LARGEST_TABLE:,} switches in all: longer fast_mean and slow_mean, or a shorter run",
            )
        self._table = self._draw(pieces)

    def _draw(self, pieces: int) -> Table:
        """Returns the first pieces of the paths of all workers that were asked for."""
        workers = self._seen
        share = self._stay[1, workers] / self._stay.sum(axis=0)[workers]
        first = keys.uniforms(self._stream.keys(workers, np.zeros(len(workers), dtype=np.int64))) < share
        is_slow = (np.arange(pieces)[:, None] + first) % 2
        numbers = np.broadcast_to(np.arange(1, pieces + 1)[:, None], is_slow.shape)
        u = keys.uniforms(self._stream.keys(np.broadcast_to(workers, is_slow.shape), numbers))
        stay = -np.log(u) * self._stay[is_slow, workers]
        return Table(np.cumsum(stay, axis=0), np.where(is_slow == 1, self._slow[workers], 1.0))
