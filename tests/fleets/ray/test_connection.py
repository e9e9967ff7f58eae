"""Addresses of clusters, and arguments of the fleet."""

from __future__ import annotations

import socket
import time

import pytest

import rayopt as ro
from rayopt.fleets.ray.connection import connect, probe
from rayopt.problems import Quadratic


def test_an_address_where_nothing_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    started_at = time.monotonic()
    with pytest.raises(ro.InvalidInput, match="does not answer") as caught:
        ro.RayFleet(address=f"127.0.0.1:{port}").open(Quadratic(2), ro.Workers(1, 1.0))
    assert caught.value.key == "fleet.address"
    assert time.monotonic() - started_at < 15


def test_an_address_where_something_else_listens():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        started_at = time.monotonic()
        with pytest.raises(ro.InvalidInput, match="does not answer as a Ray cluster does"):
            probe(f"127.0.0.1:{other.getsockname()[1]}")
        assert time.monotonic() - started_at < 15


def test_the_address_of_the_environment_is_looked_at_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ro.InvalidInput, match="does not answer"):
        connect(None)


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1x", "127.0.0.1"])
def test_an_address_of_another_form(address):
    with pytest.raises(ro.InvalidInput, match="is not an address"):
        probe(address)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"workers_per_actor": 0}, "workers_per_actor"),
        ({"time_scale": 0}, "time_scale"),
        ({"address": 5}, "address"),
        ({"grace": -1}, "grace"),
        ({"nodes": 0}, "nodes"),
        ({"nodes": True}, "nodes"),
    ],
)
def test_bad_arguments(arguments, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.RayFleet(**arguments)
    assert caught.value.key == key
