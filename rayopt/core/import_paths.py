"""Import paths that are no files: public modules under short names, and, for a release, where names were before.

The old ones give a DeprecationWarning.
"""

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

ALIASES = {
    "rayopt.callbacks": "rayopt.experiments.callbacks",
    "rayopt.compressors": "rayopt.compression",
    "rayopt.graphs": "rayopt.latency.graphs",
    "rayopt.schedules": "rayopt.methods.schedules",
    "rayopt.server": "rayopt.methods.server",
}
"""What is an attribute of the package can be imported from as well: ``from rayopt.callbacks import Callback``."""
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


class _OtherPaths(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MOVED and fullname not in ALIASES:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        if spec.name in ALIASES:
            return None
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
        """Puts the module itself in the place of an alias; names of an old path are looked up where they are now."""
        if module.__name__ in ALIASES:
            sys.modules[module.__name__] = importlib.import_module(ALIASES[module.__name__])


def _find(name: str, module: str) -> Any:
    public = sys.modules["rayopt"]
    return getattr(public if name in public.__all__ else importlib.import_module(module), name)


def install() -> None:
    """Makes these paths importable, before finders that would load a second copy of a module."""
    if not any(isinstance(finder, _OtherPaths) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OtherPaths())
