"""Event files of an experiment for TensorBoard, written while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.core.errors import InvalidInput
from rayopt.core.file_names import file_name
from rayopt.storage.run_folder import EVENTS

if TYPE_CHECKING:
    from rayopt.experiments.execution import Run
    from rayopt.runs.outcome import Progress
    from rayopt.runs.until import Until

SECONDS_BETWEEN_EVENTS = 1.0
NOT_METRICS = ("step_size", "time", "updates", "arrivals", "bits_up", "bits_down")


class EventFiles:
    """Writes a folder of events for each run and step size: a display, see ``rayopt.experiments.execution.Display``.

    The step of an event is the number of updates. Its wall time is when the run began plus the fleet time, so
    that TensorBoard's axis *relative* shows fleet seconds. While a run goes on there are ``live/loss`` and
    ``live/arrivals_per_second``; when it has ended, all its metrics at all history times.

    Args:
      folder: the run folder; the events go to ``tensorboard`` in it.

    Raises:
      InvalidInput: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            # Not its SummaryWriter: on a full disk the thread behind it ends, and who adds to its queue waits for ever.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.summary import scalar
        except ImportError:
            raise InvalidInput(
                "tensorboard", "tensorboardX is not installed", "`pip install 'rayopt[tensorboard]'`"
            ) from None
        self._writer_of, self._event_of, self._scalar_of = EventsWriter, Event, scalar
        self._folder = Path(folder) / EVENTS
        self._names: dict[str, str] = {}
        self._writers: dict[str, Any] = {}
        self._began_at: dict[str, float] = {}

    def opened(self, runs: Sequence[Run], until: Until) -> None:
        """Nothing is written before a run starts."""

    def started(self, run: Run) -> None:
        """Notes when the run begins."""
        self._began_at[_name(run)] = time.time()
        self._next = 0.0

    def progressed(self, run: Run, progress: Progress) -> None:
        """Writes where the run stands, at most once a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS_BETWEEN_EVENTS
        found = {"live/loss": progress.value}
        if progress.wall_seconds > 0:
            found["live/arrivals_per_second"] = progress.arrivals / progress.wall_seconds
        self._write(run, _name(run), found, progress.updates, progress.time)
        self._writers[_name(run)].flush()

    def ended(self, run: Run) -> None:
        """Writes the history of the run."""
        # An earlier process has written that of a run that had ended there, if it wrote any.
        if run.outcome is None or (_name(run) not in self._began_at and self._folder.exists()):
            return
        several = len(run.method.members()) > 1
        for row in run.outcome.rows:
            name = f"{_name(run)}, step size {row['step_size']:g}" if several else _name(run)
            metrics = {key: value for key, value in row.items() if key not in NOT_METRICS}
            self._write(run, name, metrics, row["updates"], row["time"])
        self.closed()

    def closed(self) -> None:
        """Completes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, run: Run, name: str, values: dict[str, float], updates: int, seconds: float) -> None:
        if name not in self._writers:
            self._names.setdefault(name, file_name(name, self._names.values()))
            folder = self._folder / self._names[name]
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[name] = self._writer_of(str(folder / "events"))
        at = self._began_at.setdefault(_name(run), time.time()) + seconds
        for tag, value in values.items():
            if math.isfinite(value):
                event = self._event_of(wall_time=at, step=updates, summary=self._scalar_of(tag, value))
                self._writers[name].write_event(event)


def _name(run: Run) -> str:
    return f"{run.label}, seed {run.seed}"
