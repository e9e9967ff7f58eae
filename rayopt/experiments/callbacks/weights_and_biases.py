"""Runs in Weights & Biases."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from rayopt.core.errors import InvalidInput, one_of
from rayopt.core.file_names import absolute
from rayopt.experiments.callbacks.metrics_of import metrics_of
from rayopt.runs.callbacks import Callback, FollowedRun
from rayopt.runs.outcome import Outcome, Row

MODES = ("online", "offline", "disabled")


class WeightsAndBiases(Callback):
    """Logs every run and step size as a run of Weights & Biases: the configuration at the start, metrics at each row.

    Updates and fleet seconds (``time``) are metrics, either of which can be the axis. Needs the extra ``wandb``.

    Args:
      project: its name there.
      mode: "online", "offline" (files that ``wandb sync`` sends later), or "disabled".
      folder: where its files go; by default ``wandb`` in the run folder, or in the working folder.

    Raises:
      InvalidInput: wandb is not installed, or a mode that there is not.
    """

    name: ClassVar[str] = "wandb"

    def __init__(self, project: str = "rayopt", mode: str = "online", folder: str | None = None) -> None:
        try:
            import wandb
        except ImportError:
            raise InvalidInput("wandb", "wandb is not installed", "`pip install 'rayopt[wandb]'`") from None
        self.project = project
        self.mode = one_of("mode", mode, MODES)
        self.folder = None if folder is None else absolute(folder)
        self._wandb = wandb

    def on_start(self, run: FollowedRun) -> None:
        """Makes a run of Weights & Biases for each step size."""
        folder = self.folder if self.folder is not None or run.folder is None else str(run.folder)
        self._runs = {
            step_size: self._wandb.init(
                project=self.project, mode=self.mode, dir=folder, name=run.name_of(step_size), group=run.label,
                reinit="create_new", settings=self._wandb.Settings(silent=True, console="off"),
                config={"method": run.method, "label": run.label, "seed": run.seed, "step_size": step_size,
                        **{name: repr(value) if hasattr(value, "__dict__") else value
                           for name, value in run.parameters.items()}},
            )
            for step_size in run.step_sizes
        }  # fmt: skip

    def on_row(self, run: FollowedRun, row: Row, x: Any) -> None:
        """Logs the metrics of a row."""
        found = {name: value for name, value in metrics_of(row).items() if math.isfinite(value)}
        self._runs[row["step_size"]].log({**found, "updates": row["updates"]})

    def on_end(self, run: FollowedRun, outcome: Outcome | None) -> None:
        """Ends the runs of Weights & Biases."""
        for made in self._runs.values():
            if outcome is not None:
                made.summary["ended_by"] = outcome.ended_by
            made.finish(exit_code=1 if outcome is None else 0)
