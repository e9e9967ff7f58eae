"""The folder of an experiment: config.yaml, history.parquet, trace.parquet, summary.json, figures."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rayopt.errors import InvalidInput
from rayopt.recording import OUTCOMES, ROW_GROUP

if TYPE_CHECKING:
    import pandas as pd

CONFIG, HISTORY, TRACE_FILE, SUMMARY = "config.yaml", "history.parquet", "trace.parquet", "summary.json"
ALWAYS_THERE = (CONFIG, HISTORY, SUMMARY)
PART = ".part"


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under another name and renames it when it is complete."""
    part = path.with_name(path.name + PART)
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, complete or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_yaml(path: Path, tree: dict[str, Any]) -> None:
    """Writes a mapping of plain values as YAML."""
    write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110))


class RunFolder:
    """A folder with the record of an experiment.

    Args:
      path: a run folder (its files are replaced when the new ones are complete), one that holds only the
        unfinished trace of a run that was killed, an empty or a new folder.

    Raises:
      InvalidInput: the path exists and is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InvalidInput("out", f"{self.path} is a file", "a new folder, or one that rayopt wrote")
        present = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        missing = _missing(self.path)
        if missing and present - {TRACE_FILE + PART}:
            raise InvalidInput("out", f"{self.path} exists and is not a run folder (it has no {missing[0]})",
                               "a new folder, or one that rayopt wrote")  # fmt: skip

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """Returns the folder of an experiment that has run.

        Raises:
          InvalidInput: there is none at this path.
        """
        if missing := _missing(Path(path)):
            raise InvalidInput("run", f"{path} has no {missing[0]}", "a folder that `rayopt run` wrote")
        return cls(path)

    def create(self) -> None:
        """Makes the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    def remove_if_empty(self) -> None:
        """Removes the folder if nothing was written, so that a run that failed leaves nothing behind."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def forget_trace(self) -> None:
        """Removes the trace of an earlier experiment, when this one recorded none."""
        for name in (TRACE_FILE, TRACE_FILE + PART):
            (self.path / name).unlink(missing_ok=True)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes the resolved configuration, enough to run the experiment again."""
        write_yaml(self.path / CONFIG, config)

    def read_config(self) -> dict[str, Any]:
        """Returns what :meth:`write_config` wrote."""
        return yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))

    def write_history(self, history: pd.DataFrame) -> None:
        """Writes the history rows of all runs."""
        write_whole(self.path / HISTORY, lambda part: history.to_parquet(part, index=False))

    def read_history(self) -> pd.DataFrame:
        """Returns what :meth:`write_history` wrote."""
        import pandas as pd

        return pd.read_parquet(self.path / HISTORY)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes the table of the experiment."""
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        write_text(self.path / SUMMARY, text)

    def read_summary(self) -> dict[str, Any]:
        """Returns what :meth:`write_summary` wrote."""
        return json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))

    def read_trace(self) -> pd.DataFrame:
        """Returns the trace of all runs, empty if none was recorded."""
        import pandas as pd

        path = self.path / TRACE_FILE
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=list(TRACE_COLUMNS))


TRACE_COLUMNS = (
    "method", "label", "seed", "time", "worker", "assigned_at", "version", "delay", "outcome", "updates",
)  # fmt: skip


class TraceFile:
    """Writes trace rows to Parquet in row groups, so that a long run is never held in memory.

    The file gets its name when it is complete; until then it is ``trace.parquet.part``.

    Args:
      path: the file.
      real_time: whether to keep the column ``completed_at``, the worker's own stamp.
    """

    def __init__(self, path: Path, real_time: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._part = path.with_name(path.name + PART)
        self._arrow = pa
        self._numbers = ["time", "worker", "assigned_at", "version", "delay", "updates"]
        text = pa.dictionary(pa.int32(), pa.string())
        fields = [("method", text), ("label", text), ("seed", pa.int64()), ("time", pa.float64()),
                  ("worker", pa.int32()), ("assigned_at", pa.float64()), ("version", pa.int64()),
                  ("delay", pa.int64()), ("outcome", text), ("updates", pa.int64())]  # fmt: skip
        if real_time:
            fields.append(("completed_at", pa.float64()))
            self._numbers.append("completed_at")
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(
            self._part, self._schema, compression="lz4", use_dictionary=["method", "label", "outcome"],
            write_statistics=False,
        )  # fmt: skip

    def write(self, rows: NDArray[np.void], method: str, label: str, seed: int) -> None:
        """Appends a chunk, of dtype ``rayopt.recording.TRACE``, as one row group."""
        pa = self._arrow
        same = pa.array(np.zeros(len(rows), dtype=np.int32))
        columns = {name: pa.array(np.ascontiguousarray(rows[name])) for name in self._numbers}
        columns["method"] = pa.DictionaryArray.from_arrays(same, [method])
        columns["label"] = pa.DictionaryArray.from_arrays(same, [label])
        columns["seed"] = pa.array(np.full(len(rows), seed, dtype=np.int64))
        columns["outcome"] = pa.DictionaryArray.from_arrays(rows["outcome"].astype(np.int32), list(OUTCOMES))
        batch = pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)
        self._writer.write_batch(batch, row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Completes the file and gives it its name."""
        self._writer.close()
        os.replace(self._part, self._path)

    def discard(self) -> None:
        """Removes what was written."""
        self._writer.close()
        self._part.unlink(missing_ok=True)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder for the trace of an experiment that was not asked to keep one."""
    return tempfile.TemporaryDirectory(prefix="rayopt-")


def _missing(path: Path) -> list[str]:
    """Returns which files a folder lacks to be a run folder."""
    return [name for name in ALWAYS_THERE if not (path / name).is_file()]
