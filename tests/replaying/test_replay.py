"""A recorded run is executed again to the bit; what was tampered with is found."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.replaying import replay
from tests.methods.test_conformance import TABLE

N = 8


def recorded(folder, method, problem=None, **others):
    arguments = {"until": ro.Until(time=40), "seed": [0, 1], "force": True, **others}
    return ro.run(
        method, problem or Quadratic(20, noise=0.1), ro.Workers(N, ro.latency.half_normal("i", "sqrt(i)")), out=folder,
        **arguments,
    )  # fmt: skip


REPLAYED = [
    *((method, "all") for method in TABLE if not method.needs_shared_memory),
    (methods.Rennala(0.3, batch_size=6, interrupt=True), "arrivals"),
]


@pytest.mark.parametrize(("method", "trace"), REPLAYED, ids=repr)
def test_virtual_time(method, trace, tmp_path):
    result = recorded(tmp_path / "run", method.fresh(), record=ro.Record(trace=trace), seed=0)
    again = replay(tmp_path / "run")
    assert again.is_equal, str(again.runs[0])
    assert not again.elsewhere
    (run,) = again.runs
    assert (run.arrivals, run.updates) == (result.table.arrivals[0], result.table.updates[0])
    assert run.checked == len(result.summary["runs"][0]["hashes"]) > 50


def test_grids_data_and_several_runs(tmp_path):
    both = [methods.Rennala([0.2, 0.5], batch_size=6, interrupt=True), methods.Picky([0.02, 0.05], distance_limit=0.1)]
    problem = LogisticRegression.digits(batch=4, partition={"name": "dirichlet", "alpha": 0.5})
    recorded(tmp_path / "run", both, problem)
    again = replay(tmp_path / "run")
    assert again.is_equal
    # Picky's control depends on x: its grid is two runs.
    assert [run.label for run in again.runs] == ["Rennala", "Picky", "Picky"] * 2


class Alarmed(methods.ASGD):
    """Cancels a worker and moves x whenever it is woken."""

    name = "alarmed"

    def start(self, fleet):
        fleet.wake(1.7)
        super().start(fleet)

    def receive(self, arrival, fleet):
        if arrival.worker is not None:
            return super().receive(arrival, fleet)
        self.x = 0.9 * self.x
        fleet.assign(np.array([2, 5]), self.point())
        return fleet.wake(1.7)


def test_a_users_method_with_alarms(tmp_path):
    problem, workers = Quadratic(20, noise=0.1), ro.Workers(N, "sqrt(i)")
    experiment = ro.Experiment([Alarmed(0.05)], problem, workers, ro.Until(time=40))
    experiment.run(tmp_path / "run")
    assert replay(tmp_path / "run", experiment).is_equal


def test_a_run_with_checkpoints(tmp_path):
    record = ro.Record(checkpoint=1e-6)
    recorded(tmp_path / "run", methods.Ringmaster(0.05, threshold=4), record=record, until=ro.Until(time=400))
    assert replay(tmp_path / "run").is_equal


# ---- tampering ----


def tampered(folder, change):
    path = folder / "trace.parquet"
    trace = pd.read_parquet(path)
    for name in ("method", "label", "outcome"):
        trace[name] = trace[name].astype(str)
    change(trace).to_parquet(path)
    (run,) = replay(folder).runs
    return run.difference


@pytest.fixture
def folder(tmp_path):
    recorded(tmp_path / "run", methods.Ringmaster(0.05, threshold=4, interrupt=True), seed=0)
    return tmp_path / "run"


def test_arrivals_in_another_order_do_not_fit(folder):
    def swap(trace):
        order = trace.index.to_numpy().copy()
        arrivals = np.flatnonzero((trace.outcome != "cancelled") & (trace.index > 40))[:2]
        order[arrivals] = order[arrivals[::-1]]
        return trace.loc[order]

    difference = tampered(folder, swap)
    assert difference.worker is not None
    assert difference.arrival > 10


def test_another_outcome(folder):
    def change(trace):
        row = trace.index[trace.outcome == "used"][20]
        trace.loc[row, "outcome"] = "ignored"
        return trace

    difference = tampered(folder, change)
    assert difference.what == "the arrival is used, and was ignored"


def test_a_missing_arrival(folder):
    difference = tampered(folder, lambda trace: trace.drop(trace.index[trace.outcome == "used"][20]))
    assert difference is not None


def test_a_cancellation_that_the_method_does_not_make(folder):
    def change(trace):
        row = trace.index[trace.outcome == "cancelled"][3]
        trace.loc[row, "worker"] = 0
        return trace

    assert "was cancelled" in tampered(folder, change).what


def test_a_hash_of_another_x(folder):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["runs"][0]["hashes"][30][3] = "0" * 64
    path.write_text(json.dumps(summary))
    (run,) = replay(folder).runs
    time, _, arrivals, _ = summary["runs"][0]["hashes"][30]
    assert run.difference.what == f"the hash of x at {time:g} s is another one"
    assert run.difference.arrival == arrivals
    assert str(run).startswith("Ringmaster, seed 0: differs with arrival")


def test_another_problem_is_found(folder):
    problem, workers = Quadratic(20, noise=0.2), ro.Workers(N, ro.latency.half_normal("i", "sqrt(i)"))
    method = methods.Ringmaster(0.05, threshold=4, interrupt=True)
    (run,) = replay(folder, ro.Experiment([method], problem, workers, ro.Until(time=40), force=True)).runs
    assert "hash" in run.difference.what
    assert math.isnan(run.difference.size)


def test_another_machine_is_told(folder):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["environment"]["numpy"] = "1.0"
    path.write_text(json.dumps(summary))
    (difference,) = replay(folder).elsewhere
    assert difference.startswith("numpy 1.0 when it was recorded, ")


def test_a_run_without_a_trace(tmp_path):
    recorded(tmp_path / "run", methods.ASGD(0.05), record=ro.Record(trace=False))
    with pytest.raises(ro.InvalidInput, match="has no trace"):
        replay(tmp_path / "run")
