"""Relative powers that are constant from one change to the next: exact integrals and their inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rayopt.latency.base import Array
from rayopt.latency.bisection import count_while
from rayopt.latency.powers.base import Trend, Workers

Columns = NDArray[np.integer]

# Up to so many rows, counting all at once is quicker than bisection.
_FEW = 32


class Table:
    """m pieces of constant power in each of several columns, from time 0 to the end of the last piece.

    Args:
      ends: when each piece ends, increasing down a column; the last may be infinite; shape (m, columns).
      powers: in each piece, at least 0 and finite, shape (m, columns).
    """

    __slots__ = ("_begins", "_powers", "done", "ends")

    def __init__(self, ends: Array, powers: Array) -> None:
        zeros = np.zeros((1, ends.shape[1]))
        self.ends = ends
        self._begins = np.vstack([zeros, ends[:-1]])
        self._powers = powers
        gain = np.multiply(powers, ends - self._begins, out=np.zeros(ends.shape), where=powers > 0)
        # One after the other, so that a table that grows keeps its bits.
        self.done = np.cumsum(np.vstack([zeros, gain]), axis=0)

    def integral(self, columns: Columns, times: Array) -> Array:
        """Returns the integral from 0 to each time, shape (m,)."""
        piece = self._piece(columns, times)
        return self.done[piece, columns] + self._powers[piece, columns] * (times - self._begins[piece, columns])

    def seconds(self, columns: Columns, starts: Array, need: Array) -> tuple[Array, Array]:
        """Returns the seconds within the piece of each start, and what of the need the next pieces must meet.

        Where the piece suffices, the second is 0; where it does not, the first is meaningless.
        """
        piece = self._piece(columns, starts)
        power = self._powers[piece, columns]
        left = np.multiply(power, self.ends[piece, columns] - starts, out=np.zeros(len(need)), where=power > 0)
        within = need <= left
        seconds = np.divide(need, power, out=np.zeros(len(need)), where=within)
        rest = np.subtract(need, left, out=np.zeros(len(need)), where=~within)
        return seconds, np.where(within, 0.0, self.done[piece + 1, columns] + rest)

    def reached(self, columns: Columns, target: Array) -> Array:
        """Returns when the integral from 0 first reaches a target above 0 and at most ``done[-1]``, shape (m,)."""
        piece = _rank(self.done[1:-1], columns, np.less, target)
        rest = target - self.done[piece, columns]
        return self._begins[piece, columns] + rest / self._powers[piece, columns]

    def _piece(self, columns: Columns, times: Array) -> NDArray[np.integer]:
        return _rank(self.ends[:-1], columns, np.less_equal, times)


def _rank(rows: Array, columns: Columns, compare: np.ufunc, limit: Array) -> NDArray[np.integer]:
    """Returns how many entries of each column, which never decreases, compare true with its limit, shape (m,)."""
    if len(rows) <= _FEW:
        return compare(rows[:, columns], limit).sum(axis=0)
    return count_while(lambda rank: compare(rows[rank, columns], limit), len(columns), len(rows))


class Pieces(Trend):
    """Relative powers that are piecewise constant, once or again and again.

    Args:
      begins: when each piece begins, row 0 is 0; shape (m, workers) or (m, 1).
      powers: in each piece, at least 0 and finite, shape (m, workers) or (m, 1).
      workers: how many there are.
      period: after which the pieces begin again, above the last begin, shape (workers,); None if the last
        piece has no end.
      phase: when the first piece begins, shape (workers,); needs a period, which also fills the time before.
    """

    __slots__ = ("_done_at_0", "_period", "_phase", "_table", "_total")

    def __init__(
        self, begins: Array, powers: Array, workers: int, period: Array | None = None, phase: Array | None = None
    ) -> None:
        shape = (len(begins), workers)
        last = np.full(workers, np.inf) if period is None else period
        ends = np.vstack([np.broadcast_to(begins, shape)[1:], last])
        self._table = Table(ends, np.broadcast_to(powers, shape))
        self._period = period
        self._phase = np.zeros(workers) if phase is None else phase
        self._total = self._table.done[-1]
        self.peak = np.broadcast_to(powers, shape).max(axis=0)
        self.mean = np.broadcast_to(powers, shape)[-1] if period is None else self._total / period
        everyone = np.arange(workers)
        self._done_at_0 = np.zeros(workers)
        self._done_at_0 = self.integral(everyone, np.zeros(workers))

    def integral(self, workers: Workers, times: Array) -> Array:
        """Returns the integral of the relative power of each worker from 0 to each time, shape (m,)."""
        if self._period is None:
            return self._table.integral(workers, times)
        period, since = self._period[workers], times - self._phase[workers]
        rounds, position = np.floor_divide(since, period), np.mod(since, period)
        return rounds * self._total[workers] + self._table.integral(workers, position) - self._done_at_0[workers]

    def seconds(self, workers: Workers, starts: Array, need: Array) -> Array:
        """Returns the least seconds in which the integral of the relative power grows by a need; maybe infinite."""
        position = starts if self._period is None else np.mod(starts - self._phase[workers], self._period[workers])
        seconds, target = self._table.seconds(workers, position, need)
        total = self._total[workers]
        never = (target > 0) & (total == 0 if self._period is not None else target > total)
        seconds[never] = np.inf
        later = np.flatnonzero((target > 0) & ~never)
        if later.size:
            columns, target = workers[later], target[later]
            whole = np.zeros(len(later))
            if self._period is not None:
                # Whole rounds are left out, but what is left must be above 0: a task that a round just finishes
                # ends in it, not after the outage that the next round may begin with.
                rounds = np.ceil(target / total[later]) - 1.0
                target = target - rounds * total[later]
                rounds = np.where(target > 0, rounds, rounds - 1.0)
                target = np.minimum(np.where(target > 0, target, target + total[later]), total[later])
                whole = rounds * self._period[columns]
            seconds[later] = whole + self._table.reached(columns, target) - position[later]
        return seconds
