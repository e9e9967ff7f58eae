"""The compiled loops of Hogwild: sample a row, read x where the row is not zero, add to x there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rayopt.fleets.shared_memory.atomics import add, look, publish, read, swap, take
from rayopt.fleets.shared_memory.segment import LOCK, STOP, TICKET
from rayopt.problems import SparseLogisticRegression

Array = NDArray[np.float64]
Update = Callable[..., None]

FREE, HELD = 0, 1


class Rows(NamedTuple):
    """Rows of sparse data, as a compiled loop reads them; row r has the places starts[r] to starts[r + 1].

    Attributes:
      starts: shape (rows + 1,).
      columns: the coordinate of each nonzero.
      values: the nonzeros.
      labels: -1.0 or 1.0, shape (rows,).
      penalties: what l2 weighs at each coordinate when a row touches it, shape (dimension,); empty without l2.
    """

    starts: NDArray[np.integer]
    columns: NDArray[np.integer]
    values: Array
    labels: Array
    penalties: Array

    @property
    def longest(self) -> int:
        """The largest number of nonzeros of a row."""
        return int(np.diff(self.starts).max())


def rows_of(problem: SparseLogisticRegression) -> Rows:
    """Returns the rows of a sparse logistic regression, its arrays as they are."""
    X = problem.X
    penalties = problem.coordinate_l2 if problem.l2 else np.zeros(0)
    return Rows(X.indptr, X.indices, X.data, problem.y, penalties)


@njit(nogil=True)
def slope(label: float, product: float) -> float:
    """Returns the derivative of log(1 + exp(-label * z)) at z = product."""
    margin = label * product
    # exp of at most 0 overflows for no margin; two forms of one function.
    small = math.exp(-abs(margin))
    return -label * (small if margin > 0.0 else 1.0) / (1.0 + small)


@njit(nogil=True)
def descend(x: Array, rows: Rows, row: int, step_size: float, near: Array) -> None:
    """x -= step_size * gradient of the loss of one row, for a worker that is alone with x.

    ``near`` has room for the components that the row touches.
    """
    first, last = rows.starts[row], rows.starts[row + 1]
    product = 0.0
    for place in range(first, last):
        near[place - first] = x[rows.columns[place]]
        product += rows.values[place] * near[place - first]
    factor = slope(rows.labels[row], product)
    for place in range(first, last):
        column = rows.columns[place]
        component = factor * rows.values[place]
        if rows.penalties.size:
            component += rows.penalties[column] * near[place - first]
        x[column] -= step_size * component


@njit(nogil=True)
def descend_atomically(x: Array, rows: Rows, row: int, step_size: float, near: Array) -> None:
    """:func:`descend` while others do the same: each component is read once and added to once, both atomically."""
    first, last = rows.starts[row], rows.starts[row + 1]
    product = 0.0
    for place in range(first, last):
        near[place - first] = read(x, rows.columns[place])
        product += rows.values[place] * near[place - first]
    factor = slope(rows.labels[row], product)
    for place in range(first, last):
        column = rows.columns[place]
        component = factor * rows.values[place]
        if rows.penalties.size:
            component += rows.penalties[column] * near[place - first]
        add(x, column, -step_size * component)


@njit(nogil=True)
def acquire(words: NDArray[np.int64]) -> bool:
    """Spins until the lock is held; returns False if the run was stopped before, by a holder that died at worst."""
    while not swap(words, LOCK, FREE, HELD):
        while look(words, LOCK) == HELD:
            if look(words, STOP):
                return False
    return True


@njit(nogil=True)
def free_updates(
    x: Array,
    words: NDArray[np.int64],
    counter: int,
    rows: Rows,
    order: NDArray[np.integer],
    step_sizes: Array,
    near: Array,
) -> None:
    """Makes one update for each row of ``order``, with a step size each, without locks; ``words[counter]`` counts."""
    done = words[counter]
    for position in range(len(order)):
        descend_atomically(x, rows, order[position], step_sizes[position], near)
        done += 1
        publish(words, counter, done)


@njit(nogil=True)
def locked_updates(
    x: Array,
    words: NDArray[np.int64],
    counter: int,
    rows: Rows,
    order: NDArray[np.integer],
    step_sizes: Array,
    near: Array,
) -> None:
    """As :func:`free_updates`, each update under the lock."""
    done = words[counter]
    for position in range(len(order)):
        if not acquire(words):
            return
        descend(x, rows, order[position], step_sizes[position], near)
        publish(words, LOCK, FREE)
        done += 1
        publish(words, counter, done)


@njit(nogil=True)
def serial_updates(
    x: Array,
    words: NDArray[np.int64],
    counter: int,
    rows: Rows,
    order: NDArray[np.integer],
    step_sizes: Array,
    near: Array,
) -> None:
    """As :func:`free_updates`, for a worker that is alone."""
    done = words[counter]
    for position in range(len(order)):
        descend(x, rows, order[position], step_sizes[position], near)
        done += 1
        publish(words, counter, done)


@njit(nogil=True)
def take_tickets(words: NDArray[np.int64], wanted: int, limit: int) -> tuple[int, int]:
    """Returns the number of this worker's next update among those of all, and how many it may make from there on.

    They are at most ``wanted``; all workers make ``limit`` together.
    """
    if look(words, STOP):
        return 0, 0
    first = take(words, TICKET, wanted)
    return first, min(max(limit - first, 0), wanted)


UPDATES: dict[str, Update] = {"free": free_updates, "locked": locked_updates, "serial": serial_updates}
"""The loop of each kind of access."""
