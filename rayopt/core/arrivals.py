"""What a method receives: an arrival with a lazy value, and sums of arrivals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.tasks import Gradient

Array = NDArray[np.float64]


class Source(Protocol):
    """Where values come from: computed (virtual time) or fetched (real time).

    Attributes:
      adds_as_they_come: whether sums are to be made in the order of the arrivals, one value after the other.
    """

    adds_as_they_come: bool

    def value(self, arrival: Arrival) -> Array: ...
    def weighted_sum(self, arrivals: Sequence[Arrival], weights: Array) -> Array: ...
    def sum_of_messages(self, arrival: Arrival, count: int) -> Array: ...


class GroupSource(Source, Protocol):
    """A source that computes many values of one task in one product."""

    def sum_of_group(
        self, task: Gradient, workers: NDArray[np.integer], numbers: NDArray[np.integer], weights: Array
    ) -> Array: ...


class Arrival:
    """The result of one task, delivered to the server.

    Attributes:
      worker: who computed it, numbered from 0; None for an alarm set by ``fleet.wake``.
      time: fleet seconds at delivery.
      completed_at: fleet seconds at which the worker was done: before ``time`` if a transport lies between. On Ray
        the worker's own stamp; on another machine, whose clock cannot be compared, shifted so that the quickest reply
        from there took no time on its way.
      assigned_at: fleet seconds at which the task was given to the worker.
      task: what was computed; its ``version`` says at which iterate.
      number: the worker's task number, from 0.
      message: number of the reply among those of its task, from 0; the others have the same value, compressed anew.
      is_last: whether it is the last of its task.
      ok: False when the task ran into its time limit and has no value.
      used: whether the method has asked for the value.
    """

    __slots__ = ("_value", "assigned_at", "completed_at", "number", "ok", "source", "task", "time", "used", "worker")

    message: int = 0
    is_last: bool = True

    def __init__(
        self, worker: Any, time: float, assigned_at: float, task: Gradient, number: int, source: Source | None
    ) -> None:
        self.worker = worker
        self.time = time
        self.completed_at = time
        self.assigned_at = assigned_at
        self.task = task
        self.number = number
        self.source = source
        self.ok = True
        self.used = False
        self._value: Array | None = None

    @classmethod
    def with_value(cls, worker: int, value: Array, version: int = 0, time: float = 0.0) -> Arrival:
        """Returns an arrival made by hand, to feed a method in a test or a notebook."""
        value = np.asarray(value)
        arrival = cls(worker, time, 0.0, Gradient(value, version), 0, None)
        arrival._value = value if value.dtype.kind == "f" else value.astype(np.float64)
        return arrival

    @property
    def version(self) -> int:
        """The number k of the iterate x^k at which the task was computed."""
        return self.task.version

    @property
    def value(self) -> Array:
        """The stochastic gradient, the shape of the task's x. Asking for it makes the arrival used.

        Raises:
          ValueError: the worker gave up.
        """
        if not self.ok:
            raise ValueError(f"worker {self.worker} gave up: the task has no value")
        self.used = True
        if self._value is None:
            assert self.source is not None
            self._value = self.source.value(self)
        return self._value

    @property
    def known_value(self) -> Array | None:
        """The value as far as it has been computed or received; asking changes nothing."""
        return self._value

    def __repr__(self) -> str:
        return f"Arrival(worker={self.worker}, time={self.time:g}, version={self.version}, number={self.number})"


class MessageArrival(Arrival):
    """One of several messages of a task's reply.

    Attributes:
      message: its number, from 0.
      is_last: whether the worker is idle now.
    """

    __slots__ = ("is_last", "message")

    def __init__(
        self,
        worker: Any,
        time: float,
        assigned_at: float,
        task: Gradient,
        number: int,
        source: Source | None,
        message: int = 0,
        is_last: bool = True,
    ) -> None:
        # Not by the class above: there are many of these.
        self.worker = worker
        self.time = self.completed_at = time
        self.assigned_at = assigned_at
        self.task = task
        self.number = number
        self.source = source
        self.ok = True
        self.used = False
        self._value = None
        self.message = message
        self.is_last = is_last


NO_TASK = Gradient(np.empty(0), -1)
"""What stands in place of a task where there is none."""


class Alarm(Arrival):
    """The arrival that ``fleet.wake`` asked for: it has no worker and no task."""

    __slots__ = ()

    def __init__(self, time: float, set_at: float) -> None:
        super().__init__(None, time, set_at, NO_TASK, 0, None)


class ArrivalBlock(NamedTuple):
    """Arrivals of stochastic gradients one after the other, as columns.

    Attributes:
      times: fleet seconds at delivery, shape (m,), in order.
      workers: shape (m,).
      numbers: the workers' task numbers, shape (m,).
      assigned_at: fleet seconds, shape (m,).
      versions: of the tasks, shape (m,).
    """

    times: Array
    workers: NDArray[np.integer]
    numbers: NDArray[np.integer]
    assigned_at: Array
    versions: NDArray[np.integer]

    def of_version(self, version: int) -> ArrivalBlock:
        """Returns the arrivals of tasks at one iterate."""
        chosen = self.versions == version
        return self if chosen.all() else ArrivalBlock(*(column[chosen] for column in self))

    def arrivals(self, task: Gradient, source: Source | None) -> list[Arrival]:
        """Returns them one by one, as used ones of a task."""
        found = []
        for time, worker, number, assigned_at in zip(*(column.tolist() for column in self[:4]), strict=True):
            arrival = Arrival(worker, time, assigned_at, task, number, source)
            arrival.used = True
            found.append(arrival)
        return found


class GradientSum:
    """Collects arrivals and sums their values, those of one point in one product.

    Adding an arrival makes it used; nothing is computed before :meth:`sum`.
    """

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._weights: list[float] = []
        # Of one task: (how many arrivals came before, the block).
        self._blocks: list[tuple[int, ArrivalBlock]] = []
        self._in_blocks = 0
        self._of_blocks: tuple[Gradient, GroupSource] | None = None
        # Gradients in sums that have come as one.
        self._within = 0

    @classmethod
    def of(cls, arrivals: list[Arrival], weights: list[float]) -> GradientSum:
        """Returns the sum that has collected these arrivals, as :attr:`parts` gave them."""
        found = cls()
        found._arrivals, found._weights = arrivals, weights
        return found

    @property
    def parts(self) -> tuple[list[Arrival], list[float]]:
        """The arrivals collected and their weights."""
        if self._of_blocks is None:
            return self._arrivals, self._weights
        arrivals, weights = list(self._arrivals), list(self._weights)
        for before, block in reversed(self._blocks):
            arrivals[before:before] = block.arrivals(*self._of_blocks)
            weights[before:before] = [1.0] * len(block.times)
        return arrivals, weights

    @property
    def count(self) -> int:
        """Number of arrivals collected."""
        return len(self._arrivals) + self._in_blocks + self._within

    def to_send(self) -> GradientSum:
        """Returns the same sum as one vector, which knows how many gradients are in it, for another machine."""
        found = GradientSum.of([Arrival.with_value(-1, self.sum())], [1.0])
        found._within = self.count - 1
        return found

    def add_block(self, block: ArrivalBlock, task: Gradient, source: GroupSource) -> None:
        """Adds arrivals of one task, which is that of all arrivals in the sum.

        Args:
          block: of tasks that differ from ``task`` in nothing.
          task: what was computed.
          source: where their values come from.
        """
        self._blocks.append((len(self._arrivals), block))
        self._in_blocks += len(block.times)
        self._of_blocks = task, source

    def add(self, arrival: Arrival, weight: float = 1.0) -> None:
        """Adds ``weight`` times the value of an arrival.

        Raises:
          ValueError: the worker gave up.
        """
        if not arrival.ok:
            raise ValueError(f"worker {arrival.worker} gave up: the task has no value")
        arrival.used = True
        self._arrivals.append(arrival)
        self._weights.append(weight)

    def merge(self, other: GradientSum) -> None:
        """Adds what another sum has collected."""
        arrivals, weights = other.parts
        self._arrivals += arrivals
        self._weights += weights
        self._within += other._within

    def sum(self, worker_weights: Array | None = None) -> Array:
        """Returns the weighted sum of the values, the shape of x.

        Args:
          worker_weights: further weights by worker, shape (n,).

        Raises:
          ValueError: nothing was collected.
        """
        if self._of_blocks is not None:
            if worker_weights is None and set(self._weights) <= {1.0}:
                return self._sum_of_columns(*self._of_blocks)
            self._arrivals, self._weights = self.parts
            self._blocks, self._in_blocks, self._of_blocks = [], 0, None
        if not self._arrivals:
            raise ValueError("the sum of no gradients has no shape")
        weights = np.array(self._weights)
        if worker_weights is not None:
            weights *= worker_weights[[arrival.worker for arrival in self._arrivals]]
        source = self._arrivals[0].source
        if source is None:
            return sum_one_by_one(self._arrivals, weights)
        return source.weighted_sum(self._arrivals, weights)

    def _sum_of_columns(self, task: Gradient, source: GroupSource) -> Array:
        workers: list[Any] = []
        numbers: list[Any] = []
        done = 0
        for before, block in (*self._blocks, (len(self._arrivals), None)):
            alone = self._arrivals[done:before]
            workers.append(np.array([arrival.worker for arrival in alone], dtype=np.intp))
            numbers.append(np.array([arrival.number for arrival in alone], dtype=np.int64))
            if block is not None:
                workers.append(block.workers)
                numbers.append(block.numbers)
            done = before
        columns = np.concatenate(workers), np.concatenate(numbers)
        return source.sum_of_group(task, *columns, np.ones(len(columns[0])))

    def mean(self) -> Array:
        """Returns the sum divided by the number of arrivals, the shape of x."""
        total = self.sum()
        total /= self.count
        return total


class MessageSum:
    """Collects the messages of many workers and sums them, each worker's with a weight of its own.

    In virtual time nothing is kept of a message but that it came: the messages of one task are one sum over their
    supports. In real time messages are added as they come. Adding an arrival makes it used.

    Args:
      shape: of x.
      by_worker: whether weights are known only at the end: then in real time there is a sum for each worker.
    """

    def __init__(self, shape: tuple[int, ...], by_worker: bool = False) -> None:
        self._shape = shape
        self._totals: dict[int, Array] | None = {} if by_worker else None
        self._total: Array | None = None
        self._first: list[Arrival] = []
        self._counts: dict[int, int] = {}
        self._weights: dict[int, float] = {}

    @classmethod
    def of(cls, *parts: Any) -> MessageSum:
        """Returns the sum whose :attr:`parts` these are."""
        found = cls(parts[0])
        _, found._total, found._first, found._counts, found._weights, found._totals = parts
        return found

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it has collected, as :meth:`of` takes it."""
        return self._shape, self._total, self._first, self._counts, self._weights, self._totals

    @property
    def counts(self) -> dict[int, int]:
        """How many messages of each worker were collected, where weights are known only at the end."""
        return self._counts

    def weigh(self, weights: Mapping[int, float]) -> None:
        """Gives workers other weights than their messages came with, before the sum is made."""
        self._weights.update(weights)

    def add(self, arrival: Arrival, weight: float = 1.0) -> None:
        """Adds ``weight`` times the value of the next message of a worker's task; the messages come in order."""
        arrival.used = True
        worker = arrival.worker
        if arrival.source is None or arrival.source.adds_as_they_come:
            if self._totals is None:
                added = float(weight) * arrival.value
                self._total = added if self._total is None else self._total + added
                return
            known = self._totals.get(worker)
            self._totals[worker] = arrival.value if known is None else known + arrival.value
            self._counts[worker] = self._counts.get(worker, 0) + 1
            self._weights[worker] = weight
        elif worker in self._counts:
            self._counts[worker] += 1
        else:
            self._first.append(arrival)
            self._counts[worker] = 1
            self._weights[worker] = weight

    def sum(self) -> Array:
        """Returns the weighted sum, the shape of x: of the workers in the order in which their first messages came."""
        total = self._total
        for worker, found in self._sums_of_workers():
            # A plain float: a number of NumPy would make float64 of float32.
            added = float(self._weights[worker]) * found
            total = added if total is None else total + added
        return np.zeros(self._shape) if total is None else total

    def _sums_of_workers(self) -> Iterator[tuple[int, Array]]:
        yield from (self._totals or {}).items()
        for arrival in self._first:
            assert arrival.source is not None
            yield arrival.worker, arrival.source.sum_of_messages(arrival, self._counts[arrival.worker])


def sum_one_by_one(arrivals: Sequence[Arrival], weights: Array) -> Array:
    """Returns sum_j weights[j] * arrivals[j].value, added in the order of the arrivals."""
    # Plain floats: a number of NumPy would make float64 of float32.
    first, *others = weights.tolist()
    total: Array = first * arrivals[0].value
    for arrival, weight in zip(arrivals[1:], others, strict=True):
        # New memory costs more than the sum: none where nothing is weighed.
        total += arrival.value if weight == 1.0 else weight * arrival.value
    return total
