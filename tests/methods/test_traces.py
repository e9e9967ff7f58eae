"""The deterministic traces of the specification, to the event: n = 3, times (1, 2.3, 3.7), workers from 1."""

from __future__ import annotations

import pytest

import rayopt as ro
from rayopt import methods

STEP = 0.1


def until(time: float) -> ro.Until:
    # 2.3 + 2.3 + 2.3 is a little below 6.9; a limit a little above the last event includes it.
    return ro.Until(time=time + 1e-6)


def test_asgd(simulate):
    ran = simulate(methods.ASGD(STEP), until=until(6))
    assert ran.of("used") == [
        (1.0, 1, 0), (2.0, 1, 0), (2.3, 2, 2), (3.0, 1, 1), (3.7, 3, 4),
        (4.0, 1, 1), (4.6, 2, 3), (5.0, 1, 1), (6.0, 1, 0),
    ]  # fmt: skip
    assert len(ran.events) == 9


@pytest.mark.parametrize("rule", ["mishchenko", "koloskova"])
def test_delay_adaptive_asgd_has_the_events_of_asgd(simulate, rule):
    ran = simulate(methods.DelayAdaptiveASGD(STEP, rule=rule), until=until(6))
    assert ran.events == simulate(methods.ASGD(STEP), until=until(6)).events


def test_ringmaster_without_stops(simulate):
    ran = simulate(methods.Ringmaster(STEP, threshold=2), until=until(8))
    assert ran.of("used") == [(float(t), 1, 0) for t in range(1, 9)]
    assert ran.of("ignored") == [(2.3, 2, 2), (3.7, 3, 3), (4.6, 2, 2), (6.9, 2, 2), (7.4, 3, 4)]


def test_ringmaster_with_stops(simulate):
    ran = simulate(methods.Ringmaster(STEP, threshold=2, interrupt=True), until=until(8))
    assert ran.of("used") == [(float(t), 1, 0) for t in range(1, 9)]
    assert ran.of("cancelled") == [(float(t), worker, 2) for t in (2, 4, 6, 8) for worker in (2, 3)]
    assert [event[4] for event in ran.events if event[3] == "cancelled"] == [2, 2, 4, 4, 6, 6, 8, 8]


def test_rennala_without_interrupt(simulate):
    ran = simulate(methods.Rennala(STEP, batch_size=4), until=until(7.4))
    assert ran.update_times() == [3.0, 6.9]
    assert [worker for _, worker, _ in ran.of("used")] == [1, 1, 2, 1, 1, 1, 1, 2]
    assert ran.of("ignored") == [(3.7, 3, 1), (4.6, 2, 1), (7.0, 1, 1), (7.4, 3, 1)]


def test_rennala_with_interrupt(simulate):
    ran = simulate(methods.Rennala(STEP, batch_size=4, interrupt=True), until=until(6))
    assert ran.update_times() == [3.0, 6.0]
    assert ran.of("ignored") == []
    assert ran.of("cancelled") == [(3.0, 2, 1), (3.0, 3, 1), (6.0, 2, 1), (6.0, 3, 1)]


def test_malenia_without_interrupt(simulate):
    ran = simulate(methods.Malenia(STEP, batch_size=4), until=until(11.1))
    assert ran.update_times() == [4.0, 11.1]
    first = [worker for time, worker, _ in ran.of("used") if time <= 4.0]
    second = [worker for time, worker, _ in ran.of("used") if time > 4.0]
    assert [first.count(worker) for worker in (1, 2, 3)] == [4, 1, 1]
    assert [second.count(worker) for worker in (1, 2, 3)] == [7, 2, 1]


def test_malenia_with_interrupt(simulate):
    ran = simulate(methods.Malenia(STEP, batch_size=4, interrupt=True), until=until(12))
    assert ran.update_times() == [4.0, 8.0, 12.0]
    used = [worker for _, worker, _ in ran.of("used")]
    assert [used.count(worker) for worker in (1, 2, 3)] == [12, 3, 3]


def test_minibatch(simulate):
    ran = simulate(methods.Minibatch(STEP), until=until(7.4))
    assert ran.of("used") == [(1.0, 1, 0), (2.3, 2, 0), (3.7, 3, 0), (4.7, 1, 0), (6.0, 2, 0), (7.4, 3, 0)]
    assert ran.update_times() == [3.7, 7.4]


def test_m_sync_takes_the_first_arrivals_and_cancels_the_rest(simulate):
    ran = simulate(methods.MSync(STEP, batch_size=2), until=until(4.6))
    assert ran.update_times() == [2.3, 4.6]
    assert ran.of("cancelled") == [(2.3, 3, 1), (4.6, 3, 1)]


def test_m_sync_fastest_leaves_the_others_idle(simulate):
    ran = simulate(methods.MSync(STEP, batch_size=2, wait_for="fastest"), times=(3.7, 1.0, 2.3), until=until(4.6))
    assert {worker for _, worker, _ in ran.of("used")} == {2, 3}
    assert ran.of("cancelled") == []
    assert ran.update_times() == [2.3, 4.6]


def test_hero(simulate):
    ran = simulate(methods.Hero(STEP), times=(2.3, 1.0, 3.7), until=until(3))
    assert ran.events == [(1.0, 2, 0, "used", 1), (2.0, 2, 0, "used", 2), (3.0, 2, 0, "used", 3)]


def test_naive_optimal_asgd_leaves_the_slowest_idle(simulate):
    # m = 1: 3, m = 2: 4 / (1 + 1/2.3) = 2.79, m = 3: 5 / (1 + 1/2.3 + 1/3.7) = 2.93
    ran = simulate(methods.NaiveOptimalASGD(STEP, noise_ratio=2), until=until(6))
    assert ran.of("used") == [
        (1.0, 1, 0), (2.0, 1, 0), (2.3, 2, 2), (3.0, 1, 1), (4.0, 1, 0), (4.6, 2, 2), (5.0, 1, 1), (6.0, 1, 0),
    ]  # fmt: skip
    assert len(ran.events) == 8


def test_rescaled_asgd_has_the_events_of_asgd(simulate):
    ran = simulate(methods.RescaledASGD(STEP), until=until(6))
    assert ran.events == simulate(methods.ASGD(STEP), until=until(6)).events


@pytest.mark.parametrize("method", [methods.AcceleratedRennala, methods.NonsmoothRennala])
@pytest.mark.parametrize("interrupt", [False, True])
def test_rennalas_kin_have_its_events(simulate, method, interrupt):
    rennala = simulate(methods.Rennala(STEP, batch_size=4, interrupt=interrupt), until=until(7.4))
    assert simulate(method(STEP, batch_size=4, interrupt=interrupt), until=until(7.4)).events == rennala.events


def test_ringleader(simulate):
    ran = simulate(methods.Ringleader(STEP), until=until(12))
    assert ran.events == [
        (1.0, 1, 0, "used", 0), (2.0, 1, 0, "used", 0), (2.3, 2, 0, "used", 0), (3.0, 1, 0, "used", 0),
        (3.7, 3, 0, "used", 1),  # full, (3, 1, 1)
        (4.0, 1, 1, "used", 2),  # (4, 1, 1)
        (4.6, 2, 2, "used", 3),  # (4, 2, 1), the round ends
        (5.0, 1, 1, "used", 3), (6.0, 1, 1, "used", 3), (6.9, 2, 0, "used", 3), (7.0, 1, 1, "used", 3),
        (7.4, 3, 2, "used", 4),  # full, (3, 1, 1)
        (8.0, 1, 2, "used", 5),
        (9.0, 1, 0, "used", 5),  # kept for the next round
        (9.2, 2, 2, "used", 6),  # the round ends, (1, 0, 0)
        (10.0, 1, 1, "used", 6), (11.0, 1, 1, "used", 6), (11.1, 3, 2, "used", 6),
        (11.5, 2, 0, "used", 7),  # full, (3, 1, 1)
        (12.0, 1, 2, "used", 8),
    ]  # fmt: skip


def test_ringleader_counts(simulate):
    fills = []

    class Watched(methods.Ringleader):
        def open_second_phase(self, first):
            fills.append(tuple(slot.count for slot in self.table))
            super().open_second_phase(first)

        def replace_mean(self, worker, gradient):
            fills.append((worker + 1, self.pending[worker][1] + 1))
            super().replace_mean(worker, gradient)

    simulate(Watched(STEP), until=until(12))
    full = (3, 1, 1)
    assert fills == [full, (1, 4), (2, 2), full, (1, 4), (2, 2), full, (1, 4)]


def test_ringleader_that_resends_the_current_point(simulate):
    ran = simulate(methods.Ringleader(STEP, resend_current=True), until=until(7.4))
    assert ran.update_times() == [3.7, 4.0, 4.6, 7.4]
    # At 5.0 worker 1 has finished what it began at 4.0 at x^2, and is given x^3 instead of x^2 again.
    assert [event for event in ran.of("used") if event[0] > 4.6] == [
        (5.0, 1, 1), (6.0, 1, 0), (6.9, 2, 0), (7.0, 1, 0), (7.4, 3, 2),
    ]  # fmt: skip


def test_ia2sgd(simulate):
    ran = simulate(methods.IA2SGD(STEP), until=until(7.4))
    assert ran.events == [
        (1.0, 1, 0, "used", 0), (2.0, 1, 0, "used", 0), (2.3, 2, 0, "used", 0), (3.0, 1, 0, "used", 0),
        (3.7, 3, 0, "used", 0),  # the table is full
        (4.0, 1, 0, "used", 1), (4.6, 2, 1, "used", 2), (5.0, 1, 1, "used", 3), (6.0, 1, 0, "used", 4),
        (6.9, 2, 2, "used", 5), (7.0, 1, 1, "used", 6), (7.4, 3, 6, "used", 7),
    ]  # fmt: skip
