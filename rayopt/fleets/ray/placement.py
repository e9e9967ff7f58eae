"""Placement of actors: spread over nodes, packed on few, or on nodes with a label that stands for a latency."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rayopt.core.errors import InvalidInput, at_least, nearest, non_negative
from rayopt.latency import Groups, Latency, latency
from rayopt.latency.workers import Workers

DEFAULT_LABEL = "speed"
"""The key of a node's label that is given as a bare value: ``fast`` means ``speed=fast``."""

_PART_OF_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?")


class Label(NamedTuple):
    """A label of a node, as ``ray start --labels=KEY=VALUE`` gives it."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class NodeGroup(NamedTuple):
    """The workers that run on nodes with one label.

    Attributes:
      name: the label as it was written.
      label: what it means.
      share: how many workers of a round of all shares.
      compute: seconds per gradient of these workers; None: those of the experiment.
    """

    name: str
    label: Label
    share: int
    compute: Latency | None


@dataclass(frozen=True)
class Placement:
    """Where the actors of the workers are wanted, and what each of them reserves.

    Args:
      strategy: "spread", "pack" or "labels".
      groups: with "labels", the groups in order.
      num_cpus: CPUs that each actor reserves.
      num_gpus: GPUs that each actor reserves.
    """

    strategy: str
    groups: tuple[NodeGroup, ...] = ()
    num_cpus: float = 0.0
    num_gpus: float = 0.0

    @property
    def rounds(self) -> list[NodeGroup | None]:
        """The groups that the workers belong to in turn; worker i to that at position i modulo the length."""
        if not self.groups:
            return [None]
        return [group for group in self.groups for _ in range(group.share)]

    def emulated(self, workers: Workers) -> Workers:
        """Returns the workers with the latencies of their groups, if the groups have any."""
        parts = [group.compute for group in self.rounds if group is not None and group.compute is not None]
        return replace(workers, compute=Groups(parts)) if parts else workers

    def actors(self, workers: int, per_actor: int) -> list[tuple[NodeGroup | None, list[int]]]:
        """Returns of each actor its group and its workers; workers of different groups never share one."""
        rounds = self.rounds
        members: dict[NodeGroup | None, list[int]] = {group: [] for group in dict.fromkeys(rounds)}
        for worker in range(workers):
            members[rounds[worker % len(rounds)]].append(worker)
        return [
            (group, own[first : first + per_actor])
            for group, own in members.items()
            for first in range(0, len(own), per_actor)
        ]

    def to_config(self) -> dict[str, Any]:
        """Returns the arguments of the fleet that make an equal placement, those that are not the default."""
        found: dict[str, Any] = {}
        if self.groups:
            found["placement"] = {"labels": {group.name: _group_config(group) for group in self.groups}}
        elif self.strategy != "spread":
            found["placement"] = self.strategy
        needs = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
        return found | {key: amount for key, amount in needs.items() if amount}


def read_placement(placement: Any, num_cpus: Any, num_gpus: Any) -> Placement:
    """Returns what the arguments of a fleet mean.

    Raises:
      InvalidInput: an argument that is not allowed.
    """
    cpus, gpus = _amount("num_cpus", num_cpus), _amount("num_gpus", num_gpus)
    if placement in ("spread", "pack"):
        return Placement(placement, (), cpus, gpus)
    allowed = "spread, pack, or {labels: {fast: {share: 1}, slow: {share: 3}}}"
    if not isinstance(placement, Mapping):
        hint = nearest(placement, ("spread", "pack")) if isinstance(placement, str) else ""
        raise InvalidInput("placement", f"{placement!r} is unknown{hint}", allowed)
    if set(placement) != {"labels"} or not isinstance(placement["labels"], Mapping) or not placement["labels"]:
        raise InvalidInput("placement", f"{dict(placement)!r} names no labels", allowed)
    groups = []
    for name, arguments in placement["labels"].items():
        try:
            groups.append(_read_group(name, {} if arguments is None else arguments))
        except InvalidInput as error:
            raise error.within(f"placement.labels.{name}") from None
    labels = [group.label for group in groups]
    if len(set(labels)) < len(labels):
        raise InvalidInput("placement.labels", f"{', '.join(map(str, labels))}: one stands twice", "different labels")
    if len({group.compute is None for group in groups}) > 1:
        silent = next(group.name for group in groups if group.compute is None)
        raise InvalidInput(f"placement.labels.{silent}.compute", "missing, and others have one", "all of them or none")
    return Placement("labels", tuple(groups), cpus, gpus)


def read_label(key: str, text: Any) -> Label:
    """Returns the label that KEY=VALUE or a bare VALUE means.

    Raises:
      InvalidInput: it cannot be the label of a node.
    """
    name, _, value = str(text).rpartition("=") if isinstance(text, str) else ("", "", "")
    label = Label(name or DEFAULT_LABEL, value)
    if not all(_PART_OF_LABEL.fullmatch(part) for part in label):
        raise InvalidInput(key, f"{text!r} is not a label of a node", "VALUE or KEY=VALUE, as `ray start --labels` has")
    return label


def _read_group(name: Any, arguments: Any) -> NodeGroup:
    label = read_label("label", name)
    if not isinstance(arguments, Mapping):
        raise InvalidInput("share", f"{arguments!r} is not a mapping", "a mapping such as {share: 2, compute: 0.01}")
    for key in arguments:
        if key not in ("share", "compute"):
            raise InvalidInput(str(key), f"unknown key{nearest(str(key), ('share', 'compute'))}", "share, compute")
    compute = arguments.get("compute")
    try:
        found = None if compute is None else latency(compute)
    except InvalidInput as error:
        raise error.within("compute") from None
    return NodeGroup(name, label, at_least("share", arguments.get("share", 1), 1), found)


def _group_config(group: NodeGroup) -> dict[str, Any]:
    config: dict[str, Any] = {"share": group.share}
    return config if group.compute is None else config | {"compute": group.compute.to_config()}


def _amount(key: str, value: Any) -> float:
    """Returns an amount of a resource: Ray counts in ten-thousandths, and in whole ones above 1."""
    amount = non_negative(key, value)
    if amount > 1 and amount != math.floor(amount):
        raise InvalidInput(key, f"{value!r} is above 1 and not whole", "0, a part of 1, or an integer")
    return amount


def joined(words: Sequence[object]) -> str:
    """Returns the words with commas, or "none"."""
    return ", ".join(map(str, words)) or "none"
