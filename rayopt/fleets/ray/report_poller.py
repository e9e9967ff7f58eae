"""Handles the reports of a run in the driver: passes on its record and logs events."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rayopt.fleets.base import Job, OnCheckpoint, OnProgress, OnTrace
from rayopt.fleets.ray.event_log import Notice
from rayopt.fleets.ray.nodes import Node, alive_nodes
from rayopt.runs.callbacks import NewArrival, NewRows, OnEvent
from rayopt.runs.logs import RunLogger

if TYPE_CHECKING:
    from rayopt.fleets.ray.server import Report

LOOK_AT_NODES_EVERY = 5.0
"""Real seconds between two looks at which nodes are up."""


class ReportPoller:
    """Follows one run.

    Args:
      job: what runs.
      on_trace: receives chunks of the trace.
      on_progress: receives where the run stands.
      on_checkpoint: receives states of the run.
      on_event: receives what of it is watched.
    """

    def __init__(
        self, job: Job, on_trace: OnTrace, on_progress: OnProgress, on_checkpoint: OnCheckpoint, on_event: OnEvent
    ) -> None:
        self._on_trace = on_trace
        self._on_progress = on_progress
        self._on_checkpoint = on_checkpoint
        self._on_event = on_event
        self._log = RunLogger(f"{job.label or job.method.name}, seed {job.seed}")
        self._nodes = alive_nodes()
        self._look_at = time.monotonic() + LOOK_AT_NODES_EVERY

    def take(self, report: Report) -> None:
        """Hands on what a report holds."""
        for level, text in [*report.notices, *self._changed_nodes()]:
            self._log.log(level, "%s", text)
        for item in report.record:
            if isinstance(item, np.ndarray):
                self._on_trace(item)
            elif isinstance(item, (NewRows, NewArrival)):
                self._on_event(item)
            else:
                self._on_checkpoint(item)
                self._log.info("a checkpoint was taken")
        if report.progress is not None:
            self._on_progress(report.progress)

    def _changed_nodes(self) -> list[Notice]:
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + LOOK_AT_NODES_EVERY
        before, self._nodes = self._nodes, alive_nodes()
        return changes(before, self._nodes)


def changes(before: Sequence[Node], after: Sequence[Node]) -> list[Notice]:
    """Returns which nodes went and came."""
    were, are = {node.id for node in before}, {node.id for node in after}
    gone = [(logging.WARNING, f"node {node.address} is lost; {len(after)} are up") for node in before
            if node.id not in are]  # fmt: skip
    return gone + [(logging.INFO, f"node {node.address} is new; {len(after)} are up") for node in after
                   if node.id not in were]  # fmt: skip
