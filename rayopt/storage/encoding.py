"""State as a tree of plain values beside a list of arrays, and back: what JSON and .npz hold without a pickle.

What occurs twice is kept once and is one object again afterwards, so that a thousand tasks at one point share it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rayopt.compression import Compressor, Kept, Stays, compressor
from rayopt.core.arrivals import Arrival, GradientSum, MessageSum, Source
from rayopt.core.errors import InvalidInput
from rayopt.core.programs import NodeProgram
from rayopt.core.tasks import Gradient

T = TypeVar("T")
Tree = Any
"""None, booleans, numbers, strings, lists and mappings with string keys."""

SIMPLE = (type(None), bool, int, float, str)
SEQUENCES: dict[str, Callable[..., Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}
BIT_GENERATORS = ("PCG64", "PCG64DXSM", "Philox", "MT19937", "SFC64")
FIELDS_OF_ARRIVAL = ("worker", "time", "completed_at", "assigned_at", "task", "number", "ok", "used")
ALLOWED = (
    "numbers, strings, booleans, None, NumPy arrays and generators, tasks, arrivals, sums of gradients, "
    "and lists, tuples, sets, deques and dicts of them"
)


class Plain(NamedTuple):
    """A value that is made of what JSON holds: it is taken as it is, in one step."""

    value: Any


class Encoded(NamedTuple):
    """What an :class:`Encoder` has made."""

    tree: Tree
    arrays: list[NDArray[Any]]


class Encoder:
    """Turns values into a tree; the arrays among them stand in ``arrays`` and the tree names their positions.

    Points of tasks and values of arrivals never change, so they are kept by reference; every other array is copied.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._numbers: dict[int, int] = {}
        # An object that has gone would leave its identity to another one.
        self._kept: list[Any] = []
        self._open: set[int] = set()

    def encode(self, value: Any, place: str) -> Tree:
        """Returns the tree of a value.

        Args:
          value: what to keep.
          place: what the value is called, for the error.

        Raises:
          InvalidInput: a value of a kind that cannot be kept, with its place.
        """
        if type(value) in SIMPLE:
            return value
        if type(value) is Plain:
            return {"kind": "plain", "value": value.value}
        if isinstance(value, np.generic) and not value.dtype.hasobject:
            return {"kind": "scalar", "array": self._add(np.array(value))}
        if type(value) is np.ndarray:
            return self._array(value, place)
        return self._object(value, place)

    def _array(self, array: NDArray[Any], place: str, changes: bool = True) -> Tree:
        if array.dtype.hasobject:
            raise InvalidInput(place, "is an array of objects", ALLOWED)
        if id(array) in self._numbers:
            return {"kind": "same", "number": self._numbers[id(array)]}
        self._number(array)
        return {"kind": "array", "array": self._add(array.copy() if changes else array)}

    def _object(self, value: Any, place: str) -> Tree:
        if id(value) in self._numbers:
            number = self._numbers[id(value)]
            if number in self._open:
                raise InvalidInput(place, "contains itself", ALLOWED)
            return {"kind": "same", "number": number}
        number = self._number(value)
        self._open.add(number)
        tree = self._parts(value, place)
        self._open.remove(number)
        return tree

    def _parts(self, value: Any, place: str) -> Tree:
        for name, kind in SEQUENCES.items():
            if type(value) is kind:
                return {"kind": name, "items": [self.encode(item, f"{place}[{i}]") for i, item in enumerate(value)]}
        if type(value) is dict:
            items = [
                [self.encode(key, f"{place} (a key)"), self.encode(item, f"{place}[{key!r}]")]
                for key, item in value.items()
            ]
            return {"kind": "dict", "items": items}
        if isinstance(value, Gradient):
            return self._task(value, place)
        if isinstance(value, NodeProgram):
            return {"kind": "program", "type": name_of(type(value)), "fields": self.encode(vars(value), place)}
        if isinstance(value, Compressor):
            return {"kind": "compressor", "config": self.encode(value.to_config(), place)}
        if isinstance(value, Arrival):
            fields = [self.encode(getattr(value, name), f"{place}.{name}") for name in FIELDS_OF_ARRIVAL]
            found = value.known_value
            return {"kind": "arrival", "fields": fields, "value": None if found is None else self._fixed(found, place)}
        if type(value) is MessageSum:
            return {"kind": "messages", "parts": [self.encode(part, place) for part in value.parts]}
        if type(value) is GradientSum:
            arrivals, weights = value.parts
            return {"kind": "sum", "arrivals": [self.encode(arrival, place) for arrival in arrivals],
                    "weights": [self.encode(weight, place) for weight in weights]}  # fmt: skip
        if type(value) is np.random.Generator:
            state: Any = value.bit_generator.state
            if state["bit_generator"] in BIT_GENERATORS:
                return {"kind": "generator", "state": self.encode(state, place)}
        raise InvalidInput(place, f"is a {type(value).__name__}, which a checkpoint cannot keep", ALLOWED)

    def _task(self, task: Gradient, place: str) -> Tree:
        fields = {
            name: self._fixed(held, f"{place}.x") if name == "x" else self.encode(held, f"{place}.{name}")
            for name, held in fields_of(task).items()
        }
        return {"kind": "task", "type": name_of(type(task)), "fields": fields}

    def _fixed(self, array: Any, place: str) -> Tree:
        return self._array(array, place, changes=False) if type(array) is np.ndarray else self.encode(array, place)

    def _number(self, value: Any) -> int:
        number = self._numbers[id(value)] = len(self._kept)
        self._kept.append(value)
        return number

    def _add(self, array: NDArray[Any]) -> int:
        self.arrays.append(array)
        return len(self.arrays) - 1


class Decoder:
    """Makes values of the trees of one :class:`Encoder`, which must come in the order in which they were made.

    Args:
      arrays: those beside the trees.
      source: where arrivals take their values from.

    Raises:
      InvalidInput: a task of a kind whose module was not imported.
    """

    def __init__(self, arrays: list[NDArray[Any]], source: Source | None = None) -> None:
        self._arrays = arrays
        self._source = source
        self._made: list[Any] = []

    def decode(self, tree: Tree) -> Any:
        """Returns the value of a tree."""
        if type(tree) in SIMPLE:
            return tree
        kind = tree["kind"]
        if kind == "plain":
            return tree["value"]
        if kind == "same":
            return self._made[tree["number"]]
        if kind == "scalar":
            return self._arrays[tree["array"]][()]
        number = len(self._made)
        self._made.append(None)
        self._made[number] = made = self._makers[kind](self, tree)
        return made

    def _array(self, tree: Tree) -> Any:
        array = self._arrays[tree["array"]]
        # What came through Ray's object store is read-only; a method may write to its own arrays.
        return array if array.flags.writeable else array.copy()

    def _sequence(self, tree: Tree) -> Any:
        return SEQUENCES[tree["kind"]](self.decode(item) for item in tree["items"])

    def _dict(self, tree: Tree) -> dict[Any, Any]:
        return {self.decode(key): self.decode(item) for key, item in tree["items"]}

    def _task(self, tree: Tree) -> Gradient:
        kind = _kind("task", tree["type"], Gradient)
        task = kind.__new__(kind)
        for name, held in tree["fields"].items():
            setattr(task, name, self.decode(held))
        return task

    def _program(self, tree: Tree) -> NodeProgram:
        kind = _kind("program", tree["type"], NodeProgram)
        program = kind.__new__(kind)
        vars(program).update(self.decode(tree["fields"]))
        return program

    def _arrival(self, tree: Tree) -> Arrival:
        fields = dict(zip(FIELDS_OF_ARRIVAL, map(self.decode, tree["fields"]), strict=True))
        arrival = Arrival(
            fields["worker"], fields["time"], fields["assigned_at"], fields["task"], fields["number"], self._source
        )
        for name in ("completed_at", "ok", "used"):
            setattr(arrival, name, fields[name])
        if tree["value"] is not None:
            arrival._value = self.decode(tree["value"])
        return arrival

    def _sum(self, tree: Tree) -> GradientSum:
        arrivals = [self.decode(arrival) for arrival in tree["arrivals"]]
        return GradientSum.of(arrivals, [self.decode(weight) for weight in tree["weights"]])

    def _messages(self, tree: Tree) -> MessageSum:
        return MessageSum.of(*[self.decode(part) for part in tree["parts"]])

    def _compressor(self, tree: Tree) -> Compressor:
        config = self.decode(tree["config"])
        own = {kind.name: kind for kind in (Stays, Kept)}.get(config["name"])
        return compressor(config) if own is None else own()

    def _generator(self, tree: Tree) -> np.random.Generator:
        state = self.decode(tree["state"])
        bits = getattr(np.random, BIT_GENERATORS[BIT_GENERATORS.index(state["bit_generator"])])()
        bits.state = state
        return np.random.Generator(bits)

    _makers: dict[str, Callable[[Decoder, Tree], Any]] = {  # noqa: RUF012 (a table of methods)
        **dict.fromkeys(SEQUENCES, _sequence),
        "array": _array,
        "dict": _dict,
        "task": _task,
        "program": _program,
        "arrival": _arrival,
        "sum": _sum,
        "compressor": _compressor,
        "messages": _messages,
        "generator": _generator,
    }


def fields_of(task: Gradient) -> dict[str, Any]:
    """Returns what a task holds, by attribute."""
    slots = [name for kind in type(task).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(task, name) for name in slots} | getattr(task, "__dict__", {})


def _kind(what: str, name: str, first: type[T]) -> type[T]:
    """Returns the class of this name among a class and those below it.

    Raises:
      InvalidInput: its module was not imported.
    """
    kinds = {name_of(kind): kind for kind in _subclasses(first)}
    if name not in kinds:
        raise InvalidInput("checkpoint", f"holds a {what} of the unknown kind {name}",
                           f"the kinds that are imported: {', '.join(kinds)}")  # fmt: skip
    return kinds[name]


def _subclasses(first: type[T]) -> list[type[T]]:
    """Returns a class and all classes below it that are imported."""
    found = [first]
    for kind in found:
        found += [other for other in kind.__subclasses__() if other not in found]
    return found


def name_of(kind: type) -> str:
    """Returns the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
