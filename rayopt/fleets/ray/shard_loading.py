"""Ships shards (through the object store) and a user's own modules to the actors before a run."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from typing import Any

from rayopt.fleets.ray.memory_estimate import bytes_of
from rayopt.fleets.ray.messages import Load, Profile


def make_loads(
    whole: Profile, profiles: Sequence[Profile], actor_of: Sequence[Any], node: str, server: Any
) -> tuple[Load, dict[Any, Load], int]:
    """Puts what the actors need into the object store.

    Returns what the evaluator needs, by actor what it does, and how many bytes that takes.

    Args:
      whole: the problem with all its data.
      profiles: by worker; those of one shard are equal.
      actor_of: by worker, the actor that holds it.
      node: where the server is.
      server: the actor to push replies to; None where replies are return values.
    """
    import ray

    workers_of: dict[Any, list[int]] = {}
    for worker, actor in enumerate(actor_of):
        workers_of.setdefault(actor, []).append(worker)
    stored: dict[tuple[int, ...], Any] = {}
    loads, size = {}, 0
    for actor, workers in workers_of.items():
        own = {id(profiles[worker].shard): profiles[worker] for worker in workers}
        if (shards := tuple(own)) not in stored:
            # Equal arrays of one object are stored once: a homogeneous shard is the whole problem.
            content = [*own.values(), whole] if whole.shard.homogeneous else list(own.values())
            stored[shards] = ray.put(content)
            size += bytes_of(content)
        places = [shards.index(id(profiles[worker].shard)) for worker in workers]
        loads[actor] = Load(stored[shards], workers, places, node, server)
    if whole.shard.homogeneous:
        return Load(loads[actor_of[0]].profiles, [0], [len(shards)], node), loads, size
    return Load(ray.put([whole]), [0], [0], node), loads, size + bytes_of([whole])


def ship_modules(component: object) -> None:
    """Makes the modules of a user's own method or problem travel with it, so that nodes need no copy of them.

    They are those of its class, of the classes of its attributes (a compressor, a latency), and of what its attribute
    ``from_user_code`` names, if it has one. Installed packages are not shipped: nodes have them.
    """
    from ray import cloudpickle

    installed = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib"))
    parts = [
        part for part in getattr(component, "from_user_code", ()) if getattr(part, "__module__", None) in sys.modules
    ]
    kinds = [type(component), *map(type, getattr(component, "__dict__", {}).values())]
    for part in (*(base for kind in kinds for base in kind.__mro__), *parts):
        module = sys.modules.get(part.__module__)
        place = getattr(module, "__file__", None)
        if place and not part.__module__.startswith("rayopt.") and not place.startswith(installed):
            cloudpickle.register_pickle_by_value(module)
