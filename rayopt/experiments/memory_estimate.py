"""Estimates the memory of an experiment before it starts, by cause."""

from __future__ import annotations

import math
from typing import Any

from rayopt.core.memory import available_bytes, in_units
from rayopt.experiments.description import Described

ROW_BYTES = 400
"""Of one history row with its metrics."""


def memory_warning(experiment: Described) -> str:
    """Returns a sentence if a run may need more than half of the memory that is free, else ""."""
    available = available_bytes()
    needs = memory_needs(experiment)
    if available is None or sum(needs.values()) <= available / 2:
        return ""
    largest = sorted(((amount, cause) for cause, amount in needs.items() if amount), reverse=True)
    causes = ", ".join(f"{cause} {in_units(amount)}" for amount, cause in largest)
    return (f"a run may need {in_units(sum(needs.values()))} of the {in_units(available)} of memory that are free "
            f"({causes}); use fewer step sizes in one run, fewer workers or longer intervals")  # fmt: skip


def memory_needs(experiment: Described) -> dict[str, int]:
    """Returns the bytes of the largest run by cause, at most."""
    updates, workers, problem = experiment.until.updates, experiment.workers.count, experiment.problem
    members = max(len(method.members()) for method in experiment.methods)
    vector = members * problem.dimension * 8
    points = workers if updates == math.inf else min(workers, int(updates))
    tables = max(method.vectors_per_worker * len(method.members()) for method in experiment.methods)
    every = experiment.record.interval(experiment.until)
    rows = 2 if every == math.inf or experiment.until.time == math.inf else int(experiment.until.time / every) + 2
    return {
        f"up to {points:,} points of x in flight": points * vector,
        "tables of a vector for each worker": tables * workers * problem.dimension * 8,
        "history": rows * members * ROW_BYTES,
        "shards": 0 if problem.homogeneous else _data_bytes(problem),
    }


def _data_bytes(problem: Any) -> int:
    names = getattr(problem, "row_data", ())
    arrays = [getattr(problem, name, None) for name in names]
    return sum(int(getattr(array, "nbytes", 0)) for array in arrays)
