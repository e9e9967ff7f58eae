"""rayopt: which parallel SGD method reaches the target soonest on this fleet?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rayopt.core import import_paths
from rayopt.core.version import __version__ as __version__

if TYPE_CHECKING:
    from rayopt import compression as compressors
    from rayopt import latency, methods, problems, theory
    from rayopt.core.errors import DataError, FleetStuck, InvalidInput, RayoptError
    from rayopt.experiments import callbacks
    from rayopt.experiments.experiment import Experiment
    from rayopt.experiments.profiling.measure import profile
    from rayopt.experiments.replay import replay
    from rayopt.experiments.result import Result, load
    from rayopt.experiments.tuning.grid import Grid
    from rayopt.fleets.ray.fleet import RayFleet
    from rayopt.fleets.shared_memory import SharedMemoryFleet
    from rayopt.fleets.simulated.fleet import SimulatedFleet
    from rayopt.latency import graphs
    from rayopt.latency.link import Link
    from rayopt.latency.network import Network
    from rayopt.latency.workers import Workers
    from rayopt.methods import schedules, server
    from rayopt.report.calls import run, tune
    from rayopt.runs.record import Record
    from rayopt.runs.until import Target, Until

# Imported when they are used: Ray takes seconds, and a worker's process needs a third of the rest.
_MODULE_OF = {
    "DataError": "rayopt.core.errors",
    "Experiment": "rayopt.experiments.experiment",
    "FleetStuck": "rayopt.core.errors",
    "Grid": "rayopt.experiments.tuning.grid",
    "InvalidInput": "rayopt.core.errors",
    "Link": "rayopt.latency.link",
    "Network": "rayopt.latency.network",
    "RayFleet": "rayopt.fleets.ray.fleet",
    "RayoptError": "rayopt.core.errors",
    "Record": "rayopt.runs.record",
    "Result": "rayopt.experiments.result",
    "SharedMemoryFleet": "rayopt.fleets.shared_memory",
    "SimulatedFleet": "rayopt.fleets.simulated.fleet",
    "Target": "rayopt.runs.until",
    "Until": "rayopt.runs.until",
    "Workers": "rayopt.latency.workers",
    "load": "rayopt.experiments.result",
    "profile": "rayopt.experiments.profiling.measure",
    "replay": "rayopt.experiments.replay",
    "run": "rayopt.report.calls",
    "tune": "rayopt.report.calls",
}
_FOLDERS = (
    "compression", "experiments", "fleets", "latency", "methods", "problems", "report", "runs", "storage", "theory",
)  # fmt: skip

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


def __getattr__(name: str) -> Any:
    if name in _FOLDERS or f"rayopt.{name}" in import_paths.ALIASES:
        return importlib.import_module(f"rayopt.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rayopt' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


import_paths.install()
