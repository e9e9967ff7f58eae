"""To which cluster a fleet connects when a cluster of this machine has died without a word."""

from __future__ import annotations

import socket

import pytest
import ray

from rayopt.core.errors import InvalidInput
from rayopt.fleets.ray.connection import connect


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What ``ray.init`` is asked for; the last cluster of this machine is dead."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{port}")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    found = []
    monkeypatch.setattr(ray, "init", lambda address=None, **arguments: found.append(address))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    return found


def test_a_new_cluster_is_started_where_the_last_one_died(asked):
    assert connect(None)
    assert asked == ["local"]


def test_auto_says_that_it_died(asked):
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:\d+' does not answer"):
        connect("auto")
    assert asked == []


def test_without_a_last_cluster_ray_looks_itself(asked, tmp_path):
    (tmp_path / "ray" / "ray_current_cluster").unlink()
    assert connect(None)
    assert asked == [None]


def test_a_local_cluster_is_a_new_one(asked):
    assert connect("local")
    assert asked == ["local"]
