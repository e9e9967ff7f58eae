"""``rayopt tune``, end to end in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main

GRIDS = {
    "methods": [
        {"name": "ringmaster", "step_size": {"powers": 2, "from": -4, "to": -1}, "threshold": {"halvings": 4, "by": 2}},
        {"name": "asgd", "step_size": [0.05, 0.1, 0.2], "label": "Plain"},
    ],
    "tune": {"metric": "gap", "seeds": [0, 1], "confirm": [5], "processes": 1},
}


@pytest.fixture
def tune(tmp_path, monkeypatch, workload_file):
    """Returns a function that tunes the small workload in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    workload_file(**GRIDS)
    return lambda *options: CliRunner().invoke(main, ["tune", "small.yaml", *map(str, options)])


def test_writes_the_folder_and_shows_what_was_chosen(tune, tmp_path):
    found = tune()
    assert found.exit_code == 0, found.output
    folder = tmp_path / "tuning" / "small"
    assert {path.name for path in folder.iterdir()} == {
        "tuning.yaml", "jobs", "tuning.parquet", "tuned.yaml", "confirmed", "ringmaster.png", "plain.png",
    }  # fmt: skip
    assert "8 jobs, 2 methods with 15 combinations, 2 tuning seeds, 4 workers; results go to" in found.stdout
    assert "Tuned: median over seeds 0, 1; confirmed: seed 5." in found.stdout
    assert "Tuning folder: tuning/small\nFigure: tuning/small/ringmaster.png" in found.stdout
    table = pd.read_parquet(folder / "tuning.parquet")
    assert len(table) == (4 * 3 + 3) * 2
    best = table[table.label == "Ringmaster"].groupby(["threshold", "step_size"]).gap.median()
    assert f"{best.min():.4g}" in found.stdout
    tuned = yaml.safe_load((folder / "tuned.yaml").read_text())["methods"]
    assert (float(tuned[0]["threshold"]), tuned[0]["step_size"]) == best.idxmin()


def test_what_was_chosen_runs_as_a_workload(tune, tmp_path):
    assert tune("--quiet", "--out", "out").stdout == "out\n"
    run = CliRunner().invoke(main, ["run", "out/tuned.yaml", "--out", "again"])
    assert run.exit_code == 0, run.output
    pd.testing.assert_frame_equal(ro.load("again").history, ro.load("out/confirmed").history, check_exact=True)
    assert CliRunner().invoke(main, ["report", "out/confirmed"]).exit_code == 0


def test_the_same_command_goes_on(tune):
    first = tune()
    second = tune("--processes", 2)
    assert second.exit_code == 0
    assert second.stderr == "8 of 8 jobs had finished before\n"
    assert second.stdout == first.stdout


def test_interrupt_keeps_the_jobs_that_finished(tune, tmp_path):
    options = ["--set", "until.time=30000", "--set", "record.every=30000", "--processes", "2", "--out", "out"]
    command = [sys.executable, "-m", "rayopt", "tune", "small.yaml", *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("jobs/*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    # As a terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = len(list((tmp_path / "out").glob("jobs/*.json")))
    last = errors.splitlines()[-1]
    assert last == (
        f"interrupted: {kept} of 8 jobs have finished and are kept in out; the same command goes on from there"
    )
    assert not (tmp_path / "out" / "tuning.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "tune=null"], "small.yaml: tune: missing; allowed: a mapping such as {metric: value, seeds"),
        (["--set", "tune={seeds: [0]}"], "small.yaml: tune.confirm: missing; allowed: a list of other seeds"),
        (["--set", "tune.sedes=[0]"], "small.yaml: tune.sedes: unknown key (did you mean 'seeds'?)"),
        (["--set", "tune.seeds=[]"], "small.yaml: tune.seeds: none is given; allowed: at least one integer"),
        (["--set", "tune.confirm=[1]"], "small.yaml: tune.confirm: [1] are among the tuning seeds [0, 1]; allowed"),
        (["--set", "tune.metric=gab"], "small.yaml: tune.metric: 'gab' is unknown (did you mean 'gap'?)"),
        (["--set", "methods[0].threshold={grid: []}"], "small.yaml: methods[0].threshold.grid: an empty list"),
        (["--set", "methods[0].threshold={grid: [0]}"], "small.yaml: methods[0].threshold: 0 is not an integer"),
        (["--set", "methods[0].step_size={powers: 2}"], "small.yaml: methods[0].step_size.from: None is not an int"),
        (["--set", "methods=[]"], "small.yaml: methods: none is given; allowed: at least one method"),
        (["--set", "fleet=ray"], "small.yaml: fleet: 'ray' runs in real time"),
        (["--processes", "0"], "processes: 0 is not an integer of at least 1"),
        (["--set", "tune.processes=0"], "processes: 0 is not an integer of at least 1"),
        (["--out", "small.yaml"], "out: small.yaml is a file; allowed: a new folder, or one that `rayopt tune` wrote"),
        (["--out", "taken"], "out: taken exists and is not a tuning folder (it has no tuning.yaml)"),
    ],
)
def test_bad_input_is_one_line(tune, tmp_path, options, message):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("all there is")
    before = sorted(tmp_path.rglob("*"))
    found = tune(*options)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith(message)
    assert found.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_file_is_refused_with_the_key(tune):
    assert tune("--out", "out").exit_code == 0
    found = tune("--out", "out", "--set", "methods[0].threshold={grid: [4, 2]}")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == (
        "small.yaml: methods[0].threshold.grid: [4, 2], where the tuning in out has [4, 2, 1]; allowed: an unchanged "
        "file, or another folder (--out)\n"
    )


def test_run_says_that_a_grid_is_for_tune(tune):
    found = CliRunner().invoke(main, ["run", "small.yaml"])
    assert found.exit_code == 2
    assert found.stderr.startswith("small.yaml: methods[0].step_size: {'from': -4, ")
    assert "`rayopt tune` tries the values of a grid" in found.stderr


def test_help_teaches_by_example():
    found = CliRunner().invoke(main, ["tune", "--help"])
    assert "rayopt tune FILE" in found.stdout
    assert "{halvings: 64, by: 4}" in found.stdout
