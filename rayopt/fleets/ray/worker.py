"""Worker actors: one worker each, or many workers packed in one process."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rayopt.fleets.ray.batches import OrderBatch, ReplyBatch
from rayopt.fleets.ray.clocks import clock_of
from rayopt.fleets.ray.failures import NotLoaded, WorkerFailed
from rayopt.fleets.ray.link_timing import processor
from rayopt.fleets.ray.messages import Load, Order, Reply
from rayopt.fleets.ray.task_executor import Cancelled, GaveUp, TaskExecutor

PUSH_EVERY = 0.005
"""Real seconds between two batches that a packed actor pushes: fewer, larger messages keep the server free."""
PUSH_AT_MOST = 256
"""Replies in one batch: the server works on the first ones of a burst while the actor computes the next."""
SUPERSEDED = 1000
"""So many orders that nothing waits for may lie in the heap beside as many as are waited for."""


class Worker:
    """The actor of one worker: computes, then waits until the emulated time is over."""

    def __init__(self) -> None:
        self._executor = TaskExecutor()
        self._clock = ""
        self._is_loaded = False
        self._superseded = -1
        self._wake = threading.Event()

    def load(self, load: Load) -> None:
        """Takes the worker's shard."""
        self._clock = clock_of(load.server_node)
        (profile,) = load.fetch().values()
        threadpool_limits(profile.blas_threads)
        self._executor.load(profile, shares_clock=not self._clock)
        self._is_loaded = True

    def compute(self, order: Order) -> Reply | None:
        """Returns the finished task with its value, or None if it was cancelled.

        Raises:
          NotLoaded: the process is new.
        """
        return self._compute(order)

    def compute_large(self, order: Order, x: Any) -> Any:
        """Returns the finished task and its value apart, so that an ignored value is never fetched.

        Args:
          order: its task without the point.
          x: the point.
        """
        assert order.task is not None
        reply = self._compute(order._replace(task=order.task.at(x)))
        return (None, None) if reply is None else (reply._replace(value=None), reply.value)

    def time_gradients(self, orders: Sequence[Order]) -> list[float]:
        """Returns the fleet seconds of each task, computed one after the other with no message between them.

        Args:
          orders: all assigned at the time of the first.

        Raises:
          NotLoaded: the process is new.
          WorkerFailed: a gradient raised an error, or is none.
        """
        if not self._is_loaded:
            raise NotLoaded
        time_scale = self._executor.time_scale
        began_at = ended_at = time.monotonic()
        found = []
        for order in orders:
            started_at = ended_at
            assigned_at = order.assigned_at + (started_at - began_at) / time_scale
            reply = self._compute(order._replace(assigned_at=assigned_at, sent_at=started_at))
            if reply is not None and reply.error is not None:
                raise WorkerFailed(f"worker {order.worker} {reply.error}")
            ended_at = time.monotonic()
            found.append((ended_at - started_at) / time_scale)
        return found

    def echo(self, payload: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Takes a payload and returns one of ``size`` bytes, to be timed."""
        return np.zeros(size, dtype=np.uint8)

    def processor(self) -> str:
        """Returns what the worker computes on."""
        return processor()

    @ray.method(concurrency_group="control")
    def cancel(self, stamp: int) -> None:
        """Ends all orders up to this stamp: the wait at once, a computation at its next chunk."""
        self._superseded = max(self._superseded, stamp)
        self._wake.set()

    def _compute(self, order: Order) -> Reply | None:
        def checkpoint() -> None:
            if self._superseded >= order.stamp:
                raise Cancelled
            if time.monotonic() > gives_up_at:
                raise GaveUp

        if not self._is_loaded:
            raise NotLoaded
        gives_up_at = self._executor.gives_up_at(order)
        error = None
        try:
            checkpoint()
            due_at, in_time = self._executor.due_at(order)
            value, error = self._executor.work(order, in_time, checkpoint)
            while error is None and (left := due_at - time.monotonic()) > 0:
                # The flag is lowered before the stamp is read, so that no cancellation falls between them.
                self._wake.clear()
                checkpoint()
                self._wake.wait(min(left, threading.TIMEOUT_MAX))
            checkpoint()
        except Cancelled:
            return None
        except GaveUp:
            value, in_time = None, False
        return Reply(order.worker, order.stamp, time.monotonic(), value, in_time, error, self._clock)


class PackedWorkers:
    """The actor of many workers: one heap of due times, one timer thread, replies pushed in batches."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Order, bool]] = []
        self._current: dict[int, int] = {}
        self._changed = threading.Condition()
        self._executors: dict[int, TaskExecutor] = {}
        self._clock = ""
        self._server: Any = None
        threading.Thread(target=self._serve_due, daemon=True).start()

    def load(self, load: Load) -> None:
        """Takes the shards of its workers."""
        clock = clock_of(load.server_node)
        profiles = load.fetch()
        threadpool_limits(profiles[load.workers[0]].blas_threads)
        executors = {worker: TaskExecutor() for worker in profiles}
        for worker, profile in profiles.items():
            executors[worker].load(profile, not clock, warm_up=worker == load.workers[0])
        # The other thread may be computing what was ordered before: it keeps the executors that it has, and what
        # comes of it is dropped.
        with self._changed:
            self._due.clear()
            self._current.clear()
            self._executors = executors
            self._clock = clock
            self._server = load.server
        # The connection to the server is made now, not by the first replies.
        ray.get(load.server.deliver.remote(ReplyBatch.of([])))

    def assign(self, orders: OrderBatch) -> None:
        """Takes orders; each supersedes what its worker had, and one without a task only ends it.

        A restarted process drops them, which ``watch`` reports.
        """
        if not self._executors:
            return
        with self._changed:
            for order in orders.unpack():
                if order.task is None:
                    self._current.pop(order.worker, None)
                    continue
                self._current[order.worker] = order.stamp
                due_at, in_time = self._executors[order.worker].due_at(order)
                if due_at < math.inf:
                    heappush(self._due, (due_at, order.stamp, order, in_time))
            # An order holds its point: where tasks are long and cancelled early, memory would grow without bound.
            if len(self._due) > 2 * len(self._current) + SUPERSEDED:
                self._due = [entry for entry in self._due if self._is_current(entry[2])]
                heapify(self._due)
            self._changed.notify()

    @ray.method(concurrency_group="watch")
    def watch(self) -> None:
        """Never returns: the call fails when the process dies, which is how the server learns of it.

        Raises:
          NotLoaded: the process is new.
        """
        if not self._executors:
            raise NotLoaded
        threading.Event().wait()

    def _serve_due(self) -> None:
        try:
            while True:
                due, executors = self._wait_for_due()
                self._serve(due, executors)
                if len(due) < PUSH_AT_MOST:
                    time.sleep(PUSH_EVERY)
        except BaseException:
            # Without this thread the actor would be silent for ever, and nobody would know: a process that ends is
            # seen, and started again. Ray keeps what it wrote.
            traceback.print_exc()
            os._exit(1)

    def _wait_for_due(self) -> tuple[list[tuple[Order, bool]], dict[int, TaskExecutor]]:
        """Returns what is due, from one order up to a full batch, and if in time, with the executors to work at."""
        found: list[tuple[Order, bool]] = []
        with self._changed:
            while not found:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now and len(found) < PUSH_AT_MOST:
                    _, _, order, in_time = heappop(self._due)
                    if self._is_current(order):
                        found.append((order, in_time))
                if not found:
                    # Heavy tails reach beyond the longest wait that there is, about 292 years.
                    self._changed.wait(min(self._due[0][0] - now, threading.TIMEOUT_MAX) if self._due else None)
            return found, self._executors

    def _serve(self, due: list[tuple[Order, bool]], executors: dict[int, TaskExecutor]) -> None:
        """Computes what is due and pushes it: all at once, or in parts if that takes long."""
        finished: list[Reply] = []
        push_at = time.monotonic() + PUSH_EVERY
        for order, in_time in due:
            if not self._is_current(order):
                continue
            finished.append(self._finish(executors[order.worker], order, in_time))
            if finished[-1].completed_at >= push_at:
                self._push(finished)
                finished = []
                push_at = time.monotonic() + PUSH_EVERY
        self._push(finished)

    def _finish(self, executor: TaskExecutor, order: Order, in_time: bool) -> Reply:
        gives_up_at = executor.gives_up_at(order)
        value, error = executor.work(order, in_time)
        if time.monotonic() > gives_up_at:
            value, in_time = None, False
        return Reply(order.worker, order.stamp, time.monotonic(), value, in_time, error, self._clock)

    def _push(self, finished: list[Reply]) -> None:
        """Sends what is still wanted to the server."""
        wanted = [reply for reply in finished if self._is_current(reply)]
        if wanted:
            self._server.deliver.remote(ReplyBatch.of(wanted))

    def _is_current(self, message: Order | Reply) -> bool:
        """Returns whether nothing has superseded the order since it came."""
        return self._current.get(message.worker) == message.stamp
