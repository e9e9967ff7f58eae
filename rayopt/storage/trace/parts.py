"""Parts of a trace: complete files in the folder of an unfinished experiment."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rayopt.core.errors import DataError, InvalidInput, first_line
from rayopt.storage.files import write_complete
from rayopt.storage.trace.rows import ROW_GROUP

if TYPE_CHECKING:
    import pandas as pd

TRACE_COLUMNS = (
    "method", "label", "seed", "run", "time", "worker", "number", "assigned_at", "version", "delay", "outcome",
    "updates", "component", "message", "bits",
)  # fmt: skip
PART_NAME = r"trace-\d{6}\.parquet"
NAMES = ("method", "label", "outcome", "kind")


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
        problem = f"{path} cannot be read ({first_line(error)})"
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


def part_at(folder: Path, name: str) -> Path:
    """Returns where a part is; its name comes from a file, and none may lead out of the folder."""
    if not re.fullmatch(PART_NAME, name) or not (folder / name).is_file():
        raise DataError(f"{folder} has no part {name!r} of the trace")
    return folder / name


def check_parts(folder: Path, names: Sequence[str]) -> list[Path]:
    """Returns the paths of complete parts, of each of which the end can be read.

    Raises:
      DataError: one of them is not there, or is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for name in names:
        path = part_at(folder, name)
        try:
            pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole part of a trace ({first_line(error)})") from None
        found.append(path)
    return found


def keep_runs(paths: Sequence[Path], runs: Collection[int]) -> None:
    """Removes the rows of all other runs from complete parts; each is replaced at once, or stays.

    Args:
      paths: of the parts.
      runs: positions in the experiment.

    Raises:
      DataError: a part cannot be read.
      OSError: one cannot be read or written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                groups = [file.read_row_group(group, ["run"]).column("run") for group in range(file.num_row_groups)]
            if not {run for group in groups for run in np.unique(group).tolist()} <= set(runs):
                write_complete(path, partial(_copy_runs, path, runs))
        except pa.ArrowException as error:
            raise DataError(f"{path} is not a whole part of a trace ({first_line(error)})") from None


def _copy_runs(path: Path, runs: Collection[int], copy: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(runs), pa.int32())
    with pq.ParquetFile(path) as file, writer_of(copy, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            writer.write_table(rows.filter(pc.is_in(rows["run"], wanted)), row_group_size=ROW_GROUP)


def writer_of(path: Path, schema: Any) -> Any:
    """Returns what writes rows into a new Parquet file."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=[name for name in NAMES if name in schema.names],
        write_statistics=False,
    )
