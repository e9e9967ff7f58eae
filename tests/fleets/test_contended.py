"""Messages that share the server's link, and workers that compute while they send: by hand, and at their limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt import compressors, methods
from rayopt.fleets.shared_link import SharedLink
from rayopt.problems import LogisticRegression, NonconvexQuadratics, Quadratic
from rayopt.testing import workers_for
from tests.methods.test_conformance import TABLE, UNEQUAL

PROBLEM = Quadratic(dimension=10, noise=0.1)


def arrivals(method: methods.Method, workers: Any, until: Any, problem: Any = PROBLEM, **options: Any) -> list[Any]:
    """(time, worker, number, outcome) of the rows of the trace."""
    fleet = ro.SimulatedFleet(**options)
    trace = ro.run(method, problem, workers, until=until, fleet=fleet, record=ro.Record(trace="all")).trace
    return [(round(row.time, 9), row.worker, row.number, row.outcome) for row in trace.itertuples()]


class TestSharedLink:
    def test_two_messages_share_it_and_the_last_one_has_it_alone(self):
        link = SharedLink(10.0)
        link.begin(0.0, 1, floats=20.0, seconds=0.0)
        assert link.next() == (2.0, 1)
        link.begin(1.0, 2, floats=20.0, seconds=0.0)
        # 10 floats of the first are left, at 5 a second each.
        assert link.next() == (3.0, 1)
        link.end(3.0, 1)
        assert link.next() == (4.0, 2)
        link.end(4.0, 2)
        assert link.next() == (math.inf, -1)

    def test_what_a_slow_one_leaves_is_divided_among_the_others(self):
        link = SharedLink(10.0)
        link.begin(0.0, 1, floats=6.0, seconds=3.0)  # at most 2 a second
        for key in (2, 3):
            link.begin(0.0, key, floats=8.0, seconds=0.0)
        assert link.next() == (2.0, 2)
        link.end(2.0, 2)
        link.end(2.0, 3)
        assert link.next() == (3.0, 1)

    def test_a_link_that_is_down_leaves_all_to_the_others(self):
        link = SharedLink(10.0)
        link.begin(0.0, 1, floats=5.0, seconds=math.inf)
        assert link.next()[0] == math.inf
        link.begin(0.0, 2, floats=5.0, seconds=0.0)
        assert link.next() == (0.5, 2)

    def test_work_is_conserved(self):
        random = np.random.default_rng(0)
        for _ in range(50):
            link, now, begun = SharedLink(7.0), 0.0, 0.0
            for key in range(6):
                floats = float(random.uniform(1, 5))
                link.begin(0.0, key, floats, 0.0)
                begun += floats
            while (found := link.next())[1] >= 0:
                now, key = found
                link.end(now, key)
            assert now == pytest.approx(begun / 7.0)


def test_three_workers_by_hand():
    """They compute for 1, 2 and 3 s and send 10 floats; the server takes 10 floats a second."""
    found = arrivals(methods.ASGD(0.1), ro.Workers(3, compute=[1.0, 2.0, 3.0]), ro.Until(time=5.0),
                     server_bandwidth=10.0)  # fmt: skip
    assert found == [
        (2.0, 0, 0, "used"),  # alone from 1 to 2
        (3.0, 1, 0, "used"),  # alone from 2 to 3
        (5.0, 0, 1, "used"),  # both from 3 on, 5 floats a second each
        (5.0, 2, 0, "used"),
    ]


def test_downloads_share_it_too_and_each_direction_for_itself():
    """x goes to both workers at once, 10 floats each at 5 a second; their gradients come back in the same way."""
    found = arrivals(methods.Minibatch(0.1), ro.Workers(2, compute=1.0, download=ro.Link(per_float=1e-9)),
                     ro.Until(updates=1), server_bandwidth=10.0)  # fmt: skip
    assert found == [(5.0, 0, 0, "used"), (5.0, 1, 0, "used")]


def test_a_message_that_is_cancelled_leaves_the_link_to_the_others():
    workers = ro.Workers(3, compute=[1.0, 1.0, 1.5])
    found = arrivals(methods.Rennala(0.1, batch_size=1, interrupt=True), workers, ro.Until(updates=1),
                     server_bandwidth=10.0)  # fmt: skip
    # 10 floats of two workers from 1 on, of three from 1.5 on: (10 - 2.5) / (10 / 3) later.
    assert (3.75, 0, 0, "used") in found
    assert {row[1:] for row in found if row[3] == "cancelled"} == {(1, 0, "cancelled"), (2, 0, "cancelled")}


def test_overlap_by_hand():
    """A gradient takes 2 s and its way 1 s: with overlap the next one at the same point comes after 2 s, not 3."""
    workers = ro.Workers(1, compute=2.0, upload=1.0)
    method = methods.Rennala(0.1, batch_size=4)
    apart = arrivals(method, workers, ro.Until(updates=2))
    together = arrivals(method, workers, ro.Until(updates=2), overlap=True)
    assert [row[0] for row in apart] == [3, 6, 9, 12, 15, 18, 21, 24]
    # After the update the point is another one: what was begun is dropped, and the worker begins at 9.
    assert [row[0] for row in together] == [3, 5, 7, 9, 12, 14, 16, 18]
    assert [row[2] for row in together] == list(range(8))


def test_a_gradient_that_is_ready_waits_for_the_question_and_then_needs_its_way_alone():
    workers = ro.Workers(1, compute=1.0, upload=3.0)
    found = arrivals(methods.Rennala(0.1, batch_size=3), workers, ro.Until(updates=1), overlap=True)
    assert [row[0] for row in found] == [4, 7, 10]


@pytest.mark.parametrize("method", TABLE, ids=repr)
def test_without_links_or_limits_it_is_the_other_clock(method):
    """Overlap changes nothing where sending takes no time; a link that is never full is none."""
    options = {"overlap": True, "server_bandwidth": 1e300}
    if method.decentralized:
        return
    problem = NonconvexQuadratics(components=16, dimension=8) if method.needs_components else PROBLEM
    workers, until = workers_for(method, 8, UNEQUAL), ro.Until(time=20)
    plain = arrivals(method, workers, until, problem)
    assert arrivals(method, workers, until, problem, **options) == plain


def test_links_without_a_limit_take_what_they_take():
    workers = ro.Workers(5, compute="i", upload=ro.Link(per_message=0.5, per_float="0.1 * sqrt(i)"), download=0.25)
    several = methods.BatchQSGD(0.1, compressors.RandK(2), 2, 4)
    for method in (methods.Ringmaster(0.05, 4, interrupt=True), methods.QSGD(0.1, compressors.RandK(3)), several):
        plain = arrivals(method, workers, ro.Until(time=60))
        assert arrivals(method, workers, ro.Until(time=60), server_bandwidth=1e300) == plain


def test_less_bandwidth_is_never_faster():
    workers = ro.Workers(6, compute="sqrt(i)", upload=ro.Link(per_float=0.01))
    times = []
    for bandwidth in (None, 100.0, 10.0, 2.0):
        fleet = ro.SimulatedFleet(server_bandwidth=bandwidth)
        found = ro.run(methods.Rennala(0.1, batch_size=12), PROBLEM, workers, until=ro.Until(updates=5), fleet=fleet)
        times.append(found.table.time[0])
    assert times == sorted(times)
    assert times[-1] > 5 * 12 * 10 / 2.0


@pytest.mark.parametrize("options", [{"overlap": True, "server_bandwidth": 8.0}, {"server_bandwidth": 3.0}], ids=str)
def test_it_goes_on_from_a_checkpoint_and_replays(options, tmp_path):
    from rayopt.fleets.base import Job
    from rayopt.runs.snapshot import Schedule

    workers = ro.Workers(6, compute="sqrt(i)", upload=ro.Link(per_message=0.1, per_float=0.05))
    until, kept = ro.Until(updates=3000), []
    record = ro.Record(trace=False, metrics=()).resolve(PROBLEM.metric_names, until)
    fleet = ro.SimulatedFleet(**options)

    def run(start: Any = None, checkpoints: Any = None) -> tuple[float, np.ndarray]:
        method = methods.Rennala(0.1, batch_size=3)
        job = Job(method, 0, until, record, start=start, checkpoints=checkpoints)
        with fleet.open(PROBLEM, workers) as session:
            outcome = session.run(job, lambda rows: None, lambda progress: None, kept.append)
        return outcome.time, method.x

    time, x = run(checkpoints=Schedule(0.05, 0.05))
    assert kept
    again, same = run(start=kept[0])
    assert again == time
    assert same.tobytes() == x.tobytes()
    ro.run([methods.ASGD(0.05), methods.Rennala(0.1, 3, interrupt=True)], LogisticRegression.digits(rows=100), workers,
           until=ro.Until(time=20), fleet=fleet, out=tmp_path / "run")  # fmt: skip
    assert [found.difference for found in ro.replay(tmp_path / "run").runs] == [None, None]


def test_a_fleet_that_is_stuck_says_so():
    with pytest.raises(ro.FleetStuck):
        ro.run(methods.Minibatch(0.1), PROBLEM, ro.Workers(2, compute=[1.0, math.inf]), until=ro.Until(updates=2),
               fleet=ro.SimulatedFleet(server_bandwidth=5.0), force=True)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"server_bandwidth": 0}, "server_bandwidth"), ({"server_bandwidth": -1.0}, "server_bandwidth"),
     ({"overlap": 1}, "overlap"), ({"overlap": True, "gradients": "ray"}, "overlap")],
)  # fmt: skip
def test_what_is_not_allowed_is_one_line(arguments, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.SimulatedFleet(**arguments).open(PROBLEM, ro.Workers(2, 1.0))
    assert caught.value.key == key


def test_a_workload_holds_it():
    fleet = ro.SimulatedFleet(overlap=True, server_bandwidth=100)
    assert fleet.to_config() == {"name": "simulated", "overlap": True, "server_bandwidth": 100.0}


def test_floats_of_32_bits_have_the_servers_link_for_half_the_seconds():
    problem = {dtype: ro.problems.LogisticRegression.digits(batch=4, dtype=dtype) for dtype in ("float64", "float32")}
    fleet, seconds = ro.SimulatedFleet(server_bandwidth=650.0), {}
    for dtype, own in problem.items():
        workers = ro.Workers(2, 1.0, upload=ro.Link(per_message=0.0, per_float=1e-9))
        seconds[dtype] = ro.run(
            ro.methods.Minibatch(0.1), own, workers, until=ro.Until(updates=3), fleet=fleet
        ).table.time[0]
    assert seconds["float64"] == pytest.approx(3 * (1 + 2))
    assert seconds["float32"] == pytest.approx(3 * (1 + 1))
