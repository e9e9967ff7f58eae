"""One program at a time writes a run folder: the others are told, and lose nothing."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import InvalidInput
from rayopt.storage.folder_lock import FolderLock
from rayopt.storage.run_folder import RunFolder
from tests.acting import asgd_that

WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 5},
    "workers": {"count": 2, "compute": 1.0},
    "methods": [{"name": "asgd", "step_size": 0.1}],
    "until": {"updates": 20},
}
HOLDER = """
import sys
from pathlib import Path
from rayopt.storage.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "workload.yaml"
    path.write_text(yaml.safe_dump(WORKLOAD))
    return path


@pytest.fixture
def other_program():
    """Returns a function that makes a program which has the lock of a run folder until it is killed."""
    processes = []

    def start(folder):
        (folder / "unfinished").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLDER, str(folder / "unfinished" / "lock")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "taken\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def experiment(**arguments):
    return ro.Experiment(
        [ro.methods.ASGD(0.1)], ro.problems.Quadratic(5), ro.Workers(2, 1.0), ro.Until(updates=20), **arguments
    )


def test_a_second_writer_is_told_who_the_first_is(workload, tmp_path, other_program):
    process = other_program(tmp_path / "run")
    found = CliRunner().invoke(main, ["run", str(workload), "--out", str(tmp_path / "run")])
    assert found.exit_code == 2
    assert f"another program writes {tmp_path / 'run'} (process {process.pid} on " in found.stderr
    assert "wait until that has ended" in found.stderr


def test_who_resumes_what_still_runs_is_told(tmp_path, other_program):
    own = experiment()
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(own.to_config())
    before = {path.name for path in (tmp_path / "run" / "unfinished").iterdir()}
    process = other_program(tmp_path / "run")
    found = CliRunner().invoke(main, ["resume", str(tmp_path / "run")])
    assert found.exit_code == 2
    assert "another program writes" in found.stderr
    with pytest.raises(InvalidInput, match=f"process {process.pid}") as caught:
        own.resume(tmp_path / "run")
    assert caught.value.key == "run"
    assert {path.name for path in (tmp_path / "run" / "unfinished").iterdir()} == {*before, "lock"}
    # Who only reads is not kept waiting.
    assert RunFolder.interrupted(tmp_path / "run").read_trace().empty


def test_after_a_kill_the_lock_is_free(tmp_path, other_program):
    own = experiment()
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(own.to_config())
    process = other_program(tmp_path / "run")
    process.kill()
    process.wait()
    assert len(own.resume(tmp_path / "run").trace) == 20
    assert not (tmp_path / "run" / "unfinished").exists()


class Meanwhile(ro.SimulatedFleet):
    """A fleet that takes its time to open: something happens meanwhile."""

    def __init__(self, happens):
        super().__init__()
        self.happens = happens

    def open(self, problem, workers):
        self.happens()
        return super().open(problem, workers)


def test_a_run_that_began_while_the_fleet_opened_is_not_overwritten(tmp_path, other_program):
    own = experiment(fleet=Meanwhile(lambda: other_program(tmp_path / "run")))
    with pytest.raises(InvalidInput, match="another program writes") as caught:
        own.run(tmp_path / "run")
    assert caught.value.key == "out"
    assert (tmp_path / "run" / "unfinished" / "lock").exists()


def test_a_checkpoint_that_was_left_while_the_fleet_opened_stays(tmp_path):
    checkpoint = tmp_path / "run" / "unfinished" / "checkpoint-000001.npz"

    def leave():
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()

    with pytest.raises(InvalidInput, match="was interrupted"):
        experiment(fleet=Meanwhile(leave)).run(tmp_path / "run")
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def watched(folder, does, **arguments):
    """Runs a method that does something in the middle."""
    return ro.run(asgd_that({10: does}), ro.problems.Quadratic(5), ro.Workers(2, 1.0), until=ro.Until(updates=20),
                  out=folder, **arguments)  # fmt: skip


def test_nobody_else_writes_from_begin_to_end(tmp_path):
    told = []

    def try_it():
        with pytest.raises(InvalidInput, match=f"process {os.getpid()} on") as caught:
            experiment().run(tmp_path / "run")
        told.append(caught.value.key)

    result = watched(tmp_path / "run", try_it)
    assert told == ["out"]
    assert len(result.trace) == 20
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml", "history.parquet", "summary.json", "trace.parquet"
    ]  # fmt: skip
    assert len(experiment().run(tmp_path / "run").trace) == 20


def test_a_run_that_fails_gives_the_lock_back(tmp_path):
    def fail():
        raise SystemExit

    with pytest.raises(SystemExit):
        watched(tmp_path / "run", fail)
    assert [path.name for path in (tmp_path / "run" / "unfinished").iterdir()] == ["config.yaml"]


def test_a_folder_that_went_away_is_locked_again(tmp_path):
    """By the trace, which makes it again: the run is as long as a chunk of it."""
    holders = []
    acts = {
        10: lambda: shutil.rmtree(tmp_path / "run"),
        69_999: lambda: holders.append(FolderLock(tmp_path / "run" / "unfinished" / "lock").holder()),
    }
    ro.run(asgd_that(acts), ro.problems.Free(1), ro.Workers(2, 1.0), until=ro.Until(updates=70_000),
           record=ro.Record(every=1e6), out=tmp_path / "run")  # fmt: skip
    assert [holder.partition(" on ")[0] for holder in holders] == [f"process {os.getpid()}"]


def test_a_folder_that_another_program_has_made_again_is_left_to_it(tmp_path, other_program):
    def lose():
        shutil.rmtree(tmp_path / "run")
        other_program(tmp_path / "run")

    with pytest.warns(UserWarning, match=r"run cannot be written \(another program writes it, process") as said:
        result = watched(tmp_path / "run", lose)
    assert "the trace cannot be written (another program writes it" in str(said[0].message)
    assert len(result.trace) == 20
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["unfinished", "lock"]
    shutil.rmtree(result.folder.path)


def test_a_lock_is_no_way_to_another_file(tmp_path):
    (tmp_path / "precious").write_text("text")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="lock"):
        FolderLock(tmp_path / "lock").take()
    assert (tmp_path / "precious").read_text() == "text"


def test_where_there_are_no_locks_it_goes_without(tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    for _ in range(2):
        assert len(experiment().run(tmp_path / "run").trace) == 20


def test_a_result_can_be_sent_to_another_process(tmp_path):
    result = experiment().run(tmp_path / "run")
    assert len(pickle.loads(pickle.dumps(result)).trace) == 20
