"""Event files for TensorBoard, written while an experiment runs."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, ClassVar

from rayopt.core.errors import InvalidInput
from rayopt.core.file_names import absolute, file_name
from rayopt.runs.callbacks import Callback, FollowedRun
from rayopt.runs.outcome import Outcome, Row
from rayopt.storage.run_folder import EVENTS

SECONDS_BETWEEN_EVENTS = 1.0
NOT_METRICS = ("step_size", "time", "updates", "arrivals", "bits_up", "bits_down", "used", "worker_seconds")


class TensorBoard(Callback):
    """Writes event files for TensorBoard, ``tensorboard/`` in the run folder, one folder for each run and step size.

    The step of an event is the number of updates. Its wall time is when the run began plus the fleet time, so
    that TensorBoard's axis *relative* shows fleet seconds. While a run goes on there are ``live/loss`` and
    ``live/arrivals_per_second``, once a second; when it has ended, all its metrics at all history times. Needs the
    extra ``tensorboard``.

    Args:
      folder: where the events go; by default ``tensorboard`` in the run folder.

    Raises:
      InvalidInput: tensorboardX is not installed, or no folder is given and the run has none.
    """

    name: ClassVar[str] = "tensorboard"

    def __init__(self, folder: str | None = None) -> None:
        try:
            # Not its SummaryWriter: on a full disk the thread behind it ends, and who adds to its queue waits for ever.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.summary import scalar
        except ImportError:
            raise InvalidInput(
                "tensorboard", "tensorboardX is not installed", "`pip install 'rayopt[tensorboard]'`"
            ) from None
        self.folder = None if folder is None else absolute(folder)
        self._writer_of, self._event_of, self._scalar_of = EventsWriter, Event, scalar
        self._names: dict[str, str] = {}
        self._writers: dict[str, Any] = {}

    def on_start(self, run: FollowedRun) -> None:
        """Notes when the run begins."""
        if self.folder is None and run.folder is None:
            raise InvalidInput("folder", "missing, and the run has no folder", "a folder; or out=... for the run")
        self._events = Path(self.folder) if self.folder is not None else Path(run.folder or "") / EVENTS
        self._began_at = time.time()
        self._next = 0.0

    def on_row(self, run: FollowedRun, row: Row, x: Any) -> None:
        """Writes where the run stands, at most once a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS_BETWEEN_EVENTS
        name = f"{run.label}, seed {run.seed}"
        seconds = time.time() - self._began_at
        found = {"live/loss": row.get("value", math.nan)}
        if seconds > 0:
            found["live/arrivals_per_second"] = row["arrivals"] / seconds
        self._write(name, found, row)
        self._writers[name].flush()

    def on_end(self, run: FollowedRun, outcome: Outcome | None) -> None:
        """Writes the history of the run and completes the files."""
        for row in [] if outcome is None else outcome.rows:
            metrics = {key: value for key, value in row.items() if key not in NOT_METRICS}
            self._write(run.name_of(row["step_size"]), metrics, row)
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, name: str, values: dict[str, float], row: Row) -> None:
        if name not in self._writers:
            self._names.setdefault(name, file_name(name, self._names.values()))
            folder = self._events / self._names[name]
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[name] = self._writer_of(str(folder / "events"))
        for tag, value in values.items():
            if math.isfinite(value):
                event = self._event_of(
                    wall_time=self._began_at + row["time"], step=row["updates"], summary=self._scalar_of(tag, value)
                )
                self._writers[name].write_event(event)
