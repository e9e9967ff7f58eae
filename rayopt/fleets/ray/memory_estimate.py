"""Estimates what a run needs of the object store, before it starts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from rayopt.fleets.ray.messages import INLINE_BYTES
from rayopt.fleets.ray.nodes import Node
from rayopt.methods.base import Method

STORE = "object_store_memory"
MEGABYTE = 1e6


class MemoryEstimate(NamedTuple):
    """Bytes that a run keeps in the object store.

    Attributes:
      shards: the workers' data, and the whole of it for the metrics.
      points: of x, one for each version that a worker still computes at.
      values: of gradients that have not been fetched.
      batch: of gradients that the method collects before it sums them.
    """

    shards: int
    points: int
    values: int
    batch: int

    @classmethod
    def of(cls, shards: int, point: int, workers: int, batch: int = 0) -> MemoryEstimate:
        """Returns the most that may be needed at once.

        Args:
          shards: bytes of all shards.
          point: bytes of x; small ones travel inside messages.
          workers: how many compute at once.
          batch: gradients that the method collects.
        """
        if point < INLINE_BYTES:
            return cls(shards, 0, 0, 0)
        return cls(shards, point * workers, point * workers, point * batch)


def collected(method: Method, workers: int) -> int:
    """Returns how many gradients the method keeps, one by one, until it sums them; 0 if it takes them one at a time.

    A method that waits for every worker has at least one of each; some, such as Malenia, may have more.
    """
    batch = max(getattr(method, name, None) or 0 for name in ("batch_size", "buffer_size"))
    return max(batch, workers) if method.waits_for_everyone else batch


def bytes_of(content: Any) -> int:
    """Returns the size of what ``ray.put`` would store."""
    from ray import cloudpickle

    buffers: list[Any] = []
    head = cloudpickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def warn_if_scarce(demand: MemoryEstimate, nodes: Sequence[Node]) -> None:
    """Warns if a node's object store may not hold what the run needs: Ray then moves objects to its disk.

    Args:
      demand: of the run.
      nodes: those that are up.
    """
    room = min((node.resources[STORE] for node in nodes if STORE in node.resources), default=0.0)
    if not room or sum(demand) <= room:
        return
    parts = ", ".join(f"{name} {amount / MEGABYTE:,.0f} MB" for name, amount in demand._asdict().items())
    warnings.warn(
        f"the object store of a node holds {room / MEGABYTE:,.0f} MB, and this run may need "
        f"{sum(demand) / MEGABYTE:,.0f} MB of it ({parts}): Ray moves the rest to disk, which is slow. Start nodes "
        "with a larger --object-store-memory, or put fewer workers, step sizes or rows or a smaller batch into one run",
        UserWarning,
        stacklevel=4,
    )
