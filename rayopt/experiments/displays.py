"""Several displays that follow one experiment, and what becomes of one that cannot write."""

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
    """Displays of one kind; one that cannot write (a full disk, a closed pipe) is told nothing more.

    Args:
      displays: whom, in order.
    """

    def __init__(self, displays: Sequence[T]) -> None:
        self._displays = list(displays)

    def tell(self, tell: Callable[[T], None]) -> None:
        """Tells each of them something."""
        for display in tuple(self._displays):
            try:
                tell(display)
            except OSError as error:
                self._displays.remove(display)
                warnings.warn(
                    f"{type(display).__name__} cannot write any more ({error}): the runs go on without",
                    UserWarning, stacklevel=3,
                )  # fmt: skip


class Displays(Observers[Display]):
    """A display of an experiment that tells others."""

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Tells which runs are to come."""
        self.tell(lambda display: display.opened(runs, until))

    def started(self, run: Run) -> None:
        """Tells that a run starts."""
        self.tell(lambda display: display.started(run))

    def progressed(self, run: Run, progress: Progress) -> None:
        """Tells where a run stands."""
        self.tell(lambda display: display.progressed(run, progress))

    def ended(self, run: Run) -> None:
        """Tells that a run has ended."""
        self.tell(lambda display: display.ended(run))

    def closed(self) -> None:
        """Tells that all runs have ended."""
        self.tell(lambda display: display.closed())
