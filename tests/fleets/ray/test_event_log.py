"""What is logged of workers and nodes: at once, and not too often."""

from __future__ import annotations

import logging

from rayopt.fleets.ray import event_log as module
from rayopt.fleets.ray.event_log import BACK, LOST, EventLog, shortened
from rayopt.fleets.ray.nodes import Node
from rayopt.fleets.ray.report_poller import changes


def test_the_first_of_a_kind_is_told_at_once_and_a_day_of_kills_once_a_minute(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    notices, told = EventLog(), []
    for death in range(43_200):
        notices.add(LOST, f"worker {death % 4}: killed")
        told += notices.take()
        now[0] += 2
    assert told[0] == (logging.WARNING, "a process of workers died: worker 0: killed")
    assert told[1] == (logging.WARNING, "30 processes of workers died, the last: worker 2: killed")
    assert len(told) == 24 * 60


def test_kinds_do_not_wait_for_each_other_and_the_end_tells_the_rest():
    notices = EventLog()
    notices.add(LOST, "worker 1: killed")
    notices.add(BACK, "worker 1")
    assert [level for level, _ in notices.take()] == [logging.WARNING, logging.INFO]
    notices.add(BACK, "worker 2")
    assert notices.take() == []
    notices.end()
    assert notices.take() == [(logging.INFO, "a process of workers is back: worker 2")]


def test_an_error_is_its_first_and_its_last_line():
    assert shortened("raised an error:\nTraceback\n  File\nZeroDivisionError: by design\n") == (
        "raised an error: ZeroDivisionError: by design"
    )
    assert shortened("killed") == "killed"
    assert len(shortened("x" * 1000)) < 210


def test_nodes_that_go_and_come():
    head, old, new = (Node(name, f"10.0.0.{name}", name == "1", {}, {}) for name in "123")
    assert changes([head, old], [head, new]) == [
        (logging.WARNING, "node 10.0.0.2 is lost; 2 are up"),
        (logging.INFO, "node 10.0.0.3 is new; 2 are up"),
    ]
    assert changes([head], [head]) == []
