"""What the kinds of access to shared memory cost: updates per second, beside those of a serial run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayopt.fleets.base import Finished


def note_on_rates(runs: Sequence[Finished]) -> list[str]:
    """Returns a sentence with the updates per second of each label, beside those of a serial run if there is one.

    It also tells how many cores the workers had on average, which explains a speed-up that is missing. Medians over
    the runs of a label, its seeds and step sizes.
    """
    ran = [(run, run.outcome) for run in runs if run.outcome is not None and run.outcome.time > 0]
    rates: dict[str, list[float]] = {}
    cores: dict[str, list[float]] = {}
    serial: list[float] = []
    for run, outcome in ran:
        rate = outcome.updates / outcome.time
        rates.setdefault(run.label, []).append(rate)
        cores.setdefault(run.label, []).append(outcome.busy_seconds / outcome.time)
        if getattr(run.method, "access", "") == "serial":
            serial.append(rate)
    if not rates:
        return []
    rates_shown = []
    for label, found in rates.items():
        rate = statistics.median(found)
        beside = f"{rate / statistics.median(serial):.2f} x serial, " if serial else ""
        rates_shown.append(f"{label} {rate:,.0f} ({beside}{statistics.median(cores[label]):.2f} cores)")
    return [f"Updates per second: {'; '.join(rates_shown)}."]
