"""The result of an experiment: history, trace and summary as DataFrames."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """What an experiment found.

    Attributes:
      history: a row per run, member of its step-size grid and recorded time: ``method, label, seed,
        step_size, time, updates, arrivals, value, grad_norm_sq`` and the problem's metrics.
      summary: the table of the experiment, see ``rayopt.report.table``.
      config: the resolved configuration.
      folder: where it is on disk.
    """

    def __init__(
        self,
        history: pd.DataFrame,
        summary: dict[str, Any],
        config: dict[str, Any],
        folder: RunFolder,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.history = history
        self.summary = summary
        self.config = config
        self.folder = folder
        self._temporary = temporary

    @cached_property
    def trace(self) -> pd.DataFrame:
        """A row per arrival or cancellation, in order: ``method, label, seed, time, worker, assigned_at,
        version, delay, outcome, updates``; read from disk when it is first asked for."""
        return self.folder.read_trace()

    @property
    def table(self) -> pd.DataFrame:
        """The summary's rows, one per label and step size, medians over seeds."""
        import pandas as pd

        return pd.DataFrame(self.summary["table"])

    def plot(self, metric: str = "value") -> Any:
        """Returns a matplotlib figure: the metric against fleet time, median and quartiles over seeds."""
        from rayopt.report.figure import draw

        return draw(self.history, self.summary, metric)

    def __repr__(self) -> str:
        labels = ", ".join(self.history.label.unique())
        return f"Result({labels}: {len(self.history)} history rows, {self.folder.path})"


def load(path: str | Path) -> Result:
    """Returns the result that a run folder holds.

    Raises:
      InvalidInput: the path is not a run folder.
    """
    folder = RunFolder.existing(path)
    return Result(folder.read_history(), folder.read_summary(), folder.read_config(), folder)
