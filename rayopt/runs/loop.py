"""The loop that both clocks share: arrivals go to the method, and into the record."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Fleet, Method
from rayopt.runs.recorder import RecordedFleet, Recorder

LEAST_BLOCK = 16
"""Arrivals that are worth an array."""
AHEAD = 16_384
"""Arrivals that are worked out together at the most, of more than four times as many workers a quarter of them."""
PATIENCE = 0.05
"""Seconds that pass at most until a wish to end the run is looked at, unless one arrival takes longer."""


class RunningFleet(Fleet, RecordedFleet, Protocol):
    """A fleet as the loop sees it."""

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; an arrival at exactly ``until`` counts.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
        """


def serve(method: Method, fleet: RunningFleet, recorder: Recorder) -> None:
    """Runs a prepared method on a fleet until the recorder has finished.

    Args:
      method: after ``prepare``.
      fleet: at time 0, all workers idle; or with its method and recorder in the state of a checkpoint.
      recorder: decides when a history row is due and when the run ends.

    Raises:
      FleetStuck: nothing will ever arrive, or arrivals bring no update, and no limit will end the run.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if not recorder.has_begun:
            recorder.begin(method, fleet)
            method.start(fleet)
            recorder.started()
        wait, receive = fleet.wait, method.receive
        record = recorder.watched_arrival if recorder.watched.arrivals else recorder.arrival
        follows_time = method.follows_time
        blocks = _blocks_of(method, fleet) if not recorder.watched.arrivals else None
        while not recorder.finished:
            if blocks is not None and blocks(recorder):
                continue
            arrival = wait(recorder.due)
            if arrival is None:
                recorder.row()
            else:
                if follows_time:
                    method.now = arrival.time
                receive(arrival, fleet)
                record(arrival)
        recorder.end()


def _blocks_of(method: Method, fleet: Any) -> Callable[[Recorder], bool] | None:
    """Returns what takes arrivals together, where it makes no difference; None if each is looked at by itself.

    What is returned takes the next arrivals, and returns whether there were any to take.
    """
    if not hasattr(fleet, "repeat"):
        return None
    if stands_for(method, "repeats", "receive"):
        return lambda recorder: _repeats(method, fleet, recorder)
    if fleet.source.looks_ahead:
        return None
    if method.answers_each and stands_for(method, "answers_each", "receive") and method.asks_for_gradients:
        return Deliveries(method, fleet)
    return None


def stands_for(method: Method, statement: str, reaction: str) -> bool:
    """Whether what a class says of a reaction is about the one that it has, not about that of a class above."""
    of_statement, of_reaction = (
        next(kind for kind in type(method).__mro__ if name in vars(kind)) for name in (statement, reaction)
    )
    return of_statement is not Method and issubclass(of_statement, of_reaction)


def _repeats(method: Method, fleet: Any, recorder: Recorder) -> bool:
    """Takes the next arrivals together, if all do the same and there are enough of them that it pays."""
    same = method.repeats()
    if same is None or same.most < LEAST_BLOCK or (room := recorder.room) < LEAST_BLOCK:
        return False
    block = fleet.repeat(same.task, min(same.most, room), recorder.due)
    if block is None:
        return False
    used = block.of_version(same.task.version)
    if len(used.times):
        same.batch.add_block(used, same.task, fleet.source)
    recorder.block(block, block.versions == same.task.version, method.updates, method.updates)
    return True


class Deliveries:
    """Lets a method receive and answer arrivals that the clock has worked out together.

    Args:
      method: answers each arrival by one task of its worker.
      fleet: in virtual time.
    """

    def __init__(self, method: Method, fleet: Any) -> None:
        self._method = method
        self._fleet = fleet
        self._most = LEAST_BLOCK

    def __call__(self, recorder: Recorder) -> bool:
        """Takes the next arrivals, fewer where they take long: the run may be asked to end in between."""
        most = int(min(self._most, recorder.room, recorder.updates_left))
        # As many as there were: no more than half is worked out in vain.
        ahead = min(recorder.counts.arrivals, max(AHEAD, self._fleet.n // 4))
        part = self._fleet.schedule(most, recorder.due, ahead)
        if part is None:
            return False
        begun_at = perf_counter()
        recorder.block(*self._fleet.deliver(part, self._method))
        seconds = perf_counter() - begun_at
        if seconds > PATIENCE:
            self._most = max(self._most // 2, 1)
        elif seconds < PATIENCE / 4 and len(part.times) == self._most:
            self._most *= 2
        return True
