"""The soak in short: workers are killed all the time, and nothing is lost."""

from __future__ import annotations

import pytest

from benchmarks.soak import losses, soak

pytestmark = pytest.mark.timeout(240)


def test_a_short_soak_loses_nothing(cluster):
    # A kill every 3 s: beside other tests a process takes longer than 2 s to come back.
    outcome, rows, kills = soak(seconds=24.0, kill_every=3.0)
    assert losses(outcome, rows) == []
    assert outcome.ended_by == "time"
    assert kills >= 3
    assert outcome.faults.restarts >= 1
    assert outcome.rows[-1]["value"] < outcome.rows[0]["value"]


def test_a_loss_would_be_noticed(cluster):
    outcome, rows, _ = soak(seconds=2.0, kill_every=60.0)
    assert losses(outcome, rows) == []
    double = rows.copy()
    double["number"][-1] -= 1
    assert len(losses(outcome, double)) == 1
    assert len(losses(outcome, rows[:-1])) == 1
