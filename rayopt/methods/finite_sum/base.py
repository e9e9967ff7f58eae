"""What methods of finite sums share: the routines that collect gradients of components, and their state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, at_least, share
from rayopt.core.tasks import Component, Difference, OneComponentEach
from rayopt.methods.base import Array, Fleet, Method, check_worker, everyone, fastest
from rayopt.methods.controls import Controls, StepSize

BLOCK = 4096
"""Uniform numbers that are drawn at once: one by one they would cost more than an arrival."""


class FiniteSumMethod(Method):
    """A method whose server chooses which components the workers evaluate.

    Its indices come from the method's own generator when it assigns, so that methods on one seed are comparable and a
    replay is exact. Everything is plain state of the method, which a checkpoint can keep.

    Attributes:
      components: m; the run sets it before ``prepare``.
    """

    needs_components: ClassVar[bool] = True
    tasks_are_gradients: ClassVar[bool] = False

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        if not getattr(self, "components", None):
            raise InvalidInput("problem", f"{type(self).__name__} needs a finite sum", "a problem with components")
        self._uniforms = np.empty(0)
        self._next_uniform = 0
        self._sum = GradientSum()

    def uniform(self, fleet: Fleet) -> float:
        """Returns the next uniform number in [0, 1) of the method's own generator."""
        if self._next_uniform == len(self._uniforms):
            self._uniforms, self._next_uniform = fleet.random.random(BLOCK), 0
        self._next_uniform += 1
        return self._uniforms.item(self._next_uniform - 1)

    def index(self, fleet: Fleet, size: int) -> int:
        """Returns a uniform index below ``size``."""
        return int(self.uniform(fleet) * size)

    def chosen(self, fleet: Fleet, count: int) -> NDArray[np.intp]:
        """Returns so many uniform indices in [m], as so many calls of :meth:`index` would."""
        found = np.empty(count)
        filled = 0
        while filled < count:
            if self._next_uniform == len(self._uniforms):
                self._uniforms, self._next_uniform = fleet.random.random(BLOCK), 0
            part = self._uniforms[self._next_uniform : self._next_uniform + count - filled]
            found[filled : filled + len(part)] = part
            filled += len(part)
            self._next_uniform += len(part)
        return (found * self.components).astype(np.intp)

    # ---- Algorithm 2: ComputeGradient ----

    def begin_gradient(self, fleet: Fleet) -> None:
        """Gives every worker a uniform index in [m]; nothing is collected yet."""
        m = self.components
        self._is_full = True
        self._sum = GradientSum()
        # The indices that are missing stand in front of ``_missing``; a swap with the last takes one out.
        self._indices = np.arange(m)
        self._places = np.arange(m)
        self._missing = m
        everything = OneComponentEach(Component(self.x, self.updates, None), self.chosen(fleet, fleet.n))
        fleet.assign(everyone(fleet), everything)

    def collect_gradient(self, arrival: Arrival, fleet: Fleet) -> Array | None:
        """Takes one arrival of :meth:`begin_gradient`; returns the gradient when all components are there, else None.

        A component that has come already is dropped. The worker is given an index that is missing.
        """
        index = arrival.task.component
        indices, places, missing = self._indices, self._places, self._missing
        place = places.item(index)
        if place < missing:
            self._sum.add(arrival)
            self._missing = missing = missing - 1
            last = indices.item(missing)
            indices[place], indices[missing] = last, index
            places[last], places[index] = place, missing
            if not missing:
                fleet.cancel(everyone(fleet))
                return self._sum.sum() / self.components
        chosen = indices.item(int(self.uniform(fleet) * missing))
        fleet.assign(arrival.worker, Component(self.x, self.updates, chosen))
        return None

    # ---- Algorithm 3: ComputeBatchDifference, and the same of gradients ----

    def begin_batch(self, fleet: Fleet, before: Array | None) -> None:
        """Gives every worker an index, uniform in [m]; with a point before x, of a difference."""
        self._is_full = False
        self._before = before
        self._sum = GradientSum()
        fleet.assign(everyone(fleet), OneComponentEach(self._batch_task(None), self.chosen(fleet, fleet.n)))

    def collect_batch(self, arrival: Arrival, fleet: Fleet, size: int) -> Array | None:
        """Takes one arrival of :meth:`begin_batch`; returns the mean of ``size`` when they are there, else None."""
        self._sum.add(arrival)
        if self._sum.count == size:
            fleet.cancel(everyone(fleet))
            return self._sum.mean()
        fleet.assign(arrival.worker, self._batch_task(self.index(fleet, self.components)))
        return None

    def _batch_task(self, index: int | None) -> Component:
        if self._before is None:
            return Component(self.x, self.updates, index)
        return Difference(self.x, self._before, self.updates, index)


class PAGEMethod(FiniteSumMethod):
    """The probabilistic gradient estimator that Freya PAGE, PAGE, Hero PAGE and Soviet PAGE share.

    Args:
      step_size: gamma.
      batch_size: S; ceil(sqrt(m)) by default.
      probability: p in (0, 1], of a full gradient; S / (S + m) by default, Freya PAGE takes 1 / sqrt(m).
    """

    def __init__(
        self,
        step_size: StepSize,
        batch_size: int | None = None,
        probability: float | None = None,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.batch_size = None if batch_size is None else at_least("batch_size", batch_size, 1)
        self.probability = None if probability is None else share("probability", probability)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self._size = self.batch_size or math.ceil(math.sqrt(self.components))
        if self._size > self.components:
            raise InvalidInput("batch_size", f"{self._size:,} differences cost more than the full gradient of "
                               f"{self.components:,} components", f"at most {self.components:,}")  # fmt: skip
        self._chance = self.default_probability() if self.probability is None else self.probability

    def default_probability(self) -> float:
        """Returns p where none is given."""
        return self._size / (self._size + self.components)

    def start(self, fleet: Fleet) -> None:
        self._estimate: Array | None = None
        self.full_gradient(fleet)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        found = self.collect(arrival, fleet)
        if found is None:
            return
        self._estimate = found if self._is_full or self._estimate is None else self._estimate + found
        before = self.x
        self.descend(self._estimate)
        if self.uniform(fleet) < self._chance:
            self.full_gradient(fleet)
        else:
            self.differences(fleet, before)

    def full_gradient(self, fleet: Fleet) -> None:
        """Begins to compute grad f(x)."""
        raise NotImplementedError

    def differences(self, fleet: Fleet, before: Array) -> None:
        """Begins to compute the mean of S differences between x and the point before."""
        raise NotImplementedError

    def collect(self, arrival: Arrival, fleet: Fleet) -> Array | None:
        """Takes one arrival; returns what was begun when it is complete."""
        raise NotImplementedError


class SerialPAGEMethod(PAGEMethod):
    """PAGE on one worker: a full gradient is one task of m units, S differences are one of 2 S units."""

    worker: int | None

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        check_worker(self.worker, workers)

    def full_gradient(self, fleet: Fleet) -> None:
        self._is_full = True
        fleet.assign(fastest(fleet, self.worker), Component(self.x, self.updates, np.arange(self.components)))

    def differences(self, fleet: Fleet, before: Array) -> None:
        self._is_full = False
        indices = self.chosen(fleet, self._size)
        fleet.assign(fastest(fleet, self.worker), Difference(self.x, before, self.updates, indices))

    def collect(self, arrival: Arrival, fleet: Fleet) -> Array | None:
        return arrival.value / (self.components if self._is_full else self._size)


class WaitsForShares:
    """Collects one task from each of some workers and waits for all of them."""

    _sum: GradientSum
    _awaited: int
    _divisor: float

    def give_shares(self, fleet: Fleet, workers: NDArray[np.intp], tasks: Sequence[Component], divisor: float) -> None:
        """Gives each of these workers its task; the sum of their values will be divided by ``divisor``."""
        self._sum = GradientSum()
        self._awaited, self._divisor = len(workers), divisor
        fleet.assign(workers, tasks)

    def share_gradient(self, fleet: Fleet, x: Array, version: int, components: int) -> None:
        """Shares the full gradient at x out, the groups dealt anew."""
        workers, groups = dealt(fleet, components)
        self.give_shares(fleet, workers, [Component(x, version, group) for group in groups], components)

    def take_share(self, arrival: Arrival) -> Array | None:
        """Takes one arrival; returns the sum divided when all are there, else None."""
        self._sum.add(arrival)
        return self._sum.sum() / self._divisor if self._sum.count == self._awaited else None


def dealt(fleet: Fleet, components: int) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    """Returns workers and their indices: index q belongs to group q mod n, and groups go to workers at random.

    Groups are dealt anew each time, as in the authors' code; a worker whose group is empty is left out.
    """
    order = fleet.random.permutation(fleet.n)
    groups = [np.arange(group, components, fleet.n) for group in range(min(fleet.n, components))]
    return order[: len(groups)], groups
