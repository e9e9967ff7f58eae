"""The folder of a tuning: the result of every finished job, the full table, and the chosen workload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rayopt.core.errors import InvalidInput
from rayopt.experiments import workload_file
from rayopt.experiments.experiment import BROKEN_OFF, NOT_RUN
from rayopt.experiments.result import load
from rayopt.experiments.tuning.jobs import Found, TuningJob
from rayopt.storage.files import write_complete, write_text, write_yaml
from rayopt.storage.run_folder import RunFolder

CONFIG, JOBS, TABLE, TUNED, CONFIRMED = "tuning.yaml", "jobs", "tuning.parquet", "tuned.yaml", "confirmed"


class TuningFolder:
    """A folder with the record of a tuning.

    It holds ``tuning.yaml`` (resolved, enough to tune again), ``jobs/*.json`` (a file for each finished job),
    ``tuning.parquet`` (a row per method, combination, step size and seed), ``tuned.yaml`` (a workload file with
    what was chosen), the heat maps, and ``confirmed``, the run folder of the chosen on other seeds.

    Args:
      path: a tuning folder, an empty or a new one.

    Raises:
      InvalidInput: the path exists and is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InvalidInput("out", f"{self.path} is a file", "a new folder, or one that `rayopt tune` wrote")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / CONFIG).is_file():
            raise InvalidInput("out", f"{self.path} exists and is not a tuning folder (it has no {CONFIG})",
                               "a new folder, or one that `rayopt tune` wrote")  # fmt: skip

    def begin(self, config: dict[str, Any]) -> None:
        """Writes the configuration, or compares it with that of the unfinished tuning in the folder.

        Raises:
          InvalidInput: the folder holds a tuning of something else; the key is the first that differs.
        """
        (self.path / JOBS).mkdir(parents=True, exist_ok=True)
        written = self.path / CONFIG
        if not written.is_file():
            write_yaml(written, config)
            return
        before, now = _flat(workload_file.read(written)), _flat(config)
        for key in (*now, *before):
            if before.get(key) != now.get(key):
                shown = {name: "nothing" if key not in values else repr(values[key])
                        for name, values in (("before", before), ("now", now))}  # fmt: skip
                raise InvalidInput(key, f"{shown['now']}, where the tuning in {self.path} has {shown['before']}",
                                   "an unchanged file, or another folder (--out)")  # fmt: skip

    def found(self, job: TuningJob) -> Found | None:
        """Returns what a job found, None if it has not finished."""
        try:
            kept = json.loads(self._file(job).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return kept["found"] if isinstance(kept, dict) and "found" in kept else None

    def keep(self, job: TuningJob, found: Found) -> None:
        """Writes what a job found."""
        kept = {"run": job.run.label, "seed": job.run.seed, "found": found}
        text = json.dumps(kept, indent=1, allow_nan=False) + "\n"
        write_text(self._file(job), text)

    def write_table(self, table: pd.DataFrame) -> None:
        """Writes the full grid."""
        write_complete(self.path / TABLE, lambda part: table.to_parquet(part, index=False))

    def write_tuned(self, config: dict[str, Any]) -> Path:
        """Writes a workload file with what was chosen, and returns its path."""
        write_yaml(self.path / TUNED, config)
        return self.path / TUNED

    @property
    def confirmed(self) -> Path:
        """The run folder of the chosen on the seeds that confirm."""
        return self.path / CONFIRMED

    def _file(self, job: TuningJob) -> Path:
        return self.path / JOBS / f"{job.name}.json"


def is_complete(path: Path, config: dict[str, Any]) -> bool:
    """Whether a run folder holds this experiment, and Ctrl-C came to none of its runs."""
    try:
        found = load(path)
    except InvalidInput:
        return False
    runs = found.summary["runs"]
    was_stopped = any(run["ended_by"] == "interrupted" or run["problem"] in (NOT_RUN, BROKEN_OFF) for run in runs)
    return found.config == config and not was_stopped


def has_checkpoint(path: Path) -> bool:
    """Whether a run folder holds an experiment that was interrupted, and can go on."""
    try:
        return RunFolder.interrupted(path).has_checkpoint
    except InvalidInput:
        return False


def _flat(tree: Any, place: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings and lists by their dotted keys."""
    if isinstance(tree, Mapping) and tree:
        steps = {f"{place}.{key}".lstrip("."): value for key, value in tree.items()}
    elif isinstance(tree, list) and any(isinstance(value, (Mapping, list)) for value in tree):
        steps = {f"{place}[{position}]": value for position, value in enumerate(tree)}
    else:
        return {place: tree}
    return {key: leaf for inner, value in steps.items() for key, leaf in _flat(value, inner).items()}
