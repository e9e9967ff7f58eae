"""The contract of a method: a plain object that is fed arrivals."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.compression import unbiased
from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, NoTheory, nearest
from rayopt.core.html import object_html
from rayopt.core.tasks import Gradient, Message
from rayopt.methods.controls import WITHOUT, Average, Controls, Learning, StepSize, StepSizes
from rayopt.methods.server import Muon
from rayopt.problems.constants import setting_of, translated_errors
from rayopt.theory.setting import SYMBOLS, Setting

if TYPE_CHECKING:
    from rayopt.latency.workers import TaskTimes, Workers
    from rayopt.problems.base import Problem

Array = NDArray[np.float64]


LARGE_POINT = 2**18
"""Bytes from which on memory is saved in an update."""


class Repeat(NamedTuple):
    """What a method does with each of its next arrivals: it adds those of its version to a sum, and gives a task again.

    Attributes:
      task: what every worker that arrives is given.
      batch: where gradients at x^k are added.
      most: how many gradients may be added before one is looked at by itself.
    """

    task: Gradient
    batch: GradientSum
    most: int


class Fleet(Protocol):
    """What a method may touch of the fleet it commands.

    Attributes:
      n: number of workers, numbered from 0.
      now: fleet seconds since the start.
      random: the method's own generator, part of its state.
      expected_times: mean seconds per gradient of each worker, shape (n,), as far as the
        server knows; None if it knows none.
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

        None if the server does not know the law of the times.
        """

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message of each worker, both of shape (n,).

        Args:
          compressor: of the message; None for d floats.

        Returns:
          None if the server does not know the times.
        """

    def wake(self, seconds: float) -> None:
        """Asks for an arrival whose worker is None after so many seconds."""


class Method:
    """A parallel SGD method: state, and two reactions.

    A method never sleeps, never sees Ray and never draws a latency. A subclass stores its
    arguments in ``__init__``, gives the first tasks in :meth:`start` and reacts to each
    arrival in :meth:`receive`.

    Args:
      step_size: gamma > 0, a schedule (see ``rayopt.schedules``), or a list of G of them: then x has shape
        (G, dimension) and all members of the grid run on one event schedule.
      **controls: ``server``, ``weight_decay``, ``clip_norm`` and ``averaging`` (see
        ``rayopt.methods.controls.Controls``); none is used by default, as in the papers.

    Attributes:
      x: the current iterate x^k, shape (dimension,) or (G, dimension); a new array after each update.
      updates: k, the number of updates made.
      now: fleet seconds, where a step size depends on them.
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
    answers_each: bool = False
    """Whether an arrival makes one update at most, and is answered by :meth:`point` for its worker and nothing else."""
    tasks_are_gradients: ClassVar[bool] = True
    """Whether every task is one stochastic gradient, so that its duration is that of one."""

    refused_controls: ClassVar[Mapping[str, str]] = {}
    """Which of :class:`~rayopt.methods.controls.Controls` the method cannot take, with the reason."""

    downlink: Any = None
    """The compressor of what workers are sent; None for x as it is."""
    compressor: Any = None
    """The compressor of what workers send; None for floats as they are."""

    x: Array
    updates: int
    components: int
    """m of a finite sum, set before ``prepare`` where the method needs it."""

    now: float = 0.0
    _is_plain: bool = False
    _statistics_count: int = 0
    _first_statistics: tuple[Array, Array] | None = None
    statistics: Array | None = None
    """Running statistics of the problem that the server keeps, shape (size,) or (G, size); None if there are none."""
    keeps_statistics: ClassVar[bool] = True
    """Whether the server makes linear combinations of what workers send, and thus of statistics too."""
    parameter_shapes: Sequence[Sequence[int]] | None = None
    """Shapes of the parameters in x, set before ``prepare`` where the problem tells them."""

    def __init__(self, step_size: StepSize, **controls: Unpack[Controls]) -> None:
        self._step_sizes = StepSizes(step_size)
        self.follows_time = self._step_sizes.follows_time
        self._learning = Learning(type(self).__name__, self.refused_controls, **controls)
        self._average = None if self._learning.averaging is None else Average(self._learning.averaging)
        # Read in every update: a schedule alone is asked anew.
        self._constant_step = None if self._step_sizes.changes else self._step_sizes.at(0, 0.0)

    @property
    def step_size(self) -> Any:
        """gamma: a number or a schedule, or a list of them, whatever they came in."""
        return self._step_sizes.given

    @property
    def _step(self) -> Any:
        """gamma_k: a float, or shape (G, 1)."""
        return self._constant_step if self._constant_step is not None else self._scaled_step(1.0)

    def _scaled_step(self, scale: float) -> Any:
        """scale * gamma_k: a float, or shape (G, 1)."""
        return self._step_sizes.at(self.updates, self.now, self.x.dtype, scale)

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
        arguments = cls.arguments()
        for name in given:
            if name not in SYMBOLS and name not in arguments:
                everything = (*(key for key, found in arguments.items() if not is_optional(found)), *SYMBOLS)
                raise InvalidInput(name, f"unknown{nearest(name, everything)}", ", ".join(everything))
        known = {**cls.known_constants(given, problem, workers), **{k: v for k, v in given.items() if k in SYMBOLS}}
        setting = setting_of(problem, workers, eps, known)
        with translated_errors(NoTheory):
            found = cls.theory(setting)
        return cls(**{**found, **{name: value for name, value in given.items() if name in arguments}})

    @classmethod
    def known_constants(cls, given: dict[str, Any], problem: Problem, workers: Workers) -> dict[str, float]:
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
        self.x = np.array(np.broadcast_to(start_point, (*self._step_sizes.grid, *start_point.shape)))
        self.updates = 0
        if isinstance(self._constant_step, np.ndarray):
            self._constant_step = self._constant_step.astype(self.x.dtype)
        self._server_state: dict[str, Any] = {}
        if isinstance(self._learning.server, Muon):
            shapes = self._learning.server.shapes or self.parameter_shapes or [[start_point.shape[-1]]]
            self._server_state["shapes"] = self._learning.server.checked(shapes, start_point.shape[-1])
        self._statistics_count = 0
        if self._first_statistics is not None:
            first = self._first_statistics[0]
            self.statistics = np.array(np.broadcast_to(first, (*self._step_sizes.grid, *first.shape)))
        self._is_plain = self._has_plain_updates
        self._average_state: dict[str, Any] = {} if self._average is None else {"mean": self.x}

    def use_problem(self, problem: Problem) -> None:
        """Tells the method what it must know of the problem: components of a finite sum, shapes of parameters."""
        self.use_components(problem.components)
        self.parameter_shapes = problem.parameter_shapes
        self._first_statistics = problem.start_statistics() if problem.statistics_size else None
        if self._first_statistics is not None and (not self.keeps_statistics or self.compressor is not None):
            raise InvalidInput("problem.buffers", f"average: {type(self).__name__} keeps no running statistics",
                               "local or frozen")  # fmt: skip

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

    def repeats(self) -> Repeat | None:
        """Returns what the next arrivals do, if many of them do the same; None if each is looked at by itself."""
        return None

    @property
    def asks_for_gradients(self) -> bool:
        """Whether the tasks of :meth:`point` are plain stochastic gradients."""
        return self.compressor is None and type(self).point is Method.point

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
        if self._average is None:
            return self.x
        return self._average.point(self._average_state).astype(self.x.dtype, copy=False)

    @property
    def node_points(self) -> Array | None:
        """The points of the nodes, shape (n, dimension) or (n, G, dimension); None if they have none of their own."""
        return None

    @property
    def controls(self) -> dict[str, Any]:
        """The controls that are not as in the paper, by name."""
        return self._learning.parameters

    @property
    def note(self) -> str:
        """What a reader of the method's results must know, a sentence or ""."""
        server, shapes = self._learning.server, self.parameter_shapes
        harmless = ("averaging", "server") if server is not None and server.is_plain else ("averaging",)
        changed = [f"{name} = {value!r}" for name, value in self.controls.items() if name not in harmless]
        has_theorem = type(self).theory.__func__ is not Method.theory.__func__  # type: ignore[attr-defined]
        found = []
        if changed and has_theorem:
            found.append(f"its theorem is about plain descent, not about {', '.join(changed)}")
        if isinstance(server, Muon) and shapes is not None and all(len(s) < 2 for s in server.shapes or shapes):
            found.append("x has no matrices here, so muon is Nesterov's momentum")
        return "; ".join(found)

    def descend(self, gradient: Array, scale: float = 1.0) -> None:
        """x^{k+1} = x^k - scale * step_size * d^k, d^k the gradient unless a control changes it; k <- k + 1."""
        if self._is_plain:
            # Most updates: nothing but the listing, in as few steps as there are.
            step: Any = self._constant_step
            self.x = self.x - gradient * (step if scale == 1.0 else scale * step)
            self.updates += 1
            return
        step = self._step if scale == 1.0 else self._scaled_step(scale)
        if self.statistics is not None:
            gradient = self._keep_statistics(gradient)
        if not self._learning.is_plain:
            gradient = self._learning.direction(gradient, self.x, self._server_state)
        change = gradient * step
        # In the place of the product: large points are a matter of memory, not of arithmetic.
        fits = change.dtype == self.x.dtype and change.shape == self.x.shape
        self._move_to(np.subtract(self.x, change, out=change) if fits else self.x - change)

    def replace_by(self, change: Array, server_step_size: float = 1.0) -> None:
        """x^{k+1} = x^k - server_step_size * d^k for a mean ``change`` of x - y over models y; k <- k + 1."""
        if self.statistics is not None:
            change = self._keep_statistics(change)
        if not self._learning.is_plain:
            change = self._learning.direction(change, self.x, self._server_state)
        self._move_to(self.x - (change if server_step_size == 1.0 else change * server_step_size))

    @property
    def _has_plain_updates(self) -> bool:
        """Whether an update is that of the listing, of a small x in float64, with a step size that does not change."""
        is_listed = self._learning.is_plain and self._average is None and self.statistics is None
        return is_listed and not self._step_sizes.changes and self.x.dtype == np.float64 and self.x.nbytes < LARGE_POINT

    def _keep_statistics(self, sent: Array) -> Array:
        """Takes the mean of the statistics behind a gradient into the running ones; returns the gradient."""
        dimension = self.x.shape[-1]
        if sent.shape[-1] > dimension and self._first_statistics is not None and self.statistics is not None:
            mean = sent[..., dimension:-1] / sent[..., -1:]
            momentum = self._first_statistics[1]
            # Updates without a reply bring none.
            self._statistics_count += 1
            share = np.where(np.isnan(momentum), 1.0 / self._statistics_count, momentum)
            self.statistics = (self.statistics + share * (mean - self.statistics)).astype(self.x.dtype)
        return sent[..., :dimension]

    @property
    def evaluated_point(self) -> Array:
        """What metrics are computed at: the estimate, and behind it the running statistics if there are any."""
        if self.statistics is None:
            return self.estimate
        return np.concatenate([self.estimate, self.statistics], axis=-1)

    def _move_to(self, x: Array) -> None:
        # Sums with weights that are float64 may be; x keeps the type of the problem.
        self.x = x if x.dtype == self.x.dtype else x.astype(self.x.dtype)
        self.updates += 1
        if self._average is not None:
            self._average.add(self.x, self.updates, self._average_state)

    def point(self) -> Gradient:
        """Returns the task of one stochastic gradient at (x^k, k), compressed if the method has a compressor."""
        if self.compressor is None:
            return Gradient(self.x, self.updates)
        return Message(self.x, self.updates, self.compressor)

    @classmethod
    def arguments(cls) -> dict[str, inspect.Parameter]:
        """Returns the arguments of the method by name, the controls among them if it takes any."""
        found = dict(inspect.signature(cls).parameters)
        takes_controls = [name for name, argument in found.items() if argument.kind is argument.VAR_KEYWORD]
        for name in takes_controls:
            del found[name]
            found |= {key: inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=without)
                      for key, without in WITHOUT.items()}  # fmt: skip
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that make an equal method; a compressor that is None is left out."""
        found = {name: getattr(self, name) for name in self.arguments() if name not in WITHOUT}
        found = {name: value for name, value in found.items() if name != "compressor" or value is not None}
        return found | self.controls

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the arguments that make an equal method, as scikit-learn's estimators do."""
        return self.parameters

    def set_params(self, **given: Any) -> Self:
        """Changes arguments of a method that has not run, and returns it.

        Raises:
          InvalidInput: a name is unknown, or a value is not allowed.
        """
        known = self.arguments()
        for name in given:
            if name not in known:
                raise InvalidInput(name, f"unknown{nearest(name, known)}", ", ".join(known))
        fresh = type(self)(**{**self.parameters, **given})
        self.__dict__.clear()
        self.__dict__.update(fresh.__dict__)
        return self

    def __sklearn_clone__(self) -> Method:
        return self.fresh()

    def members(self) -> list[float]:
        """The step sizes of the grid, in order; one if there is no grid. A schedule is known by its gamma."""
        return list(self._step_sizes.members)

    def fresh(self) -> Method:
        """Returns an equal method that has not run."""
        return type(self)(**copy.deepcopy(self.parameters))

    def with_step_size(self, step_size: float) -> Method:
        """Returns a method that differs from this one in its step size alone."""
        return type(self)(**{**copy.deepcopy(self.parameters), "step_size": self._step_sizes.alone(step_size)})

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({arguments})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of a method: its arguments and its paper."""
        return object_html(self, {**self.parameters, **({"paper": self.paper} if self.paper else {})})


def is_optional(argument: inspect.Parameter) -> bool:
    """Whether an argument is an optional part of every method, listed only if it is given."""
    return (argument.name == "compressor" and argument.default is None) or argument.name in WITHOUT


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
