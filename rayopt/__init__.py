"""rayopt: which parallel SGD method reaches the target soonest on this fleet?"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from rayopt import compression as compressors
from rayopt import latency, methods, problems, theory
from rayopt.core import old_paths
from rayopt.core.errors import DataError, FleetStuck, InvalidInput, RayoptError
from rayopt.core.version import __version__ as __version__
from rayopt.experiments import callbacks
from rayopt.experiments.experiment import Experiment
from rayopt.experiments.result import Result, load
from rayopt.experiments.tuning.grid import Grid
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency import graphs
from rayopt.latency.link import Link
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods import schedules, server
from rayopt.report.calls import run, tune
from rayopt.runs.record import Record
from rayopt.runs.until import Target, Until

if TYPE_CHECKING:
    from rayopt.experiments.profiling.measure import profile
    from rayopt.experiments.replay import replay
    from rayopt.fleets.ray import RayFleet
    from rayopt.fleets.shared_memory import SharedMemoryFleet

__all__ = [
    "DataError",
    "Experiment",
    "FleetStuck",
    "Grid",
    "InvalidInput",
    "Link",
    "Network",
    "RayFleet",
    "RayoptError",
    "Record",
    "Result",
    "SharedMemoryFleet",
    "SimulatedFleet",
    "Target",
    "Until",
    "Workers",
    "callbacks",
    "compressors",
    "graphs",
    "latency",
    "load",
    "methods",
    "problems",
    "profile",
    "replay",
    "run",
    "schedules",
    "server",
    "theory",
    "tune",
]

# Ray takes seconds to import, and virtual time does not need it.
_LAZY = {
    "RayFleet": "rayopt.fleets.ray",
    "SharedMemoryFleet": "rayopt.fleets.shared_memory",
    "profile": "rayopt.experiments.profiling.measure",
    "replay": "rayopt.experiments.replay",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rayopt' has no attribute {name!r}")


old_paths.install()
# What is an attribute here can be imported from as well: `from rayopt.callbacks import Callback`.
for _name in ("callbacks", "compressors", "graphs", "schedules", "server"):
    sys.modules[f"rayopt.{_name}"] = globals()[_name]
