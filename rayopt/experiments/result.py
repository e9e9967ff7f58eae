"""The result of an experiment: history, trace and summary as DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayopt.core.errors import InvalidInput, first_line
from rayopt.experiments import plots
from rayopt.storage.run_folder import CONFIG, HISTORY, SUMMARY, RunFolder

if TYPE_CHECKING:
    import pandas as pd

SUMMARY_KEYS = {"table", "runs", "target", "problem", "problems"}


class Result:
    """What an experiment found.

    Attributes:
      history: a row per run, member of its step-size grid and recorded time: ``method, label, seed,
        step_size, time, updates, arrivals, value, grad_norm_sq`` and the problem's metrics.
      summary: the table of the experiment, see ``rayopt.report.table``.
      config: the resolved configuration.
      folder: where it is on disk.
      is_written: whether everything is there; False after a full disk, with a warning.
    """

    def __init__(
        self,
        history: pd.DataFrame,
        summary: dict[str, Any],
        config: dict[str, Any],
        folder: RunFolder,
        is_written: bool = True,
    ) -> None:
        self.history = history
        self.summary = summary
        self.config = config
        self.folder = folder
        self.is_written = is_written

    @cached_property
    def trace(self) -> pd.DataFrame:
        """A row per arrival or cancellation, in order: ``method, label, seed, time, worker, assigned_at,
        version, delay, outcome, updates``; read from disk when it is first asked for."""
        return self.folder.read_trace()

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """A row per update of a method without a server: ``method, label, seed, time, updates, collected``, the
        gradients in it; empty for methods with a server."""
        import pandas as pd

        from rayopt.experiments.summary import ROUND_COLUMNS

        found = self.folder.read_rounds()
        return pd.DataFrame(columns=[*ROUND_COLUMNS]) if found is None else found

    @cached_property
    def workers(self) -> pd.DataFrame:
        """A row per worker of every run, from the trace: ``method, label, seed, worker``, how many ``tasks`` ended, in
        how many ``messages``, how many of those were ``used``, and the ``bits`` that it sent."""
        rows = self.trace[self.trace.outcome.isin(["used", "ignored", "failed"])]
        grouped = rows.assign(used=rows.outcome == "used").groupby(
            ["method", "label", "seed", "worker"], sort=False, observed=True
        )
        found = grouped.agg(
            tasks=("number", "nunique"), messages=("number", "size"), used=("used", "sum"), bits=("bits", "sum")
        )
        return found.reset_index().sort_values(["label", "seed", "worker"], kind="stable", ignore_index=True)

    @cached_property
    def edges(self) -> pd.DataFrame:
        """A row per edge of a network over which messages came, of every run: ``method, label, seed, sender, receiver,
        messages, bits``; empty for workers with a server."""
        import pandas as pd

        rows = [
            (run["method"], run["label"], run["seed"], *flow)
            for run in self.summary["runs"] for flow in run.get("edges", ())
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["method", "label", "seed", "sender", "receiver", "messages", "bits"])

    @property
    def answer(self) -> str:
        """The answer in a sentence: which method was soonest, by how much, on how many seeds; "" if there is none."""
        return str(self.summary.get("answer", ""))

    @property
    def table(self) -> pd.DataFrame:
        """The summary's rows, one per label and step size, medians over seeds."""
        import pandas as pd

        return pd.DataFrame(self.summary["table"])

    def best(self) -> pd.DataFrame:
        """Returns the rows of the table with the best step size of each method, the best method first.

        The best is the soonest at the target, or else the one with the smallest last loss (or largest accuracy).
        """
        table = self.table
        chosen = table[table.best.astype(bool)]
        if self.summary["target"] is not None:
            return chosen.sort_values("time_to_target", kind="stable", na_position="last", ignore_index=True)
        for metric in ("value", "gap", "grad_norm_sq"):
            if metric in chosen:
                return chosen.sort_values(metric, kind="stable", na_position="last", ignore_index=True)
        key = "accuracy" if "accuracy" in chosen else "label"
        return chosen.sort_values(key, ascending=key == "label", kind="stable", ignore_index=True)

    def plot(
        self,
        metric: str = "value",
        x: str = "time",
        log: str | None = None,
        methods: Sequence[str] | None = None,
        style: str = "screen",
        width: float | None = None,
    ) -> Any:
        """Returns a matplotlib figure: a metric of each method's best step size, median and quartiles over seeds.

        Args:
          metric: one that was recorded.
          x: against what: "time" (fleet seconds), "updates", "arrivals", "used" (gradients),
            "worker_seconds", "bits_up" or "bits_down".
          log: which axes are logarithmic: "", "x", "y" or "xy"; by default y where the values span a power of ten.
          methods: labels of those to draw; by default all.
          style: "screen", or "paper": small type, thin lines, no title.
          width: inches.

        Raises:
          InvalidInput: the metric was not recorded, or an argument is not allowed.
        """
        return plots.result(self.history, self.summary, metric, x, log, methods, style, width)

    def to_latex(self) -> str:
        """Returns the table of the best step sizes as a LaTeX ``tabular`` with the rules of booktabs."""
        return plots.latex(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, the table and a figure."""
        return plots.html(self)

    def __repr__(self) -> str:
        labels = ", ".join(self.history.label.unique())
        where = "not kept on disk" if self.folder.is_temporary else self.folder.path
        return f"Result({labels}: {len(self.history)} history rows, {where})"


def load(path: str | Path) -> Result:
    """Returns the result that a run folder holds.

    Raises:
      InvalidInput: the path is not a run folder, or a file in it is damaged.
    """
    from rayopt.experiments.summary import RUN_COLUMNS

    folder = RunFolder.existing(path)
    history = _whole(folder.path / HISTORY, folder.read_history, lambda found: set(found.columns) >= set(RUN_COLUMNS))
    summary = _whole(folder.path / SUMMARY, folder.read_summary, _is_summary)
    config = _whole(folder.path / CONFIG, folder.read_config, lambda found: isinstance(found, Mapping))
    return Result(history, summary, config, folder)


def _whole(path: Path, read: Callable[[], Any], is_whole: Callable[[Any], bool]) -> Any:
    """Returns what a file of a run folder holds, or raises InvalidInput with the file."""
    import pyarrow as pa
    import yaml

    allowed = "a file that `rayopt run` wrote"
    try:
        found = read()
    # What is no JSON, UTF-8 or Parquet is a ValueError too.
    except (OSError, ValueError, RecursionError, yaml.YAMLError, pa.ArrowException) as error:
        raise InvalidInput("run", f"{path} cannot be read ({first_line(error)})", allowed) from None
    if not is_whole(found):
        raise InvalidInput("run", f"{path} holds something else", allowed)
    return found


def _is_summary(found: Any) -> bool:
    if not isinstance(found, Mapping) or not set(found) >= SUMMARY_KEYS:
        return False
    rows = [found["table"], found["runs"]]
    return all(isinstance(own, list) and all(isinstance(row, Mapping) for row in own) for own in rows)
