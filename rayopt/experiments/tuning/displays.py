"""What follows the jobs of a tuning while it runs."""

from __future__ import annotations

from typing import Protocol

from rayopt.experiments.displays import Observers
from rayopt.experiments.tuning.jobs import Found, TuningJob


class JobDisplay(Protocol):
    """Follows the jobs of a tuning."""

    def opened(self, total: int, done: int) -> None: ...
    def ended(self, job: TuningJob, found: Found | Exception) -> None: ...
    def closed(self) -> None: ...


class JobDisplays(Observers[JobDisplay]):
    """A display that tells others."""

    def opened(self, total: int, done: int) -> None:
        """Tells how many jobs there are, and how many had finished before."""
        self.tell(lambda display: display.opened(total, done))

    def ended(self, job: TuningJob, found: Found | Exception) -> None:
        """Tells that a job has ended."""
        self.tell(lambda display: display.ended(job, found))

    def closed(self) -> None:
        """Tells that all jobs have ended."""
        self.tell(lambda display: display.closed())
