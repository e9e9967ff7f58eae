"""One x in the memory of one machine, which compiled workers update in place."""

from rayopt.fleets.shared_memory.fleet import SharedMemoryFleet

__all__ = ["SharedMemoryFleet"]
