"""Several displays that follow one experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayopt.execution import Display, Run
    from rayopt.recording import Progress
    from rayopt.until import Until


class Displays:
    """A display that tells others.

    Args:
      displays: whom, in order.
    """

    def __init__(self, displays: Sequence[Display]) -> None:
        self._displays = displays

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Tells which runs are to come."""
        for display in self._displays:
            display.opened(runs, until)

    def started(self, run: Run) -> None:
        """Tells that a run starts."""
        for display in self._displays:
            display.started(run)

    def progressed(self, run: Run, progress: Progress) -> None:
        """Tells where a run stands."""
        for display in self._displays:
            display.progressed(run, progress)

    def ended(self, run: Run) -> None:
        """Tells that a run has ended."""
        for display in self._displays:
            display.ended(run)

    def closed(self) -> None:
        """Tells that all runs have ended."""
        for display in self._displays:
            display.closed()
