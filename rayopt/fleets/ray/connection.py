"""The way to a Ray cluster: one that runs, or a local one that is started."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from rayopt.errors import InvalidInput

PROBE_TIMEOUT = 5.0


def connect(address: str | None) -> bool:
    """Connects to the cluster at the address, or starts a local one; returns False if there was a connection.

    Raises:
      InvalidInput: nothing answers at the address.
    """
    asked = address or os.environ.get("RAY_ADDRESS")
    if asked and asked not in ("auto", "local"):
        probe(asked)
    import ray

    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not asked:
        try:
            # Batches of packed workers below this size skip the object store, on clusters that start here.
            ray.init(include_dashboard=False, _system_config={"max_direct_call_object_size": 4_000_000}, **quiet)
            return True
        except ValueError:
            pass  # `ray start` has made a cluster here: it has its own settings.
    try:
        ray.init(address, **quiet)
    except ConnectionError as error:
        raise InvalidInput(
            "fleet.address", f"{address!r}: no Ray cluster answers ({str(error).splitlines()[0]})",
            "auto where `ray start` has run, host:port of a cluster, or nothing for a local one",
        ) from None  # fmt: skip
    return True


def probe(address: str) -> None:
    """Checks that a Ray cluster listens at host:port; ``ray.init`` would hang for minutes if none does.

    Raises:
      InvalidInput: the address has another form, or nothing that speaks Ray's protocol listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    allowed = "auto, or host:port where a Ray cluster listens"
    if not host or not port.isdigit():
        raise InvalidInput("fleet.address", f"{address!r} is not an address", allowed)
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT).close()
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
