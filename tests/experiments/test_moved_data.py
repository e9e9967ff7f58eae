"""An experiment goes on, and is replayed, from another folder and on data that have moved."""

from __future__ import annotations

import shutil

import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.fleets.simulated import fleet as simulated
from rayopt.problems.data import mnist
from rayopt.storage.checkpoint_files import CheckpointFiles
from tests.runs.test_snapshot import asking_after

WORKLOAD = {
    "problem": {"name": "logistic_regression", "rows": 200, "batch": 4},
    "workers": {"count": 3, "compute": {"name": "trace", "path": "profile.csv", "assign": "cyclic"}},
    "methods": [{"name": "asgd", "step_size": 0.1}],
    "until": {"updates": 60},
    "record": {"every": 10, "metrics": ["value"], "checkpoint": 1000},
}
PROFILE = "# units: seconds, bytes\nworker,kind,bytes,number,seconds\n0,compute,0,0,1\n0,compute,0,1,2.5\n"


def rayopt(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """The folder of a run that was killed after a checkpoint, its data and durations given by relative paths."""
    shutil.copytree(mnist.SUBSET, tmp_path / "digits")
    (tmp_path / "profile.csv").write_text(PROFILE)
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(WORKLOAD))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert rayopt("run", "workload.yaml", "--data", "digits", "--out", "whole", "-q").exit_code == 0
    save = CheckpointFiles.save

    def save_and_die(files, *arguments):
        save(files, *arguments)
        files.wait()
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(simulated, "serve", asking_after(20))
        patch.setattr(CheckpointFiles, "save", save_and_die)
        assert rayopt("run", "workload.yaml", "--data", "digits", "--out", "run", "-q").exit_code == 9
    return tmp_path / "run"


@pytest.mark.parametrize("moved", [False, True])
def test_resume(killed, tmp_path, monkeypatch, moved):
    options = []
    if moved:
        (tmp_path / "digits").rename(tmp_path / "elsewhere" / "digits")
        options = ["--data", "digits"]
    monkeypatch.chdir("elsewhere")
    found = rayopt("resume", "../run", "-q", *options)
    assert found.exit_code == 0, found.output
    ended, whole = ro.load(killed), ro.load(tmp_path / "whole")
    assert ended.history.equals(whole.history)
    place = tmp_path / "elsewhere" if moved else tmp_path
    assert ended.config["problem"]["data"] == {"path": str(place / "digits")}


def test_other_data_are_another_experiment(killed, tmp_path):
    config = killed / "unfinished" / "config.yaml"
    tree = yaml.safe_load(config.read_text())
    assert tree["problem"]["data"] == {"path": str(tmp_path / "digits")}
    config.write_text(yaml.safe_dump({**tree, "problem": {**tree["problem"], "data": "mnist_subset"}}))
    found = rayopt("resume", killed, "--data", "digits")
    assert found.exit_code == 2
    assert "problem: the experiment in " in found.stderr
    assert rayopt("resume", killed, "-q").exit_code == 0


def test_replay(killed, tmp_path, monkeypatch):
    assert rayopt("replay", "whole", "--method", "asgd", "--out", "other").exit_code == 0
    monkeypatch.chdir("elsewhere")
    found = rayopt("replay", "../other")
    assert found.exit_code == 0, found.output
    assert "x equal to the bit" in found.stdout
