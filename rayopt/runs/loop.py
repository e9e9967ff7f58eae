"""The loop that both clocks share: arrivals go to the method, and into the record."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Fleet, Method
from rayopt.runs.recorder import RecordedFleet, Recorder

LEAST_BLOCK = 16
"""Arrivals that are worth an array."""


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
        takes_blocks = type(method).repeats is not Method.repeats and not recorder.watched.arrivals
        repeat = getattr(fleet, "repeat", None) if takes_blocks else None
        while not recorder.finished:
            if repeat is not None and _takes_a_block(method, repeat, fleet, recorder):
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


def _takes_a_block(method: Method, repeat: Any, fleet: Any, recorder: Recorder) -> bool:
    """Takes the next arrivals together, if all do the same and there are enough of them that it pays."""
    same = method.repeats()
    if same is None or same.most < LEAST_BLOCK or (room := recorder.room) < LEAST_BLOCK:
        return False
    block = repeat(same.task, min(same.most, room), recorder.due)
    if block is None:
        return False
    used = block.of_version(same.task.version)
    if len(used.times):
        same.batch.add_block(used, same.task, fleet.source)
    recorder.block(block)
    return True
