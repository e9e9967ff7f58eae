"""Real Ray: the server or the driver is killed, and the run goes on from its last checkpoint."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import ray
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt import methods
from rayopt.cli import main
from rayopt.experiments.config import load_workload
from rayopt.fleets.ray.fleet import RaySession
from rayopt.problems import Quadratic
from rayopt.storage.checkpoint_files import read
from tests.killed_runs import killed

pytestmark = pytest.mark.timeout(240)
ENDS_CLUSTER = True

UPDATES = 400


def checked(result):
    """Looks at a run of ASGD that was interrupted: every update once, every task number once, one clock."""
    trace = result.trace
    assert trace.updates.tolist() == list(range(1, len(trace) + 1))
    for _, own in trace.groupby("worker"):
        assert own.number.tolist() == list(range(len(own)))
    assert (np.diff(trace.time) >= 0).all()
    assert result.table.updates[0] == len(trace) == UPDATES
    assert result.history.time.is_monotonic_increasing
    assert result.history.gap.notna().all()
    (again,) = ro.replay(result.folder.path).runs
    assert again.difference is None, str(again)
    assert (again.arrivals, again.updates) == (UPDATES, UPDATES)


@pytest.mark.parametrize(
    ("per_actor", "dimension", "links"),
    [(1, 20, {}), (2, 20, {}), (1, 30_000, {}), (2, 20, {"server_bandwidth": 1e6, "overlap": True})],
    ids=["direct", "packed", "large values", "paced"],
)
def test_the_server_is_killed(cluster, tmp_path, monkeypatch, per_actor, dimension, links):
    sessions = []
    make = RaySession.__init__

    def noted(self, *arguments, **others):
        make(self, *arguments, **others)
        sessions.append(self)

    monkeypatch.setattr(RaySession, "__init__", noted)

    def kill():
        while not list((tmp_path / "run" / "unfinished").glob("checkpoint-*.npz")):
            time.sleep(0.01)
        pid = ray.get(sessions[0]._server.pid.remote())
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = ro.run(
        methods.ASGD(0.05), Quadratic(dimension, noise=0.01), ro.Workers(4, "0.02 * sqrt(i)"), seed=1,
        until=ro.Until(updates=UPDATES), fleet=ro.RayFleet(workers_per_actor=per_actor, **links),
        record=ro.Record(every=0.2, checkpoint=0.5), out=tmp_path / "run",
    )  # fmt: skip
    killer.join()
    assert result.summary["runs"][0]["server_restarts"] == 1
    checked(result)
    assert result.history.gap.iloc[-1] < 0.5 * result.history.gap.iloc[0]


def test_a_server_that_always_dies_is_an_error(cluster, tmp_path):
    started_at = time.monotonic()
    with pytest.raises(ro.core.errors.ServerLost, match="died"):
        ro.run(Deadly(0.1), Quadratic(3), ro.Workers(2, 0.01), until=ro.Until(updates=5), fleet=ro.RayFleet(),
               out=tmp_path / "run")  # fmt: skip
    assert time.monotonic() - started_at < 120
    assert not (tmp_path / "run").exists()


class Deadly(methods.ASGD):
    """Kills its server with the first update."""

    name = "deadly"

    def receive(self, arrival, fleet):
        os.kill(os.getpid(), signal.SIGKILL)


WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 20, "noise": 0.01},
    "workers": {"count": 4, "compute": "0.02 * sqrt(i)"},
    "fleet": {"name": "ray"},
    "methods": [{"name": "asgd", "step_size": 0.05}],
    "until": {"updates": UPDATES},
    "record": {"every": 0.2, "checkpoint": 0.5},
}


def test_the_driver_is_killed(tmp_path):
    workload, folder = tmp_path / "workload.yaml", tmp_path / "run"
    workload.write_text(yaml.safe_dump(WORKLOAD))
    killed(workload, folder, checkpoints=1)
    before = ro.storage.run_folder.RunFolder.interrupted(folder).read_trace()
    found = CliRunner().invoke(main, ["resume", str(folder), "--quiet"])
    assert found.exit_code == 0, found.output
    checked(ro.load(folder))
    assert len(before) < UPDATES


def test_the_driver_of_parallel_gradients_is_killed(tmp_path):
    workload, folder = tmp_path / "workload.yaml", tmp_path / "run"
    changes = {"fleet": {"name": "simulated", "gradients": "ray", "processes": 2}, "until": {"updates": 10_000}}
    workload.write_text(yaml.safe_dump(WORKLOAD | changes))
    killed(workload, folder, checkpoints=1)
    assert read(folder / "unfinished" / "checkpoint-000001.npz").tree["run"] is not None
    found = CliRunner().invoke(main, ["resume", str(folder), "--quiet"])
    assert found.exit_code == 0, found.output
    workload.write_text(yaml.safe_dump(WORKLOAD | changes | {"fleet": {"name": "simulated"}}))
    whole, result = load_workload(workload).build().run(tmp_path / "whole"), ro.load(folder)
    assert len(result.trace) == 10_000
    assert result.history.to_csv() == whole.history.to_csv()
    assert result.trace.to_csv() == whole.trace.to_csv()
