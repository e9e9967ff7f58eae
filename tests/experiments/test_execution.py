"""Runs that fail, are interrupted or lose their server: what was kept stays, and the experiment goes on from it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import numpy as np
import pytest

import rayopt as ro
from rayopt.core.errors import FleetStuck, RayoptError, ServerLost
from rayopt.experiments.execution import MOST_RESTARTS, Execution, Run
from rayopt.fleets.simulated import session as simulated
from rayopt.runs.faults import Faults
from rayopt.runs.outcome import Counts, Outcome
from rayopt.runs.signals import SignalHandling
from rayopt.storage.checkpoint_files import CheckpointFiles
from rayopt.storage.encoding import Encoded
from tests.runs.test_snapshot import asking_after

UPDATES = 300


class Troubled(ro.methods.ASGD):
    """ASGD that meets trouble at its 150th update."""

    name = "troubled"
    trouble = None

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates == 150 and type(self).trouble is not None:
            type(self).trouble()


def experiment(*others, trace="all"):
    return ro.Experiment(
        [Troubled(0.02), *others], ro.problems.Quadratic(5, noise=0.1), ro.Workers(3, "sqrt(i)"),
        ro.Until(updates=UPDATES), record=ro.Record(every=10, trace=trace, checkpoint=1000),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def a_checkpoint_in_time(monkeypatch):
    """Every run has a checkpoint after 120 arrivals, and no other."""
    save = CheckpointFiles.save

    def save_now(files, *arguments):
        files.wait()
        saved = save(files, *arguments)
        files.wait()
        return saved

    monkeypatch.setattr(CheckpointFiles, "save", save_now)
    monkeypatch.setattr(simulated, "serve", asking_after(120))
    monkeypatch.setattr(Troubled, "trouble", None)


def meets(monkeypatch, trouble):
    monkeypatch.setattr(Troubled, "trouble", trouble)


def raising(error):
    def trouble():
        raise error

    return trouble


def interrupting(times):
    return lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(times)]


def goes_on_to_the_same(experiment, folder, tmp_path):
    """Without trouble from now on, what was left goes on, and everything is as if nothing had happened."""
    Troubled.trouble = None
    whole, found = experiment.run(tmp_path / "whole"), experiment.resume(folder)
    order = ["run", "time", "number", "worker"]
    assert found.history.equals(whole.history)
    assert found.trace.sort_values(order).to_csv(index=False) == whole.trace.sort_values(order).to_csv(index=False)
    assert [run["problem"] for run in found.summary["runs"]] == [""] * len(found.summary["runs"])
    assert not (folder / "unfinished").exists()
    assert ro.load(folder).summary == found.summary


@pytest.mark.parametrize("trace", ["all", False])
def test_a_run_that_fails_keeps_its_checkpoint(tmp_path, monkeypatch, trace):
    meets(monkeypatch, raising(RayoptError("worker 2 is gone")))
    own = experiment(trace=trace)
    with pytest.warns(UserWarning, match=r"`rayopt resume .*run` goes on"), pytest.raises(RayoptError, match="gone"):
        own.run(tmp_path / "run")
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


@pytest.mark.parametrize("error", [RayoptError("worker 2 is gone"), ZeroDivisionError("in a gradient")])
def test_a_run_that_fails_goes_on_although_others_came_after_it(tmp_path, monkeypatch, error):
    """Their checkpoints do not push its own out, and its rows after it are not in the trace twice."""
    meets(monkeypatch, raising(error))
    own = experiment(*(ro.methods.ASGD(0.01 * step) for step in (1, 2, 3)))
    with pytest.warns(UserWarning, match="goes on from the last"), contextlib.suppress(ZeroDivisionError):
        own.run(tmp_path / "run")
    readable = ro.load(tmp_path / "run")
    assert [run["ended_by"] for run in readable.summary["runs"]] == [None, "updates", "updates", "updates"]
    ran = []
    monkeypatch.setattr(Execution, "_run", noting(Execution._run, ran))
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)
    assert ran == [0, 1, 2, 3, 0]


def noting(run, positions):
    def noted(self, position, *arguments):
        positions.append(position)
        return run(self, position, *arguments)

    return noted


def test_a_run_may_fail_again(tmp_path, monkeypatch):
    meets(monkeypatch, raising(RayoptError("worker 2 is gone")))
    own = experiment(ro.methods.ASGD(0.01))
    with pytest.warns(UserWarning, match="goes on from"):
        own.run(tmp_path / "run")
    with pytest.warns(UserWarning, match="goes on from"):
        own.resume(tmp_path / "run")
    # This time it fails before its next checkpoint.
    monkeypatch.setattr(simulated, "serve", asking_after(10**9))
    with pytest.warns(UserWarning, match="goes on from"):
        own.resume(tmp_path / "run")
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


def test_a_fleet_that_is_stuck_would_be_again(tmp_path, monkeypatch):
    meets(monkeypatch, raising(FleetStuck(1.0, 2, 1)))
    with pytest.raises(FleetStuck):
        experiment().run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_after_one_interrupt_the_record_is_readable_and_the_run_can_go_on(tmp_path, monkeypatch):
    meets(monkeypatch, interrupting(1))
    own = experiment(ro.methods.ASGD(0.01))
    with pytest.warns(UserWarning, match="goes on from the last checkpoint"):
        result = own.run(tmp_path / "run")
    assert [run["ended_by"] for run in result.summary["runs"]] == ["interrupted", None]
    assert len(ro.load(tmp_path / "run").trace) == result.summary["runs"][0]["arrivals"]
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


def test_after_two_interrupts_the_run_can_go_on(tmp_path, monkeypatch):
    meets(monkeypatch, interrupting(2))
    own = experiment()
    with pytest.warns(UserWarning, match="goes on from the last checkpoint"), pytest.raises(KeyboardInterrupt):
        own.run(tmp_path / "run")
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


def test_who_interrupts_a_run_again_before_its_next_checkpoint_loses_nothing(tmp_path, monkeypatch):
    meets(monkeypatch, raising(SystemExit()))
    own = experiment(ro.methods.ASGD(0.01))
    with pytest.raises(SystemExit):
        own.run(tmp_path / "run")
    checkpoints = list((tmp_path / "run" / "unfinished").glob("checkpoint-*.npz"))
    meets(monkeypatch, interrupting(1))
    monkeypatch.setattr(simulated, "serve", asking_after(10**9))
    with pytest.warns(UserWarning, match="goes on from the last checkpoint"):
        own.resume(tmp_path / "run")
    assert list((tmp_path / "run" / "unfinished").glob("checkpoint-*.npz")) == checkpoints
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


class Hasty:
    """A display whose user interrupts before the first run."""

    def opened(self, runs, until):
        os.kill(os.getpid(), signal.SIGINT)

    def __getattr__(self, name):
        return lambda *arguments: None


def test_who_interrupts_before_a_run_goes_on_loses_nothing(tmp_path, monkeypatch):
    meets(monkeypatch, raising(SystemExit()))
    own = experiment()
    with pytest.raises(SystemExit):
        own.run(tmp_path / "run")
    with pytest.warns(UserWarning, match="goes on from the last checkpoint"), pytest.raises(KeyboardInterrupt):
        own.resume(tmp_path / "run", Hasty())
    goes_on_to_the_same(own, tmp_path / "run", tmp_path)


@pytest.mark.parametrize("trace", ["all", False])
def test_a_run_whose_folder_went_away_can_go_on(tmp_path, monkeypatch, trace):
    """The next checkpoint makes the folder again, with the configuration, and counts on no part that is lost."""
    folder = tmp_path / "run"
    receive = Troubled.receive

    def vandalise(self, arrival, fleet):
        receive(self, arrival, fleet)
        if self.updates == 60 and Troubled.trouble is not None:
            shutil.rmtree(folder)

    monkeypatch.setattr(Troubled, "receive", vandalise)
    meets(monkeypatch, raising(SystemExit()))
    own = experiment(trace=trace)
    with pytest.raises(SystemExit):
        own.run(folder)
    goes_on_to_the_same(own, folder, tmp_path)


# ---- servers that are lost ----


def outcome():
    return Outcome([{"time": 0.0}], Counts(), 1, 1.0, {}, "updates", False, 0.0, 0.0, faults=Faults())


class Losing:
    """A session that loses its server: each letter is one attempt, "c" with a checkpoint before, "n" without."""

    def __init__(self, attempts):
        self.attempts = list(attempts)

    def stop(self, reason="interrupted"):
        """Nothing ends it."""

    def run(self, job, on_trace, on_progress, on_checkpoint, on_event):
        if not self.attempts:
            return outcome()
        if self.attempts.pop(0) == "c":
            on_checkpoint(Encoded({"state": len(self.attempts)}, [np.arange(3)]))
        raise ServerLost("the process of the server died")


class Silence:
    def __getattr__(self, name):
        return lambda *arguments: None


def execution(session, folder, trace=None):
    runs = [Run(ro.methods.ASGD(0.1), "ASGD", 0)]
    record = ro.Record(checkpoint=1000)
    return runs[0], Execution(runs, session, ro.Until(time=1), record, trace, Silence(), CheckpointFiles(folder))


@pytest.mark.parametrize(("attempts", "problem"), [("cncnccccc", ""), ("cnnn", "died"), ("nnnn", "died"), ("nnn", "")])
def test_restarts_count_from_one_checkpoint_to_the_next(tmp_path, attempts, problem):
    """A day with a dozen lost servers goes on as long as each made progress."""
    assert MOST_RESTARTS == 3
    run, own = execution(Losing(attempts), tmp_path)
    own.run_all(SignalHandling())
    assert problem in run.problem
    assert bool(run.problem) == bool(problem)
    assert problem or run.outcome.faults.server_restarts == len(attempts)
    # Only what has a checkpoint can go on.
    assert own.is_over == (problem == "" or "c" not in attempts)


def test_another_process_remembers_the_restarts(tmp_path):
    _, first = execution(Losing("ncnnn"), tmp_path)
    first.run_all(SignalHandling())
    run, second = execution(Losing("n"), tmp_path)
    second.go_on_from(*CheckpointFiles(tmp_path).latest())
    second.run_all(SignalHandling())
    # One before the checkpoint, one in the second process.
    assert run.outcome.faults.server_restarts == 2


def test_no_checkpoint_counts_on_rows_that_wait(tmp_path):
    class Waiting:
        real_time = True
        extent = ([], 10)
        paths = ()

        def cut(self):
            return None

        def rewind(self, extent):
            assert extent == ([], 10)

    run, own = execution(Losing("c"), tmp_path, Waiting())
    own.run_all(SignalHandling())
    assert run.outcome is not None
    assert not list(tmp_path.iterdir())
