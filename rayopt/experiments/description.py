"""The resolved configuration of an experiment: mappings that make an equal one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rayopt.experiments.experiment import Experiment


def describe(experiment: Experiment) -> dict[str, Any]:
    """Returns the resolved configuration of an experiment, which a workload file could hold: it means an equal one.

    A problem that was made from arrays is described by what else is known of it.
    """
    workers, until, record = experiment.workers, experiment.until, experiment.record
    links = {key: getattr(workers, key).to_config() for key in ("upload", "download")}
    found = {
        "problem": experiment.problem.to_config(),
        "workers": {
            "count": workers.count,
            "compute": workers.compute.to_config(),
            **{key: link for key, link in links.items() if link["name"] != "zero"},
        },
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
    return plain(found)


def plain(value: Any) -> Any:
    """Returns a value made of mappings, lists, numbers and strings alone, as YAML holds them."""
    match value:
        case np.ndarray() | np.generic():
            return value.tolist()
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case object(name=str() as name) if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"name": name, **plain(dataclasses.asdict(value))}
    return value
