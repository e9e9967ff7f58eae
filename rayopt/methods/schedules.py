"""Step sizes that change during a run, by update or by fleet time."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, nearest, one_of, positive

__all__ = ["Schedule", "backoff", "constant", "cosine", "inverse_sqrt", "inverse_time", "schedule", "step", "warmup"]

CLOCKS = ("updates", "time")
LEAST = sys.float_info.min
"""No step size is smaller: 0 would be none."""
MOST = 1e280
"""No schedule goes on beyond so many times its length."""
LEAST_SHARE = 1e-3
"""A cosine without an end, and a warm-up, stay at this share of the step size where they would be zero."""


@dataclass(frozen=True)
class Schedule:
    """A step size gamma_k that depends on the number k of updates made, or on fleet time.

    Made by the functions of ``rayopt.schedules``. The product of two is a schedule: ``warmup(over=100) * cosine(0.5,
    over=2000)``.

    Attributes:
      name: the function that makes it, or "product".
      step_size: gamma, by which the shape of the schedule is multiplied; it names the schedule in tables.
      arguments: the other arguments of the function, in order.
      factors: of a product.
    """

    name: str
    step_size: float
    arguments: tuple[tuple[str, Any], ...] = ()
    factors: tuple[Schedule, ...] = ()

    @property
    def follows_time(self) -> bool:
        """Whether it depends on fleet time."""
        return dict(self.arguments).get("by") == "time" or any(factor.follows_time for factor in self.factors)

    def __call__(self, updates: int, seconds: float = 0.0) -> float:
        """Returns the step size.

        Args:
          updates: k, the number of updates made before this one.
          seconds: fleet time.
        """
        found: float = self._at(_ONE, updates, seconds)
        return found

    def many(self, updates: NDArray[np.integer], seconds: float = 0.0) -> NDArray[np.float64]:
        """Returns the step sizes of many updates at one time; each is that of a call up to rounding.

        Args:
          updates: k of each, shape (m,).
          seconds: fleet time.
        """
        return np.broadcast_to(self._at(_MANY, updates, seconds), updates.shape).astype(np.float64)

    def _at(self, do: _Functions, updates: Any, seconds: float) -> Any:
        if self.factors:
            found = math.prod((factor._at(do, updates, seconds) for factor in self.factors), start=self.step_size)
            return do.most(found, LEAST)
        arguments = dict(self.arguments)
        by = arguments.pop("by", "updates")
        shape = _SHAPES[self.name](do, updates if by == "updates" else seconds, by, **arguments)
        return do.most(self.step_size * shape, LEAST)

    def __mul__(self, other: Schedule | float) -> Schedule:
        factors = self.factors or (self,)
        if not isinstance(other, Schedule):
            return self.with_step_size(self.step_size * positive("factor", other))
        factors += other.factors or (other,)
        # What a product is multiplied by stands in front of it, not in its factors.
        return Schedule("product", self.step_size * other.step_size, (),
                        tuple(factor.with_step_size(1.0) for factor in factors))  # fmt: skip

    __rmul__ = __mul__

    def with_step_size(self, step_size: float) -> Schedule:
        """Returns the schedule of the same shape whose gamma is ``step_size``."""
        return Schedule(self.name, positive("step_size", step_size), self.arguments, self.factors)

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that a workload file could hold."""
        if self.factors:
            return {"product": [factor.to_config() for factor in self.factors], "step_size": self.step_size}
        return {self.name: self.step_size, **dict(self.arguments)}

    def __repr__(self) -> str:
        if self.factors:
            first, *others = self.factors
            return " * ".join(map(repr, (first.with_step_size(self.step_size), *others)))
        short = f"{self.step_size:g}"
        short = short if float(short) == self.step_size else repr(self.step_size)
        given = [short, *(f"{key}={value!r}" for key, value in self.arguments)]
        return f"{self.name}({', '.join(given)})"


def constant(step_size: float) -> Schedule:
    """Returns gamma, as a factor of a product."""
    return Schedule("constant", positive("step_size", step_size))


def inverse_time(step_size: float = 1.0, over: float = 1.0, by: str = "updates") -> Schedule:
    """Returns gamma / (1 + k / K): half of gamma after K = ``over`` updates.

    Args:
      step_size: gamma.
      over: K > 0, in updates, or in seconds if by time.
      by: "updates" or "time", the fleet's.

    Raises:
      InvalidInput: an argument is out of its range.

    Examples:
      >>> inverse_time(0.5, over=100)(300)
      0.125
    """
    return _made("inverse_time", step_size, by, over=positive("over", over))


def inverse_sqrt(step_size: float = 1.0, over: float = 1.0, by: str = "updates") -> Schedule:
    """Returns gamma / sqrt(1 + k / K), K = ``over``; arguments and errors as for :func:`inverse_time`.

    Examples:
      >>> inverse_sqrt(0.5, over=100)(300)
      0.25
    """
    return _made("inverse_sqrt", step_size, by, over=positive("over", over))


def cosine(step_size: float = 1.0, over: float = 1000.0, end: float | None = None, by: str = "updates") -> Schedule:
    """Returns gamma (1 + cos(pi k / K)) / 2 until k = K = ``over``, and its end from there on.

    Args:
      step_size: gamma.
      over: K > 0, in updates, or in seconds if by time.
      end: e in (0, 1], the share of gamma that is left: gamma (e + (1 - e)(1 + cos(pi k / K)) / 2). By default the
        cosine falls as if e were 0, and is held at gamma / 1000.
      by: "updates" or "time", the fleet's.

    Raises:
      InvalidInput: an argument is out of its range.

    Examples:
      >>> schedule = cosine(0.5, over=2000)
      >>> [round(schedule(k), 4) for k in (0, 1000, 2000, 5000)]
      [0.5, 0.25, 0.0005, 0.0005]

    References:
      Loshchilov, Hutter, `SGDR: Stochastic Gradient Descent with Warm Restarts <https://arxiv.org/abs/1608.03983>`_,
      2016, without restarts.
    """
    shares = {} if end is None else {"end": _share("end", end)}
    return _made("cosine", step_size, by, over=positive("over", over), **shares)


def step(step_size: float = 1.0, every: float = 1000.0, factor: float = 0.1, by: str = "updates") -> Schedule:
    """Returns gamma q^floor(k / K), K = ``every`` and q = ``factor``.

    Args:
      step_size: gamma.
      every: K > 0, in updates, or in seconds if by time.
      factor: q in (0, 1].
      by: "updates" or "time", the fleet's.

    Raises:
      InvalidInput: an argument is out of its range.

    Examples:
      >>> schedule = step(0.5, every=100, factor=0.5)
      >>> [schedule(k) for k in (0, 99, 100, 200)]
      [0.5, 0.5, 0.25, 0.125]
    """
    return _made("step", step_size, by, every=positive("every", every), factor=_share("factor", factor))


def warmup(step_size: float = 1.0, over: float = 100.0, by: str = "updates") -> Schedule:
    """Returns gamma min{(k + 1) / K, 1}, K = ``over``; by time gamma min{t / K, 1}, from gamma / 1000 on.

    Args:
      step_size: gamma; 1 if it is a factor of another schedule.
      over: K > 0, in updates, or in seconds if by time.
      by: "updates" or "time", the fleet's.

    Raises:
      InvalidInput: an argument is out of its range.

    Examples:
      >>> schedule = warmup(over=4) * inverse_time(0.5, over=100)
      >>> [round(schedule(k), 3) for k in (0, 3, 100)]
      [0.125, 0.485, 0.25]
    """
    return _made("warmup", step_size, by, over=positive("over", over))


def backoff(step_size: float = 1.0, over: float = 1000.0, factor: float = 0.5, by: str = "updates") -> Schedule:
    """Returns gamma beta^r in round r = 0, 1, ..., which has K / beta^r updates: K = ``over``, beta = ``factor``.

    Hogwild's back-off [paper]: after each round the step size is multiplied by beta, and the next is as much longer. On
    strongly convex f the error falls like 1 / k then, and no step size needs to know eps [memory]. The paper's
    processors wait for each other between two rounds; here they go on.

    Args:
      step_size: gamma, in theory below 1 / c, c the strong convexity.
      over: K > 0, in updates, or in seconds if by time.
      factor: beta in (0, 1), at least 1e-6.
      by: "updates" or "time", the fleet's.

    Raises:
      InvalidInput: an argument is out of its range.

    Examples:
      >>> schedule = backoff(0.5, over=100, factor=0.5)
      >>> [schedule(k) for k in (0, 99, 100, 299, 300)]
      [0.5, 0.5, 0.25, 0.25, 0.125]

    References:
      Niu, Recht, Re, Wright, `Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent
      <https://arxiv.org/abs/1106.5730>`_, 2011.
    """
    if not 1e-6 <= _share("factor", factor) < 1:
        raise InvalidInput("factor", f"{factor!r} is out of range", "a number from 0.000001 to below 1")
    return _made("backoff", step_size, by, over=positive("over", over), factor=float(factor))


def schedule(config: Any, key: str = "step_size") -> Schedule:
    """Returns the schedule that a workload file describes.

    Args:
      config: a schedule, or ``{NAME: gamma, argument: value, ...}``, or ``{product: [schedules], step_size: gamma}``.
      key: where it stands, for errors.

    Raises:
      InvalidInput: a name or an argument is unknown, or a value is not allowed.

    Examples:
      >>> schedule({"cosine": 0.5, "over": 2000})
      cosine(0.5, over=2000)
    """
    if isinstance(config, Schedule):
        return config
    forms = f"{{{', '.join(SCHEDULES)} or product: ...}}, such as {{cosine: 0.5, over: 2000}}"
    if not isinstance(config, Mapping):
        raise InvalidInput(key, f"{config!r} is not a schedule", forms)
    names = [name for name in config if name in SCHEDULES or name == "product"]
    if not names:
        name = str(next(iter(config), ""))
        raise InvalidInput(key, f"{name!r} is not a schedule{nearest(name, SCHEDULES)}", forms)
    if len(names) > 1:
        raise InvalidInput(key, f"{' and '.join(names)} in one schedule", "{product: [first, second]}")
    name = names[0]
    if name == "product":
        return _product(config, key)
    given = {argument: value for argument, value in config.items() if argument != name}
    known = [argument for argument in inspect.signature(SCHEDULES[name]).parameters if argument != "step_size"]
    for argument in given:
        if argument not in known:
            raise InvalidInput(f"{key}.{argument}", f"unknown{nearest(str(argument), known)}",
                               ", ".join(known) or f"nothing: {name} has no other argument")  # fmt: skip
    try:
        return SCHEDULES[name](config[name], **given)
    except InvalidInput as error:
        place = name if error.key == "step_size" else error.key
        raise InvalidInput(f"{key}.{place}", error.problem, error.allowed) from None


def _product(config: Mapping[str, Any], key: str) -> Schedule:
    for argument in config:
        if argument not in ("product", "step_size"):
            raise InvalidInput(f"{key}.{argument}", "unknown", "product, step_size")
    factors = config["product"]
    if not isinstance(factors, list) or len(factors) < 2:
        raise InvalidInput(f"{key}.product", f"{factors!r}", "a list of at least two schedules")
    found = [schedule(factor, f"{key}.product[{position}]") for position, factor in enumerate(factors)]
    product = math.prod(found[1:], start=found[0])
    assert isinstance(product, Schedule)
    return product * positive(f"{key}.step_size", config.get("step_size", 1.0))


def _made(name: str, step_size: float, by: str, **arguments: float) -> Schedule:
    by = one_of("by", by, CLOCKS)
    clock = {} if by == "updates" else {"by": by}
    whole = {key: int(value) if value.is_integer() else value for key, value in arguments.items()}
    return Schedule(name, positive("step_size", step_size), tuple({**whole, **clock}.items()))


def _share(key: str, given: float) -> float:
    if positive(key, given) > 1:
        raise InvalidInput(key, f"{given!r} is more than the whole", "a number in (0, 1]")
    return float(given)


class _Functions(NamedTuple):
    """What shapes are made of, for one number or for many."""

    floor: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    cos: Callable[[Any], Any]
    log: Callable[[Any], Any]
    least: Callable[[Any, Any], Any]
    most: Callable[[Any, Any], Any]


_ONE = _Functions(math.floor, math.sqrt, math.cos, math.log, min, max)
_MANY = _Functions(np.floor, np.sqrt, np.cos, np.log, np.minimum, np.maximum)


def _cosine(do: _Functions, s: Any, by: str, over: float, end: float = 0.0) -> Any:
    return do.most(end + (1.0 - end) * (1.0 + do.cos(math.pi * do.least(s / over, 1.0))) / 2.0, LEAST_SHARE)


def _step(do: _Functions, s: Any, by: str, every: float, factor: float) -> Any:
    return factor ** do.floor(do.least(s / every, MOST))


def _warmup(do: _Functions, s: Any, by: str, over: float) -> Any:
    return do.least(do.most((s + (by == "updates")) / over, LEAST_SHARE), 1.0)


def _backoff(do: _Functions, s: Any, by: str, over: float, factor: float) -> Any:
    longer = 1.0 / factor

    def start(round_number: Any) -> Any:
        return over * (longer**round_number - 1.0) / (longer - 1.0)

    number = do.floor(do.log(1.0 + do.least(s / over, MOST) * (longer - 1.0)) / math.log(longer))
    # A round's first update may be rounded either way.
    reached = s * (1.0 + 1e-12)
    number = number + 1 * (start(number + 1) <= reached) - 1 * (start(number) > reached)
    return factor**number


_SHAPES: dict[str, Callable[..., Any]] = {
    "constant": lambda do, s, by: 1.0,
    "inverse_time": lambda do, s, by, over: 1.0 / (1.0 + s / over),
    "inverse_sqrt": lambda do, s, by, over: 1.0 / do.sqrt(1.0 + s / over),
    "cosine": _cosine,
    "step": _step,
    "warmup": _warmup,
    "backoff": _backoff,
}
SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "inverse_time": inverse_time,
    "inverse_sqrt": inverse_sqrt,
    "cosine": cosine,
    "step": step,
    "warmup": warmup,
    "backoff": backoff,
}
