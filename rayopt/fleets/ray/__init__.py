"""The real clock: every worker a Ray actor, or many workers packed in one."""

from rayopt.fleets.ray.fleet import RayFleet

__all__ = ["RayFleet"]
