"""The numbers of a profile: quantiles of each worker, the fitted law, and the line that replays it in a workload."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayopt.experiments.profiling.fit import FEWEST, Fit, common_family, fits, to_config
from rayopt.latency.base import Array
from rayopt.latency.durations_file import Durations

MOST_SHOWN = 24
"""Workers of which a table shows a row, and a workload file a parameter: more are no reading matter."""
SLOW = 2.0
"""A task is slow if it takes more than so many times the median of its worker."""
FAR = 3.0
"""A law whose tail is more than so many times as long, or as short, as the measured one does not tell it."""


@dataclass(frozen=True)
class WorkerSummary:
    """The gradients of one worker.

    Attributes:
      worker: its number.
      seconds: what was measured, shape (m,).
      fits: the families, the best first; none if too little was measured.
    """

    worker: int
    seconds: Array
    fits: Sequence[Fit]

    @property
    def tail(self) -> tuple[float, float, float]:
        """The 90th and 99th percentile and the largest, in seconds."""
        p90, p99 = np.quantile(self.seconds, [0.9, 0.99], method="inverted_cdf").tolist()
        return p90, p99, float(self.seconds.max())

    @property
    def fitted_tail(self) -> tuple[float, float, float] | None:
        """The same of the best fit; the last is the median of the largest of so many draws."""
        if not self.fits:
            return None
        of_largest = 0.5 ** (1 / len(self.seconds))
        p90, p99, largest = (self.fits[0].quantile(probability) for probability in (0.9, 0.99, of_largest))
        return p90, p99, largest

    @property
    def has_another_tail(self) -> bool:
        """Whether the best fit is far from what was measured, at the 99th percentile or at the largest."""
        pairs = zip(self.tail[1:], (self.fitted_tail or self.tail)[1:], strict=True)
        return any(not 1 / FAR < measured / fitted < FAR for measured, fitted in pairs)

    @property
    def share_of_slow(self) -> float:
        """The share of the gradients that took more than twice the median."""
        return float(np.mean(self.seconds > SLOW * np.median(self.seconds)))


def summarise(durations: Durations) -> list[WorkerSummary]:
    """Returns the workers of a profile, all of them or some from the fastest to the slowest, by their number."""
    compute = durations.of("compute")
    ascending = sorted(compute, key=lambda worker: float(np.median(compute[worker])))
    count = min(len(ascending), MOST_SHOWN)
    shown = sorted({ascending[round(position)] for position in np.linspace(0, len(ascending) - 1, count)})
    return [
        WorkerSummary(worker, compute[worker], fits(compute[worker]) if len(compute[worker]) >= FEWEST else [])
        for worker in shown
    ]


def payload(durations: Durations) -> int | None:
    """Returns the bytes of a gradient of the problem that was profiled, if they were sent to all workers; else None."""
    text = durations.header.get("payload", "")
    if not (text.isascii() and text.isdigit()):
        return None
    links = [durations.seconds.get((kind, int(text)), {}) for kind in ("download", "upload")]
    return int(text) if all(worker in link for link in links for worker in durations.of("compute")) else None


def replay_lines(durations: Durations, path: str) -> list[str]:
    """Returns the lines of a workload file that replay a profile."""
    size = payload(durations)
    lines = [f"count: {len(durations.of('compute'))}", f"compute: {_flow({'name': 'trace', 'path': path})}"]
    if size is not None:
        link = _flow({"name": "trace", "path": path, "bytes": size})
        lines += [f"download: {link}", f"upload: {link}"]
    return lines


def fitted_line(durations: Durations, workers: Sequence[WorkerSummary]) -> str | None:
    """Returns the line of a workload file with the one family that fits all workers best.

    None if not all are shown, or of one too little was measured.
    """
    if len(workers) < len(durations.of("compute")) or not all(one.fits for one in workers):
        return None
    return f"compute: {_flow(to_config(common_family([one.fits for one in workers])))}"


def what_times_are(durations: Durations) -> str:
    """Returns in words what :func:`known_times` takes as the time of a task."""
    size = payload(durations)
    ways = "" if size is None else f" plus the median seconds of its ways there and back, {size:,} bytes each"
    return f"the mean seconds of a gradient{ways}"


def known_times(durations: Durations) -> dict[str, Array]:
    """Returns the times of a profile's workers as theory takes them, as arguments of :class:`~rayopt.theory.Setting`.

    A task is download, gradient and upload; the ways count with their medians, for a payload as large as a
    gradient, if that was measured. A trial of a random time lasts up to its median.

    Returns:
      ``times`` (means), ``trial_times`` and ``success_probabilities``, each of shape (n,).
    """
    compute = durations.of("compute")
    size = payload(durations)
    links = [] if size is None else [durations.of(kind, size) for kind in ("download", "upload")]
    ways = np.array(
        [math.fsum(float(np.median(link[worker])) for link in links if worker in link) for worker in compute]
    )
    medians = np.array([np.quantile(own, 0.5, method="inverted_cdf") for own in compute.values()])
    return {
        "times": np.array([own.mean() for own in compute.values()]) + ways,
        "trial_times": medians + ways,
        "success_probabilities": np.array(
            [np.mean(own <= median) for own, median in zip(compute.values(), medians, strict=True)]
        ),
    }


def unit_of(durations: Durations) -> tuple[float, str]:
    """Returns the unit in which gradients of this profile read well: its number in a second, and its name."""
    typical = statistics.median(float(np.median(own)) for own in durations.of("compute").values())
    return (1e3, "ms") if typical < 1 else (1.0, "s")


def _flow(config: dict[str, object]) -> str:
    """Returns a mapping on one line of YAML: strings are quoted as in JSON, keys are bare."""
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in config.items()) + "}"


def _value(value: object) -> str:
    bare = isinstance(value, str) and value.replace("_", "").replace(".", "").replace("/", "").isalnum()
    return str(value) if bare else json.dumps(value)
