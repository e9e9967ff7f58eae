"""A cluster of several nodes on this machine, which can be removed and added while a run goes on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
from ray.cluster_utils import Cluster


class Nodes:
    """A head and two more nodes, and a connection to them.

    Args:
      head_cpus: of the head.
      cpus: of each other node.
    """

    def __init__(self, head_cpus: int, cpus: int) -> None:
        self._cpus = cpus
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus, "include_dashboard": False})
        self.others = [self.cluster.add_node(num_cpus=cpus) for _ in range(2)]
        ray.init(self.cluster.address, log_to_driver=False)

    def remove(self) -> None:
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def add(self) -> None:
        self.others.append(self.cluster.add_node(num_cpus=self._cpus))


@contextmanager
def nodes_with(head_cpus: int, cpus: int) -> Iterator[Nodes]:
    """Starts such a cluster, in a folder of its own."""
    # Ray keeps there where the last cluster of this machine listens. Short: it has sockets.
    ray.shutdown()
    folder = tempfile.mkdtemp(prefix="ro")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        found = Nodes(head_cpus, cpus)
        yield found
        ray.shutdown()
        found.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
