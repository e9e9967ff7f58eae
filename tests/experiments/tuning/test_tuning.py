"""A tuning from end to end: what it measures, keeps, resumes and refuses."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pandas as pd
import pytest
import yaml

import rayopt as ro
from rayopt.core.errors import InvalidInput, RayoptError
from rayopt.experiments.config import load_workload
from rayopt.experiments.execution import Execution
from rayopt.experiments.experiment import NothingRan
from rayopt.experiments.tuning import tuning as tuning_module
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.tuning import TuningInterrupted
from rayopt.fleets.simulated import session as simulated
from rayopt.storage.checkpoint_files import CheckpointFiles
from tests.runs.test_snapshot import asking_after


class Counter:
    """counts jobs; interrupts after some of them, as Ctrl-C does."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.done = 0
        self.before = 0
        self._last = interrupt_after

    def opened(self, total, done):
        self.before = done

    def ended(self, job, found):
        self.done += 1
        if self.done == self._last:
            os.kill(os.getpid(), signal.SIGINT)

    def closed(self):
        pass


class LooksAtX(ro.methods.ASGD):
    """Its control would differ between the members of a grid."""

    name = "looks_at_x"
    control_depends_on_x = True


class Broken(ro.methods.ASGD):
    """Raises what rayopt does not raise on purpose, at larger step sizes."""

    name = "broken"

    def receive(self, arrival, fleet):
        if self.delay_of_error:
            raise ZeroDivisionError("one over nothing")
        super().receive(arrival, fleet)

    def __init__(self, step_size, delay_of_error=False):
        super().__init__(step_size)
        self.delay_of_error = delay_of_error


class Idle(ro.methods.ASGD):
    """Gives nobody anything to do."""

    name = "idle"

    def start(self, fleet):
        pass


class Deadly(ro.methods.ASGD):
    """Takes its process with it, as the system does with one that uses too much memory."""

    name = "deadly"

    def start(self, fleet):
        os._exit(1)


def test_the_table_has_every_combination_step_size_and_seed(tuning, tmp_path):
    result = tuning().run(tmp_path / "out", processes=1)
    table = result.table
    assert list(table.columns[:6]) == ["method", "label", "combination", "threshold", "step_size", "seed"]
    assert len(table) == (2 * 3 + 2) * 3
    ring = table[table.label == "Ringmaster"]
    assert ring.threshold.tolist() == [2.0] * 9 + [4.0] * 9
    assert ring.step_size.tolist()[:9] == [0.05] * 3 + [0.2] * 3 + [1e200] * 3
    assert ring.seed.tolist()[:6] == [0, 1, 2, 0, 1, 2]
    assert table[table.label == "Rennala"].threshold.isna().all()
    assert ring[ring.step_size == 1e200].diverged_at.notna().all()
    assert ring[ring.step_size < 1e200].diverged_at.isna().all()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "tuning.parquet"), table)


def test_a_row_is_what_a_single_run_finds(tuning):
    result = tuning().run(processes=1)
    for row in result.table.query("label == 'Ringmaster' and seed == 1 and step_size < 1").itertuples():
        alone = ro.run(
            ro.methods.Ringmaster(row.step_size, threshold=int(row.threshold)), ro.problems.Quadratic(dimension=6),
            ro.Workers(4, compute="i"), until=ro.Until(time=20), seed=1,
        )  # fmt: skip
        assert row.gap == alone.table.gap[0]
        assert row.updates == alone.table.updates[0]


def test_with_a_target_a_row_ends_where_its_single_run_does(tuning):
    until = ro.Until(time=200, target=ro.Target("gap", 0.1))
    result = tuning(until=until, record=ro.Record(every=1)).run(processes=1)
    met = result.table.query("label == 'Ringmaster' and seed == 1 and time_to_target > 0")
    assert met.time_to_target.nunique() > 1
    for row in met.itertuples():
        alone = ro.run(
            ro.methods.Ringmaster(row.step_size, threshold=int(row.threshold)), ro.problems.Quadratic(dimension=6),
            ro.Workers(4, compute="i"), until=until, seed=1, record=ro.Record(every=1),
        )  # fmt: skip
        assert (row.time_to_target, row.gap) == (alone.table.time_to_target[0], alone.table.gap[0])


def test_the_best_is_confirmed_on_the_other_seeds(tuning, tmp_path):
    result = tuning().run(tmp_path / "out", processes=1)
    confirmed = ro.load(tmp_path / "out" / "confirmed")
    assert confirmed.history.seed.unique().tolist() == [10, 11]
    assert {row["label"]: row["step_size"] for row in confirmed.summary["table"]} == {
        label: choice.values["step_size"] for label, choice in result.best.items()
    }
    middle = result.medians.query("label == 'Ringmaster' and diverged == 0")
    assert result.best["Ringmaster"].tuned == middle.gap.min()
    again = load_workload(tmp_path / "out" / "tuned.yaml").build().run()
    pd.testing.assert_frame_equal(again.history, confirmed.history, check_exact=True)


@pytest.mark.parametrize(
    ("signalled", "told"), [(signal.SIGINT, TuningInterrupted), (signal.SIGKILL, SystemExit)], ids=["Ctrl-C", "kill"]
)
def test_a_confirmation_that_was_interrupted_goes_on_from_its_checkpoint(
    tuning, tmp_path, monkeypatch, signalled, told
):
    small = tuning(Grid.of(ro.methods.ASGD([0.1, 0.2])), confirm=[10, 11], record=ro.Record(checkpoint=1000))
    whole = small.run(tmp_path / "whole", processes=1).confirmed
    save = CheckpointFiles.save

    def save_and_end(files, *arguments):
        save(files, *arguments)
        files.wait()
        if signalled == signal.SIGKILL:
            raise SystemExit
        os.kill(os.getpid(), signalled)
        return True

    with monkeypatch.context() as patch:
        patch.setattr(simulated, "serve", asking_after(20))
        patch.setattr(CheckpointFiles, "save", save_and_end)
        with pytest.raises(told):
            small.run(tmp_path / "out", processes=1)

    begun = []
    run_once = Execution._run_once

    def noted(execution, position, run, start):
        begun.append((run.seed, start is not None))
        return run_once(execution, position, run, start)

    monkeypatch.setattr(Execution, "_run_once", noted)
    result = small.run(tmp_path / "out", processes=1).confirmed
    assert begun == [(10, True), (11, False)]
    pd.testing.assert_frame_equal(result.history, whole.history, check_exact=True)
    assert not (tmp_path / "out" / "confirmed" / "unfinished").exists()


def test_a_confirmation_whose_files_are_damaged_runs_again(tuning, tmp_path):
    small = tuning(Grid.of(ro.methods.ASGD([0.1, 0.2])))
    whole = small.run(tmp_path / "out", processes=1).confirmed
    (tmp_path / "out" / "confirmed" / "summary.json").write_text('{"table": [')
    again = small.run(tmp_path / "out", processes=1).confirmed
    pd.testing.assert_frame_equal(again.history, whole.history, check_exact=True)
    assert ro.load(tmp_path / "out" / "confirmed").summary["runs"]


def test_without_a_target_metrics_are_evaluated_at_the_ends_alone(tuning, monkeypatch):
    asked = []

    class Counting(ro.problems.Quadratic):
        def metrics(self, x, names=None):
            asked.append((x.ndim, tuple(names)))
            return super().metrics(x, names)

    made = tuning(Grid.of(ro.methods.ASGD([0.1, 0.2])), problem=Counting(dimension=6), record=ro.Record(every=0.1))
    made.run(processes=1)
    assert asked.count((2, ("gap",))) == 2 * 3


class TestResume:
    def test_an_interrupted_tuning_goes_on_to_the_same_table(self, tuning, tmp_path):
        whole = tuning().run(tmp_path / "whole", processes=1)
        first, second = Counter(interrupt_after=4), Counter()
        with pytest.raises(TuningInterrupted, match=r"^4 of 9 jobs have finished and are kept in .*out$"):
            tuning().run(tmp_path / "out", processes=1, jobs_display=first)
        assert not (tmp_path / "out" / "tuning.parquet").exists()
        resumed = tuning().run(tmp_path / "out", processes=1, jobs_display=second)
        assert (first.done, second.before, second.done) == (4, 4, 5)
        pd.testing.assert_frame_equal(resumed.table, whole.table, check_exact=True)
        assert {label: choice.values for label, choice in resumed.best.items()} == {
            label: choice.values for label, choice in whole.best.items()
        }

    def test_nothing_runs_twice(self, tuning, tmp_path, monkeypatch):
        tuning().run(tmp_path / "out", processes=1)
        monkeypatch.setattr(tuning_module, "measure", None)
        monkeypatch.setattr("rayopt.experiments.experiment.Experiment.run", None)
        again = tuning().run(tmp_path / "out", processes=1)
        assert again.confirmed is not None

    def test_a_job_file_that_is_damaged_runs_again(self, tuning, tmp_path):
        tuning().run(tmp_path / "out", processes=1)
        damaged = sorted((tmp_path / "out" / "jobs").iterdir())[:3]
        for path, text in zip(damaged, ("", "{", "[]"), strict=True):
            path.write_text(text)
        counter = Counter()
        tuning().run(tmp_path / "out", processes=1, jobs_display=counter)
        assert counter.done == 3
        assert all(json.loads(path.read_text())["found"]["rows"] for path in damaged)

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"until": ro.Until(time=21)}, r"until\.time: 21\.0, where the tuning in .* has 20\.0"),
            ({"seeds": [0, 1]}, r"tune\.seeds: \[0, 1\], where the tuning in .* has \[0, 1, 2\]"),
            ({"metric": "value"}, r"tune\.metric: 'value', where .* has 'gap'"),
            ({"workers": ro.Workers(4, compute="2*i")}, r"workers\.compute\.times"),
            ({"until": ro.Until(time=20, updates=9)}, r"until\.updates: 9, where .* has nothing"),
        ],
    )
    def test_a_tuning_that_differs_is_refused_with_the_key(self, tuning, tmp_path, changes, key):
        tuning().run(tmp_path / "out", processes=1)
        with pytest.raises(InvalidInput, match=key):
            tuning(**changes).run(tmp_path / "out", processes=1)

    def test_other_data_are_other_jobs(self, tuning, tmp_path):
        def problem(sign: float) -> ro.problems.Problem:
            X = np.arange(12.0).reshape(6, 2) * sign
            return ro.problems.LogisticRegression(X, [0, 1, 0, 1, 1, 1])

        grid = Grid.of(ro.methods.ASGD([0.1, 0.2]))
        same, other = Counter(), Counter()
        changes = {"problem": problem(1.0), "metric": "value"}
        tuning(grid, **changes).run(tmp_path / "out", processes=1)
        tuning(grid, **changes).run(tmp_path / "out", processes=1, jobs_display=same)
        changed = ro.problems.LogisticRegression([[1.0], [2.0], [5.0]], [0, 1, 2])
        tuning(grid, **{**changes, "problem": changed}).run(tmp_path / "out", processes=1, jobs_display=other)
        assert (same.done, other.done) == (0, 3)

    def test_the_config_of_a_tuning_is_a_workload_of_it(self, tuning, tmp_path):
        tuning().run(tmp_path / "out", processes=1)
        again = load_workload(tmp_path / "out" / "tuning.yaml").build_tuning()
        counter = Counter()
        again.run(tmp_path / "out", processes=1, jobs_display=counter)
        assert counter.done == 0


class TestProcesses:
    def test_spread_over_processes_the_table_is_the_same(self, tuning):
        alone = tuning().run(processes=1)
        spread = tuning().run(processes=2)
        pd.testing.assert_frame_equal(spread.table, alone.table, check_exact=True)

    def test_interrupted_over_processes(self, tuning, tmp_path):
        with pytest.raises(TuningInterrupted, match=r"of 9 jobs have finished"):
            tuning(until=ro.Until(time=1500)).run(tmp_path / "out", processes=2, jobs_display=Counter(1))
        kept = len(list((tmp_path / "out" / "jobs").glob("*.json")))
        assert 1 <= kept < 9
        counter = Counter()
        tuning(until=ro.Until(time=1500)).run(tmp_path / "out", processes=2, jobs_display=counter)
        assert (counter.before, counter.done) == (kept, 9 - kept)

    def test_a_process_that_dies_is_told(self, tuning, tmp_path):
        with pytest.raises(RayoptError, match="a process died 4 times over the same work"):
            tuning(Grid.of(Deadly([0.1, 0.2]))).run(tmp_path / "out", processes=2)

    def test_none_is_refused(self, tuning):
        with pytest.raises(InvalidInput, match="processes: 0 is not an integer of at least 1"):
            tuning().run(processes=0)


class TestFailures:
    def test_an_error_of_ours_is_a_result_and_the_others_run(self, tuning, tmp_path):
        grids = Grid.of(Idle([0.1])), Grid.of(ro.methods.ASGD([0.1, 0.2]))
        changes = {"until": ro.Until(updates=5)}
        counter = Counter()
        tuning(*grids, **changes).run(tmp_path / "out", processes=1)
        result = tuning(*grids, **changes).run(tmp_path / "out", processes=1, jobs_display=counter)
        assert counter.done == 0
        assert list(result.best) == ["ASGD"]
        assert any(note.startswith("Idle, seed 0: the fleet is stuck at time 0") for note in result.notes)

    @pytest.mark.parametrize("processes", [1, 2])
    def test_any_other_error_is_raised_when_all_others_are_kept(self, tuning, tmp_path, processes):
        grids = (
            Grid(Broken, {"step_size": 0.1, "delay_of_error": {"grid": [True, False]}}),
            Grid.of(ro.methods.ASGD([0.1, 0.2])),
        )
        with pytest.raises(ZeroDivisionError):
            tuning(*grids).run(tmp_path / "out", processes=processes)
        assert len(list((tmp_path / "out" / "jobs").iterdir())) == 6

    def test_skipped_methods_are_told(self, tuning):
        problem = ro.problems.LogisticRegression.digits(partition="labels")
        grids = Grid.of(ro.methods.Rennala(0.1, batch_size=2)), Grid.of(ro.methods.Malenia(0.1, batch_size=1))
        result = tuning(*grids, problem=problem, until=ro.Until(time=5)).run(processes=1)
        assert list(result.best) == ["Malenia"]
        assert result.notes[-1].startswith("Rennala: skipped: Rennala is made for homogeneous data")
        with pytest.raises(NothingRan, match="Rennala: skipped"):
            tuning(grids[0], problem=problem, until=ro.Until(time=5)).run(processes=1)

    def test_a_method_whose_control_looks_at_x_runs_one_step_size_at_a_time(self, tuning):
        counter = Counter()
        result = tuning(Grid.of(LooksAtX([0.1, 0.2]))).run(processes=1, jobs_display=counter)
        assert counter.done == 6
        plain = tuning(Grid.of(ro.methods.ASGD([0.1, 0.2]))).run(processes=1)
        assert result.table.gap.tolist() == plain.table.gap.tolist()


class TestNotes:
    def test_edges(self, tuning):
        grid = Grid(ro.methods.Ringmaster, {"step_size": [0.01, 0.02], "threshold": {"grid": [3, 4, 5]}})
        (note,) = tuning(grid, Grid.of(ro.methods.ASGD([0.01, 0.02]))).run(processes=1).notes[:1]
        assert note == (
            "The largest step size that was tried is the best of Ringmaster, ASGD: a larger one may be better."
        )

    def test_the_smallest_threshold(self, tuning):
        grid = Grid(ro.methods.Ringmaster, {"step_size": 0.9, "threshold": {"grid": [2, 100]}})
        workers = ro.Workers(50, compute="1 + 0.001 * i")
        result = tuning(grid, workers=workers, until=ro.Until(time=10)).run(processes=1)
        assert result.best["Ringmaster"].values["threshold"] == 2
        assert result.notes == [
            "The smallest threshold that was tried is the best of Ringmaster: a smaller one may be better."
        ]

    def test_a_target_that_no_run_reaches(self, tuning):
        until = ro.Until(time=20, target=ro.Target("gap", 1e-9))
        result = tuning(until=until).run(processes=1)
        assert (
            "Ringmaster, Rennala: no combination has gap at 1e-09 on the median tuning seed; chosen by gap at the end."
            in result.notes
        )
        without = tuning().run(processes=1)
        assert {label: choice.values for label, choice in result.best.items()} == {
            label: choice.values for label, choice in without.best.items()
        }

    def test_what_ends_worse_than_it_started(self, tuning):
        result = tuning(Grid.of(ro.methods.ASGD([30.0, 40.0])), until=ro.Until(time=3)).run(processes=1)
        assert result.best["ASGD"].tuned > result.at_start
        assert f"ASGD: what was chosen ends worse than it started, {result.at_start:.4g}." in result.notes

    def test_everything_diverged(self, tuning):
        result = tuning(Grid.of(ro.methods.ASGD([1e3, 1e4])), until=ro.Until(time=200)).run(processes=1)
        assert (result.best, result.confirmed) == ({}, None)
        assert result.notes[0].startswith("ASGD: every combination diverged or failed on a tuning seed")
        assert len(result.table) == 6


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seeds": []}, "tune.seeds: none is given; allowed: at least one integer"),
            ({"seeds": [1, 1]}, "tune.seeds: [1, 1] has one seed twice"),
            ({"seeds": [0, -1]}, "tune.seeds: -1 is not an integer of at least 0"),
            ({"confirm": [True]}, "tune.confirm: True is not an integer of at least 0"),
            ({"confirm": [5, 2, 1]}, "tune.confirm: [1, 2] are among the tuning seeds [0, 1, 2]; allowed: other seeds"),
            ({"metric": "gab"}, "tune.metric: 'gab' is unknown (did you mean 'gap'?); allowed: value"),
            ({"fleet": type("Fleet", (), {"name": "ray"})()}, "fleet: 'ray' runs in real time"),
            ({"fleet": ro.SimulatedFleet(gradients="ray")}, "fleet.gradients: 'ray', and jobs run side by side"),
        ],
    )  # fmt: skip
    def test_arguments(self, tuning, changes, message):
        with pytest.raises(InvalidInput) as caught:
            tuning(**changes)
        assert str(caught.value).startswith(message)

    def test_a_value_that_does_not_fit_the_workers(self, tuning):
        grid = Grid(ro.methods.MSync, {"step_size": 0.1, "batch_size": {"grid": [2, 5]}})
        with pytest.raises(InvalidInput, match=r"^methods\[1\]\.batch_size: 5 is more than the 4 workers"):
            tuning(Grid.of(ro.methods.ASGD(0.1)), grid)

    def test_labels(self, tuning):
        ring = {"step_size": 0.1, "threshold": {"grid": [2, 4]}}
        grids = [Grid(ro.methods.Ringmaster, {**ring, "interrupt": interrupt}) for interrupt in (False, True)]
        assert tuning(*grids).labels == ["Ringmaster interrupt=False", "Ringmaster interrupt=True"]
        with pytest.raises(InvalidInput, match=r"^methods\[1\]\.label: 'Ringmaster' is taken"):
            tuning(grids[0], grids[0])

    @pytest.mark.parametrize("content", ["file", "folder"])
    def test_a_folder_of_someone_else_is_left_alone(self, tuning, tmp_path, content):
        place = tmp_path / "taken"
        if content == "file":
            place.touch()
        else:
            place.mkdir()
            (place / "thesis.txt").touch()
        with pytest.raises(InvalidInput, match=r"^out: .*taken (is a file|exists and is not a tuning folder)"):
            tuning().run(place, processes=1)


def test_python_call(tmp_path):
    result = ro.tune(
        [ro.Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.5], "threshold": {"grid": [2, 4]}}, "Ring"),
         ro.methods.ASGD([0.1, 0.2])],
        ro.problems.Quadratic(dimension=6), ro.Workers(4, compute="i"), until=ro.Until(time=20), seeds=[0],
        confirm=[1], out=tmp_path / "out",
    )  # fmt: skip
    assert list(result.best) == ["Ring", "ASGD"]
    assert result.metric == "gap"
    assert yaml.safe_load((tmp_path / "out" / "tuned.yaml").read_text())["seeds"] == [1]
    assert result.plot("Ring").axes[0].get_ylabel() == "threshold"
    with pytest.raises(InvalidInput, match="label: None is unknown; allowed: Ring, ASGD"):
        result.plot()
