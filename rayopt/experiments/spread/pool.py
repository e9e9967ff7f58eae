"""What executes items of work, one of them in a process at a time: the contract of all places."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from threadpoolctl import threadpool_limits

from rayopt.core.user_code import own_modules
from rayopt.fleets.base import FleetKind, Session
from rayopt.latency.workers import Workers
from rayopt.problems.base import Problem
from rayopt.runs.outcome import INTERRUPTED, Progress

MOST_DEATHS = 3
"""Times in a row that processes may die before anything ends."""

Found = dict[str, Any]
"""What came of an item; its ``problem`` is ``INTERRUPTED`` if it was stopped."""
OnProgress = Callable[[int, Progress], None]


class Setting(Protocol):
    """What all items share: an experiment."""

    problem: Problem
    workers: Workers
    fleet: FleetKind


class Item(NamedTuple):
    """One piece of work.

    Attributes:
      content: what the task needs besides the setting.
      folder: where the task keeps what it can go on from; None if it keeps nothing.
      kind: items of one kind take about as long as each other.
    """

    content: Any
    folder: Path | None = None
    kind: str = ""


Task = Callable[[Any, Session, Item, Callable[[Progress], None]], Found]
"""(setting, session, item, on_progress) -> what came of it: a function of a module, which other processes import."""


def modules_of(setting: Setting) -> list[ModuleType]:
    """Returns the modules of a user that other processes need for a setting, and may not find."""
    workers: Any = setting.workers
    parts: list[Any] = [setting.problem, workers, workers.upload, workers.download, *getattr(setting, "methods", ())]
    return [module for part in parts for module in own_modules(part)]


class Order:
    """Which item is next: one of a kind that has not been timed, else of the kind that takes longest.

    So at the end no process is alone with the longest item.

    Args:
      items: by position.
    """

    def __init__(self, items: Mapping[int, Item]) -> None:
        self._left = dict(items)
        self._seconds: dict[str, float] = {}
        self._began: dict[int, tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._left)

    def next(self) -> int:
        """Returns the position of the item that is next, which begins now."""
        begun = {kind for kind, _ in self._began.values()}
        new = [at for at, item in self._left.items() if item.kind not in begun and item.kind not in self._seconds]
        position = new[0] if new else max(self._left, key=lambda at: self._seconds.get(self._left[at].kind, math.inf))
        self._began[position] = (self._left.pop(position).kind, time.monotonic())
        return position

    def ended(self, position: int) -> None:
        """Notes how long an item has taken."""
        kind, began_at = self._began.pop(position)
        self._seconds[kind] = time.monotonic() - began_at


class Pool(Protocol):
    """Executes items."""

    def run(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Found | Exception]]:
        """Yields the position of each item with what came of it, as soon as it is known.

        An item that was stopped, or did not begin because of it, is not yielded.

        Raises:
          RayoptError: processes die again and again.
        """

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends all items that run at their next arrival; may be called from a signal handler."""


class PoolHere:
    """Executes items one after the other in this process, with one BLAS thread.

    Args:
      setting: of all items.
      on_progress: called with the progress of each item.
    """

    def __init__(self, setting: Setting, on_progress: OnProgress = lambda position, progress: None) -> None:
        self._setting = setting
        self._on_progress = on_progress
        self._session: Session | None = None
        self._is_stopped = False

    def run(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Found | Exception]]:
        """See :class:`Pool`."""
        with (
            threadpool_limits(1),
            self._setting.fleet.open(self._setting.problem, self._setting.workers) as self._session,
        ):
            for position, item in enumerate(items):
                try:
                    tell = partial(self._on_progress, position)
                    found: Found | Exception = task(self._setting, self._session, item, tell)
                except Exception as error:
                    found = error
                if self._is_stopped:
                    return
                yield position, found

    def stop(self, reason: str = INTERRUPTED) -> None:
        """See :class:`Pool`."""
        self._is_stopped = True
        if self._session is not None:
            self._session.stop(reason)
