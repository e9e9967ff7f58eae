"""Durations that nobody knows before they are measured: workers at full speed, in real time alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, BoundLatency, Latency, read_only

HOW_TO_MEASURE = "`rayopt profile FILE` measures them, and compute: {name: trace, path: profile.csv} replays them"


@dataclass(frozen=True, repr=False)
class Measured(Latency):
    """No emulated time: in real time workers run at full speed, and only record how long they took.

    Expected times are unknown beforehand: a method that needs them cannot run. In virtual time there is nothing
    to measure: ``rayopt profile`` measures a fleet, and :class:`~rayopt.latency.recorded.Recorded` replays what it
    found. It is for ``compute`` alone; the ways to the workers and back are then those of the machines too.

    Example:
      >>> from rayopt import latency
      >>> latency.latency("measured")
      measured()
    """

    name: ClassVar[str] = "measured"
    example: ClassVar[str] = "{name: measured}"

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run, which are unknown.

        Raises:
          InvalidInput: it is not the ``compute`` of the workers.
        """
        if stream.purpose != "compute":
            raise InvalidInput("name", "measured is asked of what is not compute alone", "it as the whole of compute")
        return BoundMeasured(self, at_least("workers", workers, 1), stream)

    def to_config(self) -> dict[str, Any]:
        """Returns the name."""
        return {"name": self.name}

    def __repr__(self) -> str:
        return "measured()"


class BoundMeasured(BoundLatency):
    """Unknown durations: ``expected`` is NaN, ``least`` is 0."""

    __slots__ = ()

    def __init__(self, latency: Latency, workers: int, stream: Stream) -> None:
        super().__init__(latency, workers, stream)
        self.fixed = None
        self.expected = read_only(np.full(workers, np.nan))
        self.least = read_only(np.zeros(workers))

    def duration(self, worker: int, number: int, start: float, cost: float = 1.0) -> float:
        """Raises InvalidInput."""
        self._refuse()

    def durations(
        self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float = 1.0
    ) -> Array:
        """Raises InvalidInput."""
        self._refuse()

    def probability_within(self, seconds: Array) -> Array:
        """Raises InvalidInput."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InvalidInput("compute", "measured durations are not known beforehand", HOW_TO_MEASURE)
