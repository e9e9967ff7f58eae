"""Parts of a trace: complete at every cut, one file at the end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rayopt.core.errors import DataError
from rayopt.storage.trace.parts import parts_in, read_trace
from rayopt.storage.trace.rows import TRACE
from rayopt.storage.trace.writer import TraceWriter


def rows(first, count=3):
    chunk = np.zeros(count, dtype=TRACE)
    chunk["time"] = np.arange(first, first + count)
    return chunk


def times(path):
    return pd.read_parquet(path).time.tolist()


def write(trace, first):
    trace.write(rows(first), "asgd", "ASGD", 0, 1)


def test_one_part_becomes_the_file(tmp_path):
    trace = TraceWriter(tmp_path)
    write(trace, 0)
    write(trace, 3)
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == [0, 1, 2, 3, 4, 5]
    # A checkpoint may still count on the part; the file is another name of it, not a copy.
    assert (tmp_path / "trace.parquet").samefile(tmp_path / "trace-000000.parquet")
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == [0, 1, 2, 3, 4, 5]


def test_many_parts_become_one_file_with_their_row_groups(tmp_path):
    trace = TraceWriter(tmp_path, real_time=True)
    for first in (0, 3, 6):
        write(trace, first)
        assert len(trace.cut()) == first // 3 + 1
    assert trace.cut() == [f"trace-{number:06d}.parquet" for number in range(3)]
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(9))
    assert pq.ParquetFile(tmp_path / "trace.parquet").num_row_groups == 3


def test_what_was_cut_can_be_read_and_the_rest_is_forgotten(tmp_path):
    trace = TraceWriter(tmp_path)
    write(trace, 0)
    kept = trace.cut()
    write(trace, 3)
    trace.cut()
    write(trace, 6)
    assert read_trace(parts_in(tmp_path)).time.tolist() == [0, 1, 2, 3, 4, 5]
    # Another process goes on from the first cut.
    again = TraceWriter(tmp_path, kept=kept)
    write(again, 30)
    again.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == [0, 1, 2, 30, 31, 32]


def test_rewind(tmp_path):
    trace = TraceWriter(tmp_path)
    write(trace, 0)
    kept = trace.cut()
    write(trace, 3)
    trace.rewind(kept)
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == [0, 1, 2]


def test_a_trace_without_rows(tmp_path):
    TraceWriter(tmp_path).close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == []


@pytest.mark.parametrize("name", ["trace-000007.parquet", "../trace-000000.parquet", "notes.txt"])
def test_parts_that_are_not_there_or_not_parts(tmp_path, name):
    inner = tmp_path / "unfinished"
    inner.mkdir()
    (tmp_path / "trace-000000.parquet").touch()
    (inner / "notes.txt").touch()
    with pytest.raises(DataError, match="has no part"):
        TraceWriter(inner, kept=[name])
