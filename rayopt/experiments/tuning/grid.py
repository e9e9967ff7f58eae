"""Grids: a method, and the values to try for its parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rayopt.core.errors import InvalidInput, at_least, nearest, positive
from rayopt.experiments.components import make
from rayopt.methods.base import Method

FORMS = "{grid: [1, 6, 24]}, {powers: 5, from: -5, to: 4} or {halvings: 6174, by: 4}"
KEYS = {"grid": (), "powers": ("from", "to"), "halvings": ("by",)}
MOST_VALUES = 1000


def is_grid(value: Any) -> bool:
    """Whether a value of a workload file is a mapping that stands for several values."""
    return isinstance(value, Mapping) and not KEYS.keys().isdisjoint(value)


def values_of(key: str, grid: Mapping[str, Any]) -> list[Any]:
    """Returns the values that a grid stands for.

    Args:
      key: the parameter, for errors.
      grid: ``{grid: [values]}``; ``{powers: b, from: i, to: j}``, which is b^i, ..., b^j; or ``{halvings: n,
        by: b}``, which is n, n // b, n // b^2, ..., 1 (``by`` is 2 by default).

    Raises:
      InvalidInput: the mapping is of another form, or a value stands twice in it, or there is none.

    Examples:
      >>> values_of("threshold", {"halvings": 6174, "by": 4})
      [6174, 1543, 385, 96, 24, 6, 1]
      >>> values_of("step_size", {"powers": 5, "from": -2, "to": 1})
      [0.04, 0.2, 1.0, 5.0]
    """
    form = next(name for name in KEYS if name in grid)
    for given in grid:
        if given != form and given not in KEYS[form]:
            raise InvalidInput(f"{key}.{given}", f"unknown key{nearest(str(given), KEYS[form])}", FORMS)
    if form == "powers":
        return _powers(key, grid)
    if form == "halvings":
        return _halvings(key, grid)
    values = grid["grid"]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InvalidInput(f"{key}.grid", f"{values!r} is not a list", FORMS)
    if not values:
        raise InvalidInput(f"{key}.grid", "an empty list", "at least one value")
    for position, value in enumerate(values):
        if value in values[:position]:
            raise InvalidInput(f"{key}.grid", f"{value!r} stands twice in the list", "values that differ")
    return list(values)


def _powers(key: str, grid: Mapping[str, Any]) -> list[Any]:
    base = positive(f"{key}.powers", grid["powers"])
    if base == 1:
        raise InvalidInput(f"{key}.powers", "1 has one power", "a number above 0 other than 1")
    for end in ("from", "to"):
        if isinstance(grid.get(end), bool) or not isinstance(grid.get(end), int):
            raise InvalidInput(f"{key}.{end}", f"{grid.get(end)!r} is not an integer", FORMS)
    first, last = grid["from"], grid["to"]
    if not 0 <= last - first < MOST_VALUES:
        raise InvalidInput(f"{key}.to", f"{last - first + 1} exponents from {first} to {last}", f"1 to {MOST_VALUES}")
    # Integers stay integers, as a batch size must be.
    exact = grid["powers"] if isinstance(grid["powers"], int) and first >= 0 else base
    try:
        values = [exact**exponent for exponent in range(first, last + 1)]
        fits = all(0 < float(value) < math.inf for value in values)
    except OverflowError:
        fits = False
    if not fits:
        raise InvalidInput(
            f"{key}.to", f"{base:g} to the powers {first} to {last} is not a number", "smaller exponents"
        )
    return values


def _halvings(key: str, grid: Mapping[str, Any]) -> list[int]:
    value = at_least(f"{key}.halvings", grid["halvings"], 1)
    by = at_least(f"{key}.by", grid.get("by", 2), 2)
    values = []
    while value:
        values.append(value)
        value //= by
    return values


@dataclass(frozen=True)
class Combination:
    """One value for each parameter that is tried, step size apart.

    Attributes:
      values: by parameter.
      method: with these values, and with the whole grid of step sizes.
    """

    values: dict[str, Any]
    method: Method

    @property
    def text(self) -> str:
        """The values as tables and figures write them."""
        return ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                         for key, value in self.values.items())  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A method, and the values to try for its parameters.

    All step sizes of one combination of the other parameters are one run on one event schedule.

    Args:
      kind: the class of the method.
      parameters: its arguments by name. ``step_size`` may be a list; every argument may be a grid, a mapping
        as :func:`values_of` reads it.
      label: what tables and figures call it.

    Attributes:
      tried: the values of each parameter that is a grid, step size apart.
      combinations: all of them, in the order of the values; the last parameter changes fastest.

    Raises:
      InvalidInput: a grid or an argument of the method is not allowed.

    Examples:
      >>> import rayopt as ro
      >>> grid = ro.Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.2], "threshold": {"grid": [1, 6, 24]}})
      >>> [combination.text for combination in grid.combinations]
      ['threshold=1', 'threshold=6', 'threshold=24']
    """

    kind: type[Method]
    parameters: Mapping[str, Any]
    label: str | None = None
    tried: dict[str, list[Any]] = field(init=False)
    combinations: list[Combination] = field(init=False)

    def __post_init__(self) -> None:
        fixed = dict(self.parameters)
        if is_grid(fixed.get("step_size")):
            fixed["step_size"] = values_of("step_size", fixed["step_size"])
        tried = {key: values_of(key, value) for key, value in fixed.items() if is_grid(value)}
        combinations = []
        for chosen in itertools.product(*tried.values()):
            values = dict(zip(tried, chosen, strict=True))
            combinations.append(Combination(values, self._make({**fixed, **values})))
        object.__setattr__(self, "tried", tried)
        object.__setattr__(self, "combinations", combinations)

    def _make(self, arguments: Mapping[str, Any]) -> Method:
        """Returns the method; a list where one value is allowed is likely meant as a grid."""
        try:
            return make(self.kind, arguments, ("name", "label"))
        except InvalidInput as error:
            if error.key == "step_size" or not isinstance(self.parameters.get(error.key), list | tuple):
                raise
            raise InvalidInput(error.key, error.problem, f"{error.allowed}; to try several values, {FORMS}") from None

    @classmethod
    def of(cls, given: Grid | Method) -> Grid:
        """Returns a grid; a method is one with a single combination."""
        return given if isinstance(given, Grid) else cls(type(given), given.parameters)

    @property
    def step_sizes(self) -> list[float]:
        """The step sizes that are tried."""
        return self.combinations[0].method.members()

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that stands for this grid in a workload file, formulas spelled out."""
        parameters = self.combinations[0].method.parameters
        grids = {key: {"grid": values} for key, values in self.tried.items()}
        return {"name": self.kind.name, **parameters, **grids, **({"label": self.label} if self.label else {})}
