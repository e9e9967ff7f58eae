"""What a message takes: seconds for itself, and seconds for each float in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, nearest
from rayopt.core.keys import Stream
from rayopt.core.tasks import FLOAT_BITS
from rayopt.latency.base import BoundLatency, Latency
from rayopt.latency.config import latency
from rayopt.latency.formula import dimension_is

Array = NDArray[np.float64]

PARTS = ("per_message", "per_float", "per_bit")
ANY_DIMENSION = 1000
"""What d stands for in a formula until the problem is known."""


class Link:
    """A way between the server and each worker: seconds per message and seconds per float, or per bit.

    A message of b bits takes per_message + per_float * b / 64 seconds, or b / 32 if the problem's floats have 32 bits.
    Both are latencies: numbers, lists, formulas of i, n and the dimension d, or random ones, which are drawn anew for
    every task.

    Args:
      per_message: seconds of a message whatever its size.
      per_float: seconds of each float, of 64 bits or what the problem's dtype has.
      per_bit: seconds of each bit, instead of ``per_float``.

    Raises:
      InvalidInput: both ``per_float`` and ``per_bit``, or a duration that is negative.

    Examples:
      >>> link = Link(per_message=0.1, per_float="sqrt(i) / d")
      >>> link.bind(3, Stream(0, "upload"), dimension=100).seconds(bits=6400).round(2).tolist()
      [1.1, 1.51, 1.83]
    """

    name: ClassVar[str] = "link"

    def __init__(self, per_message: Any = 0.0, per_float: Any = None, per_bit: Any = None) -> None:
        if per_float is not None and per_bit is not None:
            raise InvalidInput("per_bit", "cannot be combined with per_float", "one of them")
        self._is_bare = False
        self._given: dict[str, Latency] = {}
        per_message = 0.0 if per_message is None else per_message
        for key, value in (("per_message", per_message), ("per_float", per_float), ("per_bit", per_bit)):
            if value is not None:
                try:
                    self._given[key] = latency(value)
                except InvalidInput as error:
                    raise error.within(key) from None

    @classmethod
    def of_messages(cls, config: Any) -> Link:
        """Returns the link that a bare latency stands for: seconds per message."""
        found = cls()
        found._given["per_message"], found._is_bare = latency(config), True
        return found

    @property
    def per_message(self) -> Latency:
        """Seconds of a message whatever its size."""
        return self._given["per_message"]

    def bind(
        self, workers: int, stream: Stream, dimension: int | None = None, float_bits: int = FLOAT_BITS
    ) -> BoundLink:
        """Returns the link of one run.

        Args:
          workers: how many there are.
          stream: addresses the random draws of ``per_message``; those of a float have one of their own.
          dimension: d in formulas; a stand-in if it is not known yet.
          float_bits: of a float, 64 or 32.

        Raises:
          InvalidInput: a list of another length, a formula that is negative for some i.
        """
        streams = {
            key: stream if key == "per_message" else Stream(stream.seed, f"{stream.purpose} {key}")
            for key in self._given
        }
        bound = {}
        with dimension_is(dimension or ANY_DIMENSION):
            for key, part in self._given.items():
                try:
                    bound[key] = part.bind(workers, streams[key])
                except InvalidInput as error:
                    raise (error if self._is_bare else error.within(key)) from None
        per_bit = bound.get("per_bit")
        return BoundLink(bound["per_message"], bound.get("per_float") or per_bit, 1 if per_bit else float_bits)

    def to_config(self) -> dict[str, Any]:
        """Returns what a workload file says: the mapping of the parts, or the latency that stands for a message's."""
        if self._is_bare:
            return self.per_message.to_config()
        return {key: part.to_config() for key, part in self._given.items()}

    @property
    def is_free(self) -> bool:
        """Whether every message takes no time."""
        return all(part.name == "zero" or getattr(part, "times", None) == 0 for part in self._given.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and self._given == other._given

    def __hash__(self) -> int:
        return hash(tuple(self._given))

    def __repr__(self) -> str:
        if self._is_bare:
            return repr(self.per_message)
        return f"Link({', '.join(f'{key}={part!r}' for key, part in self._given.items())})"


class BoundLink:
    """A link of one run: a function of worker, task number, start and size.

    Args:
      per_message: seconds of a message.
      per_unit: seconds of a unit of its size; None if the size costs nothing.
      unit: bits of a unit.

    Attributes:
      depends_on_start: whether the seconds are known only when the start is.
      is_fixed: whether they are the same for every message of a worker and size.
    """

    def __init__(self, per_message: BoundLatency, per_unit: BoundLatency | None, unit: int) -> None:
        self._per_message = per_message
        self._per_unit = per_unit
        self._unit = unit
        parts = [per_message, *([per_unit] if per_unit else [])]
        self.depends_on_start = any(part.depends_on_start for part in parts)
        self.is_fixed = all(part.fixed is not None for part in parts)

    def seconds(self, bits: float) -> Array:
        """Returns the mean seconds of messages of this size, shape (workers,)."""
        return self._sum("expected", bits)

    def least(self, bits: float) -> Array:
        """Returns what no message of this size is below, shape (workers,)."""
        return self._sum("least", bits)

    def _sum(self, name: str, bits: float) -> Array:
        found: Array = getattr(self._per_message, name)
        if self._per_unit is not None and bits:
            found = found + bits / self._unit * getattr(self._per_unit, name)
        return found

    def duration(self, worker: int, number: int, start: float, bits: float) -> float:
        """Returns the seconds of one message of this size."""
        seconds = self._per_message.duration(worker, number, start)
        if self._per_unit is not None and bits:
            seconds += bits / self._unit * self._per_unit.duration(worker, number, start)
        return seconds

    def parts(self, worker: int, number: int, start: float, bits: float) -> tuple[float, float]:
        """Returns the two parts of :meth:`duration`: seconds of the message itself, and those of its size."""
        seconds = self._per_message.duration(worker, number, start)
        if self._per_unit is None or not bits:
            return seconds, 0.0
        return seconds, bits / self._unit * self._per_unit.duration(worker, number, start)

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, bits: float) -> Array:
        """Returns :meth:`duration` of many messages, the same bits, shape (m,)."""
        seconds = self._per_message.durations(workers, numbers, start)
        if self._per_unit is not None and bits:
            seconds = seconds + bits / self._unit * self._per_unit.durations(workers, numbers, start)
        return seconds


def link_of(config: Any) -> Link:
    """Returns the link that a user describes: a :class:`Link`, a mapping of its parts, or seconds per message.

    Raises:
      InvalidInput: a part is unknown, or what :class:`Link` and :func:`rayopt.latency.latency` raise.
    """
    if isinstance(config, Link):
        return config
    if isinstance(config, Mapping) and "name" not in config and "permuted" not in config:
        for key in config:
            if key not in PARTS:
                raise InvalidInput(str(key), f"unknown{nearest(str(key), PARTS)}", ", ".join(PARTS))
        return Link(**config)
    return Link.of_messages(config)
