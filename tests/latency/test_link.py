"""Links: seconds per message and per float, each a latency of its own, in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt.experiments.config import Workload, describe

PROBLEM = ro.problems.Quadratic(dimension=10, noise=0.0)


def times_of(workers, method, problem=PROBLEM, updates=2):
    return ro.run(method, problem, workers, until=ro.Until(updates=updates)).trace.time.tolist()


def test_a_task_takes_its_way_down_its_gradient_and_its_way_up():
    up, down = ro.Link(per_message=0.5, per_float="i / d"), ro.Link(per_message=0.25, per_float=0.01)
    workers = ro.Workers(2, compute=[1.0, 3.0], upload=up, download=down)
    # 0.25 + 0.1 + h + 0.5 + i
    assert times_of(workers, ro.methods.Minibatch(0.1)) == pytest.approx([2.85, 5.85, 8.7, 11.7])


def test_a_bare_latency_is_seconds_per_message():
    bare, link = (ro.Workers(2, 1.0, upload=given) for given in ("i", ro.Link(per_message="i")))
    assert bare == link
    assert times_of(bare, ro.methods.Minibatch(0.1)) == [2.0, 3.0, 5.0, 6.0]


def test_bits_are_64_to_a_float():
    per_float, per_bit = (ro.Workers(3, "i", upload=link) for link in (ro.Link(per_float=0.64), ro.Link(per_bit=0.01)))
    assert times_of(per_float, ro.methods.ASGD(0.1), updates=6) == pytest.approx(
        times_of(per_bit, ro.methods.ASGD(0.1), updates=6)
    )


def test_a_compressed_reply_takes_the_time_of_its_bits():
    workers = ro.Workers(2, 1.0, upload=ro.Link(per_float=[0.1, 0.2]))
    method = ro.methods.QSGD(0.1, ro.compressors.RandK(3))
    assert times_of(workers, method) == pytest.approx([1.3, 1.6, 2.9, 3.2])
    coded = ro.methods.QSGD(0.1, ro.compressors.Natural())
    assert times_of(workers, coded)[0] == pytest.approx(1 + 0.1 * 90 / 64)


@pytest.mark.parametrize("part", ["per_message", "per_float"])
def test_random_links_are_drawn_for_every_task_and_do_not_depend_on_when_they_are(part):
    link = ro.Link(**{part: ro.latency.uniform(0.1, 1.0)})
    workers = ro.Workers(30, 1.0, upload=link)
    found = times_of(workers, ro.methods.Minibatch(0.1), updates=3)
    assert len({round(time, 9) for time in found}) == 90
    assert found == times_of(workers, ro.methods.Minibatch(0.1), updates=3)
    times = workers.times(0, 10)
    everyone, numbers = np.arange(30), np.arange(30) % 4
    together = times.durations(everyone, numbers, 0.0, 1)
    assert [times.duration(i, i % 4, 0.0, 1) for i in range(30)] == together.tolist()
    assert (times.least <= together).all()


def test_theory_sees_the_whole_way():
    workers = ro.Workers(2, [1.0, 3.0], upload=ro.Link(per_float=0.1), download=ro.Link(per_message=1.0))
    assert workers.times(0, 10).expected.tolist() == [3.0, 5.0]
    assert workers.times(0, 10).fixed.tolist() == [3.0, 5.0]


def test_bits_are_counted_up_and_down():
    workers = ro.Workers(2, "i", upload=ro.Link(per_float=0.1))
    result = ro.run(ro.methods.Rennala(0.1, batch_size=4, interrupt=True), PROBLEM, workers, until=ro.Until(updates=3))
    row = result.table.iloc[0]
    assert row.bits_up == 640 * row.arrivals == result.trace.bits.sum()
    # What is running at the end was sent too.
    assert row.bits_down == 640 * (row.arrivals + row.cancelled + 2)
    assert result.history.bits_up.iloc[-1] == row.bits_up
    assert result.history.bits_up.is_monotonic_increasing
    method = ro.methods.EF21(0.1, ro.compressors.TopK(3))
    compressed = ro.run(method, PROBLEM, workers, until=ro.Until(updates=3))
    assert compressed.table.bits_up.tolist() == [6 * 3 * (64 + 4)]


def test_a_worker_that_gave_up_has_sent_nothing():
    method = ro.methods.MindFlayer(0.1, trials=1, time_limit=1.5)
    result = ro.run(method, PROBLEM, ro.Workers(2, [1.0, 2.0]), until=ro.Until(updates=2))
    trace = result.trace
    assert set(trace[trace.outcome == "failed"].bits) == {0}
    assert result.table.bits_up[0] == trace.bits.sum() == 640 * result.table.used[0]


def test_a_workload_says_links_and_compressors_and_gets_them_back():
    config = {
        "problem": {"name": "quadratic", "dimension": 10},
        "workers": {"count": 3, "compute": 1.0, "upload": {"per_message": 0.1, "per_float": "sqrt(i) / d"}},
        "methods": [
            {"name": "shadowheart", "step_size": 0.1, "noise_ratio": 1, "compressor": {"name": "rand_k", "k": 1}},
            {"name": "qsgd", "step_size": 0.1, "compressor": "natural"},
        ],
        "until": {"updates": 2},
    }
    experiment = Workload.model_validate(config).build()
    assert experiment.methods[0].compressor == ro.compressors.RandK(1)
    assert experiment.workers.upload == ro.Link(per_message=0.1, per_float="sqrt(i) / d")
    again = Workload.model_validate(describe(experiment)).build()
    assert describe(again) == describe(experiment)
    assert "download" not in describe(experiment)["workers"]
    assert experiment.run().table.updates.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ro.Link(per_float=1.0, per_bit=1.0), "per_bit: cannot be combined with per_float"),
        (lambda: ro.Link(per_float=-1.0), "per_float.*-1"),
        (lambda: ro.Link(per_message=math.nan), "per_message.*nan"),
        (lambda: ro.Workers(2, 1.0, upload={"per_flot": 1.0}), "upload.per_flot: unknown .did you mean 'per_float'"),
        (lambda: ro.Workers(2, 1.0, upload={"per_float": [1.0, 2.0, 3.0]}), "upload.per_float"),
        (lambda: ro.Workers(3, 1.0, upload=ro.Link(per_float="1 - i")), "upload.per_float.*-1 for worker 1"),
        (lambda: ro.Workers(2, "sqrt(i) / d"), "compute.*'d' is the dimension, which only links know"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ro.InvalidInput, match=message):
        make()
