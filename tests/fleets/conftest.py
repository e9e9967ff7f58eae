"""A local cluster for the tests of these folders that need one."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def cluster(request):
    """Connects to a cluster of this process, the one that is there or a new one.

    It stays for the next module, unless this one has ``ENDS_CLUSTER = True``.
    """
    import ray

    from rayopt.fleets.ray.connection import connect

    connect(None)
    yield
    if getattr(request.module, "ENDS_CLUSTER", False):
        ray.shutdown()
