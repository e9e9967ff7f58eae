"""The memory that the workers share: control words, a counter for each worker, and x."""

from __future__ import annotations

import shutil
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import RayoptError

Array = NDArray[np.float64]

LINE = 8
"""Words of 8 bytes in a cache line: what is written by one and read by others has a line of its own."""
STOP, LOCK, TICKET, FIRST_COUNTER = 0, LINE, 2 * LINE, 3 * LINE
"""Places among the control words: the stop flag, the lock, the next update that nobody has taken, the counters."""
START, READY = STOP + 1, 1
"""The start flag, and behind each counter whether its worker waits for it."""

PLACE = Path("/dev/shm")


class Segment:
    """A view of the shared memory, in the process that made it or in one that found it by its name.

    The one that makes it also removes its name, as soon as everyone has found it: from then on the memory goes
    away with the last process that uses it, however that one ends. A process that is killed before is followed by
    Python's resource tracker, which removes the name.

    Args:
      workers: n.
      dimension: number of coordinates of x.
      name: of a segment that another process made; None makes a new one, all zeros.

    Attributes:
      name: under which others find it.
      words: control words, int64.
      x: the iterate, shape (dimension,), which changes while it is read.

    Raises:
      RayoptError: the machine has not enough shared memory.
    """

    def __init__(self, workers: int, dimension: int, name: str | None = None) -> None:
        words = FIRST_COUNTER + LINE * workers
        size = 8 * (words + dimension)
        self._has_name = name is None
        if name is None:
            _check_room(size)
            self._memory = SharedMemory(create=True, size=size)
        else:
            self._memory = _found(name)
        self.name = self._memory.name
        self._workers = workers
        self.words: NDArray[np.int64] = np.ndarray(words, dtype=np.int64, buffer=self._memory.buf)
        self.x: Array = np.ndarray(dimension, dtype=np.float64, buffer=self._memory.buf, offset=8 * words)

    def reset(self, start_point: Array) -> None:
        """Sets x, and everything else to 0; no worker may be running."""
        self.words[:] = 0
        self.x[:] = start_point

    def wait_at_start(self, worker: int) -> None:
        """Says that a worker waits for the start."""
        self.words[FIRST_COUNTER + LINE * worker + READY] = 1

    @property
    def ready(self) -> int:
        """How many workers wait for the start, or have started."""
        return int(self.words[FIRST_COUNTER + READY :: LINE].sum())

    def start(self) -> None:
        """Lets the workers begin."""
        self.words[START] = 1

    @property
    def may_start(self) -> bool:
        """Whether the workers may begin, or must end at once."""
        return bool(self.words[START] or self.words[STOP])

    def stop(self) -> None:
        """Tells all workers to end within milliseconds; may be called from a signal handler."""
        self.words[STOP] = 1

    def counts(self) -> NDArray[np.int64]:
        """Returns how many updates each worker has made, shape (workers,)."""
        return self.words[FIRST_COUNTER::LINE].copy()

    def remove_name(self) -> None:
        """Makes the memory go away with the last process that uses it; no one can find it any more."""
        if self._has_name:
            self._has_name = False
            self._memory.unlink()

    def close(self) -> None:
        """Gives the memory back; the views are not valid any more."""
        self.remove_name()
        del self.words, self.x
        self._memory.close()

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _found(name: str) -> SharedMemory:
    """Returns the memory of this name, without taking over its removal."""
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    memory = SharedMemory(name)
    # Before 3.13 the tracker of every process that looks at the memory would remove it.
    resource_tracker.unregister(f"/{memory.name}", "shared_memory")
    return memory


def _check_room(size: int) -> None:
    """Raises where a first write beyond what there is would kill the process."""
    free = shutil.disk_usage(PLACE).free if PLACE.is_dir() else sys.maxsize
    if size > free:
        raise RayoptError(f"x needs {size / 1e6:,.1f} MB of shared memory and {PLACE} has {free / 1e6:,.1f} MB free")
