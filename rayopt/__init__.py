"""rayopt: which parallel SGD method reaches the target soonest on this fleet?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rayopt import latency, methods, problems, theory
from rayopt.core.errors import DataError, FleetStuck, InvalidInput, RayoptError
from rayopt.experiments.experiment import Experiment, run
from rayopt.experiments.result import Result, load
from rayopt.experiments.tuning.grid import Grid
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency.workers import Workers
from rayopt.runs.record import Record
from rayopt.runs.until import Target, Until

if TYPE_CHECKING:
    from rayopt.experiments.profiling.measure import profile
    from rayopt.experiments.replay import replay
    from rayopt.experiments.tuning.tune import tune
    from rayopt.fleets.ray import RayFleet
    from rayopt.fleets.shared_memory import SharedMemoryFleet

__version__ = "0.2.0"

__all__ = [
    "DataError",
    "Experiment",
    "FleetStuck",
    "Grid",
    "InvalidInput",
    "RayFleet",
    "RayoptError",
    "Record",
    "Result",
    "SharedMemoryFleet",
    "SimulatedFleet",
    "Target",
    "Until",
    "Workers",
    "latency",
    "load",
    "methods",
    "problems",
    "profile",
    "replay",
    "run",
    "theory",
    "tune",
]


def __getattr__(name: str) -> Any:
    # Ray takes seconds to import, and virtual time does not need it.
    if name == "RayFleet":
        from rayopt.fleets.ray import RayFleet

        return RayFleet
    if name == "SharedMemoryFleet":
        from rayopt.fleets.shared_memory import SharedMemoryFleet

        return SharedMemoryFleet
    if name == "profile":
        from rayopt.experiments.profiling.measure import profile

        return profile
    if name == "replay":
        from rayopt.experiments.replay import replay

        return replay
    if name == "tune":
        from rayopt.experiments.tuning.tune import tune

        return tune
    raise AttributeError(f"module 'rayopt' has no attribute {name!r}")
