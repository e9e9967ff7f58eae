"""Why a method must not run on a problem or with some workers."""

from __future__ import annotations

import numpy as np

from rayopt.latency.workers import TaskTimes
from rayopt.methods.base import Method
from rayopt.problems.base import Problem


def incompatibility(method: Method, problem: Problem, times: TaskTimes) -> str:
    """Returns why a method is not made for a problem or for these workers, or ""."""
    name = type(method).__name__
    if not problem.homogeneous and not method.heterogeneous:
        return f"{name} is made for homogeneous data, its updates would be biased towards fast workers"
    if method.convex and problem.convex is False:
        return f"{name} is made for convex functions, and {problem.name} is not one"
    if method.waits_for_everyone and (silent := silent_worker(times)) is not None:
        return f"{name} waits for every worker, and worker {silent} never answers"
    if incompatibility := method.incompatibility(times):
        return f"{name} {incompatibility}"
    return ""


def silent_worker(times: TaskTimes) -> int | None:
    """Returns the first worker whose tasks are known never to end, or None."""
    silent = np.flatnonzero(times.never_end)
    return int(silent[0]) if silent.size else None
