"""Import paths of public names that have moved: they go on working for a release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

MOVED = {
    "rayopt.errors": "rayopt.core.errors",
    "rayopt.experiment": "rayopt.experiments.experiment",
    "rayopt.profiling": "rayopt.experiments.profiling",
    "rayopt.profiling.measure": "rayopt.experiments.profiling.measure",
    "rayopt.record": "rayopt.runs.record",
    "rayopt.replaying": "rayopt.experiments.replay",
    "rayopt.result": "rayopt.experiments.result",
    "rayopt.tuning": "rayopt.experiments.tuning",
    "rayopt.tuning.grid": "rayopt.experiments.tuning.grid",
    "rayopt.tuning.tune": "rayopt.report.calls",
    "rayopt.until": "rayopt.runs.until",
    "rayopt.workers": "rayopt.latency.workers",
}
"""The modules of 0.2.0 that held a name of ``rayopt.__all__``, and where it is now."""


class _MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} has moved to {new} and is dropped in the next minor release; "
            "the public names are attributes of rayopt itself",
            DeprecationWarning, stacklevel=2,
        )  # fmt: skip
        moved = ModuleType(spec.name, f"The old path of {new}.")
        moved.__getattr__ = lambda name: _find(name, new)  # type: ignore[method-assign]
        return moved

    def exec_module(self, module: ModuleType) -> None:
        """The names are looked up where they are now."""


def _find(name: str, module: str) -> Any:
    public = sys.modules["rayopt"]
    return getattr(public if name in public.__all__ else importlib.import_module(module), name)


def install() -> None:
    """Makes the old paths importable, before finders that would load a second copy of a module."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedModules())
