"""Stamps of other machines, on the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import ray

from rayopt.fleets.ray.messages import Reply

DRIFT = 1e-4
"""Seconds per second by which two clocks may drift apart, more than those of computers do."""


def clock_of(server_node: str) -> str:
    """Returns whose clock this process has: its node's, or "" if that is the server's too."""
    node: str = ray.get_runtime_context().get_node_id()
    return "" if node == server_node else node


class FarClocks:
    r"""What other nodes' clocks are late by, learned from the stamps of what came from there.

    Clocks of two machines cannot be compared. But no reply is received before it was sent, so of

    .. math:: s = \min_j \; (\text{received}_j - \text{stamp}_j)

    over the replies j of a node, the stamp plus s is not later than the receipt, and later than the true time by what
    the node's quickest reply took on its way. s may grow by ``DRIFT``, so that it follows a clock that is slow.
    """

    def __init__(self) -> None:
        self._shifts: dict[str, tuple[float, float]] = {}

    def in_order(self, replies: Sequence[Reply], received_at: float) -> list[Reply]:
        """Returns what was received at once in order of completion, ``completed_at`` on the server's clock.

        Replies of one node are in the order of their stamps, those of several in that of the shifted ones; what is
        equal stays as it came.

        Args:
          replies: as they came.
          received_at: the server's clock, real seconds.
        """
        latest: dict[str, float] = {}
        for reply in replies:
            if reply.clock:
                latest[reply.clock] = max(reply.completed_at, latest.get(reply.clock, reply.completed_at))
        if latest:
            shifts = {clock: self._shift(clock, stamp, received_at) for clock, stamp in latest.items()}
            replies = [
                reply._replace(completed_at=reply.completed_at + shifts[reply.clock]) if reply.clock else reply
                for reply in replies
            ]
        return sorted(replies, key=attrgetter("completed_at"))

    def _shift(self, clock: str, stamp: float, received_at: float) -> float:
        """Returns the shift of a clock, after its latest stamp was received."""
        shift = received_at - stamp
        if clock in self._shifts:
            before, looked_at = self._shifts[clock]
            shift = min(shift, before + DRIFT * (received_at - looked_at))
        self._shifts[clock] = shift, received_at
        return shift
