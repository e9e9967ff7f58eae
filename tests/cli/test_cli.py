"""The command line, end to end in a temporary folder."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main

FILES = {
    "report.html",
    "config.yaml",
    "history.parquet",
    "trace.parquet",
    "summary.json",
    "value.png",
    "gap.png",
    "grad_norm_sq.png",
}


@pytest.fixture
def rayopt(tmp_path, monkeypatch):
    """Returns a function that runs a command in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


class TestRun:
    def test_a_warning_is_one_line_without_its_source(self, workload_file, tmp_path):
        split = {"name": "logistic_regression", "data": "digits", "partition": "split"}
        file = workload_file(problem=split, force=True)
        command = [sys.executable, "-m", "rayopt", "run", str(file), "--out", str(tmp_path / "runs")]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        warned = [line for line in found.stderr.splitlines() if "run by force" in line or "UserWarning" in line]
        assert [line[: line.index(" is made")] for line in warned[:1]] == ["warning: Rennala: run by force: Rennala"]
        assert "UserWarning" not in found.stderr

    def test_writes_the_run_folder_and_shows_the_table(self, rayopt, workload_file, tmp_path):
        found = rayopt("run", workload_file(), "--out", "runs/today")
        assert found.exit_code == 0, found.output
        assert {path.name for path in (tmp_path / "runs" / "today").iterdir()} == FILES
        assert "4 runs, 2 methods with 3 step sizes, 2 seeds, 4 workers" in found.stdout
        assert "Run folder: runs/today" in found.stdout
        assert "Figure: runs/today/value.png" in found.stdout
        for label in ("Rennala", "Ring"):
            assert label in found.stdout

    def test_summary_repeats_the_table(self, rayopt, workload_file, tmp_path):
        assert rayopt("run", workload_file(), "--out", "out").exit_code == 0
        table = json.loads((tmp_path / "out" / "summary.json").read_text())["table"]
        history = pd.read_parquet(tmp_path / "out" / "history.parquet")
        assert [(row["label"], row["step_size"]) for row in table] == [
            ("Rennala", 0.25),
            ("Rennala", 0.5),
            ("Ring", 0.1),
        ]
        last = history[history.time == 20].groupby(["label", "step_size"]).value.median()
        assert [row["value"] for row in table] == pytest.approx(last.tolist())

    def test_the_config_runs_again_to_the_same_history(self, rayopt, workload_file):
        path = workload_file(workers={"count": 4, "compute": {"name": "exponential", "mean": "i"}})
        assert rayopt("run", path, "--out", "first").exit_code == 0
        assert rayopt("run", "first/config.yaml", "--out", "second").exit_code == 0
        first, second = ro.load("first"), ro.load("second")
        pd.testing.assert_frame_equal(first.history, second.history, check_exact=True)
        pd.testing.assert_frame_equal(first.trace, second.trace, check_exact=True)
        assert first.config == second.config

    def test_a_run_folder_is_replaced(self, rayopt, workload_file):
        path = workload_file()
        assert rayopt("run", path, "--out", "out").exit_code == 0
        assert rayopt("run", path, "--out", "out", "--seeds", "7").exit_code == 0
        assert ro.load("out").history.seed.unique().tolist() == [7]

    def test_options_change_the_file(self, rayopt, workload_file):
        found = rayopt("run", workload_file(fleet="ray"), "--out", "out", "--fleet", "simulated", "--seeds", "3,5",
                       "--set", "workers.count=6", "--set", "methods[0].step_size=0.1")  # fmt: skip
        assert found.exit_code == 0, found.output
        config = ro.load("out").config
        assert (config["fleet"], config["seeds"]) == ({"name": "simulated"}, [3, 5])
        assert (config["workers"]["count"], config["methods"][0]["step_size"]) == (6, 0.1)

    def test_the_default_folder_has_the_name_of_the_file(self, rayopt, workload_file, tmp_path):
        found = rayopt("run", workload_file(), "--quiet")
        (folder,) = (tmp_path / "runs").glob("small-*")
        assert found.stdout == f"runs/{folder.name}\n"

    def test_says_which_data_are_used(self, rayopt, workload_file):
        problem = {"name": "logistic_regression", "data": "digits"}
        found = rayopt("run", workload_file(problem=problem, until={"updates": 2}, seeds=0), "--out", "out")
        assert found.stdout.startswith("Data: digits of scikit-learn, 1,437 training and 360 test images.\n")

    def test_says_how_skewed_the_data_of_the_workers_are(self, rayopt, workload_file):
        problem = {"name": "logistic_regression", "data": "digits", "partition": "labels"}
        method = {"name": "malenia", "step_size": 0.1, "batch_size": 1}
        found = rayopt("run", workload_file(problem=problem, until={"updates": 2}, methods=[method]), "--out", "out")
        skew = ro.problems.LogisticRegression.digits(partition="labels").split(4, 0).skew
        assert f"\nLabel skew of the workers' data: {skew:.4g} (0: all alike), for seed 0.\n" in found.stdout

    def test_a_second_interrupt_says_what_is_there(self, rayopt, workload_file, monkeypatch):
        def interrupt(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr("rayopt.report.figure.save_figures", interrupt)
        found = rayopt("run", workload_file(), "--out", "out", "--quiet")
        assert found.exit_code == 130
        assert found.stderr == ("interrupted: out holds config.yaml, history.parquet, summary.json, trace.parquet\n")
        monkeypatch.setattr("rayopt.experiments.experiment.Experiment.run", interrupt)
        assert rayopt("run", workload_file(), "--out", "new").stderr.endswith("interrupted: nothing was kept\n")

    def test_interrupt_keeps_what_was_recorded(self, workload_file, tmp_path):
        path = workload_file(problem="free", until={"time": 1e9}, record={"every": 10_000})
        out = tmp_path / "out"
        command = [sys.executable, "-m", "rayopt", "run", str(path), "--out", str(out)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        rows = out / "unfinished" / "trace-000000.parquet.part"
        deadline = time.monotonic() + 60
        while not (rows.exists() and rows.stat().st_size > 1000) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "interrupted: the record up to fleet time " in errors
        assert f"is in {out}" in errors
        assert len(ro.load(out).trace) > 0
        assert (ro.load(out).history.label == "Rennala").all()


class TestReport:
    def test_shows_the_same_table_and_draws_again(self, rayopt, workload_file, tmp_path):
        run = rayopt("run", workload_file(), "--out", "out")
        (tmp_path / "out" / "value.png").unlink()
        found = rayopt("report", "out")
        assert found.exit_code == 0, found.output
        assert found.stdout == run.stdout.partition("\n")[2]
        assert (tmp_path / "out" / "value.png").is_file()

    def test_values_at_given_times_stand_below(self, rayopt, workload_file):
        run = rayopt("run", workload_file(), "--out", "out")
        found = rayopt("report", "out", "--at", "0,20", "--metric", "gap")
        assert found.exit_code == 0, found.output
        table, _, values = found.stdout.partition("gap, median [least, largest] of the seeds\n")
        assert table == run.stdout.partition("\n")[2]
        assert [line[:4].strip() for line in values.splitlines() if line[:4].strip()] == ["time", "────", "0", "20"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--at", "0,twenty"], "--at: '0,twenty' is not a list of numbers; allowed: fleet seconds such as 0,100"),
            (["--at", "21"], "at: 21; allowed: fleet seconds from 0 to 20, the end of the runs"),
            (["--metric", "gap"], "--metric: 'gap' without --at; allowed: --at 0,100,200 beside it"),
        ],
    )
    def test_times_and_metrics_that_are_not_there(self, rayopt, workload_file, arguments, message):
        rayopt("run", workload_file(), "--out", "out")
        found = rayopt("report", "out", *arguments)
        assert found.exit_code == 2
        assert found.stderr.startswith(message)

    def test_what_is_not_a_run_folder(self, rayopt):
        found = rayopt("report", "nowhere")
        assert found.exit_code == 2
        assert found.stderr == "run: nowhere has no config.yaml; allowed: a folder that `rayopt run` wrote\n"


class TestCatalogues:
    @pytest.mark.parametrize(
        ("command", "registry"),
        [
            ("methods", ro.methods.METHODS),
            ("problems", ro.problems.PROBLEMS),
            ("latencies", ro.latency.LATENCIES),
        ],
    )
    def test_list_everything_and_show_each(self, rayopt, command, registry):
        listed = rayopt(command).stdout
        for name in registry:
            assert name in listed
            shown = rayopt(command, name)
            assert shown.exit_code == 0
            assert f"{{name: {name}" in shown.stdout

    def test_the_entry_has_the_arguments_and_their_defaults(self, rayopt):
        entry = "  - {name: rennala, step_size: ..., batch_size: ..., interrupt: false}\n"
        assert rayopt("methods", "Rennala").stdout.endswith(entry)

    def test_the_entry_of_a_problem_has_what_a_file_may_say(self, rayopt):
        entry = (
            '{name: logistic_regression, data: "mnist", partition: "homogeneous", batch: 1, l2: 0.0, solve: false, '
            'rows: null, replacement: true, block: 1, dtype: "float64"}\n'
        )
        shown = rayopt("problems", "logistic_regression").stdout
        assert shown.endswith(entry)
        assert "solve: find the minimum first" in shown

    def test_an_unknown_name(self, rayopt):
        found = rayopt("methods", "renala")
        assert found.exit_code == 2
        assert "'renala' is unknown (did you mean 'rennala'?)" in found.stderr


class TestHelp:
    @pytest.mark.parametrize("command", [[], ["run"], ["report"], ["methods"], ["problems"], ["latencies"]])
    def test_teaches_by_example(self, rayopt, command):
        found = rayopt(*command, "--help")
        assert found.exit_code == 0
        assert f"rayopt {' '.join(command)}".strip() in found.stdout

    def test_version(self, rayopt):
        assert rayopt("--version").stdout == f"rayopt {ro.__version__}\n"


class TestBadInput:
    """Each is one line on standard error and exit status 2, and nothing is written."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ["--set", "methods[1].step_size=-1"],
                "small.yaml: methods[1].step_size: -1 is not a positive number; all",
            ),
            (
                ["--set", "methods[0].name=renala"],
                "small.yaml: methods[0].name: 'renala' is unknown (did you mean 'ren",
            ),
            (["--set", "workers.compute=open('x', 'w')"], "small.yaml: workers.compute.times: unknown function 'open'"),
            (["--set", "methods=[]"], "small.yaml: methods: none is given; allowed: at least one method"),
            (["--set", "nothing"], "--set: 'nothing' is not a change; allowed: key=value"),
            (["--fleet", "rai"], "small.yaml: fleet.name: 'rai' is unknown (did you mean 'ray'?); allowed"),
            (["--seeds", "x"], "small.yaml: seeds[0]: 'x' is of the wrong type; allowed: a valid integer"),
            (["--data", "."], "small.yaml: problem.data: unknown key; allowed: name, dimension"),
            (["--out", "taken"], "out: taken exists and is not a run folder (it has no config.yaml); allowed: a new"),
            (["--out", "small.yaml"], "out: small.yaml is a file; allowed: a new folder"),
        ],
    )
    def test_one_line(self, rayopt, workload_file, tmp_path, options, message):
        workload_file()
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "thesis.txt").write_text("all there is")
        before = sorted(tmp_path.rglob("*"))
        found = rayopt("run", "small.yaml", *options)
        assert (found.exit_code, found.stdout) == (2, "")
        assert found.stderr.startswith(message)
        assert found.stderr.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_missing_file(self, rayopt, tmp_path):
        found = rayopt("run", "nowhere.yaml")
        assert (found.exit_code, found.stdout) == (2, "")
        assert found.stderr == "nowhere.yaml: there is no such file; allowed: a workload file\n"
        assert not list(tmp_path.iterdir())

    def test_a_data_folder_without_the_files(self, rayopt, workload_file, tmp_path):
        workload_file(problem="logistic_regression")
        found = rayopt("run", "small.yaml", "--data", tmp_path)
        assert found.exit_code == 2
        assert found.stderr.startswith(
            f"small.yaml: problem.data: {tmp_path}/train-images-idx3-ubyte: the file is miss"
        )
        assert not (tmp_path / "runs").exists()

    def test_a_file_that_the_system_refuses(self, rayopt, workload_file, tmp_path):
        assert rayopt("run", workload_file(), "--out", "out").exit_code == 0
        (tmp_path / "out" / "value.png").unlink()
        (tmp_path / "out" / "value.png").mkdir()
        found = rayopt("report", "out")
        assert found.exit_code == 2
        assert found.stderr == "out/value.png: Is a directory\n"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
    def test_a_full_disk_at_standard_output(self):
        with open("/dev/full", "w") as full:
            found = subprocess.run(
                [sys.executable, "-m", "rayopt", "methods"], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert (found.returncode, found.stderr) == (2, "No space left on device\n")

    def test_a_fleet_that_stands_still(self, rayopt, workload_file, tmp_path):
        workload_file(
            methods=[{"name": "minibatch", "step_size": 0.1}],
            workers={"count": 2, "compute": [1.0, math.inf]},
            until={"updates": 5},
            force=True,
        )
        found = rayopt("run", "small.yaml", "--out", "out")
        assert found.exit_code == 2
        assert found.stderr.splitlines()[-1].startswith("the fleet is stuck at time 1: 1 workers busy")
        assert not (tmp_path / "out").exists()
