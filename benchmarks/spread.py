"""Many runs at once beside the same runs one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import rayopt as ro
from benchmarks.measure import Row, interleaved, seconds
from rayopt.experiments.config import load_workload
from rayopt.experiments.spread.places import HERE, Place, cores

ON_CORES, ON_CLUSTER = 1.8, 1.6


def rows() -> Iterator[Row]:
    """Yields the rows of runs that are spread."""
    yield on_processes()
    yield on_cluster()


def experiment() -> ro.Experiment:
    """The four methods of ``workloads/mnist_virtual.yaml`` on four seeds: sixteen runs."""
    workload = Path(__file__).parents[1] / "workloads" / "mnist_virtual.yaml"
    return load_workload(workload, ["problem.data=mnist_subset", "seeds=[0, 1, 2, 3]"]).build()


def timed(place: Place) -> float:
    """Returns the seconds of all runs at a place, results written."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seconds(lambda: experiment().run(os.path.join(folder, "run"), on=place))


def on_processes() -> Row:
    """On the cores of this machine, the start of the processes included."""
    here, spread = interleaved(lambda: timed(HERE), lambda: timed(Place("processes", 2)))
    return row("in 2 processes", here, spread, ON_CORES)


def on_cluster() -> Row:
    """On a local Ray cluster of three nodes, which have two CPUs in all; its start is not counted, that of tasks is."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()
    folder = tempfile.mkdtemp(prefix="ro")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        ray.init(cluster.address, log_to_driver=False)
        here, spread = interleaved(lambda: timed(HERE), lambda: timed(Place("ray")))
    finally:
        ray.shutdown()
        cluster.shutdown()
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
    return row("on a local Ray cluster of 3 nodes with 2 CPUs", here, spread, ON_CLUSTER)


def row(where: str, here: float, spread: float, most: float) -> Row:
    """Returns the row of a place."""
    return Row(f"16 runs of mnist_virtual.yaml, {where}", f"{here / spread:.2f} x ({spread:.1f} s)",
               f"at least {most:g} x one after the other", here >= most * spread,
               f"{here:.1f} s; {cores()} cores")  # fmt: skip
