"""What the kinds of access to shared memory cost: updates per second, beside those of a serial run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayopt.fleets.base import Finished


def note_on_rates(runs: Sequence[Finished]) -> list[str]:
    """Returns a sentence with the updates per second of each label, and their ratio to a serial run if there is one.

    Medians over the runs of a label, its seeds and step sizes.
    """
    rates: dict[str, list[float]] = {}
    serial: list[float] = []
    for run in runs:
        if run.outcome is not None and run.outcome.time > 0:
            rate = run.outcome.updates / run.outcome.time
            rates.setdefault(run.label, []).append(rate)
            if getattr(run.method, "access", "") == "serial":
                serial.append(rate)
    if not rates:
        return []
    base = statistics.median(serial) if serial else 0.0
    told = [f"{label} {_rate(statistics.median(found), base)}" for label, found in rates.items()]
    return [f"Updates per second: {'; '.join(told)}."]


def _rate(rate: float, serial: float) -> str:
    return f"{rate:,.0f}" + (f" ({rate / serial:.2f} x serial)" if serial else "")
