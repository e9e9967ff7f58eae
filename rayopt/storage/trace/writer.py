"""The trace of an experiment on disk: parts that are readable after a kill, one file at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.storage.files import write_complete
from rayopt.storage.trace.parts import NAMES, part_at, writer_of
from rayopt.storage.trace.rows import EVENTS, KINDS, OUTCOMES, ROW_GROUP

ABOUT = "rayopt"


class TraceWriter:
    """Writes trace rows to Parquet in row groups, so that a long run is never held in memory.

    A Parquet file cannot be read before it is closed. So there are parts, ``trace-000000.parquet`` and so on, and a
    new one begins with every checkpoint: what a checkpoint counts on is closed. :meth:`close` makes one file of them.

    Args:
      folder: where the parts are.
      real_time: whether to keep the columns ``completed_at``, the worker's own stamp (of another machine's clock:
        shifted, see :class:`~rayopt.core.arrivals.Arrival`), and ``checksum``, a sum of x.
      kept: the parts to go on after; all others are removed.
      prepare: makes the folder, with what else it must hold, if it is not there.
      messages: whether to keep the columns ``sender`` and ``kind`` of messages between the nodes of a network.

    Attributes:
      about: a text that the file is to keep about its rows, if it is set before :meth:`close`.

    Raises:
      DataError: a part that was kept is not there.
    """

    def __init__(
        self,
        folder: Path,
        real_time: bool = False,
        kept: Sequence[str] = (),
        prepare: Callable[[], None] = lambda: None,
        messages: bool = False,
    ) -> None:
        import pyarrow as pa

        self.real_time = real_time
        self.about = ""
        self._folder = folder
        self._prepare = prepare
        self._arrow = pa
        text = pa.dictionary(pa.int32(), pa.string())
        integers, floats = pa.int64(), pa.float64()
        fields = [("method", text), ("label", text), ("seed", integers), ("run", pa.int32()), ("time", floats),
                  ("worker", pa.int32()), ("number", integers), ("assigned_at", floats), ("version", integers),
                  ("delay", integers), ("outcome", text), ("updates", integers), ("component", pa.int32()),
                  ("message", pa.int32()), ("bits", integers)]  # fmt: skip
        if real_time:
            fields += [("completed_at", floats), ("checksum", floats)]
        if messages:
            fields += [("sender", pa.int32()), ("kind", text)]
        self._outcomes = [*OUTCOMES, *EVENTS] if messages else list(OUTCOMES)
        self._schema = pa.schema(fields)
        self._numbers = [name for name, _ in fields if name not in (*NAMES, "seed", "run")]
        self._writer: Any = None
        self._parts: list[str] = []
        self._places: dict[str, Path] = {}
        self._number = 0
        self.rewind(kept)

    def write(self, rows: NDArray[np.void], method: str, label: str, seed: int, run: int = 0) -> None:
        """Appends a chunk, of dtype ``rayopt.storage.trace.rows.TRACE``, as one row group.

        Args:
          rows: the chunk.
          method: its name in the catalogue.
          label: of the run.
          seed: of the run.
          run: its position in the experiment.
        """
        pa = self._arrow
        same = pa.array(np.zeros(len(rows), dtype=np.int32))
        columns = {name: pa.array(np.ascontiguousarray(rows[name])) for name in self._numbers}
        columns["method"] = pa.DictionaryArray.from_arrays(same, [method])
        columns["label"] = pa.DictionaryArray.from_arrays(same, [label])
        columns["seed"] = pa.array(np.full(len(rows), seed, dtype=np.int64))
        columns["run"] = pa.array(np.full(len(rows), run, dtype=np.int32))
        columns["outcome"] = pa.DictionaryArray.from_arrays(rows["outcome"].astype(np.int32), self._outcomes)
        if "kind" in self._schema.names:
            columns["kind"] = pa.DictionaryArray.from_arrays(rows["kind"].astype(np.int32), list(KINDS))
        batch = pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)
        if self._writer is None:
            # It may have gone away in the middle of a run.
            self._prepare()
            self._writer = self._open(self._next_part())
        self._writer.write_batch(batch, row_group_size=ROW_GROUP)

    def cut(self) -> list[str]:
        """Completes the part that is being written; returns the names of all complete parts."""
        if self._writer is not None:
            self._writer.add_key_value_metadata({ABOUT: self.about})
            self._writer.close()
            self._writer = None
            path = self._next_part()
            os.replace(path, path.with_suffix(""))
            self._parts.append(path.with_suffix("").name)
            self._number += 1
        return self.parts

    @property
    def parts(self) -> list[str]:
        """The names of all complete parts."""
        return list(self._parts)

    @property
    def paths(self) -> list[Path]:
        """Where all complete parts are."""
        return [self._place(name) for name in self._parts]

    def forget_lost(self) -> int:
        """Forgets the complete parts that are not there any more; returns how many."""
        found = [name for name in self._parts if self._place(name).is_file()]
        lost = len(self._parts) - len(found)
        self._parts = found
        return lost

    def drop(self) -> None:
        """Forgets the part that is being written, after an error."""
        writer, self._writer = self._writer, None
        # A disk that is full has no room for the end of the file either.
        with contextlib.suppress(OSError):
            if writer is not None:
                writer.close()
        with contextlib.suppress(OSError):
            self._next_part().unlink(missing_ok=True)

    def move_to(self, folder: Path) -> None:
        """Writes into another folder from now on; complete parts are read where they are."""
        self.drop()
        for name in self._parts:
            self._places.setdefault(name, self._folder)
        self._folder = folder
        self._prepare = lambda: None

    def gather(self) -> None:
        """Brings complete parts from elsewhere into the folder; those stay away for which it has no room."""
        for name, place in list(self._places.items()):
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                if place != self._folder:
                    shutil.move(place / name, self._folder / name)
                del self._places[name]

    def rewind(self, parts: Sequence[str]) -> None:
        """Forgets everything but these parts.

        Raises:
          DataError: one of them is not there.
        """
        self.drop()
        for name in parts:
            part_at(self._places.get(name, self._folder), name)
        self._parts = list(parts)
        # A name is never used twice in one process: who knows a part by its name knows its rows.
        self._number = max(self._number, *(int(name[6:12]) + 1 for name in parts), 0)
        self._remove_others()

    def close(self, path: Path) -> None:
        """Makes one file of all parts, which stay: a checkpoint may still count on them."""
        self.cut()
        write_complete(path, self._merge)

    def _merge(self, merged: Path) -> None:
        import pyarrow.parquet as pq

        parts = self.paths
        if len(parts) == 1 and self._tells(parts[0]):
            # One that was left by a process that was killed.
            merged.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.link(parts[0], merged)
                return
        # Where a file cannot have two names it is copied; and a trace without a row is a trace.
        with self._open(merged) as writer:
            writer.add_key_value_metadata({ABOUT: self.about})
            for part in parts:
                file = pq.ParquetFile(part)
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group).cast(self._schema), row_group_size=ROW_GROUP)

    def _tells(self, path: Path) -> bool:
        """Whether a file keeps the text."""
        import pyarrow.parquet as pq

        return pq.read_metadata(path).metadata.get(ABOUT.encode()) == self.about.encode()

    def _open(self, path: Path) -> Any:
        path.parent.mkdir(parents=True, exist_ok=True)
        return writer_of(path, self._schema)

    def _place(self, part: str) -> Path:
        return self._places.get(part, self._folder) / part

    def _next_part(self) -> Path:
        return self._folder / f"trace-{self._number:06d}.parquet.part"

    def _remove_others(self) -> None:
        for path in self._folder.glob("trace-*.parquet*"):
            if path.name not in self._parts:
                # On a disk that fails they stay, and nothing counts on them.
                with contextlib.suppress(OSError):
                    path.unlink()
