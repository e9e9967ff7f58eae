"""Reads a trace row group by row group, so that a long one is never held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rayopt.storage.trace.parts import reading
from rayopt.storage.trace.rows import OUTCOMES
from rayopt.storage.trace.writer import ABOUT

if TYPE_CHECKING:
    import pandas as pd


class TraceReader:
    """The rows of one or more trace files, one after the other; to be used in a ``with`` statement.

    Args:
      paths: Parquet files of one schema.

    Attributes:
      rows: how many there are.

    Raises:
      InvalidInput: one of them is not there, or is no Parquet file; while it is read: it is damaged.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [_opened(path) for path in paths]
        self._groups = [
            (file, path, group)
            for file, path in zip(self._files, paths, strict=True)
            for group in range(file.num_row_groups)
        ]
        self.rows = sum(file.metadata.num_rows for file in self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(self._files[0].schema_arrow.names) if self._files else []

    @property
    def about(self) -> str:
        """What the last file keeps about its rows (see :class:`rayopt.storage.trace.writer.TraceWriter`), or ""."""
        kept = self._files[-1].metadata.metadata if self._files else None
        return (kept or {}).get(ABOUT.encode(), b"").decode()

    def frames(self, columns: Sequence[str], run: int | None = None) -> Iterator[pd.DataFrame]:
        """Yields the rows in their order, a frame for each row group.

        Args:
          columns: which ones.
          run: only the rows of this run, by its position in the experiment.
        """
        wanted = list(columns)
        for place in self._groups if run is None else self._groups_of.get(run, ()):
            frame = _group(*place, wanted if run is None else [*wanted, "run"]).to_pandas()
            yield frame if run is None else frame.loc[frame["run"] == run, wanted]

    def tasks(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yields the rows of tasks, not those of what else happens at the nodes of a network; ``outcome`` is asked for.

        Args:
          columns: which ones, ``outcome`` among them.
        """
        for frame in self.frames(columns):
            yield frame[frame["outcome"].isin(OUTCOMES)] if "sender" in self.columns else frame

    @cached_property
    def _groups_of(self) -> dict[int, list[tuple[Any, Path, int]]]:
        """The row groups in which there are rows of each run."""
        found: dict[int, list[tuple[Any, Path, int]]] = {}
        for place in self._groups:
            for run in np.unique(_group(*place, ["run"]).column("run")).tolist():
                found.setdefault(run, []).append(place)
        return found


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    with reading(path):
        return pq.ParquetFile(path)


def _group(file: Any, path: Path, group: int, columns: list[str]) -> Any:
    with reading(path):
        return file.read_row_group(group, columns)
