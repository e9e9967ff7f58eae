"""Writes the results of an experiment, also to a disk that may be full."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.experiments.result import Result
from rayopt.storage.run_folder import TRACE_FILE, RunFolder
from rayopt.storage.trace.buffered_writer import BufferedTraceWriter

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ResultWriter:
    """What the files of a run folder are to hold.

    Attributes:
      config: the resolved configuration.
      history: the rows of all runs.
      rounds: the updates of methods without a server.
      summary: the table.
      trace: of all runs; None if none was recorded.
      about: what the trace is to keep about its rows.
    """

    config: dict[str, Any]
    history: pd.DataFrame
    rounds: pd.DataFrame
    summary: dict[str, Any]
    trace: BufferedTraceWriter | None
    about: str

    def write(self, folder: RunFolder, must_stay: bool) -> Result:
        """Writes everything, into a temporary folder if there is no room, and returns it; never raises OSError.

        Args:
          folder: of the experiment.
          must_stay: whether ``rayopt resume`` needs what it holds of the runs.
        """
        try:
            self._put_with_room(folder)
        except OSError as error:
            return self._write_elsewhere(folder, error)
        if not must_stay:
            folder.end()
        return self._result(folder)

    def _put_with_room(self, folder: RunFolder) -> None:
        try:
            self._put(folder)
        except OSError:
            if self.trace is None:
                raise
            # The part that is not complete may hold the room; its rows are in memory too.
            self.trace.make_room()
            self._put(folder)

    def _put(self, folder: RunFolder) -> None:
        # It may have gone away in the middle of a run.
        folder.prepare(self.config)
        folder.write_config(self.config)
        folder.write_history(self.history)
        folder.write_rounds(self.rounds)
        folder.write_summary(self.summary)
        # Parts can be read too: a second interrupt while a long trace is merged loses nothing.
        folder.forget_trace()
        if self.trace is not None:
            self.trace.close(folder.path / TRACE_FILE, self.about)

    def _write_elsewhere(self, folder: RunFolder, error: OSError) -> Result:
        place: Path | None = None
        try:
            place = Path(tempfile.mkdtemp(prefix="rayopt-"))
            with RunFolder(place) as other:
                if self.trace is not None:
                    self.trace.move_to(other.unfinished)
                self._put(other)
                other.end()
        except OSError as second:
            return self._give_up(folder, place, error, second)
        _warn(f"{folder.path} cannot be written ({error}): the results are in {place}")
        return self._result(other)

    def _give_up(self, folder: RunFolder, place: Path | None, error: OSError, second: OSError) -> Result:
        """Leaves what ``rayopt resume`` needs and nothing that fills the disk; warns with what to do."""
        if self.trace is not None:
            self.trace.move_back(folder.unfinished)
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        # One of an earlier experiment would be taken for this one's.
        with contextlib.suppress(OSError):
            folder.forget_trace()
        if self.trace is not None:
            self.trace.cut()
        hope = "what there is of the results is in memory alone"
        if folder.can_go_on and not folder.is_temporary:
            how = "goes on from the last checkpoint" if folder.has_checkpoint else "runs everything again"
            hope = f"with room on the disk `rayopt resume {folder.path}` {how}, and writes them"
        _warn(f"not all results are written: {folder.path} cannot be ({error}), nor can a temporary folder "
              f"({second}); {hope}")  # fmt: skip
        return self._result(folder, is_written=False)

    def _result(self, folder: RunFolder, is_written: bool = True) -> Result:
        return Result(self.history, self.summary, self.config, folder, is_written)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=8)
