"""Ships shards (through the object store) and a user's own modules to the actors before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayopt.core.user_code import own_modules
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
    """Makes the modules of a user's own method or problem travel with it, so that nodes need no copy of them."""
    from ray import cloudpickle

    for module in own_modules(component):
        cloudpickle.register_pickle_by_value(module)
