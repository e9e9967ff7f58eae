"""Sends orders to the workers and receives their replies: direct calls, or batches to packed actors."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ray

from rayopt.fleets.ray.batches import OrderBatch, ReplyBatch
from rayopt.fleets.ray.clocks import FarClocks
from rayopt.fleets.ray.failures import WorkerFailed, is_loss
from rayopt.fleets.ray.messages import INLINE_BYTES, Order, Reply
from rayopt.fleets.ray.worker import PUSH_EVERY

LOOK_UP = 0.1
"""Real seconds between two looks at what seldom changes: a request to stop, a process that died."""


OnLost = Callable[[Any, str], None]
"""Called with an actor whose process died or was restarted, and with the error."""


class Transport(Protocol):
    """The connection to the workers."""

    def send(self, order: Order) -> None:
        """Hands an order to its worker, now or at the next ``receive``; it supersedes the worker's last one."""

    def cancel(self, worker: int, stamp: int) -> None:
        """Ends the worker's orders up to this stamp."""

    def receive(self, timeout: float) -> list[Reply]:
        """Returns what has arrived, in order of completion (see :class:`FarClocks`), on the server's clock.

        Waits up to ``timeout`` real seconds for the first.
        """

    def returned(self, actor: Any) -> None:
        """Takes up again with an actor that was lost and has its shards again."""


class DirectTransport:
    """One actor per worker: a direct call for each task, and a drained ``ray.wait``.

    Args:
      workers: the actors.
      on_lost: called with actors that died.
    """

    def __init__(self, workers: Sequence[Any], on_lost: OnLost) -> None:
        self._workers = workers
        self._on_lost = on_lost
        self._clocks = FarClocks()
        self._pending: dict[Any, tuple[int, int, Any]] = {}
        self._references: list[Any] = [None] * len(workers)
        self._stored: tuple[Any, Any] = (None, None)

    def send(self, order: Order) -> None:
        """Calls the worker at once, after cancelling what it still computes."""
        if self._references[order.worker] in self._pending:
            self.cancel(order.worker, order.stamp - 1)
        actor = self._workers[order.worker]
        assert order.task is not None
        value = None
        if order.task.x.nbytes < INLINE_BYTES:
            reply = actor.compute.remote(order)
        else:
            # One object for each version of x, whoever is sent it.
            if self._stored[0] is not order.task.x:
                self._stored = (order.task.x, ray.put(order.task.x))
            without_x = order._replace(task=order.task.at(None))
            reply, value = actor.compute_large.options(num_returns=2).remote(without_x, self._stored[1])
        self._pending[reply] = (order.worker, order.stamp, value)
        self._references[order.worker] = reply

    def cancel(self, worker: int, stamp: int) -> None:
        """Forgets the pending reply and wakes the worker."""
        self._pending.pop(self._references[worker], None)
        self._workers[worker].cancel.remote(stamp)

    def receive(self, timeout: float) -> list[Reply]:
        """Drains everything that is ready: one ``ray.wait`` for a single result would favour some workers."""
        references = list(self._pending)
        if not references:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(references, num_returns=1, timeout=timeout, fetch_local=False)
        if not ready:
            return []
        if len(references) > 1:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
        owners = [self._pending.pop(reference) for reference in ready]
        try:
            replies = ray.get(ready)
        except ray.exceptions.RayError:
            replies = [self._reply_or_error(*call) for call in zip(ready, owners, strict=True)]
        received_at = time.monotonic()
        found = []
        for reply, (_, _, value) in zip(replies, owners, strict=True):
            if reply is not None:
                if value is not None and reply.error is None:
                    reply = reply._replace(value=value)
                found.append(reply)
        return self._clocks.in_order(found, received_at)

    def returned(self, actor: Any) -> None:
        """Does nothing: the next order is a call of the new process."""

    def _reply_or_error(self, reference: Any, owner: tuple[int, int, Any]) -> Reply | None:
        """Returns what one call brought; None if nothing will come of it."""
        worker, stamp, _ = owner
        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            if is_loss(error):
                self._on_lost(self._workers[worker], str(error))
                return None
            return Reply(worker, stamp, time.monotonic(), None, error=f"raised an error:\n{error}")


class PackedTransport:
    """Many workers per actor: orders leave in one call per actor and batch, replies are pushed into a queue.

    Args:
      actors: by worker, the actor that holds it.
      inbox: what the actors deliver.
      on_lost: called with actors that died.
    """

    def __init__(self, actors: Sequence[Any], inbox: queue.SimpleQueue[ReplyBatch], on_lost: OnLost) -> None:
        self._actors = actors
        self._inbox = inbox
        self._on_lost = on_lost
        self._clocks = FarClocks()
        self._outbox: dict[Any, list[Order]] = {}
        self._calls: dict[Any, Any] = {actor.watch.remote(): actor for actor in dict.fromkeys(actors)}
        self._sent_at = self._looked_at = 0.0

    def send(self, order: Order) -> None:
        """Lays the order into the next batch of its actor."""
        self._outbox.setdefault(self._actors[order.worker], []).append(order)

    def cancel(self, worker: int, stamp: int) -> None:
        """Lays an order without a task into the next batch."""
        self.send(Order(worker, stamp, -1, None, 0.0, 0.0))

    def receive(self, timeout: float) -> list[Reply]:
        """Sends the batches, then takes everything that was delivered."""
        if self._outbox:
            pause = self._sent_at + PUSH_EVERY - time.monotonic()
            if pause > 0 and self._inbox.empty():
                time.sleep(min(pause, timeout))
            for actor, orders in self._outbox.items():
                self._calls[actor.assign.remote(OrderBatch.of(orders))] = actor
            self._outbox = {}
            self._sent_at = time.monotonic()
        found: list[Reply] = []
        try:
            found += self._inbox.get(timeout=timeout).unpack()
            while True:
                found += self._inbox.get_nowait().unpack()
        except queue.Empty:
            pass
        received_at = time.monotonic()
        if received_at > self._looked_at + LOOK_UP:
            self._looked_at = received_at
            self._check_actors()
        return self._clocks.in_order(found, received_at)

    def returned(self, actor: Any) -> None:
        """Watches the new process."""
        self._calls[actor.watch.remote()] = actor

    def _check_actors(self) -> None:
        """Looks whether the actors took their orders and are alive: one that died cannot say so by itself.

        Raises:
          WorkerFailed: an order could not be taken.
        """
        taken, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for reference in taken:
            actor = self._calls.pop(reference, None)
            try:
                ray.get(reference)
            except ray.exceptions.RayError as error:
                if not is_loss(error):
                    raise WorkerFailed(f"a packed actor could not take its orders:\n{error}") from error
                if actor is not None:
                    self._lose(actor, str(error))

    def _lose(self, actor: Any, error: str) -> None:
        """Drops all calls to the dead process: they fail together and count as one death."""
        self._calls = {call: own for call, own in self._calls.items() if own != actor}
        self._outbox.pop(actor, None)
        self._on_lost(actor, error)
