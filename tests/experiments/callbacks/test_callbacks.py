"""Callbacks: what they are told on each clock, how they end a run, and what their errors do."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pandas as pd
import pytest
import yaml

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.experiments.config import load_workload

QUADRATIC = ro.problems.Quadratic(5)
WORKERS = ro.Workers(3, "i")


class Diary(ro.callbacks.Callback):
    """Writes down what it is told."""

    wants_points = True
    wants_arrivals = True

    def __init__(self):
        self.starts, self.rows, self.points, self.arrivals, self.ends = [], [], [], [], []

    def on_start(self, run):
        self.starts.append((run.label, run.seed, run.step_sizes, run.resumed))

    def on_row(self, run, row, x):
        self.rows.append({"label": run.label, "seed": run.seed, **row})
        self.points.append(x)

    def on_arrival(self, run, arrival):
        self.arrivals.append(arrival)

    def on_end(self, run, outcome):
        self.ends.append(None if outcome is None else outcome.ended_by)


def run(method=None, until=20, **given):
    return ro.run(method or ro.methods.ASGD(0.1), QUADRATIC, WORKERS, until=ro.Until(time=until), **given)


def test_it_is_told_every_row_arrival_start_and_end():
    diary = Diary()
    result = run([ro.methods.ASGD([0.1, 0.2]), ro.methods.Rennala(0.5, batch_size=2)], seed=[0, 1], callbacks=[diary])
    assert diary.starts == [("ASGD", 0, (0.1, 0.2), False), ("Rennala", 0, (0.5,), False),
                            ("ASGD", 1, (0.1, 0.2), False), ("Rennala", 1, (0.5,), False)]  # fmt: skip
    assert diary.ends == ["time"] * 4
    told = pd.DataFrame(diary.rows)[[name for name in result.history if name != "method"]]
    pd.testing.assert_frame_equal(told, result.history.drop(columns="method"), check_dtype=False)
    assert [QUADRATIC.metrics(x, ["value"])["value"] for x in diary.points] == result.history.value.tolist()
    trace = result.trace[result.trace.outcome != "cancelled"]
    for name in ("time", "worker", "number", "assigned_at", "version", "delay", "outcome", "updates", "bits"):
        assert [getattr(arrival, name) for arrival in diary.arrivals] == trace[name].tolist()


def test_following_changes_no_bit_of_the_run():
    pd.testing.assert_frame_equal(run(callbacks=[Diary()]).history, run().history)


class AtRow(ro.callbacks.Callback):
    """Ends each run at a row."""

    def __init__(self, number):
        self.number = number

    def on_start(self, run):
        self.seen = 0

    def on_row(self, run, row, x):
        self.seen += 1
        if self.seen == self.number:
            run.stop("this is enough")


def test_it_ends_the_run_at_the_row_and_no_other_run():
    result = run([ro.methods.ASGD(0.1), ro.methods.Minibatch(0.1)], callbacks=[AtRow(4)])
    assert result.history.groupby("label").time.max().tolist() == pytest.approx([1.2, 1.2])
    assert [entry["ended_by"] for entry in result.summary["runs"]] == ["callback", "callback"]
    assert result.summary["problems"] == [
        f"{label} (seed 0): ended at 1.2 s of fleet time by AtRow: this is enough" for label in ("ASGD", "Minibatch")
    ]


class Broken(ro.callbacks.Callback):
    def __init__(self, where, strict=False):
        self.where, self.strict = where, strict

    def _fail(self, where):
        if where == self.where:
            raise ValueError("no ink")

    def on_start(self, run):
        self._fail("on_start")

    def on_row(self, run, row, x):
        self._fail("on_row")

    def on_end(self, run, outcome):
        self._fail("on_end")


@pytest.mark.parametrize("where", ["on_start", "on_row", "on_end"])
def test_an_error_is_one_warning_and_the_others_go_on(where):
    diary = Diary()
    with pytest.warns(UserWarning, match=rf"Broken.{where} raised ValueError: no ink; the runs go on") as said:
        result = run(seed=[0, 1], callbacks=[Broken(where), diary])
    assert [str(warning.message) for warning in said if warning.category is UserWarning] == [
        f"Broken.{where} raised ValueError: no ink; the runs go on without it"
    ]
    assert diary.ends == ["time", "time"]
    assert not result.summary["problems"]


@pytest.mark.parametrize("where", ["on_start", "on_row", "on_end"])
def test_an_error_of_a_strict_one_is_an_error_of_the_run(where, tmp_path):
    with pytest.raises(ValueError, match="no ink"):
        run(seed=[0, 1], callbacks=[Broken(where, strict=True)], out=tmp_path / "run")


def test_what_is_no_callback_is_refused():
    with pytest.raises(InvalidInput, match=r"callbacks\[0\]: 3 is not a callback; allowed: an object of a class"):
        run(callbacks=[3])


def test_early_stopping_ends_what_no_longer_improves_and_what_diverges():
    early = ro.callbacks.EarlyStopping(patience=3)
    best = run(ro.methods.ASGD(0.2), until=5_000, callbacks=[early])
    (entry,) = best.summary["runs"]
    assert (entry["ended_by"], "has not improved for 3 rows" in best.summary["problems"][0]) == ("callback", True)
    assert len(best.history) < 51
    diverging = run(ro.methods.ASGD(1e3), until=500, callbacks=[early])
    assert "diverges" in diverging.summary["problems"][0]
    assert diverging.summary["runs"][0]["time"] < 500
    # A grid goes on as long as one of its members does.
    both = run(ro.methods.ASGD([1e-3, 1e3]), until=50, callbacks=[early])
    assert both.summary["runs"][0]["ended_by"] == "time"


def test_early_stopping_needs_a_metric_that_is_recorded():
    with pytest.warns(UserWarning, match="metric: 'accuracy' is not recorded; allowed: gap, value, grad_norm_sq"):
        run(callbacks=[ro.callbacks.EarlyStopping("accuracy")])


def test_the_best_point_of_each_run_is_on_disk(tmp_path):
    result = run(seed=[0, 1], callbacks=[ro.callbacks.BestPoint()], out=tmp_path / "run")
    for seed in (0, 1):
        with np.load(tmp_path / "run" / "best" / f"asgd-seed-{seed}.npz", allow_pickle=False) as kept:
            history = result.history[result.history.seed == seed]
            assert float(kept["value"]) == history.value.min() == QUADRATIC.metrics(kept["x"], ["value"])["value"]
            assert kept["time"] == history.time[history.value.idxmin()]


def test_the_log_holds_the_history(tmp_path):
    result = run(seed=[0, 1], callbacks=[ro.callbacks.CSVLog()], out=tmp_path / "run")
    logged = pd.read_csv(tmp_path / "run" / "live.csv")
    pd.testing.assert_frame_equal(logged, result.history[logged.columns], check_dtype=False, rtol=1e-12)
    with pytest.warns(UserWarning, match=r"CSVLog.on_start .* path: missing, and the run has no folder"):
        run(callbacks=[ro.callbacks.CSVLog()])


def test_a_workload_names_them_and_its_folder_keeps_their_names(workload_file, tmp_path):
    file = workload_file()
    tree = yaml.safe_load(file.read_text())
    tree["callbacks"] = [{"name": "early_stopping", "patience": 2, "strict": True}, "csv_log"]
    file.write_text(yaml.safe_dump(tree))
    experiment = load_workload(file).build()
    result = experiment.run(tmp_path / "run")
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["callbacks"]
    assert kept[0]["name"] == "early_stopping"
    assert (kept[0]["patience"], kept[0]["strict"]) == (2, True)
    with (tmp_path / "run" / "live.csv").open() as log:
        assert len(list(csv.reader(log))) == len(result.history) + 1
    again = load_workload(tmp_path / "run" / "config.yaml").build()
    assert [callback.parameters for callback in again.callbacks] == [
        callback.parameters for callback in experiment.callbacks
    ]
    for given, said in (
        (["early_stoping"], r"callbacks\[0\].name: 'early_stoping' is unknown \(did you mean 'early_stopping'\?\)"),
        ([{"name": "early_stopping", "patience": 0}], r"callbacks\[0\].patience: 0"),
        ([{"name": "csv_log", "file": "x"}], r"callbacks\[0\].file: unknown key"),
    ):
        tree["callbacks"] = given
        file.write_text(yaml.safe_dump(tree))
        with pytest.raises(InvalidInput, match=said):
            load_workload(file).build()


def test_mlflow_gets_parameters_metrics_and_the_end(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    uri = f"file://{tmp_path}/store"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        result = run(ro.methods.Rennala([0.1, 0.2], batch_size=2), callbacks=[ro.callbacks.MLflow("trial", uri)])
        client = MlflowClient(tracking_uri=uri)
        (experiment,) = client.search_experiments(filter_string="name = 'trial'")
        runs = {found.data.params["step_size"]: found for found in client.search_runs([experiment.experiment_id])}
        assert set(runs) == {"0.1", "0.2"}
        assert {found.info.status for found in runs.values()} == {"FINISHED"}
        assert runs["0.1"].data.params["batch_size"] == "2"
        logged = client.get_metric_history(runs["0.2"].info.run_id, "value")
    own = result.history[result.history.step_size == 0.2]
    assert sorted(metric.step for metric in logged) == sorted(own.updates)
    assert {metric.value for metric in logged} == set(own.value)


def test_weights_and_biases_writes_a_run_without_a_network(tmp_path):
    pytest.importorskip("wandb")
    run(callbacks=[ro.callbacks.WeightsAndBiases("trial", mode="offline", folder=str(tmp_path))])
    written = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(written) == 1
    assert written[0].stat().st_size > 0


@pytest.mark.parametrize(("name", "package", "extra"), [("MLflow", "mlflow", "mlflow"),
                                                        ("WeightsAndBiases", "wandb", "wandb")])  # fmt: skip
def test_without_its_package_a_tracker_says_how_to_get_it(name, package, extra, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=rf"pip install 'rayopt\[{extra}\]'"):
        getattr(ro.callbacks, name)()


def test_what_callbacks_left_of_an_experiment_that_was_killed_is_no_obstacle(tmp_path):
    folder = tmp_path / "run"
    (folder / "best").mkdir(parents=True)
    (folder / "live.csv").write_text("label\n")
    assert run(callbacks=[ro.callbacks.CSVLog()], out=folder).is_written
