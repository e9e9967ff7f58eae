"""The workers of an experiment: how many, and how long things take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.html import object_html
from rayopt.core.keys import Stream
from rayopt.core.memory import check_fits
from rayopt.core.tasks import FLOAT_BITS, Gradient, message_bits
from rayopt.latency import BoundLatency, latency, zero
from rayopt.latency.bisection import last_float
from rayopt.latency.link import BoundLink, link_of
from rayopt.latency.measured import Measured

Array = NDArray[np.float64]
BYTES_PER_WORKER = 200
"""Of the arrays that hold a worker's state and times, at the least."""
MESSAGE_BITS = 30
"""Of the number of a message of one task, and of the number of a task."""


@dataclass(frozen=True)
class Workers:
    """n workers with their latencies.

    Args:
      count: n.
      compute: seconds per stochastic gradient: a latency, a number, a list of n numbers or a formula in
        i (from 1) and n.
      upload: seconds to send a result to the server: a :class:`~rayopt.latency.link.Link`, the mapping of one, or
        seconds per message, as for ``compute``.
      download: seconds to send a task to the worker, likewise.

    Raises:
      InvalidInput: a latency that does not fit n workers.
    """

    count: int
    compute: Any
    upload: Any = field(default_factory=zero)
    download: Any = field(default_factory=zero)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", at_least("count", self.count, 1))
        check_fits("count", self.count, self.count * BYTES_PER_WORKER)
        self._keep("compute", latency)
        self._keep("upload", link_of)
        self._keep("download", link_of)
        self._check_links()

    def _keep(self, direction: str, parse: Callable[[Any], Any]) -> None:
        try:
            found = parse(getattr(self, direction))
            bound = found.bind(self.count, Stream(0, direction))
        except InvalidInput as error:
            raise error.within(direction) from None
        if direction == "compute" and not isinstance(found, Measured) and not (bound.least > 0).all():
            worker = int(np.argmin(bound.least))
            raise InvalidInput("compute", f"0 for worker {worker}", "times above 0 (links alone may be free)")
        object.__setattr__(self, direction, found)

    @property
    def are_measured(self) -> bool:
        """Whether the workers run at full speed, so that their times are known only afterwards."""
        return isinstance(self.compute, Measured)

    def _check_links(self) -> None:
        for direction in ("upload", "download"):
            if self.are_measured and not getattr(self, direction).is_free:
                raise InvalidInput(direction, "an emulated link beside compute: measured", "none: the way is real too")

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of workers: how many, how fast, and their links."""
        facts = {"count": f"{self.count:,}", "compute": self.compute, "upload": self.upload, "download": self.download}
        if not self.are_measured:
            expected = self.compute.bind(self.count, Stream(0, "compute")).expected
            quartiles = np.quantile(expected, [0, 0.25, 0.5, 0.75, 1], method="lower")
            facts["mean seconds, fastest to slowest"] = ", ".join(f"{seconds:.4g}" for seconds in quartiles)
        return object_html(self, facts)

    def times(self, seed: int, dimension: int | None = None, float_bits: int = FLOAT_BITS) -> TaskTimes:
        """Returns the durations of this seed's tasks.

        Args:
          seed: addresses what is drawn.
          dimension: of x, which travels down and whose gradients travel up; where links do not look at the size of a
            message, nobody asks for it.
          float_bits: of a float of x, 64 or 32.
        """
        return TaskTimes(self, seed, dimension, float_bits)


class TaskTimes:
    """How long each task takes: download, cost times one gradient, upload. A function of (seed, worker, number).

    Attributes:
      n: number of workers.
      fixed: seconds of a task of cost 1 with an uncompressed reply, shape (n,), if they never change; else None.
      expected: mean seconds of such a task, shape (n,); None if they are not known.
      least: what no such task is below, shape (n,).
      depends_on_start: whether a task's seconds are known only when its start is.
      are_measured: whether they are known only when the task is over, in real time.
    """

    def __init__(self, workers: Workers, seed: int, dimension: int | None = None, float_bits: int = FLOAT_BITS) -> None:
        self.n = workers.count
        self._dimension = dimension
        self._float_bits = float_bits
        self._bits = self._bits_of(None)
        self._compute: BoundLatency = workers.compute.bind(self.n, Stream(seed, "compute"))
        links: dict[str, BoundLink] = {
            direction: getattr(workers, direction).bind(self.n, Stream(seed, direction), dimension, float_bits)
            for direction in ("download", "upload")
            if not getattr(workers, direction).is_free
        }
        self._links: list[BoundLink] = list(links.values())
        self._download: BoundLink | None = links.get("download")
        self._upload: BoundLink | None = links.get("upload")
        self.are_measured = workers.are_measured
        compute, bits = self._compute, self._bits
        self.expected: Array | None = None
        if not self.are_measured:
            self.expected = np.sum([compute.expected, *(link.seconds(bits) for link in self._links)], axis=0)
        self.least: Array = np.sum([compute.least, *(link.least(bits) for link in self._links)], axis=0)
        self.fixed: Array | None = None
        if compute.fixed is not None and all(link.is_fixed for link in self._links):
            self.fixed = self._with_links(compute.fixed)
        self.depends_on_start = any(part.depends_on_start for part in (compute, *self._links))

    def seconds(self, task: Gradient, worker: int, number: int, start: float) -> float:
        """Returns the seconds of a task of any kind up to its first message, if the worker never gives up.

        In real time they are the least that it takes: 0 if they are measured.
        """
        if self.are_measured:
            return 0.0
        if task.compressor is not None and not task.compressor.travels:
            return self._compute.duration(worker, number, start, task.cost)
        if task.draws == 1:
            return self.duration(worker, number, start, task.cost, *self._sizes(task))
        seconds = 0.0
        for position in range(task.draws):
            seconds += self.duration(worker, number + position, start + seconds, task.cost)
        return seconds

    def _sizes(self, task: Gradient) -> tuple[float, float]:
        """Returns the bits of the task on its way down, and of one message of its reply."""
        return self._bits_of(task.download), self._bits_of(task.compressor)

    def _bits_of(self, compressor: Any) -> int:
        """Returns the bits of a message, compressed or, with None, as it is."""
        return message_bits(compressor, self._dimension or 0, self._float_bits)

    def message_seconds(self, task: Gradient, worker: int, number: int, message: int, start: float) -> float:
        """Returns the seconds of a message of a task's reply after its first."""
        if self._upload is None:
            return 0.0
        # Beyond all numbers of tasks: every message has a draw of its own.
        return self._upload.duration(worker, number + 1 << MESSAGE_BITS | message, start, self._sizes(task)[1])

    def download_parts(self, task: Gradient, worker: int, number: int, start: float) -> tuple[float, float, float]:
        """Returns seconds and seconds of the size of what the worker is sent, and the floats in it; 0 if it is free."""
        if self._download is None:
            return 0.0, 0.0, 0.0
        bits = self._sizes(task)[0]
        return (*self._download.parts(worker, number, start, bits), bits / FLOAT_BITS)

    def compute_seconds(self, task: Gradient, worker: int, number: int, start: float) -> float:
        """Returns the seconds that a task computes."""
        seconds = 0.0
        for position in range(task.draws):
            if task.cost:
                seconds += self._compute.duration(worker, number + position, start + seconds, task.cost)
        return seconds

    def upload_parts(
        self, task: Gradient, worker: int, number: int, message: int, start: float
    ) -> tuple[float, float, float]:
        """Returns seconds and seconds of the size of a message of a task's reply, and the floats in it."""
        bits = self._sizes(task)[1]
        if self._upload is None:
            return 0.0, 0.0, bits / FLOAT_BITS
        drawn = number + 1 << MESSAGE_BITS | message if message else number
        return (*self._upload.parts(worker, drawn, start, bits), bits / FLOAT_BITS)

    def message_gaps(self, task: Gradient) -> Array | None:
        """Returns the seconds between two messages of a task for each worker, shape (n,); None if they are drawn."""
        if self._upload is None:
            return np.zeros(self.n)
        return self._upload.seconds(self._sizes(task)[1]) if self._upload.is_fixed else None

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message, each of shape (n,); None if not known."""
        if self.are_measured:
            return None
        upload = np.zeros(self.n) if self._upload is None else self._upload.seconds(self._bits_of(compressor))
        return self._compute.expected, upload

    def duration(
        self, worker: int, number: int, start: float, cost: float, down: float | None = None, up: float | None = None
    ) -> float:
        """Returns the seconds of one drawn duration; messages of ``down`` and ``up`` bits, d floats by default."""
        if not self._links:
            return self._compute.duration(worker, number, start, cost)
        seconds = 0.0
        if self._download is not None:
            seconds = self._download.duration(worker, number, start, self._bits if down is None else down)
        seconds += self._compute.duration(worker, number, start + seconds, cost) if cost else 0.0
        if self._upload is not None:
            seconds += self._upload.duration(worker, number, start + seconds, self._bits if up is None else up)
        return seconds

    def durations(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], start: Any, cost: float) -> Array:
        """Returns :meth:`duration` of many tasks at once, the same bits; ``start`` is one for all or of shape (m,)."""
        if not self._links:
            return self._compute.durations(workers, numbers, start, cost)
        seconds = np.zeros(len(workers))
        if self._download is not None:
            seconds = self._download.durations(workers, numbers, start, self._bits)
        seconds = seconds + self._compute.durations(workers, numbers, start + seconds, cost)
        if self._upload is not None:
            seconds = seconds + self._upload.durations(workers, numbers, start + seconds, self._bits)
        return seconds

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probabilities that a task of cost 1 ends in time, shape (n,).

        Args:
          seconds: the time that each worker has, shape (n,); a task that takes just as long is in time.

        Returns:
          None if a link is random, or if the durations depend on the start or are not known.
        """
        if not self._has_law:
            return None
        if not self._links:
            return self._compute.probability_within(seconds)
        # Not seconds minus the links: rounding would miss a task that takes exactly as long.
        left = last_float(lambda compute: self._with_links(compute) <= seconds, self.n)
        return self._compute.probability_within(left)

    def quantile(self, probability: float) -> Array | None:
        """Returns the least seconds within which a task of cost 1 ends with this probability, shape (n,).

        Args:
          probability: from 0 to 1; 0.5 gives the medians.

        Returns:
          None if a link is random, or if the durations depend on the start or are not known.
        """
        return self._with_links(self._compute.quantile(probability)) if self._has_law else None

    @property
    def never_end(self) -> NDArray[np.bool_]:
        """Whether no task of a worker ever ends, as far as is known before any runs; shape (n,).

        A power that dies out later is not among these: its worker answers until then.
        """
        never = np.zeros(self.n, dtype=bool)
        if self.are_measured:
            return never
        everyone, numbers = np.arange(self.n), np.zeros(self.n, dtype=np.int64)
        if self._compute.depends_on_start:
            never |= np.isinf(self._compute.durations(everyone, numbers, 0.0))
        else:
            never |= self._compute.probability_within(np.full(self.n, np.finfo(np.float64).max)) == 0
        for link in self._links:
            never |= np.isinf(link.least(self._bits))
        return never

    @property
    def _has_law(self) -> bool:
        if self.depends_on_start or self.are_measured:
            return False
        return all(link.is_fixed for link in self._links)

    def _with_links(self, compute: Array) -> Array:
        """Returns the seconds of whole tasks whose links are fixed, in the order in which a task adds them."""
        seconds = compute
        if self._download is not None:
            seconds = self._download.seconds(self._bits) + seconds
        if self._upload is not None:
            seconds = seconds + self._upload.seconds(self._bits)
        return seconds
