"""How long an update, or a round of updates, takes at most."""

from __future__ import annotations

import math

import pytest

from rayopt import Until, methods
from rayopt.problems import Free
from rayopt.theory import cycles

THREE = (1.0, 2.3, 3.7)


@pytest.mark.parametrize(("threshold", "seconds"), [(2, 5.5758), (6, 10.5569)])
def test_reference_numbers(threshold, seconds):
    assert cycles.ringmaster_cycle(THREE, threshold) == pytest.approx(seconds, abs=5e-5)
    assert cycles.rennala_cycle(THREE, threshold) == pytest.approx(seconds, abs=5e-5)


def test_by_hand():
    assert cycles.malenia_cycle([1.0, 3.0], batch_size=6) == 2 * (3 + 3 * 2)
    assert cycles.ringleader_cycle([1.0, 3.0]) == 6
    assert cycles.ringleader_counts([1.0, 1.0, 1.0, 97.0]) == 97 / 50
    assert cycles.ringleader_counts([1.0, 3.0]) == 1.0


def longest(update_times, rounds):
    times = [0.0, *update_times]
    return max(later - sooner for sooner, later in zip(times, times[rounds:], strict=False))


@pytest.mark.parametrize("amount", [1, 2, 5])
@pytest.mark.parametrize("interrupt", [False, True])
def test_simulated_runs_stay_below_the_bounds(simulate, amount, interrupt):
    ringmaster = simulate(methods.Ringmaster(0.1, amount, interrupt), Free(2), THREE, Until(time=60))
    assert longest(ringmaster.update_times(), amount) <= cycles.ringmaster_cycle(THREE, amount)
    rennala = simulate(methods.Rennala(0.1, amount, interrupt), Free(2), THREE, Until(time=60))
    assert longest(rennala.update_times(), 1) <= cycles.rennala_cycle(THREE, amount)
    malenia = simulate(methods.Malenia(0.1, amount + 2, interrupt), Free(2), THREE, Until(time=60))
    assert longest(malenia.update_times(), 1) <= cycles.malenia_cycle(THREE, amount + 2)


@pytest.mark.parametrize("amount", [0, -1, 1.5, True])
def test_bad_amount(amount):
    for cycle in (cycles.ringmaster_cycle, cycles.rennala_cycle, cycles.malenia_cycle):
        with pytest.raises(ValueError, match="integer of at least 1"):
            cycle(THREE, amount)
    with pytest.raises(ValueError, match="times"):
        cycles.ringleader_counts([1.0, math.inf])
