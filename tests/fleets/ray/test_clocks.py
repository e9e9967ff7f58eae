"""Stamps of machines whose clocks cannot be compared: the order within one is that of its stamps."""

from __future__ import annotations

import pytest

from rayopt.fleets.ray import clocks
from rayopt.fleets.ray.clocks import FarClocks, clock_of
from rayopt.fleets.ray.messages import Reply

LATE, EARLY = 5000.0, -7000.0
"""What the clocks of two far nodes show at the server's second 0."""


def reply(worker, completed_at, clock=""):
    return Reply(worker, worker, completed_at, None, clock=clock)


def stamped(replies):
    return [(reply.worker, pytest.approx(reply.completed_at)) for reply in replies]


def test_one_drain_of_two_far_nodes_and_the_own_one():
    far = FarClocks()
    replies = [
        reply(0, LATE + 0.875, "late"),
        reply(1, EARLY + 0.5, "early"),
        reply(2, 0.8),
        reply(3, LATE + 0.25, "late"),
        reply(4, EARLY + 0.75, "early"),
        reply(5, 0.375),
    ]
    # The last of each far node counts as received at once: shifts of 0.125 and 0.25 s. What is equal stays as it came.
    assert stamped(far.in_order(replies, 1.0)) == [(3, 0.375), (5, 0.375), (1, 0.75), (2, 0.8), (0, 1), (4, 1)]


def test_the_quickest_reply_so_far_tells_the_clocks_apart():
    far = FarClocks()
    far.in_order([reply(0, LATE + 1.0, "late")], 1.5)
    far.in_order([reply(0, LATE + 1.9, "late")], 2.0)
    # The server was busy: by the receipt alone, both would be done at its end.
    found = far.in_order([reply(1, LATE + 4.0, "late"), reply(2, 3.0), reply(0, LATE + 2.5, "late")], 9.0)
    assert [(one.worker, pytest.approx(one.completed_at, abs=0.01)) for one in found] == [(0, 2.6), (2, 3.0), (1, 4.1)]


def test_nothing_is_done_after_it_was_received():
    far = FarClocks()
    for second in range(100):
        stamp = EARLY + second * (1 + clocks.DRIFT / 2)
        (found,) = far.in_order([reply(0, stamp, "early")], second + 0.1)
        assert found.completed_at <= second + 0.1 + 1e-9


def test_a_clock_that_is_slow_is_followed():
    """In a day it falls 4 s behind; without that, tasks would seem done before they were given."""
    far = FarClocks()
    for second in range(0, 86_400, 60):
        (found,) = far.in_order([reply(0, LATE + second * (1 - clocks.DRIFT / 2), "late")], second + 0.1)
        assert found.completed_at >= second


def test_replies_of_the_own_node_are_not_touched():
    replies = [reply(worker, 1.0 - worker) for worker in range(3)]
    found = FarClocks().in_order(replies, 5.0)
    assert all(mine is own for mine, own in zip(found, reversed(replies), strict=True))


def test_whose_clock_a_process_has(monkeypatch):
    context = type("Context", (), {"get_node_id": lambda self: "here"})
    monkeypatch.setattr(clocks.ray, "get_runtime_context", context)
    assert (clock_of("here"), clock_of("there")) == ("", "here")
