"""Work spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from threadpoolctl import threadpool_limits

from rayopt.core.errors import RayoptError
from rayopt.experiments.spread.pool import (
    MOST_DEATHS,
    Found,
    Item,
    OnProgress,
    Order,
    PoolHere,
    Setting,
    Task,
    modules_of,
)
from rayopt.experiments.spread.shared_object import SharedObject
from rayopt.fleets.base import Session
from rayopt.runs.outcome import INTERRUPTED, Progress

SECONDS_TO_STOP = 5.0
LOOK_EVERY = 0.2
"""Real seconds between two looks at the progress of all processes."""
FIELDS = 6
"""Of a progress: how often it was reported, time, updates, arrivals, value, wall seconds."""


class ProcessPool:
    """Executes items in processes of this machine, each with one BLAS thread; see :class:`.pool.Pool`.

    An item whose process dies is executed again, from what it has kept.

    Args:
      setting: of all items; its large arrays are in memory once for all processes.
      count: how many run at the same time.
      on_progress: called with the progress of each item, a few times a second.
    """

    def __init__(self, setting: Setting, count: int, on_progress: OnProgress = lambda position, progress: None) -> None:
        self._setting = setting
        self._count = count
        self._on_progress = on_progress
        self._here: PoolHere | None = None
        # A forked process would inherit the threads' locks of BLAS and of the progress display.
        self._context = multiprocessing.get_context("spawn")
        # The processes see the end of a pipe whose other end is here, also if this process is gone. An event would
        # wait for ever for the answer of a process that died.
        self._ending, self._line = self._context.Pipe(duplex=False)

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends all running items at their next arrival."""
        self._line.close()
        if self._here is not None:
            self._here.stop(reason)

    def run(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Found | Exception]]:
        """See :class:`.pool.Pool`."""
        try:
            shared = SharedObject.of((self._setting, list(items)), modules_of(self._setting))
        except OSError as error:
            warnings.warn(
                f"runs execute one after the other: processes share no memory ({error})", UserWarning, stacklevel=2
            )
            self._here = PoolHere(self._setting, self._on_progress)
            yield from self._here.run(task, items)
            return
        # Without a lock: one that a process held when it died would stop all others.
        reports = self._context.RawArray("d", FIELDS * len(items) + 1)
        left, deaths = dict(enumerate(items)), 0
        try:
            while left and not self._line.closed:
                try:
                    for position, found in self._run_once(task, left, shared, reports):
                        deaths = 0
                        del left[position]
                        yield position, found
                    return
                except BrokenProcessPool:
                    deaths += 1
                    if not reports[-1] and not self._line.closed:
                        raise RayoptError(
                            "no process could begin: a program that asks for several needs the guard "
                            '`if __name__ == "__main__":` around what it does, and a file that it is in'
                        ) from None
                    if deaths > MOST_DEATHS and not self._line.closed:
                        raise RayoptError(
                            f"a process died {deaths} times over the same work (was memory short? try fewer processes)"
                        ) from None
        finally:
            self._line.close()
            self._ending.close()
            shared.close()

    def _run_once(
        self, task: Task, items: Mapping[int, Item], shared: SharedObject, reports: Any
    ) -> Iterator[tuple[int, Found | Exception]]:
        """Yields what came of items until all have ended; raises BrokenProcessPool when a process has died."""
        count = min(self._count, len(items))
        pool = ProcessPoolExecutor(count, self._context, _Process.open, (shared, self._ending, reports))
        died: BrokenProcessPool | None = None
        try:
            order = Order(items)
            futures: dict[Future[Found], int] = {}
            seen: dict[int, float] = {}
            while (order or futures) and died is None:
                try:
                    while order and len(futures) < count and not self._line.closed:
                        position = order.next()
                        futures[pool.submit(_Process.run, task, position)] = position
                except BrokenProcessPool as broken:
                    died = broken
                if not futures:
                    break
                ended, _ = wait_for(futures, LOOK_EVERY, FIRST_COMPLETED)
                self._hand_on(futures.values(), reports, seen)
                for future in ended:
                    position, error = futures.pop(future), future.exception()
                    order.ended(position)
                    if isinstance(error, BrokenProcessPool):
                        died = error
                    elif isinstance(error, Exception):
                        yield position, error
                    elif (found := future.result())["problem"] != INTERRUPTED:
                        yield position, found
        except BaseException:
            # Nobody waits for the others any more.
            self._line.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if died is not None:
            raise died

    def _hand_on(self, positions: Any, reports: Any, seen: dict[int, float]) -> None:
        """Hands on the progress that items have reported since the last look."""
        for position in positions:
            times, *fields = reports[position * FIELDS : (position + 1) * FIELDS]
            if times != seen.get(position, 0.0):
                seen[position] = times
                now, updates, arrivals, value, wall_seconds = fields
                self._on_progress(position, Progress(now, int(updates), int(arrivals), value, wall_seconds))


class _Process:
    """What one process of the pool keeps between its items."""

    shared: SharedObject
    setting: Setting
    items: list[Item]
    failure: Exception | None = None
    session: Session
    ending: Connection
    reports: Any

    @classmethod
    def open(cls, shared: SharedObject, ending: Connection, reports: Any) -> None:
        """Prepares a new process; what all items share travels here once."""
        # A terminal sends Ctrl-C to every process of the group; the pipe is what counts.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threadpool_limits(1)
        cls.shared, cls.ending, cls.reports = shared, ending, reports
        reports[-1] = 1.0
        try:
            cls.setting, cls.items = shared.get()
            cls.session = cls.setting.fleet.open(cls.setting.problem, cls.setting.workers)
        except Exception as error:
            # Each item tells of it: an error here would be the end of the process, and of no use.
            cls.failure = error
            return
        threading.Thread(target=cls.watch, daemon=True).start()

    @classmethod
    def watch(cls) -> None:
        """Stops the running item when the pipe ends, and ends the process if that takes long."""
        wait([cls.ending])
        # Who made it may be gone.
        cls.shared.remove_file()
        cls.session.stop()
        threading.Event().wait(SECONDS_TO_STOP)
        os._exit(1)

    @classmethod
    def run(cls, task: Task, position: int) -> Found:
        """Executes one item."""
        if cls.failure is not None:
            raise cls.failure
        if wait([cls.ending], timeout=0):
            return {"problem": INTERRUPTED}
        return task(cls.setting, cls.session, cls.items[position], partial(cls.tell, position))

    @classmethod
    def tell(cls, position: int, progress: Progress) -> None:
        """Notes where an item stands."""
        first = position * FIELDS
        fields = (progress.time, progress.updates, progress.arrivals, progress.value, progress.wall_seconds)
        cls.reports[first + 1 : first + FIELDS] = fields
        cls.reports[first] += 1
