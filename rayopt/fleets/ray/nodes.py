"""The nodes of a cluster, and the reservations of actors on them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rayopt.core.errors import InvalidInput
from rayopt.fleets.ray.placement import NodeGroup, Placement, joined, read_label
from rayopt.runs.logs import LOGGER

HEAD_RESOURCE = "node:__internal_head__"
WAIT_FOR_SEATS = 30.0
"""Real seconds that reservations may take to become free: an experiment before this one may still leave them."""

WAIT_FOR_NODES = 600.0
"""Real seconds that nodes may take to join: a cloud starts machines and installs on them."""
LOOK_FOR_NODES_EVERY = 1.0

Seat = tuple[NodeGroup | None, list[int]]
"""What one actor holds: the group of its workers, and the workers."""


class Node(NamedTuple):
    """A machine of the cluster that is up.

    Attributes:
      id: Ray's identifier.
      address: its IP address.
      is_head: whether the cluster was started there.
      labels: as ``ray start --labels`` gave them, and Ray's own.
      resources: what it has in all, such as {"CPU": 4.0}.
    """

    id: str
    address: str
    is_head: bool
    labels: Mapping[str, str]
    resources: Mapping[str, float]

    def holds(self, needs: Mapping[str, float]) -> float:
        """Returns how many actors with these needs it has room for."""
        rooms = [math.floor(self.resources.get(name, 0.0) / amount + 1e-9) for name, amount in needs.items() if amount]
        return min(rooms, default=math.inf)


def alive_nodes() -> list[Node]:
    """Returns the nodes of the connected cluster that are up, the head first."""
    import ray

    found = [
        Node(node["NodeID"], node["NodeManagerAddress"], HEAD_RESOURCE in node["Resources"], node["Labels"] or {},
             node["Resources"])
        for node in ray.nodes() if node["Alive"]
    ]  # fmt: skip
    return sorted(found, key=lambda node: (not node.is_head, node.address, node.id))


def wait_for_nodes(count: int, at_most: float = WAIT_FOR_NODES) -> None:
    """Waits until so many nodes are up.

    Args:
      count: of nodes.
      at_most: real seconds to wait.

    Raises:
      InvalidInput: they did not come in time.
    """
    give_up = time.monotonic() + at_most
    before = -1
    while (up := len(alive_nodes())) < count:
        if up != before:
            LOGGER.info("waits for nodes: %d of %d are up", up, count)
            before = up
        if time.monotonic() >= give_up:
            raise InvalidInput(
                "fleet.nodes", f"{count} are to be up, and there {'is' if up == 1 else 'are'} {up} after {at_most:g} s",
                "at most as many as the cluster gets; `ray status` on its head shows those that join",
            )  # fmt: skip
        time.sleep(min(LOOK_FOR_NODES_EVERY, at_most))


def find_node(wanted: str, nodes: Sequence[Node], own: str) -> Node:
    """Returns the node that the server is asked to be on.

    Args:
      wanted: "head", "driver", an IP address, an identifier of Ray, or a label.
      nodes: those that are up.
      own: the identifier of the driver's node.

    Raises:
      InvalidInput: no node is meant.
    """
    for node in nodes:
        if (wanted == "head" and node.is_head) or (wanted == "driver" and node.id == own):
            return node
    for node in nodes:
        if wanted in (node.address, node.id):
            return node
    label = read_label("fleet.server_node", wanted)
    for node in nodes:
        if node.labels.get(label.key) == label.value:
            return node
    raise InvalidInput(
        "fleet.server_node", f"no node that is up is meant by {wanted!r}",
        f"head, driver, an address ({joined([node.address for node in nodes])}) or a label ({_labels_of(nodes)})",
    )  # fmt: skip


def check_room(placement: Placement, reservations: Sequence[Seat], nodes: Sequence[Node]) -> None:
    """Checks that the nodes that are up can hold the actors.

    Raises:
      InvalidInput: no node has a label that is asked for, or there is too little of a resource.
    """
    needs = _needs(placement)
    for group, actors in _by_group(reservations):
        own = nodes if group is None else [node for node in nodes if _has(node, group)]
        where = "the nodes" if group is None else f"the nodes with {group.label}"
        if not own:
            assert group is not None
            raise InvalidInput(
                f"fleet.placement.labels.{group.name}", f"no node that is up has the label {group.label}",
                f"labels of the nodes that are up ({_labels_of(nodes)}); `ray start --labels={group.label}` gives one",
            )  # fmt: skip
        room = sum(node.holds(needs) for node in own)
        if room < len(actors):
            asked = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
            has = "; ".join(
                f"{node.address}: {joined([f'{node.resources.get(name, 0):g} {name}' for name in needs])}"
                for node in own
            )
            raise InvalidInput(
                "fleet.num_cpus" if needs.get("CPU") else "fleet.num_gpus",
                f"{len(actors)} worker actors with {asked} each, and {where} hold {room:g} ({has})",
                "less for each, fewer workers, more workers_per_actor or more nodes",
            )  # fmt: skip


class Reservations:
    """Places of actors on nodes, held by placement groups: when a node is lost, Ray moves its reservations to others.

    A placement group of Ray spreads one actor over each node and no further, so there is one for each round over the
    nodes. On a single node, actors without needs sit anywhere.

    Args:
      placement: where they are wanted.
      reservations: by actor, its group and its workers.
      nodes: those that are up.

    Raises:
      InvalidInput: the reservations are not free in time.
    """

    def __init__(self, placement: Placement, reservations: Sequence[Seat], nodes: Sequence[Node]) -> None:
        self._held: list[Any] = []
        self.options: list[dict[str, Any]] = [
            {"num_cpus": placement.num_cpus, "num_gpus": placement.num_gpus} for _ in reservations
        ]
        needs = _needs(placement)
        if len(nodes) == 1 and not needs and not placement.groups:
            return
        # A bundle must hold something: one byte of memory is always free, a part of a CPU is not.
        bundle = needs or {"memory": 1}
        for group, actors in _by_group(reservations):
            own = len(nodes) if group is None else sum(_has(node, group) for node in nodes)
            at_once = len(actors) if placement.strategy == "pack" or own == 1 else own
            for first in range(0, len(actors), at_once):
                self._hold(bundle, group, actors[first : first + at_once], placement.strategy == "pack")
        self._wait()

    def close(self) -> None:
        """Gives the reservations back."""
        from ray.util import remove_placement_group

        for held in self._held:
            remove_placement_group(held)
        self._held = []

    def _hold(self, bundle: dict[str, float], group: NodeGroup | None, actors: Sequence[int], pack: bool) -> None:
        from ray.util import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        selectors = None if group is None else [{group.label.key: group.label.value}] * len(actors)
        held = placement_group(
            [bundle] * len(actors), strategy="PACK" if pack else "SPREAD", bundle_label_selector=selectors
        )
        self._held.append(held)
        for position, actor in enumerate(actors):
            self.options[actor]["scheduling_strategy"] = PlacementGroupSchedulingStrategy(held, position)

    def _wait(self) -> None:
        import ray

        _, missing = ray.wait(
            [held.ready() for held in self._held], num_returns=len(self._held), timeout=WAIT_FOR_SEATS
        )
        if missing:
            self.close()
            free = ray.available_resources()
            raise InvalidInput(
                "fleet.placement", f"there was no room for all worker actors within {WAIT_FOR_SEATS:g} s: "
                f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU are free", "a cluster with room"
            )  # fmt: skip


def _needs(placement: Placement) -> dict[str, float]:
    amounts = {"CPU": placement.num_cpus, "GPU": placement.num_gpus}
    return {name: amount for name, amount in amounts.items() if amount}


def _by_group(reservations: Sequence[Seat]) -> Iterator[tuple[NodeGroup | None, list[int]]]:
    """Yields every group with the positions of its actors."""
    for group in dict.fromkeys(group for group, _ in reservations):
        yield group, [actor for actor, (own, _) in enumerate(reservations) if own == group]


def _has(node: Node, group: NodeGroup) -> bool:
    return node.labels.get(group.label.key) == group.label.value


def _labels_of(nodes: Sequence[Node]) -> str:
    own = Counter(
        f"{key}={value}" for node in nodes for key, value in node.labels.items() if not key.startswith("ray.io/")
    )
    return joined([f"{label} on {count}" for label, count in own.items()])
