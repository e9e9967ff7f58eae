"""Addresses of clusters, and arguments of the fleet."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time

import grpc
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


HOST = """
import sys
import ray
from rayopt.fleets.ray.connection import connect
connect(None)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
STRANGER = "import sys; from rayopt.fleets.ray.connection import connect; connect(sys.argv[1])"


def test_a_token_that_is_not_there_is_an_error_that_says_so(tmp_path):
    environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", STRANGER, "local"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=100)
    assert "InvalidInput: fleet: Ray finds no token for its cluster (RAY_AUTH_TOKEN_PATH is set but" in done.stderr


def test_a_cluster_that_starts_here_asks_for_a_token_by_itself(tmp_path, short_folder):
    """Nobody sets RAY_AUTH_MODE, as most users do not; who has no token is not let in."""
    environment = {**os.environ, "RAY_TMPDIR": short_folder, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        environment.pop(name, None)
    (tmp_path / "token").write_text(secrets.token_hex(32))
    host = subprocess.Popen(
        [sys.executable, "-c", HOST], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert host.stdout is not None
        address = host.stdout.readline().strip()

        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=60)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        command = [sys.executable, "-c", STRANGER, address]
        subprocess.run(command, env=environment | {"RAY_AUTH_MODE": "token"}, check=True, timeout=100)
    finally:
        host.communicate(input="", timeout=60)
