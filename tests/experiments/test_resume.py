"""An experiment that was killed goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
import rayopt.experiments.execution
import rayopt.storage.run_folder
from rayopt.cli import main
from rayopt.core.errors import DataError
from rayopt.experiments.config import load_workload
from rayopt.experiments.experiment import Experiment
from rayopt.fleets.simulated import fleet as simulated
from rayopt.storage.checkpoint_files import BLOCK, CheckpointFiles, read, write
from rayopt.storage.encoding import Encoded
from tests.killed_runs import killed
from tests.runs.test_snapshot import asking_after

WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 40, "noise": 0.1},
    "workers": {"count": 30, "compute": {"name": "exponential", "mean": "sqrt(i)"}},
    "methods": [
        {"name": "minibatch", "step_size": 0.5},
        {"name": "ringmaster", "step_size": [0.02, 0.05], "threshold": 20, "interrupt": True},
        {"name": "rennala", "step_size": 0.3, "batch_size": 20},
    ],
    "until": {"time": 900},
    "record": {"every": 50, "checkpoint": 0.1},
    "seeds": [0, 1],
}


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "workload.yaml"
    path.write_text(yaml.safe_dump(WORKLOAD))
    return path


def begin(experiment, path):
    """Leaves what a process leaves that was killed at once."""
    with ro.storage.run_folder.RunFolder(path) as folder:
        folder.begin(experiment.to_config())


def same_results(first, second):
    assert first.history.to_csv() == second.history.to_csv()
    assert first.trace.to_csv() == second.trace.to_csv()

    def told(result):
        runs = [{key: run[key] for key in run if key != "wall_seconds"} for run in result.summary["runs"]]
        return json.dumps({**result.summary, "runs": runs})

    assert told(first) == told(second)
    assert first.config == second.config


def test_after_a_kill_the_same_to_the_bit(workload, tmp_path):
    folder = tmp_path / "run"
    killed(workload, folder, checkpoints=2)
    assert not (folder / "summary.json").exists()
    # What a killed run has traced up to its last checkpoints can be read.
    assert ro.storage.run_folder.RunFolder.interrupted(folder).read_trace().time.notna().all()
    found = CliRunner().invoke(main, ["resume", str(folder), "--quiet"])
    assert found.exit_code == 0, found.output
    assert found.stdout == f"{folder}\n"
    whole = load_workload(workload).build().run(tmp_path / "whole")
    same_results(whole, ro.load(folder))
    assert not (folder / "unfinished").exists()


def test_runs_that_had_ended_are_not_run_again(workload, tmp_path, monkeypatch):
    """Of six runs, the process dies in the third: two are kept, one goes on, three follow."""
    experiment = load_workload(workload, ["until.time=800", "record.checkpoint=1e-6"]).build()
    whole = experiment.run(tmp_path / "whole")

    class Killed(BaseException):
        """A process that ends where it is."""

    save, run_once = CheckpointFiles.save, ro.experiments.execution.Execution._run_once

    def save_in_time(files, checkpoint, counts_on):
        # A busy writer would skip what this test waits for.
        if files._writing is not None:
            files._writing.result()
        saved = save(files, checkpoint, counts_on)
        if len(checkpoint.tree["ended"]) == 2 and checkpoint.tree["run"] is not None:
            files._writing.result()
            raise Killed
        return saved

    monkeypatch.setattr(CheckpointFiles, "save", save_in_time)
    # However fast the machine: a short run may end before its first checkpoint is due.
    monkeypatch.setattr(simulated, "serve", asking_after(60))
    with pytest.raises(Killed):
        experiment.run(tmp_path / "run")
    monkeypatch.undo()
    positions = []

    def noted(self, position, run, start):
        positions.append((position, start is not None))
        return run_once(self, position, run, start)

    monkeypatch.setattr(ro.experiments.execution.Execution, "_run_once", noted)
    same_results(whole, experiment.resume(tmp_path / "run"))
    assert positions == [(2, True), (3, False), (4, False), (5, False)]


def test_another_experiment_cannot_go_on(workload, tmp_path):
    experiment = load_workload(workload).build()
    begin(experiment, tmp_path / "run")
    other = load_workload(workload, ["workers.count=31"]).build()
    with pytest.raises(ro.InvalidInput, match="the experiment that was interrupted") as caught:
        other.resume(tmp_path / "run")
    assert caught.value.key == "workers"


def test_without_a_checkpoint_everything_runs_again(workload, tmp_path):
    experiment = load_workload(workload, ["until.time=50"]).build()
    begin(experiment, tmp_path / "run")
    same_results(experiment.run(tmp_path / "whole"), experiment.resume(tmp_path / "run"))


def test_a_folder_with_a_checkpoint_is_not_overwritten(workload, tmp_path):
    folder = tmp_path / "run"
    (folder / "unfinished").mkdir(parents=True)
    (folder / "unfinished" / "checkpoint-000001.npz").touch()
    found = CliRunner().invoke(main, ["run", str(workload), "--out", str(folder)])
    assert found.exit_code == 2
    assert f"`rayopt resume {folder}`" in found.stderr


@pytest.mark.parametrize("files", [(), ("config.yaml", "history.parquet", "summary.json")])
def test_nothing_to_resume(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()
    found = CliRunner().invoke(main, ["resume", str(tmp_path)])
    assert found.exit_code == 2
    assert "came to its end" in found.stderr if files else "has no unfinished" in found.stderr


@pytest.mark.parametrize("every", [0, -1, True, float("nan"), "often"])
def test_bad_intervals(every):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.Record(checkpoint=every)
    assert caught.value.key == "checkpoint"


def test_no_checkpoints_if_they_are_switched_off(workload, tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointFiles, "save", lambda *_: pytest.fail("a checkpoint was saved"))
    load_workload(workload, ["until.time=50", "record.checkpoint=false"]).build().run(tmp_path / "run")


# ---- files ----


def test_the_last_two_are_kept(tmp_path):
    files = CheckpointFiles(tmp_path)
    for number in range(5):
        while not files.save(Encoded({"number": number}, [np.arange(number)])):
            time.sleep(0.001)
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000004.npz", "checkpoint-000005.npz"]
    number, found = CheckpointFiles(tmp_path).latest()
    assert (number, found.tree, found.arrays[0].tolist()) == (5, {"number": 4}, [0, 1, 2, 3])


def test_one_that_is_held_is_kept(tmp_path):
    files = CheckpointFiles(tmp_path)
    files.hold(2)
    for number in range(5):
        files.save(Encoded({"number": number}, []))
        files.wait()
    files.close()
    assert sorted(path.name[11:17] for path in tmp_path.iterdir()) == ["000002", "000004", "000005"]
    assert files.read(2).tree == {"number": 1}


def saved_and_written(files):
    files.save(Encoded({}, []))
    files.wait()


def test_one_that_cannot_be_written_is_told_at_once_and_once(tmp_path, monkeypatch):
    def full(path, checkpoint):
        raise OSError(28, f"No space left on device for {path}")

    monkeypatch.setattr("rayopt.storage.checkpoint_files.write", full)
    files = CheckpointFiles(tmp_path)
    with pytest.warns(UserWarning, match="No space left") as said:
        saved_and_written(files)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files.save(Encoded({}, []))
        files.close()


def test_what_a_checkpoint_counts_on_is_on_disk_before_it(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("rayopt.storage.checkpoint_files.sync", lambda path: done.append(path.name))
    monkeypatch.setattr("rayopt.storage.checkpoint_files.write", lambda path, _: done.append(path.name))
    files = CheckpointFiles(tmp_path)
    for parts in (["a"], ["a", "b"]):
        files.save(Encoded({}, []), [tmp_path / part for part in parts])
        files.wait()
    files.close()
    assert done == ["a", "checkpoint-000001.npz", "b", "checkpoint-000002.npz"]


def test_if_the_last_is_broken_the_one_before_is_used(tmp_path):
    for number in (1, 2):
        write(tmp_path / f"checkpoint-{number:06d}.npz", Encoded({"number": number}, []))
    path = tmp_path / "checkpoint-000002.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(
        UserWarning, match=r"000002.npz is not a checkpoint .*: an earlier one is used, checkpoint-000001.npz"
    ):
        assert CheckpointFiles(tmp_path).latest() == (1, ({"number": 1}, []))


def test_no_pickle_is_read(tmp_path):
    path = tmp_path / "checkpoint-000001.npz"
    np.savez(path, tree=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="is not a checkpoint"):
        read(path)


def test_arrays_come_back_in_their_places_with_their_order_in_memory(tmp_path):
    arrays = [np.arange(3.0), np.array(7), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3.0) + 1,
              np.arange(3), np.array(8), np.arange(6.0).reshape(2, 3)]  # fmt: skip
    write(tmp_path / "checkpoint.npz", Encoded({}, arrays))
    found = read(tmp_path / "checkpoint.npz").arrays
    for array, same in zip(arrays, found, strict=True):
        assert (same.dtype, same.shape, same.strides) == (array.dtype, array.shape, array.strides)
        assert type(same) is np.ndarray
        assert np.array_equal(same, array)
    assert [found[0].base, found[3].base] == [None, None]


def test_writing_takes_the_memory_of_one_block(tmp_path):
    arrays = [np.full(2**16, 1.0)] * 400 + [np.full(2**21, 2.0)] * 20
    tracemalloc.start()
    try:
        write(tmp_path / "checkpoint.npz", Encoded({}, arrays))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * BLOCK < sum(array.nbytes for array in arrays) / 2
    found = read(tmp_path / "checkpoint.npz").arrays
    assert [array[-1] for array in found] == [1.0] * 400 + [2.0] * 20


def test_a_full_disk_does_not_end_the_run(workload, tmp_path, monkeypatch):
    def full(path, checkpoint):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rayopt.storage.checkpoint_files.write", full)
    with pytest.warns(UserWarning, match="No space left"):
        result = load_workload(workload, ["until.time=300", "record.checkpoint=0.01"]).build().run(tmp_path / "run")
    assert len(result.summary["runs"]) == 6


def test_the_experiment_is_that_of_its_configuration(workload, tmp_path):
    """Loaded from the folder of an unfinished run, an experiment is the same one again."""
    experiment = load_workload(workload).build()
    begin(experiment, tmp_path / "run")
    again = load_workload(tmp_path / "run" / "unfinished" / "config.yaml").build()
    assert isinstance(again, Experiment)
    assert again.to_config() == experiment.to_config()


def test_it_is_followed_like_a_run(workload, tmp_path):
    """Event files and logs, as `rayopt run` has them."""
    pytest.importorskip("tensorboardX")
    experiment = load_workload(workload, ["until.time=50"]).build()
    begin(experiment, tmp_path / "run")
    command = [sys.executable, "-m", "rayopt", "resume", str(tmp_path / "run"), "--tensorboard", "--verbose", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[Minibatch, seed 0]: starts" in done.stderr
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))
