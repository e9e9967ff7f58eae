"""Standard error that cannot be written to: a disk that is full, a pipe that nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import rayopt as ro

FULL = "/dev/full"
TUNE = {
    "methods": [{"name": "ringmaster", "step_size": [0.1, 0.2], "threshold": {"grid": [2, 4]}}],
    "tune": {"metric": "gap", "seeds": [0, 1], "confirm": [5], "processes": 1},
}


@pytest.fixture(params=["closed pipe", "full disk"])
def broken(request):
    """A file that takes nothing."""
    if request.param == "full disk":
        if not os.path.exists(FULL):
            pytest.skip(f"no {FULL}")
        with open(FULL, "wb") as file:
            yield file
    else:
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb") as file:
            yield file


@pytest.fixture
def rayopt(tmp_path, broken):
    """Returns a function that runs a command there."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rayopt", *arguments]
        return subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=broken, text=True, timeout=120)

    return run


@pytest.mark.parametrize("options", [["-v", "-q"], []], ids=["logs", "bars"])
def test_an_experiment_runs_to_its_end(rayopt, workload_file, tmp_path, options):
    workload_file()
    ran = rayopt("run", "small.yaml", "--out", "out", *options)
    result = ro.load(tmp_path / "out")
    assert [run["ended_by"] for run in result.summary["runs"]] == ["time"] * 4
    assert not (tmp_path / "out" / "unfinished").exists()
    assert "out" in ran.stdout
    assert ran.returncode == 0


def test_a_tuning_runs_to_its_end(rayopt, workload_file, tmp_path):
    workload_file(**TUNE)
    ran = rayopt("tune", "small.yaml", "--out", "out")
    assert ro.load(tmp_path / "out" / "confirmed").summary["runs"][0]["ended_by"] == "time"
    assert "Tuning folder: out" in ran.stdout
    assert ran.returncode == 0
