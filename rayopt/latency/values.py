"""Parameters of a latency: one number for every worker, one each, a formula, or any of these permuted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, nearest
from rayopt.core.keys import Stream
from rayopt.latency.formula import Formula

ALLOWED = (
    "a number, a list with a number for each worker (infinity in YAML: .inf), "
    "a formula of the worker i such as 'sqrt(i)', or any of these permuted"
)


@dataclass(frozen=True)
class Limits:
    """Which numbers a parameter may be; none may be NaN.

    Args:
      positive: whether 0 is refused.
      finite: whether infinity is refused.
      signed: whether negative numbers are allowed.
      most: the largest number allowed.
    """

    positive: bool = False
    finite: bool = False
    signed: bool = False
    most: float = np.inf

    def check(self, key: str, array: NDArray[np.float64]) -> None:
        """Raises InvalidInput at the first number that is not allowed (NaN compares as False)."""
        least = -np.inf if self.signed else 0.0
        allowed = (array > least if self.positive else array >= least) & (array <= self.most)
        if self.finite:
            allowed &= np.isfinite(array)
        if not allowed.all():
            worst = int(np.argmin(allowed))
            place = f" for worker {worst}" if array.size > 1 else ""
            raise InvalidInput(key, f"{np.ravel(array)[worst]:g}{place}", str(self))

    def __str__(self) -> str:
        kind = "finite numbers" if self.finite or self.most < np.inf else "numbers (infinity included)"
        if self.signed:
            return kind
        bounds = "above 0" if self.positive else "of at least 0"
        return kind + (f" {bounds}" if self.most == np.inf else f" {bounds} and at most {self.most:g}")


@dataclass(frozen=True, repr=False)
class PermutedValues:
    """Values whose order over the workers is random.

    Worker j takes the value ``order[j]`` of ``of``, where ``order`` is :func:`permutation`.

    Args:
      of: the values in their own order.
      seed: of the permutation; None takes the seed of the run.
    """

    of: ValuesLike
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", parse("permuted", self.of))
        object.__setattr__(self, "seed", check_seed(self.seed))

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed}"
        return f"permuted({describe(self.of)}{seed})"


Values: TypeAlias = float | tuple[float, ...] | Formula | PermutedValues
"""What :func:`parse` returns: hashable, comparable, and independent of the number of workers."""

ValuesLike: TypeAlias = float | Sequence[float] | NDArray[Any] | str | Formula | PermutedValues | Mapping[str, Any]
"""What a user may write."""


def parse(key: str, raw: ValuesLike, limits: Limits = Limits()) -> Values:
    """Returns the values that a user wrote in Python or in YAML.

    Args:
      key: the name of the parameter, for the error.
      raw: a number, a list or array, a formula, ``permuted(...)`` or ``{permuted: ..., seed: ...}``.
      limits: which numbers are allowed.

    Raises:
      InvalidInput: anything else, a number that is not allowed, a formula that cannot be read.
    """
    with _named(key):
        if isinstance(raw, str):
            return Formula(raw)
        if isinstance(raw, Mapping):
            return _parse_permuted(raw)
        if isinstance(raw, Formula | PermutedValues):
            return raw
    array = _array(key, raw)
    limits.check(key, array)
    return float(array) if array.ndim == 0 else tuple(array.tolist())


def resolve(key: str, values: Values, workers: int, seed: int, limits: Limits = Limits()) -> NDArray[np.float64]:
    """Returns one number for each worker, shape (workers,), read-only.

    Args:
      key: the name of the parameter, for the error.
      values: from :func:`parse`.
      workers: how many there are.
      seed: of the run; it orders permuted values that have no seed of their own.
      limits: which numbers are allowed.

    Raises:
      InvalidInput: a list of another length, or a formula that gives a number that is not allowed.
    """
    array = _expand(key, values, workers, seed)
    limits.check(key, array)
    array.setflags(write=False)
    return array


def permutation(workers: int, seed: int) -> NDArray[np.intp]:
    """Returns the order of all that is permuted under one seed, shape (workers,).

    It is one order for every parameter, so that parameters permuted together stay together.
    """
    return Stream(seed, "permutation").generator().permutation(workers)


def check_seed(seed: Any) -> int | None:
    """Returns the seed of a permutation if it is an integer or None."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InvalidInput("seed", f"{seed!r} is not an integer", "an integer, or none for the seed of the run")
    return int(seed)


def to_config(values: Any) -> Any:
    """Returns the numbers, lists, strings and mappings from which :func:`parse` makes these values."""
    match values:
        case tuple():
            return list(values)
        case Formula():
            return values.text
        case PermutedValues(seed=None):
            return {"permuted": to_config(values.of)}
        case PermutedValues():
            return {"permuted": to_config(values.of), "seed": values.seed}
    return values


def describe(values: Any) -> str:
    """Returns the values as Python would write them, a long list by its ends."""
    match values:
        case tuple() if len(values) > 6:
            first, second, *_, last = values
            return f"[{first:g}, {second:g}, ..., {last:g}]"
        case tuple():
            return "[" + ", ".join(f"{value:g}" for value in values) + "]"
        case float():
            return f"{values:g}"
        case Formula():
            return repr(values.text)
    return repr(values)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Gives an error from within a value the name of the parameter."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(key, error.problem, error.allowed) from None


def _parse_permuted(raw: Mapping[str, Any]) -> PermutedValues:
    unknown = [word for word in raw if word not in ("permuted", "seed")]
    if unknown:
        word = str(unknown[0])
        raise InvalidInput("permuted", f"{word!r} is unknown{nearest(word, ('permuted', 'seed'))}", "permuted, seed")
    if "permuted" not in raw:
        raise InvalidInput("permuted", f"{dict(raw)!r} permutes nothing", "{permuted: values, seed: integer}")
    return PermutedValues(raw["permuted"], raw.get("seed"))


def _array(key: str, raw: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(raw)
    except ValueError:
        raise InvalidInput(key, "a list of lists of different lengths", ALLOWED) from None
    if array.dtype.kind not in "iuf" or array.ndim > 1 or array.size == 0:
        raise InvalidInput(key, f"{raw!r} is neither a number nor a list of numbers", ALLOWED)
    return array.astype(np.float64)


def _expand(key: str, values: Any, workers: int, seed: int) -> NDArray[np.float64]:
    match values:
        case Formula():
            with _named(key):
                return values.evaluate(workers)
        case PermutedValues():
            order = permutation(workers, seed if values.seed is None else values.seed)
            return _expand(key, values.of, workers, seed)[order]
        case tuple() if len(values) != workers:
            raise InvalidInput(key, f"{len(values)} values for {workers} workers", f"a list of {workers}")
    return np.full(workers, values, dtype=np.float64)
