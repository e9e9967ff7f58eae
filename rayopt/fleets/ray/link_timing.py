"""Times the links between the server and a worker, and identifies the worker's processor."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

WARM_UP = 2
"""Messages of each size that are sent first and not counted: connections are made, memory is mapped."""

Links = dict[tuple[str, int], list[float]]


def time_links(actor: Any, sizes: Sequence[int], repetitions: int) -> Links:
    """Returns the real seconds that payloads take to a worker and back, {("download" or "upload", bytes): seconds}.

    One way cannot be timed where clocks differ. What is timed is a message with the payload and an empty reply, or
    the other way round; half of the least empty round trip is taken off, for the way without payload.

    Args:
      actor: the worker, idle.
      sizes: of the payloads in bytes.
      repetitions: how often each is sent each way.
    """
    empty = min(_round_trips(actor, 0, 0, repetitions)) / 2
    found: Links = {}
    for size in sizes:
        for kind, sent, received in (("download", size, 0), ("upload", 0, size)):
            trips = _round_trips(actor, sent, received, repetitions)
            found[kind, size] = [max(seconds - empty, 0.0) for seconds in trips]
    return found


def _round_trips(actor: Any, sent: int, received: int, repetitions: int) -> list[float]:
    payload = np.zeros(sent, dtype=np.uint8)
    found = []
    for _ in range(WARM_UP + repetitions):
        started_at = time.monotonic()
        ray.get(actor.echo.remote(payload, received))
        found.append(time.monotonic() - started_at)
    return found[WARM_UP:]


def processor() -> str:
    """Returns the kind and the number of this machine's processors."""
    return f"{_model() or platform.processor() or platform.machine()}, {os.cpu_count()} on its machine"


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
