"""The resolved configuration of an experiment: mappings that make an equal one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rayopt.compression import Compressor
from rayopt.fleets.base import FleetKind
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.methods.schedules import Schedule
from rayopt.methods.server import ServerUpdate
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import Callback
from rayopt.runs.record import Record
from rayopt.runs.until import Until


class Described(Protocol):
    """The parts of an experiment that its configuration names (see ``rayopt.experiments.experiment.Experiment``)."""

    methods: Sequence[Method]
    problem: Problem
    workers: Workers
    until: Until
    fleet: FleetKind
    record: Record
    seeds: Sequence[int]
    labels: Sequence[str] | None
    force: bool
    callbacks: Sequence[Callback]
    modules: Sequence[str]


def describe(experiment: Described) -> dict[str, Any]:
    """Returns the resolved configuration of an experiment, which a workload file could hold: it means an equal one.

    A problem that was made from arrays is described by what else is known of it.
    """
    workers, until, record = experiment.workers, experiment.until, experiment.record
    links = {key: getattr(workers, key) for key in ("upload", "download")}
    fleet: dict[str, Any] = {"workers": {
        "count": workers.count,
        "compute": workers.compute.to_config(),
        **{key: link.to_config() for key, link in links.items() if not link.is_free},
    }}  # fmt: skip
    if isinstance(workers, Network):
        fleet = {"network": workers.to_config()}
    found = {
        "problem": experiment.problem.to_config(),
        **fleet,
        "fleet": experiment.fleet.to_config(),
        "methods": [
            {"name": method.name, **method.parameters, "label": label}
            for method, label in zip(experiment.methods, experiment.labels or (), strict=True)
        ],
        "until": {key: limit for key, limit in dataclasses.asdict(until).items() if limit not in (None, math.inf)},
        "record": {key: choice for key, choice in dataclasses.asdict(record).items() if choice is not None},
        "seeds": list(experiment.seeds),
        "force": experiment.force,
    }
    # Those that were written in Python have no name that a file could give them.
    if callbacks := [config for callback in experiment.callbacks if (config := callback.to_config())]:
        found["callbacks"] = callbacks
    if experiment.modules:
        found["module"] = list(experiment.modules)
    return plain(found)


def plain(value: Any) -> Any:
    """Returns a value made of mappings, lists, numbers and strings alone, as YAML holds them."""
    match value:
        case np.ndarray() | np.generic():
            return value.tolist()
        case Compressor() | Schedule() | ServerUpdate():
            return plain(value.to_config())
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case object(name=str() as name) if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"name": name, **plain(dataclasses.asdict(value))}
    return value
