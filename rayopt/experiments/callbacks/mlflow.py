"""Runs in MLflow."""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

from rayopt.core.errors import InvalidInput
from rayopt.experiments.callbacks.metrics_of import metrics_of
from rayopt.runs.callbacks import Callback, FollowedRun
from rayopt.runs.outcome import INTERRUPTED, Outcome, Row


class MLflow(Callback):
    """Logs every run and step size as a run of MLflow: parameters at the start, metrics at each history row.

    The step of a metric is the number of updates; fleet seconds are the metric ``time``. Needs the extra ``mlflow``.

    Args:
      experiment: the name of MLflow's experiment; it is made if it is not there.
      tracking_uri: of the server or the store; by default that of the environment (MLFLOW_TRACKING_URI).

    Raises:
      InvalidInput: MLflow is not installed.
    """

    name: ClassVar[str] = "mlflow"

    def __init__(self, experiment: str = "rayopt", tracking_uri: str | None = None) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise InvalidInput("mlflow", "MLflow is not installed", "`pip install 'rayopt[mlflow]'`") from None
        self.experiment = experiment
        self.tracking_uri = tracking_uri
        self._client_of = MlflowClient

    def on_start(self, run: FollowedRun) -> None:
        """Makes a run of MLflow for each step size."""
        # A client of its own: the module's functions keep an active run for the whole process.
        self._client = self._client_of(tracking_uri=self.tracking_uri)
        found = self._client.get_experiment_by_name(self.experiment)
        number = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
        self._runs: dict[float, str] = {}
        for step_size in run.step_sizes:
            made = self._client.create_run(number, run_name=run.name_of(step_size)).info.run_id
            self._runs[step_size] = made
            parameters = {"method": run.method, "label": run.label, "seed": run.seed, "step_size": step_size}
            for name, value in {**parameters, **run.parameters}.items():
                self._client.log_param(made, name, value)

    def on_row(self, run: FollowedRun, row: Row, x: Any) -> None:
        """Logs the metrics of a row."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, int(row["updates"])) for name, value in metrics_of(row).items()
                   if math.isfinite(value)]  # fmt: skip
        self._client.log_batch(self._runs[row["step_size"]], metrics=metrics)

    def on_end(self, run: FollowedRun, outcome: Outcome | None) -> None:
        """Ends the runs of MLflow: finished, killed if interrupted, else failed."""
        status = "FAILED" if outcome is None else "KILLED" if outcome.ended_by == INTERRUPTED else "FINISHED"
        for made in self._runs.values():
            self._client.set_terminated(made, status)
