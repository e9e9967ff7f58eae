"""Counters and gauges of a run that Ray's dashboard and Prometheus endpoint show.

Arrivals are counted in memory as they come; they are passed to Ray at most twice a second, so that monitoring costs
next to nothing per arrival.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from rayopt.core.arrivals import Arrival
from rayopt.fleets.ray.slip import Slip
from rayopt.runs.recorder import Recorder

PUBLISH_EVERY = 0.5
"""Real seconds between two updates of what Ray shows."""
RUN_TAGS = ("run", "method", "seed")


class Delays:
    """How many arrivals had a delay of at most 0, 1, 3, 7, ... updates: bins by the number of binary digits."""

    def __init__(self) -> None:
        self.counts = [0] * 65
        self.sum = 0

    def add(self, delay: int) -> None:
        """Counts one arrival."""
        self.counts[delay.bit_length()] += 1
        self.sum += delay

    def cumulative(self) -> list[tuple[str, int]]:
        """Returns (largest delay of the bin, arrivals up to it), as Prometheus writes a histogram."""
        found, total = [], 0
        for digits, count in enumerate(self.counts):
            total += count
            found.append((str((1 << digits) - 1), total))
            if total == sum(self.counts):
                break
        return [*found, ("+Inf", total)]


@dataclass
class MeteredRecorder(Recorder):
    """A recorder that counts delays besides."""

    delays: Delays = field(default_factory=Delays)

    def arrival(self, arrival: Arrival) -> None:
        """Records an arrival after the method has received it."""
        if arrival.worker is not None:
            self.delays.add(self._updates - arrival.task.version)
        super().arrival(arrival)


class RunMetrics:
    """What Ray shows of the runs of one server, each under its own tags.

    ``ray_rayopt_arrivals_total`` and the same of ``used``, ``ignored``, ``failed`` and ``cancelled``;
    ``ray_rayopt_updates``, ``ray_rayopt_loss``, ``ray_rayopt_fleet_seconds``; ``ray_rayopt_delay_bucket`` with
    the tag ``le``, which Prometheus reads as a histogram of delays in updates, with ``ray_rayopt_delay_sum`` and
    ``ray_rayopt_delay_count``; and ``ray_rayopt_slip_seconds`` with the tag ``quantile``.
    """

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        texts = {
            "arrivals": "Results that the server received.",
            "used": "Arrivals whose gradient the method used.",
            "ignored": "Arrivals whose gradient the method did not ask for.",
            "failed": "Arrivals of workers that gave up.",
            "cancelled": "Tasks that were stopped.",
        }
        self._counters = {
            name: Counter(f"rayopt_{name}", description=text, tag_keys=RUN_TAGS) for name, text in texts.items()
        }
        self._updates = Gauge("rayopt_updates", description="Updates of x so far.", tag_keys=RUN_TAGS)
        self._loss = Gauge("rayopt_loss", description="Loss at the last history row.", tag_keys=RUN_TAGS)
        self._seconds = Gauge("rayopt_fleet_seconds", description="Fleet seconds of the run.", tag_keys=RUN_TAGS)
        self._delays = {
            "bucket": Gauge("rayopt_delay_bucket", description="Arrivals by delay.", tag_keys=(*RUN_TAGS, "le")),
            "sum": Gauge("rayopt_delay_sum", description="Sum of the delays in updates.", tag_keys=RUN_TAGS),
            "count": Gauge("rayopt_delay_count", description="Arrivals with a delay.", tag_keys=RUN_TAGS),
        }
        self._slip = Gauge(
            "rayopt_slip_seconds", description="How late arrivals were.", tag_keys=(*RUN_TAGS, "quantile")
        )
        self.begin("", "", 0)

    def begin(self, run: str, method: str, seed: int) -> None:
        """Counts from 0 again, under the tags of another run."""
        self._tags = {"run": run, "method": method, "seed": str(seed)}
        self._shown = dict.fromkeys(self._counters, 0)
        self._next = 0.0

    def publish(self, recorder: MeteredRecorder, slip: Slip, at_once: bool = False) -> None:
        """Shows where the run stands, if the last time is long enough ago.

        Args:
          recorder: of the run, after it has begun.
          slip: of its arrivals.
          at_once: show it in any case.
        """
        now = time.monotonic()
        if not at_once and now < self._next:
            return
        self._next = now + PUBLISH_EVERY
        tags, progress = self._tags, recorder.progress()
        for name, counter in self._counters.items():
            count = getattr(recorder.counts, name)
            if count > self._shown[name]:
                counter.inc(count - self._shown[name], tags)
                self._shown[name] = count
        self._updates.set(progress.updates, tags)
        self._seconds.set(progress.time, tags)
        if math.isfinite(progress.value):
            self._loss.set(progress.value, tags)
        buckets = recorder.delays.cumulative()
        for most, count in buckets:
            self._delays["bucket"].set(count, {**tags, "le": most})
        self._delays["sum"].set(recorder.delays.sum, tags)
        self._delays["count"].set(buckets[-1][1], tags)
        for quantile, seconds in _quantiles(slip).items():
            self._slip.set(seconds, {**tags, "quantile": quantile})


def _quantiles(slip: Slip) -> dict[str, float]:
    summary: dict[str, Any] = slip.summary()
    return {"0.5": summary["median"], "0.99": summary["p99"]} if summary else {}
