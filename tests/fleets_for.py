"""Fleets on which a method can run: workers of a server, or a network for one without."""

from __future__ import annotations

from typing import Any

import rayopt as ro
from rayopt.methods import Method


def workers_for(method: Method, count: int, compute: Any, **latencies: Any) -> ro.Workers:
    """Returns so many workers; for a method without a server a star of them, whose edges take a quarter of a second."""
    if method.decentralized:
        return ro.Network(ro.graphs.star(count), compute, edges=0.25)
    return ro.Workers(count, compute, **latencies)
