"""The trace of an experiment on disk: parts that are readable after a kill, one file at the end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rayopt.errors import DataError, InvalidInput
from rayopt.files import write_whole
from rayopt.trace_rows import OUTCOMES, ROW_GROUP

if TYPE_CHECKING:
    import pandas as pd

TRACE_COLUMNS = (
    "method", "label", "seed", "run", "time", "worker", "number", "assigned_at", "version", "delay", "outcome",
    "updates",
)  # fmt: skip
PART_NAME = r"trace-\d{6}\.parquet"
NAMES = ("method", "label", "outcome")
ABOUT = "rayopt"


class TraceFile:
    """Writes trace rows to Parquet in row groups, so that a long run is never held in memory.

    A Parquet file cannot be read before it is closed. So there are parts, ``trace-000000.parquet`` and so on, and a
    new one begins with every checkpoint: what a checkpoint counts on is closed. :meth:`close` makes one file of them.

    Args:
      folder: where the parts are.
      real_time: whether to keep the columns ``completed_at``, the worker's own stamp (of another machine's clock:
        shifted, see :class:`~rayopt.arrival.Arrival`), and ``checksum``, a sum of x.
      kept: the parts to go on after; all others are removed.
      prepare: makes the folder, with what else it must hold, if it is not there.

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
                  ("delay", integers), ("outcome", text), ("updates", integers)]  # fmt: skip
        if real_time:
            fields += [("completed_at", floats), ("checksum", floats)]
        self._schema = pa.schema(fields)
        self._numbers = [name for name, _ in fields if name not in (*NAMES, "seed", "run")]
        self._writer: Any = None
        self._parts: list[str] = []
        self._places: dict[str, Path] = {}
        self._number = 0
        self.rewind(kept)

    def write(self, rows: NDArray[np.void], method: str, label: str, seed: int, run: int = 0) -> None:
        """Appends a chunk, of dtype ``rayopt.trace_rows.TRACE``, as one row group.

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
        columns["outcome"] = pa.DictionaryArray.from_arrays(rows["outcome"].astype(np.int32), list(OUTCOMES))
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
            _part(self._places.get(name, self._folder), name)
        self._parts = list(parts)
        # A name is never used twice in one process: who knows a part by its name knows its rows.
        self._number = max(self._number, *(int(name[6:12]) + 1 for name in parts), 0)
        self._remove_others()

    def close(self, path: Path) -> None:
        """Makes one file of all parts, which stay: a checkpoint may still count on them."""
        self.cut()
        write_whole(path, self._merge)

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
        return _writer(path, self._schema)

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


def check_parts(folder: Path, names: Sequence[str]) -> list[Path]:
    """Returns the paths of complete parts, of each of which the end can be read.

    Raises:
      DataError: one of them is not there, or is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for name in names:
        path = _part(folder, name)
        try:
            pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole part of a trace ({_first_line(error)})") from None
        found.append(path)
    return found


def keep_runs(paths: Sequence[Path], runs: Collection[int]) -> None:
    """Removes the rows of all other runs from complete parts; each is replaced at once, or stays.

    Args:
      paths: of the parts.
      runs: positions in the experiment.

    Raises:
      DataError: a part cannot be read.
      OSError: one cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                groups = [file.read_row_group(group, ["run"]).column("run") for group in range(file.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole part of a trace ({_first_line(error)})") from None
        if not {run for group in groups for run in np.unique(group).tolist()} <= set(runs):
            write_whole(path, partial(_copy_runs, path, runs))


def _copy_runs(path: Path, runs: Collection[int], copy: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(runs), pa.int32())
    with pq.ParquetFile(path) as file, _writer(copy, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            writer.write_table(rows.filter(pc.is_in(rows["run"], wanted)), row_group_size=ROW_GROUP)


def _writer(path: Path, schema: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=list(NAMES), write_statistics=False)


def _part(folder: Path, name: str) -> Path:
    """Returns where a part is; its name comes from a file, and none may lead out of the folder."""
    if not re.fullmatch(PART_NAME, name) or not (folder / name).is_file():
        raise DataError(f"{folder} has no part {name!r} of the trace")
    return folder / name


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def parts_in(folder: Path) -> list[Path]:
    """Returns the complete parts in a folder, in order."""
    names = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in names if re.fullmatch(PART_NAME, path.name))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Gives what PyArrow says of a trace file that is damaged, or none, in the words of rayopt.

    Raises:
      InvalidInput: it cannot be read.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        problem = f"{path} cannot be read ({str(error).partition(chr(10))[0]})"
        raise InvalidInput("trace", problem, "the trace.parquet of a run folder") from None


def read_trace(paths: Sequence[Path]) -> pd.DataFrame:
    """Returns the rows of trace files, one after the other; empty without a file.

    Raises:
      InvalidInput: one of them is damaged.
    """
    import pandas as pd

    frames = []
    for path in paths:
        with reading(path):
            frames.append(pd.read_parquet(path))
    if not frames:
        return pd.DataFrame(columns=list(TRACE_COLUMNS))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
