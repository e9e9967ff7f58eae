"""Log messages on workers and nodes during a run, at a rate that a person can read."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import NamedTuple

TELL_EVERY = 60.0
"""Real seconds between two notices of one kind: what happens meanwhile is one sentence."""
LONGEST = 200
"""Characters of a worker's error that a notice repeats: its first and its last line at most."""


class Kind(NamedTuple):
    """A kind of event: how grave it is, and what one and several of them are called."""

    level: int
    one: str
    several: str


LOST = Kind(logging.WARNING, "a process of workers died", "processes of workers died")
BACK = Kind(logging.INFO, "a process of workers is back", "processes of workers are back")
CALCULATOR_LOST = Kind(
    logging.WARNING, "a process that computes gradients died", "processes that compute gradients died"
)
REJECTED = Kind(logging.WARNING, "a gradient was rejected", "gradients were rejected")
UNMEASURABLE = Kind(logging.WARNING, "a history row has no metrics", "history rows have no metrics")
GIVEN_UP = Kind(logging.WARNING, "workers are given up", "times workers are given up")

Notice = tuple[int, str]
"""A level of ``logging``, and a sentence."""


class EventLog:
    """Counts events and reports them: the first at once, later ones at most once a minute.

    Events are added on one thread and taken on another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Kind, tuple[int, str]] = {}
        self._next: dict[Kind, float] = {}

    def add(self, kind: Kind, what: str) -> None:
        """Notes one event.

        Args:
          kind: of the event.
          what: which worker or node, and the event.
        """
        with self._lock:
            count, _ = self._waiting.get(kind, (0, ""))
            self._waiting[kind] = (count + 1, what)

    def take(self) -> list[Notice]:
        """Returns the messages due now."""
        now = time.monotonic()
        found = []
        with self._lock:
            for kind in list(self._waiting):
                if now >= self._next.get(kind, -math.inf):
                    count, last = self._waiting.pop(kind)
                    self._next[kind] = now + TELL_EVERY
                    text = f"{kind.one}: {last}" if count == 1 else f"{count} {kind.several}, the last: {last}"
                    found.append((kind.level, text))
        return found

    def end(self) -> None:
        """Makes the next :meth:`take` return everything."""
        with self._lock:
            self._next.clear()


def shortened(error: str) -> str:
    """Returns the first and the last line of an error, on one line."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    text = " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
