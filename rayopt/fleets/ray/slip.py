"""The lateness of arrivals in real time, in constant memory."""

from __future__ import annotations

from typing import Any

import numpy as np


class Slip:
    """End-to-end lateness of arrivals: receipt by the server minus the end of the emulated time.

    Kept as counts in bins that are 2 % wide, from a microsecond up to about three hours.
    """

    WIDTH = 1.02
    LEAST = 1e-6

    def __init__(self) -> None:
        self._counts = np.zeros(1200, dtype=np.int64)
        self._largest = 0.0

    def state(self) -> dict[str, Any]:
        """Returns what has been counted."""
        return {"counts": self._counts, "largest": self._largest}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned."""
        self._counts = state["counts"]
        self._largest = state["largest"]

    def add(self, seconds: float) -> None:
        """Counts one arrival."""
        self._largest = max(self._largest, seconds)
        late = max(seconds, self.LEAST) / self.LEAST
        self._counts[min(int(np.log(late) / np.log(self.WIDTH)), len(self._counts) - 1)] += 1

    def quantile(self, share: float) -> float:
        """Returns the lateness in seconds that this share of the arrivals does not exceed."""
        reached = np.searchsorted(np.cumsum(self._counts), share * self._counts.sum())
        return float(min(self.LEAST * self.WIDTH ** (reached + 1), self._largest))

    def summary(self) -> dict[str, float]:
        """Returns the median, the 99th percentile and the largest, in seconds; nothing if there were no arrivals."""
        if not self._counts.any():
            return {}
        return {"median": self.quantile(0.5), "p99": self.quantile(0.99), "largest": self._largest}
