"""``ray job submit`` on a cluster of ``ray start``, with token authentication: the MNIST workload, unchanged."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from rayopt.experiments.config import load_workload
from rayopt.experiments.result import load
from rayopt.problems.data.mnist import SUBSET

ROOT = Path(__file__).parents[3]
RAY = Path(sys.executable).with_name("ray")
WORKERS, SECONDS = 3, 1.5
pytestmark = pytest.mark.timeout(280)


def ray_command(*arguments, environment, timeout=240):
    """Output of a ray command that must succeed."""
    done = subprocess.run([RAY, *arguments], env=environment, text=True, capture_output=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def head(short_folder):
    """The environment and the dashboard's address of a cluster that ends by the identifiers of its processes."""
    environment = {**os.environ, "RAY_TMPDIR": short_folder, "RAY_AUTH_MODE": "token"}
    environment.pop("RAY_ADDRESS", None)
    dashboard = free_port()
    # --block: this process is the parent of all others, and takes them with it.
    started = subprocess.Popen(
        [RAY, "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=2", "--disable-usage-stats",
         "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}",
         f"--dashboard-agent-listen-port={free_port()}"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = []
    for line in started.stdout:
        said.append(line)
        if "Ray runtime started" in line:
            break
    else:
        pytest.fail("".join(said))
    yield environment, f"http://127.0.0.1:{dashboard}"
    started.terminate()
    started.wait(timeout=30)


def takes_jobs(address, environment):
    """Whether the cluster can start the program of a job."""
    tried = [RAY, "job", "submit", "--address", address, "--", "true"]
    return subprocess.run(tried, env=environment, capture_output=True, timeout=240).returncode == 0


def test_nobody_submits_without_the_token(head):
    _, address = head
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api/jobs/", timeout=30)
    assert refused.value.code == 401


def test_a_job_leaves_the_folder_that_rayopt_run_leaves(head, tmp_path):
    environment, address = head
    out = tmp_path / "job"
    program = ["workloads/mnist_logreg.py", "--workers", WORKERS, "--time", SECONDS, "--out", out]
    give_up = time.monotonic() + 60
    # A head that has just started takes no jobs yet.
    while not takes_jobs(address, environment) and time.monotonic() < give_up:
        time.sleep(0.5)
    printed = ray_command(
        "job", "submit", "--address", address, "--working-dir", ROOT,
        "--runtime-env-json", json.dumps({"env_vars": {"RAYOPT_DATA": str(SUBSET)}}),
        "--", sys.executable, *map(str, program), environment=environment,
    )  # fmt: skip
    assert "succeeded" in printed
    job = load(out)

    changes = [f"workers.count={WORKERS}", f"until.time={SECONDS}", f"methods[1].batch_size={min(4, WORKERS)}"]
    workload = load_workload(ROOT / "workloads" / "mnist_logreg.yaml", changes, "simulated", SUBSET)
    virtual = workload.build().run(tmp_path / "run")

    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "run").iterdir()} | {
        "value.png", "accuracy.png"
    }  # fmt: skip
    for section in ("methods", "workers", "until", "record", "seeds"):
        assert job.config[section] == virtual.config[section]
    assert job.table.columns.tolist() == virtual.table.columns.tolist()
    same = ["label", "step_size"]
    assert job.table[same].to_numpy().tolist() == virtual.table[same].to_numpy().tolist()
    assert job.history.columns.tolist() == virtual.history.columns.tolist()
    keys = ["label", "seed", "step_size", "time"]
    assert job.history[keys].equals(virtual.history[keys])
    start = job.history.time == 0
    np.testing.assert_array_equal(job.history.value[start], virtual.history.value[start])
    # Minibatch takes the same points in both clocks; the machine decides how many it reaches.
    first, second = (of.history[of.history.label == "Minibatch"] for of in (job, virtual))
    common = first.merge(second, on=["seed", "updates"])
    assert len(common) > 3
    np.testing.assert_allclose(common.value_x, common.value_y, rtol=1e-9)
