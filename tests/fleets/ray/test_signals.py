"""Ctrl-C and SIGTERM on Ray: a clean stop, a readable record, no process left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import ray  # noqa: F401  (brings psutil)
import yaml

import rayopt as ro

pytestmark = pytest.mark.timeout(240)

WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 20, "noise": 0.01},
    "workers": {"count": 4, "compute": 0.01},
    "fleet": {"name": "ray"},
    "methods": [{"name": "asgd", "step_size": 0.05}],
    "until": {"time": 3},
    "seeds": [0, 1, 2],
}
STOP_WITHIN = 5.0


SLOW = """
import time
import rayopt as ro

class Slow(ro.problems.Quadratic):
    def gradient(self, x, sample, checkpoint=None):
        time.sleep(60)
        return super().gradient(x, sample)

ro.run(ro.methods.ASGD(0.1), Slow(2), ro.Workers(3, 0.01), fleet=ro.RayFleet(),
       until=ro.Until(time=60), out="run")
"""


def start(arguments, folder):
    """A Python process, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip


@pytest.mark.parametrize("whom", ["ctrl-c", "sigterm"])
def test_a_signal_in_the_second_run(tmp_path, whom):
    import psutil

    (tmp_path / "load.yaml").write_text(yaml.safe_dump(WORKLOAD))
    process = start(["-m", "rayopt", "run", "load.yaml", "--out", "run"], tmp_path)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        while not line.startswith("ASGD, seed 0: 3 s"):
            assert line, "the first run did not end"
            line = process.stderr.readline()
        time.sleep(1)
        others = psutil.Process(process.pid).children(recursive=True)
        assert any("raylet" in other.name() for other in others)
        if whom == "ctrl-c":
            # As a terminal does: to everyone in the foreground.
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        sent_at = time.monotonic()
        while not (tmp_path / "run" / "summary.json").exists() and time.monotonic() < sent_at + 30:
            time.sleep(0.05)
        took = time.monotonic() - sent_at
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert took <= STOP_WITHIN
    result = ro.load(tmp_path / "run")
    assert [run["ended_by"] for run in result.summary["runs"]] == ["time", "interrupted", None]
    assert len(result.trace) == sum(run.get("arrivals", 0) for run in result.summary["runs"])
    assert result.history.value.notna().any()
    assert "interrupted: the record up to fleet time " in errors
    _, left = psutil.wait_procs(others, timeout=5)
    assert not left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_while_ray_starts(tmp_path, number):
    import psutil

    (tmp_path / "load.yaml").write_text(yaml.safe_dump(WORKLOAD))
    process = start(["-m", "rayopt", "run", "load.yaml", "--out", "run"], tmp_path)
    seen = set()
    try:
        # As soon as there is something that could be left behind.
        while not any("gcs_server" in child.name() for child in seen):
            assert process.poll() is None, process.communicate()
            seen |= set(psutil.Process(process.pid).children(recursive=True))
        process.send_signal(number)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                seen |= set(psutil.Process(process.pid).children(recursive=True))
            time.sleep(0.02)
        _, errors = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors == "interrupted: nothing was kept\n"
    assert not (tmp_path / "run").exists()
    _, left = psutil.wait_procs(seen, timeout=5)
    assert not left


def test_a_signal_while_the_workers_load(tmp_path):
    import psutil

    # The first gradient is part of the loading: a minute of it.
    (tmp_path / "slow.py").write_text(SLOW)
    process = start(["slow.py"], tmp_path)
    try:
        while not (tmp_path / "run" / "unfinished").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(3)
        others = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        sent_at = time.monotonic()
        _, errors = process.communicate(timeout=100)
        took = time.monotonic() - sent_at
    finally:
        process.kill()
    assert took <= STOP_WITHIN
    assert errors.endswith("KeyboardInterrupt\n")
    assert not (tmp_path / "run").exists()
    _, left = psutil.wait_procs(others, timeout=5)
    assert not left
