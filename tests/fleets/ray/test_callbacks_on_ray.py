"""Callbacks of a run on Ray: they live in the program that started it."""

from __future__ import annotations

import pandas as pd
import pytest

import rayopt as ro

pytestmark = pytest.mark.cluster

QUADRATIC = ro.problems.Quadratic(5)
WORKERS = ro.Workers(3, "0.02 * i")


class Diary(ro.callbacks.Callback):
    """Writes down what it is told."""

    wants_points = True
    wants_arrivals = True

    def __init__(self):
        self.rows, self.points, self.arrivals, self.ends = [], [], [], []

    def on_row(self, run, row, x):
        self.rows.append(row)
        self.points.append(x)

    def on_arrival(self, run, arrival):
        self.arrivals.append(arrival)

    def on_end(self, run, outcome):
        self.ends.append(outcome.ended_by)


class AtRow(ro.callbacks.Callback):
    """Ends a run at its third row."""

    def on_start(self, run):
        self.seen = 0

    def on_row(self, run, row, x):
        self.seen += 1
        if self.seen == 3:
            run.stop("this is enough")


def test_it_is_told_the_same_as_in_virtual_time(cluster):
    diary = Diary()
    result = ro.run(ro.methods.ASGD(0.1), QUADRATIC, WORKERS, fleet=ro.RayFleet(), until=ro.Until(time=1.0),
                    record=ro.Record(every=0.2), callbacks=[diary])  # fmt: skip
    told = pd.DataFrame(diary.rows).sort_values("time", ignore_index=True)
    pd.testing.assert_frame_equal(told[["time", "updates", "value"]], result.history[["time", "updates", "value"]])
    assert QUADRATIC.metrics(diary.points[-1], ["value"])["value"] == diary.rows[-1]["value"]
    arrived = result.trace[result.trace.outcome != "cancelled"]
    assert [arrival.worker for arrival in diary.arrivals] == arrived.worker.tolist()
    assert [arrival.delay for arrival in diary.arrivals] == arrived.delay.tolist()
    assert diary.ends == ["time"]


def test_it_ends_the_run_and_not_the_next_one(cluster):
    result = ro.run([ro.methods.ASGD(0.1), ro.methods.Minibatch(0.1)], QUADRATIC, WORKERS, fleet=ro.RayFleet(),
                    until=ro.Until(time=60.0), record=ro.Record(every=0.2), callbacks=[AtRow()])  # fmt: skip
    assert [entry["ended_by"] for entry in result.summary["runs"]] == ["callback", "callback"]
    assert all(0.4 <= entry["time"] < 30 for entry in result.summary["runs"])
    assert "AtRow: this is enough" in result.summary["problems"][0]
