"""To which cluster a fleet connects when a cluster of this machine has died without a word."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import ray

from rayopt.core.errors import InvalidInput
from rayopt.fleets.ray.connection import connect


@pytest.fixture
def asked(monkeypatch, short_folder):
    """What ``ray.init`` is asked for; the last cluster of this machine is dead."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    written = Path(short_folder, "ray", "ray_current_cluster")
    written.parent.mkdir(exist_ok=True)
    written.write_text(f"127.0.0.1:{port}")
    monkeypatch.setenv("RAY_TMPDIR", short_folder)
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


def test_without_a_last_cluster_ray_looks_itself(asked, short_folder):
    Path(short_folder, "ray", "ray_current_cluster").unlink()
    assert connect(None)
    assert asked == [None]


def test_a_local_cluster_is_a_new_one(asked):
    assert connect("local")
    assert asked == ["local"]


def test_a_folder_too_long_for_sockets_is_one_line(asked, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 95)
    with pytest.raises(InvalidInput, match=r"^RAY_TMPDIR: '/tmp/x+' is too long .*; allowed: a folder with a path of"):
        connect("local")
    assert asked == []


def test_a_home_that_cannot_be_written_is_one_line(asked, monkeypatch):
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc")
    with pytest.raises(
        InvalidInput, match=r"^RAY_AUTH_TOKEN_PATH: not set, and Ray cannot keep its token in /proc/\.ray"
    ):
        connect("local")
    assert asked == []


@pytest.mark.parametrize("address", ["::1:6379", "[]:6379", "[::1]", "[::1]:99999999", "host:"])
def test_what_is_no_address(asked, address):
    with pytest.raises(InvalidInput, match="is not an address"):
        connect(address)


def test_an_ipv6_address_in_brackets_is_understood(asked):
    with pytest.raises(InvalidInput, match=r"'\[::1\]:1' does not answer"):
        connect("[::1]:1")
