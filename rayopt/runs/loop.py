"""The loop that both clocks share: arrivals go to the method, and into the record."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.methods.base import Fleet, Method
from rayopt.runs.recorder import RecordedFleet, Recorder


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
        while not recorder.finished:
            arrival = wait(recorder.due)
            if arrival is None:
                recorder.row()
            else:
                if follows_time:
                    method.now = arrival.time
                receive(arrival, fleet)
                record(arrival)
        recorder.end()
