"""Problems, fleets and methods by name: what there is, which arguments it takes, and how it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from rayopt.core.errors import InvalidInput, nearest
from rayopt.fleets.base import FleetKind
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.methods.base import Method

T = TypeVar("T")


def _ray_fleet() -> type[FleetKind]:
    from rayopt.fleets.ray.fleet import RayFleet

    return RayFleet


def _shared_memory_fleet() -> type[FleetKind]:
    from rayopt.fleets.shared_memory import SharedMemoryFleet

    return SharedMemoryFleet


FLEETS: dict[str, Callable[[], type[FleetKind]]] = {
    "simulated": lambda: SimulatedFleet,
    "ray": _ray_fleet,
    "shared_memory": _shared_memory_fleet,
}
"""How to get the class of each fleet; Ray takes seconds to import, and virtual time does not need it."""


def look_up(name: str, registry: Mapping[str, T]) -> T:
    """Returns what has this name, whatever its case, with or without ``_`` and ``-``.

    Raises:
      InvalidInput: nothing has; the text gives the nearest name and all of them.
    """
    for known, found in registry.items():
        if _bare(known) == _bare(name):
            return found
    raise InvalidInput("name", f"{name!r} is unknown{nearest(name.lower(), registry)}", ", ".join(registry))


def arguments_of(component: type) -> dict[str, inspect.Parameter]:
    """Returns the arguments that a workload file may give to a component, by name.

    They are those of its class method ``from_config`` if it has one, else those of its constructor; of a method also
    the controls.
    """
    if issubclass(component, Method):
        return component.arguments()
    return dict(inspect.signature(_maker(component)).parameters)


def make(component: type[T], arguments: Mapping[str, Any], other_keys: Collection[str] = ("name",)) -> T:
    """Returns a component made from the arguments of a workload file.

    Args:
      component: its class.
      arguments: by name.
      other_keys: what else may stand beside them in the file, for the error text.

    Raises:
      InvalidInput: an argument is unknown, missing, or not allowed by the component.
    """
    known = arguments_of(component)
    everything = (*other_keys, *known)
    for key in arguments:
        if key not in known:
            raise InvalidInput(key, f"unknown key{nearest(key, everything)}", ", ".join(everything))
    required = [key for key, parameter in known.items() if parameter.default is parameter.empty]
    for key in required:
        if key not in arguments:
            raise InvalidInput(key, "missing", f"a value; {component.__name__} needs {', '.join(required)}")
    return _maker(component)(**arguments)


def _maker(component: type[T]) -> Callable[..., T]:
    return getattr(component, "from_config", component)


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()
