"""What Ray's Prometheus endpoint shows of a run, and what is counted for it."""

from __future__ import annotations

import time
import urllib.request

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

import rayopt as ro
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.metrics import Delays


@pytest.fixture(scope="module")
def cluster():
    """A cluster that hands metrics on every second."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        connect(None)
        yield
        ray.shutdown()


def scraped():
    """{(name, its own tags): value} of what this node shows of rayopt."""
    found = {}
    for node in ray.nodes():
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        text = urllib.request.urlopen(address, timeout=30).read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("ray_rayopt_"):
                    own = {key: value for key, value in sample.labels.items()
                           if key in ("run", "method", "seed", "le", "quantile")}  # fmt: skip
                    found[sample.name, frozenset(own.items())] = sample.value
    return found


@pytest.mark.timeout(200)
def test_prometheus_finds_the_runs(cluster):
    methods = [ro.methods.Ringmaster(0.05, threshold=2), ro.methods.Rennala(0.3, batch_size=2, interrupt=True)]
    labels = ["Ring of 2", "Rennala"]
    last_seen = {}

    class Watching:
        """Looks at the endpoint while the experiment still holds its server."""

        def opened(self, runs, until): ...
        def started(self, run): ...
        def progressed(self, run, progress): ...
        def closed(self): ...

        def ended(self, run):
            wanted = ("ray_rayopt_arrivals_total", frozenset(tags(run).items()))
            give_up = time.monotonic() + 60
            # Ray hands metrics on every few seconds.
            while scraped().get(wanted) != run.outcome.counts.arrivals and time.monotonic() < give_up:
                time.sleep(0.5)
            last_seen[run.label] = scraped()

    experiment = ro.Experiment(
        methods, ro.problems.Quadratic(20), ro.Workers(4, "0.004 * i"), ro.Until(time=1.5), ro.RayFleet(), labels=labels
    )  # fmt: skip
    result = experiment.run(display=Watching())
    for summary in result.summary["runs"]:
        own, name = tags(summary), summary["label"]
        seen = {key: value for (key, found), value in last_seen[name].items() if dict(found) == own}
        for outcome in ("arrivals", "used", "ignored", "cancelled"):
            assert seen.get(f"ray_rayopt_{outcome}_total", 0) == summary[outcome], (name, outcome)
        assert seen["ray_rayopt_updates"] == summary["updates"]
        assert seen["ray_rayopt_fleet_seconds"] == pytest.approx(1.5)
        assert seen["ray_rayopt_loss"] == pytest.approx(result.history.value[result.history.label == name].iloc[-1])
        delays = result.trace.delay[(result.trace.label == name) & (result.trace.outcome != "cancelled")]
        assert seen["ray_rayopt_delay_count"] == len(delays)
        assert seen["ray_rayopt_delay_sum"] == delays.sum()
        tagged = {(key, *(dict(found).get(tag) for tag in ("le", "quantile"))): value
                  for (key, found), value in last_seen[name].items() if own.items() <= dict(found).items()}  # fmt: skip
        assert tagged["ray_rayopt_delay_bucket", "0", None] == (delays == 0).sum()
        assert tagged["ray_rayopt_delay_bucket", "+Inf", None] == len(delays)
        assert 0 < tagged["ray_rayopt_slip_seconds", None, "0.5"] <= tagged["ray_rayopt_slip_seconds", None, "0.99"]


def tags(run):
    """The tags of a run, or of its entry in a summary."""
    of = run if isinstance(run, dict) else {"label": run.label, "method": run.method.name, "seed": run.seed}
    return {"run": of["label"], "method": of["method"], "seed": str(of["seed"])}


def test_delays_are_counted_in_bins_that_double():
    delays = Delays()
    for delay in [0, 0, 1, 2, 3, 4, 9]:
        delays.add(delay)
    assert delays.cumulative() == [("0", 2), ("1", 3), ("3", 5), ("7", 6), ("15", 7), ("+Inf", 7)]
    assert delays.sum == 19


def test_no_delay_yet():
    assert Delays().cumulative() == [("0", 0), ("+Inf", 0)]
