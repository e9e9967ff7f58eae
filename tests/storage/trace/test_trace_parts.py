"""Parts of a trace: looked at before they are needed, and without the rows that come again."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from rayopt.core.errors import DataError
from rayopt.storage.trace.parts import check_parts, keep_runs
from rayopt.storage.trace.rows import TRACE
from rayopt.storage.trace.writer import TraceWriter


@pytest.fixture
def parts(tmp_path):
    """Two parts: the first has rows of runs 0, 1 and 2, the second of run 2."""
    file = TraceWriter(tmp_path)
    for run, first in ((0, 0), (1, 10), (2, 20)):
        file.write(rows(first), "asgd", f"ASGD {run}", 0, run)
    file.cut()
    file.write(rows(30), "asgd", "ASGD 2", 0, 2)
    return [tmp_path / name for name in file.cut()]


def rows(first):
    found = np.zeros(10, dtype=TRACE)
    found["time"] = np.arange(first, first + 10)
    return found


def told(paths):
    return [pd.read_parquet(path)["time"].astype(int).tolist() for path in paths]


def test_rows_of_runs_that_begin_anew_go(parts, tmp_path):
    whole = pd.read_parquet(parts[0])
    keep_runs(parts, {0, 2})
    assert told(parts) == [[*range(10), *range(20, 30)], [*range(30, 40)]]
    assert pd.read_parquet(parts[0]).to_csv(index=False) == whole[whole.run != 1].to_csv(index=False)
    keep_runs(parts, {0})
    assert told(parts) == [[*range(10)], []]
    # They are parts as before: one file can be made of them.
    merged = TraceWriter(tmp_path, kept=[path.name for path in parts])
    merged.close(tmp_path / "trace.parquet")
    assert told([tmp_path / "trace.parquet"]) == [[*range(10)]]


def test_parts_without_such_rows_stay_as_they_are(parts):
    before = [path.stat() for path in parts]
    keep_runs(parts, {0, 1, 2})
    assert [path.stat() for path in parts] == before


def test_parts_are_looked_at_before_they_are_needed(parts, tmp_path):
    names = [path.name for path in parts]
    assert check_parts(tmp_path, names) == parts
    for content in (b"", parts[1].read_bytes()[:-9], b"PAR1 but nothing else PAR1"):
        parts[1].write_bytes(content)
        with pytest.raises(DataError, match=r"trace-000001.parquet is not a whole part of a trace \([^\n]+\)$"):
            check_parts(tmp_path, names)
    shutil.copy(parts[0], tmp_path.parent / "trace-000009.parquet")
    with pytest.raises(DataError, match="has no part"):
        check_parts(tmp_path, ["../trace-000009.parquet"])
