"""What trackers call a metric."""

from __future__ import annotations

from rayopt.runs.outcome import Row

NOT_METRICS = ("step_size", "updates")


def metrics_of(row: Row) -> dict[str, float]:
    """Returns the metrics of a history row, with its fleet seconds, arrivals and bits."""
    return {name: float(value) for name, value in row.items() if name not in NOT_METRICS}
