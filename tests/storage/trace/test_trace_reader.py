"""A trace that is read row group by row group, and what it keeps about its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rayopt.core.errors import InvalidInput
from rayopt.storage.trace.reader import TraceReader
from rayopt.storage.trace.rows import TRACE
from rayopt.storage.trace.writer import TraceWriter


@pytest.fixture
def trace(tmp_path):
    return TraceWriter(tmp_path / "parts", real_time=True)


def write(trace, *runs):
    """Three rows of each run, whose times go on."""
    for run in runs:
        chunk = np.zeros(3, dtype=TRACE)
        chunk["time"] = np.arange(3) + 10 * run
        trace.write(chunk, "asgd", f"run {run}", 0, run)


@pytest.mark.parametrize("cuts", [0, 1, 2])
def test_what_is_told_about_the_rows_is_kept_however_many_parts_there_are(trace, tmp_path, cuts):
    write(trace, 0)
    for _ in range(cuts):
        trace.cut()
        write(trace, 1)
    trace.about = "what is told"
    trace.close(tmp_path / "trace.parquet")
    with TraceReader([tmp_path / "trace.parquet"]) as found:
        assert found.about == "what is told"
        assert found.rows == 3 * (cuts + 1)


def test_a_part_that_was_complete_before_it_was_told(trace, tmp_path):
    write(trace, 0)
    trace.cut()
    trace.about = "what is told"
    trace.close(tmp_path / "trace.parquet")
    with TraceReader([tmp_path / "trace.parquet"]) as found:
        assert (found.about, found.rows) == ("what is told", 3)


def test_rows_of_one_run(trace, tmp_path):
    for runs in ((0, 1), (1, 1), (2,)):
        write(trace, *runs)
        trace.cut()
    paths = sorted((tmp_path / "parts").iterdir())
    whole = pd.concat([pd.read_parquet(path) for path in paths])
    with TraceReader(paths) as found:
        everything = pd.concat(found.frames(("time", "label")))
        assert everything.time.tolist() == whole.time.tolist()
        for run in range(3):
            frames = list(found.frames(("time", "label"), run))
            assert list(frames[0].columns) == ["time", "label"]
            assert pd.concat(frames).time.tolist() == whole.time[whole.run == run].tolist()
        assert list(found.frames(("time",), 3)) == []


def test_no_file_at_all(tmp_path):
    with TraceReader([]) as found:
        assert (found.rows, found.columns, found.about) == (0, [], "")
    with pytest.raises(InvalidInput, match="cannot be read"):
        TraceReader([tmp_path / "trace.parquet"])


@pytest.mark.parametrize("run", [None, 0])
def test_a_row_group_that_is_damaged(trace, tmp_path, run):
    trace.write(np.zeros(50_000, dtype=TRACE), "asgd", "ASGD", 0, 0)
    path = tmp_path / "trace.parquet"
    trace.close(path)
    content = path.read_bytes()
    # What the columns are stands at the end; the values come first.
    path.write_bytes(content[:4] + b"\xff" * 1000 + content[1004:])
    with TraceReader([path]) as found, pytest.raises(InvalidInput, match=rf"^trace: {path} cannot be read"):
        list(found.frames(("time", "label"), run))
