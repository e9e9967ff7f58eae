"""Several displays of one experiment; one that fails to write is dropped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from rayopt.experiments.execution import Display, Run

if TYPE_CHECKING:
    from rayopt.runs.outcome import Progress
    from rayopt.runs.until import Until

T = TypeVar("T")


class Observers(Generic[T]):
    """Displays of one kind; one that cannot write (a full disk, a closed pipe) is dropped with a warning.

    Args:
      displays: notified in this order.
    """

    def __init__(self, displays: Sequence[T]) -> None:
        self._displays = list(displays)

    def notify(self, notify: Callable[[T], None]) -> None:
        """Calls a function on each display."""
        for display in tuple(self._displays):
            try:
                notify(display)
            except OSError as error:
                self._displays.remove(display)
                warnings.warn(
                    f"{type(display).__name__} cannot write any more ({error}): the runs go on without",
                    UserWarning, stacklevel=3,
                )  # fmt: skip


class Displays(Observers[Display]):
    """A display that forwards to others."""

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Announces the runs."""
        self.notify(lambda display: display.opened(runs, until))

    def started(self, run: Run) -> None:
        """Reports that a run starts."""
        self.notify(lambda display: display.started(run))

    def progressed(self, run: Run, progress: Progress) -> None:
        """Reports the progress of a run."""
        self.notify(lambda display: display.progressed(run, progress))

    def ended(self, run: Run) -> None:
        """Reports that a run has ended."""
        self.notify(lambda display: display.ended(run))

    def closed(self) -> None:
        """Tells that all runs have ended."""
        self.notify(lambda display: display.closed())
