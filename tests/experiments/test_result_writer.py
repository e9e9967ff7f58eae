"""One disk for everything, and it is full in the end: the table is shown, and nothing is lost that can be kept."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.storage.run_folder import RunFolder
from rayopt.storage.trace.writer import TraceWriter

FULL = OSError(28, "No space left on device")


def mount(path, options):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")


@pytest.fixture
def only_disk(tmp_path, monkeypatch):
    """A small disk, with the folder for temporary files on it."""
    path = tmp_path / "disk"
    path.mkdir()
    mount(path, "size=64k")
    (path / "tmp").mkdir()
    # Not by TMPDIR: that is only taken while something can be written there.
    monkeypatch.setattr("tempfile.tempdir", str(path / "tmp"))
    yield path
    subprocess.run(["umount", path], check=True)


WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 5, "noise": 0.1},
    "workers": {"count": 50, "compute": "sqrt(i)"},
    "methods": [{"name": "asgd", "step_size": 0.01}],
    "until": {"updates": 20_000},
}


def experiment(every=0.2):
    return ro.Experiment(
        [ro.methods.ASGD(0.01)], ro.problems.Quadratic(5, noise=0.1), ro.Workers(50, "sqrt(i)"),
        ro.Until(updates=20_000), record=ro.Record(every=every),
    )  # fmt: skip


@pytest.mark.parametrize("every", [0.2, 1000])
def test_the_only_disk_is_full(only_disk, every, tmp_path):
    """With many rows of the history there is no room even for them; with few, for all but the trace."""
    own = experiment(every)
    with pytest.warns(
        UserWarning, match=r"not all results are written: .*run cannot be .*No space left.*resume"
    ) as said:
        result = own.run(only_disk / "run")
    assert sum("cannot be" in str(one.message) for one in said) <= 2
    assert not result.is_written
    assert result.summary["runs"][0]["updates"] == 20_000
    # Nothing holds the room of the disk in vain.
    assert list((only_disk / "tmp").iterdir()) == []
    assert list(only_disk.rglob("*.part")) == []
    assert (only_disk / "run" / "unfinished" / "config.yaml").is_file()
    for path in only_disk.rglob("*.parquet"):
        pd.read_parquet(path)
    assert (only_disk / "run" / "summary.json").exists() == (every == 1000)
    if every == 1000:
        assert ro.load(only_disk / "run").summary == result.summary
    subprocess.run(["mount", "-o", "remount,size=64m", only_disk], check=True)
    again = own.resume(only_disk / "run")
    assert again.is_written
    assert again.history.equals(result.history)
    assert again.trace.equals(own.run(tmp_path / "whole").trace)


def test_the_program_shows_the_table_and_ends_with_an_error(only_disk, tmp_path):
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(WORKLOAD))
    program = f"import tempfile; tempfile.tempdir = {tempfile.tempdir!r}; from rayopt.cli import main; main()"
    command = [sys.executable, "-c", program, "run", str(tmp_path / "workload.yaml"), "--out", str(only_disk / "run")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1
    assert "ASGD" in found.stdout
    assert "Run folder: " not in found.stdout
    assert "warning: not all results are written: " in found.stderr
    assert "Traceback" not in found.stderr


def test_without_a_run_folder_the_results_are_in_memory(monkeypatch):
    def full(folder, history):
        raise FULL

    monkeypatch.setattr(RunFolder, "write_history", full)
    with pytest.warns(UserWarning, match="what there is of the results is in memory alone"):
        result = experiment(1000).run()
    assert not result.is_written
    assert result.history.updates.max() == 20_000
    assert len(result.trace) == 20_000


def test_rows_that_had_room_elsewhere_come_back(tmp_path, monkeypatch):
    """The part is complete in the temporary folder, and then there is no room for one file of all."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cut = TraceWriter.cut

    def cut_elsewhere(file):
        if file._folder == tmp_path / "run" / "unfinished":
            raise FULL
        return cut(file)

    def full(file, path):
        raise FULL

    monkeypatch.setattr(TraceWriter, "cut", cut_elsewhere)
    monkeypatch.setattr(TraceWriter, "_merge", full)
    with pytest.warns(UserWarning, match="not all results are written"):
        result = experiment(1000).run(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert result.folder.path == tmp_path / "run"
    assert len(result.trace) == 20_000


def test_the_trace_of_an_earlier_experiment_is_not_taken_for_this_one(tmp_path, monkeypatch):
    experiment(1000).run(tmp_path / "run")

    def full(folder, history):
        raise FULL

    monkeypatch.setattr(RunFolder, "write_history", full)
    with pytest.warns(UserWarning, match=r"resume .*run` runs everything again"):
        experiment(500).run(tmp_path / "run")
    assert not (tmp_path / "run" / "trace.parquet").exists()


def test_a_disk_that_is_full_just_before_the_trace_is_one_file(tmp_path, monkeypatch):
    """The part that is not complete holds the room: without it there is enough."""
    close, attempts = TraceWriter.close, []

    def full_once(file, path):
        attempts.append(list((tmp_path / "run" / "unfinished").glob("*.part")))
        if len(attempts) == 1:
            raise FULL
        close(file, path)

    monkeypatch.setattr(TraceWriter, "close", full_once)
    result = experiment(1000).run(tmp_path / "run")
    assert result.folder.path == tmp_path / "run"
    assert len(result.trace) == 20_000
    assert not (tmp_path / "run" / "unfinished").exists()


def test_figures_without_room_are_a_warning(tmp_path, monkeypatch):
    def full(*arguments):
        raise FULL

    monkeypatch.setattr("rayopt.report.figure.save_figures", full)
    workload = {**WORKLOAD, "until": {"updates": 20}}
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(workload))
    with pytest.warns(UserWarning, match=r"figures cannot be written .*No space left.* `rayopt report .*run` draws"):
        found = CliRunner().invoke(main, ["run", str(tmp_path / "workload.yaml"), "--out", str(tmp_path / "run")])
    assert found.exit_code == 0
    assert "Run folder: " in found.stdout
    assert ro.load(tmp_path / "run").is_written
