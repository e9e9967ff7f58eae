"""A file of comma-separated values that grows while runs go on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, ClassVar

from rayopt.core.errors import InvalidInput
from rayopt.core.file_names import absolute
from rayopt.runs.callbacks import Callback, FollowedRun
from rayopt.runs.outcome import Row
from rayopt.storage.run_folder import LIVE_LOG


class CSVLog(Callback):
    """Writes each history row as it comes, for ``tail -f``, a spreadsheet or a plot that follows a long run.

    The columns are ``label, seed, step_size, time`` (fleet seconds)``, updates, arrivals``, the metrics, and the bits
    sent. Every row is on its way to the disk before the run goes on. A new experiment replaces the file; one that goes
    on appends to it, and rows after the last checkpoint are there twice.

    Args:
      path: the file; by default ``live.csv`` in the run folder.

    Raises:
      InvalidInput: no path is given and the run has no folder.
    """

    name: ClassVar[str] = "csv_log"

    def __init__(self, path: str | None = None) -> None:
        self.path = None if path is None else absolute(path)
        self._file: Any = None
        self._columns: list[str] = []
        self._has_begun = False

    def on_start(self, run: FollowedRun) -> None:
        """Opens the file."""
        if self.path is None and run.folder is None:
            raise InvalidInput("path", "missing, and the run has no folder", "a file; or out=... for the run")
        path = Path(self.path) if self.path is not None else Path(run.folder or "") / LIVE_LOG
        goes_on = (self._has_begun or run.resumed) and path.exists()
        if goes_on and not self._columns:
            with path.open(encoding="utf-8", newline="") as earlier:
                self._columns = next(csv.reader(earlier), [])
        path.parent.mkdir(parents=True, exist_ok=True)
        self._has_begun = True
        self._file = path.open("a" if goes_on else "w", encoding="utf-8", newline="")

    def on_row(self, run: FollowedRun, row: Row, x: Any) -> None:
        """Appends the row."""
        found = {"label": run.label, "seed": run.seed, **row}
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._columns:
            self._columns = list(found)
            writer.writerow(self._columns)
        writer.writerow([found.get(name, "") for name in self._columns])
        self._file.flush()

    def on_end(self, run: FollowedRun, outcome: Any) -> None:
        """Closes the file."""
        self._file.close()
