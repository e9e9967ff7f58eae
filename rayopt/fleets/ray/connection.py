"""The connection to a Ray cluster: a running one, or a local one that is started."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayopt.core.errors import InvalidInput, first_line
from rayopt.runs.signals import deferred_signals

PROBE_TIMEOUT = 5.0
END_TIMEOUT = 1.0
LONGEST_SOCKET_PATH = 107
"""Bytes of the path of a socket on Linux."""


def connect(address: str | None) -> bool:
    """Connects to the cluster at the address, or starts a local one; returns False if there was a connection.

    Raises:
      InvalidInput: nothing answers at the address.
    """
    asked = address or os.environ.get("RAY_ADDRESS")
    known = _last_cluster_here()
    if asked and asked != "local" and (asked != "auto" or known):
        probe(known if asked == "auto" and known else asked)
    import ray

    if ray.is_initialized():
        return False
    _check_environment()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not asked or asked == "local":
        # A cluster that was killed is still written down as the last one; Ray would wait minutes for it.
        new = asked == "local" or (known is not None and not _listens(known))
        try:
            # Batches of packed workers below this size skip the object store, on clusters that start here.
            with _fully_started():
                ray.init(
                    "local" if new else None, include_dashboard=False,
                    _system_config={"max_direct_call_object_size": 4_000_000}, **quiet,
                )  # fmt: skip
            return True
        except ValueError:
            pass  # `ray start` has made a cluster here: it has its own settings.
        except ray.exceptions.AuthenticationError as error:
            raise InvalidInput(
                "fleet", f"Ray finds no token for its cluster ({first_line(error)})",
                "RAY_AUTH_TOKEN_PATH not set, or the path of a file with a token (`ray get-auth-token --generate`)",
            ) from None  # fmt: skip
    try:
        with _fully_started():
            ray.init(address, **quiet)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise InvalidInput(
            "fleet.address", f"{asked or 'auto'!r}: no Ray cluster lets this program in ({first_line(error)})",
            "auto where `ray start` has run, host:port of a cluster, or nothing for a local one; a cluster that asks "
            "for a token also wants RAY_AUTH_MODE=token and the same token here",
        ) from None  # fmt: skip
    return True


@contextlib.contextmanager
def _fully_started() -> Iterator[None]:
    """Has a signal wait until Ray has started, and then ends it: broken off, it would leave processes behind."""
    import psutil
    import ray

    before = set(psutil.Process().children(recursive=True))

    def end() -> None:
        started = set(psutil.Process().children(recursive=True)) - before
        ray.shutdown()
        # Some would look for their cluster for a while.
        _, left = psutil.wait_procs(started, timeout=END_TIMEOUT)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()

    with deferred_signals(end):
        yield


def _last_cluster_here() -> str | None:
    """Returns the host:port of the cluster that was last started on this machine, as Ray wrote it down."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    written = Path(folder, "ray", "ray_current_cluster")
    return written.read_text().strip() or None if written.is_file() else None


def _listens(address: str) -> bool:
    try:
        probe(address)
    except InvalidInput:
        return False
    return True


def _check_environment() -> None:
    """Raises InvalidInput, with the variable to set, where Ray could not start: it would fail without naming one."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    longest = LONGEST_SOCKET_PATH - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
    if len(os.fsencode(folder)) > longest:
        problem = f"{folder!r} is too long for the paths of Ray's sockets"
        raise InvalidInput("RAY_TMPDIR", problem, f"a folder with a path of at most {longest} bytes, such as /tmp")
    if "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_TOKEN" in os.environ:
        return
    place = Path("~/.ray").expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            "RAY_AUTH_TOKEN_PATH", f"not set, and Ray cannot keep its token in {place} ({error.strerror})",
            "the path of a file that can be written, such as /tmp/ray_token",
        ) from None  # fmt: skip


def probe(address: str) -> None:
    """Checks that a Ray cluster listens at host:port; ``ray.init`` would hang for minutes if none does.

    Raises:
      InvalidInput: the address has another form, or nothing that speaks Ray's protocol listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    allowed = "auto, or host:port where a Ray cluster listens; an IPv6 host in brackets"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise InvalidInput("fleet.address", f"{address!r} is not an address", allowed)
    try:
        socket.create_connection((bare, int(port)), timeout=PROBE_TIMEOUT).close()
    except OSError as error:
        raise InvalidInput("fleet.address", f"{address!r} does not answer ({error})", allowed) from None
    if os.environ.get("RAY_USE_TLS", "0") != "1" and not _speaks_grpc(f"{host}:{port}"):
        raise InvalidInput("fleet.address", f"{address!r} does not answer as a Ray cluster does", allowed)


def _speaks_grpc(target: str) -> bool:
    import grpc

    with grpc.insecure_channel(target) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PROBE_TIMEOUT)
        except grpc.FutureTimeoutError:
            return False
    return True
