"""Figures beside those of the metrics: what updates cost, and the delays that were measured."""

from __future__ import annotations

import pandas as pd
import pytest

from rayopt import Experiment, Network, Record, Until, Workers, graphs, load, methods
from rayopt.problems import Free, Quadratic
from rayopt.report.costs import draw_costs
from rayopt.report.delays import count_delays, draw_delays
from rayopt.report.figures import save_all
from rayopt.report.flows import draw_flows
from rayopt.storage.run_folder import RunFolder
from rayopt.storage.trace.reader import TraceReader
from rayopt.storage.trace.rows import ROW_GROUP


def test_bars_tell_seconds_and_worker_seconds_with_the_first_method_on_top():
    # One update of 2 gradients: OFTA asks one of each worker, 2 seconds; UTA too; the third worker is never asked.
    result = Experiment(
        methods=[methods.OFTA(1.0, batch_size=2), methods.Hero(1.0)],
        problem=Free(),
        workers=Workers(3, compute=[1.0, 1.5, 50.0]),
        until=Until(updates=10),
        record=Record(metrics=[], trace=False),
        config={"workers": {"count": 3}},
    ).run()
    seconds, worker_seconds = draw_costs(result.summary).axes
    assert [label.get_text() for label in seconds.get_yticklabels()] == ["Hero", "OFTA"]
    assert [bar.get_width() for bar in seconds.patches] == [10.0, 15.0]
    assert [bar.get_width() for bar in worker_seconds.patches] == [10.0, 25.0]
    assert [path.name for path in save_all(result)] == ["costs.png"]


def test_runs_that_end_with_the_time_have_no_bars():
    result = Experiment(
        methods=[methods.Hero(1.0)],
        problem=Free(),
        workers=Workers(3, compute=1.0),
        until=Until(time=10),
        record=Record(metrics=["value"]),
        config={"workers": {"count": 3}},
    ).run()
    assert [path.name for path in save_all(result)] == ["value.png"]


@pytest.fixture
def counts(tmp_path):
    """Returns the counts of a trace of several row groups."""

    def made(group=ROW_GROUP, **delays):
        rows = [(label, delay, "used", 0) for label, found in delays.items() for delay in found]
        rows.insert(1, ("ASGD", 500, "cancelled", 0))
        frame = pd.DataFrame(rows, columns=["label", "delay", "outcome", "run"])
        frame.to_parquet(tmp_path / "trace.parquet", row_group_size=group)
        with TraceReader([tmp_path / "trace.parquet"]) as trace:
            return count_delays(trace)

    return made


def test_delays_are_counted_row_group_by_row_group(counts):
    delays = {"ASGD": [0, 1, 1, 3, 90, 1, 0], "Minibatch": [0, 0, 0], "Rennala": [2, 0]}
    whole = counts(**delays)
    assert whole == {"ASGD": {0: 2, 1: 3, 3: 1, 90: 1}, "Minibatch": {0: 3}, "Rennala": {2: 1, 0: 1}}
    for group in (1, 2, 3, 5):
        assert counts(group, **delays) == whole


def test_no_whole_trace_is_read_for_figures(monkeypatch):
    result = Experiment(
        methods=[methods.ASGD(0.1)],
        problem=Free(),
        workers=Workers(3, compute=[1.0, 1.5, 50.0]),
        until=Until(updates=30),
        record=Record(metrics=[]),
        config={"workers": {"count": 3}, "fleet": {"name": "ray"}},
    ).run()
    monkeypatch.setattr(RunFolder, "read_trace", None)
    assert [path.name for path in save_all(result)] == ["costs.png", "delays.png"]


def test_a_histogram_counts_every_arrival_and_no_cancellation(counts):
    (axes,) = draw_delays(counts(ASGD=[0, 1, 1, 3, 90], Minibatch=[0, 0]), workers=4).axes
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert axes.get_title(loc="left") == "ASGD: mean 19"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["n = 4", "largest 90"]


def test_methods_without_delays_have_no_histogram(counts):
    assert draw_delays(counts(Minibatch=[0, 0, 0]), workers=4) is None


def test_what_flowed_over_the_edges_of_a_network(tmp_path):
    network = Network(graphs.mesh(3, 3), compute=1.0, edges=2.0)
    chosen = [methods.Fragile(0.2, batch_size=12), methods.GossipSGD(0.2)]
    result = Experiment(chosen, Quadratic(dimension=10), network, Until(updates=6)).run(tmp_path / "run")
    edges = result.edges
    received = result.trace[result.trace.outcome == "received"]
    assert edges.messages.sum() == len(received)
    assert set(edges.bits / edges.messages) == {640.0}
    # A pivot's tree has an edge for every node but one in each direction, gossip has all edges.
    assert (edges.label == "Fragile").sum() == 16
    assert (edges.label == "GossipSGD").sum() == len(network.graph.edges)
    assert set(received[received.label == "GossipSGD"].kind) == {"models"}
    assert set(received[received.label == "Fragile"].kind) == {"points", "sums"}
    # A message takes two seconds, and its gradients are none.
    assert (received.time - received.assigned_at).unique().tolist() == [2.0]
    assert (result.workers.groupby("label").tasks.sum() == result.table.set_index("label").arrivals).all()
    figure = draw_flows(result)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title.split(":")[0] for title in titles] == ["Fragile", "GossipSGD"]
    assert "network.png" in [path.name for path in save_all(result)]


def test_it_needs_no_trace(tmp_path):
    network = Network(graphs.ring(4), compute=1.0, edges=2.0)
    found = Experiment([methods.GossipSGD(0.2)], Quadratic(dimension=3), network, Until(updates=3),
                       record=Record(trace=False)).run(tmp_path / "run")  # fmt: skip
    assert len(found.edges) == 8
    assert load(tmp_path / "run").edges.equals(found.edges)
    assert found.summary["runs"][0]["used_by"] == [3] * 4
    assert draw_flows(found) is not None


def test_workers_with_a_server_have_no_edges():
    found = Experiment([methods.Hero(1.0)], Quadratic(dimension=3), Workers(3, compute=1.0), Until(updates=3)).run()
    assert found.edges.empty
    assert draw_flows(found) is None
