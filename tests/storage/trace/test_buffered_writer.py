"""A disk that is full, a folder that goes away: training goes on, and the rows are there in the end."""

from __future__ import annotations

import errno
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import rayopt as ro
from rayopt.storage.run_folder import RunFolder
from rayopt.storage.trace import buffered_writer as patient_trace
from rayopt.storage.trace.buffered_writer import BufferedTraceWriter
from rayopt.storage.trace.rows import TRACE
from rayopt.storage.trace.writer import TraceWriter
from tests.acting import asgd_that

FULL = OSError(errno.ENOSPC, "No space left on device")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def rows(first, count=10):
    found = np.zeros(count, dtype=TRACE)
    found["time"] = np.arange(first, first + count)
    return found


def write_all(trace, starts, clock=None):
    for first in starts:
        trace.write(rows(first), "asgd", "ASGD", 0)
        if clock is not None:
            clock.now += 2.0


def times(path):
    return pd.read_parquet(path)["time"].tolist()


@pytest.fixture
def disk(monkeypatch):
    """A disk on which nothing more can be written while ``disk.is_full``."""

    class Disk:
        is_full = False

    write, cut = TraceWriter.write, TraceWriter.cut

    def guarded(function):
        def call(*arguments):
            if Disk.is_full:
                raise FULL
            return function(*arguments)

        return call

    monkeypatch.setattr(TraceWriter, "write", guarded(write))
    monkeypatch.setattr(TraceWriter, "cut", guarded(cut))
    return Disk


def test_rows_wait_while_the_disk_is_full(disk, tmp_path):
    clock = Clock()
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "parts"), clock)
    trace.write(rows(0), "asgd", "ASGD", 0)
    disk.is_full = True
    with pytest.warns(UserWarning, match=r"cannot be written .*No space left.* training goes on") as said:
        write_all(trace, (10, 20, 30), clock)
    assert len(said) == 1
    assert not list((tmp_path / "parts").iterdir())
    disk.is_full = False
    trace.write(rows(40), "asgd", "ASGD", 0)
    assert trace.cut() == (["trace-000000.parquet"], 0)
    trace.write(rows(50), "asgd", "ASGD", 0)
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(60))


def test_it_looks_once_a_second_whether_there_is_room(disk, tmp_path):
    clock = Clock()
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "parts"), clock)
    disk.is_full = True
    with pytest.warns(UserWarning, match="cannot be written"):
        trace.write(rows(0), "asgd", "ASGD", 0)
    disk.is_full = False
    trace.write(rows(10), "asgd", "ASGD", 0)
    assert trace.extent == ([], 20)
    clock.now += 1.5
    trace.write(rows(20), "asgd", "ASGD", 0)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["trace-000000.parquet"]


def test_who_asks_for_a_cut_hears_whether_rows_still_wait(disk, tmp_path):
    """A checkpoint that counts on rows in memory would leave a hole in the trace after a kill."""
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "parts"), Clock())
    disk.is_full = True
    with pytest.warns(UserWarning, match="cannot be written"):
        trace.write(rows(0), "asgd", "ASGD", 0)
    assert trace.cut() is None
    assert trace.extent == ([], 10)
    disk.is_full = False
    assert trace.cut() == (["trace-000000.parquet"], 0)


def test_memory_is_bounded_and_what_is_dropped_is_counted(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(patient_trace, "MOST_BYTES", 25 * TRACE.itemsize)
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "parts"), Clock())
    disk.is_full = True
    with pytest.warns(UserWarning, match="cannot be written"):
        write_all(trace, (0, 10, 20, 30))
    disk.is_full = False
    extent = trace.cut()
    assert extent == (["trace-000000.parquet"], 20)
    with pytest.warns(UserWarning, match="20 rows of the trace were dropped"):
        BufferedTraceWriter(TraceWriter(tmp_path / "parts", kept=extent.parts), dropped=extent.dropped).close(
            tmp_path / "again"
        )
    with pytest.warns(UserWarning, match="20 rows of the trace were dropped"):
        trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(20))


def test_a_long_part_is_completed_so_that_little_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(patient_trace, "MOST_BYTES", 25 * TRACE.itemsize)
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "parts"))
    for first in range(0, 100, 10):
        trace.write(rows(first), "asgd", "ASGD", 0)
    assert len(list((tmp_path / "parts").glob("trace-*.parquet"))) == 3
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(100))


def test_a_folder_that_goes_away_is_made_again(tmp_path):
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "run" / "parts"))
    trace.write(rows(0), "asgd", "ASGD", 0)
    assert trace.cut() == (["trace-000000.parquet"], 0)
    trace.write(rows(10), "asgd", "ASGD", 0)
    shutil.rmtree(tmp_path / "run")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert trace.cut() is None
    with pytest.warns(UserWarning, match="1 parts of the trace went away with their folder"):
        assert trace.cut() == (["trace-000001.parquet"], 0)
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(10, 20))


def test_a_trace_whose_parts_went_away_can_go_back(tmp_path):
    """A server that is lost then must not end the run."""
    trace = BufferedTraceWriter(TraceWriter(tmp_path / "run" / "parts"))
    trace.write(rows(0), "asgd", "ASGD", 0)
    extent = trace.cut()
    trace.write(rows(10), "asgd", "ASGD", 0)
    shutil.rmtree(tmp_path / "run")
    with pytest.warns(UserWarning, match="1 parts of the trace went away with their folder"):
        trace.rewind(extent)
    trace.write(rows(20), "asgd", "ASGD", 0)
    trace.close(tmp_path / "trace.parquet")
    assert times(tmp_path / "trace.parquet") == list(range(20, 30))


def experiment(**arguments):
    return ro.run(
        [ro.methods.ASGD(0.1), ro.methods.Minibatch(0.1)], ro.problems.Quadratic(5), ro.Workers(2, 1.0),
        until=ro.Until(updates=200), **arguments,
    )  # fmt: skip


def test_a_run_whose_folder_goes_away_ends_with_everything_in_it(tmp_path):
    vandal = asgd_that({100: lambda: shutil.rmtree(tmp_path / "run")})
    result = ro.run(
        vandal, ro.problems.Quadratic(5), ro.Workers(2, 1.0), until=ro.Until(updates=200), out=tmp_path / "run"
    )
    assert ro.load(tmp_path / "run").summary == result.summary
    assert len(result.trace) == 200


@pytest.mark.parametrize("seed", [0, [0, 1]])
def test_a_folder_that_cannot_be_written_in_the_end_is_replaced(tmp_path, monkeypatch, seed):
    write = RunFolder.write_history

    def full(folder, history):
        if folder.path == tmp_path / "run":
            raise FULL
        write(folder, history)

    monkeypatch.setattr(RunFolder, "write_history", full)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.warns(UserWarning, match=r"run cannot be written .*No space left.*: the results are in "):
        result = experiment(out=tmp_path / "run", seed=seed)
    assert result.folder.path != tmp_path / "run"
    assert len(result.trace) == sum(run["arrivals"] for run in result.summary["runs"])
    assert result.folder.read_history().equals(result.history)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_disk_that_is_really_full(small_disk):
    """Neither the trace nor the history has room: the run ends all the same, and nothing has half of its rows."""
    with pytest.warns(UserWarning, match="the results are in") as said:
        result = ro.run(
            ro.methods.ASGD(0.01), ro.problems.Quadratic(5, noise=0.1), ro.Workers(50, "sqrt(i)"),
            until=ro.Until(updates=20_000), record=ro.Record(every=0.2), out=small_disk / "run",
        )  # fmt: skip
    assert sum("cannot be written" in str(one.message) for one in said) <= 2
    assert len(result.trace) == result.summary["runs"][0]["arrivals"] == 20_000
    for path in (small_disk / "run").rglob("*.parquet"):
        pd.read_parquet(path)
    shutil.rmtree(result.folder.path)
