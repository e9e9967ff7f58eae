"""One local cluster for the tests of this folder."""

from __future__ import annotations

import tempfile

import pytest
import ray


@pytest.fixture(scope="package", autouse=True)
def no_cluster_is_left():
    yield
    ray.shutdown()


@pytest.fixture(params=[1, 2], ids=["direct", "packed"])
def per_actor(request):
    return request.param


@pytest.fixture(scope="module")
def short_folder():
    """A folder for the files of a cluster of its own; Ray keeps in it which one this machine's last cluster was.

    Its path is short, because sockets with long names go into it.
    """
    with tempfile.TemporaryDirectory(prefix="ro", ignore_cleanup_errors=True) as folder:
        yield folder
