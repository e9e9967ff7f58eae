"""Orders and replies of packed workers as columns: objects are slow to pickle one by one, and so are small arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.tasks import Gradient
from rayopt.fleets.ray.messages import Order, Reply

STACKED_BYTES = 100_000
"""Arrays below this size travel as one: copying them takes less than sending them apart."""
NOTHING = -1


class OrderBatch(NamedTuple):
    """Orders for the workers of one actor; each task and each point of x is there once.

    Attributes:
      workers, stamps, numbers, assigned_at, sent_at, messages: as in ``Order``.
      places: by order, which of the tasks; -1 for an order that only cancels.
      tasks: without their points; of a plain ``Gradient`` only (version, count).
      points: by task, which of the points.
      arrays: the points.
    """

    workers: list[int]
    stamps: list[int]
    numbers: list[int]
    assigned_at: list[float]
    sent_at: list[float]
    places: list[int]
    tasks: list[Gradient | tuple[int, int]]
    points: list[int]
    arrays: Sequence[Any]
    messages: list[int]

    @classmethod
    def of(cls, orders: Sequence[Order]) -> OrderBatch:
        """Returns these orders as one message."""
        tasks: dict[int, Gradient] = {}
        place_of: dict[int, int] = {}
        point_of: dict[int, int] = {}
        arrays: list[Any] = []
        points: list[int] = []
        places: list[int] = []
        for order in orders:
            task = order.task
            if task is None:
                places.append(NOTHING)
                continue
            place = place_of.setdefault(id(task), len(tasks))
            if place == len(tasks):
                tasks[place] = task
                point = point_of.setdefault(id(task.x), len(arrays))
                if point == len(arrays):
                    arrays.append(task.x)
                points.append(point)
            places.append(place)
        workers, stamps, numbers, _, assigned_at, sent_at, messages = map(list, zip(*orders, strict=True))
        bare = [_bare(task) for task in tasks.values()]
        return cls(workers, stamps, numbers, assigned_at, sent_at, places, bare, points, together(arrays), messages)

    def unpack(self) -> Iterator[Order]:
        """Yields the orders, in the order in which they were given."""
        tasks = [_at(task, self.arrays[point]) for task, point in zip(self.tasks, self.points, strict=True)]
        columns = (self.workers, self.stamps, self.numbers, self.places, self.assigned_at, self.sent_at, self.messages)
        for worker, stamp, number, place, assigned_at, sent_at, message in zip(*columns, strict=True):
            task = None if place == NOTHING else tasks[place]
            yield Order(worker, stamp, number, task, assigned_at, sent_at, message)


class ReplyBatch(NamedTuple):
    """Replies of the workers of one actor.

    Attributes:
      workers, stamps, completed_at, in_time, errors, clock: as in ``Reply``; the clock is that of the actor.
      places: by reply, which of the values; -1 if it has none.
      values: the gradients.
    """

    workers: list[int]
    stamps: list[int]
    completed_at: list[float]
    places: list[int]
    in_time: list[bool]
    errors: list[str | None]
    values: Sequence[Any]
    clock: str = ""

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> ReplyBatch:
        """Returns these replies as one message."""
        if not replies:
            return cls([], [], [], [], [], [], [])
        workers, stamps, completed_at, values, in_time, errors, _ = map(list, zip(*replies, strict=True))
        arrays: list[Any] = []
        places: list[int] = []
        for value in values:
            places.append(NOTHING if value is None else len(arrays))
            if value is not None:
                arrays.append(value)
        return cls(workers, stamps, completed_at, places, in_time, errors, together(arrays), replies[0].clock)

    def unpack(self) -> Iterator[Reply]:
        """Yields the replies, in the order in which they were given."""
        columns = (self.workers, self.stamps, self.completed_at, self.places, self.in_time, self.errors)
        for worker, stamp, completed_at, place, in_time, error in zip(*columns, strict=True):
            value = None if place == NOTHING else self.values[place]
            yield Reply(worker, stamp, completed_at, value, in_time, error, self.clock)


def together(arrays: Sequence[NDArray[Any]]) -> Sequence[Any]:
    """Returns small arrays of one shape and type as the rows of one array, others as they are."""
    kinds = {(array.shape, array.dtype) for array in arrays}
    if len(arrays) < 2 or len(kinds) > 1 or arrays[0].nbytes >= STACKED_BYTES:
        return arrays
    return np.stack(arrays)  # type: ignore[return-value]


def _bare(task: Gradient) -> Gradient | tuple[int, int]:
    return (task.version, task.count) if type(task) is Gradient else task.at(None)


def _at(task: Gradient | tuple[int, int], x: NDArray[np.float64]) -> Gradient:
    return Gradient(x, *task) if isinstance(task, tuple) else task.at(x)
