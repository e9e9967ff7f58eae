"""Updates per second, beside those of the serial run."""

from __future__ import annotations

from types import SimpleNamespace

from rayopt import methods
from rayopt.fleets.shared_memory.rates import note_on_rates


def ran(label, access, updates, time=2.0, busy=1.0):
    outcome = None if updates is None else SimpleNamespace(updates=updates, time=time, busy_seconds=busy)
    return SimpleNamespace(label=label, method=methods.Hogwild(0.1, access), outcome=outcome)


def test_medians_beside_the_serial_run():
    runs = [ran("free", "free", updates, busy=3.0) for updates in (3000, 9000, 4000)]
    runs += [ran("one", "serial", updates) for updates in (1500, 1000, 9000)]
    (note,) = note_on_rates(runs)
    assert note == ("Updates per second: free 2,000 (2.67 x serial, 1.50 cores); one 750 (1.00 x serial, 0.50 cores).")


def test_without_a_serial_run_there_is_no_ratio():
    runs = [ran("free", "free", 3000), ran("one", "serial", None), ran("none", "free", 0, time=0.0)]
    assert note_on_rates(runs) == ["Updates per second: free 1,500 (0.50 cores)."]
    assert note_on_rates([ran("one", "serial", None)]) == []
