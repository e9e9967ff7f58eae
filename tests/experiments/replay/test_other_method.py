"""Another method on the durations that a run has measured."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt import methods
from rayopt.cli import main
from rayopt.experiments.replay import recorded_experiment
from rayopt.experiments.replay.other_method import try_other
from rayopt.problems import Quadratic
from rayopt.storage.run_folder import RunFolder

N = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    both = [methods.ASGD(0.05), methods.Rennala(0.3, batch_size=4, interrupt=True), methods.UTA(0.3, batch_size=6)]
    times = ro.latency.exponential("sqrt(i)")
    ro.run(both, Quadratic(20, noise=0.1), ro.Workers(N, times), until=ro.Until(time=60), seed=[0, 1], out=folder)
    return RunFolder.existing(folder)


def other(folder, method, **choice):
    return try_other(folder, recorded_experiment(folder), method, **choice)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_method_again_is_the_run_itself(folder, seed):
    """ASGD never cancels: with its own durations it makes the same run, as far as all durations are known."""
    found = other(folder, methods.ASGD(0.05), seed=seed).result.trace
    before = folder.read_trace()
    before = before[(before.label == "ASGD") & (before.seed == seed)].reset_index(drop=True)
    # A worker's last task, which was not over at the end, is the first whose duration is not known.
    known = int((found.number < found.worker.map(before.groupby("worker").size())).cumprod().sum())
    assert known > 100
    for column in ("worker", "number", "version", "updates"):
        assert found[column][:known].tolist() == before[column][:known].tolist()
    np.testing.assert_allclose(found.time[:known], before.time[:known], rtol=1e-12)


def test_another_method_on_the_same_workers(folder):
    found = other(folder, methods.Minibatch(0.3))
    before = folder.read_trace()
    own = before[(before.label == "ASGD") & (before.seed == 0) & (before.worker == N - 1)]
    again = found.result.trace[found.result.trace.worker == N - 1]
    taken = (again.time - again.assigned_at).to_numpy()
    np.testing.assert_allclose(taken[: len(own)], (own.time - own.assigned_at)[: len(taken)], rtol=1e-12)
    assert found.notes[0].startswith("Durations of ASGD, seed 0: ")
    assert found.result.config["workers"]["compute"]["name"] == "trace"


def test_cancelled_tasks_and_repetition_are_told(folder):
    notes = other(folder, methods.ASGD(0.05), label="Rennala").notes
    assert "tasks were cancelled" in notes[1]
    assert f"of {N} workers had more tasks than were recorded" in notes[2]


@pytest.fixture
def with_a_silent_worker(tmp_path):
    """A run in which no task of worker 2 arrived."""
    path = tmp_path / "run"
    chosen = [methods.ASGD(0.05), methods.ASGD(0.01)]
    ro.run(chosen, Quadratic(20, noise=0.1), ro.Workers(3, [1.0, 2.0, 1000.0]), until=ro.Until(time=30), out=path)
    return RunFolder.existing(path)


def test_a_worker_of_which_nothing_is_known(with_a_silent_worker):
    with pytest.raises(
        ro.InvalidInput, match=r"no task of worker 2 arrived .*allowed: cyclic \(--assign cyclic\)"
    ) as told:
        other(with_a_silent_worker, methods.Minibatch(0.3))
    assert told.value.key == "assign"
    found = other(with_a_silent_worker, methods.Minibatch(0.3), assign="cyclic").result
    # Worker 2 is as fast as worker 0, the first of the two that go around.
    assert (found.trace.time - found.trace.assigned_at)[found.trace.worker == 2].unique().tolist() == [1.0]
    assert found.table.updates[0] == 15


def test_the_command_line_can_do_what_the_error_says(with_a_silent_worker):
    call = ["replay", str(with_a_silent_worker.path), "--method", "minibatch", "--label", "ASGD step_size=0.01"]
    refused = CliRunner().invoke(main, call)
    assert refused.exit_code == 2
    assert "--assign cyclic" in refused.stderr
    found = CliRunner().invoke(main, [*call, "--assign", "cyclic", "--out", str(with_a_silent_worker.path / "other")])
    assert found.exit_code == 0, found.output
    # The step size is that of the method whose durations they are.
    assert ro.load(with_a_silent_worker.path / "other").table.step_size.tolist() == [0.01]


def test_a_recording_is_not_replaced_by_what_is_made_of_it(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    (tmp_path / "link").symlink_to(folder.path)
    for out in (folder.path, folder.path / ".." / folder.path.name, tmp_path / "link"):
        with pytest.raises(ro.InvalidInput, match="holds the run that was recorded") as caught:
            other(folder, methods.ASGD(0.05), out=out)
        assert caught.value.key == "out"
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


@pytest.mark.parametrize(
    ("choice", "key"), [({"label": "Rennalla"}, "label"), ({"seed": 7}, "seed"), ({"label": "UTA"}, "label")]
)
def test_what_cannot_be_asked(folder, choice, key):
    with pytest.raises(ro.InvalidInput) as caught:
        other(folder, methods.ASGD(0.05), **choice)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("choice", "key"), [({"label": "Rennalla"}, "label"), ({"seed": 7}, "seed"), ({"seed": True}, "seed")]
)
def test_a_latency_of_one_run(folder, choice, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.Workers(N, {"name": "trace", "path": str(folder.path / "trace.parquet"), **choice})
    assert caught.value.key == f"compute.{key}" or caught.value.key == key
