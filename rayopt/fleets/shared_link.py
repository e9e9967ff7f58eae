"""A link that messages share: each as fast as its own end allows, and what is left is divided fairly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class SharedLink:
    """Processor sharing, exact: the rates of messages on their way change only when one begins or ends.

    A message has a largest rate of its own. The rates are max-min fair: nobody's can grow but at the cost of one that
    is not larger.

    Args:
      rate: floats per second in all.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._now = 0.0
        self._keys: list[int] = []
        self._left = np.zeros(0)
        self._most = np.zeros(0)
        self._rates = np.zeros(0)

    def begin(self, now: float, key: int, floats: float, seconds: float) -> None:
        """Puts a message on its way.

        Args:
          now: the time.
          key: of the message; none of the same key is on its way.
          floats: its size.
          seconds: what it takes alone, if the link is fast enough.
        """
        self._advance(now)
        self._keys.append(key)
        self._left = np.append(self._left, floats)
        self._most = np.append(self._most, floats / seconds if seconds else math.inf)
        self._share()

    def end(self, now: float, key: int) -> None:
        """Takes a message off: it has arrived, or it was cancelled."""
        self._advance(now)
        position = self._keys.index(key)
        del self._keys[position]
        self._left, self._most = (np.delete(values, position) for values in (self._left, self._most))
        self._share()

    def next(self) -> tuple[float, int]:
        """Returns when the next message arrives if none begins before, and its key: the least of those; else inf."""
        if not self._keys:
            return math.inf, -1
        # A message on a link that is down has no rate, and never arrives.
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = np.where(self._rates > 0, self._left / self._rates, math.inf)
        least = float(seconds.min())
        return self._now + least, min(self._keys[position] for position in np.flatnonzero(seconds == least).tolist())

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def _advance(self, now: float) -> None:
        self._left = np.maximum(self._left - self._rates * (now - self._now), 0.0)
        self._now = now

    def _share(self) -> None:
        """Fills the rates like water: the narrowest ends first."""
        self._rates = np.empty(len(self._keys))
        left, waiting = self._rate, len(self._keys)
        for position in np.argsort(self._most, kind="stable").tolist():
            self._rates[position] = min(self._most[position], left / waiting)
            left -= self._rates[position]
            waiting -= 1

    def state(self) -> list[object]:
        """Returns what :meth:`restore` takes."""
        return [self._now, list(self._keys), self._left, self._most]

    def restore(self, state: list[object]) -> None:
        """Goes on from what :meth:`state` returned."""
        self._now, self._keys, self._left, self._most = state  # type: ignore[assignment]
        self._share()
