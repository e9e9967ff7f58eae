"""The contract of a method: a plain object that is fed arrivals."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rayopt.compression import unbiased
from rayopt.core.arrivals import Arrival
from rayopt.core.errors import InvalidInput, NoTheory, nearest, positive
from rayopt.core.html import object_html
from rayopt.core.tasks import Gradient, Message
from rayopt.problems.constants import setting_of, translated_errors
from rayopt.theory.setting import SYMBOLS, Setting

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes, Workers
    from rayopt.problems.base import Problem

Array = NDArray[np.float64]


class Fleet(Protocol):
    """What a method may touch of the fleet it commands.

    Attributes:
      n: number of workers, numbered from 0.
      now: fleet seconds since the start.
      random: the method's own generator, part of its state.
      expected_times: mean seconds per gradient of each worker, shape (n,), as far as the
        server is told; None if it is told nothing.
      shard_sizes: rows of data that each worker holds, shape (n,); None if all have the same.
    """

    n: int
    now: float
    random: np.random.Generator
    expected_times: Array | None
    shard_sizes: NDArray[np.integer] | None

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Starts the task on one worker or on an array of workers (or one task each); cancels what they computed."""

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, both of shape (n,).

        None if the server is not told the law of the times.
        """

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message of each worker, both of shape (n,).

        Args:
          compressor: of the message; None for d floats.

        Returns:
          None if the server is not told the times.
        """

    def wake(self, seconds: float) -> None:
        """Asks for an arrival whose worker is None after so many seconds."""


class Method:
    """A parallel SGD method: state, and two reactions.

    A method never sleeps, never sees Ray and never draws a latency. A subclass stores its
    arguments in ``__init__``, gives the first tasks in :meth:`start` and reacts to each
    arrival in :meth:`receive`.

    Args:
      step_size: gamma > 0, or a list of G step sizes: then x has shape (G, dimension) and all
        members of the grid run on one event schedule.

    Attributes:
      x: the current iterate x^k, shape (dimension,) or (G, dimension); a new array after each update.
      updates: k, the number of updates made.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    control_depends_on_x: ClassVar[bool] = False
    heterogeneous: ClassVar[bool] = False
    """Whether the method is made for workers with different data."""
    convex: ClassVar[bool] = False
    """Whether the method is made for convex functions alone."""
    waits_for_everyone: ClassVar[bool] = False
    """Whether one worker that never answers ends all progress."""
    needs_components: ClassVar[bool] = False
    """Whether the method is made for finite sums, of which the server chooses components."""
    decentralized: ClassVar[bool] = False
    """Whether the method runs as a program on every node of a network, and not at a server."""
    vectors_per_worker: ClassVar[int] = 0
    """How many vectors of the length of x the method keeps for each worker."""
    tasks_are_gradients: ClassVar[bool] = True
    """Whether every task is one stochastic gradient, so that its duration is that of one."""

    downlink: Any = None
    """The compressor of what workers are sent; None for x as it is."""
    compressor: Any = None
    """The compressor of what workers send; None for floats as they are."""

    x: Array
    updates: int
    components: int
    """m of a finite sum, set before ``prepare`` where the method needs it."""

    def __init__(self, step_size: float | Sequence[float]) -> None:
        self._step: Any = steps(step_size)
        # Plain numbers, whatever they came in: methods are compared, written down and shown by their arguments.
        self.step_size: float | list[float] = self._step if isinstance(self._step, float) else self.members()

    def compress_with(self, given: Any) -> None:
        """Takes the compressor of every reply, for a method that asks for plain gradients; None for none.

        Raises:
          InvalidInput: it is biased, or it needs all workers to act in concert.
        """
        if given is None:
            return
        self.compressor = unbiased(given, type(self).__name__)
        if self.compressor.common:
            raise InvalidInput("compressor", f"{self.compressor!r} needs all workers to act in concert",
                               "a compressor of each worker alone, or perm_k_marina")  # fmt: skip

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        """Returns the arguments that theory recommends, by name (see ``rayopt.theory.parameters``).

        Raises:
          MissingConstant: the setting does not tell a constant that it takes.
          InvalidInput: there is no theory of this method here.
        """
        raise InvalidInput("theory", f"no theory of {cls.__name__} is known here", "its arguments, given by hand")

    @classmethod
    def from_theory(cls, problem: Problem, workers: Workers, eps: float, **given: Any) -> Self:
        """Returns the method with the arguments that theory recommends.

        Args:
          problem: its constants are read: smoothness, noise_variance, minimum and others.
          workers: their expected times are read; for a method that makes trials also the medians.
          eps: the accuracy: of E||grad f||^2, or of E f - f* for the methods for convex f.
          **given: constants that the problem does not know (``noise_variance=0.2``), by the fields of
            :class:`rayopt.theory.Setting`, and arguments of the method that shall be others than theory's.

        Raises:
          InvalidInput: a constant is not known (the text names it and says how to get it), the workers are none that
            a theorem is about (a :class:`~rayopt.core.errors.NoTheory`), a name is unknown, or there is no theory of
            this method here.

        Examples:
          >>> import rayopt as ro
          >>> problem, workers = ro.problems.Quadratic(dimension=10), ro.Workers(20, compute="sqrt(i)")
          >>> ro.methods.Ringmaster.from_theory(
          ...     problem, workers, eps=0.02, noise_variance=0.1, smoothness=1.0, interrupt=True)
          Ringmaster(step_size=0.05, threshold=5, interrupt=True)
        """
        arguments = inspect.signature(cls).parameters
        for name in given:
            if name not in SYMBOLS and name not in arguments:
                everything = (*(key for key, found in arguments.items() if not is_optional_compressor(found)), *SYMBOLS)
                raise InvalidInput(name, f"unknown{nearest(name, everything)}", ", ".join(everything))
        known = {**cls.told_by(given, problem, workers), **{k: v for k, v in given.items() if k in SYMBOLS}}
        setting = setting_of(problem, workers, eps, known)
        with translated_errors(NoTheory):
            found = cls.theory(setting)
        return cls(**{**found, **{name: value for name, value in given.items() if name in arguments}})

    @classmethod
    def told_by(cls, given: dict[str, Any], problem: Problem, workers: Workers) -> dict[str, float]:
        """Returns the constants that follow from arguments which theory does not choose, such as omega."""
        return {}

    def prepare(self, start_point: Array, workers: int) -> None:
        """Sets x^0 and k = 0, and checks the parameters against the number of workers.

        Args:
          start_point: x^0, shape (dimension,).
          workers: n.

        Raises:
          InvalidInput: a parameter does not fit this number of workers.
        """
        if self.compressor is not None:
            self.compressor.check(start_point.shape[-1])
        grid = np.shape(self._step)[:1]
        self.x = np.array(np.broadcast_to(start_point, (*grid, *start_point.shape)))
        self.updates = 0

    def use_network(self, network: Any) -> None:
        """Tells a method without a server on which network it runs; others do not need to know."""

    def use_components(self, components: int | None) -> None:
        """Tells a method for finite sums how many components the problem has; others do not need to know."""
        if self.needs_components:
            self.components = components or 0

    def incompatibility(self, times: TaskTimes) -> str:
        """Returns what the method cannot do with workers of such times, as the rest of a sentence about it, or ""."""
        return ""

    def start(self, fleet: Fleet) -> None:
        """Gives the workers their first tasks."""
        raise NotImplementedError

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        """Reacts to one arrival."""
        raise NotImplementedError

    def would_use(self, task: Gradient, later: int) -> bool:
        """Returns whether the value of this task would be asked for if it arrived after so many more updates.

        What it is False for is not computed ahead; where it is True in vain, work is wasted and nothing else.
        """
        return True

    needs_virtual_time: ClassVar[bool] = False
    """Whether the method runs in virtual time only."""

    @property
    def needs_shared_memory(self) -> bool:
        """Whether the method runs only where workers change x in place, not where a server receives arrivals."""
        return False

    @property
    def estimate(self) -> Array:
        """The point that is evaluated, the shape of x."""
        return self.x

    def descend(self, gradient: Array, scale: float = 1.0) -> None:
        """x^{k+1} = x^k - scale * step_size * gradient; k <- k + 1."""
        self.x = self.x - gradient * (self._step if scale == 1.0 else scale * self._step)
        self.updates += 1

    def point(self) -> Gradient:
        """Returns the task of one stochastic gradient at (x^k, k), compressed if the method has a compressor."""
        if self.compressor is None:
            return Gradient(self.x, self.updates)
        return Message(self.x, self.updates, self.compressor)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that make an equal method; no compressor is not told."""
        found = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: value for name, value in found.items() if name != "compressor" or value is not None}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the arguments that make an equal method, as scikit-learn's estimators do."""
        return self.parameters

    def set_params(self, **given: Any) -> Self:
        """Changes arguments of a method that has not run, and returns it.

        Raises:
          InvalidInput: a name is unknown, or a value is not allowed.
        """
        for name in given:
            if name not in self.parameters:
                raise InvalidInput(name, f"unknown{nearest(name, self.parameters)}", ", ".join(self.parameters))
        fresh = type(self)(**{**self.parameters, **given})
        self.__dict__.clear()
        self.__dict__.update(fresh.__dict__)
        return self

    def __sklearn_clone__(self) -> Method:
        return self.fresh()

    def members(self) -> list[Any]:
        """The step sizes of the grid, in order; one if there is no grid."""
        found: list[Any] = np.ravel(self._step).tolist()
        return found

    def fresh(self) -> Method:
        """Returns an equal method that has not run."""
        return type(self)(**copy.deepcopy(self.parameters))

    def with_step_size(self, step_size: float) -> Method:
        """Returns a method that differs from this one in its step size alone."""
        return type(self)(**{**copy.deepcopy(self.parameters), "step_size": step_size})

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({arguments})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of a method: its arguments and its paper."""
        return object_html(self, {**self.parameters, **({"paper": self.paper} if self.paper else {})})


def is_optional_compressor(argument: inspect.Parameter) -> bool:
    """Whether an argument is the compressor of a method that needs none, of which nobody is told who does not ask."""
    return argument.name == "compressor" and argument.default is None


def steps(step_size: float | Sequence[float]) -> float | Array:
    """Returns a step size as a float, or a grid of them as an array of shape (G, 1).

    Raises:
      InvalidInput: a step size is not a positive number, or the grid is empty or has one twice.
    """
    # Arrays, numbers of NumPy and Series become what they hold.
    given: Any = step_size.tolist() if hasattr(step_size, "tolist") else step_size
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        return positive("step_size", given)
    grid = [positive("step_size", step) for step in given]
    if not grid:
        raise InvalidInput("step_size", "an empty list", "a number above 0 or a list of such numbers")
    for position, step in enumerate(grid):
        if step in grid[:position]:
            raise InvalidInput("step_size", f"{step:g} stands twice in the list", "numbers that differ")
    return np.array(grid)[:, None]


def check_worker(worker: int | None, workers: int) -> None:
    """Raises InvalidInput if a worker is given that does not exist."""
    if worker is not None and worker >= workers:
        raise InvalidInput("worker", f"{worker} does not exist", f"0 to {workers - 1}")


def fastest(fleet: Fleet, worker: int | None) -> int:
    """Returns the worker that is given, or else the fastest on average.

    Raises:
      InvalidInput: none is given, and the fleet does not know who is fastest.
    """
    if worker is not None:
        return worker
    if fleet.expected_times is None:
        raise InvalidInput("worker", "the fleet does not tell who is fastest", "the number of a worker")
    return int(np.argmin(fleet.expected_times))


def everyone(fleet: Fleet) -> NDArray[np.intp]:
    """Returns the numbers of all workers."""
    return np.arange(fleet.n)
