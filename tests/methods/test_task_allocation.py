"""ATA and its baselines: who is given how much, what is learned, what it costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.problems import Free, Quadratic

MAIN = ro.latency.exponential(mean="29 * i", base="29 * i")


class Known:
    """A fleet with known means; nothing runs."""

    def __init__(self, means):
        self.expected_times = np.asarray(means, dtype=float)
        self.n = len(means)
        self.random = np.random.Generator(np.random.Philox(1))
        self.assigned = []

    def assign(self, workers, tasks):
        self.assigned.append({int(w): task.count for w, task in zip(workers, tasks, strict=True)})


def started(method, means):
    fleet = Known(means)
    method.prepare(np.zeros(1), fleet.n)
    method.start(fleet)
    return method, fleet


def test_ofta_of_the_main_setting():
    _, fleet = started(methods.OFTA(0.1, 23), 58.0 * np.arange(1, 52))
    assert fleet.assigned == [{0: 9, 1: 4, 2: 3, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}]


def test_uta_gives_everyone_as_much():
    _, fleet = started(methods.UTA(0.1, 8), [1.0, 2.0, 3.0])
    assert sorted(fleet.assigned[0].values()) == [2, 3, 3]


@pytest.mark.parametrize("method", [methods.ATA(0.1, 4, alpha=1.0), methods.ATAEmpirical(0.1, 4)], ids=repr)
def test_everyone_is_tried_once_before_anyone_is_tried_again(method, simulate):
    ran = simulate(method, Free(2), "i", ro.Until(updates=3), n=10)
    workers = [event[1] for event in ran.events]
    assert sorted(workers[:8]) == sorted(set(workers[:8]))
    assert set(workers) == set(range(1, 11))


def test_scores_by_hand():
    means, tasks_done = np.array([3.0, 5.0]), np.array([4.0, 9.0])
    ratio = math.log(2 * 10**2) / tasks_done
    width = np.sqrt(ratio) + ratio
    ata = methods.ATA(0.1, 4, alpha=0.25, confidence=2.0)
    assert ata.scores(means, width).tolist() == np.maximum(means - 0.5 * width, 0).tolist()
    empirical = methods.ATAEmpirical(0.1, 4, eta=0.1, confidence=2.0)
    assert empirical.scores(means, width).tolist() == (means * np.maximum(1 - 0.2 * width, 0)).tolist()
    assert methods.ATA(0.1, 4, alpha=9.0).scores(means, width).tolist() == [0.0, 0.0]


def test_the_scores_see_the_iteration_and_the_times_taken():
    class Watched(methods.ATA):
        def scores(self, means, width):
            seen.append((self.updates, means.copy(), width.copy(), self.tasks_done.copy()))
            return super().scores(means, width)

    seen = []
    ro.run(Watched(0.1, batch_size=6, alpha=1.0), Free(2), ro.Workers(3, [1.0, 2.0, 3.0]), until=ro.Until(updates=5))
    updates, means, width, done = seen[-1]
    assert means.tolist() == [1.0, 2.0, 3.0]
    ratio = np.log(2 * (updates + 1) ** 2) / done
    np.testing.assert_allclose(width, np.sqrt(ratio) + ratio)


def test_ata_learns_the_allocation_of_ofta(simulate):
    ran = simulate(methods.ATA(0.1, batch_size=6, alpha=0.05), Free(2), [1.0, 2.0, 40.0], ro.Until(updates=30), n=3)
    late = [event for event in ran.events if event[4] >= 29]
    assert {event[1] for event in late} == {1, 2}
    allocation = np.bincount([event[1] for event in ran.events])
    assert allocation[3] == 1


def test_gta_keeps_everyone_busy_and_the_others_do_not(simulate):
    busy = {}
    for method in (methods.GTA(0.1, 23), methods.OFTA(0.1, 23), methods.UTA(0.1, 23)):
        outcome = simulate(method, Free(1), MAIN, ro.Until(updates=300), n=51, trace=False).outcome
        busy[method.name] = outcome.busy_seconds / (51 * outcome.time)
    assert busy["gta"] == pytest.approx(1.0)
    assert busy["ofta"] < 0.15
    assert busy["uta"] < 0.25


def test_the_main_setting_for_a_while(simulate):
    """Seconds and worker-seconds per iteration of the reference numbers (750,000 iterations) within 3 %."""
    expected = {"ofta": (5.85e8, 3.00e9), "gta": (3.70e8, 1.89e10), "uta": (3.58e9, 2.60e10)}
    for method in (methods.OFTA(0.1, 23), methods.GTA(0.1, 23), methods.UTA(0.1, 23)):
        outcome = simulate(method, Free(1), MAIN, ro.Until(updates=3000), n=51, trace=False).outcome
        found = (outcome.time * 250, outcome.busy_seconds * 250)
        assert found == pytest.approx(expected[method.name], rel=0.03), method.name


def test_every_gradient_has_the_same_weight():
    method, fleet = started(methods.OFTA(1.0, 3), [1.0, 2.0])
    assert fleet.assigned == [{0: 2, 1: 1}]
    for worker, value, count in [(0, 1.0, 2), (1, 7.0, 1)]:
        arrival = ro.core.arrivals.Arrival.with_value(worker, [value])
        arrival.task.count = count
        method.receive(arrival, fleet)
    assert method.x.tolist() == [-(2 * 1.0 + 7.0) / 3]


def test_gta_is_rennala_with_interrupt(simulate):
    problem, until = Quadratic(20, noise=0.1), ro.Until(updates=50)
    gta = simulate(methods.GTA(0.3, 6), problem, "sqrt(i)", until, n=8)
    rennala = simulate(methods.Rennala(0.3, 6, interrupt=True), problem, "sqrt(i)", until, n=8)
    assert gta.method.x.tobytes() == rennala.method.x.tobytes()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: methods.ATA(0.1, 0, alpha=1.0), "batch_size"),
        (lambda: methods.ATA(0.1, 3, alpha=0.0), "alpha"),
        (lambda: methods.ATA(0.1, 3, alpha=1.0, confidence=-1), "confidence"),
        (lambda: methods.ATAEmpirical(0.1, 3, eta=math.inf), "eta"),
        (lambda: started(methods.OFTA(0.1, 3), [math.inf, math.inf]), "workers.compute"),
    ],
)
def test_bad_parameters(make, key):
    with pytest.raises(ro.InvalidInput) as caught:
        make()
    assert caught.value.key == key
