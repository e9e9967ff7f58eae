"""What a run needs of the object store, said before it starts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from rayopt.fleets.ray.messages import INLINE_BYTES
from rayopt.fleets.ray.nodes import Node

STORE = "object_store_memory"
MEGABYTE = 1e6


class Demand(NamedTuple):
    """Bytes that a run keeps in the object store.

    Attributes:
      shards: the workers' data, and the whole of it for the metrics.
      points: of x, one for each version that a worker still computes at.
      values: of gradients that have not been fetched.
    """

    shards: int
    points: int
    values: int

    @classmethod
    def of(cls, shards: int, point: int, workers: int) -> Demand:
        """Returns the most that may be needed at once.

        Args:
          shards: bytes of all shards.
          point: bytes of x; small ones travel inside messages.
          workers: how many compute at once.
        """
        large = 0 if point < INLINE_BYTES else point * workers
        return cls(shards, large, large)


def bytes_of(content: Any) -> int:
    """Returns the size of what ``ray.put`` would store."""
    from ray import cloudpickle

    buffers: list[Any] = []
    head = cloudpickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def warn_if_scarce(demand: Demand, nodes: Sequence[Node]) -> None:
    """Warns if a node's object store may not hold what the run needs: Ray then moves objects to its disk.

    Args:
      demand: of the run.
      nodes: those that are up.
    """
    room = min((node.resources[STORE] for node in nodes if STORE in node.resources), default=0.0)
    if not room or sum(demand) <= room:
        return
    told = ", ".join(f"{name} {amount / MEGABYTE:,.0f} MB" for name, amount in demand._asdict().items())
    warnings.warn(
        f"the object store of a node holds {room / MEGABYTE:,.0f} MB, and this run may need "
        f"{sum(demand) / MEGABYTE:,.0f} MB of it ({told}): Ray moves the rest to disk, which is slow. Start nodes "
        "with a larger --object-store-memory, or pack fewer workers, step sizes or rows into one run",
        UserWarning,
        stacklevel=4,
    )
