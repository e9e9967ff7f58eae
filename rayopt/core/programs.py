"""Programs of nodes that have no server: what each reacts to, and what it may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rayopt.core.arrivals import Alarm, Arrival
from rayopt.core.tasks import Gradient

POINTS, SUMS, COUNTERS, SIGNALS, MODELS = MESSAGE_KINDS = "points", "sums", "counters", "signals", "models"
"""What messages hold: the first part of a payload."""


def kind_of(flow: str) -> str:
    """Returns what the messages of a flow hold: a flow may be numbered."""
    return flow.split(" ")[0]


class Node(Protocol):
    """What a program may touch: its own machine and its ways to others.

    Attributes:
      number: of the node, from 0.
      neighbours: the nodes that it can send to, in order.
      now: seconds since the start.
    """

    number: int
    neighbours: Sequence[int]

    @property
    def now(self) -> float: ...

    def compute(self, task: Gradient) -> None:
        """Starts a task; stops the one before."""

    def stop(self) -> None:
        """Stops the task that runs."""

    def send(self, neighbour: int, payload: tuple[Any, ...], floats: int, flow: str = "") -> None:
        """Sends a message as soon as the edge is free.

        Args:
          neighbour: to whom.
          payload: what; it must not change afterwards.
          floats: the size of the message.
          flow: its kind. Of messages of one kind that wait for an edge only the newest is sent.
        """

    def is_free(self, neighbour: int, flow: str = "") -> bool:
        """Whether a message of this kind would leave at once."""

    def wake(self, seconds: float) -> None:
        """Asks for :meth:`NodeProgram.woken` after so many seconds."""


class NodeProgram:
    """What one node does. Its attributes are of the kinds that a checkpoint can keep.

    A program never sleeps, never draws a time and never sees Ray or another node's state.

    Attributes:
      known: how many updates the method counts, for the versions of tasks in the record; no program acts by it.
    """

    known: int = 0

    def computed(self, node: Node, arrival: Arrival) -> None:
        """Reacts to the end of the node's task."""

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        """Reacts to a message of a neighbour."""

    def sent(self, node: Node, neighbour: int) -> None:
        """Reacts to an edge that has become free and on which nothing waits."""

    def woken(self, node: Node) -> None:
        """Reacts to an alarm that it has asked for."""


class NodeEvent(Alarm):
    """Something that happens at a node and is not a gradient.

    Attributes:
      node: at which.
    """

    __slots__ = ("node",)

    def __init__(self, time: float, set_at: float, node: int) -> None:
        super().__init__(time, set_at)
        self.node = node


class Delivery(NodeEvent):
    """A message that has come to a node.

    Attributes:
      sender: the neighbour that sent it.
      payload: what it holds; first its kind.
      message_number: its number among those that have left over its edge, from 0.
      floats: its size.
    """

    __slots__ = ("floats", "message_number", "payload", "sender")

    def __init__(
        self,
        time: float,
        set_at: float,
        node: int,
        sender: int,
        payload: tuple[Any, ...],
        message_number: int = 0,
        floats: int = 0,
    ) -> None:
        super().__init__(time, set_at, node)
        self.sender = sender
        self.payload = payload
        self.message_number = message_number
        self.floats = floats


class EdgeFreed(NodeEvent):
    """An edge of a node that has carried a message to its end.

    Attributes:
      neighbour: where it leads.
      flow: the kind of the message that it has carried.
      is_free: whether nothing has waited for it; else it carries the next message now, and no program is notified.
    """

    __slots__ = ("flow", "is_free", "neighbour")

    def __init__(
        self, time: float, set_at: float, node: int, neighbour: int, flow: str = "", is_free: bool = True
    ) -> None:
        super().__init__(time, set_at, node)
        self.is_free = is_free
        self.neighbour = neighbour
        self.flow = flow
