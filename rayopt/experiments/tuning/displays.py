"""Displays of the jobs of a tuning."""

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
    """A display that forwards to others."""

    def opened(self, total: int, done: int) -> None:
        """Reports the number of jobs, and of those finished earlier."""
        self.notify(lambda display: display.opened(total, done))

    def ended(self, job: TuningJob, found: Found | Exception) -> None:
        """Reports that a job has ended."""
        self.notify(lambda display: display.ended(job, found))

    def closed(self) -> None:
        """Reports that all jobs have ended."""
        self.notify(lambda display: display.closed())
