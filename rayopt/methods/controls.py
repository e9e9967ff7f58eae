"""What any method may do with its gradient and its iterates besides what its listing says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, non_negative, positive
from rayopt.methods.schedules import Schedule, schedule
from rayopt.methods.server import ServerUpdate, below_one, server_update
from rayopt.problems.base import squared_norm

Array = NDArray[Any]
StepSize = float | Schedule | Mapping[str, Any] | Sequence[float | Schedule | Mapping[str, Any]]
"""gamma: a number, a schedule (or its mapping of a workload file), or a list of them, a grid."""
WITHOUT: dict[str, Any] = {"server": None, "weight_decay": 0.0, "clip_norm": None, "averaging": None}
"""The controls by name, with the values that leave a method as it is in its paper."""


class Controls(TypedDict, total=False):
    """Arguments of every method, by name.

    Attributes:
      server: what the server makes of a gradient before it steps (see ``rayopt.server``).
      weight_decay: lambda >= 0: lambda x^k is added to every gradient, as ``torch.optim.SGD`` does.
      clip_norm: c > 0: a gradient with a larger Euclidean norm is scaled to it.
      averaging: what is evaluated in place of x^k: "uniform", the mean of x^1, ..., x^k; "last_half", that of at least
        the last half and at most the last three quarters of them; {"exponential": beta}, z^k = beta z^{k-1} +
        (1 - beta) x^k with z^0 = x^0.
    """

    server: ServerUpdate | Mapping[str, Any] | str | None
    weight_decay: float
    clip_norm: float | None
    averaging: str | Mapping[str, float] | None


class ByArguments:
    """Equal if made alike: a checkpoint need not keep what a constructor makes again."""

    _given: str

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._given == self._given

    def __hash__(self) -> int:
        return hash(self._given)


class StepSizes(ByArguments):
    """gamma of a method, or a grid of them.

    Args:
      given: as for a method.

    Attributes:
      given: plain numbers and schedules, one or a list.
      grid: () or (G,).
      follows_time: whether one depends on fleet time.

    Raises:
      InvalidInput: a step size is not a positive number or a schedule, or the grid is empty or has one twice.
    """

    def __init__(self, given: Any) -> None:
        # Arrays, numbers of NumPy and Series become what they hold.
        given = given.tolist() if hasattr(given, "tolist") else given
        is_one = isinstance(given, str | Mapping | Schedule) or not hasattr(given, "__iter__")
        found = [_step_size(step) for step in ([given] if is_one else given)]
        if not found:
            raise InvalidInput("step_size", "an empty list", "a number above 0 or a list of such numbers")
        self.members = [step.step_size if isinstance(step, Schedule) else step for step in found]
        for position, step in enumerate(self.members):
            if step in self.members[:position]:
                allowed = "numbers that differ"
                if any(isinstance(each, Schedule) for each in found):
                    allowed += ", as schedules are known by theirs: for another shape, a method of its own with a label"
                raise InvalidInput("step_size", f"{step:g} stands twice in the list", allowed)
        self._steps = found
        self._given = repr(found)
        self.given: Any = found[0] if is_one else found
        self.grid = () if is_one else (len(found),)
        self.follows_time = any(isinstance(step, Schedule) and step.follows_time for step in found)
        self.changes = any(isinstance(step, Schedule) for step in found)

    def at(self, updates: int, seconds: float, dtype: Any = np.float64, scale: float = 1.0) -> Any:
        """Returns scale * gamma_k: a float, or shape (G, 1)."""
        # Rounded once, as where a number of Python meets an array: a member of a grid is its own run.
        now = [scale * (step(updates, seconds) if isinstance(step, Schedule) else step) for step in self._steps]
        return np.array(now, dtype=dtype)[:, None] if self.grid else now[0]

    def alone(self, step_size: float) -> Any:
        """Returns the member of this gamma; another gamma gives the only schedule its step size."""
        for step, known in zip(self._steps, self.members, strict=True):
            if known == step_size:
                return step
        first = self._steps[0]
        return first.with_step_size(step_size) if isinstance(first, Schedule) else step_size


def _step_size(given: Any) -> float | Schedule:
    return schedule(given) if isinstance(given, Mapping | Schedule) else positive("step_size", given)


class Learning(ByArguments):
    """The controls of one method, checked.

    Args:
      method: the name of its class, for errors.
      refused: controls that it cannot take, with the reason.
      **given: as :class:`Controls`.

    Raises:
      InvalidInput: a control is out of its range, or the method cannot take it.
    """

    def __init__(self, method: str, refused: Mapping[str, str], **given: Any) -> None:
        for name, value in given.items():
            if name not in WITHOUT:
                raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
            if name in refused and not _is_without(name, value):
                raise InvalidInput(name, f"{method} cannot take {value!r}: {refused[name]}", "a run without it")
        found = WITHOUT | given
        self.server = None if found["server"] is None else server_update(found["server"])
        self.weight_decay = non_negative("weight_decay", found["weight_decay"])
        self.clip_norm = None if found["clip_norm"] is None else positive("clip_norm", found["clip_norm"])
        self.averaging = None if found["averaging"] is None else _averaging(found["averaging"])
        self._given = repr(self.parameters)
        self.is_plain = self.server is None and not self.weight_decay and self.clip_norm is None

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that are not as in the paper."""
        found = {name: getattr(self, name) for name in WITHOUT}
        return {name: value for name, value in found.items() if value != WITHOUT[name]}

    def direction(self, gradient: Array, x: Array, state: dict[str, Any]) -> Array:
        """Returns d^k, of which x^{k+1} = x^k - gamma d^k.

        Args:
          gradient: g^k, the shape of x.
          x: x^k, shape (dimension,) or (G, dimension).
          state: what the server's part remembers of the run; it is changed.
        """
        if self.clip_norm is not None:
            norm = np.sqrt(squared_norm(gradient))[..., None]
            # Not a division by 0: what is short stays as it is.
            gradient = gradient * (self.clip_norm / np.maximum(norm, self.clip_norm)).astype(x.dtype)
        if self.weight_decay:
            gradient = gradient + self.weight_decay * x
        return gradient if self.server is None else self.server.direction(gradient, state)


def _is_without(name: str, value: Any) -> bool:
    """Whether a control is as if it were not given."""
    return value is WITHOUT[name] or (isinstance(value, (int, float, str)) and value == WITHOUT[name])


class Average(ByArguments):
    """A mean of the iterates that is kept while they come, in arrays of a mapping.

    Args:
      kind: "uniform", "last_half", or {"exponential": beta}.
    """

    def __init__(self, kind: str | Mapping[str, float]) -> None:
        self._kind = kind
        self._given = repr(kind)

    def add(self, x: Array, updates: int, state: dict[str, Any]) -> None:
        """Takes in x^k, k = ``updates`` >= 1; the state begins with ``{"mean": x^0}``. Arrays are made anew.

        Means are float64: what one point adds to a mean of many is less than float32 can tell.
        """
        x = x.astype(np.float64, copy=False)
        mean = state["mean"].astype(np.float64, copy=False)
        if isinstance(self._kind, Mapping):
            state["mean"] = mean + (1.0 - self._kind["exponential"]) * (x - mean)
        elif self._kind == "uniform":
            state["mean"] = mean + (x - mean) / updates
        else:
            # Blocks x^{2^j}, ..., x^{2^{j+1} - 1}: the newest, and the whole one before it.
            if updates & (updates - 1) == 0:
                state |= {"before": mean, "before_count": state.get("count", 0), "mean": x, "count": 1}
            else:
                state["count"] += 1
                state["mean"] = mean + (x - mean) / state["count"]

    def point(self, state: Mapping[str, Any]) -> Array:
        """Returns the mean, the shape of x."""
        found: Array = state["mean"]
        if not state.get("before_count"):
            return found
        both = state["count"] + state["before_count"]
        of_both: Array = found + (state["before"] - found) * (state["before_count"] / both)
        return of_both


def _averaging(given: Any) -> str | dict[str, float]:
    allowed = "uniform, last_half or {exponential: beta} with beta in [0, 1)"
    if isinstance(given, Mapping) and set(given) == {"exponential"}:
        return {"exponential": below_one("averaging.exponential", given["exponential"])}
    if not isinstance(given, str) or given not in ("uniform", "last_half"):
        raise InvalidInput("averaging", f"{given!r} is not known", allowed)
    return str(given)
