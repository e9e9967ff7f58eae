"""History rows, limits, divergence, stuck fleets."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.problems import Free, Quadratic


def run(method, until, times=(1.0, 2.3, 3.7), problem=None, **arguments):
    workers = ro.Workers(len(times), list(times))
    return ro.run(method, problem or Quadratic(5, noise=0.0), workers, until=until, **arguments)


def test_rows_at_zero_every_and_the_end():
    result = run(methods.ASGD(0.1), ro.Until(time=5.0), record=ro.Record(every=2.0))
    assert result.history.time.tolist() == [0.0, 2.0, 4.0, 5.0]
    # The row of time T holds x after all events up to and including T.
    assert result.history.updates.tolist() == [0, 2, 6, 8]
    assert result.history.arrivals.tolist() == [0, 2, 6, 8]


def test_columns_that_programs_rely_on():
    result = run(methods.ASGD([0.1, 0.2]), ro.Until(time=3.0))
    assert list(result.history.columns[:9]) == [
        "method", "label", "seed", "step_size", "time", "updates", "arrivals", "value", "grad_norm_sq",
    ]  # fmt: skip
    assert list(result.trace.columns) == [
        "method", "label", "seed", "run", "time", "worker", "number", "assigned_at", "version", "delay", "outcome",
        "updates", "component", "message", "bits",
    ]  # fmt: skip
    assert result.trace.worker.min() == 0
    assert sorted(result.history.step_size.unique()) == [0.1, 0.2]
    assert set(result.trace.outcome.unique()) == {"used"}


@pytest.mark.parametrize(
    ("until", "ended_by", "updates", "time"),
    [
        (ro.Until(updates=4), "updates", 4, 3.0),
        (ro.Until(arrivals=4), "arrivals", 4, 3.0),
        (ro.Until(time=3.0), "time", 4, 3.0),
        (ro.Until(time=100, updates=4, arrivals=1000), "updates", 4, 3.0),
    ],
)
def test_the_first_limit_ends_the_run(until, ended_by, updates, time):
    result = run(methods.ASGD(0.1), until)
    outcome = result.summary["runs"][0]
    assert (outcome["ended_by"], outcome["updates"], outcome["time"]) == (ended_by, updates, time)
    assert result.history.iloc[-1].time == time


def test_a_target_ends_the_run_at_the_row_that_meets_it():
    until = ro.Until(time=1000, target=ro.Target("gap", 0.1))
    result = run(methods.Minibatch(0.9), until, record=ro.Record(every=10.0))
    assert result.summary["runs"][0]["ended_by"] == "target"
    assert result.history.gap.iloc[-1] <= 0.1 < result.history.gap.iloc[-2]
    assert result.table.time_to_target[0] == result.history.time.iloc[-1]


def test_a_grid_goes_on_until_all_members_meet_the_target():
    until = ro.Until(time=1000, target=ro.Target("gap", 0.1))
    result = run(methods.Minibatch([0.9, 0.3]), until, record=ro.Record(every=10.0))
    fast, slow = result.table.sort_values("step_size", ascending=False).time_to_target
    assert fast < slow == result.history.time.max()


def test_a_target_without_rows_is_an_error():
    with pytest.raises(ro.InvalidInput, match="every"):
        run(methods.ASGD(0.1), ro.Until(target=ro.Target("gap", 0.1)))


def test_metrics_can_be_switched_off():
    result = run(methods.ASGD(0.1), ro.Until(time=3.0), record=ro.Record(metrics=["gap"]))
    assert result.history.grad_norm_sq.isna().all()
    assert result.history.gap.notna().all()


def test_a_diverged_member_is_reported_and_does_not_leak():
    result = run(methods.ASGD([0.1, 1e200]), ro.Until(time=12.0), record=ro.Record(every=1.0))
    alone = run(methods.ASGD(0.1), ro.Until(time=12.0), record=ro.Record(every=1.0))
    good = result.history[result.history.step_size == 0.1]
    assert good.value.tolist() == alone.history.value.tolist()
    bad = result.table[result.table.step_size == 1e200].iloc[0]
    x_was_finite = result.history[(result.history.step_size == 1e200) & (result.history.time < bad.diverged_at)]
    assert bad.diverged == 1
    assert 0.0 < bad.diverged_at < 12.0
    assert len(x_was_finite) > 0
    assert result.table[result.table.step_size == 0.1].iloc[0].diverged == 0


def test_stuck_without_a_limit_is_an_error_that_says_where():
    with pytest.raises(ro.FleetStuck) as stuck:
        run(methods.Minibatch(0.1), ro.Until(updates=3), times=(1.0, math.inf), force=True)
    assert (stuck.value.time, stuck.value.busy, stuck.value.idle) == (1.0, 1, 1)


def test_stuck_with_a_time_limit_lasts_to_it_and_is_flagged():
    result = run(methods.Minibatch(0.1), ro.Until(time=9.0), times=(1.0, math.inf), force=True)
    outcome = result.summary["runs"][0]
    assert outcome["was_stuck"]
    assert (outcome["ended_by"], outcome["time"]) == ("time", 9.0)


@pytest.mark.parametrize("every", [None, 100.0])
def test_stuck_before_the_last_row_is_flagged_too(every):
    result = run(
        methods.Minibatch(0.1), ro.Until(time=1.01), times=(1.0, math.inf), force=True, record=ro.Record(every=every)
    )
    assert result.summary["runs"][0]["was_stuck"]


def test_if_all_runs_are_skipped_the_error_says_why(tmp_path):
    problem = ro.problems.LogisticRegression.digits(partition="split")
    with pytest.raises(ro.RayoptError, match="homogeneous"):
        ro.run(methods.ASGD(0.1), problem, ro.Workers(4, 1.0), until=ro.Until(time=5), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_start_cancels_is_recorded_at_its_time():
    class Fickle(methods.ASGD):
        name = "fickle"

        def start(self, fleet):
            super().start(fleet)
            fleet.cancel(np.array([2]))

    trace = run(Fickle(0.1), ro.Until(time=2.0)).trace
    assert trace.iloc[0][["time", "worker", "delay", "outcome", "updates"]].tolist() == [0.0, 2, 0, "cancelled", 0]


def test_too_many_rows_are_refused():
    with pytest.raises(ro.InvalidInput, match="rows"):
        run(methods.ASGD(0.1), ro.Until(time=2.0), record=ro.Record(every=1e-9))


def test_arrivals_that_bring_no_update_are_stuck_too():
    with pytest.raises(ro.FleetStuck) as stuck:
        run(methods.Malenia(0.1, batch_size=4), ro.Until(updates=3), times=(1.0, math.inf), force=True, problem=Free())
    assert stuck.value.time == 2000.0


def test_a_stuck_run_does_not_take_the_others_with_it():
    both = [methods.Malenia(0.1, batch_size=2), methods.ASGD(0.1)]
    result = run(both, ro.Until(updates=3), times=(1.0, math.inf), force=True)
    assert "stuck" in result.summary["problems"][0]
    assert result.history.label.unique().tolist() == ["ASGD"]


def test_alarms_are_not_arrivals():
    class Patient(methods.ASGD):
        name = "patient"

        def start(self, fleet):
            fleet.wake(0.5)
            super().start(fleet)

        def receive(self, arrival, fleet):
            if arrival.worker is None:
                fleet.cancel(np.array([2]))
            else:
                super().receive(arrival, fleet)

    result = run(Patient(0.1), ro.Until(time=4.0))
    assert result.trace[["time", "worker", "outcome"]].values.tolist()[0] == [0.5, 2, "cancelled"]
    assert result.summary["runs"][0]["arrivals"] == len(result.trace) - 1


def test_trace_in_row_groups(tmp_path):
    import pyarrow.parquet as pq

    run(methods.ASGD(0.1), ro.Until(arrivals=150_000), problem=Free(), out=tmp_path / "run")
    file = pq.ParquetFile(tmp_path / "run" / "trace.parquet")
    assert [file.metadata.row_group(k).num_rows for k in range(3)] == [65_536, 65_536, 150_000 - 2 * 65_536]
    trace = ro.load(tmp_path / "run").trace
    assert trace.time.is_monotonic_increasing
    assert trace.updates.tolist() == list(range(1, 150_001))


def test_an_output_folder_that_is_not_a_run_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ro.InvalidInput, match="not a run folder"):
        run(methods.ASGD(0.1), ro.Until(time=3.0), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_same_run_in_two_processes_is_the_same_to_the_bit(tmp_path):
    import subprocess
    import sys

    program = (
        "import rayopt as ro\n"
        "result = ro.run(ro.methods.Ringmaster(0.05, 8, True), ro.problems.Quadratic(30, noise=0.1), "
        "ro.Workers(40, ro.latency.exponential('i')), until=ro.Until(time=30), seed=5)\n"
        "import hashlib; print(hashlib.sha256(result.history.to_csv().encode() + result.trace.to_csv().encode())"
        ".hexdigest())\n"
    )
    hashes = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    assert len(hashes) == 1


def test_heterogeneous_data_skip_methods_that_would_be_biased():
    problem = ro.problems.LogisticRegression.digits(partition={"name": "dirichlet", "alpha": 0.3})
    both = [methods.Malenia(0.1, batch_size=4), methods.Rennala(0.1, batch_size=4)]
    workers = ro.Workers(4, "sqrt(i)")
    result = ro.run(both, problem, workers, until=ro.Until(time=5))
    assert result.history.label.unique().tolist() == ["Malenia"]
    assert "homogeneous" in result.summary["problems"][0]
    forced = ro.run(both, problem, workers, until=ro.Until(time=5), force=True)
    assert forced.history.label.unique().tolist() == ["Malenia", "Rennala"]
