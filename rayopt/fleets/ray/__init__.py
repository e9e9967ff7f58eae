"""The real clock: every worker a Ray actor, or many workers packed in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayopt.fleets.ray.fleet import RayFleet

__all__ = ["RayFleet"]


def __getattr__(name: str) -> Any:
    # The processes of the actors import this package, and not what drives them.
    if name != "RayFleet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rayopt.fleets.ray.fleet import RayFleet

    return RayFleet
