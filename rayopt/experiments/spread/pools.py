"""The pool of a place."""

from __future__ import annotations

import warnings

from rayopt.core.memory import available_bytes, in_units
from rayopt.experiments.spread.places import Place
from rayopt.experiments.spread.pool import OnProgress, Pool, PoolHere, Setting
from rayopt.experiments.spread.processes import ProcessPool

SHARE = 0.8
"""Of the memory that is free, what all processes together may need."""
PROCESS_BYTES = 150_000_000
"""Of a process that has imported rayopt and has nothing to do."""


def pool_of(
    place: Place,
    setting: Setting,
    items: int,
    bytes_of_an_item: int = 0,
    on_progress: OnProgress = lambda position, progress: None,
) -> Pool:
    """Returns what executes items there.

    Args:
      place: where.
      setting: what all items share.
      items: how many there are.
      bytes_of_an_item: of memory, besides the setting; with less than all need, fewer run at
        once, and a warning says so.
      on_progress: called with the progress of each item.

    Raises:
      InvalidInput: the place cannot be reached.
    """
    if place.kind == "ray":
        from rayopt.experiments.spread.ray_tasks import RayPool

        return RayPool(setting, place.address, on_progress)
    wanted = min(place.processes, items)
    count = min(wanted, most_at_once(bytes_of_an_item))
    if count < wanted:
        warnings.warn(
            f"{count} of {wanted} runs at once: each may need {in_units(bytes_of_an_item + PROCESS_BYTES)} of memory, "
            f"and {in_units(available_bytes() or 0)} are free",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    return PoolHere(setting, on_progress) if count == 1 else ProcessPool(setting, count, on_progress)


def most_at_once(bytes_of_an_item: int) -> int:
    """Returns how many items the memory of this machine has room for, at least one."""
    available = available_bytes()
    if available is None:
        return 1_000_000
    return max(1, int(SHARE * available / (bytes_of_an_item + PROCESS_BYTES)))
