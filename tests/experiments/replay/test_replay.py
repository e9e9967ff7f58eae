"""A recorded run is executed again to the bit; what was tampered with is found."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.experiments.replay import replay
from rayopt.experiments.replay.run import events_of
from rayopt.fleets.simulated import session as simulated
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs.fingerprints import Fingerprint, fingerprint
from rayopt.runs.recorder import Recorder
from rayopt.storage.trace import rows as trace_rows
from rayopt.storage.trace import writer as trace_file
from rayopt.storage.trace.reader import TraceReader
from tests.experiments.replay.tampering import rewrite
from tests.methods.test_conformance import TABLE, fitting

N = 8
SHA256 = Fingerprint._fields.index("sha256")


def hashes(folder):
    """Those of each run."""
    return json.loads(pq.read_metadata(folder / "trace.parquet").metadata[b"rayopt"])["hashes"]


def recorded(folder, method, problem=None, **others):
    arguments = {"until": ro.Until(time=40), "seed": [0, 1], "force": True, **others}
    return ro.run(
        method, problem or Quadratic(20, noise=0.1), ro.Workers(N, ro.latency.half_normal("i", "sqrt(i)")), out=folder,
        **arguments,
    )  # fmt: skip


REPLAYED = [
    *((method, "all") for method in TABLE if not method.needs_shared_memory and not method.decentralized),
    (methods.Rennala(0.3, batch_size=6, interrupt=True), "arrivals"),
]


@pytest.mark.parametrize(("method", "trace"), REPLAYED, ids=repr)
def test_virtual_time(method, trace, tmp_path):
    problem = fitting(method, Quadratic(20, noise=0.1))
    result = recorded(tmp_path / "run", method.fresh(), problem, record=ro.Record(trace=trace), seed=0)
    again = replay(tmp_path / "run")
    assert again.is_equal, str(again.runs[0])
    assert not again.elsewhere
    (run,) = again.runs
    assert (run.arrivals, run.updates) == (result.table.arrivals[0], result.table.updates[0])
    assert run.checked == len(hashes(tmp_path / "run")[0]) > 50


WITHOUT_A_SERVER = [
    methods.Fragile(0.2, 7), methods.Amelie(0.2, 7), methods.AcceleratedFragile(0.05, 7),
    methods.AcceleratedAmelie(0.05, 7), methods.NonsmoothFragile(0.1, 7), methods.DecentralizedMinibatch(0.3),
    methods.GossipSGD([0.1, 0.3]), methods.GradientTracking(0.1), methods.RelaySGD(0.2),
    methods.AsynchronousGossip(0.1),
    methods.Amelie({"inverse_time": 0.3, "over": 5, "by": "time"}, 7, averaging="uniform"),
    methods.DecentralizedMinibatch({"warmup": 0.3, "over": 10, "by": "time"}, server="adam"),
]  # fmt: skip


@pytest.mark.parametrize("full_duplex_flows", [False, True])
@pytest.mark.parametrize("method", WITHOUT_A_SERVER, ids=repr)
def test_without_a_server(method, full_duplex_flows, tmp_path):
    graph = ro.graphs.line(6) if isinstance(method, methods.RelaySGD) else ro.graphs.mesh(2, 3)
    network = ro.Network(graph, ro.latency.half_normal("sqrt(i)", "0.2"), ro.latency.half_normal("0.7", "0.1"),
                         full_duplex_flows)  # fmt: skip
    result = ro.run(method, Quadratic(20, noise=0.1), network, until=ro.Until(time=40), out=tmp_path / "run")
    again = replay(tmp_path / "run")
    assert again.is_equal, str(again.runs[0])
    (run,) = again.runs
    assert (run.arrivals, run.updates) == (result.table.arrivals[0], result.table.updates[0])
    assert run.checked == len(hashes(tmp_path / "run")[0]) > 20
    # A message that was another one is found.
    other = ro.Experiment([method.with_step_size(0.07)], Quadratic(20, noise=0.1), network, ro.Until(time=40))
    assert not replay(tmp_path / "run", experiment=other).is_equal


def test_a_trace_without_messages_is_not_enough_on_a_network(tmp_path):
    network = ro.Network("ring:4", 1.0, edges=0.5)
    ro.run(methods.Fragile(0.1, 4), Quadratic(5), network, until=ro.Until(updates=3), out=tmp_path / "run",
           record=ro.Record(trace="arrivals"))  # fmt: skip
    with pytest.raises(ro.InvalidInput, match="its trace has no messages"):
        replay(tmp_path / "run")


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


def always_asking(serve):
    """Returns the loop, which asks for a checkpoint after every event."""

    def watched(method, fleet, recorder):
        wait = fleet.wait

        def asking(until):
            recorder.ask_for_checkpoint()
            return wait(until)

        fleet.wait = asking
        serve(method, fleet, recorder)

    return watched


@pytest.mark.parametrize("method", [methods.Ringmaster(0.05, threshold=4), Alarmed(0.05)], ids=["arrivals", "alarms"])
def test_every_checkpoint_is_hashed(tmp_path, monkeypatch, method):
    taken = []
    state = Recorder.state

    def noted(recorder):
        taken.append((recorder._fleet.now, fingerprint(recorder._method.x)))
        return state(recorder)

    monkeypatch.setattr(Recorder, "state", noted)
    # Alarms and arrivals of the same times: what x is hashed tells in which order they came.
    workers, until = ro.Workers(N, ro.latency.fixed(1.7)), ro.Until(time=60)
    record = ro.Record(checkpoint=1e-6, every=0.3)
    experiment = ro.Experiment([method], Quadratic(20, noise=0.1), workers, until, record=record, force=True)
    monkeypatch.setattr(simulated, "serve", always_asking(simulated.serve))
    experiment.run(tmp_path / "run")
    again = replay(tmp_path / "run", experiment)
    assert again.is_equal, str(again.runs[0])
    found = [Fingerprint(*entry) for entry in hashes(tmp_path / "run")[0]]
    assert again.runs[0].checked == len(found)
    assert set(taken) <= {(entry.time, entry.sha256) for entry in found if entry.is_kept}
    assert len(taken) > 20


def test_configuration_and_trace_are_enough(tmp_path):
    result = recorded(tmp_path / "run", methods.ASGD(0.05))
    for name in ("history.parquet", "summary.json"):
        (tmp_path / "run" / name).unlink()
    again = replay(tmp_path / "run")
    assert again.is_equal
    assert [run.arrivals for run in again.runs] == [run["arrivals"] for run in result.summary["runs"]]


def test_a_trace_of_many_row_groups(tmp_path, monkeypatch):
    """Row groups end where runs go on, and hold the end of one and the begin of the next."""
    monkeypatch.setattr(trace_rows, "ROW_GROUP", 50)
    monkeypatch.setattr(trace_file, "ROW_GROUP", 70)
    both = [methods.ASGD(0.05), methods.Ringmaster(0.05, threshold=4, interrupt=True)]
    recorded(tmp_path / "run", both, until=ro.Until(time=120))
    assert pq.ParquetFile(tmp_path / "run" / "trace.parquet").num_row_groups > 10
    assert replay(tmp_path / "run").is_equal
    runs = pd.read_parquet(tmp_path / "run" / "trace.parquet").run
    with TraceReader([tmp_path / "run" / "trace.parquet"]) as trace:
        for position in range(4):
            found = [event.time for event in events_of(trace, position)]
            assert len(found) == (runs == position).sum() > 0


# ---- tampering ----


def tampered(folder, change):
    rewrite(folder, change)
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
    told = []

    def change(about):
        found = about["hashes"][0][30]
        found[SHA256] = "0" * 64
        told.extend(found)

    rewrite(folder, change_about=change)
    (run,) = replay(folder).runs
    assert run.difference.what == f"the hash of x at {told[0]:g} s is another one"
    assert run.difference.arrival == told[2]
    assert str(run).startswith("Ringmaster, seed 0: differs with arrival")


def test_a_trace_that_ends_too_early(folder):
    difference = tampered(folder, lambda trace: trace[: np.flatnonzero(trace.outcome != "cancelled")[-10]])
    assert "and x was hashed after" in difference.what


def test_another_problem_is_found(folder):
    problem, workers = Quadratic(20, noise=0.2), ro.Workers(N, ro.latency.half_normal("i", "sqrt(i)"))
    method = methods.Ringmaster(0.05, threshold=4, interrupt=True)
    (run,) = replay(folder, ro.Experiment([method], problem, workers, ro.Until(time=40), force=True)).runs
    assert "hash" in run.difference.what
    assert math.isnan(run.difference.size)


def test_another_machine_is_told(folder):
    rewrite(folder, change_about=lambda about: about["environment"].update(numpy="1.0"))
    (difference,) = replay(folder).elsewhere
    assert difference.startswith("numpy 1.0 when it was recorded, ")


@pytest.mark.parametrize("change", [lambda about: about.clear(), lambda about: about["hashes"].append(None)])
def test_a_trace_that_does_not_fit_is_refused(folder, change):
    rewrite(folder, change_about=change)
    with pytest.raises(ro.InvalidInput, match="hashes of x"):
        replay(folder)


def test_a_trace_that_is_no_parquet_is_refused(folder):
    (folder / "trace.parquet").write_text("time,worker\n")
    with pytest.raises(ro.InvalidInput, match="cannot be read"):
        replay(folder)


def test_a_run_without_a_trace(tmp_path):
    recorded(tmp_path / "run", methods.ASGD(0.05), record=ro.Record(trace=False))
    with pytest.raises(ro.InvalidInput, match="has no trace"):
        replay(tmp_path / "run")
