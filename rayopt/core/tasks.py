"""What a worker computes. A task is immutable by convention and carries its version of x."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.keys import subkey

Array = NDArray[np.float64]
FLOAT_BITS = 64
"""Bits of a float, as rayopt computes and sends it where a problem says nothing else."""
MANY = 2**28
"""Messages of a task that goes on until it is stopped."""
BYTES_PER_STEP = 64
"""Of the samples that a task of local steps draws, at the least."""


def float_bits_of(dtype: Any) -> int:
    """Returns the bits of a float of this dtype."""
    return 8 * int(np.dtype(dtype).itemsize)


def message_bits(compressor: Any, dimension: int, float_bits: int) -> int:
    """Returns the bits of a message of a vector, compressed or, with None, as it is."""
    if compressor is None:
        return float_bits * dimension
    # Compressors of other packages need not know more than 64 bits.
    other = () if float_bits == FLOAT_BITS else (float_bits,)
    found: int = compressor.bits(dimension, *other)
    return found


class Oracle(Protocol):
    """What a task needs of a problem (see ``rayopt.problems.base.Problem``)."""

    statistics_size: int

    def draw(self, worker: int, key: int, count: int = 1) -> Any: ...
    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any: ...
    def gradient(self, x: Array, sample: Any, checkpoint: Any = None) -> Array: ...
    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array: ...
    def gradient_and_statistics(self, x: Array, sample: Any, checkpoint: Any = None) -> Array: ...
    def component_gradient(self, x: Array, indices: Any, weights: Array | None = None) -> Array: ...
    def component_difference(self, x: Array, y: Array, indices: Any, weights: Array | None = None) -> Array: ...


class Gradient:
    """The mean of ``count`` stochastic gradients at x.

    Args:
      x: the point, shape (dimension,) or (G, dimension); never changed afterwards.
      version: the number k of the iterate x^k.
      count: how many stochastic gradients.

    Attributes:
      cost: multiplies one drawn duration of a stochastic gradient.
      draws: how many durations are drawn, and task numbers used; the task takes their sum.
      time_limit: fleet seconds after which the worker gives up and reports ``ok=False``; equal is in time.
      compressor: of the reply; None sends its floats as they are.
      download: the compressor of what is sent to the worker; None sends x as it is.
      messages: of which the reply consists, each the same value compressed anew.
    """

    __slots__ = ("cost", "count", "version", "x")

    estimates_gradient: ClassVar[bool] = True
    """Whether the value is a stochastic gradient at x, and not something else that was computed from there."""

    sums_one_by_one: ClassVar[bool] = False
    """Whether :meth:`evaluate_sum` adds up :meth:`evaluate` of one sample after the other."""

    draws: int = 1
    time_limit: float = math.inf
    compressor: Any = None
    download: Any = None
    messages: int = 1

    @property
    def can_travel(self) -> bool:
        """Whether another process than the method's own can compute the value in virtual time."""
        return True

    @property
    def component(self) -> int:
        """The index of the component of a finite sum that the task is about, -1 if it is about none or several."""
        return -1

    def __init__(self, x: Array, version: int, count: int = 1) -> None:
        self.x = x
        self.version = version
        self.count = count
        self.cost = count

    @property
    def group(self) -> tuple[Any, ...]:
        """Tasks of one group are summed in one product."""
        return (type(self), id(self.x), self.count)

    def at(self, x: Array | None) -> Gradient:
        """Returns the same task at another point, or without one to travel apart from it."""
        other = copy.copy(self)
        other.x = x  # type: ignore[assignment]
        return other

    def draw(self, problem: Oracle, worker: int, key: int) -> Any:
        """Returns the sample of the task, a function of its key alone."""
        return problem.draw(worker, key, self.count)

    def draw_many(self, problem: Oracle, workers: NDArray[np.integer], keys: NDArray[np.uint64]) -> Any:
        """Returns :meth:`draw` of many tasks of this group, stacked on the first axis."""
        return problem.draw_many(workers, keys, self.count)

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns the gradient on a sample, the shape of x; behind it the problem's statistics, if it has any."""
        if problem.statistics_size:
            return problem.gradient_and_statistics(self.x, sample, checkpoint)
        return problem.gradient(self.x, sample, checkpoint)

    def evaluate_sum(self, problem: Oracle, samples: Any, weights: Array | None) -> Array:
        """Returns sum_j weights[j] * evaluate(samples[j]), in one product if nothing but x and the samples is in it."""
        if problem.statistics_size:
            weights = np.ones(len(samples)) if weights is None else weights
            return weighted_total(self.x, (self.evaluate(problem, sample) for sample in samples), weights)
        return problem.gradient_sum(self.x, samples, weights)


class Trial(Gradient):
    """An attempt at one stochastic gradient at x, given up when it takes too long.

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      time_limit: fleet seconds after which the worker gives up.
    """

    __slots__ = ("time_limit",)

    def __init__(self, x: Array, version: int, time_limit: float) -> None:
        super().__init__(x, version)
        self.time_limit = time_limit


class Series(Gradient):
    """Stochastic gradients at x, one after the other, and one reply at the end: their mean.

    It takes as long as so many tasks of one gradient: each has its own duration.

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      count: how many stochastic gradients.
    """

    __slots__ = ("draws",)

    def __init__(self, x: Array, version: int, count: int) -> None:
        super().__init__(x, version, count)
        self.cost = 1
        self.draws = count


class SummedOneByOne(Gradient):
    """A task whose values have no product in common: sums add them one after the other."""

    __slots__ = ()

    sums_one_by_one = True

    def evaluate_sum(self, problem: Oracle, samples: Sequence[Any], weights: Array | None) -> Array:
        """Returns sum_j weights[j] * evaluate(samples[j]), the shape of x."""
        weights = np.ones(len(samples)) if weights is None else weights
        return weighted_total(self.x, (self.evaluate(problem, sample) for sample in samples), weights)


class LocalSGD(SummedOneByOne):
    """Steps of SGD on the worker's own data, from x to y; the reply is x - y.

    Args:
      x: where to start, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      steps: how many.
      step_size: of every step, a float or shape (G, 1).
    """

    __slots__ = ("step_size",)

    estimates_gradient = False

    def __init__(self, x: Array, version: int, steps: int, step_size: Any) -> None:
        super().__init__(x, version, steps)
        self.step_size = step_size

    def draw(self, problem: Oracle, worker: int, key: int) -> list[Any]:
        """Returns the samples of all steps, a function of the task's key alone."""
        return [problem.draw(worker, subkey(key, step)) for step in range(self.count)]

    def draw_many(self, problem: Oracle, workers: NDArray[np.integer], keys: NDArray[np.uint64]) -> list[list[Any]]:
        """Returns :meth:`draw` of many tasks."""
        return [self.draw(problem, worker, key) for worker, key in zip(workers.tolist(), keys.tolist(), strict=True)]

    def evaluate(self, problem: Oracle, sample: Sequence[Any], checkpoint: Any = None) -> Array:
        """Returns x - y, the shape of x; behind it the mean of the steps' statistics, if the problem has any."""
        y, dimension, has_statistics = self.x, self.x.shape[-1], problem.statistics_size > 0
        gradient = problem.gradient_and_statistics if has_statistics else problem.gradient
        statistics: Any = 0.0
        for drawn in sample:
            found = gradient(y, drawn, checkpoint)
            y = y - self.step_size * found[..., :dimension]
            if has_statistics:
                statistics = statistics + found[..., dimension:]
        return np.concatenate([self.x - y, statistics / self.count], axis=-1) if has_statistics else self.x - y


class Component(Gradient):
    """The sum of gradients of components of a finite sum f = (1/m) sum_j f_j, of indices that the server has chosen.

    The cost is one unit per component.

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      indices: of the components: one number, or an array of them, which may repeat; None in the prototype of tasks of
        one component each.

    Attributes:
      weights: of the components in the sum; None for 1 each.
    """

    __slots__ = ("indices", "weights")

    estimates_gradient = False

    def __init__(self, x: Array, version: int, indices: Any) -> None:
        super().__init__(x, version, 1 if indices is None or isinstance(indices, int) else len(indices))
        self.indices = indices
        self.weights: Array | None = None

    @property
    def component(self) -> int:
        return self.indices if isinstance(self.indices, int) else -1

    @property
    def group(self) -> tuple[Any, ...]:
        return (type(self), id(self.x))

    def of(self, index: int) -> Component:
        """Returns the task that differs from this one of one component in its index alone."""
        return Component(self.x, self.version, index)

    def merged(self, tasks: Sequence[Component], weights: Array) -> Component:
        """Returns the task whose value is the weighted sum of those of tasks at the point of this one."""
        found = copy.copy(self)
        indices = [task.indices for task in tasks]
        if all(isinstance(index, int) for index in indices):
            found.indices, found.weights = np.array(indices), np.asarray(weights, dtype=np.float64)
        else:
            found.indices = np.concatenate([np.atleast_1d(index) for index in indices])
            found.weights = np.repeat(weights, [task.count for task in tasks])
        found.count = len(found.indices)
        return found

    def draw(self, problem: Oracle, worker: int, key: int) -> Any:
        """Returns nothing: the server has chosen."""
        return None

    def draw_many(self, problem: Oracle, workers: NDArray[np.integer], keys: NDArray[np.uint64]) -> Any:
        """Returns nothing, as often as there are tasks."""
        return [None] * len(workers)

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns the sum of the gradients of the components at x, the shape of x."""
        return problem.component_gradient(self.x, np.atleast_1d(self.indices), self.weights)

    def evaluate_sum(self, problem: Oracle, samples: Any, weights: Array | None) -> Array:
        """Returns the value times the sum of the weights: tasks with other indices are merged before."""
        return self.evaluate(problem, None) * (len(samples) if weights is None else float(np.sum(weights)))


class Difference(Component):
    """The sum of grad f_j(x) - grad f_j(y) over components of a finite sum, of indices that the server has chosen.

    The cost is two units per component.

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      y: the point before, the shape of x.
      version: the number k of the iterate x^k.
      indices: of the components: one number, or an array of them, which may repeat.
    """

    __slots__ = ("y",)

    def __init__(self, x: Array, y: Array, version: int, indices: Any) -> None:
        super().__init__(x, version, indices)
        self.y = y
        self.cost = 2 * self.count

    @property
    def group(self) -> tuple[Any, ...]:
        return (type(self), id(self.x), id(self.y))

    def of(self, index: int) -> Difference:
        return Difference(self.x, self.y, self.version, index)

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns the sum of the differences, the shape of x."""
        return problem.component_difference(self.x, self.y, np.atleast_1d(self.indices), self.weights)


class Message(SummedOneByOne):
    """A stochastic gradient at x that is sent compressed: C(g(x)), or C(g(x) - g(y) - shift).

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      compressor: C (see ``rayopt.compression``); None sends the floats as they are.
      count: how many stochastic gradients g is the mean of.
      messages: how many messages C_1, C_2, ... of the one value are sent, with draws of their own.
      y: a point before x whose gradient on the same sample is subtracted, the shape of x; it costs as much again.
      shift: what else is subtracted, the shape of x.
      keeps: (s, rate) if the worker keeps the shift itself, s times changed by ``shift + rate * message`` from zeros:
        in real time it is sent only to a process that has lost it.
      momentum: (v, rate) if what is sent is v + rate (g(x) - v) in place of g(x): the worker's own mean of its
        gradients, the shape of x, which :meth:`evaluate` changes in place to that. It needs ``shift``, and ``keeps``,
        which numbers the changes. In real time v never travels: the worker's process keeps it, from zeros on.
      download: the compressor of what the worker is sent; None for x as it is.
    """

    __slots__ = ("compressor", "download", "keeps", "messages", "momentum", "shift", "y")

    estimates_gradient = False

    def __init__(
        self,
        x: Array,
        version: int,
        compressor: Any,
        count: int = 1,
        messages: int = 1,
        y: Array | None = None,
        shift: Array | None = None,
        keeps: tuple[int, float] | None = None,
        momentum: tuple[Any, float] | None = None,
        download: Any = None,
    ) -> None:
        super().__init__(x, version, count)
        self.momentum = momentum
        self.keeps = keeps
        self.compressor = compressor
        self.messages = messages
        self.y = y
        self.shift = shift
        self.download = download
        if y is not None:
            self.cost = 2 * count

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns what is to be compressed, the shape of x."""
        value = problem.gradient(self.x, sample, checkpoint)
        if self.y is not None:
            value = value - problem.gradient(self.y, sample, checkpoint)
        if self.momentum is not None:
            mean, rate = self.momentum
            mean += rate * (value - mean)
            value = mean
        return value if self.shift is None else value - self.shift

    @property
    def can_travel(self) -> bool:
        return self.momentum is None

    def with_kept(self, shift: Array | None, mean: Array | None = None) -> Message:
        """Returns the same task with another shift and mean, or without them to travel to a worker that keeps them."""
        found = copy.copy(self)
        found.shift = shift
        if self.momentum is not None:
            found.momentum = mean, self.momentum[1]
        return found


class Forward(Message):
    """Messages of the mean of gradients that the worker has computed before: no computation, and no end of its own.

    Args:
      x: the point, shape (dimension,) or (G, dimension).
      version: the number k of the iterate x^k.
      compressor: C of each message.
      collected: the worker's gradients (a :class:`~rayopt.core.arrivals.GradientSum`).
      messages: how many.

    Attributes:
      numbers: in real time, those of the tasks that brought the gradients, in place of ``collected``: the worker's
        process has them.
    """

    __slots__ = ("collected", "numbers")

    def __init__(self, x: Array, version: int, compressor: Any, collected: Any, messages: int = MANY) -> None:
        super().__init__(x, version, compressor, messages=messages)
        self.collected = collected
        self.numbers: tuple[int, ...] = ()
        self.cost = 0

    def to_send(self) -> Forward:
        """Returns the same task without the gradients, to travel to the worker that has them."""
        found = copy.copy(self)
        found.collected = None
        found.numbers = tuple(arrival.number for arrival in self.collected.parts[0])
        return found

    @property
    def can_travel(self) -> bool:
        return False

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns the mean of what was collected, the shape of x."""
        found: Array = self.collected.mean()
        return found


class OneComponentEach(Sequence[Component]):
    """Tasks of one component each at one point, made when one is looked at: most of a large fleet's never arrive.

    Args:
      prototype: what the tasks have in common; its ``indices`` are None.
      indices: of their components, shape (tasks,).
    """

    def __init__(self, prototype: Component, indices: NDArray[np.integer]) -> None:
        self.prototype = prototype
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return OneComponentEach(self.prototype, self.indices[position])
        return self.prototype.of(int(self.indices[position]))


def weighted_total(like: Array, values: Iterable[Array], weights: Iterable[float]) -> Array:
    """Returns sum_j weights[j] * values[j] in this order, the type of ``like``; one value is needed at a time."""
    total: Array | None = None
    for value, weight in zip(values, weights, strict=True):
        if total is None:
            # Not the shape of ``like``: statistics may stand behind gradients.
            total = np.zeros(value.shape, dtype=like.dtype)
        # A plain float: a number of NumPy would make float64 of float32.
        total += float(weight) * value
    return np.zeros_like(like) if total is None else total
